//! The kernel of one guest: its state, and how a turn begins and ends.
//!
//! A turn is: [`Kernel::begin_turn`] applies the batch; the host then lets the guest run, which calls the
//! operations in `socket`, `poll`, `stdio` and the files; [`Kernel::end_turn`] collects the effects. The rules of
//! section 7 of the design (time, randomness, canonical effects, restart) are kept here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use refrain_wire::effect::DATAGRAM_PORT;
use refrain_wire::record::records;
use refrain_wire::turn::Effect;
use refrain_wire::{Control, EffectKind, Epoch, FlowId, GroupId, Position, Record, Serial, Time};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::config::{GuestConfig, GuestPort};
use crate::datagram::Datagrams;
use crate::descriptor::{Descriptor, Descriptors, Object};
use crate::effects::Effects;
use crate::flow::Flow;
use crate::fs::{BundleFiles, Fs, ROOT};
use crate::outward::Outward;
use crate::process::{GuestEnd, Phase, Process};
use crate::random::Random;
use crate::slots::Slots;
use crate::socket::Listener;
use crate::solo::Solo;
use crate::stdio::{Output, OutputStream};
use crate::turn::{ShardEvent, TurnEnd, TurnInput};

/// Connections that may wait at a listener that was passed in.
const PASSED_BACKLOG: u32 = 4096;

/// Bytes that are copied in the time of one plain instruction.
const COPIED_BYTES_A_UNIT: u64 = 8;

/// A flow and the stamp that its descriptor must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlowSlot {
    pub(crate) stamp: u64,
    pub(crate) flow: Flow,
}

/// Everything but the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tables {
    pub(crate) position: Position,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) process: Process,
    pub(crate) output: Output,
    pub(crate) descriptors: Descriptors,
    pub(crate) flows: Slots<FlowSlot>,
    pub(crate) by_id: BTreeMap<FlowId, u32>,
    pub(crate) listeners: BTreeMap<u16, Listener>,
    pub(crate) datagrams: Datagrams,
    pub(crate) outward: Outward,
    pub(crate) next_stamp: u64,
    /// Bytes in send buffers beyond what is each flow's own.
    pub(crate) shared_bytes: u64,
    /// When the suspended guest wants to go on by itself, on its clock.
    pub(crate) wait_ns: Option<u64>,
    /// When the poll that the guest waits in began, on its clock: relative times count from there.
    pub(crate) poll_began_ns: Option<u64>,
    pub(crate) timer_told: Option<Time>,
    /// Ports that the proxies were told of, as effects name them.
    pub(crate) listening_told: BTreeSet<u32>,
    pub(crate) halted: bool,
    /// A checkpoint was ordered and not taken yet.
    pub(crate) checkpoint_due: bool,
}

/// The state of one guest outside its linear memory.
pub struct Kernel {
    pub(crate) config: GuestConfig,
    pub(crate) tables: Tables,
    pub(crate) fs: Fs,
    pub(crate) effects: Effects,
    /// What a program that runs by itself has besides; in no snapshot.
    pub(crate) solo: Option<Solo>,
    /// The calls of the program that this one may take over from: they are reset when it does, and not before.
    pub(crate) former_calls: BTreeSet<FlowId>,
    /// Slots of flows that this turn has changed.
    pub(crate) touched: BTreeSet<u32>,
    audit: bool,
    work: u64,
}

impl Kernel {
    /// The kernel of a new group.
    #[must_use]
    pub fn new(group: GroupId, config: GuestConfig, bundle: &BundleFiles) -> Self {
        let fs = Fs::new(bundle, config.files_bytes, 0);
        let tables = Tables {
            position: Position::default(),
            clock: Clock::default(),
            random: Random::new(group),
            process: Process::default(),
            output: Output::default(),
            descriptors: Descriptors::default(),
            flows: Slots::default(),
            by_id: BTreeMap::new(),
            listeners: BTreeMap::new(),
            datagrams: Datagrams::default(),
            outward: Outward::default(),
            next_stamp: 0,
            shared_bytes: 0,
            wait_ns: None,
            poll_began_ns: None,
            timer_told: None,
            listening_told: BTreeSet::new(),
            halted: false,
            checkpoint_due: false,
        };
        Self::assemble(config, tables, fs)
    }

