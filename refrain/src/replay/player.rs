//! A real replica that applies a folder's turns, and tells what its guest does in them.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use refrain_engine::checkpoint::{Captured, Manifest, Root};
use refrain_engine::replica::{Blueprint, Blueprints};
use refrain_engine::trace::HostCall;
use refrain_engine::{Platform, Replica, ReplicaId, TurnBatch, TurnOutcome};
use refrain_wire::{Incarnation, Position, Seat};

use super::{Folder, Step, Survey, Track};
use crate::service::Service;

/// The most calls of one turn that are told; more are counted.
pub const MAX_CALLS: usize = 10_000;

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the service's first turn; where the log was cut, with the oldest checkpoint that the log goes on from.
    Beginning,
    /// With the newest checkpoint up to a position.
    Newest(Position),
    /// With the checkpoint at this position.
    At(Position),
    /// With this checkpoint.
    Root(Root),
}

impl Start {
    /// From the word of a command line: `newest` (up to `to`), a position, or the beginning of a root.
    ///
    /// # Errors
    /// When no checkpoint of the folder is meant.
    pub fn parse(word: &str, folder: &Folder, survey: &Survey, to: Position) -> anyhow::Result<Self> {
        if word == "newest" {
            return Ok(Self::Newest(to));
        }
        let known = folder.checkpoints().list(survey.group)?;
        if let Ok(position) = word.parse().map(Position)
            && known.iter().any(|(there, _)| *there == position)
        {
            return Ok(Self::At(position));
        }
        let meant: Vec<Root> =
            known.iter().map(|(_, root)| *root).filter(|r| r.to_string().starts_with(word)).collect();
        match meant[..] {
            [root] if !word.is_empty() => Ok(Self::Root(root)),
            _ => bail!("{word:?} is no checkpoint of {}; there are: {}", survey.service, listed(&known)),
        }
    }
}

fn listed(known: &[(Position, Root)]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    let one = |(position, root): &(Position, Root)| format!("{position} ({:.12})", root.to_string());
    known.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A turn that was replayed.
pub struct Turn {
    /// What was given.
    pub batch: Arc<TurnBatch>,
    /// What came of it.
    pub outcome: TurnOutcome,
    /// The calls of the guest, in order, where they are told.
    pub calls: Vec<HostCall>,
    /// Calls beyond [`MAX_CALLS`].
    pub more_calls: usize,
}

#[derive(Default)]
struct Calls {
    told: Vec<HostCall>,
    more: usize,
}

/// A replica at some position of a folder's log.
pub struct Player<'a> {
    track: Track<'a>,
    replica: Replica,
    calls: Arc<Mutex<Calls>>,
    /// A step that was looked at and not played.
    ahead: Option<Step>,
}

impl<'a> Player<'a> {
    /// A replica of the service before its first turn, or as a checkpoint has it.
    ///
    /// # Errors
    /// When the bundle or the checkpoint cannot be used.
    pub fn begin(folder: &'a Folder, survey: &Survey, platform: &Platform, start: Start) -> anyhow::Result<Self> {
        let checkpoint = checkpoint(folder, survey, start)?;
        // What the log says of a checkpoint's program may be wrong: it learns late of an upgrade that did not start.
        let (from, bundle) = checkpoint.as_ref().map_or((survey.before, survey.bundle), |manifest| {
            let parts = manifest.parts();
            (parts.position, parts.bundle)
        });
        let blueprint = blueprint(folder, survey, platform, bundle)?;
        let blueprints = Blueprints::default();
        blueprints.put(Arc::clone(&blueprint));
        for (at, bundle) in survey.upgrades.iter().filter(|(at, _)| *at > from) {
            if blueprints.get(survey.group, bundle).is_none() {
                let next = self::blueprint(folder, survey, platform, *bundle);
                blueprints
                    .put(next.with_context(|| format!("it is upgraded at position {at}; replay --to {}", at.0 - 1))?);
            }
        }
        let id = ReplicaId { group: survey.group, seat: Seat(0), incarnation: Incarnation(1) };
        let replica = match checkpoint {
            None => Replica::new(id, blueprint),
            Some(manifest) => Replica::restore(id, blueprint, &manifest, Arc::new(folder.chunks()))
                .with_context(|| format!("the checkpoint at position {}", manifest.parts().position))?,
        };
        let replica = replica.with_blueprints(Arc::new(blueprints));
        let track = Track::open(folder, &survey.service)?;
        Ok(Self { track, replica, calls: Arc::default(), ahead: None })
    }

