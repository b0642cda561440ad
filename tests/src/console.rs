//! The commands of a document, and what they print: blocks fenced as `console`, with lines that begin with `$ `.
//!
//! `cargo run ... -- ARGUMENTS` is run as the program that was built already; everything else is run as it stands.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// One command with the lines that the document shows below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Line in the document, from 1.
    pub line: usize,
    /// What is typed; a line that ends in a backslash goes on in the next one.
    pub command: String,
    /// What is shown; `...` stands for anything, also within a line.
    pub shown: Vec<String>,
}

/// Reads the steps of a document.
pub fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for (index, line) in document.lines().enumerate() {
        if line.starts_with("```") {
            inside = line.trim_end() == "```console";
            goes_on = false;
        } else if inside && goes_on {
            let step = steps.last_mut().expect("a line goes on from one before");
            goes_on = line.ends_with('\\');
            step.command.push(' ');
            step.command.push_str(line.trim_end_matches('\\').trim());
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            goes_on = command.ends_with('\\');
            let command = command.trim_end_matches('\\').trim().to_owned();
            steps.push(Step { line: index + 1, command, shown: Vec::new() });
        } else if let Some(step) = steps.last_mut().filter(|_| inside) {
            step.shown.push(line.to_owned());
        }
    }
    steps
}

/// Whether lines are what is shown. A line `...` stands for any number of lines, within a line it stands for any text.
pub fn fits(shown: &[String], lines: &[&str]) -> bool {
    match (shown.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first.trim() == "..." => {
            (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..]))
        }
        (Some((first, rest)), Some((line, others))) => {
            line_fits(first.trim_end(), line.trim_end()) && fits(rest, others)
        }
        _ => false,
    }
}

fn line_fits(shown: &str, line: &str) -> bool {
    match shown.split_once("...") {
        None => shown == line,
        Some((before, after)) => line
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|tail| line_fits(after, tail))),
    }
}

/// Runs steps as somebody at a terminal would. Servers go on in the background until it is dropped.
#[derive(Debug)]
pub struct Terminal {
    folder: PathBuf,
    path: String,
    servers: Vec<Child>,
}

impl Terminal {
    /// A terminal in a folder, where programs of `programs` are found first.
    pub fn new(folder: &Path, programs: &Path) -> Self {
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        Self { folder: folder.to_owned(), path, servers: Vec::new() }
    }

    /// Runs one step; what it prints must be what is shown.
    pub fn run(&mut self, step: &Step) -> Result<()> {
        let told = || format!("line {}: $ {}", step.line, step.command);
        let command = built(&step.command);
        let printed = if is_server(&command) { self.serve(&command, &step.shown) } else { self.finish(&command) };
        let printed = printed.with_context(told)?;
        let lines: Vec<&str> = printed.lines().collect();
        ensure!(fits(&step.shown, &lines), "{}\nshown:\n{}\nprinted:\n{printed}", told(), step.shown.join("\n"));
        Ok(())
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("bash");
        // What is shown is what a terminal shows: both outputs, in order.
        shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(&self.folder).env("PATH", &self.path);
        shell.env("XDG_RUNTIME_DIR", &self.folder).stdin(Stdio::null()).stdout(Stdio::piped());
        // A group of its own, so that what it starts ends with it.
        shell.process_group(0);
        shell
    }

