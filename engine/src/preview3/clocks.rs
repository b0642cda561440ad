//! `wasi:clocks`: both clocks are the kernel's one, and waiting is for its turns.

use refrain_kernel::poll::{Interest, Subscription};

use super::wit::Instant;
use crate::preview2::clocks::{RESOLUTION_NS, now_ns};
use crate::preview2::links::{Call, Halt, Links, settled};
use crate::preview2::resources::fault;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    // It has types alone.
    links.interface("wasi:clocks/types")?;
    let mut monotonic = links.interface("wasi:clocks/monotonic-clock")?;
    monotonic.waiting("now", |call, (): &mut (), _| now_ns(call))?;
    monotonic.define("get-resolution", |_, (): ()| Ok(RESOLUTION_NS))?;
    monotonic.concurrent_silent("wait-until", |call, (at_ns,): &mut (u64,), first| wait_until(call, *at_ns, first))?;
    monotonic.concurrent_silent("wait-for", |call, (ns,): &mut (u64,), first| {
        if first {
            *ns = call.kernel.now_ns().saturating_add(*ns);
        }
        wait_until(call, *ns, first)
    })?;
    let mut system = links.interface("wasi:clocks/system-clock")?;
    system.waiting("now", |call, (): &mut (), _| now_ns(call).map(Instant::from_ns))?;
    system.define("get-resolution", |_, (): ()| Ok(RESOLUTION_NS))
}

fn wait_until(call: &mut Call<'_>, at_ns: u64, first: bool) -> Result<(), Halt> {
    let until = Subscription { userdata: 0, interest: Interest::Until(at_ns) };
    match settled(call.kernel.poll(&[until], first))? {
        Ok(_) => Ok(()),
        Err(errno) => Err(fault(format!("waits for a time that cannot be waited for: {errno}")).into()),
    }
}