    /// The last turn that was played.
    #[must_use]
    pub fn position(&self) -> Position {
        self.replica.position()
    }

    /// The replica.
    pub fn replica(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// Whether turns bring the guest's calls from now on.
    pub fn tell_calls(&mut self, told: bool) {
        let calls = Arc::clone(&self.calls);
        let sink = move |call| {
            let mut calls = calls.lock();
            if calls.told.len() < MAX_CALLS { calls.told.push(call) } else { calls.more += 1 }
        };
        self.replica.tell_calls(told.then(|| Box::new(sink) as _));
    }

    /// The position of the next turn; none at the end of the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn peek(&mut self) -> anyhow::Result<Option<Position>> {
        if self.ahead.is_none() {
            self.ahead = self.step()?;
        }
        Ok(self.ahead.as_ref().map(|step| step.position))
    }

    /// Plays the next turn; none at the end of the log.
    ///
    /// # Errors
    /// When the log cannot be read, or the host fails the replica.
    pub fn play(&mut self) -> anyhow::Result<Option<Turn>> {
        self.peek()?;
        let Some(batch) = self.ahead.take().and_then(|step| step.turn) else { return Ok(None) };
        let outcome = self.replica.turn(&batch);
        let outcome = outcome.map_err(|reason| anyhow::anyhow!("the turn at position {}: {reason}", batch.position))?;
        let Calls { told, more } = std::mem::take(&mut *self.calls.lock());
        Ok(Some(Turn { batch, outcome, calls: told, more_calls: more }))
    }

    /// The next entry that has a turn after those that the replica has had.
    fn step(&mut self) -> anyhow::Result<Option<Step>> {
        while let Some(step) = self.track.advance()? {
            let Some(turn) = &step.turn else { continue };
            if turn.position <= self.replica.position() {
                continue;
            }
            if turn.previous != self.replica.position() {
                let (previous, position) = (turn.previous, self.replica.position());
                bail!("the log goes on after position {previous}, the replica is at {position}");
            }
            return Ok(Some(step));
        }
        Ok(None)
    }
}

/// What replicas are made of that run one of the folder's bundles.
fn blueprint(
    folder: &Folder,
    survey: &Survey,
    platform: &Platform,
    bundle: [u8; 32],
) -> anyhow::Result<Arc<Blueprint>> {
    let service = Service::prepare(folder.bundle(bundle)?, platform, None);
    let blueprint = service.blueprint(survey.group);
    blueprint.with_context(|| format!("{} cannot run: {}", service.full_name, service.why_refused()))
}

/// The checkpoint that a replay begins with; none when it begins with the service.
fn checkpoint(folder: &Folder, survey: &Survey, start: Start) -> anyhow::Result<Option<Manifest>> {
    let known = folder.checkpoints().list(survey.group)?;
    // Only one whose next turn is there.
    let follows = |position: &Position| *position >= survey.before;
    let usable = || known.iter().filter(|(position, _)| follows(position));
    let found = match start {
        Start::Beginning if survey.before == Position(0) => return Ok(None),
        Start::Beginning => usable().next(),
        Start::Newest(to) => usable().rfind(|(position, _)| *position <= to),
        Start::At(wanted) => usable().find(|(position, _)| *position == wanted),
        Start::Root(wanted) => usable().find(|(_, root)| *root == wanted),
    };
    match found {
        Some(found) => Ok(Some(folder.checkpoints().manifest(survey.group, *found)?)),
        None if matches!(start, Start::Newest(_)) && survey.before == Position(0) => Ok(None),
        None => bail!(
            "{} has no checkpoint of {} that its log goes on from, which begins after position {}; there are: {}",
            folder.path().display(),
            survey.service,
            survey.before,
            listed(&known)
        ),
    }
}

/// What a captured replica is, with the bytes of the chunks that are wanted.
pub fn seal(captured: &Captured, mut wanted: impl FnMut(&refrain_engine::checkpoint::ChunkId, &[u8])) -> Manifest {
    let sealed = captured.seal(|id, bytes| {
        wanted(&id, bytes);
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(manifest) = sealed;
    manifest
}

/// The state of a replica between two turns, captured in the same way as another: with the guest's stack or without.
///
/// # Errors
/// When the stack cannot be stored.
pub fn captured(replica: &mut Replica, with_stack: bool) -> anyhow::Result<Captured> {
    if !with_stack {
        return Ok(replica.look());
    }
    match replica.capture() {
        Some(captured) => captured.map_err(|reason| anyhow::anyhow!("the replica cannot be captured: {reason}")),
        None => Ok(replica.look()),
    }
}
