//! The reference of `atq-mqtt` matches the program.
#![allow(missing_docs, clippy::unwrap_used)]

use atq_mqtt::args::Cli;
use clap::{Arg, Command, CommandFactory};

const PAGE: &str = include_str!("../../docs/reference/atq-mqtt.md");

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let named = |option: &&Arg| option.get_long().is_some_and(|name| name != "help");
    command.get_arguments().filter(named)
}

/// Whether a row begins with the option, alone or with others.
fn is_documented(section: &str, name: &str) -> bool {
    let first = |row: &str| {
        row.trim_start_matches("| ")
            .split(" |")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    section
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .any(|row| first(row).contains(&format!("`--{name}`")))
}

#[test]
fn every_option_is_documented_with_its_default() {
    let command = Cli::command();
    for subcommand in command.get_subcommands() {
        let heading = format!("\n## {}\n", subcommand.get_name());
        let (_, section) = PAGE.split_once(&heading).unwrap();
        let section = section.split("\n## ").next().unwrap();
        for option in options(subcommand) {
            let name = option.get_long().unwrap();
            assert!(
                is_documented(section, name),
                "`--{name}` is not in the section{heading}"
            );
            let default = option.get_default_values().first();
            let default = default
                .map(|value| value.to_str().unwrap())
                .unwrap_or_default();
            assert!(
                default.is_empty() || section.contains(&format!("`{default}`")),
                "--{name}: `{default}`"
            );
        }
    }
}

#[test]
fn an_option_that_is_not_documented_is_found() {
    assert!(is_documented(
        "| `--backoff`, `--backoff-max` | x |",
        "backoff-max"
    ));
    assert!(!is_documented(
        "| `--backoff` | the same as `--other` |",
        "other"
    ));
}
