//! The stream from this node's engine to the proxy of another node.

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use refrain_engine::ReplicaId;
use refrain_proxy::votes::concerns;
use refrain_wire::effect::EFFECT_ENTRY_BYTES;
use refrain_wire::message::Message as _;
use refrain_wire::message::list::list_parts;
use refrain_wire::message::votes::{ToEngine, ToProxy};
use refrain_wire::stream::Role;
use refrain_wire::{Epoch, GroupId, NodeId, Position, Vote};
use tokio::task::AbortHandle;

use super::Inner;
use super::Outbox;
use super::kept::KeptTurn;
use crate::link::{Inbox, LinkError};
use crate::shard::peers::DialError;

/// How long after a broken stream the next is tried.
const RETRY: Duration = Duration::from_millis(25);
const MAX_RETRY: Duration = Duration::from_millis(800);

/// The most bytes that may wait on a stream when a list is added to them: three quarters of what ends it. A list that
/// finds no room is left out of its vote, and the proxy asks for it. One that is larger than this never goes: its own
/// group waits for it at that node, and no other.
const MAX_LISTS_WAITING_BYTES: usize = 48 * 1024 * 1024;

struct Channel {
    id: ReplicaId,
    /// The last position voted on here; none before the proxy has said how far it is.
    cast: Option<Position>,
    /// The proxy's node has a replica of its own that brings lists.
    own_lists: bool,
}

/// The stream to one proxy, open or not.
pub(super) struct ProxyStream {
    pub(super) epoch: Epoch,
    /// Where the epoch was opened: everything up to there is done with.
    pub(super) opened_at: Position,
    /// How far each group is released there, as far as it told, by whatever stream.
    released: BTreeMap<GroupId, Position>,
    outbox: Option<Outbox>,
    channels: BTreeMap<u16, Channel>,
    next_channel: u16,
    task: AbortHandle,
}

impl ProxyStream {
    /// Ends the stream; false, for use in `retain`.
    pub(super) fn close(&self) -> bool {
        self.task.abort();
        if let Some(outbox) = &self.outbox {
            outbox.end();
        }
        false
    }

    fn channel_of(&mut self, id: ReplicaId) -> Option<(u16, &mut Channel)> {
        self.channels.iter_mut().find(|(_, channel)| channel.id == id).map(|(number, channel)| (*number, channel))
    }

    pub(super) fn brings_own_lists(&mut self, id: ReplicaId) -> bool {
        self.channel_of(id).is_some_and(|(_, channel)| channel.own_lists)
    }

    /// Asks the proxy how far it is for a replica.
    pub(super) fn bind(&mut self, id: ReplicaId) {
        let Some(outbox) = self.outbox.clone() else { return };
        let channel = self.next_channel;
        // Long before numbers run out a stream has more replicas behind it than a node can hold.
        let Some(next) = channel.checked_add(1) else { return outbox.end() };
        self.next_channel = next;
        let replica = Channel { id, cast: None, own_lists: false };
        self.channels.insert(channel, replica);
        let ReplicaId { group, seat, incarnation } = id;
        outbox.push(|frames| ToProxy::Bind { channel, group, seat, incarnation }.encode(frames));
    }

    pub(super) fn unbind(&mut self, id: ReplicaId) {
        self.channels.retain(|_, channel| channel.id != id);
    }

    /// The proxy has released everything up to `released`: votes after it go out from now on.
    pub(super) fn bound(&mut self, channel: u16, released: Position) -> Option<ReplicaId> {
        self.channels.get_mut(&channel)?.cast = Some(released);
        self.has_released(channel, released)
    }

    pub(super) fn replica(&self, channel: u16) -> Option<ReplicaId> {
        self.channels.get(&channel).map(|channel| channel.id)
    }

    /// The proxy tells how far it has released.
    pub(super) fn has_released(&mut self, channel: u16, position: Position) -> Option<ReplicaId> {
        let id = self.replica(channel)?;
        let released = self.released.entry(id.group).or_default();
        *released = position.max(*released);
        Some(id)
    }

    /// The proxy needs nothing of the group up to here. It never goes back, whatever stream or epoch it has.
    pub(super) fn released(&self, group: GroupId) -> Position {
        self.released.get(&group).copied().unwrap_or_default().max(self.opened_at)
    }

    pub(super) fn wants_lists(&mut self, channel: u16, wanted: bool) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.own_lists = !wanted;
        }
    }

    /// Votes on a turn, unless that was done or the proxy has not said how far it is. Turns up to `forgotten` are not
    /// kept: the proxy is told so where it may wait for votes on them.
    pub(super) fn cast(&mut self, id: ReplicaId, forgotten: Position, turn: &KeptTurn, with_list: bool) {
        let (Some(outbox), epoch) = (self.outbox.clone(), self.epoch) else { return };
        let Some((number, channel)) = self.channel_of(id) else { return };
        let Some(cast) = channel.cast.filter(|cast| *cast < turn.position) else { return };
        channel.cast = Some(turn.position);
        if cast < forgotten {
            self.forgot(number, forgotten);
        }
        put(&outbox, number, epoch, turn, with_list);
    }

    /// Says that turns up to a position are not kept any more.
    pub(super) fn forgot(&self, channel: u16, position: Position) {
        if let Some(outbox) = &self.outbox {
            outbox.push(|frames| ToProxy::Forgot { channel, position }.encode(frames));
        }
    }

    /// Votes again, with the list.
    pub(super) fn cast_again(&mut self, id: ReplicaId, turn: &KeptTurn) {
        let (Some(outbox), epoch) = (self.outbox.clone(), self.epoch) else { return };
        let Some((number, _)) = self.channel_of(id) else { return };
        put(&outbox, number, epoch, turn, true);
    }
}

