//! Settings of the kernel for the network of a container: only those that the kernel keeps separately for each network
//! namespace, so that they affect no other container. Docker passes them to the kernel as texts.

use super::declared::Declared;
use super::reader::{Field, Reader};
use crate::wording::{shorten, wrong_type};
use atq_api_spec::kernel::Sysctls;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::LazyLock;

static SYSCTLS: LazyLock<Declared> = LazyLock::new(Declared::of::<Sysctls>);

/// Ports below it are reserved for servers; the kernel refuses them in some containers.
const FIRST_PORT: u16 = 1024;

/// Names and values of the settings, as the kernel reads them.
pub fn parameters(sysctls: &Sysctls) -> Vec<(String, String)> {
    let Ok(Value::Object(all)) = serde_json::to_value(sysctls) else {
        return Vec::new();
    };
    let text = |value: Value| match value {
        Value::String(text) => text,
        number => number.to_string(),
    };
    let all = all.into_iter();
    all.map(|(name, value)| (name, text(value))).collect()
}

impl Reader<'_> {
    pub(super) fn sysctls(&mut self, field: &Field) -> Option<Sysctls> {
        let sysctls = self.optional_object(field, &SYSCTLS)?;
        let before = self.faults.len();
        let of = |name: &&str| Some(((*name).to_owned(), self.sysctl(&sysctls.field(name))?));
        let values: Map<String, Value> = SYSCTLS.names.iter().filter_map(of).collect();
        if self.faults.len() > before {
            return None;
        }
        match Sysctls::deserialize(Value::Object(values)) {
            Ok(sysctls) => Some(sysctls),
            Err(error) => self.fault(&field.path, format!("is invalid: {error}")),
        }
    }

    fn sysctl(&mut self, field: &Field) -> Option<Value> {
        match field.is_whole_number() {
            true => self.whole_number(field)?.map(Value::from),
            false => self.port_range(field).map(Value::from),
        }
    }

    /// Parses two ports, with a blank between them.
    fn port_range(&mut self, field: &Field) -> Option<String> {
        let expected = format!(
            "two ports from {FIRST_PORT} to 65535, the lower one first, as in `1024 65535`"
        );
        let text = match field.value? {
            Value::String(text) => text,
            other => return self.fault(&field.path, wrong_type(other, &expected)),
        };
        let ports = text.split_once([' ', '\t']);
        let ports = ports.and_then(|(low, high)| Some((port(low)?, port(high)?)));
        match ports.filter(|(low, high)| low <= high) {
            Some((low, high)) => Some(format!("{low} {high}")),
            None => {
                let why = format!("is `{}`; expected {expected}", shorten(text));
                self.fault(&field.path, why)
            }
        }
    }
}

fn port(text: &str) -> Option<u16> {
    let plain = (4..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|_| plain);
    port.filter(|port| *port >= FIRST_PORT)
}
