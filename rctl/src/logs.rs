//! `rctl service logs`: the lines that a guest wrote, and those that follow.

use std::io::{self, ErrorKind, Write as _};
use std::thread::park_timeout;
use std::time::Duration;

use refrain_api::{GuestLine, GuestLines, paths};

use crate::client::Client;
use crate::error::RctlError;
use crate::human::{count, moment};
use crate::output::{Format, Output};
use crate::resolve::{explained, resolve};
use crate::table::printable;

/// How long `--follow` waits before it asks again when nothing has come.
const PAUSE: Duration = Duration::from_millis(500);
/// The most lines of one answer while following.
const AT_ONCE: usize = 1_000;

/// Shows the newest lines; with `follow` also those that come, until it is interrupted.
pub fn run(client: &Client, name: &str, lines: usize, follow: bool, format: Format) -> Result<Output, RctlError> {
    const COMMAND: &str = "service logs";
    let service = resolve(client, name, COMMAND)?;
    let path = |after, lines| paths::of_logs(service.0.as_str(), service.1.as_str(), after, lines);
    let ask = |after, lines| client.get::<GuestLines>(&path(after, lines));
    let newest = explained(client, &service, COMMAND, ask(None, lines))?;
    if !follow {
        return Ok(Output::value(&newest.clone(), move |_| text(&newest)));
    }
    let mut shown = newest;
    loop {
        match print(&shown, format) {
            Ok(()) => {}
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Output::text(String::new())),
            Err(error) => return Err(RctlError::Write { path: "standard output".into(), source: error }),
        }
        if shown.lines.len() < AT_ONCE {
            // Nobody unparks this thread; should somebody do, it asks a little sooner.
            park_timeout(PAUSE);
        }
        shown = ask(Some(shown.next), AT_ONCE)?;
    }
}

fn print(lines: &GuestLines, format: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Table => out.write_all(text(lines).as_bytes())?,
        Format::Json => {
            for line in &lines.lines {
                serde_json::to_writer(&mut out, line)?;
                out.write_all(b"\n")?;
            }
        }
    }
    out.flush()
}

fn text(lines: &GuestLines) -> String {
    let mut text = String::new();
    if lines.missed > 0 {
        let missed = count(usize::try_from(lines.missed).unwrap_or(usize::MAX), "line");
        text.push_str(&format!("({missed} before these not kept any more)\n"));
    }
    text.extend(lines.lines.iter().map(line));
    text
}

fn line(line: &GuestLine) -> String {
    let (at, stream) = (moment(line.time_micros), printable(&line.stream));
    let by =
        line.version.as_deref().map_or_else(|| line.position.to_string(), |version| printable(version).to_string());
    format!("{at}  {by:>8}  {stream:<3}  {}\n", printable(&line.line))
}
