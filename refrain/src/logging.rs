//! Log lines on standard error, chosen by `RUST_LOG` (default: information, without the access log).

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use refrain::config::LogFormat;

const DEFAULT_FILTER: &str = "info,refrain::access=warn,openraft=off";

/// Commands that print a result say no more than what is wrong.
const QUIET_FILTER: &str = "warn,openraft=off";

/// Starts logging for the whole process.
pub(crate) fn start(format: LogFormat) {
    start_with(format, DEFAULT_FILTER);
}

/// The same for a command that prints a result.
pub(crate) fn start_quiet() {
    start_with(LogFormat::Text, QUIET_FILTER);
}

fn start_with(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
