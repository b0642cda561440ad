//! `wasi:cli`: arguments, environment, standard streams, exit.

use wasmtime::component::StreamReader;

use super::streams::{End, read, write};
use super::wit::StreamError;
use crate::preview2::cli::{ERROR_OUTPUT, INPUT, OUTPUT, arguments, exit_and_terminals, variables};
use crate::preview2::links::Links;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut environment = links.interface("wasi:cli/environment")?;
    environment.define("get-environment", |call, (): ()| Ok(variables(call)))?;
    environment.define("get-arguments", |call, (): ()| Ok(arguments(call)))?;
    environment.define("get-initial-cwd", |_, (): ()| Ok(None::<String>))?;

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
    exit_and_terminals(links)
}
