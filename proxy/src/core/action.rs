//! What the shell has to do to sockets and to tell.

use std::net::SocketAddr;

use bytes::Bytes;
use refrain_wire::{CallFailure, Digest, Epoch, GroupId, Position, Serial, Target};

use crate::nat::Ending;
use crate::votes::{Divergence, Event};

/// Something to do to a connection, or for a call. Actions of one flow are done in their order. A flow that a guest
/// opened is named by its key ([`crate::nat::Nat::key_of`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes; they are the next of the flow.
    Write {
        /// The flow.
        serial: Serial,
        /// The bytes.
        bytes: Bytes,
    },
    /// Shut down the write side when everything before is written.
    Finish(Serial),
    /// The flow is over: throw away what waits and send a TCP reset.
    Reset {
        /// The flow.
        serial: Serial,
        /// Why.
        ending: Ending,
    },
    /// The flow is over but its answer is complete: write what waits, shut down, and let the client read.
    Linger(Serial),
    /// The client may be read again.
    Resume(Serial),
    /// Open a connection for a guest, once, and tell [`crate::nat::Nat::connected`] or
    /// [`crate::nat::Nat::call_failed`]. A reset of the serial before that gives it up.
    Dial {
        /// The key of the call.
        serial: Serial,
        /// Where to.
        target: Target,
    },
    /// Look a name up for a guest, and tell [`crate::nat::Nat::resolved`] or [`crate::nat::Nat::call_failed`]. A reset
    /// of the serial before that gives it up.
    Resolve {
        /// The key of the call.
        serial: Serial,
        /// The name: UTF-8 of at most 253 bytes.
        name: String,
    },
    /// Make a socket for an association that a guest opened, and tell [`crate::nat::Nat::call_failed`] if there is none.
    Bind {
        /// The key of the call.
        serial: Serial,
        /// Whom it reaches.
        peer: SocketAddr,
    },
    /// Send a datagram on an association, at once or never.
    Send {
        /// The association.
        serial: Serial,
        /// The datagram.
        bytes: Bytes,
    },
    /// A guest's call failed before it was begun; its record is written.
    CallFailed(CallFailure),
}

impl Action {
    /// Bytes for a socket.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Write { bytes, .. } | Self::Send { bytes, .. } => bytes.len() as u64,
            _ => 0,
        }
    }
}

/// Something to tell the caller about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A line that the guest wrote.
    Log {
        /// The turn that wrote it.
        position: Position,
        /// Which output.
        stream: LogStream,
        /// The line.
        line: Bytes,
    },
    /// The guest listens on a port.
    Listen(u64),
    /// The guest no longer listens on a port.
    Unlisten(u64),
    /// The guest was started, for the so manieth time.
    Started(u64),
    /// The guest ended.
    Exited {
        /// Its exit code.
        code: u64,
        /// The reason in words.
        reason: Bytes,
    },
    /// The group was to run another bundle from this turn on, and does or does not.
    Upgraded {
        /// The turn.
        position: Position,
        /// Why it runs what it ran before; none when it runs the other.
        rolled_back: Option<Bytes>,
    },
    /// The seats agreed on an audit.
    Audited {
        /// The turn.
        position: Position,
        /// The digest of the whole state.
        digest: Digest,
    },
    /// A list is needed from the first of these seats that can be reached: have it vote again, with the list.
    Ask {
        /// The turn.
        position: Position,
        /// The seats that have it; another one is first each time.
        seats: Vec<refrain_wire::Seat>,
    },
    /// A replica diverged: its seat is out here; a record makes it so everywhere.
    Diverged(Divergence),
    /// The votes split: the group has to be halted.
    Split(Position),
    /// What is agreed at this position cannot be learned any more, and nothing after it can be released: the epoch has
    /// to be given up.
    Lost(Position),
    /// A vote was dropped, because too many positions are open or too many votes wait for entries to be applied: the
    /// seat has to vote on this one again, and on what follows. A stream that is closed and bound again does.
    VoteDropped {
        /// Who voted.
        seat: refrain_wire::Seat,
        /// The turn.
        position: Position,
    },
    /// The agreed effects left a gap in a flow, which was reset: a fault of the platform.
    Gap {
        /// The epoch of the flow.
        epoch: Epoch,
        /// The flow.
        serial: Serial,
        /// How far its stream goes.
        emitted: u64,
        /// Where the effect went on.
        offset: u64,
    },
}

/// One of the guest's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// A turn whose effects were released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Whose.
    pub group: GroupId,
    /// The turn.
    pub position: Position,
    /// How many equal votes it took.
    pub quorum: u8,
    /// The seats that voted so; bit 0 is seat 0.
    pub seats: u8,
    /// Bytes for clients of this proxy.
    pub bytes: u64,
}

impl Notice {
    /// The notice of an event that releases nothing; the effects of one that does, otherwise.
    pub(super) fn of(event: Event) -> Result<Self, std::sync::Arc<refrain_wire::turn::TurnEffects>> {
        Ok(match event {
            Event::Agreed { effects, .. } => return Err(effects),
            Event::Ask { position, seats } => Self::Ask { position, seats },
            Event::Diverged(divergence) => Self::Diverged(divergence),
            Event::Split { position } => Self::Split(position),
            Event::Lost { position } => Self::Lost(position),
            Event::Dropped { seat, position } => Self::VoteDropped { seat, position },
        })
    }
}
