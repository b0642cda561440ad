//! Votes between nodes: what this node's replicas vote goes to the proxies of other nodes, and what replicas of other
//! nodes vote comes to this node's proxy.
//!
//! A stream goes from an engine's node to a proxy's node. For each replica the engine binds a channel; the proxy says
//! how far it has released, and gets every vote after that, in order. When a stream breaks it is made anew, and what
//! was not released is voted again: a vote cast twice is the same vote. Of turns that are kept no longer the proxy is
//! told so, or it would take the silence for a denial. A list goes with the vote when the seat is the
//! speaker, unless the proxy's node has a replica of its own that brings it, or when it is asked for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use refrain_engine::{ReplicaId, TurnOutcome};
use refrain_proxy::votes::speaks;
use refrain_wire::message::votes::ToEngine;
use refrain_wire::{Epoch, NodeId, Position};

use super::Inner;
use crate::link::Outbox;
use incoming::EngineStream;
use kept::Kept;
use outgoing::ProxyStream;

mod incoming;
mod kept;
mod outgoing;

pub(super) use incoming::serve;

/// What this node's engine and proxy say to those of other nodes.
#[derive(Default)]
pub(super) struct Voting {
    /// Streams to proxies of other nodes.
    proxies: RefCell<BTreeMap<NodeId, ProxyStream>>,
    /// Streams from engines of other nodes.
    engines: RefCell<BTreeMap<NodeId, EngineStream>>,
    /// Turns that other nodes' proxies may still need.
    kept: RefCell<BTreeMap<ReplicaId, Kept>>,
    /// Open epochs of other nodes' proxies.
    elsewhere: Cell<usize>,
}

impl Inner {
    /// Sees to it that every proxy of another node that has an epoch gets this node's votes.
    pub(super) fn watch_proxies(&self) {
        if self.engine.is_none() {
            return;
        }
        let epochs: BTreeMap<NodeId, (Epoch, Position)> = self.view.with_shard(|shard| {
            let open = shard.epochs().iter();
            let open = open.map(|(epoch, state)| (NodeId(u64::from(state.proxy.0)), (*epoch, state.opened_at)));
            open.filter(|(node, _)| *node != self.node).collect()
        });
        self.voting.elsewhere.set(epochs.len());
        if epochs.is_empty() {
            self.voting.kept.borrow_mut().clear();
        }
        let mut proxies = self.voting.proxies.borrow_mut();
        proxies.retain(|node, stream| epochs.contains_key(node) || stream.close());
        for (node, (epoch, opened_at)) in epochs {
            let stream = proxies.entry(node).or_insert_with(|| outgoing::start(self, node));
            (stream.epoch, stream.opened_at) = (epoch, opened_at);
        }
    }

    /// Votes of a local replica for proxies of other nodes.
    pub(super) fn vote_elsewhere(&self, id: ReplicaId, outcome: &TurnOutcome) {
        if self.voting.elsewhere.get() == 0 {
            return;
        }
        let mut kept = self.voting.kept.borrow_mut();
        let kept = kept.entry(id).or_default();
        let mut proxies = self.voting.proxies.borrow_mut();
        let released = proxies.values().map(|stream| stream.released(id.group)).min().unwrap_or_default();
        kept.push(outcome, released);
        let Some(turn) = kept.get(outcome.position) else { return };
        let seats = self.seats_of(id.group);
        for stream in proxies.values_mut() {
            let speaks = !stream.brings_own_lists(id) && speaks(id.seat, seats, stream.epoch, &turn.effects);
            stream.cast(id, kept.forgotten(), turn, speaks);
        }
    }

    /// A local replica begins: streams that are open get a channel for it.
    pub(super) fn bind_replica(&self, id: ReplicaId) {
        for stream in self.voting.proxies.borrow_mut().values_mut() {
            stream.bind(id);
        }
    }

    /// A local replica is gone.
    pub(super) fn unbind_replica(&self, id: ReplicaId) {
        self.voting.kept.borrow_mut().remove(&id);
        for stream in self.voting.proxies.borrow_mut().values_mut() {
            stream.unbind(id);
        }
    }

    /// What the proxy of another node says.
    fn hear_proxy(&self, node: NodeId, message: ToEngine) {
        let mut proxies = self.voting.proxies.borrow_mut();
        let Some(stream) = proxies.get_mut(&node) else { return };
        let kept = self.voting.kept.borrow();
        match message {
            ToEngine::Bound { channel, released } => {
                let Some(id) = stream.bound(channel, released) else { return };
                let (seats, Some(kept)) = (self.seats_of(id.group), kept.get(&id)) else { return };
                for turn in kept.after(released) {
                    let speaks = !stream.brings_own_lists(id) && speaks(id.seat, seats, stream.epoch, &turn.effects);
                    stream.cast(id, kept.forgotten(), turn, speaks);
                }
            }
            ToEngine::Ask { channel, position } => {
                let Some(id) = stream.replica(channel) else { return };
                match kept.get(&id).and_then(|kept| kept.get(position)) {
                    Some(turn) => stream.cast_again(id, turn),
                    None => stream.forgot(channel, position),
                }
            }
            ToEngine::Released { channel, position } => {
                let Some(id) = stream.has_released(channel, position) else { return };
                drop(kept);
                let least = proxies.values().map(|stream| stream.released(id.group)).min();
                if let (Some(least), Some(kept)) = (least, self.voting.kept.borrow_mut().get_mut(&id)) {
                    kept.release(least);
                }
            }
            ToEngine::Speak { channel, wanted } => stream.wants_lists(channel, wanted),
        }
    }
}
