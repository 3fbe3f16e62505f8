//! A network between master and worker that delays or drops.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What happens to a line.
pub enum Fate {
    Forward,
    Delay(Duration),
    /// From now on nothing is forwarded in either direction, and the connections stay open.
    Freeze,
}

/// Starts a proxy to `target`; `fate` decides about each line. Returns its address.
pub fn proxy(target: &str, fate: impl Fn(&str) -> Fate + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (target, fate) = (target.to_owned(), Arc::new(fate));
    thread::spawn(move || {
        for master in listener.incoming().map_while(Result::ok) {
            let Ok(worker) = TcpStream::connect(&target) else {
                continue;
            };
            let frozen = Arc::new(AtomicBool::new(false));
            let there = (master.try_clone().unwrap(), worker.try_clone().unwrap());
            for (from, to) in [there, (worker, master)] {
                let (fate, frozen) = (Arc::clone(&fate), Arc::clone(&frozen));
                thread::spawn(move || forward(from, to, &*fate, &frozen));
            }
        }
    });
    address
}

fn forward(from: TcpStream, mut to: TcpStream, fate: &dyn Fn(&str) -> Fate, frozen: &AtomicBool) {
    to.set_nodelay(true).unwrap();
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        match fate(&line) {
            Fate::Forward => (),
            Fate::Delay(time) => thread::sleep(time),
            Fate::Freeze => frozen.store(true, Ordering::SeqCst),
        }
        if !frozen.load(Ordering::SeqCst) && writeln!(to, "{line}").is_err() {
            break;
        }
    }
    if !frozen.load(Ordering::SeqCst) {
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}
