//! `poll_oneoff`.

use refrain_kernel::poll::Interest;
use refrain_kernel::{Errno, Event, Kernel, Stop, Subscription};
use wasmtime::Caller;

use super::Links;
use super::memory::{element, read, read_u16, read_u32, read_u64, slice, write, write_u32};
use crate::host::{Host, waiting_call};

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
/// The most subscriptions in one call.
const MAX_SUBSCRIPTIONS: u32 = 65_536;
const TYPE_CLOCK: u8 = 0;
const TYPE_READ: u8 = 1;
const TYPE_WRITE: u8 = 2;
const CLOCK_ABSOLUTE: u16 = 1;
const HANGUP: u16 = 1;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.waiting("poll_oneoff", |caller: Caller<'_, Host>, (input, output, count, out): (u32, u32, u32, u32)| {
        let mut read = None;
        waiting_call(caller, move |kernel, memory, first| {
            let subscriptions = match &mut read {
                Some(read) => read,
                // The memory of a guest that waits does not change: what was read before a checkpoint is there.
                None => {
                    let subscriptions = read_subscriptions(kernel, memory, input, count)?;
                    slice(memory, output, element(0, count, EVENT_BYTES)?)?;
                    slice(memory, out, 4)?;
                    read.insert(subscriptions)
                }
            };
            let events = kernel.poll(subscriptions, first)?;
            write_events(memory, output, out, &events).map_err(Stop::Errno)
        })
    })?;
    Ok(())
}

fn read_subscriptions(kernel: &Kernel, memory: &[u8], base: u32, count: u32) -> Result<Vec<Subscription>, Errno> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval);
    }
    (0..count)
        .map(|index| {
            let at = element(base, index, SUBSCRIPTION_BYTES)?;
            slice(memory, at, SUBSCRIPTION_BYTES)?;
            let [kind] = read(memory, at + 8)?;
            let interest = match kind {
                TYPE_CLOCK => Interest::Until(deadline(kernel, memory, at)?),
                TYPE_READ => Interest::Read(read_u32(memory, at + 16)?),
                TYPE_WRITE => Interest::Write(read_u32(memory, at + 16)?),
                _ => return Err(Errno::Inval),
            };
            Ok(Subscription { userdata: read_u64(memory, at)?, interest })
        })
        .collect()
}

fn deadline(kernel: &Kernel, memory: &[u8], at: u32) -> Result<u64, Errno> {
    let (clock, timeout_ns) = (read_u32(memory, at + 16)?, read_u64(memory, at + 24)?);
    let flags = read_u16(memory, at + 40)?;
    match clock {
        0 | 1 if flags & !CLOCK_ABSOLUTE == 0 => {}
        // CPU time moves only while the guest computes: nobody can wait for it.
        2 | 3 => return Err(Errno::Notsup),
        _ => return Err(Errno::Inval),
    }
    Ok(if flags & CLOCK_ABSOLUTE != 0 { timeout_ns } else { kernel.poll_base_ns().saturating_add(timeout_ns) })
}

fn write_events(memory: &mut [u8], base: u32, out: u32, events: &[Event]) -> Result<(), Errno> {
    for (index, event) in events.iter().enumerate() {
        let mut bytes = [0; EVENT_BYTES as usize];
        bytes[..8].copy_from_slice(&event.userdata.to_le_bytes());
        bytes[8..10].copy_from_slice(&event.errno.code().to_le_bytes());
        bytes[10] = match event.interest {
            Interest::Until(_) => TYPE_CLOCK,
            Interest::Read(_) => TYPE_READ,
            Interest::Write(_) => TYPE_WRITE,
        };
        bytes[16..24].copy_from_slice(&event.bytes.to_le_bytes());
        bytes[24..26].copy_from_slice(&(if event.hangup { HANGUP } else { 0 }).to_le_bytes());
        write(memory, element(base, index as u32, EVENT_BYTES)?, &bytes)?;
    }
    write_u32(memory, out, events.len() as u32)
}
