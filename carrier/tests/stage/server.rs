//! A small HTTP server, over TCP or a Unix socket, that does as it is told.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// A request with its body.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method and target, for example `GET /carrier/ready`.
    pub line: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
}

/// What is answered.
pub enum Reply {
    /// With this status and body.
    Full(u16, Vec<u8>),
    /// A file as the body.
    File(std::path::PathBuf),
    /// Announces the length of the body but sends only so much of it.
    Cut(Vec<u8>, usize),
    /// Sends so much of the body, then nothing more, and leaves the connection open.
    Hang(Vec<u8>, usize),
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// Runs until the test's process ends.
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn tcp(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(url, answer, move || {
            listener.accept().map(|(stream, _)| {
                let other = stream.try_clone().unwrap();
                (
                    Box::new(stream) as Box<dyn Read + Send>,
                    Box::new(other) as _,
                )
            })
        })
    }

    pub fn unix(at: &Path, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(at).unwrap();
        Self::serve(String::new(), answer, move || {
            listener.accept().map(|(stream, _)| {
                let other = stream.try_clone().unwrap();
                (
                    Box::new(stream) as Box<dyn Read + Send>,
                    Box::new(other) as _,
                )
            })
        })
    }

    fn serve(
        url: String,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        accept: impl Fn() -> io::Result<(Box<dyn Read + Send>, Box<dyn Write + Send>)> + Send + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&seen));
        thread::spawn(move || {
            while let Ok((read, write)) = accept() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || talk(BufReader::new(read), write, &*answer, &log));
            }
        });
        Self { url, seen }
    }

    /// The requests whose line begins so.
    pub fn seen(&self, begin: &str) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|r| r.line.starts_with(begin))
            .cloned()
            .collect()
    }
}

fn talk(
    mut from: BufReader<Box<dyn Read + Send>>,
    mut to: Box<dyn Write + Send>,
    answer: &Answer,
    log: &Mutex<Vec<Request>>,
) {
    while let Ok(Some(request)) = read(&mut from, &mut to) {
        log.lock().unwrap().push(request.clone());
        if !request.whole || reply(&mut to, answer(&request)).is_err() {
            return;
        }
    }
}

fn read(
    from: &mut BufReader<Box<dyn Read + Send>>,
    to: &mut impl Write,
) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        from.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    if headers.contains_key("expect") {
        to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    let whole = read_body(from, &headers, &mut body).is_ok();
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Ok(Some(Request {
        line,
        headers,
        body,
        whole,
    }))
}

fn read_body(
    from: &mut BufReader<Box<dyn Read + Send>>,
    headers: &HashMap<String, String>,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().unwrap(), 0);
        return from.read_exact(body);
    }
    if headers
        .get("transfer-encoding")
        .is_none_or(|e| e != "chunked")
    {
        return Ok(());
    }
    loop {
        let mut size = String::new();
        from.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let at = body.len();
        body.resize(at + size, 0);
        from.read_exact(&mut body[at..])?;
        let mut end = [0; 2];
        from.read_exact(&mut end)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn reply(to: &mut impl Write, reply: Reply) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // The Director's clock is two seconds behind.
    let now = now.as_millis() - 2000;
    let mut head = |status: u16, length: u64| {
        write!(
            to,
            "HTTP/1.1 {status} X\r\nX-Atq-Now: {now}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    match reply {
        Reply::Full(204, _) => write!(to, "HTTP/1.1 204 X\r\nX-Atq-Now: {now}\r\n\r\n"),
        Reply::Full(status, body) => {
            head(status, body.len() as u64)?;
            to.write_all(&body)
        }
        Reply::File(path) => {
            let mut file = std::fs::File::open(path)?;
            head(200, file.metadata()?.len())?;
            io::copy(&mut file, to).map(|_| ())
        }
        Reply::Cut(body, count) => {
            head(200, body.len() as u64)?;
            to.write_all(&body[..count])?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Reply::Hang(body, count) => {
            head(200, body.len() as u64)?;
            to.write_all(&body[..count])?;
            to.flush()?;
            loop {
                thread::park();
            }
        }
    }
}
