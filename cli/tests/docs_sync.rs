#![allow(missing_docs, clippy::unwrap_used)]
//! The documentation matches the program.

use atq_cli::args::Args;
use atq_cli::exit::Exit;
use clap::CommandFactory;
use std::path::Path;

/// The reference of the command line.
const PAGE: &str = "docs/reference/atq.md";

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_exit_codes_are_documented() {
    let page = document(PAGE);
    for exit in Exit::ALL {
        let row = format!("| {} | {} |", exit.code(), exit.meaning());
        assert!(page.contains(&row), "{PAGE} lacks `{row}`");
    }
}

#[test]
fn the_step_for_jenkins_describes_the_exit_codes_in_the_same_words() {
    let step = document("deploy/jenkins/src/atq/LoadTest.groovy");
    let page = document("deploy/jenkins/README.md");
    for exit in &Exit::ALL[1..] {
        let (code, meaning) = (exit.code(), exit.meaning());
        let starts = format!("        {code}: [");
        let entry = step.lines().find(|line| line.starts_with(&starts));
        let entry = entry.unwrap_or_default();
        assert!(entry.contains(meaning), "{meaning}: {entry}");
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| {code} |")));
        let row = row.unwrap_or_default();
        assert!(row.contains(&format!("| {meaning} |")), "{meaning}: {row}");
    }
}

#[test]
fn global_options_and_variables_are_documented() {
    let page = document(PAGE);
    let command = Args::command();
    for option in command.get_arguments().filter_map(clap::Arg::get_long) {
        let known = ["help", "version"].contains(&option);
        assert!(
            known || page.contains(&format!("`--{option}")),
            "{PAGE} lacks `--{option}`"
        );
    }
    for variable in [
        "ATQ_URL",
        "ATQ_CA",
        "ATQ_TOKEN",
        "ATQ_TOKEN_FILE",
        "ATQ_CONTEXT",
        "ATQ_JWT",
    ] {
        assert!(
            page.contains(&format!("`{variable}`")),
            "{PAGE} lacks `{variable}`"
        );
    }
}

#[test]
fn every_command_and_option_is_documented() {
    let page = document(PAGE);
    let command = Args::command();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for sub in command.get_subcommands() {
        let named = format!("`{}`", sub.get_name());
        let has_row = rows.iter().any(|row| {
            let first = row.split(" | ").next().unwrap_or_default();
            first.contains(&named)
        });
        assert!(
            has_row,
            "{PAGE} does not describe the output of `{named} --json`"
        );
        let heading = format!("\n### `atq {}", sub.get_name());
        let begin = page
            .find(&heading)
            .unwrap_or_else(|| panic!("{PAGE} lacks `{heading}`"));
        let rest = &page[begin + 1..];
        let section = rest.find("\n### ").map_or(rest, |end| &rest[..end]);
        let actions: Vec<_> = sub.get_subcommands().collect();
        for action in &actions {
            let name = action.get_name();
            assert!(
                section.contains(name),
                "{PAGE}, `atq {}`, lacks `{name}`",
                sub.get_name()
            );
        }
        let of_actions = actions.iter().flat_map(|action| action.get_arguments());
        let own = sub.get_arguments().chain(of_actions);
        for option in own.filter_map(clap::Arg::get_long) {
            let known = ["help", "version", "url", "json"].contains(&option);
            assert!(
                known || section.contains(&format!("`--{option}")),
                "{PAGE}, `atq {}`, lacks `--{option}`",
                sub.get_name()
            );
        }
    }
}
