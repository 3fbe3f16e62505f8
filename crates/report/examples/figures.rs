//! Prints the report on some result files as JSON: `cargo run --example figures -- results.jtl errors.jtl`.
//!
//! With `--seconds` as the first argument, it prints the duration of reading instead.

use atq_report::{Options, Tally};
use std::error::Error;
use std::fs::File;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let timed = paths.first().is_some_and(|first| first == "--seconds");
    if timed {
        paths.remove(0);
    }
    let begun = Instant::now();
    let mut tally = Tally::new(Options::default());
    for path in &paths {
        tally.read(path, None, File::open(path)?)?;
    }
    let finished = tally.finish("example", "1");
    let report = finished.report;
    if timed {
        let seconds = begun.elapsed().as_secs_f64();
        println!("{} samples in {seconds:.3} s", report.total.samples);
    } else {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    for doubt in finished.doubts.iter().chain(&finished.gaps) {
        eprintln!("{doubt}");
    }
    Ok(())
}
