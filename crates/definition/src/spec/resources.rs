//! Resource limits and reservations. Only values that Docker always rejects are faults: nodes join and leave, so
//! fitting nodes are searched for when a container is placed.

use super::declared::{Declared, MAX_WHOLE};
use super::reader::{Field, Reader, whole};
use crate::wording::{shorten, wrong_type};
use atq_api_spec::service::{self as wire, Cpus, Memory};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::sync::LazyLock;

static RESOURCES: LazyLock<Declared> = LazyLock::new(Declared::of::<wire::Resources>);
static AMOUNTS: LazyLock<Declared> = LazyLock::new(Declared::of::<wire::Amounts>);

/// Billionths of a processor.
const NANO_CPUS: u64 = 1_000_000_000;
const BILLION: f64 = NANO_CPUS as f64;
const MEBIBYTE: u64 = 1 << 20;
/// Maximum number of processors of a container, in billionths.
const MAX_NANO_CPUS: u64 = 1024 * NANO_CPUS;

/// The minimum that Docker accepts.
struct Minimum {
    /// Billionths of a processor.
    nano_cpus: u64,
    /// Bytes.
    memory: u64,
}

/// CPU: the kernel schedules containers in periods of 100 ms and grants at least 1 ms of each period. Memory: Docker
/// Engine rejects less than 6 MiB.
const MIN_LIMITS: Minimum = Minimum {
    nano_cpus: 10_000_000,
    memory: 6 * MEBIBYTE,
};
/// The minimum of Swarm.
const MIN_RESERVATIONS: Minimum = Minimum {
    nano_cpus: 1_000_000,
    memory: 4 * MEBIBYTE,
};

/// Resource limits of a container, and its reservations on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Upper limits.
    pub limits: Amounts,
    /// Reserved resources.
    pub reservations: Amounts,
}

/// Amounts of processor time and memory; `None`: no limit or reservation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Billionths of a processor, as in Docker's API.
    pub nano_cpus: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

impl Amounts {
    /// The number of processors.
    pub fn processors(&self) -> Option<f64> {
        Some(self.nano_cpus? as f64 / BILLION)
    }
}

impl Resources {
    pub(super) fn shown(&self) -> Option<wire::Resources> {
        (*self != Self::default()).then(|| wire::Resources {
            limits: self.limits.shown(),
            reservations: self.reservations.shown(),
        })
    }
}

impl Amounts {
    fn shown(&self) -> Option<wire::Amounts> {
        (*self != Self::default()).then(|| wire::Amounts {
            cpus: self.nano_cpus.and_then(processors).map(Cpus::Number),
            memory: self.memory.map(Memory::Bytes),
        })
    }
}

/// Formats whole processors without a decimal point.
fn processors(nano: u64) -> Option<Number> {
    match nano % NANO_CPUS {
        0 => Some((nano / NANO_CPUS).into()),
        _ => Number::from_f64(nano as f64 / BILLION),
    }
}

impl Reader<'_> {
    pub(super) fn resources(&mut self, field: &Field) -> Option<Resources> {
        let resources = self.optional_object(field, &RESOURCES)?;
        let reserved = resources.field("reservations");
        let limits = self.amounts(&resources.field("limits"), &MIN_LIMITS);
        let reservations = self.amounts(&reserved, &MIN_RESERVATIONS);
        let (limits, reservations) = (limits?, reservations?);
        let before = self.faults.len();
        if let Some((least, most)) = above(reservations.nano_cpus, limits.nano_cpus) {
            let (least, most) = (least as f64 / BILLION, most as f64 / BILLION);
            let why = format!("is {least}; expected at most the limit, {most}");
            self.note(&format!("{}.cpus", reserved.path), why);
        }
        if let Some((least, most)) = above(reservations.memory, limits.memory) {
            let why = format!("is {least} bytes; expected at most the limit, {most} bytes");
            self.note(&format!("{}.memory", reserved.path), why);
        }
        (self.faults.len() == before).then_some(Resources {
            limits,
            reservations,
        })
    }

    fn amounts(&mut self, field: &Field, least: &Minimum) -> Option<Amounts> {
        let amounts = self.optional_object(field, &AMOUNTS)?;
        let nano_cpus = self.cpus(&amounts.field("cpus"), least.nano_cpus);
        let memory = self.memory(&amounts.field("memory"), least.memory);
        Some(Amounts {
            nano_cpus: nano_cpus?,
            memory: memory?,
        })
    }

    /// Parses billionths of a processor.
    fn cpus(&mut self, field: &Field, least: u64) -> Option<Option<u64>> {
        let expected = format!(
            "a number of processors from {} to 1024",
            least as f64 / BILLION
        );
        let (seen, cpus) = match field.value {
            None => return Some(None),
            Some(Value::Number(number)) => (number.to_string(), number.as_f64()),
            Some(Value::String(text)) => (format!("`{}`", shorten(text)), decimal(text)),
            Some(other) => return self.fault(&field.path, wrong_type(other, &expected)),
        };
        // The conversion saturates; a saturated value is out of bounds.
        let nano_cpus = cpus.map(|cpus| (cpus * BILLION).round() as u64);
        match nano_cpus.filter(|nano| (least..=MAX_NANO_CPUS).contains(nano)) {
            Some(nano) => Some(Some(nano)),
            None => self.fault(&field.path, format!("is {seen}; expected {expected}")),
        }
    }

    /// Parses a number of bytes.
    fn memory(&mut self, field: &Field, least: u64) -> Option<Option<u64>> {
        let expected = format!(
            "{} MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`",
            least / MEBIBYTE
        );
        let (seen, bytes) = match field.value {
            None => return Some(None),
            Some(Value::Number(number)) => (number.to_string(), whole(number)),
            Some(Value::String(text)) => (format!("`{}`", shorten(text)), bytes(text)),
            Some(other) => return self.fault(&field.path, wrong_type(other, &expected)),
        };
        match bytes.filter(|bytes| (least..=MAX_WHOLE).contains(bytes)) {
            Some(bytes) => Some(Some(bytes)),
            None => self.fault(&field.path, format!("is {seen}; expected {expected}")),
        }
    }
}

/// Both values, if both exist and the first one is larger.
fn above(reserved: Option<u64>, limit: Option<u64>) -> Option<(u64, u64)> {
    reserved.zip(limit).filter(|(least, most)| least > most)
}

/// Parses digits with an optional decimal point.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|_| plain)
}

/// Parses an amount of memory like `docker service create`: powers of 1024, case-insensitive, and
/// with units written as `m`, `MB` or `MiB`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 1,
        "m" | "mb" | "mi" | "mib" => 2,
        "g" | "gb" | "gi" | "gib" => 3,
        "t" | "tb" | "ti" | "tib" => 4,
        "p" | "pb" | "pi" | "pib" => 5,
        _ => return None,
    };
    // Saturates; such an amount is out of bounds.
    Some((decimal(number)? * 1024_f64.powi(power)) as u64)
}
