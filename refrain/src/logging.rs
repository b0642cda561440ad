//! Log lines on standard error, chosen by `RUST_LOG` (default: information, without the access log).

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use refrain::config::LogFormat;

const DEFAULT_FILTER: &str = "info,refrain::access=warn,openraft=off";

/// Starts logging for the whole process.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
