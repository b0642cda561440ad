//! `refrain replay`: a service's log replayed from a folder, printed turn by turn or held against another folder.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use refrain::replay::{Comparison, Finding, Folder, Player, Start, Survey, Turn, Verifier, compare, words};
use refrain_api::{FORENSIC_REPORT_FILE, ForensicReport};
use refrain_engine::Platform;
use refrain_service::BundleDigest;
use refrain_wire::Position;
use serde::Serialize;

use crate::exit;

/// Flags of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The service: namespace/name, or the name alone when it is unique.
    service: String,
    /// A data folder that no node uses: a stopped node's, or a copy.
    #[arg(long, value_name = "DIR", env = "REFRAIN_DATA_DIR", default_value = refrain_api::discovery::DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
    /// Begins with a checkpoint of the folder: its position, the beginning of its root, or `newest`.
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<String>,
    /// The last position [default: the end of the log].
    #[arg(long, value_name = "POSITION")]
    to: Option<u64>,
    /// Prints no turns before this position; they are replayed all the same.
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    print_from: u64,
    /// Prints no turns, and finds where another data folder, or a forensic bundle, differs.
    #[arg(long, value_name = "DATA_DIR")]
    until_differs: Option<PathBuf>,
    /// How results are printed; json is an object a line.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// One object a line.
    Json,
}

/// A turn for programs.
#[derive(Serialize)]
struct TurnLine {
    position: u64,
    log_time_micros: u64,
    given: Vec<String>,
    calls: Vec<String>,
    more_calls: usize,
    effects: Vec<String>,
    running_digest: String,
    fuel: u64,
}

/// What came of a replay.
#[derive(Serialize)]
struct Summary {
    service: String,
    turns: u64,
    last_position: u64,
    running_digest: String,
    findings: Vec<Finding>,
    notes: Vec<String>,
}

/// Replays; exit code 1 when something differs.
pub(crate) fn run(args: &ReplayArgs) -> ExitCode {
    match replay(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => exit::of(Err(error)),
    }
}

fn replay(args: &ReplayArgs) -> anyhow::Result<bool> {
    let to = Position(args.to.unwrap_or(u64::MAX));
    let (folder, survey) = Survey::find(&args.data_dir, &args.service, to)?;
    let platform = Platform::new(None)?.traced()?;
    let mut notes = Vec::new();
    if survey.engine != platform.key() {
        let (made, here) = (survey.engine, platform.key());
        notes.push(format!(
            "the log was made by engine {made}, this is engine {here}: turns may differ for that reason"
        ));
    }
    notes.extend(
        survey
            .upgrades
            .iter()
            .map(|(at, bundle)| format!("at position {at} the service is given bundle {}", BundleDigest::new(*bundle))),
    );
    let start = match &args.from {
        None => Start::Beginning,
        Some(word) => Start::parse(word, &folder, &survey, to)?,
    };
    let out = &mut io::stdout().lock();
    match &args.until_differs {
        None => play(args, &folder, &survey, &platform, start, to, notes, out),
        Some(other) if other.join(FORENSIC_REPORT_FILE).is_file() => {
            let report = ForensicReport::read(other)?;
            let mut verifier = Verifier::of_forensic(other, &report)?;
            let last = verifier.last().context("the forensic bundle has no state to compare with")?;
            let last_turn = run_to(&folder, &survey, &platform, start, last.min(to), &mut verifier)?;
            finish(args, &survey, last_turn, verifier.findings, notes, out)
        }
        Some(other) => {
            let (other, there) = Survey::find(other, &survey.service, to)?;
            let mut found = compare((&folder, &survey), (&other, &there), &platform, start, to)?;
            found.notes.splice(..0, notes);
            tell(args, &found, out)
        }
    }
}

