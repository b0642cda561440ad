//! What WASIX has besides sockets, for one thread of one process: waiting, terminals, folders, and polite refusals.
//!
//! What a program copes with answers an errno: `nosys` for other processes and signals, `notsup` for pipes, events and
//! second descriptors of one thing. What none copes with is refused when a module is loaded.

use refrain_kernel::poll::Interest;
use refrain_kernel::{Errno, Kernel, Stop, Subscription};
use wasmtime::Caller;

use crate::host::{Host, call, waiting_call};
use crate::links::Links;
use crate::preview1::memory::{read, read_u32, read_u64, slice, slice_mut, write, write_u32};
use crate::preview1::path::{Opening, open_at};

/// The process and its only thread.
const PROCESS: u32 = 1;
/// Columns and rows of a terminal that is not there, and its size in pixels.
const TERMINAL: [u32; 4] = [80, 25, 640, 400];
/// Bytes of a `tty`: four numbers and six flags.
const TTY_BYTES: u32 = 24;
/// `option`: there is a value.
const SOME: u8 = 1;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    waiting(links)?;
    numbers(links)?;
    descriptors(links)?;
    folders(links)?;
    refusals(links)
}

/// Waits for a time after the beginning of the call.
fn wait(kernel: &mut Kernel, ns: u64, first: bool) -> Result<(), Stop> {
    let until = Interest::Until(kernel.poll_base_ns().saturating_add(ns));
    kernel.poll(&[Subscription { userdata: 0, interest: until }], first).map(drop)
}

fn waiting(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("thread_sleep", |caller: Caller<'_, Host>, (ns,): (u64,)| {
        waiting_call(caller, move |kernel, _, first| wait(kernel, ns, first))
    })?;
    links.waiting(
        "futex_wait",
        |caller: Caller<'_, Host>, (futex, expected, timeout, out): (u32, u32, u32, u32)| {
            waiting_call(caller, move |kernel, memory, first| {
                slice(memory, out, 1)?;
                slice(memory, timeout, 16)?;
                if read_u32(memory, futex)? != expected {
                    return Err(Errno::Inval.into());
                }
                // Nobody else is there to wake it.
                if read::<1>(memory, timeout)? != [SOME] {
                    return Err(Errno::Deadlk.into());
                }
                wait(kernel, read_u64(memory, timeout + 8)?, first)?;
                Ok(write(memory, out, &[0])?)
            })
        },
    )?;
    for name in ["futex_wake", "futex_wake_all"] {
        links.define(name, |mut caller: Caller<'_, Host>, _futex: u32, out: u32| {
            call(&mut caller, |_, memory| write(memory, out, &[0]))
        })?;
    }
    Ok(())
}

fn numbers(links: &mut Links<'_>) -> wasmtime::Result<()> {
    for (name, value) in
        [("proc_id", PROCESS), ("thread_id", PROCESS), ("thread_parallelism", 1), ("proc_signals_sizes_get", 0)]
    {
        links.define(name, move |mut caller: Caller<'_, Host>, out: u32| {
            call(&mut caller, |_, memory| write_u32(memory, out, value))
        })?;
    }
    links.define("proc_parent", |mut caller: Caller<'_, Host>, process: u32, out: u32| {
        call(&mut caller, |_, memory| if process == PROCESS { write_u32(memory, out, 0) } else { Err(Errno::Srch) })
    })?;
    links.define("proc_signals_get", |mut caller: Caller<'_, Host>, _out: u32| call(&mut caller, |_, _| Ok(())))?;
    links.ignore::<(u32, u32)>("callback_signal")
}

fn descriptors(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define("fd_fdflags_get", |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
        call(&mut caller, |kernel, memory| {
            kernel.descriptor(fd)?;
            write(memory, out, &[0, 0])
        })
    })?;
    // Close-on-exec, where nothing is executed.
    links.define("fd_fdflags_set", |mut caller: Caller<'_, Host>, fd: u32, _flags: u32| {
        call(&mut caller, |kernel, _| kernel.descriptor(fd).map(drop))
    })?;
    links.define("tty_get", |mut caller: Caller<'_, Host>, out: u32| {
        call(&mut caller, |_, memory| {
            slice_mut(memory, out, TTY_BYTES)?.fill(0);
            (0..).zip(TERMINAL).try_for_each(|(index, value)| write_u32(memory, out + 4 * index, value))
        })
    })?;
    links.define("tty_set", |mut caller: Caller<'_, Host>, at: u32| {
        call(&mut caller, |_, memory| slice(memory, at, TTY_BYTES).map(drop))
    })?;
    links.fail::<(u32, u32)>("fd_dup", Errno::Notsup)?;
    links.fail::<(u32, u32, u32, u32)>("fd_dup2", Errno::Notsup)?;
    links.fail::<(u64, u32, u32)>("fd_event", Errno::Notsup)?;
    links.fail::<(u32, u32)>("fd_pipe", Errno::Notsup)?;
    links.fail::<(u32,)>("epoll_create", Errno::Notsup)?;
    links.fail::<(u32, u32, u32, u32)>("epoll_ctl", Errno::Notsup)?;
    links.fail::<(u32, u32, u32, u64, u32)>("epoll_wait", Errno::Notsup)
}

fn folders(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.define(
        "path_open2",
        |mut caller: Caller<'_, Host>,
         dir: u32,
         lookup_flags: u32,
         at: u32,
         len: u32,
         flags: u32,
         rights: u64,
         _inheriting: u64,
         set: u32,
         _more: u32,
         out: u32| {
            let opening = Opening { dir, lookup_flags, path: (at, len), flags, rights, set };
            call(&mut caller, |kernel, memory| open_at(kernel, memory, &opening, out))
        },
    )?;
    links.define("getcwd", |mut caller: Caller<'_, Host>, out: u32, len_at: u32| {
        call(&mut caller, |_, memory| {
            let room = read_u32(memory, len_at)?;
            slice(memory, out, room.min(1))?;
            // How much room it takes is told either way.
            write_u32(memory, len_at, 1)?;
            if room == 0 { Err(Errno::Overflow) } else { write(memory, out, b"/") }
        })
    })?;
    links.define("chdir", |mut caller: Caller<'_, Host>, at: u32, len: u32| {
        call(&mut caller, |_, memory| match slice(memory, at, len)? {
            b"/" | b"." | b"/." => Ok(()),
            _ => Err(Errno::Notsup),
        })
    })
}

fn refusals(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.fail::<(u32, u64)>("clock_time_set", Errno::Perm)?;
    links.fail::<(u32, u32)>("proc_fork", Errno::Nosys)?;
    links.fail::<(u32, u32, u32)>("proc_join", Errno::Child)?;
    links.fail::<(u32, u64, u32)>("proc_raise_interval", Errno::Nosys)?;
    links.fail::<(u32, u32)>("proc_signal", Errno::Nosys)?;
    links.fail::<()>("proc_snapshot", Errno::Nosys)?;
    // Their programs count on it that these do not return: they trap when they do.
    links.ignore::<(u32, u32, u32, u32)>("proc_exec")?;
    links.ignore::<(u32, u32, u32, u32, u32, u32)>("proc_exec2")?;
    links.fail::<(u32, u32, u32, u32, u32, u32, u32, u32, u32)>("proc_exec3", Errno::Nosys)?;
    links.fail::<(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32)>("proc_spawn", Errno::Nosys)?;
    links
        .fail::<(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32)>("proc_spawn2", Errno::Nosys)?;
    links.fail::<(u32,)>("thread_join", Errno::Inval)?;
    links.fail::<(u32, u32)>("thread_signal", Errno::Nosys)
}
