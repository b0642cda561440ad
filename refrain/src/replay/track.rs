//! The entries of a log as one service is given them: what counts, what is cut out, which events of the shard come with
//! it. The rules are the shard's own and those of `history`, which replicas of a node read too.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use refrain_engine::TurnBatch;
use refrain_engine::checkpoint::Root;
use refrain_sequencer::shard::{Applied, ShardState};
use refrain_wire::{Control, Digest, Entry, Epoch, GroupId, Incarnation, Position, Seat, Time};

use super::Folder;
use crate::history::History;
use crate::shard::note;

/// Bytes of the log that are read at a time.
const READ_BYTES: usize = 4 << 20;

/// One entry, as the service sees it.
pub struct Step {
    /// Where it stands.
    pub position: Position,
    /// Log time.
    pub time: Time,
    /// The entry as it is in the log.
    pub bytes: Bytes,
    /// The turn that its replicas have here, if they have one.
    pub turn: Option<Arc<TurnBatch>>,
    /// Controls of the service that were honoured.
    pub controls: Vec<Control>,
}

/// The entries of a folder, one after another.
pub struct Track<'a> {
    folder: &'a Folder,
    service: String,
    group: Option<GroupId>,
    shard: ShardState,
    history: History,
    read: VecDeque<(Position, Bytes)>,
    next: Position,
    last_turn: Position,
}

impl<'a> Track<'a> {
    /// From the first entry that the folder has. `service` is `namespace/name`.
    ///
    /// # Errors
    /// When the state that the log begins with cannot be read.
    pub fn open(folder: &'a Folder, service: &str) -> anyhow::Result<Self> {
        let history = History::default();
        let shard = match folder.log().snapshot() {
            None => ShardState::new(),
            Some((position, state)) => {
                let shard = ShardState::decode(state).with_context(|| {
                    format!("the state at position {position}, where the log was cut, cannot be read")
                })?;
                history.restore(shard.position(), shard.groups());
                shard
            }
        };
        let known = shard.groups().iter().find(|(_, group)| group.service == service);
        let (group, last_turn) = known.map(|(id, group)| (*id, group.last_turn)).unzip();
        let next = folder.log().first();
        let (service, last_turn) = (service.to_owned(), last_turn.unwrap_or_default());
        Ok(Self { folder, service, group, shard, history, read: VecDeque::new(), next, last_turn })
    }

    /// The service's group, once it is known.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.group
    }

    /// The last turn so far.
    #[must_use]
    pub fn last_turn(&self) -> Position {
        self.last_turn
    }

    /// The state of the shard.
    #[must_use]
    pub fn shard(&self) -> &ShardState {
        &self.shard
    }

    /// The next entry; none at the end of the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn advance(&mut self) -> anyhow::Result<Option<Step>> {
        if self.read.is_empty() {
            self.read = self.folder.log().read(self.next, READ_BYTES)?.into();
        }
        let Some((position, bytes)) = self.read.pop_front() else { return Ok(None) };
        self.next = position.next();
        let entry = Entry::decode(position, &bytes).with_context(|| format!("entry {position} cannot be decoded"))?;
        // Replicas vote to the proxies of epochs that were open before the entry.
        let epochs: Vec<Epoch> = self.shard.epochs().keys().copied().collect();
        self.history.set_epochs(&epochs);
        let applied = self.shard.apply(&entry).with_context(|| format!("entry {position} is not understood"))?;
        note(&self.history, &applied);
        self.meet(&applied);
        let turn = self.turn(&applied);
        let group = self.group;
        let controls = applied.controls.into_iter().filter(|(id, _)| Some(*id) == group).map(|(_, control)| control);
        Ok(Some(Step { position, time: applied.time, bytes, turn, controls: controls.collect() }))
    }

    /// Notes the group when its record comes.
    fn meet(&mut self, applied: &Applied) {
        let created = applied.controls.iter().find_map(|(id, control)| match control {
            Control::Create { service, .. } if *service == self.service => Some(*id),
            _ => None,
        });
        self.group = self.group.or(created);
    }

    fn turn(&mut self, applied: &Applied) -> Option<Arc<TurnBatch>> {
        let group = self.group?;
        let batch = applied.batches.iter().find(|batch| batch.group == group);
        if batch.is_none() && !applied.concerns_all() {
            return None;
        }
        let records = batch.map(|batch| batch.records.clone());
        let turn = self.history.turn(group, self.last_turn, applied.position, applied.time, records)?;
        self.last_turn = turn.position;
        Some(turn)
    }
}

/// A seat that was put out, as the log says it.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// The seat.
    pub seat: Seat,
    /// Its holder.
    pub incarnation: Incarnation,
    /// Where it voted against the others.
    pub position: Position,
    /// What it voted.
    pub voted: Digest,
    /// What the others agreed on.
    pub agreed: Digest,
    /// Where the record stands.
    pub at: Position,
}

