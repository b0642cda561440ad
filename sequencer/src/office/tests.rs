//! An office with a log that orders at once: what it asks for, and what comes of it.

use std::time::Duration;

use refrain_wire::control::Agreement;
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::message::uplink::Progress;
use refrain_wire::{
    Control, Digest, Entry, Epoch, GroupId, Incarnation, NodeId, Position, ProxyId, Record, RecordWriter, Seat,
    ShardControl, Time,
};

use super::{Alert, Due, Office, Options};
use crate::shard::{Applied, Group, SeatState, ShardState};

mod balance;
mod checkpoints;
mod leases;
mod random;
mod seats;
mod ticks;
mod upgrades;

const ONE: GroupId = GroupId(1);
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

fn key() -> Digest {
    Digest::of(b"engine")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a replica reports that has done nothing yet.
fn report(group: GroupId, seat: u8, incarnation: u32) -> Progress {
    Progress {
        group,
        seat: Seat(seat),
        incarnation: Incarnation(incarnation),
        position: Position(0),
        wants: None,
        root: None,
        memory_bytes: 0,
        dirty_bytes: 0,
    }
}

/// A leader with its log.
struct Desk {
    shard: ShardState,
    office: Office,
    now: Duration,
}

impl Desk {
    /// A leader of an empty log, which has nothing to do with checkpoints.
    fn new() -> Self {
        Self::with(Options { checkpoint_batches: u64::MAX, checkpoint_bytes: u64::MAX, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let (shard, now) = (ShardState::new(), millis(1000));
        Self { office: Office::take_office(options, now, &shard), shard, now }
    }

    /// Another leader takes office, with what the log says alone.
    fn elect(&mut self) {
        self.office = Office::take_office(self.office.options.clone(), self.now, &self.shard);
    }

    fn log_time(&self) -> Time {
        Time::from_micros(1_000_000_000).plus(self.now)
    }

    fn commit(&mut self, group: GroupId, records: &[Record]) -> Applied {
        let mut writer = RecordWriter::default();
        records.iter().for_each(|record| writer.push(record));
        let batches = vec![GroupRecords { group, records: writer.take() }];
        let draft = Draft { time: self.log_time(), submissions: Vec::new(), batches };
        let position = self.shard.position().next();
        let applied = self.shard.apply(&Entry::decode(position, &draft.encode(position)).unwrap()).unwrap();
        self.office.applied(&applied, &self.shard, self.now);
        applied
    }

    /// Orders a control; whether it was honoured.
    fn order(&mut self, group: GroupId, control: Control) -> bool {
        self.commit(group, &[Record::Control(control)]).ignored.is_empty()
    }

    fn create(&mut self, group: GroupId, seats: u8) {
        let create = Control::Create {
            service: format!("a/{group}"),
            bundle: [7; 32],
            engine: key(),
            seats,
            agreement: Agreement::Majority,
        };
        assert!(self.order(group, create));
    }

    fn open_epoch(&mut self, proxy: u16, nonce: u64) -> Epoch {
        let open = Control::Shard(ShardControl::OpenEpoch { proxy: ProxyId(proxy), nonce, outward: false });
        self.commit(GroupId::SHARD, &[Record::Control(open)]).opened[0].epoch
    }

    /// An engine comes, with nothing but what it is said to run.
    fn engine(&mut self, node: NodeId, session: u64, runs: &[Progress]) {
        self.office.engine(node, session, key(), self.now);
        runs.iter().for_each(|progress| self.office.progress(progress, self.now));
        self.office.reported(node);
    }

    fn poll(&mut self) -> Due {
        self.office.poll(self.now, self.log_time(), &self.shard)
    }

    /// What is asked for now.
    fn asked(&mut self) -> Vec<(GroupId, Control)> {
        self.poll().controls
    }

    /// Orders what is asked for now; returns it.
    fn work(&mut self) -> Vec<(GroupId, Control)> {
        let asked = self.asked();
        for (group, control) in &asked {
            self.order(*group, control.clone());
        }
        asked
    }

    fn wait(&mut self, wait: Duration) {
        self.now += wait;
    }

    /// Works whenever something is due, for so long.
    fn work_for(&mut self, wait: Duration) {
        let end = self.now + wait;
        let mut turns = 0;
        loop {
            self.work();
            turns += 1;
            assert!(turns < 100_000, "the office never comes to rest");
            match self.office.next_deadline(self.now, self.log_time()) {
                Some(next) if self.now + next <= end => self.now += next,
                _ => break,
            }
        }
        self.now = end;
    }

    fn group(&self, group: GroupId) -> &Group {
        &self.shard.groups()[&group]
    }

    fn seat(&self, seat: u8) -> SeatState {
        self.group(ONE).seats[usize::from(seat)]
    }

    /// The nodes of the group's seats.
    fn holders(&self, group: GroupId) -> Vec<Option<u64>> {
        self.group(group).seats.iter().map(|seat| seat.voter().map(|node| node.0)).collect()
    }

    /// The present holders of seats, as they report at this position.
    fn at(&self, group: GroupId, position: Position) -> Vec<Progress> {
        let seats = self.group(group).seats.iter().enumerate();
        let held = seats.filter(|(_, seat)| seat.voter().is_some());
        let progress = held.map(|(nth, seat)| Progress { position, ..report(group, nth as u8, seat.incarnation.0) });
        progress.collect()
    }
}
