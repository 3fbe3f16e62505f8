//! The program: arguments, runtime and exit code. The work itself is in the library.

use std::process::exit;

use atq_sync::args::{Args, Role};
use atq_sync::exit::Code;
use atq_sync::{exec_at, master, output, worker};
use clap::Parser;

fn main() {
    let code = match Args::parse().role {
        Role::ExecAt(args) => exec_at::run(&args),
        Role::Worker(args) => block_on(worker::run(args)),
        Role::Master(args) => block_on(master::run(args)),
    };
    exit(code.value().into());
}

fn block_on(role: impl Future<Output = Code>) -> Code {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(role),
        Err(error) => {
            output::log_line(&format!("cannot start: {error}"));
            Code::REFUSED
        }
    }
}
