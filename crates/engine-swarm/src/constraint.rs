//! Evaluates placement constraints. Swarm decides on placement itself; the Director evaluates constraints beforehand
//! to find out which nodes to wait for.

use super::Node;

impl Node {
    /// Whether the node can now run containers that are placed with `constraints`.
    pub fn may_run(&self, constraints: &[String]) -> bool {
        self.ready && self.active && self.satisfies(constraints)
    }

    /// Whether the node satisfies all of `constraints`. As in Swarm, keys and values are case-insensitive, names of
    /// labels are case-sensitive, and no node satisfies a constraint with an unknown key.
    pub fn satisfies(&self, constraints: &[String]) -> bool {
        constraints.iter().all(|text| self.satisfies_one(text))
    }

    fn satisfies_one(&self, text: &str) -> bool {
        let Some((key, wanted, equal)) = parts(text) else {
            return false;
        };
        self.value(key)
            .is_some_and(|value| value.eq_ignore_ascii_case(wanted) == equal)
    }

    fn value(&self, key: &str) -> Option<&str> {
        let traits = &self.traits;
        let label = |prefix: &str| {
            let begins = key.get(..prefix.len())?.eq_ignore_ascii_case(prefix);
            begins.then(|| &key[prefix.len()..])
        };
        if let Some(name) = label("node.labels.") {
            return Some(traits.labels.get(name).map_or("", String::as_str));
        }
        if let Some(name) = label("engine.labels.") {
            return Some(traits.engine_labels.get(name).map_or("", String::as_str));
        }
        match key.to_ascii_lowercase().as_str() {
            "node.id" => Some(&self.id),
            "node.hostname" => Some(&self.hostname),
            "node.ip" => Some(&self.address),
            "node.role" if traits.manager => Some("manager"),
            "node.role" => Some("worker"),
            "node.platform.os" => Some(&self.machine.os),
            "node.platform.arch" => Some(&self.machine.architecture),
            _ => None,
        }
    }
}

/// Splits a constraint into key, value, and whether they must be equal.
fn parts(text: &str) -> Option<(&str, &str, bool)> {
    let (key, value, equal) = match (text.split_once("=="), text.split_once("!=")) {
        (Some((key, value)), None) => (key, value, true),
        (None, Some((key, value))) => (key, value, false),
        // The operator that comes first counts.
        (Some((a, rest_a)), Some((b, rest_b))) => match a.len() < b.len() {
            true => (a, rest_a, true),
            false => (b, rest_b, false),
        },
        (None, None) => return None,
    };
    Some((key.trim(), value.trim(), equal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::NodeTraits;
    use atq_engine::Machine;

    #[test]
    fn constraints_are_evaluated_as_in_swarm() {
        let node = Node {
            id: "abc".into(),
            machine: Machine {
                os: "linux".into(),
                architecture: "x86_64".into(),
                ..Machine::default()
            },
            hostname: "Host-1".into(),
            address: "10.77.0.1".into(),
            ready: true,
            active: true,
            traits: NodeTraits {
                manager: true,
                labels: [("Zone".to_owned(), "a".to_owned())].into(),
                ..NodeTraits::default()
            },
        };
        let cases = [
            ("node.id==abc", true),
            ("node.id == abc", true),
            ("node.id!=abc", false),
            ("NODE.HOSTNAME==host-1", true),
            ("node.role==manager", true),
            ("node.role!=worker", true),
            ("node.labels.Zone==A", true),
            ("node.labels.zone==a", false),
            ("node.labels.zone!=a", true),
            ("engine.labels.disk==ssd", false),
            ("node.platform.os==linux", true),
            ("node.colour==red", false),
            ("node.colour!=red", false),
            ("nonsense", false),
        ];
        for (text, fits) in cases {
            assert_eq!(node.satisfies(&[text.to_owned()]), fits, "{text}");
        }
        let drained = Node {
            active: false,
            ..node
        };
        assert!(!drained.may_run(&[]));
    }
}
