//! `wasi:io/poll` and `wasi:io/error`: waiting for one or several things.

use refrain_kernel::poll::{Interest, Subscription};
use refrain_kernel::socket::SocketKind;
use refrain_kernel::{Errno, Stop};
use wasmtime::component::Resource;

use super::links::{Call, Halt, Links};
use super::resources::{IoError, Pollable, fault};

/// The most pollables in one call.
pub(super) const MAX_POLLABLES: usize = 65_536;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut error = links.interface("wasi:io/error")?;
    error.resource::<IoError>("error")?;
    error.define("[method]error.to-debug-string", |call, (error,): (Resource<IoError>,)| {
        Ok(call.resources.get(&error)?.errno.message().to_owned())
    })?;
    let mut poll = links.interface("wasi:io/poll")?;
    poll.resource::<Pollable>("pollable")?;
    poll.waiting("[method]pollable.ready", |call, (pollable,): &mut (Resource<Pollable>,), first| {
        let pollable = *call.resources.get(pollable)?;
        // Beside what is ready in any case, so that it does not wait; a guest that asks in a loop yields all the same.
        let ready = wait_for(call, &[pollable, Pollable::Ready], first)?;
        Ok(ready.first() == Some(&0))
    })?;
    poll.waiting_silent("[method]pollable.block", |call, (pollable,): &mut (Resource<Pollable>,), first| {
        let pollable = *call.resources.get(pollable)?;
        wait_for(call, &[pollable], first).map(drop)
    })?;
    poll.waiting("poll", |call, (list,): &mut (Vec<Resource<Pollable>>,), first| {
        if list.is_empty() || list.len() > MAX_POLLABLES {
            let many = list.len();
            return Err(fault(format!("polls {many} things, and one call takes 1 to {MAX_POLLABLES}")).into());
        }
        let pollables: wasmtime::Result<Vec<Pollable>> =
            list.iter().map(|pollable| call.resources.get(pollable).copied()).collect();
        wait_for(call, &pollables?, first)
    })
}

/// Which of them are ready, in their order; waits until one is.
fn wait_for(call: &mut Call<'_>, pollables: &[Pollable], first: bool) -> Result<Vec<u32>, Halt> {
    let numbered = pollables.iter().zip(0..);
    let subscriptions: Vec<Subscription> = numbered
        .filter_map(|(pollable, userdata)| Some(Subscription { userdata, interest: interest(call, *pollable)? }))
        .collect();
    if subscriptions.is_empty() {
        return Err(Halt::Block);
    }
    match call.kernel.poll(&subscriptions, first) {
        Ok(events) => Ok(events.iter().map(|event| event.userdata as u32).collect()),
        Err(Stop::Block) => Err(Halt::Block),
        Err(Stop::Errno(errno)) => Err(fault(format!("polls what cannot be waited for: {errno}")).into()),
    }
}

/// What the kernel is to wait for; none for what only the log brings, which is looked at anew in each turn.
fn interest(call: &Call<'_>, pollable: Pollable) -> Option<Interest> {
    const NOW: Interest = Interest::Until(0);
    let kernel = &*call.kernel;
    Some(match pollable {
        Pollable::Ready => NOW,
        Pollable::Until(at_ns) => Interest::Until(at_ns),
        Pollable::Read(fd) => Interest::Read(fd),
        Pollable::Write(fd) => Interest::Write(fd),
        Pollable::Answer(number) if call.resources.asks(number) && kernel.awaits_answer() => return None,
        Pollable::Answer(_) => NOW,
        Pollable::Socket(fd) => match kernel.socket_kind(fd) {
            Ok(SocketKind::Listening) => Interest::Read(fd),
            // One that is being connected takes bytes when it is.
            Ok(SocketKind::Connected) if kernel.peer_address(fd) == Err(Errno::Notconn) => Interest::Write(fd),
            _ => NOW,
        },
    })
}
