//! The log of a server on this machine: lines with the time of day at which they were written.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::pause::pause;

const DAY: Duration = Duration::from_hours(24);
/// Between two looks at a log that a line is expected in.
const STEP: Duration = Duration::from_millis(20);

/// A time of day of this machine's clock, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay(Duration);

impl TimeOfDay {
    /// Now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Duration::from_secs(since.as_secs() % DAY.as_secs()) + Duration::from_nanos(since.subsec_nanos().into()))
    }

    /// The time so much later.
    #[cfg(test)]
    pub fn after(self, time: Duration) -> Self {
        Self((self.0 + time).saturating_sub(if self.0 + time >= DAY { DAY } else { Duration::ZERO }))
    }

    /// How long after an earlier time it is; the two are less than a day apart.
    pub fn since(self, earlier: Self) -> Duration {
        if self.0 >= earlier.0 { self.0 - earlier.0 } else { self.0 + DAY - earlier.0 }
    }

    /// The time of `2026-01-31T12:34:56.123456Z ...`.
    fn of(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once('T')?;
        let (time, _) = rest.split_once('Z')?;
        let mut parts = time.split(':');
        let hours: u64 = parts.next()?.parse().ok()?;
        let minutes: u64 = parts.next()?.parse().ok()?;
        let seconds: f64 = parts.next()?.parse().ok()?;
        Some(Self(Duration::from_secs(hours * 3600 + minutes * 60) + Duration::try_from_secs_f64(seconds).ok()?))
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was written.
    pub at: TimeOfDay,
    text: String,
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        Some(Self { at: TimeOfDay::of(text)?, text: text.to_owned() })
    }

    /// The number of the field `name=123`.
    pub fn number(&self, name: &str) -> Result<u64> {
        let words = self.text.split_whitespace();
        let found = words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name);
        let (_, value) = found.with_context(|| format!("no {name} in {:?}", self.text))?;
        value.parse().with_context(|| format!("{name} is no number in {:?}", self.text))
    }
}

/// The log of one process, from a point on.
pub struct LogLines {
    path: std::path::PathBuf,
    from: usize,
}

impl LogLines {
    /// From its beginning.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), from: 0 })
    }

    /// From now on.
    pub fn skip(mut self) -> Result<Self> {
        self.from = self.read()?.len();
        Ok(self)
    }

    /// Waits for a line with all these words; the first one.
    pub fn wait_for(&self, words: &[&str], limit: Duration) -> Result<Line> {
        let start = Instant::now();
        loop {
            let text = self.read()?;
            let new = text.get(self.from..).unwrap_or_default();
            let mut whole = new.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(found) = whole.find(|line| words.iter().all(|word| line.contains(word))) {
                return Line::parse(found.trim_end()).with_context(|| format!("no time in {found:?}"));
            }
            if start.elapsed() >= limit {
                bail!("{words:?} is not in {} after {} s", self.path.display(), limit.as_secs());
            }
            pause(STEP);
        }
    }

    fn read(&self) -> Result<String> {
        let bytes = fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2026-11-26T23:59:59.900000Z  INFO seat taken: a new replica joins service=\"kv\" seat=2 from=7";

    #[test]
    fn a_line_has_a_time_and_numbers() {
        let line = Line::parse(LINE).unwrap();
        assert_eq!(line.at, TimeOfDay(DAY - Duration::from_millis(100)));
        assert_eq!((line.number("seat").unwrap(), line.number("from").unwrap()), (2, 7));
        assert!(line.number("millis").is_err() && line.number("service").is_err());
        assert_eq!(Line::parse("no time"), None);
    }

    #[test]
    fn times_go_on_after_midnight() {
        let after = TimeOfDay(Duration::from_millis(50));
        assert_eq!(after.since(Line::parse(LINE).unwrap().at), Duration::from_millis(150));
    }

    #[test]
    fn a_line_is_found_behind_what_was_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, format!("{LINE}\n")).unwrap();
        let log = LogLines::open(&path).unwrap();
        assert!(log.wait_for(&["seat taken", "seat=2"], Duration::ZERO).is_ok());
        let log = log.skip().unwrap();
        assert!(log.wait_for(&["seat taken"], Duration::ZERO).is_err());
    }
}
