//! `wasi:sockets/ip-name-lookup`: names of hosts, which the kernel looks up one after the other.

use refrain_kernel::{Errno, Stop};
use wasmtime::component::Resource;

use super::SocketResult;
use crate::preview2::links::{Call, Halt, Links};
use crate::preview2::resources::{Lookup, Network, Pollable};
use crate::preview2::wit::{IpAddress, SocketError};

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut lookup = links.interface("wasi:sockets/ip-name-lookup")?;
    lookup.resource::<Lookup>("resolve-address-stream")?;
    lookup.waiting("resolve-addresses", |call, (_, name): &mut (Resource<Network>, String), _| begin(call, name))?;
    lookup.waiting(
        "[method]resolve-address-stream.resolve-next-address",
        |call, (stream,): &mut (Resource<Lookup>,), _| next(call, stream),
    )?;
    lookup.define("[method]resolve-address-stream.subscribe", |call, (stream,): (Resource<Lookup>,)| {
        let pollable = match call.resources.get(&stream)? {
            Lookup::Asked { number, .. } => Pollable::Answer(*number),
            Lookup::Answered(_) | Lookup::Failed(_) => Pollable::Ready,
        };
        call.add(pollable)
    })
}

/// Begins a look-up. One that is under way is waited for first.
fn begin(call: &mut Call<'_>, name: &str) -> Result<SocketResult<Resource<Lookup>>, Halt> {
    if let Some(rep) = call.resources.asked {
        settle(call, &Resource::new_borrow(rep))?;
    }
    let found = match call.kernel.resolve(name.as_bytes(), true) {
        // It waits for its answer, or cannot begin in this turn.
        Err(Stop::Block) if call.kernel.awaits_answer() => {
            call.resources.lookups += 1;
            let asked = call.add(Lookup::Asked { name: name.to_owned(), number: call.resources.lookups })?;
            call.resources.asked = Some(asked.rep());
            return Ok(Ok(asked));
        }
        Err(Stop::Block) => return Err(Halt::Block),
        Ok(addresses) => Lookup::Answered(addresses.into_iter().rev().collect()),
        Err(Stop::Errno(errno @ (Errno::Acces | Errno::Inval | Errno::Ilseq))) => return Ok(Err(told(errno))),
        Err(Stop::Errno(errno)) => Lookup::Failed(errno),
    };
    Ok(Ok(call.add(found)?))
}

/// Takes the answer to the look-up under way, if it is there.
fn settle(call: &mut Call<'_>, stream: &Resource<Lookup>) -> Result<(), Halt> {
    let Lookup::Asked { name, .. } = call.resources.get(stream)? else { return Ok(()) };
    let answer = match call.kernel.resolve(name.as_bytes(), false) {
        Err(Stop::Block) => return Err(Halt::Block),
        Ok(addresses) => Lookup::Answered(addresses.into_iter().rev().collect()),
        Err(Stop::Errno(errno)) => Lookup::Failed(errno),
    };
    *call.resources.get_mut(stream)? = answer;
    call.resources.asked = None;
    Ok(())
}

fn next(call: &mut Call<'_>, stream: &Resource<Lookup>) -> Result<SocketResult<Option<IpAddress>>, Halt> {
    if call.resources.asked == Some(stream.rep()) {
        if call.kernel.awaits_answer() {
            return call.kernel.would_block().map_or(Err(Halt::Block), |()| Ok(Err(SocketError::WouldBlock)));
        }
        settle(call, stream)?;
    }
    Ok(match call.resources.get_mut(stream)? {
        Lookup::Answered(addresses) => Ok(addresses.pop().map(IpAddress::from)),
        Lookup::Failed(errno) => Err(told(*errno)),
        Lookup::Asked { .. } => Err(SocketError::Unknown),
    })
}

fn told(errno: Errno) -> SocketError {
    match errno {
        Errno::Again => SocketError::TemporaryResolverFailure,
        Errno::Io => SocketError::PermanentResolverFailure,
        errno => SocketError::from(errno),
    }
}
