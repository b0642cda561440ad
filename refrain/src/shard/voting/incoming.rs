//! The stream from the engine of another node to this node's proxy.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use refrain_proxy::votes::CastVote;
use refrain_wire::limits::DEFAULT_LIST_BYTES;
use refrain_wire::message::Message as _;
use refrain_wire::message::list::ListAssembler;
use refrain_wire::message::votes::{ToEngine, ToProxy};
use refrain_wire::turn::TurnEffects;
use refrain_wire::{Epoch, GroupId, Incarnation, NodeId, Position, Seat, Vote};

use super::{Inner, Outbox};
use crate::link::{Inbox, LinkError};

/// Channels that one stream may have open.
const MAX_CHANNELS: usize = 16_384;
/// Positions between two words of how far the proxy has released.
const TELL_EVERY: u64 = 64;

struct Channel {
    group: GroupId,
    seat: Seat,
    incarnation: Incarnation,
    last: Position,
    told: Position,
    quiet: bool,
    /// A vote of it was counted.
    counted: bool,
    /// The list that came before the vote that it goes with.
    list: Option<Arc<TurnEffects>>,
}

/// What is known of the stream of one engine.
pub(super) struct EngineStream {
    outbox: Outbox,
    channels: BTreeMap<(GroupId, Seat), (Incarnation, u16)>,
}

/// Takes votes of another node's engine to the end of the stream.
pub(in crate::shard) async fn serve(
    inner: &Rc<Inner>,
    node: NodeId,
    mut inbox: Inbox,
    outbox: &Outbox,
) -> Result<(), LinkError> {
    let stream = EngineStream { outbox: outbox.clone(), channels: BTreeMap::new() };
    if let Some(before) = inner.voting.engines.borrow_mut().insert(node, stream) {
        before.outbox.end();
    }
    let mut channels: BTreeMap<u16, Channel> = BTreeMap::new();
    let mut lists = ListAssembler::new(DEFAULT_LIST_BYTES);
    loop {
        let frame = inbox.next().await?;
        if outbox.has_ended() {
            // The node has opened another one: what is still on the way here would come after what it says there.
            return Ok(());
        }
        match ToProxy::decode(frame.kind, &frame.payload)? {
            ToProxy::Bind { channel, group, seat, incarnation } => {
                if channels.len() >= MAX_CHANNELS {
                    return Err(LinkError::Full);
                }
                if !inner.knows_holder(group, seat, incarnation).await? || outbox.has_ended() {
                    continue;
                }
                let Some(released) = inner.front().rejoin(group, seat, incarnation) else { continue };
                let quiet = inner.brings_lists(group);
                let (last, told, counted, list) = (released, released, false, None);
                channels.insert(channel, Channel { group, seat, incarnation, last, told, quiet, counted, list });
                if let Some(stream) = inner.voting.engines.borrow_mut().get_mut(&node) {
                    stream.channels.insert((group, seat), (incarnation, channel));
                }
                outbox.push(|frames| {
                    ToEngine::Speak { channel, wanted: !quiet }.encode(frames);
                    ToEngine::Bound { channel, released }.encode(frames);
                });
            }
            ToProxy::Vote(vote) => {
                if let Some(channel) = channels.get_mut(&vote.channel) {
                    take(inner, outbox, channel, &vote).await?;
                }
            }
            ToProxy::Forgot { channel, position } => {
                if let Some(channel) = channels.get(&channel) {
                    inner.front().forgot(channel.group, channel.seat, channel.incarnation, position);
                }
            }
            ToProxy::List(part) => {
                if let Some((channel, list)) = lists.push(part)?
                    && let Some(channel) = channels.get_mut(&channel)
                {
                    channel.list = Some(Arc::new(list));
                }
            }
        }
    }
}

/// Counts a vote, once this node has applied what it is about.
async fn take(inner: &Inner, outbox: &Outbox, channel: &mut Channel, vote: &Vote) -> Result<(), LinkError> {
    let position = vote.position(channel.last);
    channel.last = position;
    inner.applied_up_to(position).await;
    if outbox.has_ended() {
        return Ok(());
    }
    let list = channel.list.take().filter(|list| list.position == position);
    let Channel { group, seat, incarnation, .. } = *channel;
    inner.note_remote_progress(group, seat, incarnation, position);
    inner.check_lease();
    // Before this process has an epoch, votes are for one of its predecessor's, whose flows are gone.
    if inner.epoch.get() != Epoch(0) {
        inner.front().vote(group, CastVote { seat, incarnation, position, digest: vote.digest, list });
        if !std::mem::replace(&mut channel.counted, true) {
            let text = "first vote of a replica on this stream";
            tracing::debug!(target: "refrain::join", %group, %seat, %incarnation, %position, "{text}");
        }
    }
    let (released, quiet) = (inner.front().released(group), inner.brings_lists(group));
    if released.0 >= channel.told.0 + TELL_EVERY {
        channel.told = released;
        outbox.push(|frames| ToEngine::Released { channel: vote.channel, position: released }.encode(frames));
    }
    if quiet != channel.quiet {
        channel.quiet = quiet;
        outbox.push(|frames| ToEngine::Speak { channel: vote.channel, wanted: !quiet }.encode(frames));
    }
    Ok(())
}

impl Inner {
    /// A vote of a seat was dropped: its engine is to bind again, and votes on everything that is not released. A replica of
    /// this process keeps no turns for its own proxy: it says that it has forgotten them.
    pub(in crate::shard) fn have_vote_again(&self, group: GroupId, seat: Seat, dropped: Position) {
        let here = self.groups.borrow().get(&group).and_then(|group| group.local_replica(seat));
        if let Some(replica) = here {
            return self.front().forgot(group, seat, replica.incarnation, dropped);
        }
        let engines = self.voting.engines.borrow();
        let of_it = engines.values().filter(|stream| stream.channels.contains_key(&(group, seat)));
        of_it.for_each(|stream| stream.outbox.end());
    }

    /// Asks the engines of other nodes for a list; the first of these seats that has a stream is asked.
    pub(in crate::shard) fn ask_elsewhere(&self, group: GroupId, position: Position, seats: &[Seat]) -> bool {
        let engines = self.voting.engines.borrow();
        let holders: Vec<(Seat, Incarnation)> =
            seats.iter().filter_map(|seat| Some((*seat, self.incarnation_of(group, *seat)?))).collect();
        for (seat, incarnation) in holders {
            let found = engines.values().filter(|stream| !stream.outbox.has_ended()).find_map(|stream| {
                let (held, channel) = stream.channels.get(&(group, seat))?;
                (*held == incarnation).then_some((&stream.outbox, *channel))
            });
            if let Some((outbox, channel)) = found {
                outbox.push(|frames| ToEngine::Ask { channel, position }.encode(frames));
                return true;
            }
        }
        false
    }
}
