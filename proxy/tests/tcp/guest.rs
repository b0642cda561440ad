//! A scripted upstream: orders submissions at once, runs a small guest on them, and votes for its three replicas.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use refrain_proxy::core::Notice;
use refrain_proxy::nat::Submission;
use refrain_proxy::tcp::{FrontEnd, NotTaken, Upstream};
use refrain_proxy::votes::CastVote;
use refrain_wire::record::records;
use refrain_wire::turn::{Effect, TurnEffects};
use refrain_wire::{
    Digest, EffectEntry, EffectKind, Epoch, FlowId, GroupId, Incarnation, Position, Record, RunningDigest, Seat, Serial,
};
use tokio::sync::Notify;

pub const GROUP: GroupId = GroupId(3);
pub const EPOCH: Epoch = Epoch(2);
pub const SEATS: u8 = 3;

/// The guest's ports: what it does on each.
pub mod port {
    /// Sends back what it gets, and finishes when the client does.
    pub const ECHO: u16 = 1;
    /// Takes nothing.
    pub const SINK: u16 = 2;
    /// Sends as much as it may for as long as it may.
    pub const FLOOD: u16 = 3;
    /// Resets the flow at the first data.
    pub const RESET: u16 = 4;
    /// Answers the first data, finishes, and resets: a refused upload.
    pub const REFUSE: u16 = 5;
    /// Says goodbye and finishes at once, then takes what comes.
    pub const GREET: u16 = 6;
    /// Takes what comes, sends nothing, and finishes when the other side does.
    pub const TAKE: u16 = 7;
}

/// How much the guest sends on a flow to `port::FLOOD`.
pub const FLOOD_BYTES: u64 = 8 * 1024 * 1024;

#[derive(Default)]
struct Flow {
    port: u16,
    datagrams: u64,
    received: u64,
    emitted: u64,
    told: u64,
    finished: bool,
}

#[derive(Default)]
pub struct Guest {
    front_end: RefCell<Option<FrontEnd>>,
    submissions: RefCell<Vec<Submission>>,
    flows: RefCell<BTreeMap<Serial, Flow>>,
    position: Cell<u64>,
    arrived: Notify,
    /// Submissions wait until it is opened again.
    pub stopped: Cell<bool>,
    /// What it does on connections that it opened: as on this port.
    pub role: Cell<u16>,
    /// Whether its calls may be made.
    pub stays_inside: Cell<bool>,
    /// It may be told of gaps.
    pub expects_gaps: Cell<bool>,
    /// Data is not kept among what was ordered.
    pub forgets_data: Cell<bool>,
    /// Every record that was ordered.
    pub ordered: RefCell<Vec<Record>>,
    /// Bytes that a flow may have emitted and not told.
    pub window: Cell<u64>,
    pub submitted: Cell<usize>,
    pub refuse: Cell<bool>,
    /// The speaker, the last seat, does not vote, and the others bring no list until asked.
    pub withholds: Cell<bool>,
    withheld: RefCell<Option<Arc<TurnEffects>>>,
    pub asked: Cell<usize>,
    /// This seat does not answer when it is asked.
    pub silent: Cell<Option<Seat>>,
    changed: Notify,
}

impl Upstream for Guest {
    fn submit(&self, submission: Submission) -> Result<(), NotTaken> {
        self.submitted.set(self.submitted.get() + 1);
        self.changed.notify_waiters();
        if self.refuse.get() {
            return Err(NotTaken);
        }
        self.submissions.borrow_mut().push(submission);
        self.arrived.notify_one();
        Ok(())
    }

    fn may_go_outward(&self) -> bool {
        !self.stays_inside.get()
    }

    fn notice(&self, _group: GroupId, notice: Notice) {
        if self.expects_gaps.get() && matches!(notice, Notice::Gap { .. }) {
            return;
        }
        let Notice::Ask { position, seats } = &notice else {
            panic!("a healthy group has nothing to tell: {notice:?}");
        };
        self.asked.set(self.asked.get() + 1);
        if self.silent.get() == Some(seats[0]) {
            return;
        }
        let turn = self.withheld.borrow_mut().take().expect("only a list that was withheld is asked for");
        assert_eq!(turn.position, *position);
        self.vote(seats[0].0, &turn, true);
    }
}

impl Guest {
    pub fn attach(self: &Rc<Self>, front_end: &FrontEnd) {
        *self.front_end.borrow_mut() = Some(front_end.clone());
        self.position.set(10);
        tokio::task::spawn_local(Rc::clone(self).run());
    }

    /// Lets submissions be ordered again.
    pub fn go_on(&self) {
        self.stopped.set(false);
        self.arrived.notify_one();
    }

    /// Returns once such a record was ordered.
    pub async fn has_ordered(&self, wanted: impl Fn(&Record) -> bool) {
        loop {
            let changed = self.changed.notified();
            if self.ordered.borrow().iter().any(&wanted) {
                return;
            }
            changed.await;
        }
    }

