//! A turn out of choices: time, events of the shard, records, calls.

use bytes::Bytes;
use refrain_kernel::config::GuestConfig;
use refrain_kernel::fs::BundleFiles;
use refrain_kernel::process::GuestEnd;
use refrain_kernel::{Kernel, ShardEvent, TurnInput};
use refrain_wire::outward::{FIRST_OUTWARD_SERIAL, Owner};
use refrain_wire::{
    CallFailure, Control, Epoch, GroupId, Position, ProxyId, Record, RecordWriter, ResetReason, Serial, Time,
};

use super::call::{Call, peer, perform};
use crate::input::Input;

/// What is done in one turn.
pub(super) struct Turn {
    millis: u64,
    event: Option<ShardEvent>,
    records: Bytes,
    calls: Vec<Call>,
    end: Option<GuestEnd>,
    upgrade: bool,
}

impl Turn {
    pub(super) fn of(input: &mut Input<'_>) -> Self {
        let millis = u64::from(input.short());
        let epoch = Epoch(1 + u32::from(input.byte() & 1));
        let event = match input.below(8) {
            0 => Some(ShardEvent::Term([input.byte(); 32])),
            1 => Some(ShardEvent::EpochEnded(epoch)),
            2 | 3 => Some(ShardEvent::EpochOpened(Owner { proxy: ProxyId(1), epoch })),
            _ => None,
        };
        let mut writer = RecordWriter::default();
        writer.push(&Record::Origin(epoch));
        (0..input.below(6)).for_each(|_| writer.push(&record(input)));
        let calls = (0..input.below(12)).map(|_| Call::of(input)).collect();
        let end = match input.byte() {
            0..=239 => None,
            240..=247 => Some(GuestEnd::Exit(u32::from(input.byte()))),
            _ => Some(GuestEnd::Trap("unreachable".to_owned())),
        };
        Self { millis, event, records: writer.take(), calls, end, upgrade: input.byte() >= 240 }
    }
}

fn record(input: &mut Input<'_>) -> Record {
    let kind = input.below(12);
    let low = u32::from(input.byte() & 7);
    let serial = Serial(if input.flag() { FIRST_OUTWARD_SERIAL.0 + low } else { low });
    match kind {
        0 | 1 => Record::Open { serial, port: port(input), peer: peer(input.byte()) },
        2 => Record::Data { serial, delivered: input.number(), bytes: bytes(input, 1) },
        3 => Record::Credit { serial, delivered: input.number() },
        4 => Record::Shutdown(serial),
        5 => Record::Reset { serial, reason: ResetReason::Client },
        6 => Record::Connected { serial, local: peer(input.byte()) },
        7 => Record::Failed { serial, failure: CallFailure::Refused },
        8 => Record::Resolved { serial, addresses: (0..=input.below(3)).map(|n| peer(n as u8).ip()).collect() },
        9 => Record::Datagram { serial, port: port(input), peer: peer(input.byte()), bytes: bytes(input, 0) },
        10 => Record::Control(match input.below(5) {
            0 => Control::Audit,
            1 => Control::Halt { position: Position(1) },
            2 => Control::Checkpoint,
            _ => Control::Resume,
        }),
        _ => Record::Tick(Time::from_micros(input.number() & ((1 << 56) - 1))),
    }
}

/// One of the ports that the guest may listen on, or another.
fn port(input: &mut Input<'_>) -> u16 {
    [80, 53, 8080, 0][input.below(4)]
}

fn bytes(input: &mut Input<'_>, least: usize) -> Bytes {
    let length = least + 6 * usize::from(input.byte());
    Bytes::from(vec![input.byte(); length])
}

/// A program: what its guest may do, and its files.
pub(super) struct Program {
    pub(super) config: GuestConfig,
    pub(super) files: BundleFiles,
}

/// A kernel on its way through a log.
pub(super) struct Session<'p> {
    pub(super) kernel: Kernel,
    pub(super) program: &'p Program,
    other: &'p Program,
    position: u64,
    micros: u64,
}

impl<'p> Session<'p> {
    /// A new group that runs the first of two programs; an upgrade has it run the other one.
    pub(super) fn new(program: &'p Program, other: &'p Program) -> Self {
        let kernel = Kernel::new(GroupId(1), program.config.clone(), &program.files);
        Self { kernel, program, other, position: 0, micros: 1_000_000 }
    }

    /// Runs one turn; what the guest and the proxies would see of it, in words.
    pub(super) fn run(&mut self, turn: &Turn) -> String {
        self.position += 1;
        self.micros += 1000 * turn.millis;
        let input = TurnInput {
            position: Position(self.position),
            time: Time::from_micros(self.micros),
            shard: turn.event.as_slice(),
            records: &turn.records,
        };
        let mut seen = String::new();
        if turn.upgrade {
            seen = self.upgrade(turn, &input);
        } else {
            self.kernel.begin_turn(&input);
            self.kernel.start_if_due();
            guest(&mut self.kernel, turn, &mut seen);
        }
        if let Some(end) = turn.end.clone().filter(|_| self.kernel.runs()) {
            self.kernel.guest_ended(end);
        }
        if self.kernel.checkpoint_due() && self.position.is_multiple_of(2) {
            self.kernel.checkpoint_taken();
        }
        let work = self.kernel.take_work();
        let audited = self.kernel.audited().then_some([7; 32]);
        let end = self.kernel.end_turn(audited);
        format!("{seen} {work} {end:?}")
    }

    /// Tries the other program as a replica does: its guest makes the turn's calls and is judged by them.
    fn upgrade(&mut self, turn: &Turn, input: &TurnInput<'_>) -> String {
        let mut seen = String::new();
        match self.kernel.successor(self.other.config.clone(), &self.other.files, input) {
            Err(error) => self.kernel.go_on(None, &error.to_string(), input),
            Ok(mut next) => {
                assert!(next.start_if_due(), "a successor is to be started at once");
                guest(&mut next, turn, &mut seen);
                if let Some(fault) = next.start_fault() {
                    self.kernel.go_on(Some(next), &fault, input);
                } else {
                    std::mem::swap(&mut self.kernel, &mut next);
                    self.kernel.take_over(next, &[1; 32], input);
                    std::mem::swap(&mut self.program, &mut self.other);
                }
            }
        }
        seen
    }
}

/// Makes the calls of a turn as long as the guest runs.
fn guest(kernel: &mut Kernel, turn: &Turn, seen: &mut String) {
    for call in &turn.calls {
        if kernel.runs() {
            seen.push_str(&perform(kernel, call));
        }
    }
}