/// The list, if it goes along, and the vote.
fn put(outbox: &Outbox, channel: u16, epoch: Epoch, turn: &KeptTurn, with_list: bool) {
    let Some(digest) = turn.vote(epoch) else { return };
    let position_low = turn.position.0 as u32;
    // Bytes for clients of other proxies are not sent.
    let concerned = turn.effects.effects.iter().filter(|effect| concerns(&effect.entry, epoch));
    let has_room = || {
        let bytes: usize = concerned.clone().map(|effect| EFFECT_ENTRY_BYTES + effect.payload.len()).sum();
        if bytes > MAX_LISTS_WAITING_BYTES {
            tracing::error!(position = turn.position.0, bytes, "a turn has too many effects to be sent to a proxy");
        }
        outbox.len() + bytes <= MAX_LISTS_WAITING_BYTES
    };
    let with_list = with_list && has_room();
    outbox.push(|frames| {
        if with_list {
            for part in list_parts(channel, turn.position, turn.effects.before, concerned) {
                ToProxy::List(part).encode(frames);
            }
        }
        frames.vote(&Vote { channel, position_low, digest });
    });
}

/// Begins to keep a stream to the proxy of a node.
pub(super) fn start(inner: &Inner, node: NodeId) -> ProxyStream {
    let task = tokio::task::spawn_local(run(inner.me.clone(), node)).abort_handle();
    ProxyStream {
        epoch: Epoch(0),
        opened_at: Position(0),
        released: BTreeMap::new(),
        outbox: None,
        channels: BTreeMap::new(),
        next_channel: 0,
        task,
    }
}

async fn run(inner: Weak<Inner>, node: NodeId) {
    let mut wait = RETRY;
    loop {
        let Some(inner) = inner.upgrade() else { return };
        match stream(&inner, node, &mut wait).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(%node, error = ?anyhow::Error::new(error), "no stream for votes"),
        }
        if let Some(stream) = inner.voting.proxies.borrow_mut().get_mut(&node) {
            stream.outbox = None;
            stream.channels.clear();
        }
        drop(inner);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_RETRY);
    }
}

async fn stream(inner: &Rc<Inner>, node: NodeId, wait: &mut Duration) -> Result<(), DialError> {
    let (mut inbox, writer) = inner.dial(node, Role::Votes).await?;
    *wait = RETRY;
    let outbox = Outbox::default();
    let replicas = inner.local_replicas();
    if let Some(stream) = inner.voting.proxies.borrow_mut().get_mut(&node) {
        stream.outbox = Some(outbox.clone());
        (stream.next_channel, _) = (0, stream.channels.clear());
        replicas.into_iter().for_each(|id| stream.bind(id));
    }
    let ended = tokio::select! {
        biased;
        ended = read(inner, node, &mut inbox) => ended,
        error = outbox.write_to(writer) => Err(error),
    };
    ended.map_err(DialError::Link)
}

/// Takes in what the proxy says until the stream ends.
async fn read(inner: &Inner, node: NodeId, inbox: &mut Inbox) -> Result<(), LinkError> {
    loop {
        let frame = inbox.next().await?;
        inner.hear_proxy(node, ToEngine::decode(frame.kind, &frame.payload)?);
    }
}

#[cfg(test)]
mod tests {
    use refrain_wire::limits::MAX_EFFECT_BYTES;

    use super::super::kept::Kept;
    use super::super::kept::tests::outcome_of;
    use super::*;

    /// A turn with so many MiB of effects.
    fn turn(mebibytes: usize) -> KeptTurn {
        let mut kept = Kept::default();
        kept.push(&outcome_of(9, &vec![MAX_EFFECT_BYTES; mebibytes << 2]), Position(0));
        kept.get(Position(9)).cloned().expect("it was put there")
    }

    /// Votes with the list, and returns how many more bytes wait than before.
    fn put_list(outbox: &Outbox, turn: &KeptTurn) -> usize {
        let before = outbox.len();
        put(outbox, 1, Epoch(3), turn, true);
        outbox.len() - before
    }

    #[test]
    fn lists_that_find_no_room_are_left_out_and_their_votes_go() {
        let (outbox, turn) = (Outbox::default(), turn(20));
        assert!(put_list(&outbox, &turn) > 20 << 20);
        assert!(put_list(&outbox, &turn) > 20 << 20);
        let vote = put_list(&outbox, &turn);
        assert!((1..100).contains(&vote), "{vote} bytes");
        for _ in 0..1_000 {
            assert_eq!(put_list(&outbox, &turn), vote, "nothing was dropped");
        }
    }

    #[test]
    fn a_list_that_is_too_large_ends_no_stream() {
        let outbox = Outbox::default();
        let vote = put_list(&outbox, &turn(MAX_LISTS_WAITING_BYTES >> 20));
        assert!((1..100).contains(&vote), "{vote} bytes");
        assert!(put_list(&outbox, &turn(1)) > 1 << 20, "others go on");
    }
}