    /// Returns once that many submissions have come.
    pub async fn has_submissions(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.submitted.get() >= count {
                return;
            }
            changed.await;
        }
    }

    async fn run(self: Rc<Self>) {
        loop {
            self.arrived.notified().await;
            while !self.stopped.get() {
                let mut submissions = self.submissions.borrow_mut();
                if submissions.is_empty() {
                    break;
                }
                let submission = submissions.remove(0);
                drop(submissions);
                self.order(&submission);
            }
        }
    }

    fn order(&self, submission: &Submission) {
        let front_end = self.front_end.borrow().clone().expect("it is attached first");
        front_end.committed(submission.id);
        let mut effects = Vec::new();
        for batch in &submission.batches {
            for record in records(&batch.records) {
                let record = record.expect("own records decode");
                self.apply(&record, &mut effects);
                if !(self.forgets_data.get() && matches!(record, Record::Data { .. })) {
                    self.ordered.borrow_mut().push(record);
                }
            }
        }
        self.changed.notify_waiters();
        self.turn(effects);
    }

    /// A turn of the group has these effects, and all seats agree.
    pub fn turn(&self, effects: Vec<Effect>) {
        self.position.set(self.position.get() + 2);
        let turn = TurnEffects { position: Position(self.position.get()), before: RunningDigest::default(), effects };
        let turn = Arc::new(turn);
        if self.withholds.get() {
            *self.withheld.borrow_mut() = Some(Arc::clone(&turn));
            (0..SEATS - 1).for_each(|seat| self.vote(seat, &turn, false));
        } else {
            (0..SEATS).for_each(|seat| self.vote(seat, &turn, true));
        }
    }

    fn vote(&self, seat: u8, turn: &Arc<TurnEffects>, with_list: bool) {
        let front_end = self.front_end.borrow().clone().expect("it is attached first");
        let vote = CastVote {
            seat: Seat(seat),
            incarnation: Incarnation(1),
            position: turn.position,
            digest: turn.before.vote(turn.effects.iter().map(|effect| &effect.entry)),
            list: with_list.then(|| Arc::clone(turn)),
        };
        front_end.vote(GROUP, vote);
    }

    fn apply(&self, record: &Record, effects: &mut Vec<Effect>) {
        let mut flows = self.flows.borrow_mut();
        match record {
            Record::Open { serial, .. } | Record::Connected { serial, .. } => {
                let port = match record {
                    Record::Open { port, .. } => *port,
                    _ => self.role.get(),
                };
                let flow = flows.entry(*serial).or_default();
                flow.port = port;
                if port == port::FLOOD {
                    self.flood(*serial, flow, effects);
                } else if port == port::GREET {
                    flow.send(*serial, Bytes::from_static(b"goodbye"), effects);
                    flow.finish(*serial, effects);
                }
            }
            Record::Data { serial, delivered, bytes } => {
                if let Some(flow) = flows.get_mut(serial) {
                    flow.told += delivered;
                    flow.received += bytes.len() as u64;
                    flow.react(*serial, bytes, effects);
                }
            }
            Record::Shutdown(serial) => {
                if let Some(flow) = flows.get_mut(serial) {
                    flow.finish(*serial, effects);
                }
            }
            Record::Reset { serial, .. } => {
                flows.remove(serial);
            }
            Record::Credit { serial, delivered } => {
                if let Some(flow) = flows.get_mut(serial) {
                    flow.told += delivered;
                    if flow.port == port::FLOOD {
                        self.flood(*serial, flow, effects);
                    }
                }
            }
            Record::Origin(epoch) => assert_eq!(*epoch, EPOCH),
            Record::Datagram { serial, port, bytes, .. } => {
                let flow = flows.entry(*serial).or_default();
                if *port == port::ECHO {
                    effects.push(effect(EffectKind::Datagram, *serial, flow.datagrams, bytes.clone()));
                    flow.datagrams += 1;
                }
            }
            _ => {}
        }
    }

    fn flood(&self, serial: Serial, flow: &mut Flow, effects: &mut Vec<Effect>) {
        let room = self.window.get() - (flow.emitted - flow.told);
        let count = room.min(FLOOD_BYTES - flow.emitted);
        let bytes = (flow.emitted..flow.emitted + count).map(flood_byte).collect();
        flow.send(serial, bytes, effects);
        if flow.emitted == FLOOD_BYTES {
            flow.finish(serial, effects);
        }
    }
}

/// The byte at an offset of what `port::FLOOD` sends.
pub fn flood_byte(offset: u64) -> u8 {
    (offset % 253) as u8
}

impl Flow {
    fn react(&mut self, serial: Serial, bytes: &Bytes, effects: &mut Vec<Effect>) {
        if self.port == port::SINK {
            return;
        }
        effects.push(effect(EffectKind::Consumed, serial, self.received, Bytes::new()));
        match self.port {
            port::ECHO => self.send(serial, bytes.clone(), effects),
            port::RESET => effects.push(effect(EffectKind::Reset, serial, 0, Bytes::new())),
            port::REFUSE => {
                self.send(serial, Bytes::from_static(b"too large"), effects);
                self.finish(serial, effects);
                effects.push(effect(EffectKind::Reset, serial, 0, Bytes::new()));
            }
            _ => {}
        }
    }

    fn send(&mut self, serial: Serial, bytes: Bytes, effects: &mut Vec<Effect>) {
        if !bytes.is_empty() {
            let offset = self.emitted;
            self.emitted += bytes.len() as u64;
            effects.push(effect(EffectKind::Bytes, serial, offset, bytes));
        }
    }

    fn finish(&mut self, serial: Serial, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.finished, true) {
            effects.push(effect(EffectKind::Finish, serial, self.emitted, Bytes::new()));
        }
    }
}

pub fn effect(kind: EffectKind, serial: Serial, offset: u64, payload: Bytes) -> Effect {
    let digest = if payload.is_empty() { Digest::default() } else { Digest::of(&payload) };
    Effect {
        entry: EffectEntry {
            kind,
            flow: Some(FlowId { epoch: EPOCH, serial }),
            offset,
            length: payload.len() as u32,
            digest,
        },
        payload,
    }
}
