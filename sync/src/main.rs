//! The program: arguments, runtime and exit code. The work itself is in the library.

use std::process::exit;

use atq_sync::args::{Args, Role};
use atq_sync::exit::Code;
use atq_sync::{master, output, worker};
use clap::Parser;

fn main() {
    let role = Args::parse().role;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let code = match (runtime, role) {
        (Err(error), _) => {
            output::problem(&format!("cannot start: {error}"));
            Code::REFUSED
        }
        (Ok(runtime), Role::Worker(args)) => runtime.block_on(worker::run(args)),
        (Ok(runtime), Role::Master(args)) => runtime.block_on(master::run(args)),
    };
    exit(code.value().into());
}
