//! `wasi:sockets/ip-name-lookup`: names of hosts, which the kernel looks up one after the other.

use std::sync::Arc;

use refrain_kernel::Stop;

use crate::preview2::links::{Call, Halt, Links};
use crate::preview2::wit::IpAddress;
use crate::preview3::wit::LookupError;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    links.interface("wasi:sockets/ip-name-lookup")?.concurrent_with(
        "resolve-addresses",
        |call: &mut Call<'_>, (name,): &mut (String,), place: &mut Option<Arc<()>>| resolve(call, name, place),
    )
}

/// Looks a name up once the kernel has nothing else to look up. `place` is held by whoever's name it is that it has: it goes
/// with its call, even when that is cancelled.
fn resolve(
    call: &mut Call<'_>,
    name: &str,
    place: &mut Option<Arc<()>>,
) -> Result<Result<Vec<IpAddress>, LookupError>, Halt> {
    let first = place.is_none();
    let is_others = call.resources.looked_up.strong_count() > 0 || call.resources.asked.is_some();
    if first && is_others {
        return Err(Halt::Block);
    }
    match call.kernel.resolve(name.as_bytes(), first) {
        Ok(addresses) => {
            *place = None;
            Ok(Ok(addresses.into_iter().map(IpAddress::from).collect()))
        }
        Err(Stop::Errno(errno)) => {
            *place = None;
            Ok(Err(LookupError::from(errno)))
        }
        Err(Stop::Block) => {
            if first && call.kernel.awaits_answer() {
                let held = Arc::new(());
                call.resources.looked_up = Arc::downgrade(&held);
                *place = Some(held);
            }
            Err(Halt::Block)
        }
    }
}
