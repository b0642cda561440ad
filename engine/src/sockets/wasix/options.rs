//! Socket options of WASIX: one numbering, and a function for each type of value.

use refrain_kernel::Errno;
use wasmtime::Caller;

use super::super::{SocketOption, option};
use crate::host::{Host, call};
use crate::links::Links;
use crate::preview1::memory::{slice, write, write_u64};

/// Option numbers end here.
const LAST_OPTION: u32 = 26;
/// Bytes of an `option_timestamp`: a tag, and at 8 the time.
const TIME_BYTES: u32 = 16;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("sock_set_opt_flag", |mut caller: Caller<'_, Host>, fd: u32, name: u32, _value: u32| {
        call(&mut caller, |kernel, _| {
            known(name)?;
            kernel.socket_kind(fd).map(drop)
        })
    })?;
    links.define("sock_set_opt_size", |mut caller: Caller<'_, Host>, fd: u32, name: u32, _value: u64| {
        call(&mut caller, |kernel, _| {
            known(name)?;
            kernel.socket_kind(fd).map(drop)
        })
    })?;
    links.define("sock_set_opt_time", |mut caller: Caller<'_, Host>, fd: u32, name: u32, value: u32| {
        call(&mut caller, |kernel, memory| {
            slice(memory, value, TIME_BYTES)?;
            known(name)?;
            kernel.socket_kind(fd).map(drop)
        })
    })?;
    links.define("sock_get_opt_flag", |mut caller: Caller<'_, Host>, fd: u32, name: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            slice(memory, out, 1)?;
            let value = option(kernel, fd, known(name)?)?;
            write(memory, out, &[u8::from(value != 0)])
        })
    })?;
    links.define("sock_get_opt_size", |mut caller: Caller<'_, Host>, fd: u32, name: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            slice(memory, out, 8)?;
            let value = option(kernel, fd, known(name)?)?;
            write_u64(memory, out, u64::from(value))
        })
    })?;
    links.define("sock_get_opt_time", |mut caller: Caller<'_, Host>, fd: u32, name: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            known(name)?;
            kernel.socket_kind(fd)?;
            // No time limit is set.
            write(memory, out, &[0; TIME_BYTES as usize])
        })
    })
}

fn known(name: u32) -> Result<SocketOption, Errno> {
    Ok(match name {
        10 => SocketOption::Listening,
        11 => SocketOption::Error,
        15 | 16 => SocketOption::BufferBytes,
        25 => SocketOption::Type,
        26 => SocketOption::Protocol,
        0..=LAST_OPTION => SocketOption::Other,
        _ => return Err(Errno::Inval),
    })
}
