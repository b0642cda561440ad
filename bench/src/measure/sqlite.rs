//! 1,000 inserts in one transaction of SQLite: the shell of `tests/guests`, replicated, and the same source built natively.
//! Neither side waits for the disk in SQLite itself; Refrain waits for its log.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Rows;
use crate::latency::Latencies;
use crate::process;
use crate::report::{Aim, Ratio, RatioOf, Row, Side};
use crate::server::Durability;
use crate::setup::{Setup, Target};

const NAME: &str = "sqlite-shell";
const INSERTS: usize = 1000;
const ROUNDS: usize = 40;
/// SQLite is a large source.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const AIM: f64 = 3.0;
/// What the aim is about.
const AT_ONCE: &str = "1,000 inserts in one transaction, sent at once";

struct Contender {
    side: Side,
    stream: BufReader<TcpStream>,
    at_once: Latencies,
    one_by_one: Latencies,
    _target: Target,
}

/// Measures both sides in turns.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let programs = setup.folder().join("programs");
    let mut targets = vec![native(setup, &programs)?];
    if setup.has_refrain() {
        targets.push(setup.service_of(Side::Refrain, &service(setup, &programs)?, NAME, Durability::Fsync)?);
    }
    let mut contenders = targets.into_iter().map(Contender::new).collect::<Result<Vec<_>>>()?;
    for round in 0..setup.scaled(ROUNDS) {
        for contender in &mut contenders {
            contender.round(round)?;
        }
    }
    add(rows, AT_ONCE, &contenders, |one| &one.at_once);
    add(rows, "1,000 inserts in one transaction, one by one", &contenders, |one| &one.one_by_one);
    for row in rows.iter_mut().filter(|row| row.what == AT_ONCE) {
        if let Some(ratio) = row.ratio {
            row.aims.push(Aim::at_most(format!("<= {AIM} times native"), AIM, ratio.value));
        }
    }
    Ok(())
}

fn build(setup: &Setup, programs: &Path, option: &str) -> Result<()> {
    let mut command = Command::new("bash");
    command.arg(guests(setup).join("build")).args([option, "--out"]).arg(programs).arg(NAME);
    process::output(&format!("tests/guests/build {option} {NAME}"), &mut command, BUILD_LIMIT)?;
    Ok(())
}

fn guests(setup: &Setup) -> PathBuf {
    setup.examples().join("../tests/guests")
}

fn native(setup: &Setup, programs: &Path) -> Result<Target> {
    build(setup, programs, "--native")?;
    let mut command = Command::new(programs.join(NAME));
    command.args(["--host", "127.0.0.1", "--port", "0", "--file"]).arg(setup.folder().join("native.db"));
    setup.native_program(NAME, &mut command)
}

/// A folder with the folder of the service.
fn service(setup: &Setup, programs: &Path) -> Result<PathBuf> {
    build(setup, programs, "--plain")?;
    let all = setup.folder().join("sqlite");
    let folder = all.join(NAME);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::copy(guests(setup).join(NAME).join("service.toml"), folder.join("service.toml"))?;
    let module = format!("{NAME}.wasm");
    fs::copy(programs.join(&module), folder.join(&module))?;
    Ok(all)
}

impl Contender {
    fn new(target: Target) -> Result<Self> {
        let mut contender = Self {
            side: target.side,
            stream: connect(target.address)?,
            at_once: Latencies::default(),
            one_by_one: Latencies::default(),
            _target: target,
        };
        contender.ask("CREATE TABLE lake (id INTEGER PRIMARY KEY, name TEXT, depth REAL);\n", 1)?;
        Ok(contender)
    }

    fn round(&mut self, round: usize) -> Result<()> {
        let inserts: Vec<String> = (0..INSERTS)
            .map(|at| format!("INSERT INTO lake (name, depth) VALUES ('lake {round} {at}', {at}.5);\n"))
            .collect();
        let script = format!("BEGIN;\n{}COMMIT;\n", inserts.concat());
        let taken = self.timed(|one| one.ask(&script, INSERTS + 2))?;
        self.at_once.push(taken);
        self.empty()?;
        let taken = self.timed(|one| {
            one.ask("BEGIN;\n", 1)?;
            inserts.iter().try_for_each(|insert| one.ask(insert, 1))?;
            one.ask("COMMIT;\n", 1)
        })?;
        self.one_by_one.push(taken);
        self.empty()
    }

    fn timed(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Duration> {
        let start = Instant::now();
        work(self)?;
        Ok(start.elapsed())
    }

    fn empty(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(b"DELETE FROM lake;\n")?;
        let answer = self.answer()?;
        ensure!(answer == format!("-- {INSERTS} changes\n"), "the table did not have {INSERTS} rows: {answer}");
        Ok(())
    }

    /// Sends statements, and reads their answers, of one line each.
    fn ask(&mut self, statements: &str, answers: usize) -> Result<()> {
        self.stream.get_mut().write_all(statements.as_bytes())?;
        for _ in 0..answers {
            let answer = self.answer()?;
            ensure!(answer.starts_with("-- ") && !answer.starts_with("-- error"), "a statement failed: {answer}");
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line)
    }
}

fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(BufReader::new(stream))
}

fn add(rows: &mut Rows, what: &str, contenders: &[Contender], of: impl Fn(&Contender) -> &Latencies) {
    let native = contenders.iter().find(|one| one.side == Side::Native).and_then(|one| of(one).summary());
    for contender in contenders {
        let Some(summary) = of(contender).summary() else { continue };
        let mut row = Row::new(what, contender.side);
        if let (Side::Refrain, Some(native)) = (contender.side, &native) {
            let value = summary.p50_ms / native.p50_ms;
            row.ratio = Some(Ratio { value, of: RatioOf::Time, to: Side::Native });
        }
        row.latency = Some(summary);
        rows.push(row);
    }
}
