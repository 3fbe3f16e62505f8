//! What is wrong with a configuration, in words that help to put it right.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::SMALLEST;

/// Why the Director cannot start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named and none is in the working directory.
    #[error(
        "no configuration: neither `controller-config.yaml` nor `controller-config.yml` is in `{}`\nhint: `--config FILE` names another one{}", .directory.display(), smallest()
    )]
    NotFound {
        /// The working directory.
        directory: PathBuf,
    },
    /// The file is not there or cannot be read.
    #[error("cannot read the configuration `{}`: {source}{}", .path.display(), smallest())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file or directory cannot be used.
    #[error("`{key}` cannot be used: `{}`: {source}", .path.display())]
    Unusable {
        /// The key that names it.
        key: String,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The text is larger than any configuration.
    #[error("the configuration is larger than {limit} bytes")]
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
    /// The text is not YAML, or not a mapping of keys to values.
    #[error("the configuration is not valid YAML{}: {message}{}", at(*.line), smallest())]
    Syntax {
        /// Line of the fault, from 1, if known.
        line: Option<u64>,
        /// What the parser said.
        message: String,
    },
    /// Some values are missing, unknown or wrong.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
    /// One of the above, in this file.
    #[error("in `{}`: {source}", .path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<ConfigError>,
    },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key with its parents, as in `limits.entries` or `images[0].imageName`.
    pub key: String,
    /// Where the value comes from.
    pub place: Place,
    /// What is wrong with it, as the rest of a sentence that begins with the key.
    pub message: String,
    /// Whether a required key is missing.
    pub missing: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the file, from 1.
    Line(u64),
    /// An environment variable.
    Environment(String),
    /// Nowhere.
    Nowhere,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, message, .. } = self;
        match &self.place {
            Place::Line(line) => write!(f, "`{key}` (line {line}) {message}"),
            Place::Environment(name) => write!(f, "`{key}` (from the variable `{name}`) {message}"),
            Place::Nowhere => write!(f, "`{key}` {message}"),
        }
    }
}

fn at(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(" (line {line})"))
}

fn smallest() -> String {
    let indented = SMALLEST.trim_end().replace('\n', "\n  ");
    format!("\nthe smallest valid file:\n  {indented}")
}

fn list(faults: &[Fault]) -> String {
    let mut text = match faults {
        [_] => "the configuration has a fault".to_owned(),
        _ => format!("the configuration has {} faults", faults.len()),
    };
    for fault in faults {
        text.push_str(&format!("\n  {fault}"));
    }
    if faults.iter().any(|fault| fault.missing) {
        text.push_str(&smallest());
    }
    text
}
