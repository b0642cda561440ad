//! A bus for messages: clients subscribe to subjects, and get what others publish to them. It speaks a part of NATS's
//! protocol, with wildcards and queue groups. One process, one poll loop, the standard library alone.
//!
//! As a Wasm guest it takes the listener that is passed to it in descriptor 3, as the standard library has no way to
//! make one there. As an ordinary program it makes its own: `message-bus [--port N]`, on the loopback interface.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;

mod bus;
mod interest;
mod poll;
mod protocol;
mod server;
mod session;

fn main() -> ExitCode {
    let listener = match listener() {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("message-bus: {error}");
            return ExitCode::from(2);
        }
    };
    let error = server::Server::new(listener).run();
    eprintln!("message-bus: {error}");
    ExitCode::FAILURE
}

#[cfg(target_os = "wasi")]
fn listener() -> Result<TcpListener, String> {
    use std::os::fd::{FromRawFd as _, RawFd};
    const PASSED: RawFd = 3;
    if std::env::var("LISTEN_FDS").is_err() {
        return Err("no listener was passed in (LISTEN_FDS is not set): the manifest needs `pass = true`".to_owned());
    }
    say("listening on descriptor 3");
    // SAFETY: the descriptor was passed to this program, which takes it here and nowhere else.
    Ok(unsafe { TcpListener::from_raw_fd(PASSED) })
}

#[cfg(not(target_os = "wasi"))]
fn listener() -> Result<TcpListener, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => 4222,
        ["--port", port] => port.parse::<u16>().map_err(|_| format!("not a port: {port}"))?,
        _ => return Err("usage: message-bus [--port N]".to_owned()),
    };
    let listener =
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("cannot listen on {port}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    say(&format!("listening on {address}"));
    Ok(listener)
}

fn say(text: &str) {
    let mut output = std::io::stdout();
    // Nobody may be there to read it.
    let _ = writeln!(output, "message-bus: {text}").and_then(|()| output.flush());
}
