//! Committed entries for nodes that are no members of the log: sent by any member, followed from any member.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use refrain_sequencer::sequencer::RunError;
use refrain_sequencer::shard::ShardState;
use refrain_wire::limits::MAX_STATE_BYTES;
use refrain_wire::message::Message as _;
use refrain_wire::message::feed::{FromMember, ToMember};
use refrain_wire::message::pieces::{Assembly, Piece};
use refrain_wire::stream::Role;
use refrain_wire::{DecodeError, Entry, NodeId, Position};

use super::Inner;
use super::peers::DialError;
use super::view::View;
use crate::history::SourceError;
use crate::link::{Inbox, LinkError, Outbox};

/// Payload bytes that are read from the log at a time; a read of that much is short even from the disk.
const READ_BYTES: usize = 256 * 1024;
/// Bytes that may wait for a slow node before no more is read for it.
const AHEAD_BYTES: usize = 4 * 1024 * 1024;
/// How long after a failed try the next member is tried.
const RETRY: Duration = Duration::from_millis(50);
const MAX_RETRY: Duration = Duration::from_secs(1);

/// Sends committed entries to a node, to the end of the stream.
pub(super) async fn serve(inner: &Rc<Inner>, mut inbox: Inbox, outbox: &Outbox) -> Result<(), LinkError> {
    let frame = inbox.next().await?;
    let ToMember::Follow { after } = ToMember::decode(frame.kind, &frame.payload)?;
    let sending = send_from(inner, after, outbox);
    tokio::select! {
        biased;
        // Nothing more is expected; the end of the stream is.
        ended = inbox.next() => ended.map(drop),
        ended = sending => ended,
    }
}

async fn send_from(inner: &Inner, after: Position, outbox: &Outbox) -> Result<(), LinkError> {
    let mut applied = inner.applied.subscribe();
    let source = inner.view.source();
    let mut at = after;
    loop {
        let committed = *applied.borrow_and_update();
        while at < committed {
            let entries = match source.read(at.next(), READ_BYTES) {
                Ok(entries) => entries,
                Err(SourceError::Purged { .. }) => {
                    at = send_state(inner, at, outbox).await?;
                    continue;
                }
                Err(SourceError::Failed(text)) => return Err(std::io::Error::other(text).into()),
            };
            let Some((last, _)) = entries.last() else { break };
            at = *last;
            outbox.push(|frames| {
                for (position, bytes) in entries {
                    FromMember::Entry { position, bytes }.encode(frames);
                }
            });
            outbox.drained(AHEAD_BYTES).await;
            if outbox.has_ended() {
                return Ok(());
            }
        }
        if applied.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Sends the state that stands for entries which this member does not have any more; returns its position.
async fn send_state(inner: &Inner, after: Position, outbox: &Outbox) -> Result<Position, LinkError> {
    let kept = inner.view.member().and_then(|member| member.log().snapshot());
    let Some((position, state)) = kept.filter(|(position, _)| *position > after) else {
        return Err(std::io::Error::other("entries are missing, and no state stands for them").into());
    };
    for piece in Piece::cut(&state) {
        outbox.push(|frames| FromMember::State { position, piece }.encode(frames));
        outbox.drained(AHEAD_BYTES).await;
        if outbox.has_ended() {
            return Err(LinkError::Done);
        }
    }
    Ok(position)
}

/// Follows the log at one member after another, for ever.
pub(super) async fn run(inner: Rc<Inner>) {
    let (mut turn, mut wait) = (inner.node.0 as usize, RETRY);
    loop {
        let members = inner.member_nodes();
        let member = members.get(turn % members.len().max(1)).copied();
        turn += 1;
        let before = inner.view.position();
        if let Err(error) = follow(&inner, member).await {
            tracing::debug!(error = ?anyhow::Error::new(error), ?member, "does not follow the log");
        }
        if inner.view.position() > before {
            wait = RETRY;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_RETRY);
    }
}

async fn follow(inner: &Inner, member: Option<NodeId>) -> Result<(), DialError> {
    let Some(member) = member else { return Err(DialError::NobodyKnown) };
    let (mut inbox, writer) = inner.dial(member, Role::Feed).await?;
    let outbox = Outbox::default();
    outbox.push(|frames| ToMember::Follow { after: inner.view.position() }.encode(frames));
    let ended = tokio::select! {
        biased;
        ended = read(inner, &mut inbox) => ended,
        error = outbox.write_to(writer) => Err(error),
    };
    ended.map_err(DialError::Link)
}

/// Takes entries in until the stream ends.
async fn read(inner: &Inner, inbox: &mut Inbox) -> Result<(), LinkError> {
    let mut state = Assembly::new(MAX_STATE_BYTES);
    loop {
        let frame = inbox.next().await?;
        match FromMember::decode(frame.kind, &frame.payload)? {
            FromMember::Entry { position, bytes } => inner.fed(position, bytes)?,
            FromMember::State { position, piece } => {
                if let Some(whole) = state.push(&piece)? {
                    inner.fed_state(position, &whole)?;
                }
            }
            FromMember::Committed { .. } => {}
        }
    }
}

impl Inner {
    /// A state has come that stands for all entries up to a position.
    fn fed_state(&self, position: Position, bytes: &Bytes) -> Result<(), LinkError> {
        let View::Feed(feed) = &self.view else { return Ok(()) };
        if position <= self.view.position() {
            return Ok(());
        }
        let state = ShardState::decode(bytes).map_err(|error| self.not_understood(position, error))?;
        if self.is_fresh() {
            *feed.state.borrow_mut() = state;
            feed.recent.begin_after(position);
        }
        self.restored(position);
        if self.again.get() { Err(LinkError::Done) } else { Ok(()) }
    }

    /// The next committed entry has come.
    fn fed(&self, position: Position, bytes: Bytes) -> Result<(), LinkError> {
        let View::Feed(feed) = &self.view else { return Ok(()) };
        if self.again.get() {
            return Err(LinkError::Done);
        }
        if position <= self.view.position() {
            return Ok(());
        }
        let applied = Entry::decode(position, &bytes).and_then(|entry| feed.apply(&entry));
        let applied = applied.map_err(|error| self.not_understood(position, error))?;
        super::start::note(&self.history, &applied);
        feed.recent.push(position, bytes);
        self.committed(&applied);
        Ok(())
    }

    /// What is committed is not understood here, whichever member tells it: the loop ends, as that of a member does.
    fn not_understood(&self, position: Position, source: DecodeError) -> LinkError {
        let error = anyhow::Error::new(RunError::BadEntry { position, source });
        tracing::error!(error = format!("{error:#}"), "the log cannot be followed");
        *self.failure.borrow_mut() = Some(format!("{error:#}"));
        self.ended.send_replace(true);
        LinkError::Done
    }
}
