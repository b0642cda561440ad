//! A server process: started with its output kept, watched until it is ready, ended with this program.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::pause::pause;

/// How long a server may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at a process that should end.
const STEP: Duration = Duration::from_millis(10);
/// Lines that wait to be looked at; more are thrown away.
const MAX_LINES: usize = 1024;
/// How much of the error output a message repeats.
const TAIL_BYTES: u64 = 2048;

/// A running server; ended when dropped.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    errors: PathBuf,
}

impl Process {
    /// Starts `command`. Its error output goes to a file in `folder`.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        Self::spawn(name, command.stdin(Stdio::null()), folder)
    }

    /// The same for a program that runs until its standard input ends, which is when this is dropped.
    pub fn start_with_input(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        Self::spawn(name, command.stdin(Stdio::piped()), folder)
    }

    fn spawn(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let errors = folder.join(format!("{name}.stderr"));
        let file = File::create(&errors).with_context(|| format!("cannot create {}", errors.display()))?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        let output = child.stdout.take().expect("standard output was asked for");
        let (sender, lines) = sync_channel(MAX_LINES);
        thread::spawn(move || forward(output, &sender));
        Ok(Self { name: name.to_owned(), child, lines, errors })
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Hands lines of standard output to `pick` until it makes something of one.
    pub fn wait_for<T>(&mut self, limit: Duration, mut pick: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = pick(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.fault(format_args!("was not ready after {} s", limit.as_secs())));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.end(STOP_LIMIT);
                    return Err(self.fault(format_args!("ended before it was ready ({status})")));
                }
            }
        }
    }

    /// The file with its error output.
    pub fn errors_path(&self) -> &Path {
        &self.errors
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        kill(&mut self.child);
    }

    /// The end of its error output, as a part of a message.
    pub fn errors(&self) -> String {
        let tail = tail(&self.errors).unwrap_or_else(|error| format!("(it cannot be read: {error})"));
        match tail.trim_end() {
            "" => "it wrote no error".to_owned(),
            tail => format!("its error output ends with\n{tail}"),
        }
    }

    fn fault(&self, what: impl Display) -> anyhow::Error {
        anyhow!("{} {what}; {}", self.name, self.errors())
    }

    /// Waits for the end, and brings it about after `limit`.
    fn end(&mut self, limit: Duration) -> String {
        match wait(&mut self.child, limit) {
            Ok(Some(status)) => status.to_string(),
            Ok(None) => {
                kill(&mut self.child);
                "killed".to_owned()
            }
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // A process that is gone already is what is wanted.
            let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
            if self.end(STOP_LIMIT) == "killed" {
                eprintln!("bench: {} did not end within {} s and was killed", self.name, STOP_LIMIT.as_secs());
            }
        }
    }
}

/// Runs a command to its end within `limit`; its standard output, which has to be short enough for a pipe.
pub fn output(name: &str, command: &mut Command, limit: Duration) -> Result<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let status = wait(&mut child, limit).with_context(|| format!("cannot wait for {name}"))?;
    let Some(status) = status else {
        kill(&mut child);
        bail!("{name} did not end within {} s", limit.as_secs());
    };
    let mut text = String::new();
    let mut output = child.stdout.take().expect("standard output was asked for");
    output.read_to_string(&mut text).with_context(|| format!("cannot read what {name} wrote"))?;
    if !status.success() {
        bail!("{name} failed ({status}): {}", text.trim_end());
    }
    Ok(text)
}

/// `None` when the process still runs after `limit`.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        pause(STEP);
    }
}

fn kill(child: &mut Child) {
    // Both fail only when the process is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads on to the end, so that the process never waits for a reader.
fn forward(output: ChildStdout, lines: &SyncSender<String>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        // Nobody looks at the lines of a server that is ready.
        let _ = lines.try_send(line);
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn word(line: &str) -> Option<String> {
        line.strip_prefix("ready ").map(str::to_owned)
    }

    #[test]
    fn a_line_of_a_running_process_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            Process::start("it", &mut shell("echo first; echo ready now; exec cat"), folder.path()).unwrap();
        assert_eq!(process.wait_for(LONG, word).unwrap(), "now");
    }

    #[test]
    fn an_early_end_is_told_with_the_error_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start("it", &mut shell("echo no disk >&2; exit 3"), folder.path()).unwrap();
        let error = process.wait_for(LONG, word).unwrap_err().to_string();
        assert!(error.contains("it ended before it was ready"), "{error}");
        assert!(error.contains('3') && error.contains("no disk"), "{error}");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start("it", &mut shell("echo ready now; exec sleep 1000"), folder.path()).unwrap();
        process.wait_for(LONG, word).unwrap();
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_process_with_input_runs_while_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            Process::start_with_input("it", &mut shell("echo ready now; exec cat"), folder.path()).unwrap();
        process.wait_for(LONG, word).unwrap();
        assert!(process.runs());
        let mut process = Process::start("it", &mut shell("echo ready now; exec cat"), folder.path()).unwrap();
        assert!(process.wait_for(LONG, |_| None::<()>).is_err());
        assert!(!process.runs());
    }

    #[test]
    fn a_command_that_takes_too_long_is_an_error() {
        let error = output("it", &mut shell("exec sleep 1000"), Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("did not end within 0 s"), "{error}");
    }
}
