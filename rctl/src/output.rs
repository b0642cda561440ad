//! What a command prints: a text for people and the same as JSON.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text and tables for people
    Table,
    /// JSON for programs; stable
    Json,
}

/// The result of a command.
pub struct Output {
    /// For people; takes whether colours may be used.
    text: Box<dyn Fn(bool) -> String>,
    json: Option<String>,
    failed: bool,
}

impl Output {
    /// A text that is the same in every format: a script.
    pub fn text(text: String) -> Self {
        Self { text: Box::new(move |_| text.clone()), json: None, failed: false }
    }

    /// A value as JSON, and as text.
    pub fn value(value: &impl Serialize, text: impl Fn(bool) -> String + 'static) -> Self {
        let json = serde_json::to_string_pretty(value).expect("results can always be written as JSON");
        Self { text: Box::new(text), json: Some(json), failed: false }
    }

    /// The same, ending with exit code 1 when `failed`.
    pub fn with_failure(self, failed: bool) -> Self {
        Self { failed, ..self }
    }

    /// Whether it ends with exit code 1.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The text for people.
    pub fn shown(&self, colour: bool) -> String {
        (self.text)(colour)
    }

    /// Prints it and gives the exit code.
    pub fn print(self, format: Format) -> ExitCode {
        let mut out = io::stdout().lock();
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let mut text = match (format, self.json) {
            (Format::Json, Some(json)) => json,
            _ => (self.text)(colour),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            // Whoever reads has seen enough, as with `rctl status | head -1`.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                eprintln!("rctl: cannot write the result: {error}");
                ExitCode::FAILURE
            }
            _ if self.failed => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        }
    }
}
