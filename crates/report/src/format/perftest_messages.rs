//! The CSV of the image `atq-perftest`: every message of RabbitMQ PerfTest, in rows of messages with equal times.
//!
//! Labels are the operation and the step: `publish 5000 B`. The total counts received messages; published and confirmed ones
//! have labels of their own.

use super::numbers::whole;
use super::rows::Rows;
use super::table::{Header, Table};
use super::{BadRow, FileTally, Sample};

/// The header.
pub const HEADER: &str = "timestamp_us,operation,step,elapsed_us,messages,failed,bytes";

const COLUMNS: [&str; 7] = [
    "timestamp_us",
    "operation",
    "step",
    "elapsed_us",
    "messages",
    "failed",
    "bytes",
];
/// Maximum plausible number of messages in a row.
const MAX_MESSAGES: u64 = 1_000_000_000;

/// The rows of a file.
#[derive(Debug, Default)]
pub struct Messages {
    header: Header<7>,
    label: Vec<u8>,
}

/// What happened to the messages of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Publish,
    Confirm,
    Consume,
}

impl Operation {
    fn of(text: &[u8]) -> Result<Self, BadRow> {
        match text {
            b"publish" => Ok(Self::Publish),
            b"confirm" => Ok(Self::Confirm),
            b"consume" => Ok(Self::Consume),
            _ => Err(BadRow::value("operation", text)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Confirm => "confirm",
            Self::Consume => "consume",
        }
    }

    /// The kind of its errors.
    fn error(self) -> &'static [u8] {
        match self {
            Self::Publish => b"returned by the broker: no queue for the routing key",
            Self::Confirm => b"refused by the broker (nack)",
            Self::Consume => b"",
        }
    }
}

impl Table for Messages {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let Some(columns) = self.header.columns(rows, COLUMNS)? else {
            into.samples.has_other_operations = true;
            return Ok(());
        };
        // The last value of an unterminated row may be truncated.
        if !rows.terminated {
            return Err(BadRow::Malformed);
        }
        let operation = Operation::of(rows.get(columns[1]))?;
        self.label(operation, rows.get(columns[2]));
        let number = |column: usize| number(rows, columns[column], COLUMNS[column]);
        let (end, elapsed, failed, bytes) = (number(0)?, number(3)?, number(5)?, number(6)?);
        let messages = bounded(rows, columns[4])?;
        into.add(&Sample {
            start: Some(end.saturating_sub(elapsed)),
            is_dated_by_end: true,
            elapsed,
            samples: messages,
            is_repeated: true,
            errors: Some(failed.min(MAX_MESSAGES)),
            message: operation.error(),
            label: &self.label,
            transaction: operation != Operation::Consume,
            received: if operation == Operation::Consume {
                bytes
            } else {
                0
            },
            sent: if operation == Operation::Publish {
                bytes
            } else {
                0
            },
            ..Sample::default()
        });
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note("the total counts received messages; published and confirmed ones are counted by their labels only, unless nothing was received");
        into.note("the time of `publish` is that of the call; of `confirm` and `consume`, it begins when the message is created; bytes are those of bodies");
    }
}

impl Messages {
    fn label(&mut self, operation: Operation, step: &[u8]) {
        self.label.clear();
        self.label.extend_from_slice(operation.name().as_bytes());
        if !step.is_empty() {
            self.label.push(b' ');
            self.label.extend_from_slice(step);
        }
    }
}

fn number(rows: &Rows, column: usize, name: &'static str) -> Result<u64, BadRow> {
    let text = rows.get(column);
    whole(text).ok_or_else(|| BadRow::value(name, text))
}

fn bounded(rows: &Rows, column: usize) -> Result<u64, BadRow> {
    let messages = number(rows, column, "messages")?;
    match messages <= MAX_MESSAGES {
        true => Ok(messages),
        false => Err(BadRow::value("messages", rows.get(column))),
    }
}
