//! Errors of the configuration, with hints.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::SMALLEST;

/// An error of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was given and none is in this working directory.
    #[error(
        "no configuration: neither `controller-config.yaml` nor `controller-config.yml` is in `{}`\nhint: `--config FILE` selects another file{}", .0.display(), smallest()
    )]
    NotFound(PathBuf),
    /// The file is missing or cannot be read.
    #[error("cannot read the configuration `{}`: {source}{}", .path.display(), smallest())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file or directory cannot be used.
    #[error("`{key}` cannot be used: `{}`: {source}", .path.display())]
    Unusable {
        /// The key of the path.
        key: String,
        /// The file or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The text is too large.
    #[error("the configuration is larger than {0} bytes")]
    TooBig(usize),
    /// The text is not YAML, or not a mapping of keys to values.
    #[error("the configuration is not valid YAML{}: {message}{}", at(*.line), smallest())]
    Syntax {
        /// Line of the fault, from 1, if known.
        line: Option<u64>,
        /// Message of the parser.
        message: String,
    },
    /// Some values are missing, unknown or invalid.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
    /// One of the above, in this file.
    #[error("in `{}`: {source}", .path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The error.
        source: Box<ConfigError>,
    },
}

/// A fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key with its parents, as in `limits.entries` or `images[0].imageName`.
    pub key: String,
    /// The source of the value.
    pub place: Origin,
    /// Description of the fault; continues a sentence that begins with the key.
    pub message: String,
    /// Whether a required key is missing.
    pub missing: bool,
}

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file, from 1.
    Line(u64),
    /// An environment variable.
    Environment(String),
    /// The value is missing.
    Missing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, message, .. } = self;
        match &self.place {
            Origin::Line(line) => write!(f, "`{key}` (line {line}) {message}"),
            Origin::Environment(name) => {
                write!(f, "`{key}` (from the variable `{name}`) {message}")
            }
            Origin::Missing => write!(f, "`{key}` {message}"),
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
