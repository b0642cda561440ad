//! The smallest server as a component of WASI 0.2: what a client sends comes back. Rust's standard library alone, which
//! makes its own listener by `wasi:sockets`; one process, one poll loop.
//!
//! `echo-p2 [--port N]`: 0 is any free port, 7 is the default. As an ordinary program it listens on the loopback
//! interface; as a guest on every address, as all of them are its own.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

mod client;
mod poll;
mod server;

const ADDRESS: Ipv4Addr = if cfg!(target_os = "wasi") { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };

fn main() -> ExitCode {
    let ended = port().and_then(|port| {
        let listener =
            TcpListener::bind((ADDRESS, port)).map_err(|error| format!("cannot listen on {port}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        say(&format!("listening on {address}"));
        server::run(&listener).map_err(|error| error.to_string())
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-p2: {error}");
            ExitCode::FAILURE
        }
    }
}

fn port() -> Result<u16, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(7),
        ["--port", port] => port.parse().map_err(|_| format!("not a port: {port}")),
        _ => Err("usage: echo-p2 [--port N]".to_owned()),
    }
}

fn say(text: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stdout(), "echo-p2: {text}");
}
