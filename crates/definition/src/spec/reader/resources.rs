//! What containers may take and where they may run. Only what Docker refuses whatever the Swarm is
//! like is a fault: nodes come and go, and whether one fits is known when a worker is placed.

use super::Reader;
use super::value::{MAX_WHOLE, nearest, shorten, whole, wrong_type};
use crate::spec::{Amounts, Placement, Resources};
use serde_json::Value;

const BILLION: f64 = 1e9;
const MEBIBYTE: u64 = 1 << 20;
/// Most processors of a container, in billionths.
const MAX_NANO_CPUS: u64 = 1024 * 1_000_000_000;
/// Most containers of a service on one node: the largest `limits.replicas` of a configuration.
const MAX_ON_A_NODE: u64 = 100_000;

/// The least that Docker takes.
struct Least {
    /// Billionths of a processor.
    nano_cpus: u64,
    /// Bytes.
    memory: u64,
}

/// A container gets its share of each 100 ms, and the kernel hands out no less than 1 ms. Less memory
/// no Engine takes.
const LEAST_LIMITS: Least = Least {
    nano_cpus: 10_000_000,
    memory: 6 * MEBIBYTE,
};
/// The bounds of Swarm.
const LEAST_RESERVATIONS: Least = Least {
    nano_cpus: 1_000_000,
    memory: 4 * MEBIBYTE,
};

/// What a constraint may ask for; `NAME` stands for a label's.
const CONSTRAINT_KEYS: [&str; 8] = [
    "node.id",
    "node.hostname",
    "node.role",
    "node.ip",
    "node.platform.os",
    "node.platform.arch",
    "node.labels.NAME",
    "engine.labels.NAME",
];

/// What the value of a constraint may hold besides letters, digits and blanks.
const CONSTRAINT_SIGNS: &str = r":-_.*()?+[]\^$|/";

impl Reader<'_> {
    pub(super) fn resources(&mut self, field: &str, value: Option<&Value>) -> Option<Resources> {
        let Some(fields) = self.optional_object(field, value, &["limits", "reservations"])? else {
            return Some(Resources::default());
        };
        let reserved = format!("{field}.reservations");
        let limits = fields.get("limits");
        let limits = self.amounts(&format!("{field}.limits"), limits, &LEAST_LIMITS);
        let reservations = fields.get("reservations");
        let reservations = self.amounts(&reserved, reservations, &LEAST_RESERVATIONS);
        let (limits, reservations) = (limits?, reservations?);
        let before = self.faults.len();
        if let Some((least, most)) = above(reservations.nano_cpus, limits.nano_cpus) {
            let (least, most) = (least as f64 / BILLION, most as f64 / BILLION);
            let why = format!("is {least}; expected at most the limit, {most}");
            self.note(&format!("{reserved}.cpus"), why);
        }
        if let Some((least, most)) = above(reservations.memory, limits.memory) {
            let why = format!("is {least} bytes; expected at most the limit, {most} bytes");
            self.note(&format!("{reserved}.memory"), why);
        }
        (self.faults.len() == before).then_some(Resources {
            limits,
            reservations,
        })
    }

    fn amounts(&mut self, field: &str, value: Option<&Value>, least: &Least) -> Option<Amounts> {
        let Some(fields) = self.optional_object(field, value, &["cpus", "memory"])? else {
            return Some(Amounts::default());
        };
        let cpus = fields.get("cpus");
        let nano_cpus = self.cpus(&format!("{field}.cpus"), cpus, least.nano_cpus);
        let memory = fields.get("memory");
        let memory = self.memory(&format!("{field}.memory"), memory, least.memory);
        Some(Amounts {
            nano_cpus: nano_cpus?,
            memory: memory?,
        })
    }

    /// Billionths of a processor.
    fn cpus(&mut self, field: &str, value: Option<&Value>, least: u64) -> Option<Option<u64>> {
        let expected = format!(
            "a number of processors from {} to 1024",
            least as f64 / BILLION
        );
        let (seen, cpus) = match value {
            None | Some(Value::Null) => return Some(None),
            Some(Value::Number(number)) => (number.to_string(), number.as_f64()),
            Some(Value::String(text)) => (format!("`{}`", shorten(text)), decimal(text)),
            Some(other) => return self.fault(field, wrong_type(other, &expected)),
        };
        // The conversion saturates; what it may change is out of bounds.
        let nano_cpus = cpus.map(|cpus| (cpus * BILLION).round() as u64);
        match nano_cpus.filter(|nano| (least..=MAX_NANO_CPUS).contains(nano)) {
            Some(nano) => Some(Some(nano)),
            None => self.fault(field, format!("is {seen}; expected {expected}")),
        }
    }

    /// Bytes.
    fn memory(&mut self, field: &str, value: Option<&Value>, least: u64) -> Option<Option<u64>> {
        let expected = format!(
            "{} MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`",
            least / MEBIBYTE
        );
        let (seen, bytes) = match value {
            None | Some(Value::Null) => return Some(None),
            Some(Value::Number(number)) => (number.to_string(), whole(number)),
            Some(Value::String(text)) => (format!("`{}`", shorten(text)), bytes(text)),
            Some(other) => return self.fault(field, wrong_type(other, &expected)),
        };
        match bytes.filter(|bytes| (least..=MAX_WHOLE).contains(bytes)) {
            Some(bytes) => Some(Some(bytes)),
            None => self.fault(field, format!("is {seen}; expected {expected}")),
        }
    }

    pub(super) fn placement(&mut self, field: &str, value: Option<&Value>) -> Option<Placement> {
        let known = ["constraints", "maxReplicasPerNode"];
        let Some(fields) = self.optional_object(field, value, &known)? else {
            return Some(Placement::default());
        };
        let constraints = fields.get("constraints");
        let constraints = self.constraints(&format!("{field}.constraints"), constraints);
        let at = format!("{field}.maxReplicasPerNode");
        let most = self.whole_number(&at, fields.get("maxReplicasPerNode"), 1, MAX_ON_A_NODE);
        Some(Placement {
            constraints: constraints?,
            max_replicas_per_node: most?.and_then(|most| u32::try_from(most).ok()),
        })
    }

    fn constraints(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<String>> {
        let texts = self.texts(field, value)?;
        let before = self.faults.len();
        for (index, text) in texts.iter().enumerate() {
            if let Err(why) = check_constraint(text) {
                self.note(&format!("{field}[{index}]"), why);
            }
        }
        (self.faults.len() == before).then_some(texts)
    }
}

