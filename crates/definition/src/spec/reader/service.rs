//! One service of a task.

use super::Reader;
use super::value::{STRING_BYTES, shorten, wrong_type};
use crate::image;
use crate::spec::{
    EnvVar, MAX_WORKERS, REMOTES, RESERVED_PREFIX, ServiceSpec, WORKER_ADDRESSES, WORKERS_NAME,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};

/// Prefixes of labels, and to whom they belong.
const RESERVED_LABELS: [(&str, &str); 2] =
    [("com.atq.", "the Director"), ("com.docker.", "Docker")];

/// The name that answers have for `fileid`.
const FILE_ID: &str = "fileId";
/// Fields of the answers that are none of a definition, which may be sent back as it was received.
const SHOWN_FIELDS: [&str; 2] = ["id", FILE_ID];

const FIELDS: [&str; 15] = [
    "alias",
    "image",
    "args",
    "environment",
    "fileid",
    "split",
    "user",
    "replicas",
    "tty",
    "networks",
    "resources",
    "placement",
    "labels",
    "stopGracePeriod",
    "readiness",
];

impl Reader<'_> {
    pub(super) fn service(
        &mut self,
        role: &str,
        parent: &Map<String, Value>,
    ) -> Option<ServiceSpec> {
        let Some(value) = parent.get(role).filter(|value| !value.is_null()) else {
            return self.fault(
                role,
                "is missing; expected an object with `alias` and `image`".into(),
            );
        };
        let fields = self.object_as_shown(role, value, &FIELDS, &SHOWN_FIELDS)?;
        let at = |field: &str| format!("{role}.{field}");
        let alias = self.alias(&at("alias"), fields.get("alias"));
        let image = self.image(&at("image"), fields.get("image"));
        let args = self.texts(&at("args"), fields.get("args"));
        let environment = self.environment(&at("environment"), fields.get("environment"));
        let fileid = self.bundle_id(role, fields);
        let split = self.split(role, fields, fileid.as_ref().and_then(Option::as_deref));
        let user = self.user(&at("user"), fields.get("user"));
        let replicas = self.replicas(role, fields.get("replicas"));
        let tty = self.boolean(&at("tty"), fields.get("tty"));
        let networks = self.networks(&at("networks"), fields.get("networks"));
        let resources = self.resources(&at("resources"), fields.get("resources"));
        let placement = self.placement(&at("placement"), fields.get("placement"));
        let labels = self.labels(&at("labels"), fields.get("labels"));
        let grace = fields.get("stopGracePeriod");
        let stop_grace_period = self.whole_number(
            &at("stopGracePeriod"),
            grace,
            0,
            self.around.max_stop_grace(),
        );
        if let (Some(image), Some(environment)) = (&image, &environment) {
            self.check_required_variables(role, image, environment);
        }
        Some(ServiceSpec {
            alias: alias?,
            image: image?,
            args: args?,
            environment: environment?,
            fileid: fileid?,
            replicas: replicas?,
            tty: tty?,
            networks: networks?,
            resources: resources?,
            placement: placement?,
            labels: labels?,
            stop_grace_period: stop_grace_period?,
            split: split?,
            user: user?,
        })
    }

    fn alias(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        let alias = self.required_text(field, value)?;
        let edges = alias.starts_with(|c: char| c.is_ascii_alphanumeric())
            && alias.ends_with(|c: char| c.is_ascii_alphanumeric());
        let inside = alias
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !edges || !inside || alias.len() > 63 {
            let why = format!(
                "`{}` is not an alias; expected 1 to 63 letters, digits, `_` or `-`, \
                 with a letter or digit at both ends",
                shorten(&alias)
            );
            return self.fault(field, why);
        }
        match alias.eq_ignore_ascii_case(WORKERS_NAME) {
            true => self.fault(field, format!("`{alias}` is used by the Director itself")),
            false => Some(alias),
        }
    }

    fn image(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        let text = self.required_text(field, value)?;
        if let Err(why) = image::check(&text) {
            return self.fault(field, format!("`{}` {why}", shorten(&text)));
        }
        match self.around.required_variables(&text) {
            Ok(_) => Some(text),
            Err(why) => self.fault(field, why),
        }
    }

    fn check_required_variables(&mut self, role: &str, image: &str, environment: &[EnvVar]) {
        let required = self.around.required_variables(image).unwrap_or_default();
        for name in required {
            // The Director itself sets these two for the master.
            let given = role == "master" && (name == REMOTES || name == WORKER_ADDRESSES);
            if !given && !environment.iter().any(|var| var.name == name) {
                let why = format!("lacks `{name}`, which the image `{image}` requires");
                self.note(&format!("{role}.environment"), why);
            }
        }
    }

    fn replicas(&mut self, role: &str, value: Option<&Value>) -> Option<u32> {
        let field = format!("{role}.replicas");
        let number = self.number(&field, value, 1, self.around.max_replicas(), 1)?;
        if role == "worker" && number > MAX_WORKERS {
            let why = format!(
                "is {number}; at most {MAX_WORKERS} workers fit into one answer of Docker's DNS (64 KiB)"
            );
            return self.fault(&field, why);
        }
        u32::try_from(number).ok()
    }

    /// `fileid`, or `fileId` as answers have it.
    fn bundle_id(&mut self, role: &str, fields: &Map<String, Value>) -> Option<Option<String>> {
        let is_given = |value: &&Value| !value.is_null() && value.as_str() != Some("");
        let of = |name: &str| fields.get(name).filter(is_given);
        match (of("fileid"), of(FILE_ID)) {
            (Some(one), Some(other)) if one != other => {
                let why = "and `fileId` name two bundles; expected one of them".to_owned();
                self.fault(&format!("{role}.fileid"), why)
            }
            (None, Some(shown)) => self.fileid(&format!("{role}.{FILE_ID}"), Some(shown)),
            _ => self.fileid(&format!("{role}.fileid"), fields.get("fileid")),
        }
    }

    fn fileid(&mut self, field: &str, value: Option<&Value>) -> Option<Option<String>> {
        let id = match value {
            None | Some(Value::Null) => return Some(None),
            Some(Value::String(id)) if id.is_empty() => return Some(None),
            Some(Value::String(id)) => id,
            Some(other) => return self.fault(field, wrong_type(other, "a string")),
        };
        match self.around.has_bundle(id) {
            true => Some(Some(id.clone())),
            false => {
                let id = shorten(id);
                self.fault(
                    field,
                    format!(
                        "`{id}` is unknown; upload the bundle first and use the `id` of the answer"
                    ),
                )
            }
        }
    }

    fn environment(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<EnvVar>> {
        let texts = self.texts(field, value)?;
        let before = self.faults.len();
        let vars: Vec<EnvVar> = texts
            .iter()
            .enumerate()
            .filter_map(|(index, text)| self.variable(&format!("{field}[{index}]"), text))
            .collect();
        self.check_doubles(field, &vars);
        (self.faults.len() == before).then_some(vars)
    }

    /// The value is never part of a message: it may be a password.
    fn variable(&mut self, field: &str, text: &str) -> Option<EnvVar> {
        let Some((name, value)) = text.split_once('=') else {
            return self.fault(field, "has no `=`; expected `NAME=value`".into());
        };
        if name.is_empty() {
            return self.fault(
                field,
                "has no name before `=`; expected `NAME=value`".into(),
            );
        }
        if name == WORKER_ADDRESSES {
            return self.fault(
                field,
                format!("sets `{WORKER_ADDRESSES}`, which the Director sets itself"),
            );
        }
        if name.starts_with(RESERVED_PREFIX) {
            let name = shorten(name);
            let why = format!(
                "sets `{name}`; names that start with `{RESERVED_PREFIX}` belong to the Director"
            );
            return self.fault(field, why);
        }
        if text.len() > STRING_BYTES {
            let why = format!(
                "is {} bytes long; a container's variable holds at most {STRING_BYTES} bytes \
                 together with its name (a limit of the Linux kernel)",
                text.len()
            );
            return self.fault(field, why);
        }
        Some(EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }

    fn check_doubles(&mut self, field: &str, vars: &[EnvVar]) {
        let mut seen = HashSet::new();
        for var in vars {
            if !seen.insert(var.name.as_str()) {
                self.note(field, format!("sets `{}` twice", shorten(&var.name)));
            }
        }
    }

    fn networks(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<String>> {
        let names = self.texts(field, value)?;
        let before = self.faults.len();
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            let at = format!("{field}[{index}]");
            if name.is_empty() {
                self.note(
                    &at,
                    "is empty; expected the name of an overlay network".into(),
                );
            } else if !seen.insert(name) {
                self.note(&at, format!("names `{}` twice", shorten(name)));
            }
        }
        (self.faults.len() == before).then_some(names)
    }

    fn labels(&mut self, field: &str, value: Option<&Value>) -> Option<BTreeMap<String, String>> {
        let labels = match value {
            None | Some(Value::Null) => return Some(BTreeMap::new()),
            Some(Value::Object(labels)) => labels,
            Some(other) => {
                return self.fault(field, wrong_type(other, "an object of strings"));
            }
        };
        let before = self.faults.len();
        let labels: BTreeMap<String, String> = labels
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), self.label(field, key, value)?)))
            .collect();
        (self.faults.len() == before).then_some(labels)
    }

    fn label(&mut self, field: &str, key: &str, value: &Value) -> Option<String> {
        let at = format!("{field}.{}", shorten(key));
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let why = format!(
                "has the key `{}`; expected one without blanks",
                shorten(key)
            );
            return self.fault(field, why);
        }
        if let Some((prefix, owner)) = RESERVED_LABELS
            .into_iter()
            .find(|(prefix, _)| key.starts_with(prefix))
        {
            let why = format!("cannot be set; labels that start with `{prefix}` belong to {owner}");
            return self.fault(&at, why);
        }
        match value {
            Value::Null => self.fault(&at, wrong_type(value, "a string")),
            value => self.text(&at, Some(value)),
        }
    }
}
