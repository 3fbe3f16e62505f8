//! What is written where: results to standard output, everything about the way there to standard error;
//! as JSON when asked for. Colours are left out where they would only disturb (`NO_COLOR`, no terminal).

use crate::trouble::Trouble;
use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::json;
use std::fmt::Display;
use std::io::IsTerminal;

/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What should be looked at.
pub const DOUBT: Style = AnsiColor::Yellow.on_default().bold();
/// What is said by the way.
pub const ASIDE: Style = Style::new().dimmed();

/// Where to write.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    /// Whether results are JSON.
    pub json: bool,
    /// Whether somebody watches: standard error is a terminal.
    pub watched: bool,
}

impl Out {
    /// Writes to the streams of this process.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            watched: std::io::stderr().is_terminal(),
        }
    }

    /// A line of the result, unless that is JSON.
    pub fn line(&self, line: impl Display) {
        if !self.json {
            println!("{line}");
        }
    }

    /// The result as JSON, if that is wanted.
    pub fn result(&self, result: &impl Serialize) {
        if self.json {
            match serde_json::to_string_pretty(result) {
                Ok(text) => println!("{text}"),
                Err(error) => eprintln!("the result cannot be written as JSON: {error}"),
            }
        }
    }

    /// A line about the way to the result.
    pub fn progress(&self, line: impl Display) {
        eprintln!("{line}");
    }

    /// Says what went wrong: in words, and for `--json` as an object with the member `error`.
    pub fn trouble(&self, trouble: &Trouble) {
        eprintln!("{BAD}error:{BAD:#} {trouble}");
        if let Trouble::Rejected { faults, .. } = trouble {
            for fault in faults {
                eprintln!("  `{}` {}", fault.field, fault.message);
            }
        }
        if let Trouble::Faults { file, faults } = trouble {
            for fault in faults {
                eprintln!("{}", fault.told(file));
            }
        }
        if !trouble.hint().is_empty() {
            eprintln!("{ASIDE}hint: {}{ASIDE:#}", trouble.hint());
        }
        let mut told = json!({
            "error": trouble.to_string(),
            "hint": trouble.hint(),
            "exitCode": trouble.exit().code(),
            "exit": trouble.exit(),
        });
        match trouble {
            Trouble::Faults { faults, .. } => told["faults"] = json!(faults),
            Trouble::Rejected { faults, .. } => told["faults"] = json!(faults),
            _ => {}
        }
        self.result(&told);
    }
}