/// Both, when the first is there and larger.
fn above(reserved: Option<u64>, limit: Option<u64>) -> Option<(u64, u64)> {
    reserved.zip(limit).filter(|(least, most)| least > most)
}

/// A number in digits, with or without a point.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|_| plain)
}

/// An amount of memory as `docker service create` takes it: powers of 1024, whatever the unit's case
/// and whether it is written `m`, `MB` or `MiB`.
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
    // Saturates; so much is out of bounds.
    Some((decimal(number)? * 1024_f64.powi(power)) as u64)
}

/// Docker's own rules (those of SwarmKit), and that the key is one that nodes have: with another one
/// it would wait for such a node for ever.
fn check_constraint(text: &str) -> Result<(), String> {
    let shown = shorten(text);
    let operators = text.matches("==").count() + text.matches("!=").count();
    let sides = text.split_once("==").or_else(|| text.split_once("!="));
    let Some((key, value)) = sides.filter(|_| operators == 1) else {
        return Err(format!(
            "`{shown}` has {operators} operators; expected one `==` or `!=`, as in `node.role==worker`"
        ));
    };
    let (key, value) = (key.trim(), value.trim());
    if !is_constraint_key(key) {
        let hint = nearest(key, &CONSTRAINT_KEYS);
        return Err(format!("`{shown}` asks for `{}`; {hint}", shorten(key)));
    }
    let inside = |c: char| {
        c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || CONSTRAINT_SIGNS.contains(c)
    };
    match !value.is_empty() && value.chars().all(inside) {
        true => Ok(()),
        false => Err(format!(
            "`{shown}` has the value `{}`; expected letters, digits, blanks and `{CONSTRAINT_SIGNS}`",
            shorten(value)
        )),
    }
}

fn is_constraint_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    CONSTRAINT_KEYS
        .into_iter()
        .any(|known| match known.strip_suffix("NAME") {
            Some(prefix) => key.strip_prefix(prefix).is_some_and(is_name),
            None => key == known,
        })
}
