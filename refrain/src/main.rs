//! `refrain`: the server. Parses the command line and hands over.

mod cli;
mod data_dir;
mod exit;
mod logging;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    exit::abort_on_panic();
    cli::run()
}
