//! One entry of the NAT table: offsets of both streams, how far each is closed, and when the client last moved.
//!
//! The flow of a call that a guest made is the same the other way round: its client is the server that was called.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use refrain_wire::{CallFailure, GroupId, Protocol, Serial};

use super::datagram::HeardAt;
use super::outbox::Ticket;

/// Who opened a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A client.
    In,
    /// The guest.
    Out,
}

impl Direction {
    /// The word that the access log uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// Who a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// One with an address, which has limits of its own.
    Remote(SocketAddr),
    /// One on this machine, over a Unix socket. The guest is shown 127.0.0.1 with port 0.
    Local,
}

impl Client {
    /// The address that the guest is shown.
    #[must_use]
    pub fn peer(self) -> SocketAddr {
        match self {
            Self::Remote(peer) => peer,
            Self::Local => SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// Whose limits count.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Remote(peer) => Some(peer.ip().to_canonical()),
            Self::Local => None,
        }
    }
}

impl From<SocketAddr> for Client {
    fn from(peer: SocketAddr) -> Self {
        Self::Remote(peer)
    }
}

/// How a flow came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both sides said that they were done and every byte was delivered.
    Done,
    /// The client reset its connection, or it broke.
    ClientReset,
    /// The guest reset it, or ended.
    GuestReset,
    /// The client neither sent nor took anything for the idle limit.
    Idle,
    /// The proxy was drained.
    Drained,
    /// An operator asked for it.
    Operator,
    /// The group was halted.
    Halted,
    /// The proxy's epoch ended, or it had none, before anything of the flow was submitted: the guest never hears of it,
    /// and the client may try again without harm.
    NotAccepted,
    /// The proxy's epoch ended after something of the flow was submitted: what the client sent may have been executed.
    OutcomeUnknown,
    /// The proxy's epoch ended while the guest's call was made or used, or while the association was there: what was
    /// called may have done something, what was sent may have been executed.
    EpochEnded,
    /// The guest's call came to nothing.
    Failed(CallFailure),
    /// The log had no room for what the client sent last.
    Refused,
    /// The agreed effects left a gap in the flow's bytes.
    Fault,
}

impl Ending {
    /// The word that the access log uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ClientReset => "client-reset",
            Self::GuestReset => "guest-reset",
            Self::Idle => "idle",
            Self::Drained => "drained",
            Self::Operator => "operator",
            Self::Halted => "halted",
            Self::NotAccepted => "not-accepted",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::EpochEnded => "epoch-ended",
            Self::Failed(_) => "failed",
            Self::Refused => "refused",
            Self::Fault => "fault",
        }
    }
}

/// What the access log says about a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// The serial that records name it by.
    pub serial: Serial,
    /// Whom the flow reached, or who opened it.
    pub group: GroupId,
    /// Who opened it.
    pub direction: Direction,
    /// What it carries.
    pub protocol: Protocol,
    /// The guest's port; 0 when the guest opened it.
    pub port: u16,
    /// The client, or whom the guest called.
    pub peer: SocketAddr,
    /// Whether the client came over a Unix socket.
    pub is_local: bool,
    /// Bytes that the peer sent.
    pub bytes_in: u64,
    /// Bytes that the peer's socket took.
    pub bytes_out: u64,
    /// How long the connection lasted.
    pub lasted: Duration,
    /// How it ended.
    pub ending: Ending,
}

