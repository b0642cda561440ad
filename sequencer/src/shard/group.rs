//! A group as the log knows it: what it runs, its seats and their holders, its checkpoints.

use std::time::Duration;

use refrain_wire::control::Agreement;
use refrain_wire::limits::MAX_SEATS;
use refrain_wire::{Control, Digest, Incarnation, NodeId, Position, Seat, Time};

use super::{Recorded, SeatState};

/// A checkpoint that was asked for and is not agreed on after this log time is given up: another may be asked for.
pub const CAPTURE_PATIENCE: Duration = Duration::from_secs(300);
/// The most earlier programs of a group that are remembered; an upgrade beyond waits for a checkpoint.
pub const MAX_EARLIER_PROGRAMS: usize = 256;

/// What a group runs from a position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// The first position at which it runs.
    pub from: Position,
    /// The digest of the bundle.
    pub bundle: [u8; 32],
    /// The compatibility key of the engines that may replay it.
    pub engine: Digest,
}

/// A checkpoint that a majority of seats agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The position after whose turn it was captured.
    pub position: Position,
    /// Its root digest.
    pub root: [u8; 32],
}

/// A checkpoint that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// The position of the record; replicas capture there or at a later turn.
    pub position: Position,
    /// The record's log time.
    pub time: Time,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `namespace/name`.
    pub service: String,
    /// The digest of the bundle that it runs.
    pub bundle: [u8; 32],
    /// The compatibility key of the engines that may replay it.
    pub engine: Digest,
    /// Since when it runs that.
    pub upgraded_at: Position,
    /// What it ran before, oldest first, as far as a replica that begins with a kept checkpoint needs it.
    pub earlier: Vec<Program>,
    /// The rule that releases its effects.
    pub agreement: Agreement,
    /// Its seats, by number.
    pub seats: Vec<SeatState>,
    /// The seats that were given up, by number from the first that is not there: only what they have to remember.
    pub(super) given_up: Vec<SeatState>,
    /// The position at which its votes split; it stands still until it is resumed.
    pub halted: Option<Position>,
    /// The position of its first turn.
    pub created: Position,
    /// The position of its last turn.
    pub last_turn: Position,
    /// Batches since the last audit.
    pub unaudited_batches: u64,
    /// Batches since a checkpoint was asked for last.
    pub uncaptured_batches: u64,
    /// Their bytes in the log.
    pub uncaptured_bytes: u64,
    /// The checkpoint that was asked for last, until one is agreed on.
    pub capture: Option<Capture>,
    /// The newest checkpoint that was agreed on.
    pub checkpoint: Option<Checkpoint>,
    /// The one before: seats may still be taken with it.
    pub earlier_checkpoint: Option<Checkpoint>,
    /// Its turns since the newest agreed checkpoint was asked for, or since the first: what a replica that begins with
    /// that checkpoint, or with the group, is given. None when that is not known, in a state of an earlier version.
    pub history: Option<Recorded>,
    /// Its turns since a checkpoint was asked for last, while none was agreed on since.
    pub(super) captured: Option<Recorded>,
}

/// Where and when a control is applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) position: Position,
    pub(super) time: Time,
}

impl Group {
    /// The group that a create record begins; `None` for other records.
    pub(super) fn created(control: &Control, created: Position) -> Option<Self> {
        let Control::Create { service, bundle, engine, seats, agreement } = control else { return None };
        Some(Self {
            service: service.clone(),
            bundle: *bundle,
            engine: *engine,
            upgraded_at: created,
            earlier: Vec::new(),
            agreement: *agreement,
            seats: vec![SeatState::default(); usize::from(*seats)],
            given_up: Vec::new(),
            halted: None,
            created,
            last_turn: created,
            unaudited_batches: 0,
            uncaptured_batches: 0,
            uncaptured_bytes: 0,
            capture: None,
            checkpoint: None,
            earlier_checkpoint: None,
            history: Some(Recorded::since(Position(created.0.saturating_sub(1)))),
            captured: None,
        })
    }

    /// How many equal votes release effects.
    #[must_use]
    pub fn quorum(&self) -> usize {
        usize::from(self.agreement.quorum(self.seats.len() as u8))
    }

    /// A seat; `None` when there is none of that number.
    #[must_use]
    pub fn seat(&self, seat: Seat) -> Option<&SeatState> {
        self.seats.get(usize::from(seat.0))
    }

    /// What the group runs.
    #[must_use]
    pub fn program(&self) -> Program {
        Program { from: self.upgraded_at, bundle: self.bundle, engine: self.engine }
    }

    /// Everything that a replica may have to run which begins with the group or a kept checkpoint, oldest first.
    pub fn programs(&self) -> impl Iterator<Item = Program> {
        self.earlier.iter().copied().chain([self.program()])
    }

    /// What the log says that the group runs at a position; `None` when that is no longer known. Of an upgrade that did
    /// not start the log learns by the next one, which is back to what ran before.
    #[must_use]
    pub fn program_at(&self, position: Position) -> Option<Program> {
        self.programs().take_while(|program| program.from <= position).last()
    }

