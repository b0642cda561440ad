//! wrk (github.com/wg/wrk), a load generator for HTTP/1.1: one thread, a closed loop on kept connections. A script has it
//! say its figures in numbers, where its own report has words.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::latency::Summary;
use crate::loader::Played;
use crate::process;

/// How long it may take to begin and to end, beside its time.
const SLACK: Duration = Duration::from_secs(30);
/// What the line begins with that the script prints. Times are in microseconds.
const RESULT: &str = "result";
const SCRIPT: &str = r#"done = function(summary, latency, requests)
    local failed = summary.errors
    local errors = failed.connect + failed.read + failed.write + failed.status + failed.timeout
    print(string.format("result %d %d %d %d %d %d", summary.requests, errors, summary.duration,
        latency:percentile(50), latency:percentile(99), latency.max))
end
"#;

/// The program and its script.
pub struct Wrk {
    program: PathBuf,
    script: PathBuf,
}

impl Wrk {
    /// Writes the script into `folder`.
    pub fn new(program: PathBuf, folder: &Path) -> Result<Self> {
        let script = folder.join("wrk.lua");
        fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
        Ok(Self { program, script })
    }

    /// Loads the server for `time`, which is rounded up to whole seconds.
    pub fn play(&self, address: SocketAddr, path: &str, connections: u16, time: Duration) -> Result<Played> {
        let seconds = time.as_secs_f64().ceil().max(1.0);
        let mut command = Command::new(&self.program);
        command.args(["-t", "1", "-c", &connections.to_string(), "-d", &format!("{seconds}s"), "-s"]);
        command.arg(&self.script).arg(format!("http://{address}{path}"));
        played(&process::output("wrk", &mut command, time + SLACK)?)
    }
}

/// What the script printed.
fn played(text: &str) -> Result<Played> {
    let line = text.lines().find_map(|line| line.strip_prefix(RESULT));
    let numbers: Option<Vec<u64>> =
        line.and_then(|line| line.split_whitespace().map(|number| number.parse().ok()).collect());
    let Some([requests, errors, elapsed, p50, p99, max]) = numbers.as_deref() else {
        bail!("wrk printed no result: {:?}", text.trim_end());
    };
    ensure!(*errors == 0, "{errors} of {requests} requests of wrk failed");
    ensure!(*requests > 0, "wrk got no answer");
    let milliseconds = |micros: &u64| *micros as f64 / 1e3;
    let requests = usize::try_from(*requests).context("wrk made too many requests")?;
    Ok(Played {
        requests,
        elapsed: Duration::from_micros(*elapsed),
        latency: Summary {
            samples: requests,
            p50_ms: milliseconds(p50),
            p99_ms: milliseconds(p99),
            max_ms: milliseconds(max),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_script_is_found_among_those_of_wrk() {
        let text = "Running 2s test @ http://127.0.0.1:80/\n  1 threads and 16 connections\n\
                    Requests/sec:  38462.90\nresult 80772 0 2100000 389 1250 9031\n";
        let played = played(text).unwrap();
        assert_eq!((played.requests, played.elapsed), (80_772, Duration::from_millis(2100)));
        let latency = Summary { samples: 80_772, p50_ms: 0.389, p99_ms: 1.25, max_ms: 9.031 };
        assert_eq!(played.latency, latency);
        assert_eq!(played.rate().round(), 38_463.0);
    }

    #[test]
    fn errors_and_no_result_are_errors() {
        let error = |text| played(text).unwrap_err().to_string();
        assert!(error("result 10 3 2100000 389 1250 9031").contains("3 of 10 requests"));
        assert!(error("result 0 0 2100000 0 0 0").contains("no answer"));
        assert!(error("unable to connect to 127.0.0.1:80").contains("unable to connect"));
        assert!(error("result 10 0 2100000 389 1250").contains("no result"));
        assert!(error("result 10 0 2100000 389 1250 -1").contains("no result"));
    }
}
