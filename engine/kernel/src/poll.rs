//! `poll_oneoff`: waiting for descriptors and for times.

use crate::Stop;
use crate::descriptor::Object;
use crate::errno::Errno;
use crate::flow::Link;
use crate::kernel::Kernel;
use crate::rights;
use crate::solo::Solo;

/// What looking at one subscription costs, in the kernel's units of work.
const SUBSCRIPTION_WORK: u64 = 32;

/// What a subscription waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// A time of the guest's clock, in nanoseconds; relative ones are made absolute when the call begins.
    Until(u64),
    /// Something to read.
    Read(u32),
    /// Room to write.
    Write(u32),
}

/// One subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// Handed back in the event.
    pub userdata: u64,
    /// What it waits for.
    pub interest: Interest,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// That of the subscription.
    pub userdata: u64,
    /// What the subscription waited for.
    pub interest: Interest,
    /// [`Errno::Success`], or what is wrong with the descriptor.
    pub errno: Errno,
    /// Bytes that can be read or written.
    pub bytes: u64,
    /// The other side has gone.
    pub hangup: bool,
}

struct Ready {
    bytes: u64,
    hangup: bool,
}

impl Kernel {
    /// From when the relative times of the present poll count: now, or when the guest began to wait in it.
    #[must_use]
    pub fn poll_base_ns(&self) -> u64 {
        self.tables.poll_began_ns.unwrap_or_else(|| self.tables.clock.peek_ns())
    }

    /// The events that are there now, in the order of their subscriptions; blocks where there are none.
    ///
    /// A poll that need not wait counts against the turn's budget, so that a guest that polls in a loop yields.
    pub fn poll(&mut self, subscriptions: &[Subscription], first_call: bool) -> Result<Vec<Event>, Stop> {
        let began_ns = self.poll_base_ns();
        let result = self.poll_now(subscriptions, first_call);
        self.tables.poll_began_ns = matches!(result, Err(Stop::Block)).then_some(began_ns);
        result
    }

    fn poll_now(&mut self, subscriptions: &[Subscription], first_call: bool) -> Result<Vec<Event>, Stop> {
        self.add_work(SUBSCRIPTION_WORK * subscriptions.len() as u64);
        let now_ns = self.tables.clock.peek_ns();
        if !subscriptions.iter().any(|subscription| self.can_be_waited_for(subscription.interest)) {
            return Err(Errno::Badf.into());
        }
        self.note_wanted_input(subscriptions);
        let events: Vec<Event> =
            subscriptions.iter().filter_map(|subscription| self.event(subscription, now_ns)).collect();
        if events.is_empty() {
            let deadline = subscriptions.iter().filter_map(|subscription| match subscription.interest {
                Interest::Until(at_ns) => Some(at_ns),
                Interest::Read(_) | Interest::Write(_) => None,
            });
            if let Some(at_ns) = deadline.min() {
                self.wait_until(at_ns);
            }
            return Err(Stop::Block);
        }
        if first_call && self.tables.clock.spend().is_none() {
            self.wait_for_next_turn();
            return Err(Stop::Block);
        }
        Ok(events)
    }

    /// A poll that waits for bad descriptors alone fails as a whole; beside others they are events with an error.
    fn can_be_waited_for(&self, interest: Interest) -> bool {
        match interest {
            Interest::Until(_) => true,
            Interest::Read(fd) | Interest::Write(fd) => self.tables.descriptors.get(fd).is_ok(),
        }
    }

    fn event(&self, subscription: &Subscription, now_ns: u64) -> Option<Event> {
        let interest = subscription.interest;
        let ready = match interest {
            Interest::Until(at_ns) => Ok((at_ns <= now_ns).then_some(Ready { bytes: 0, hangup: false })),
            Interest::Read(fd) => self.readable(fd),
            Interest::Write(fd) => self.writable(fd),
        };
        let (errno, ready) = match ready {
            Ok(ready) => (Errno::Success, ready?),
            Err(errno) => (errno, Ready { bytes: 0, hangup: false }),
        };
        Some(Event { userdata: subscription.userdata, interest, errno, bytes: ready.bytes, hangup: ready.hangup })
    }

    fn readable(&self, fd: u32) -> Result<Option<Ready>, Errno> {
        let now = |bytes, hangup| Ok(Some(Ready { bytes, hangup }));
        let descriptor = self.tables.descriptors.get(fd)?;
        descriptor.check(rights::POLL_FD_READWRITE)?;
        match &descriptor.object {
            Object::Input => match self.solo.as_ref().map(Solo::readable) {
                Some((0, false)) => Ok(None),
                Some((bytes, ended)) => now(bytes, ended && bytes == 0),
                None => now(0, true),
            },
            Object::Output(_) => Err(Errno::Notsup),
            Object::Directory { .. } => Err(Errno::Isdir),
            Object::File { inode, offset } => now(self.fs.stat(*inode)?.size_bytes.saturating_sub(*offset), false),
            Object::Socket { bound: Some(port), backlog: Some(_), .. } => {
                Ok(self.has_waiting(*port).then_some(Ready { bytes: 1, hangup: false }))
            }
            Object::Socket { .. } => now(0, true),
            Object::Datagram { slot } => Ok(self.waiting_datagram(*slot).map(|bytes| Ready { bytes, hangup: false })),
            Object::Flow { slot, stamp } => {
                let Some(slot) = self.tables.flows.get(*slot).filter(|flow| flow.stamp == *stamp) else {
                    return now(0, true);
                };
                let flow = &slot.flow;
                match flow.link {
                    Link::Open => {}
                    Link::Connecting(_) => return Ok(None),
                    Link::Failed(_) => return now(0, true),
                }
                // A client that only half-closed still reads: that is the end of a stream, not a hang-up.
                let hangup = flow.peer_finished && flow.finished;
                Ok(flow.is_readable().then(|| Ready { bytes: flow.readable_bytes(), hangup }))
            }
        }
    }

    /// A flow takes bytes again when half of what it may hold is free, so that a guest does not write in crumbs.
    fn writable(&self, fd: u32) -> Result<Option<Ready>, Errno> {
        let now = |bytes, hangup| Ok(Some(Ready { bytes, hangup }));
        let descriptor = self.tables.descriptors.get(fd)?;
        descriptor.check(rights::POLL_FD_READWRITE)?;
        match &descriptor.object {
            Object::Input => Err(Errno::Notsup),
            Object::Directory { .. } => Err(Errno::Isdir),
            Object::Output(_) | Object::File { .. } | Object::Datagram { .. } => {
                now(self.config.socket_buffer_bytes, false)
            }
            Object::Socket { .. } => now(0, true),
            Object::Flow { slot, stamp } => {
                let Some(flow) = self.tables.flows.get(*slot).filter(|flow| flow.stamp == *stamp) else {
                    return now(0, true);
                };
                match flow.flow.link {
                    Link::Open => {}
                    Link::Connecting(_) => return Ok(None),
                    Link::Failed(_) => return now(0, true),
                }
                let space = self.send_space(*slot);
                let whole = flow.flow.unsent_bytes() + space;
                let enough = space > 0 && space >= whole / 2;
                Ok((enough || flow.flow.finished).then_some(Ready { bytes: space, hangup: false }))
            }
        }
    }
}
