//! Measures Refrain beside the floor of the machine and beside the same servers without Refrain, in one run.
//!
//! One file a measurement under [`measure`]; [`report`] holds what is measured, [`table`] prints it. Nothing here
//! uses an asynchronous runtime: the client shares the machine with the server and has to cost little.

use std::process::ExitCode;

use clap::Parser;

mod admin;
mod args;
mod base64;
mod build;
mod cluster;
mod cpu;
mod etcd;
mod folder;
mod front;
mod haproxy;
mod http;
mod http_server;
mod journal;
mod latency;
mod loader;
mod log_lines;
mod machine;
mod measure;
mod native;
mod nginx;
mod open_files;
mod paced;
mod pause;
mod ping;
mod ports;
mod process;
mod program;
mod raw;
mod redis_server;
mod report;
mod resident;
mod resp;
mod run;
mod server;
mod service_copy;
mod setup;
mod stream;
mod table;
mod upstream;
mod wasmtime;
mod wrk;

fn main() -> ExitCode {
    match run::run(args::Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