/// A flow. Offsets count from the start of their stream.
#[derive(Debug)]
pub(super) struct Flow {
    /// What records call it; its key in the table is another when the guest opened it.
    pub(super) serial: Serial,
    pub(super) group: GroupId,
    pub(super) direction: Direction,
    pub(super) protocol: Protocol,
    /// The guest's call has no answer yet.
    pub(super) dialing: bool,
    pub(super) port: u16,
    /// The socket that hears a client's association.
    pub(super) heard_at: Option<HeardAt>,
    pub(super) peer: SocketAddr,
    pub(super) client: Client,
    pub(super) opened: Duration,
    /// What may be under way each way: that of the kernel that the flow's open reaches.
    pub(super) window_bytes: u64,
    /// Client to guest: read from the socket.
    pub(super) received: u64,
    /// Client to guest: taken by the guest.
    pub(super) consumed: u64,
    /// Guest to client: handed to the socket's queue.
    pub(super) emitted: u64,
    /// Guest to client: taken by the socket.
    pub(super) delivered: u64,
    /// Guest to client: delivered and told in a record.
    pub(super) told: u64,
    pub(super) client_open: bool,
    pub(super) guest_open: bool,
    /// The shell was told to stop reading and waits to be resumed.
    pub(super) paused: bool,
    /// The flow waits in its group's list of choked flows.
    pub(super) choked: bool,
    /// The flow waits until the guest has taken more of what others sent.
    pub(super) crowded: bool,
    pub(super) sent_at: Duration,
    pub(super) took_at: Duration,
    /// How many datagrams of the guest there were.
    pub(super) datagrams: u64,
    /// How many of its peer became records.
    pub(super) received_datagrams: u64,
    pub(super) open_ticket: Ticket,
    pub(super) last_ticket: Ticket,
    pub(super) ending: Option<Ending>,
}

impl Flow {
    /// The flow of a client's connection.
    pub(super) fn new(
        serial: Serial,
        group: GroupId,
        port: u16,
        client: Client,
        window_bytes: u64,
        now: Duration,
    ) -> Self {
        Self {
            serial,
            group,
            direction: Direction::In,
            protocol: Protocol::Tcp,
            dialing: false,
            port,
            heard_at: None,
            peer: client.peer(),
            client,
            opened: now,
            window_bytes,
            received: 0,
            consumed: 0,
            emitted: 0,
            delivered: 0,
            told: 0,
            client_open: true,
            guest_open: true,
            paused: false,
            choked: false,
            crowded: false,
            sent_at: now,
            took_at: now,
            datagrams: 0,
            received_datagrams: 0,
            open_ticket: Ticket::default(),
            last_ticket: Ticket::default(),
            ending: None,
        }
    }

    /// The flow of a guest's call: still to be made, or an association, which needs no answer.
    pub(super) fn of_call(
        serial: Serial,
        group: GroupId,
        protocol: Protocol,
        peer: SocketAddr,
        window_bytes: u64,
        now: Duration,
    ) -> Self {
        let flow = Self::new(serial, group, 0, peer.into(), window_bytes, now);
        Self { direction: Direction::Out, protocol, dialing: protocol == Protocol::Tcp, ..flow }
    }

    /// Whether the guest may send bytes on it.
    pub(super) fn is_stream(&self) -> bool {
        !self.dialing && !self.is_association()
    }

    /// Whether it carries datagrams.
    pub(super) fn is_association(&self) -> bool {
        self.protocol == Protocol::Udp
    }

    pub(super) fn is_outward(&self) -> bool {
        self.direction == Direction::Out
    }

    /// Sent by the client and not taken by the guest; of a stream.
    pub(super) fn unread(&self) -> u64 {
        self.received - self.consumed
    }

    pub(super) fn untold(&self) -> u64 {
        self.delivered - self.told
    }

    /// Both sides are done and nothing is left to deliver.
    pub(super) fn is_complete(&self) -> bool {
        !self.client_open && !self.guest_open && self.delivered == self.emitted
    }

    /// The client neither sent nor took for `idle`, or took nothing of what waits for it.
    pub(super) fn is_idle(&self, now: Duration, idle: Duration) -> bool {
        let still = |since: Duration| now.saturating_sub(since) >= idle;
        still(self.took_at) && (still(self.sent_at) || self.emitted > self.delivered)
    }

    pub(super) fn closed(&self, now: Duration) -> Closed {
        Closed {
            serial: self.serial,
            group: self.group,
            direction: self.direction,
            protocol: self.protocol,
            port: self.port,
            peer: self.peer,
            is_local: self.client == Client::Local,
            bytes_in: self.received,
            bytes_out: self.delivered,
            lasted: now.saturating_sub(self.opened),
            ending: self.ending.unwrap_or(Ending::Done),
        }
    }
}
