//! The examples built for this machine by `examples/build --native`, and started alone.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{self, Process};

const BUILD_LIMIT: Duration = Duration::from_secs(120);
const START_LIMIT: Duration = Duration::from_secs(10);

/// Builds the example `name` unless this run has done so, starts it on a free port; its process and address.
pub fn start(examples: &Path, name: &str, run: &Path) -> Result<(Process, SocketAddr)> {
    let folder = run.join("native");
    let program = folder.join(name);
    if !program.exists() {
        let mut build = Command::new("bash");
        build.arg(examples.join("build")).args(["--native", "--out"]).arg(&folder).arg(name);
        process::output(&format!("examples/build --native {name}"), &mut build, BUILD_LIMIT)?;
    }
    let mut command = Command::new(&program);
    match name {
        "echo" => {
            command.arg("0").env_remove("LISTEN_FDS");
        }
        "image-server" => {
            let images = run.join("native-images");
            fs::create_dir_all(&images).with_context(|| format!("cannot create {}", images.display()))?;
            command.args(["--host", "127.0.0.1", "--port", "0", "--dir"]).arg(images);
        }
        _ => {
            command.args(["--host", "127.0.0.1", "--port", "0"]);
        }
    }
    wait_for_address(name, &mut command, run)
}

/// Starts a program and waits until it says where it listens.
pub fn wait_for_address(name: &str, command: &mut Command, run: &Path) -> Result<(Process, SocketAddr)> {
    let mut process = Process::start(&format!("native-{name}"), command, run)?;
    let address = process.wait_for(START_LIMIT, listening)?;
    Ok((process, address))
}

/// The address in `NAME: listening on ADDRESS[, ...]`.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_what_the_examples_print() {
        let expected = Some(SocketAddr::from(([127, 0, 0, 1], 4711)));
        assert_eq!(listening("echo: listening on 127.0.0.1:4711"), expected);
        assert_eq!(listening("image-server: listening on 127.0.0.1:4711, images in a, b"), expected);
        assert_eq!(listening("echo: listening on descriptor 3"), None);
        assert_eq!(listening("echo: something else"), None);
    }
}