/// Replays and prints no turns.
fn run_to(
    folder: &Folder,
    survey: &Survey,
    platform: &Platform,
    start: Start,
    to: Position,
    verifier: &mut Verifier,
) -> anyhow::Result<(u64, Option<Turn>)> {
    let mut player = Player::begin(folder, survey, platform, start)?;
    let (mut turns, mut last) = (0, None);
    while player.peek()?.is_some_and(|next| next <= to) {
        let Some(turn) = player.play()? else { break };
        verifier.check(&mut player, &turn)?;
        (turns, last) = (turns + 1, Some(turn));
    }
    Ok((turns, last))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one command line, each used once")]
fn play(
    args: &ReplayArgs,
    folder: &Folder,
    survey: &Survey,
    platform: &Platform,
    start: Start,
    to: Position,
    mut notes: Vec<String>,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    if folder.log().certain() < folder.log().last().min(to) {
        let (certain, last) = (folder.log().certain(), folder.log().last());
        notes.push(format!("this member had entries up to {last}, and knew them to be committed up to {certain}"));
    }
    let mut player = Player::begin(folder, survey, platform, start)?;
    let mut verifier = Verifier::of(folder, survey)?;
    let (mut turns, mut last) = (0, None);
    while let Some(next) = player.peek()?.filter(|next| *next <= to) {
        let printed = next.0 >= args.print_from;
        player.tell_calls(printed);
        let Some(turn) = player.play()? else { break };
        let known = verifier.findings.len();
        verifier.check(&mut player, &turn)?;
        if printed {
            print_turn(args.output, &turn, out)?;
            if args.output == Format::Text {
                verifier.findings[known..].iter().try_for_each(|finding| writeln!(out, "  check   {finding}"))?;
            }
        }
        (turns, last) = (turns + 1, Some(turn));
    }
    finish(args, survey, (turns, last), verifier.findings, notes, out)
}

fn print_turn(format: Format, turn: &Turn, out: &mut impl Write) -> anyhow::Result<()> {
    let line = TurnLine {
        position: turn.batch.position.0,
        log_time_micros: turn.batch.time.micros(),
        given: words::batch(&turn.batch),
        calls: turn.calls.iter().map(ToString::to_string).collect(),
        more_calls: turn.more_calls,
        effects: turn.outcome.effects.effects.iter().map(words::effect).collect(),
        running_digest: turn.outcome.after.short().to_string(),
        fuel: turn.outcome.fuel,
    };
    if format == Format::Json {
        serde_json::to_writer(&mut *out, &line)?;
        return Ok(writeln!(out)?);
    }
    let time = words::time(turn.batch.time);
    writeln!(out, "position {}  time {time}  digest {}  fuel {}", line.position, line.running_digest, line.fuel)?;
    let parts = [("given", &line.given), ("call", &line.calls), ("effect", &line.effects)];
    for (label, lines) in parts {
        lines.iter().try_for_each(|line| writeln!(out, "  {label:<7} {line}"))?;
        if label == "call" && line.more_calls > 0 {
            writeln!(out, "  call    and {} more", line.more_calls)?;
        }
    }
    Ok(())
}

fn finish(
    args: &ReplayArgs,
    survey: &Survey,
    (turns, last): (u64, Option<Turn>),
    findings: Vec<Finding>,
    notes: Vec<String>,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let agrees = findings.iter().all(|finding| finding.agrees);
    let last_position = last.as_ref().map_or(0, |turn| turn.batch.position.0);
    let running_digest = last.map_or_else(String::new, |turn| turn.outcome.after.short().to_string());
    let summary = Summary { service: survey.service.clone(), turns, last_position, running_digest, findings, notes };
    if args.output == Format::Json {
        writeln!(out, "{}", serde_json::json!({ "summary": summary }))?;
        return Ok(agrees);
    }
    writeln!(out, "{}: {turns} turns replayed, the last at position {last_position}", summary.service)?;
    if turns > 0 {
        writeln!(out, "running digest {}", summary.running_digest)?;
    }
    summary.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
    print_findings("this folder says", &summary.findings, out)?;
    Ok(agrees)
}

fn print_findings(who: &str, findings: &[Finding], out: &mut impl Write) -> anyhow::Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let parted = findings.iter().position(|finding| !finding.agrees);
    let agreeing = findings[..parted.unwrap_or(findings.len())].last().map_or(0, |finding| finding.position);
    writeln!(out, "{who} of its replicas, and the replay:")?;
    findings.iter().try_for_each(|finding| writeln!(out, "  {finding}"))?;
    if let Some(first) = parted.map(|at| &findings[at]) {
        if agreeing < first.position {
            writeln!(out, "  they part after position {agreeing}, at position {} at the latest", first.position)?;
        } else {
            writeln!(out, "  they part at position {}", first.position)?;
        }
    }
    Ok(())
}

fn tell(args: &ReplayArgs, found: &Comparison, out: &mut impl Write) -> anyhow::Result<bool> {
    if args.output == Format::Json {
        writeln!(out, "{}", serde_json::json!({ "comparison": found }))?;
        return Ok(found.is_equal());
    }
    let other = args.until_differs.as_deref().unwrap_or(Path::new(""));
    writeln!(out, "{}: {} and {}", found.service, args.data_dir.display(), other.display())?;
    found.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
    writeln!(out, "entries: {} equal, up to position {}", found.equal_entries, found.equal_to)?;
    if let Some(at) = found.entries_differ_at {
        writeln!(out, "entries differ at position {at}")?;
        found.entries.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    match found.differs_at {
        Some(at) => writeln!(out, "they differ at position {at}")?,
        None if found.entries_differ_at.is_some() => writeln!(out, "what differs concerns other services alone")?,
        None => writeln!(out, "they do not differ")?,
    }
    found.differences.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    print_findings("the first folder says", &found.findings, out)?;
    print_findings("the other folder says", &found.other_findings, out)?;
    Ok(found.is_equal())
}
