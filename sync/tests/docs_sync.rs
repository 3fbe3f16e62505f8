//! The reference of `atq-sync` matches the program.
#![allow(missing_docs, clippy::unwrap_used)]

use atq_sync::args::{Args, EXIT_CODES};
use clap::{Arg, Command, CommandFactory};

const PAGE: &str = include_str!("../../docs/reference/atq-sync.md");

/// The row of an option: name, variable, default.
fn row(option: &Arg) -> String {
    let quoted = |text: String| format!("`{text}`");
    let variable = option
        .get_env()
        .map(|name| quoted(name.to_str().unwrap().to_owned()));
    let default = option.get_default_values().first();
    let default = default.map(|value| quoted(value.to_str().unwrap().to_owned()));
    let none = if option.is_required_set() {
        "required"
    } else {
        "none"
    };
    format!(
        "| `--{}` | {}| {} |",
        option.get_long().unwrap(),
        variable.map(|text| format!("{text} ")).unwrap_or_default(),
        default.unwrap_or_else(|| none.to_owned())
    )
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let named = |option: &&Arg| option.get_long().is_some_and(|name| name != "help");
    command.get_arguments().filter(named)
}

#[test]
fn every_option_is_documented_with_its_variable_and_default() {
    let command = Args::command();
    let roles = command.get_subcommands().filter(|role| !role.is_hide_set());
    for role in roles {
        for option in options(role) {
            let row = row(option);
            assert!(
                PAGE.contains(&row),
                "docs/reference/atq-sync.md lacks `{row}`"
            );
        }
    }
}

#[test]
fn every_exit_code_is_documented_in_the_words_of_the_help() {
    let mut checked = 0;
    for line in EXIT_CODES.lines().filter(|line| line.starts_with("  ")) {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        let row = PAGE
            .lines()
            .find(|row| row.starts_with(&format!("| {code} |")));
        let row = row.unwrap_or_default();
        assert!(
            row.contains(&format!(" {meaning} |")),
            "{code}: `{meaning}` is not in `{row}`"
        );
        checked += 1;
    }
    assert!(checked > 14, "{checked}");
}
