//! Shell examples have a valid syntax, and their commands are accepted by the programs.

use crate::pages::{all_pages, blocks, read, split, split_inline};
use crate::shell::commands;
use atq_director::args::Args as DirectorArgs;
use clap::{Command, CommandFactory, Parser};
use std::io::Write;
use std::process::Stdio;

/// The error of `bash -n` for a script, if there is one.
fn syntax_error(script: &str) -> Option<String> {
    let mut bash = std::process::Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = bash.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = bash.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success() || !message.is_empty()).then_some(message)
}

/// The error of the argument parser, if `words` is an invalid command of `atq` or `atq-director`.
fn refusal(words: &[String]) -> Option<String> {
    let error = match words.first().map(String::as_str) {
        Some("atq") => atq_cli::args::Args::try_parse_from(words).err(),
        Some("atq-director") => DirectorArgs::try_parse_from(words).err(),
        _ => None,
    };
    // `--help` and `--version` are errors for clap as well.
    let error = error.filter(clap::Error::use_stderr);
    error.map(|error| format!("`{}`: {error}", words.join(" ")))
}

/// Unknown options and subcommands of a command in a sentence. The command may be incomplete.
fn unknown_words(code: &str) -> Vec<String> {
    let words: Vec<&str> = code.split_whitespace().collect();
    let mut command = match words.first() {
        Some(&"atq") => atq_cli::args::Args::command(),
        Some(&"atq-director") => DirectorArgs::command(),
        _ => return Vec::new(),
    };
    command.build();
    let mut current = &command;
    let mut unknown = Vec::new();
    for word in &words[1..] {
        if let Some(option) = word.strip_prefix("--") {
            let name = option.split(['=', '[']).next().unwrap_or_default();
            if !has_option(current, name) {
                unknown.push(format!("`{code}`: no option `--{name}`"));
            }
        } else if current.has_subcommands() && is_name(word) {
            match current.find_subcommand(word) {
                Some(sub) => current = sub,
                None => unknown.push(format!("`{code}`: no command `{word}`")),
            }
        }
    }
    unknown
}

fn has_option(command: &Command, name: &str) -> bool {
    ["help", "version"].contains(&name)
        || command
            .get_arguments()
            .any(|argument| argument.get_long() == Some(name))
}

/// True for a subcommand; placeholders are upper-case.
fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

#[test]
fn shell_examples_have_a_valid_syntax() {
    let scripts = blocks("sh");
    assert!(scripts.len() > 40, "{}", scripts.len());
    for (page, script) in scripts {
        if let Some(error) = syntax_error(&script) {
            panic!("{page}: {error}{script}");
        }
    }
}

#[test]
fn commands_in_examples_are_accepted() {
    let (mut checked, mut problems) = (0, Vec::new());
    for (page, script) in blocks("sh") {
        for words in commands(&script) {
            checked += usize::from(["atq", "atq-director"].contains(&words[0].as_str()));
            problems.extend(refusal(&words).map(|problem| format!("{page}: {problem}")));
        }
    }
    assert!(checked > 40, "{checked}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn commands_in_sentences_exist() {
    let (mut checked, mut problems) = (0, Vec::new());
    // `atq target` in images/testload/ is the text of a response.
    for page in all_pages()
        .iter()
        .filter(|page| !page.starts_with("images/"))
    {
        let text = read(page);
        let prose = split(&text).0.join("\n");
        for code in split_inline(&prose).1 {
            checked += usize::from(code.starts_with("atq"));
            problems.extend(unknown_words(code).iter().map(|it| format!("{page}: {it}")));
        }
    }
    assert!(checked > 50, "{checked}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_wrong_example_is_found() {
    assert!(syntax_error("if true; do\n").is_some());
    assert!(syntax_error("docker service ps <name>\n").is_some());
    assert!(syntax_error("if true; then :; fi\n").is_none());
    for script in [
        "atq run a.json --resluts out",
        "atq stpo a",
        "atq ps --limit many",
        "atq-director confg check",
        "atq-director --adopt-orphans=no",
    ] {
        assert!(refusal(&commands(script)[0]).is_some(), "{script}");
        assert!(refusal(&["echo".to_owned(), script.to_owned()]).is_none());
    }
    assert!(refusal(&commands("atq --help")[0]).is_none());
    assert_eq!(unknown_words("atq rnu TASK").len(), 1);
    assert_eq!(unknown_words("atq run TASK --detach --forse").len(), 1);
    assert_eq!(unknown_words("atq-director store chekc").len(), 1);
    assert!(unknown_words("atq-director store export [FILE]").is_empty());
}
