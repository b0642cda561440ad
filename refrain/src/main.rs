//! `refrain`: the server. Parses the command line and hands over.

mod admin;
mod cli;
mod config;
mod exit;
mod history;
mod logging;
mod service;
mod shard;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    exit::abort_on_panic();
    cli::run()
}