    fn finish(&self, command: &str) -> Result<String> {
        let mut child = self.shell(command).spawn()?;
        let mut output = child.stdout.take().context("no standard output")?;
        let (sender, whole) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = output.read_to_end(&mut bytes).map(|_| bytes);
            // Nobody listens when it took too long.
            let _ = sender.send(read);
        });
        let Ok(bytes) = whole.recv_timeout(PATIENCE) else {
            end(&mut child);
            bail!("it is not done after {PATIENCE:?}");
        };
        let bytes = bytes?;
        // An exit code other than 0 is no fault: a document may show commands that fail, and what they say.
        child.wait()?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Starts a server and reads until all that is shown has come.
    fn serve(&mut self, command: &str, shown: &[String]) -> Result<String> {
        let mut child = self.shell(command).spawn()?;
        let mut output = child.stdout.take().context("no standard output")?;
        self.servers.push(child);
        let (sender, pieces) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(got @ 1..) = output.read(&mut buffer) {
                // Nobody listens once everything has come; the pipe is read on so that the server can write.
                let _ = sender.send(buffer[..got].to_vec());
            }
        });
        let mut printed = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&printed).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            if text.ends_with('\n') && fits(shown, &lines) {
                return Ok(text);
            }
            match pieces.recv_timeout(Duration::from_secs(60)) {
                Ok(piece) => printed.extend(piece),
                Err(_) => return Ok(text),
            }
        }
    }
}

/// Ends a process with everything that it started.
fn end(child: &mut Child) {
    // It may have ended already.
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).output();
    let _ = child.wait();
}

/// `cargo run --release --bin rctl -- status` as `rctl status`; without a name it is the server.
fn built(command: &str) -> String {
    let Some((cargo, arguments)) = command.strip_prefix("cargo run ").and_then(|rest| rest.split_once("-- ")) else {
        return command.to_owned();
    };
    let rctl = cargo.split_whitespace().any(|word| matches!(word, "rctl" | "refrain-rctl"));
    format!("{} {arguments}", if rctl { "rctl" } else { "refrain" })
}

/// A command that does not end by itself.
fn is_server(command: &str) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    let asks = words.iter().any(|word| matches!(*word, "--help" | "--print-config"));
    words.windows(2).any(|two| two == ["refrain", "up"]) && !asks
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for server in &mut self.servers {
            end(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn commands_are_read_with_what_is_shown_below_them() {
        let document =
            "text\n```console\n$ one \\\n    more\nout 1\n\n$ two\n```\n```sh\n$ not this\n```\n$ nor this\n";
        let expected = [("one more", 3, vec!["out 1", ""]), ("two", 7, vec![])];
        let expected: Vec<Step> = expected
            .into_iter()
            .map(|(command, line, shown)| Step {
                line,
                command: command.to_owned(),
                shown: shown.into_iter().map(str::to_owned).collect(),
            })
            .collect();
        assert_eq!(steps(document), expected);
    }

    #[test]
    fn dots_stand_for_anything_and_nothing_else_does() {
        for (expected, printed, good) in [
            ("a\nb", "a\nb", true),
            ("a\nb", "a\nc", false),
            ("a", "a\nb", false),
            ("a\nb", "a", false),
            ("a\n...", "a\nb\nc", true),
            ("...\nc", "a\nb\nc", true),
            ("...", "", true),
            ("port ... is up", "port 7 is up", true),
            ("port ... is up", "port 7 is down", false),
            ("at ...:... ok", "at a:b ok", true),
            ("é...", "é ü", true),
        ] {
            let lines: Vec<&str> = printed.lines().collect();
            assert_eq!(fits(&shown(expected), &lines), good, "{expected:?} {printed:?}");
        }
    }

    #[test]
    fn a_server_is_known_by_its_command() {
        assert!(is_server("refrain up examples/echo"));
        assert!(is_server(&built("cargo run --release -- up examples/echo")));
        assert_eq!(built("cargo run --release --bin rctl -- status -o json"), "rctl status -o json");
        assert_eq!(built("cargo build --release"), "cargo build --release");
        assert!(!is_server("refrain up --help"));
        assert!(!is_server("rctl status"));
    }

    #[test]
    fn a_step_is_run_and_compared() {
        let mut terminal = Terminal::new(&std::env::temp_dir(), Path::new("/nowhere"));
        let step = |command: &str, text: &str| Step { line: 1, command: command.to_owned(), shown: shown(text) };
        assert!(terminal.run(&step("echo one; echo two >&2", "one\ntwo")).is_ok());
        assert!(terminal.run(&step("echo one", "two")).is_err());
        assert!(terminal.run(&step("exit 3", "")).is_ok());
    }
}
