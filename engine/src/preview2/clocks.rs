//! `wasi:clocks`: both clocks are the kernel's one.

use wasmtime::component::Resource;

use super::links::{Call, Halt, Links, settled};
use super::resources::{Pollable, fault};
use super::wit::Datetime;

/// The resolution that both clocks claim: log time counts microseconds.
pub(crate) const RESOLUTION_NS: u64 = 1_000;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut monotonic = links.interface("wasi:clocks/monotonic-clock")?;
    monotonic.waiting("now", |call, (): &mut (), _| now_ns(call))?;
    monotonic.define("resolution", |_, (): ()| Ok(RESOLUTION_NS))?;
    monotonic.define("subscribe-instant", |call, (at_ns,): (u64,)| call.add(Pollable::Until(at_ns)))?;
    monotonic.define("subscribe-duration", |call, (for_ns,): (u64,)| -> wasmtime::Result<Resource<Pollable>> {
        let at_ns = call.kernel.now_ns().saturating_add(for_ns);
        call.add(Pollable::Until(at_ns))
    })?;
    let mut wall = links.interface("wasi:clocks/wall-clock")?;
    wall.waiting("now", |call, (): &mut (), _| now_ns(call).map(Datetime::from_ns))?;
    wall.define("resolution", |_, (): ()| Ok(Datetime::from_ns(RESOLUTION_NS)))
}

pub(crate) fn now_ns(call: &mut Call<'_>) -> Result<u64, Halt> {
    settled(call.kernel.read_clock())?.map_err(|errno| fault(format!("its clock cannot be read: {errno}")).into())
}
