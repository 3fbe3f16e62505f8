//! Generates result files in the format of JMeter 5.6 from a seed.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

/// The header: the 17 default columns.
pub const HEADER: &str = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect\n";
/// Time of the first sample, in milliseconds since 1970.
const START: u64 = 1_760_000_000_000;
const LABELS: [&str; 6] = [
    "Home",
    "Login",
    "\"Search, all\"",
    "Basket",
    "\"Say \"\"hi\"\"\"",
    "Ünïcode",
];

/// A generator of rows.
#[derive(Debug)]
pub struct Rows {
    random: fastrand::Rng,
    time: u64,
    number: u64,
}

impl Rows {
    /// A generator that returns the same rows for the same seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            time: START,
            number: 0,
        }
    }

    /// Appends a row of about 150 bytes. 3 % of the rows are errors, 2 % are transactions.
    pub fn push(&mut self, text: &mut String) {
        let random = &mut self.random;
        self.time += u64::from(random.u8(..4) == 0);
        self.number += 1;
        // A product of random numbers is skewed like response times: few values are large.
        let elapsed = random.u64(1..40) * random.u64(1..20) * random.u64(1..4);
        let (mut label, mut url) = (
            LABELS[random.usize(..LABELS.len())],
            "http://target.example:8080/path/of/page",
        );
        let (ok, code, mut message, failure) = match random.u8(..100) {
            0 => ("false", "500", "Internal Server Error", ""),
            1 => (
                "false",
                "200",
                "OK",
                "\"Test failed: text expected to contain /a,\nb/\"",
            ),
            2 => ("false", "503", "\"Service, unavailable\"", ""),
            _ => ("true", "200", "OK", ""),
        };
        if random.u8(..50) == 0 {
            (label, url) = ("Checkout", "null");
            message = "\"Number of samples in transaction : 2, number of failing samples : 0\"";
        }
        let (thread, bytes, sent) = (
            self.number % 50 + 1,
            random.u64(200..20_000),
            random.u64(100..900),
        );
        let latency = elapsed / 2;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{},{elapsed},{label},{code},{message},10.0.1.{}-Users 1-{thread},text,{ok},{failure},{bytes},{sent},50,50,{url},{latency},0,1",
            self.time,
            self.number % 3 + 1,
        );
    }

    /// Writes a file with this number of samples.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(mut self, samples: u64, mut to: impl Write) -> io::Result<()> {
        to.write_all(HEADER.as_bytes())?;
        let mut text = String::new();
        for _ in 0..samples {
            text.clear();
            self.push(&mut text);
            to.write_all(text.as_bytes())?;
        }
        to.flush()
    }
}

/// A result file of any size that is generated while it is read: one block of rows is repeated with later times.
#[derive(Debug)]
pub struct Endless {
    block: Vec<u8>,
    /// Offsets of the times in the block.
    times: Vec<usize>,
    at: usize,
    rounds: u64,
    left: u64,
}

impl Endless {
    /// A file of at least this many bytes, rounded up to a whole block.
    pub fn new(bytes: u64) -> Self {
        let (mut rows, mut text, mut times) = (Rows::new(1), HEADER.to_owned(), Vec::new());
        for _ in 0..10_000 {
            times.push(text.len());
            rows.push(&mut text);
        }
        Self {
            block: text.into_bytes(),
            times,
            at: 0,
            rounds: 0,
            left: bytes,
        }
    }

    /// Advances to the next block. The header is repeated, as when a second run is appended to a file.
    fn next_block(&mut self) {
        self.rounds += 1;
        self.at = 0;
        for at in &self.times {
            // A block spans 2.5 s.
            let time = (START + self.rounds * 2500).to_string();
            self.block[*at..*at + time.len()].copy_from_slice(time.as_bytes());
        }
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.next_block();
        }
        let rest = &self.block[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}
