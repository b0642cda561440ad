//! Exit codes, and how a failure is told: once, with all its causes on lines of their own.

use std::process::ExitCode;

/// A panic is a broken assumption about the server's own state: no thread may go on without the one that panicked,
/// and the log makes a restart safe. So it is told and ends the process, whatever the thread.
pub(crate) fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

/// Prints the failure, if there is one.
pub(crate) fn of(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("refrain: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Errors of libraries often repeat their cause in their own text.
        if !said.contains(&text) {
            eprintln!("  because: {text}");
        }
        said = text;
    }
    ExitCode::FAILURE
}
