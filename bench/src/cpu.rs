//! The processor time of a process, from `/proc/PID/stat` (proc_pid_stat(5)).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::pause::pause;

/// `/proc` counts hundredths of a second on every architecture that this runs on (USER_HZ).
const TICKS_PER_SECOND: u64 = 100;
/// Numbers of the fields utime and stime, counted from 1.
const UTIME: usize = 14;
const STIME: usize = 15;

/// What the process has used so far, in user and in kernel mode together, to 10 ms.
pub fn used(id: u32) -> Result<Duration> {
    let path = format!("/proc/{id}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = ticks(&text).with_context(|| format!("cannot understand {path}"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// What the process uses while one waits, in hundredths of one core.
pub fn percent_of_core(id: u32, while_waiting: Duration) -> Result<f64> {
    let before = used(id)?;
    let start = Instant::now();
    pause(while_waiting);
    let used = used(id)?.saturating_sub(before);
    Ok(used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}

/// utime + stime. The second field is the program's name in parentheses and may hold anything, these included.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
    Some(field(UTIME)? + field(STIME)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_program_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 189 0 0 0 70 5 0 0 20 0 9 0 100 1000 300 0\n";
        assert_eq!(ticks(stat), Some(75));
    }

    #[test]
    fn a_short_line_is_an_error() {
        assert_eq!(ticks("42 (a) S 1 42"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn this_process_can_be_asked() {
        assert!(used(std::process::id()).is_ok());
        assert!(used(0).is_err());
    }
}
