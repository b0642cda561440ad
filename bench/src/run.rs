//! One run: measures what was asked for, one after the other, and prints the report.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::{Args, Output, What};
use crate::machine::Machine;
use crate::report::{Failure, Report};
use crate::setup::Setup;
use crate::table;

/// Runs. A measurement that fails does not keep the others from being made; the code tells that one did.
pub fn run(args: Args) -> Result<ExitCode> {
    let each = args.what.clone().each();
    let needs = |of: fn(&What) -> bool| each.iter().any(of);
    let mut setup = Setup::new(&args, needs(What::needs_refrain), needs(What::needs_front))?;
    let mut report = Report { machine: Machine::observe(setup.folder()), rows: Vec::new(), failures: Vec::new() };
    for what in each {
        let name = what.name();
        if args.native_only && !what.has_native_side() {
            eprintln!("bench: {name} is about Refrain alone: left out");
            continue;
        }
        eprintln!("bench: {name}");
        if let Err(error) = what.measure(&setup, &mut report.rows) {
            eprintln!("bench: {name} failed: {error:#}");
            report.failures.push(Failure { measurement: name, reason: format!("{error:#}") });
        }
    }
    match args.output {
        Output::Table => print!("{}", table::of(&report)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report).context("cannot write the report")?),
    }
    if report.failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("bench: what the servers wrote is kept in {}", setup.keep().display());
    Ok(ExitCode::FAILURE)
}
