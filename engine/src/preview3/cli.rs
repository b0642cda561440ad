//! `wasi:cli`: arguments, environment, standard streams, exit.

use refrain_kernel::descriptor::Object;
use refrain_kernel::stdio::OutputStream;
use wasmtime::component::StreamReader;

use super::streams::{End, read, write};
use super::wit::StreamError;
use crate::preview2::cli::{ERROR_OUTPUT, INPUT, OUTPUT, arguments, end, variables};
use crate::preview2::links::Links;
use crate::preview2::resources::{TerminalInput, TerminalOutput};

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut environment = links.interface("wasi:cli/environment")?;
    environment.define("get-environment", |call, (): ()| Ok(variables(call)))?;
    environment.define("get-arguments", |call, (): ()| Ok(arguments(call)))?;
    environment.define("get-initial-cwd", |_, (): ()| Ok(None::<String>))?;

    let mut exit = links.interface("wasi:cli/exit")?;
    exit.define_silent("exit", |_, (status,): (Result<(), ()>,)| Err(end(u8::from(status.is_err()))))?;
    exit.define_silent("exit-with-code", |_, (code,): (u8,)| Err(end(code)))?;

    // It has types alone.
    links.interface("wasi:cli/types")?;
    links
        .interface("wasi:cli/stdin")?
        .piping("read-via-stream", |store, (): ()| read::<StreamError>(store, End::Standard(INPUT)))?;
    for (interface, fd) in [("wasi:cli/stdout", OUTPUT), ("wasi:cli/stderr", ERROR_OUTPUT)] {
        links.interface(interface)?.piping("write-via-stream", move |store, (data,): (StreamReader<u8>,)| {
            write::<StreamError>(store, data, End::Standard(fd))
        })?;
    }

    links.interface("wasi:cli/terminal-input")?.resource::<TerminalInput>("terminal-input")?;
    links.interface("wasi:cli/terminal-output")?.resource::<TerminalOutput>("terminal-output")?;
    links.interface("wasi:cli/terminal-stdin")?.define("get-terminal-stdin", |call, (): ()| {
        call.kernel.is_terminal(&Object::Input).then(|| call.add(TerminalInput)).transpose()
    })?;
    for (interface, name, stream) in [
        ("wasi:cli/terminal-stdout", "get-terminal-stdout", OutputStream::Out),
        ("wasi:cli/terminal-stderr", "get-terminal-stderr", OutputStream::Err),
    ] {
        links.interface(interface)?.define(name, move |call, (): ()| {
            call.kernel.is_terminal(&Object::Output(stream)).then(|| call.add(TerminalOutput)).transpose()
        })?;
    }
    Ok(())
}
