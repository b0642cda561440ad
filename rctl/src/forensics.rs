//! `rctl forensics ...`: what a node kept of replicas that diverged. Reads the data folder alone.

use std::path::{Path, PathBuf};

use refrain_api::ForensicReport;
use refrain_api::discovery::DEFAULT_DATA_DIR;
use serde::Serialize;

use crate::args::Options;
use crate::error::RctlError;
use crate::human::size;
use crate::output::Output;
use crate::table::{Cell, printable, render};

const HEADER: [&str; 7] = ["BUNDLE", "SEAT", "NODE", "DIVERGED AT", "STATE AT", "SIZE", "NOTE"];
/// Width of the first column of `show`.
const LABEL: usize = 16;

/// A bundle with its name for programs.
#[derive(Serialize)]
struct Kept {
    bundle: String,
    path: String,
    report: ForensicReport,
}

fn data_dir(options: &Options) -> PathBuf {
    options.data_dir.clone().unwrap_or_else(|| DEFAULT_DATA_DIR.into())
}

fn all(data_dir: &Path) -> Result<Vec<Kept>, RctlError> {
    let found = ForensicReport::list(data_dir);
    let found = found.map_err(|source| RctlError::Read { path: data_dir.to_owned(), source })?;
    let kept = found.into_iter().map(|(path, report)| {
        let bundle = format!("{}/{}", report.service, report.folder_name());
        Kept { bundle, path: path.display().to_string(), report }
    });
    Ok(kept.collect())
}

pub fn list(options: &Options) -> Result<Output, RctlError> {
    let data_dir = data_dir(options);
    let kept = all(&data_dir)?;
    let rows: Vec<Vec<Cell>> = kept.iter().map(row).collect();
    let none = format!("no forensic bundles in {}\n", data_dir.display());
    let text = move |colour| if rows.is_empty() { none.clone() } else { render(&HEADER, &rows, colour) };
    Ok(Output::value(&kept, text))
}

fn row(kept: &Kept) -> Vec<Cell> {
    let report = &kept.report;
    let state = report.state.as_ref();
    vec![
        Cell::text(&kept.bundle),
        Cell::number(report.seat),
        Cell::number(report.node),
        Cell::number(report.position),
        Cell::number(state.map_or("-".to_owned(), |state| state.position.to_string())),
        Cell::number(state.map_or("-".to_owned(), |state| size(state.bytes))),
        Cell::text(report.note.as_deref().unwrap_or_default()),
    ]
}

pub fn show(options: &Options, name: &str) -> Result<Output, RctlError> {
    let data_dir = data_dir(options);
    let kept = all(&data_dir)?;
    let named = |kept: &&Kept| kept.bundle == name || kept.bundle.split_once('/').is_some_and(|(_, rest)| rest == name);
    let Some(found) = kept.iter().find(named) else {
        let known: Vec<String> = kept.iter().map(|kept| kept.bundle.clone()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(RctlError::NoBundle { name: name.to_owned(), known });
    };
    let text = text(found, &data_dir);
    Ok(Output::value(found, move |_| text.clone()))
}

fn text(kept: &Kept, data_dir: &Path) -> String {
    let report = &kept.report;
    let mut text = format!("{}\n", printable(&kept.bundle));
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:LABEL$}{}\n", printable(&value)));
    line("folder", kept.path.clone());
    line("service", format!("{}, group {}", report.service, report.group));
    line("seat", format!("{}, incarnation {}, node {}", report.seat, report.incarnation, report.node));
    line("diverged at", format!("position {}, out by the record at {}", report.position, report.recorded_at));
    line("voted", report.voted.clone());
    line("agreed", report.agreed.clone());
    match &report.state {
        None => line("state", "none".to_owned()),
        Some(state) => {
            line("state", format!("after position {}, {}", state.position, size(state.bytes)));
            line("running digest", state.running_digest.clone());
            line("root", state.root.clone());
            let stack = if state.with_stack { "with" } else { "without" };
            let bytes = if state.bytes_kept { "all bytes kept" } else { "digests alone" };
            line("kept", format!("{bytes}, {stack} the guest's call stack"));
        }
    }
    if let Some(note) = &report.note {
        line("note", note.clone());
    }
    match &report.checkpoint {
        None => line("last checkpoint", "none".to_owned()),
        Some(checkpoint) => line("last checkpoint", format!("position {}, {}", checkpoint.position, checkpoint.root)),
    }
    line("module", report.module.clone());
    line("bundle", report.bundle.clone());
    let program = report.engine.program.as_deref().unwrap_or("not known");
    line("engine", format!("{}, key {}", report.engine.version, report.engine.key));
    line("program", program.to_owned());
    let host = &report.host;
    line("host", format!("{}, Linux {}, {}", host.name, host.kernel, host.processor));
    line("written", format!("{} seconds after 1970 began, UTC", report.unix_seconds));
    let dir = data_dir.display();
    text.push_str(&format!(
        "\nwhat the replica should have been (the node must not run, or copy the folder):\n  \
         rctl replay {} --data-dir {dir} --until-differs {}\n",
        report.service, kept.path
    ));
    text
}
