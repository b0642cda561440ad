//! How much a descriptor gives and takes now: for interfaces whose guests ask before they read and write, where those of
//! preview 1 are told by the call itself.

use crate::Stop;
use crate::descriptor::Object;
use crate::errno::Errno;
use crate::flow::Link;
use crate::kernel::Kernel;

impl Kernel {
    /// Bytes that a read would find; 0 where it would wait, and for what is no stream.
    #[must_use]
    pub fn readable_bytes(&self, fd: u32) -> u64 {
        match self.tables.descriptors.get(fd).map(|descriptor| &descriptor.object) {
            Ok(Object::Input) => self.solo.as_ref().map_or(0, |solo| solo.readable().0),
            Ok(Object::Flow { .. }) => {
                let slot = self.flow_slot(fd).ok().flatten().and_then(|slot| self.tables.flows.get(slot));
                slot.map_or(0, |slot| slot.flow.readable_bytes())
            }
            _ => 0,
        }
    }

    /// Whether a stream is at its end, where a read of any length finds nothing ever more.
    #[must_use]
    pub fn is_at_end(&self, fd: u32) -> bool {
        match self.tables.descriptors.get(fd).map(|descriptor| &descriptor.object) {
            Ok(Object::Input) => self.solo.as_ref().is_none_or(|solo| solo.readable() == (0, true)),
            Ok(Object::Flow { .. }) => {
                let slot = self.flow_slot(fd).ok().flatten().and_then(|slot| self.tables.flows.get(slot));
                slot.is_some_and(|slot| slot.flow.is_readable() && slot.flow.readable_bytes() == 0)
            }
            _ => false,
        }
    }

    /// Bytes that a write takes without waiting; blocks where it takes more in the next turn in any case. Asking for what
    /// does not take any counts against the turn's budget, as polling does.
    ///
    /// # Errors
    /// Those of [`Kernel::write`].
    pub fn writable_bytes(&mut self, fd: u32) -> Result<u64, Stop> {
        match &self.tables.descriptors.get(fd)?.object {
            Object::Output(stream) => match self.solo.as_ref().map(|solo| solo.output_room(*stream)) {
                Some(None) => Err(Errno::Pipe.into()),
                Some(Some(0)) => Err(self.turn_is_full()),
                Some(Some(room)) => Ok(room as u64),
                None => Ok(self.config.socket_buffer_bytes),
            },
            Object::Flow { .. } => {
                if let Some(errno) = self.write_fault(fd) {
                    return Err(errno.into());
                }
                let slot = self.flow_slot(fd)?.ok_or(Errno::Pipe)?;
                let space = self.send_space(slot);
                let room = space.min(self.effects.spent().room());
                match (space, room) {
                    (0, _) => self.would_block().map(|()| 0).ok_or(Stop::Block),
                    (_, 0) => Err(self.turn_is_full()),
                    _ => Ok(room),
                }
            }
            _ => Err(Errno::Badf.into()),
        }
    }

    /// Why nothing can be written any more.
    #[must_use]
    pub fn write_fault(&self, fd: u32) -> Option<Errno> {
        let descriptor = self.tables.descriptors.get(fd).ok()?;
        match &descriptor.object {
            Object::Output(stream) => {
                let closed = self.solo.as_ref().is_some_and(|solo| solo.output_room(*stream).is_none());
                closed.then_some(Errno::Pipe)
            }
            Object::Flow { .. } => match self.flow_slot(fd).ok()?.and_then(|slot| self.tables.flows.get(slot)) {
                None => Some(Errno::Pipe),
                Some(slot) => match slot.flow.link {
                    Link::Open => slot.flow.finished.then_some(Errno::Pipe),
                    Link::Connecting(_) => Some(Errno::Notconn),
                    Link::Failed(errno) => Some(errno),
                },
            },
            _ => None,
        }
    }

    /// Counts a call that tells the guest to come again against the turn's budget: none when that is spent, and the call
    /// waits for the next turn.
    pub fn would_block(&mut self) -> Option<()> {
        match self.would_wait(true) {
            Stop::Block => None,
            Stop::Errno(_) => Some(()),
        }
    }

    /// Whether a look-up is under way that has no answer yet.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.tables.outward.lookup.as_ref().is_some_and(|lookup| !lookup.is_answered())
    }
}
