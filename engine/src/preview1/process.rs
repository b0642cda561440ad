//! Arguments, environment, clocks, randomness, exit.

use refrain_kernel::{Errno, Kernel, Stop};
use wasmtime::Caller;

use super::Links;
use super::memory::{MAX_CALL_BYTES, element, slice, slice_mut, write, write_u32, write_u64};
use crate::host::{ExitCode, Host, call, waiting_call};

const CLOCK_REALTIME: u32 = 0;
const CLOCK_PROCESS: u32 = 2;
const CLOCK_THREAD: u32 = 3;
/// Signals that do nothing by default, and those that stop a process; every other one ends it.
const SIGNAL_CHILD: u32 = 16;
const SIGNAL_CONTINUE: u32 = 17;
const SIGNAL_STOP: u32 = 18;
const SIGNAL_TTOU: u32 = 21;
const SIGNAL_URGENT: u32 = 22;
const SIGNAL_WINDOW: u32 = 27;
const LAST_SIGNAL: u32 = 30;
/// The resolution that every clock claims: log time counts microseconds.
const RESOLUTION_NS: u64 = 1_000;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    strings(links, "args_get", "args_sizes_get", |kernel| kernel.config().args.clone())?;
    strings(links, "environ_get", "environ_sizes_get", |kernel| kernel.config().environment())?;
    links.define("clock_res_get", |mut caller: Caller<'_, Host>, clock: u32, out: u32| {
        call(&mut caller, |_, memory| match clock {
            CLOCK_REALTIME..=CLOCK_THREAD => write_u64(memory, out, RESOLUTION_NS),
            _ => Err(Errno::Inval),
        })
    })?;
    links.waiting("clock_time_get", |caller: Caller<'_, Host>, (clock, _precision, out): (u32, u64, u32)| {
        waiting_call(caller, move |kernel, memory, _| clock_time(kernel, memory, clock, out))
    })?;
    links.define("random_get", |mut caller: Caller<'_, Host>, at: u32, len: u32| {
        call(&mut caller, |kernel, memory| {
            let out = slice_mut(memory, at, len)?;
            if len > MAX_CALL_BYTES {
                return Err(Errno::Inval);
            }
            kernel.fill_random(out);
            Ok(())
        })
    })?;
    links.exit("proc_exit", |_: Caller<'_, Host>, code: u32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(ExitCode(code)))
    })?;
    links.ending("proc_raise", |signal| match signal {
        0 | SIGNAL_CHILD | SIGNAL_CONTINUE | SIGNAL_URGENT | SIGNAL_WINDOW => Ok(0),
        // Nobody could have the guest go on.
        SIGNAL_STOP..=SIGNAL_TTOU => Ok(i32::from(Errno::Notsup.code())),
        1..=LAST_SIGNAL => Err(wasmtime::Error::new(ExitCode(128 + signal))),
        _ => Ok(i32::from(Errno::Inval.code())),
    })?;
    links.waiting("sched_yield", |caller: Caller<'_, Host>, (): ()| {
        waiting_call(caller, |kernel, _, _| kernel.read_clock().map(drop))
    })?;
    Ok(())
}

fn clock_time(kernel: &mut Kernel, memory: &mut [u8], clock: u32, out: u32) -> Result<(), Stop> {
    if clock > CLOCK_THREAD {
        return Err(Errno::Inval.into());
    }
    slice(memory, out, 8)?;
    let now_ns = kernel.read_clock()?;
    let shown = if clock == CLOCK_PROCESS || clock == CLOCK_THREAD { kernel.since_start_ns() } else { now_ns };
    Ok(write_u64(memory, out, shown)?)
}

/// A pair of functions that hand over a list of strings: pointers and bytes, or their sizes.
fn strings(
    links: &mut Links<'_>,
    get: &'static str,
    sizes: &'static str,
    list: fn(&Kernel) -> Vec<Vec<u8>>,
) -> wasmtime::Result<()> {
    links.define(get, move |mut caller: Caller<'_, Host>, pointers: u32, bytes: u32| {
        call(&mut caller, |kernel, memory| {
            let list = list(kernel);
            let all: Vec<u8> = list.iter().flat_map(|text| text.iter().chain(&[0])).copied().collect();
            kernel.copied(all.len());
            slice(memory, pointers, element(0, list.len() as u32, 4)?)?;
            slice(memory, bytes, all.len() as u32)?;
            let mut at = bytes;
            for (index, text) in (0..).zip(&list) {
                write_u32(memory, element(pointers, index, 4)?, at)?;
                // The end of the last one may be that of the memory, where nothing begins.
                at = at.wrapping_add(text.len() as u32 + 1);
            }
            write(memory, bytes, &all)
        })
    })?;
    links.define(sizes, move |mut caller: Caller<'_, Host>, count: u32, bytes: u32| {
        call(&mut caller, |kernel, memory| {
            let list = list(kernel);
            let size: u32 = list.iter().map(|text| text.len() as u32 + 1).sum();
            kernel.copied(size as usize);
            slice(memory, bytes, 4)?;
            write_u32(memory, count, list.len() as u32)?;
            write_u32(memory, bytes, size)
        })
    })?;
    Ok(())
}
