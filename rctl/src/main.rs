//! `rctl`: the command line of Refrain. Parses arguments, calls one function, prints its result.
//!
//! Exit codes: 0 done, 1 failed or (`check`) cannot run, 2 wrong usage. Results go to standard output, errors to
//! standard error; with `-o json` both are JSON.

mod args;
mod build;
mod check;
mod client;
mod deploy;
mod dev;
mod error;
mod forensics;
mod human;
mod invoke;
mod logs;
mod new;
mod output;
mod replay;
mod resolve;
mod sequencer;
mod service;
mod show;
mod status;
mod table;
mod trace;
mod upgrade;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Command, ForensicsCommand, Options, SequencerCommand, ServiceCommand};
use client::Client;
use error::RctlError;
use output::{Format, Output};
use sequencer::Change;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let format = arguments.options.format();
    match run(arguments.command, &arguments.options) {
        Ok(output) => output.print(format),
        Err(error) => {
            match format {
                Format::Table => eprintln!("rctl: {}", error.told()),
                Format::Json => eprintln!("{}", error.json()),
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, options: &Options) -> Result<Output, RctlError> {
    match command {
        Command::Status => {
            let client = Client::find(options)?;
            let status = client.status()?;
            Ok(status::output(&status, client.address()))
        }
        Command::New { lang, name, dir, sdk } => new::run(lang, &name, dir.as_deref(), sdk.as_deref()),
        Command::Check { module } => check::run(&module),
        Command::Service { command } => run_service(command, options),
        Command::Sequencer { command } => {
            let client = Client::find(options)?;
            match command {
                SequencerCommand::List { shard } => sequencer::list(&client, shard),
                SequencerCommand::Add { node, address, shard } => {
                    sequencer::change(&client, node, Change::Add(&address), shard)
                }
                SequencerCommand::Remove { node, shard } => sequencer::change(&client, node, Change::Remove, shard),
                SequencerCommand::Transfer { node, shard } => sequencer::change(&client, node, Change::Transfer, shard),
            }
        }
        Command::Replay(replay) => Err(replay.run(options)),
        Command::Forensics { command } => match command {
            ForensicsCommand::List => forensics::list(options),
            ForensicsCommand::Show { bundle } => forensics::show(options, &bundle),
        },
        Command::Trace { of, last } => trace::run(&Client::find(options)?, of.as_deref(), last),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut args::Arguments::command(), "rctl", &mut script);
            Ok(Output::text(String::from_utf8_lossy(&script).into_owned()))
        }
    }
}

fn run_service(command: ServiceCommand, options: &Options) -> Result<Output, RctlError> {
    match command {
        ServiceCommand::Init { dir, name } => service::init(&dir, name),
        ServiceCommand::Build { dir, check, wasm_opt } => build::run(&dir, check, wasm_opt),
        ServiceCommand::Show { name } => show::run(&Client::find(options)?, &name),
        ServiceCommand::Logs { name, lines, follow } => {
            logs::run(&Client::find(options)?, &name, lines as usize, follow, options.format())
        }
        ServiceCommand::KillReplica { target } => service::kill(&Client::find(options)?, &target),
        ServiceCommand::CorruptReplica { target, address, bit } => {
            service::corrupt(&Client::find(options)?, &target, address, bit)
        }
        ServiceCommand::Audit { name } => service::audit(&Client::find(options)?, &name),
        ServiceCommand::Resume { name } => service::resume(&Client::find(options)?, &name),
        ServiceCommand::Scale { name, replicas } => service::scale(&Client::find(options)?, &name, replicas),
        ServiceCommand::Upgrade { name, dir } => upgrade::run(&Client::find(options)?, &name, &dir, options),
        ServiceCommand::Deploy { dir, weight } => deploy::run(&Client::find(&options.clone().patient())?, &dir, weight),
        ServiceCommand::Dev { dir, wasm_opt } => dev::run(&Client::find(&options.clone().patient())?, &dir, wasm_opt),
        ServiceCommand::Invoke { invocation } => invoke::run(&Client::find(options)?, &invocation),
        ServiceCommand::Weights { name, weights } => deploy::weigh(&Client::find(options)?, &name, weights),
        ServiceCommand::Remove { name, version } => deploy::remove(&Client::find(options)?, &name, &version),
        ServiceCommand::Rebuild { target } => service::rebuild(&Client::find(options)?, &target),
    }
}
