//! `wasi:cli`: arguments, environment, standard streams, exit.

use refrain_kernel::descriptor::Object;
use refrain_kernel::stdio::OutputStream;

use super::links::{Call, Links};
use super::resources::{Input, Output, TerminalInput, TerminalOutput};
use crate::host::ExitCode;

/// The kernel's descriptors of the standard streams.
pub(crate) const INPUT: u32 = 0;
pub(crate) const OUTPUT: u32 = 1;
pub(crate) const ERROR_OUTPUT: u32 = 2;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut environment = links.interface("wasi:cli/environment")?;
    environment.define("get-environment", |call, (): ()| Ok(variables(call)))?;
    environment.define("get-arguments", |call, (): ()| Ok(arguments(call)))?;
    environment.define("initial-cwd", |_, (): ()| Ok(None::<String>))?;

    links.interface("wasi:cli/stdin")?.define("get-stdin", |call, (): ()| call.add(Input::Stream(INPUT)))?;
    links.interface("wasi:cli/stdout")?.define("get-stdout", |call, (): ()| call.add(Output::Stream(OUTPUT)))?;
    links.interface("wasi:cli/stderr")?.define("get-stderr", |call, (): ()| call.add(Output::Stream(ERROR_OUTPUT)))?;
    exit_and_terminals(links)
}

/// What is the same in 0.3.
pub(crate) fn exit_and_terminals(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut exit = links.interface("wasi:cli/exit")?;
    exit.define_silent("exit", |_, (status,): (Result<(), ()>,)| Err(end(u8::from(status.is_err()))))?;
    exit.define_silent("exit-with-code", |_, (code,): (u8,)| Err(end(code)))?;

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

pub(crate) fn variables(call: &mut Call<'_>) -> Vec<(String, String)> {
    let variables = call.kernel.config().environment();
    call.kernel.copied(variables.iter().map(Vec::len).sum());
    variables.iter().map(|variable| pair(variable)).collect()
}

pub(crate) fn arguments(call: &mut Call<'_>) -> Vec<String> {
    let arguments: Vec<String> = call.kernel.config().args.iter().map(|argument| text(argument)).collect();
    call.kernel.copied(arguments.iter().map(String::len).sum());
    arguments
}

fn end(code: u8) -> wasmtime::Error {
    wasmtime::Error::new(ExitCode(u32::from(code)))
}

/// A text of the manifest; bytes that are not UTF-8 are replaced, as the interface has no others.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A variable by its name and its value.
fn pair(variable: &[u8]) -> (String, String) {
    let at = variable.iter().position(|byte| *byte == b'=').unwrap_or(variable.len());
    (text(&variable[..at]), text(variable.get(at + 1..).unwrap_or_default()))
}
