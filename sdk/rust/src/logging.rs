//! Log lines of crate `log` on standard error: level, target, message.
//!
//! `REFRAIN_LOG` in the service's `[env]` says from which level on: `error`, `warn`, `info` (default), `debug`,
//! `trace`, `off`.

use std::io::Write as _;

use log::{LevelFilter, Log, Metadata, Record};

/// The variable that says the level.
const LEVEL: &str = "REFRAIN_LOG";

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        // The level is the facade's.
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}: {}\n", record.level(), record.target(), record.args());
        // Whoever cannot log has nobody to tell it.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Takes log lines, unless the service has a logger of its own.
pub(crate) fn install() {
    if log::set_logger(&StandardError).is_ok() {
        log::set_max_level(level(std::env::var(LEVEL).ok().as_deref()));
    }
}

fn level(text: Option<&str>) -> LevelFilter {
    text.and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::Info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_info_unless_it_says_otherwise() {
        for (text, expected) in
            [(None, LevelFilter::Info), (Some("debug"), LevelFilter::Debug), (Some("?"), LevelFilter::Info)]
        {
            assert_eq!(level(text), expected);
        }
    }
}
