//! One module per command.

mod bundles;
mod completions;
mod context;
mod events;
mod init;
mod login;
mod logout;
mod logs;
mod outcome;
mod ps;
mod report;
mod results;
mod rm;
mod run;
mod sentence;
mod show;
mod stdout;
mod stop;
mod swarm;
mod token;
mod upload;
mod validate;
mod version;
mod wait;
mod watch;

pub use context::context;
pub use login::login;
pub use logout::logout;

use crate::args::Command;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Runs a command that uses one Director. Those about stored contexts have functions of their own.
///
/// # Errors
/// The error of the command.
pub async fn perform(context: &Context, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::Run(args) => run::run(context, args).await,
        Command::Watch(args) => watch::watch(context, args).await,
        Command::Wait(args) => wait::wait(context, args).await,
        Command::Init(args) => init::init(context, args).await,
        Command::Validate(args) => validate::validate(context, args).await,
        Command::Upload(args) => upload::upload(context, args).await,
        Command::Bundles(args) => bundles::bundles(context, args).await,
        Command::Ps(args) => ps::ps(context, args).await,
        Command::Show(args) => show::show(context, args).await,
        Command::Logs(args) => logs::logs(context, args).await,
        Command::Events(args) => events::events(context, args).await,
        Command::Stop(args) => stop::stop(context, args).await,
        Command::Rm(args) => rm::rm(context, args).await,
        Command::Results(args) => results::results(context, args).await,
        Command::Report(args) => report::report(context, args).await,
        Command::Swarm => swarm::swarm(context).await,
        Command::Token(args) => token::token(context, args).await,
        // Performed before there is a Director.
        Command::Login(_) | Command::Logout(_) | Command::Context(_) => Ok(Exit::Pass),
        Command::Version => version::version(context).await,
        Command::Completions(args) => completions::completions(context, args).await,
    }
}