    pub(crate) fn assemble(config: GuestConfig, tables: Tables, mut fs: Fs) -> Self {
        fs.limit_inodes(config.max_inodes);
        let (effects, former_calls, touched) = (Effects::default(), BTreeSet::new(), BTreeSet::new());
        Self { config, tables, fs, effects, solo: None, former_calls, touched, audit: false, work: 0 }
    }

    /// What the guest is given.
    #[must_use]
    pub fn config(&self) -> &GuestConfig {
        &self.config
    }

    /// The guest's life so far.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.tables.process
    }

    /// Whether the group was halted and not resumed.
    #[must_use]
    pub fn halted(&self) -> bool {
        self.tables.halted
    }

    /// How many flows and associations of clients there are.
    #[must_use]
    pub fn flow_count(&self) -> u32 {
        self.clients()
    }

    /// Whether the guest is there for a port of its manifest.
    #[must_use]
    pub fn listens_on(&self, port: &GuestPort) -> bool {
        if port.datagram {
            return self.tables.datagrams.ports().any(|bound| bound == port.port);
        }
        self.tables.listeners.contains_key(&port.port)
    }

    /// The descriptors that the guest has open.
    pub fn descriptor_count(&self) -> u32 {
        self.tables.descriptors.len()
    }

    /// Lines that the guest wrote in the newest second of log time in which it wrote one, those that were dropped apart.
    #[must_use]
    pub fn log_lines(&self) -> u32 {
        self.tables.output.lines()
    }

    /// Everything that the guest is there for, as effects name it: ports, and with [`DATAGRAM_PORT`] added those for
    /// datagrams.
    pub fn listening_as_told(&self) -> impl Iterator<Item = u32> {
        let streams = self.tables.listeners.keys().map(|port| u32::from(*port));
        streams.chain(self.tables.datagrams.ports().map(|port| DATAGRAM_PORT | u32::from(port)))
    }

    /// The ports that the guest listens on for connections.
    pub fn listening(&self) -> impl Iterator<Item = u16> {
        self.tables.listeners.keys().copied()
    }

    /// The files.
    #[must_use]
    pub fn fs(&self) -> &Fs {
        &self.fs
    }

    /// The files, to put some in before the guest starts.
    pub fn fs_mut(&mut self) -> &mut Fs {
        &mut self.fs
    }

    /// Applies a batch. The host then runs the guest if [`Kernel::runs`].
    pub fn begin_turn(&mut self, input: &TurnInput<'_>) {
        self.enter_turn(input);
        self.take_records(input);
    }

    /// Sets time and randomness to those of the turn.
    pub(crate) fn enter_turn(&mut self, input: &TurnInput<'_>) {
        self.tables.position = input.position;
        self.tables.clock.begin_turn(input.time);
        self.tables.wait_ns = None;
        // What nobody was charged for is forgotten, as it would be by a replica that was restored here.
        self.take_work();
        for event in input.shard {
            if let ShardEvent::Term(entropy) = event {
                self.tables.random.absorb(entropy);
            }
        }
        self.tables.random.begin_turn(input.position);
    }

    /// Applies the turn's records, and the ends of epochs.
    pub(crate) fn take_records(&mut self, input: &TurnInput<'_>) {
        self.begin_owners();
        let mut epoch = Epoch::default();
        for record in records(input.records) {
            match record.expect("the sequencer orders only records that decode") {
                Record::Origin(origin) => epoch = origin,
                Record::Control(control) => self.control(&control),
                record if !self.tables.halted => self.flow_record(epoch, record),
                // A halted group has no flows: a client that comes now is told so, and everything else is void.
                Record::Open { serial, .. } => self.effects.reset(FlowId { epoch, serial }),
                _ => {}
            }
        }
        // After the records: an entry may still open flows of an epoch that it ends.
        for event in input.shard {
            match event {
                ShardEvent::EpochEnded(epoch) => self.end_epoch(*epoch),
                ShardEvent::EpochOpened(owner) => self.tables.outward.opened(*owner),
                ShardEvent::Term(_) => {}
            }
        }
    }

    /// Whether the guest is to be run in this turn.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.tables.process.phase == Phase::Running && !self.tables.halted
    }

    /// Starts the guest anew if it is time to; the host then makes a fresh instance.
    pub fn start_if_due(&mut self) -> bool {
        let now_ns = self.tables.clock.peek_ns();
        if self.tables.halted || !self.tables.process.start_if_due(now_ns) {
            return false;
        }
        let starts = self.tables.process.starts;
        self.tables.clock.start();
        self.tables.random.restart(starts);
        self.open_initial_descriptors();
        self.effects.group(EffectKind::Start, u64::from(starts), Bytes::new());
        true
    }

    /// The guest ended: its flows are reset, its files stay, everything else begins anew with the next start.
    pub fn guest_ended(&mut self, end: GuestEnd) {
        let now_ns = self.tables.clock.peek_ns();
        let limit = self.config.log_lines_per_second;
        self.tables.output.end(now_ns, limit, &mut self.effects);
        if self.solo.is_some() {
            self.finish_all_flows();
        } else {
            self.reset_all_flows();
            self.forget_failed_calls();
        }
        self.close_all_descriptors();
        self.effects.group(EffectKind::Exit, u64::from(end.code()), Bytes::from(end.reason()));
        self.tables.wait_ns = None;
        self.tables.poll_began_ns = None;
        self.tables.process.end(end, now_ns, &self.config);
    }

    /// Whether this turn's vote includes a digest of the whole state; the host then passes that of the memory.
    #[must_use]
    pub fn audited(&self) -> bool {
        self.audit
    }

    /// A checkpoint is to be taken at the end of this turn, or of the first later one at which the guest can be saved.
    pub fn order_checkpoint(&mut self) {
        self.tables.checkpoint_due = true;
    }

    /// Whether a checkpoint was ordered and not taken.
    #[must_use]
    pub fn checkpoint_due(&self) -> bool {
        self.tables.checkpoint_due
    }

    /// The checkpoint is taken in this turn.
    pub fn checkpoint_taken(&mut self) {
        self.tables.checkpoint_due = false;
    }

    /// Notes what a call cost the host beyond its fixed part, in units of one plain instruction of the guest.
    pub fn add_work(&mut self, units: u64) {
        self.work = self.work.saturating_add(units);
    }

    /// The work noted since it was asked last: the host takes it from the guest's fuel, so that a guest cannot have
    /// the host work without end for a few instructions of its own.
    #[inline]
    pub fn take_work(&mut self) -> u64 {
        std::mem::take(&mut self.work).saturating_add(self.fs.take_walked())
    }

    /// Notes that `bytes` bytes were copied.
    pub fn copied(&mut self, bytes: usize) {
        self.add_work(bytes as u64 / COPIED_BYTES_A_UNIT);
    }

    /// Ends the turn. `memory` is the digest of linear memory, globals and tables where [`Kernel::audited`].
    pub fn end_turn(&mut self, memory: Option<[u8; 32]>) -> TurnEnd {
        self.settle_touched_flows();
        self.tell_listening();
        if !self.tables.halted {
            self.wait_for_owner();
        }
        let wants = self.wants();
        if wants != self.tables.timer_told {
            self.tables.timer_told = wants;
            let at = wants.map_or(0, Time::micros);
            self.effects.group(EffectKind::Timer, at, Bytes::new());
        }
        if std::mem::take(&mut self.audit) {
            let digest = self.state_digest(memory.unwrap_or_default());
            self.effects.group(EffectKind::Audit, 0, Bytes::copy_from_slice(&digest));
        }
        let effects = self.effects.take();
        self.keep_sent(&effects);
        TurnEnd { effects, wants }
    }

    /// The digest of the whole state, given that of the memory.
    #[must_use]
    pub fn state_digest(&self, memory: [u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&memory);
        self.digest_into(&mut hasher);
        *hasher.finalize().as_bytes()
    }

    /// The guest waits until `at_ns` on its clock, or for a record. Several waits: the earliest counts.
    pub fn wait_until(&mut self, at_ns: u64) {
        let at_ns = self.tables.wait_ns.map_or(at_ns, |before| before.min(at_ns));
        self.tables.wait_ns = Some(at_ns);
    }

    /// The guest has spent its turn's budget: it wants another at once.
    pub fn wait_for_next_turn(&mut self) {
        self.wait_until(self.tables.clock.peek_ns());
    }

    fn wants(&self) -> Option<Time> {
        if self.tables.halted {
            return None;
        }
        match self.tables.process.phase {
            Phase::Waiting { at_ns } => Some(Time::from_nanos_ceil(at_ns)),
            Phase::Running => self.tables.wait_ns.map(Time::from_nanos_ceil),
            Phase::Ended => None,
        }
    }

    fn control(&mut self, control: &Control) {
        match control {
            Control::Audit => self.audit = true,
            Control::Halt { .. } => {
                self.reset_all_flows();
                self.forget_ended_associations();
                self.tables.halted = true;
            }
            Control::Resume => self.tables.halted = false,
            Control::Checkpoint => self.order_checkpoint(),
            // Seats, programs and agreed checkpoints are the replica's and the proxy's affair; the shard's controls come as
            // events.
            Control::Create { .. }
            | Control::TakeSeat { .. }
            | Control::Quarantine { .. }
            | Control::Resize { .. }
            | Control::Upgrade { .. }
            | Control::Rooted { .. }
            | Control::Shard(_) => {}
        }
    }

    fn flow_record(&mut self, epoch: Epoch, record: Record) {
        let id = |serial: Serial| FlowId { epoch, serial };
        match record {
            Record::Open { serial, port, peer } => self.opened(id(serial), port, peer),
            Record::Data { serial, delivered, bytes } => {
                self.delivered(id(serial), delivered);
                self.received(id(serial), bytes);
            }
            Record::Credit { serial, delivered } => self.delivered(id(serial), delivered),
            Record::Shutdown(serial) => self.peer_finished(id(serial)),
            Record::Reset { serial, .. } => self.flow_reset(id(serial)),
            Record::Connected { serial, local } => self.connected(id(serial), local),
            Record::Failed { serial, failure } => self.call_failed(id(serial), failure),
            Record::Resolved { serial, addresses } => self.resolved(id(serial), addresses),
            Record::Datagram { serial, port, peer, bytes } => self.datagram_received(id(serial), port, peer, bytes),
            Record::Tick(_) | Record::Origin(_) | Record::Control(_) => {}
        }
    }

    /// Tells what changed among the listening ports, whatever the guest did in between: a guest that listens and
    /// closes in a loop makes no more effects than it has ports.
    fn tell_listening(&mut self) {
        if self.tables.listening_told.iter().copied().eq(self.listening_as_told()) {
            return;
        }
        let now: BTreeSet<u32> = self.listening_as_told().collect();
        let tables = &mut self.tables;
        for port in tables.listening_told.difference(&now) {
            self.effects.group(EffectKind::Unlisten, u64::from(*port), Bytes::new());
        }
        for port in now.difference(&tables.listening_told) {
            self.effects.group(EffectKind::Listen, u64::from(*port), Bytes::new());
        }
        tables.listening_told = now;
    }

    fn keep_sent(&mut self, effects: &[Effect]) {
        for effect in effects.iter().filter(|effect| effect.entry.kind == EffectKind::Bytes) {
            let slot = effect.entry.flow.and_then(|id| self.tables.by_id.get(&id).copied());
            if let Some(slot) = slot.and_then(|slot| self.tables.flows.get_mut(slot)) {
                slot.flow.keep(effect.payload.clone());
            }
        }
    }

    fn open_initial_descriptors(&mut self) {
        let mut objects = vec![Object::Input, Object::Output(OutputStream::Out), Object::Output(OutputStream::Err)];
        for port in self.config.ports.iter().filter(|port| port.pass).map(|port| port.port).collect::<Vec<_>>() {
            objects.push(Object::Socket { bound: Some(port), v6: false, backlog: Some(PASSED_BACKLOG) });
            self.start_listening(port, PASSED_BACKLOG);
        }
        let directories = match &self.solo {
            Some(solo) => solo.descriptors(),
            None => vec![Descriptor::new(Object::Directory { inode: ROOT, preopen: Some(b"/".to_vec()) })],
        };
        for descriptor in objects.into_iter().map(Descriptor::new).chain(directories) {
            if let Object::File { inode, .. } | Object::Directory { inode, .. } = &descriptor.object {
                self.fs.retain(*inode);
            }
            self.tables
                .descriptors
                .open(descriptor, u32::MAX)
                .expect("a fresh table has room for the initial descriptors");
        }
    }

    fn close_all_descriptors(&mut self) {
        for (_, descriptor) in std::mem::take(&mut self.tables.descriptors).iter() {
            if let Object::File { inode, .. } | Object::Directory { inode, .. } = &descriptor.object {
                self.fs.release(*inode);
            }
        }
        self.tables.listeners.clear();
        self.close_all_datagrams();
    }
}
