//! A broker of the tests, which does only what a test tells it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// CONNACK with return code 0.
pub const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

/// Listens, and handles each connection on a thread of its own. The threads end with the test process.
pub fn broker(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    port
}

/// Answers the CONNECT with these bytes, then reads until the peer closes.
pub fn answer_once(mut stream: TcpStream, answer: &[u8]) {
    let mut bytes = [0; 4096];
    if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
        let _ = stream.write_all(answer);
    }
    while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
}
