//! A row of the file.

use super::point::{CpuPoint, Point};
use atq_engine::{ResourceUsage, Source};
use std::fmt;

/// The first line of the file.
pub const HEADER: &str = "at,interval,container,id,node,sampled,cpus,cpus_max,cpus_limit,memory,memory_limit,received,sent,read,written\n";
/// A longer interval is not plausible, in milliseconds.
const MAX_INTERVAL: u64 = 1 << 40;
/// A later time is not plausible, in milliseconds since 1970.
const MAX_TIME: u64 = 1 << 48;

/// The resource usage of a container within one interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Start of the interval, in milliseconds since 1970.
    pub at: u64,
    /// Its length in milliseconds.
    pub interval: u64,
    pub source: Source,
    /// Beginning of the id of the container.
    pub id: String,
    pub node: String,
    pub point: Point,
}

/// The rows in the text of a file. Other lines are skipped, such as one that a crash has cut off.
pub fn parse(text: &str) -> impl Iterator<Item = Row> {
    let lines = text.split_inclusive('\n');
    lines.filter_map(|line| Row::parse(line.strip_suffix('\n')?))
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut cells = line.split(',');
        let at = cells.next()?.parse().ok()?;
        let interval = (cells.next()?.parse::<f64>().ok()? * 1000.0) as u64;
        let source = Source::parse(cells.next()?)?;
        let [id, node] = [cells.next()?, cells.next()?].map(str::to_owned);
        let cpu: [Option<f64>; 4] = numbers(&mut cells)?;
        let bytes: [Option<u64>; 6] = numbers(&mut cells)?;
        let is_plausible = (1..MAX_INTERVAL).contains(&interval) && at < MAX_TIME;
        let cpu = match cpu.map(|number| number.filter(|number| number.is_finite())) {
            [Some(sampled), Some(mean), Some(max), Some(limit)] => Some(CpuPoint {
                sampled,
                mean,
                max,
                limit,
            }),
            _ => None,
        };
        let [memory, memory_limit, received, sent, read, written] = bytes;
        let usage = ResourceUsage {
            memory,
            memory_limit,
            received,
            sent,
            read,
            written,
        };
        (is_plausible && cells.next().is_none()).then_some(Self {
            at,
            interval,
            source,
            id,
            node,
            point: Point { cpu, usage },
        })
    }
}

/// The next cells as numbers; an empty one is absent.
fn numbers<'a, T: std::str::FromStr, const N: usize>(
    cells: &mut impl Iterator<Item = &'a str>,
) -> Option<[Option<T>; N]> {
    let mut numbers = [const { None }; N];
    for number in &mut numbers {
        let cell = cells.next()?;
        if !cell.is_empty() {
            *number = Some(cell.parse().ok()?);
        }
    }
    Some(numbers)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, id, node) = (self.source, plain(&self.id), plain(&self.node));
        // The interval is a whole number of seconds.
        write!(
            f,
            "{},{},{source},{id},{node}",
            self.at,
            self.interval / 1000
        )?;
        match self.point.cpu {
            Some(cpu) => {
                for number in [cpu.sampled, cpu.mean, cpu.max, cpu.limit] {
                    write!(f, ",{}", (number * 1e4).round() / 1e4)?;
                }
            }
            None => f.write_str(",,,,")?,
        }
        let usage = &self.point.usage;
        for bytes in [
            usage.memory,
            usage.memory_limit,
            usage.received,
            usage.sent,
            usage.read,
            usage.written,
        ] {
            f.write_str(",")?;
            if let Some(bytes) = bytes {
                write!(f, "{bytes}")?;
            }
        }
        f.write_str("\n")
    }
}

/// An id without characters that have a meaning in the file; the engine's ids have none.
fn plain(id: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    id.chars().filter(is_plain).take(64).collect()
}