/// What a folder's log says of a service, found in one pass that runs nothing.
#[derive(Debug, Clone)]
pub struct Survey {
    /// `namespace/name`.
    pub service: String,
    /// Its group.
    pub group: GroupId,
    /// The position of its first turn.
    pub created: Position,
    /// The bundle that it begins with here.
    pub bundle: [u8; 32],
    /// The key of the engines that made it.
    pub engine: Digest,
    /// The last turn before the first entry that is there.
    pub before: Position,
    /// Turns in the entries that are there.
    pub turns: u64,
    /// The last of them.
    pub last_turn: Position,
    /// Checkpoints that were agreed on: position and root.
    pub roots: Vec<(Position, Root)>,
    /// Seats that were put out.
    pub quarantined: Vec<Quarantined>,
    /// The bundles that it was given, and where; those that did not start as well.
    pub upgrades: Vec<(Position, [u8; 32])>,
}

impl Survey {
    /// Reads a folder's log up to and including `to`. `given` is `namespace/name`, or the name alone where one service
    /// has it.
    ///
    /// # Errors
    /// When no service, or more than one, has that name, or the log cannot be read.
    pub fn of(folder: &Folder, given: &str, to: Position) -> anyhow::Result<Self> {
        let (_, service) = full_name(std::slice::from_ref(folder), given, to)?;
        Self::named(folder, service, to)
    }

    /// Finds the shard of a data folder whose log has a service, and reads that.
    ///
    /// # Errors
    /// When the folder cannot be opened, and as [`Survey::of`].
    pub fn find(data_dir: &Path, given: &str, to: Position) -> anyhow::Result<(Folder, Self)> {
        let mut shards = Folder::open_all(data_dir)?;
        let (shard, service) = full_name(&shards, given, to)?;
        let folder = shards.swap_remove(shard);
        let survey = Self::named(&folder, service, to)?;
        Ok((folder, survey))
    }

    fn named(folder: &Folder, service: String, to: Position) -> anyhow::Result<Self> {
        let mut track = Track::open(folder, &service)?;
        let mut survey = track.group().map(|group| Self::begin(&track, group)).transpose()?;
        while let Some(step) = track.advance()?.filter(|step| step.position <= to) {
            if let (None, Some(group)) = (&survey, track.group()) {
                survey = Some(Self { before: Position(0), ..Self::begin(&track, group)? });
            }
            if let Some(survey) = &mut survey {
                survey.note(&step);
            }
        }
        survey.with_context(|| format!("{service} has nothing up to position {to}"))
    }

    fn begin(track: &Track<'_>, group: GroupId) -> anyhow::Result<Self> {
        let known = track.shard().groups().get(&group).context("a group that was created is there")?;
        let kept = known.checkpoints().rev();
        Ok(Self {
            service: known.service.clone(),
            group,
            created: known.created,
            bundle: known.bundle,
            engine: known.engine,
            before: known.last_turn,
            turns: 0,
            last_turn: known.last_turn,
            roots: kept.map(|checkpoint| (checkpoint.position, Root(checkpoint.root))).collect(),
            quarantined: Vec::new(),
            upgrades: Vec::new(),
        })
    }

    fn note(&mut self, step: &Step) {
        let at = step.position;
        if step.turn.is_some() {
            (self.turns, self.last_turn) = (self.turns + 1, at);
        }
        for control in &step.controls {
            match control {
                Control::Rooted { position, root } => self.roots.push((*position, Root(*root))),
                Control::Quarantine { seat, incarnation, position, voted, agreed } => {
                    let (seat, incarnation, position) = (*seat, *incarnation, *position);
                    let (voted, agreed) = (*voted, *agreed);
                    self.quarantined.push(Quarantined { seat, incarnation, position, voted, agreed, at });
                }
                Control::Upgrade { bundle, .. } => self.upgrades.push((at, *bundle)),
                _ => {}
            }
        }
    }
}

/// The service that is meant, and which of the shards has it; the logs are read for it.
fn full_name(shards: &[Folder], given: &str, to: Position) -> anyhow::Result<(usize, String)> {
    let given = given.split('@').next().unwrap_or(given);
    let mut names: BTreeSet<(String, usize)> = BTreeSet::new();
    for (shard, folder) in shards.iter().enumerate() {
        // A track of nobody still learns which services there are.
        let mut track = Track::open(folder, "")?;
        while track.advance()?.is_some_and(|step| step.position < to) {}
        names.extend(track.shard().groups().values().map(|group| (group.service.clone(), shard)));
    }
    let is_meant =
        |(name, _): &&(String, usize)| *name == given || name.split_once('/').is_some_and(|(_, name)| name == given);
    let meant: Vec<&(String, usize)> = names.iter().filter(is_meant).collect();
    let all = || names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    match meant[..] {
        [(name, shard)] => Ok((*shard, name.clone())),
        [] if names.is_empty() => bail!("the log in {} has no services up to there", shards[0].path().display()),
        [] => bail!("no service is called {given}; there are: {}", all()),
        _ => bail!("{given} is not unique, say which: {}", all()),
    }
}
