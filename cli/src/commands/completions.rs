//! `atq completions`.

use crate::args::{Args, Completions, Shell};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use clap::CommandFactory;
use clap_complete::generate;
use serde_json::json;

/// Prints the script for the shell.
///
/// # Errors
/// None.
pub async fn completions(context: &Context, args: &Completions) -> Result<Exit, CliError> {
    let script = script(args.shell);
    context
        .out
        .show([script.trim_end()], &json!({ "script": script }));
    Ok(Exit::Pass)
}

fn script(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "atq", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for command in Args::command().get_subcommands() {
                let name = command.get_name();
                assert!(script.contains(name), "{shell:?} lacks `{name}`");
            }
        }
    }
}
