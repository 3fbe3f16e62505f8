//! Placement of containers. Only values that Docker always rejects are faults: nodes join and leave, so matching nodes
//! are searched for when a container is placed.

use super::declared::Declared;
use super::reader::{Field, Reader, STRING_BYTES};
use crate::wording::{nearest, shorten};
use atq_api_spec::service as wire;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

static PLACEMENT: LazyLock<Declared> = LazyLock::new(Declared::of::<wire::Placement>);

/// Keys of constraints; `NAME` stands for the name of a label.
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

/// Characters allowed in a constraint's value besides letters, digits and blanks.
const CONSTRAINT_CHARS: &str = r":-_.*()?+[]\^$|/";

/// Placement of the containers of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Constraints in Docker's syntax, for example `node.labels.zone==a`.
    pub constraints: Vec<String>,
    /// Maximum number of the service's containers on one node; `None`: no limit.
    pub max_replicas_per_node: Option<u32>,
}

impl Placement {
    pub(super) fn shown(&self) -> Option<wire::Placement> {
        (*self != Self::default()).then(|| wire::Placement {
            constraints: self.constraints.clone(),
            max_replicas_per_node: self.max_replicas_per_node,
        })
    }
}

impl Reader<'_> {
    pub(super) fn placement(&mut self, field: &Field) -> Option<Placement> {
        let placement = self.optional_object(field, &PLACEMENT)?;
        let constraints = self.constraints(&placement.field("constraints"));
        let most = self.whole_number(&placement.field("maxReplicasPerNode"));
        Some(Placement {
            constraints: constraints?,
            max_replicas_per_node: most?.and_then(|most| u32::try_from(most).ok()),
        })
    }

    fn constraints(&mut self, field: &Field) -> Option<Vec<String>> {
        let texts = self.texts(field, STRING_BYTES)?;
        let before = self.faults.len();
        for (index, text) in texts.iter().enumerate() {
            if let Err(why) = check_constraint(text) {
                self.note(&field.item(index), why);
            }
        }
        (self.faults.len() == before).then_some(texts)
    }
}

/// Checks a constraint by Docker's rules (those of SwarmKit). The key must be one that nodes have: otherwise the
/// service would wait forever for a matching node.
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
        return Err(format!(
            "`{shown}` has the unknown key `{}`; {hint}",
            shorten(key)
        ));
    }
    let inside = |c: char| {
        c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || CONSTRAINT_CHARS.contains(c)
    };
    match !value.is_empty() && value.chars().all(inside) {
        true => Ok(()),
        false => Err(format!(
            "`{shown}` has the invalid value `{}`; expected letters, digits, blanks and `{CONSTRAINT_CHARS}`",
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
