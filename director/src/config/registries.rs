//! The logins of `registryAuth`. Any value may be a misplaced password, so faults never contain values.

use std::path::PathBuf;

use super::document::{Environment, Located, Section, Value};
use super::error::Origin;
use super::fields;
use atq_engine_swarm::registry::{Login, Password, RegistryAuth, Secret};
use atq_task::image::{HUB, is_registry};

const KEY: &str = "registryAuth";
const USERNAME: &str = "username";
const PASSWORDS: [&str; 3] = ["password", "passwordFile", "passwordEnv"];

pub(super) fn read(section: &mut Section<'_>) -> RegistryAuth {
    let mut logins = RegistryAuth::new();
    let env = section.environment();
    for (host, entry) in section.entries(KEY, "a mapping of registries to logins") {
        let (name, line) = (format!("{KEY}[{host}]"), entry.line);
        for message in [check_host(&host), check_entry(&entry)] {
            if let Err(message) = message {
                section.fault(&name, Origin::Line(line), message);
            }
        }
        let login = section
            .named(&name, entry)
            .and_then(|mut entry| read_login(&mut entry, env));
        if let Some(login) = login {
            logins.insert(host, login);
        }
    }
    logins
}

fn check_host(host: &str) -> Result<(), String> {
    if ["index.docker.io", "registry-1.docker.io"].contains(&host) {
        return Err(format!("is Docker Hub: did you mean `{HUB}`?"));
    }
    if is_registry(host) {
        return Ok(());
    }
    let bare = host.split_once("://").map_or(host, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or_default();
    let what =
        "must be a registry as images name it, like `registry.example.com:5000` or `docker.io`";
    match is_registry(bare) {
        true => Err(format!("{what}: did you mean `{bare}`?")),
        false => Err(what.to_owned()),
    }
}

/// Checks that there is one user name and exactly one source of the password.
fn check_entry(entry: &Located) -> Result<(), String> {
    let Value::Map(entries) = &entry.value else {
        return Err("must be a mapping with `username` and a password".to_owned());
    };
    let has = |key: &&str| {
        let found = entries.iter().find(|(name, _)| name == key);
        found.is_some_and(|(_, located)| located.value != Value::Null)
    };
    let sources = format!("`{}`", PASSWORDS.join("`, `"));
    if !has(&USERNAME) {
        return Err(format!("needs a `{USERNAME}`"));
    }
    match PASSWORDS.iter().filter(|key| has(key)).count() {
        0 => Err(format!("needs one of {sources}")),
        1 => Ok(()),
        _ => Err(format!("has more than one of {sources}")),
    }
}

fn read_login(entry: &mut Section<'_>, env: Option<Environment<'_>>) -> Option<Login> {
    let username = entry.optional(USERNAME, fields::secret);
    let [text, file, variable] = PASSWORDS;
    let text = entry.optional(text, fields::secret);
    let file = entry.optional(file, fields::secret).map(PathBuf::from);
    let variable = entry.optional(variable, |value| from_variable(value, env));
    entry.finish();
    let text = text
        .or(variable)
        .map(|text| Password::Text(Secret::new(text)));
    Some(Login {
        username: username?,
        password: text.or(file.map(Password::File))?,
    })
}

/// The value of an environment variable of the Director, so that the file contains no password.
fn from_variable(value: &Value, env: Option<Environment<'_>>) -> Result<String, String> {
    let name = fields::secret(value)?;
    let text = env.and_then(|env| env(&name)).unwrap_or_default();
    match text.is_empty() {
        true => Err("refers to a variable that is not set".to_owned()),
        false => Ok(text),
    }
}