    /// The agreed checkpoints that seats may be taken with, newest first.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = Checkpoint> + use<> {
        [self.checkpoint, self.earlier_checkpoint].into_iter().flatten()
    }

    /// The agreed checkpoint at a position, if it is kept.
    #[must_use]
    pub fn checkpoint_at(&self, position: Position) -> Option<Checkpoint> {
        self.checkpoints().find(|checkpoint| checkpoint.position == position)
    }

    /// Whether a checkpoint was asked for that may still be agreed on.
    #[must_use]
    pub fn captures(&self, now: Time) -> bool {
        self.capture.is_some_and(|capture| now.since(capture.time) < CAPTURE_PATIENCE)
    }

    /// Acts on a control; false when it makes no sense here.
    pub(super) fn control(&mut self, control: &Control, at: At) -> bool {
        match control {
            Control::TakeSeat { seat, incarnation, node, from } => {
                self.take_seat(*seat, *incarnation, *node, *from, at.position)
            }
            Control::Quarantine { seat, incarnation, .. } => {
                self.seat_mut(*seat).is_some_and(|seat| seat.quarantine(*incarnation, at.time))
            }
            Control::Audit => true,
            Control::Halt { position } => self.halt(*position),
            Control::Resume => self.halted.take().is_some(),
            Control::Resize { seats } => self.resize(*seats),
            Control::Upgrade { bundle, engine } => self.upgrade(*bundle, *engine, at.position),
            Control::Checkpoint => self.ask_for_checkpoint(at),
            Control::Rooted { position, root } => self.rooted(*position, *root, at.position),
            Control::Create { .. } | Control::Shard(_) => false,
        }
    }

    /// The group was given a batch.
    pub(super) fn note_batch(&mut self, at: Position, bytes: usize) {
        self.last_turn = at;
        self.unaudited_batches += 1;
        self.uncaptured_batches += 1;
        self.uncaptured_bytes += bytes as u64;
    }

    /// The group has a turn; its bytes, in parts.
    pub(super) fn record(&mut self, turn: &[&[u8]]) {
        for recorded in [&mut self.history, &mut self.captured].into_iter().flatten() {
            recorded.add(turn);
        }
    }

    /// A control was honoured, and its batch was noted and recorded.
    pub(super) fn note_control(&mut self, control: &Control, at: Position) {
        match control {
            Control::Audit => self.unaudited_batches = 0,
            Control::Checkpoint => {
                (self.uncaptured_batches, self.uncaptured_bytes) = (0, 0);
                // Captures follow the turn of the record, at once or later.
                self.captured = Some(Recorded::since(at));
            }
            _ => {}
        }
    }

    fn seat_mut(&mut self, seat: Seat) -> Option<&mut SeatState> {
        self.seats.get_mut(usize::from(seat.0))
    }

    fn take_seat(&mut self, seat: Seat, incarnation: Incarnation, node: NodeId, from: Position, at: Position) -> bool {
        let known = from == Position(0) || self.checkpoint_at(from).is_some();
        let open = known && self.halted.is_none();
        open && self.seat_mut(seat).is_some_and(|seat| seat.take(incarnation, node, from, at))
    }

    /// The group stands still. Its replicas are of no use any more: when it is resumed, every seat is taken anew.
    fn halt(&mut self, position: Position) -> bool {
        if self.halted.is_some() {
            return false;
        }
        self.halted = Some(position);
        self.seats.iter_mut().for_each(SeatState::vacate);
        true
    }

    fn resize(&mut self, seats: u8) -> bool {
        let (before, count) = (self.seats.len(), usize::from(seats));
        if seats.is_multiple_of(2) || seats > MAX_SEATS || count == before {
            return false;
        }
        if count < before {
            let mut gone = self.seats.split_off(count);
            gone.iter_mut().for_each(SeatState::vacate);
            gone.append(&mut self.given_up);
            self.given_up = gone;
        } else {
            let back = self.given_up.len().min(count - before);
            self.seats.extend(self.given_up.drain(..back));
            self.seats.resize_with(count, SeatState::default);
        }
        true
    }

    fn upgrade(&mut self, bundle: [u8; 32], engine: Digest, at: Position) -> bool {
        let same = (self.bundle, self.engine) == (bundle, engine);
        // One at a position: a turn tries one program.
        let once = self.upgraded_at < at;
        if same || !once || self.halted.is_some() || self.earlier.len() >= MAX_EARLIER_PROGRAMS {
            return false;
        }
        self.earlier.push(self.program());
        (self.bundle, self.engine, self.upgraded_at) = (bundle, engine, at);
        true
    }

    fn ask_for_checkpoint(&mut self, at: At) -> bool {
        let due = self.halted.is_none() && !self.captures(at.time);
        if due {
            self.capture = Some(Capture { position: at.position, time: at.time });
        }
        due
    }

    fn rooted(&mut self, position: Position, root: [u8; 32], at: Position) -> bool {
        let asked = self.capture.is_some_and(|capture| capture.position <= position);
        let newer = self.checkpoint.is_none_or(|checkpoint| checkpoint.position < position);
        if !asked || !newer || position >= at {
            return false;
        }
        self.earlier_checkpoint = self.checkpoint.replace(Checkpoint { position, root });
        self.capture = None;
        self.history = self.captured.take();
        self.forget_programs();
        true
    }

    /// Forgets the programs that no replica runs which begins with the earlier checkpoint or a later one.
    fn forget_programs(&mut self) {
        let Some(first) = self.earlier_checkpoint else { return };
        let ends = |n: usize, group: &Self| group.earlier.get(n + 1).map_or(group.upgraded_at, |next| next.from);
        let over = (0..self.earlier.len()).take_while(|n| ends(*n, self) <= first.position).count();
        self.earlier.drain(..over);
    }
}
