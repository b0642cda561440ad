//! However submissions are lost, doubled, reordered and refused, and whoever leads: what the guest reads of a flow is
//! what its client sent, from the beginning and without holes, and all of it unless the flow was reset.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use refrain_wire::record::records;
use refrain_wire::{Record, Serial, SubmissionId};

use super::*;

/// The most flows and submissions on their way of a run.
const FLOWS: usize = 6;
const IN_FLIGHT: usize = 4;

/// What a leader or the log tells the proxy.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Committed, and so is everything before.
    Committed(u64),
    /// Another number is next.
    Refused { expected: u64 },
    /// There is no room for what follows the last applied.
    Full { last: u64 },
    /// There is another leader.
    Leads,
}

/// The log by its rule, and its leader.
#[derive(Debug, Default)]
struct Sequencer {
    /// Taken by the leader, in no log.
    pending: Vec<Submission>,
    /// In the leader's log, not committed.
    appended: Vec<Submission>,
    /// The last number that counted.
    last: u64,
    guest: BTreeMap<Serial, GuestFlow>,
}

/// A flow as the guest has seen it.
#[derive(Debug, Default)]
struct GuestFlow {
    read: Vec<u8>,
    finished: bool,
    over: bool,
}

impl Sequencer {
    fn expected(&self) -> u64 {
        let last = self.appended.iter().chain(&self.pending).map(|submission| submission.id.number).max();
        last.unwrap_or(0).max(self.last) + 1
    }

    /// A leader's check is a shortcut, so one may be `careless`.
    fn offer(&mut self, submission: Submission, careless: bool) -> Option<Answer> {
        let expected = self.expected();
        if submission.id.number != expected && !careless {
            return Some(Answer::Refused { expected });
        }
        self.pending.push(submission);
        None
    }

    fn commit_one(&mut self) -> Result<Option<Answer>, TestCaseError> {
        if self.appended.is_empty() {
            return Ok(None);
        }
        let submission = self.appended.remove(0);
        if submission.id.number != self.last + 1 {
            return Ok(None);
        }
        self.last += 1;
        for record in submission.batches.iter().flat_map(|batch| records(&batch.records)) {
            self.apply(record.expect("own records decode"))?;
        }
        Ok(Some(Answer::Committed(self.last)))
    }

    fn apply(&mut self, record: Record) -> Result<(), TestCaseError> {
        if let Record::Open { serial, .. } = record {
            let before = self.guest.insert(serial, GuestFlow::default());
            prop_assert!(before.is_none(), "{} was opened twice", serial);
            return Ok(());
        }
        let (Record::Data { serial, .. } | Record::Shutdown(serial) | Record::Reset { serial, .. }) = record else {
            return Ok(());
        };
        let Some(flow) = self.guest.get_mut(&serial).filter(|flow| !flow.over) else { return Ok(()) };
        match record {
            Record::Data { bytes, .. } => {
                prop_assert!(!flow.finished, "{} went on after its end", serial);
                flow.read.extend_from_slice(&bytes);
            }
            Record::Shutdown(_) => flow.finished = true,
            _ => flow.over = true,
        }
        Ok(())
    }

    /// Another leader has `kept` of what was not committed, and commits it with its own first entry.
    fn change_leader(&mut self, kept: usize) -> Result<Vec<Answer>, TestCaseError> {
        self.pending.clear();
        self.appended.truncate(kept);
        let mut answers = Vec::new();
        while !self.appended.is_empty() {
            answers.extend(self.commit_one()?);
        }
        answers.push(Answer::Leads);
        Ok(answers)
    }
}

/// A flow as its client has it.
#[derive(Debug, Default)]
struct ClientFlow {
    sent: Vec<u8>,
    finished: bool,
    reset: bool,
}

struct Model {
    nat: Nat,
    clients: BTreeMap<Serial, ClientFlow>,
    to_leader: Vec<Submission>,
    answers: Vec<Answer>,
    sequencer: Sequencer,
}

impl Model {
    fn new() -> Self {
        let limits = Limits { connections: 100, connections_per_client: 100, ..limits() };
        Self {
            nat: nat_with(limits, 1 << 30, 1 << 30),
            clients: BTreeMap::new(),
            to_leader: Vec::new(),
            answers: Vec::new(),
            sequencer: Sequencer::default(),
        }
    }

    fn client(&mut self, what: u8, which: usize) {
        if what.is_multiple_of(8) && self.clients.len() < FLOWS {
            let group = if which.is_multiple_of(2) { GROUP } else { OTHER };
            let serial = self.nat.accept(group, 80, peer(1), NOW).expect("the table has room");
            self.clients.insert(serial, ClientFlow::default());
            return;
        }
        let live = self.nat.live();
        let Some(serial) = live.get(which % live.len().max(1)) else { return };
        let Some(flow) = self.clients.get_mut(serial).filter(|flow| !flow.finished) else { return };
        match what % 8 {
            1 => {
                flow.finished = true;
                self.nat.client_shutdown(*serial, NOW);
            }
            2 if which.is_multiple_of(4) => {
                flow.reset = true;
                self.nat.reset(*serial, Ending::ClientReset);
            }
            _ => {
                let start = flow.sent.len();
                let bytes = (start..=start + which % 40).map(|i| (i * 7 + serial.0 as usize * 31) as u8);
                flow.sent.extend(bytes);
                self.nat.received(*serial, &flow.sent[start..], NOW);
            }
        }
    }

    fn submit(&mut self) {
        if self.nat.in_flight() < IN_FLIGHT {
            self.to_leader.extend(self.nat.take_submission());
        }
    }

    /// The network brings, doubles or loses a submission, not necessarily the oldest.
    fn network(&mut self, what: u8, which: usize) {
        if self.to_leader.is_empty() {
            return;
        }
        let at = which % self.to_leader.len();
        match what % 8 {
            0 => drop(self.to_leader.remove(at)),
            1 => self.to_leader.push(self.to_leader[at].clone()),
            2 => {
                let submission = self.to_leader.remove(at);
                self.answers.extend(self.sequencer.offer(submission, true));
            }
            _ => {
                let submission = self.to_leader.remove(if what.is_multiple_of(2) { at } else { 0 });
                self.answers.extend(self.sequencer.offer(submission, false));
            }
        }
    }

    fn leader(&mut self, what: u8, which: usize) -> Result<(), TestCaseError> {
        match what % 8 {
            0 => {
                let answers = self.sequencer.change_leader(which)?;
                self.answers.extend(answers);
            }
            1 => {
                self.sequencer.pending.clear();
                self.answers.push(Answer::Full { last: self.sequencer.last });
            }
            2..=4 => self.sequencer.appended.append(&mut self.sequencer.pending),
            _ => self.answers.extend(self.sequencer.commit_one()?),
        }
        Ok(())
    }

    fn answer(&mut self, what: u8, which: usize) {
        if self.answers.is_empty() {
            return;
        }
        let at = which % self.answers.len();
        let answer = self.answers.remove(if what.is_multiple_of(2) { at } else { 0 });
        if what.is_multiple_of(8) {
            return;
        }
        let id = |number| SubmissionId { epoch: EPOCH, number };
        match answer {
            Answer::Committed(number) => self.nat.committed(id(number)),
            Answer::Refused { expected } => self.to_leader.extend(self.nat.resend_from(id(expected))),
            Answer::Leads => self.to_leader.extend(self.nat.resend_after(0)),
            Answer::Full { last } => {
                self.nat.committed(id(last));
                for serial in self.nat.give_up().over {
                    self.clients.entry(serial).or_default().reset = true;
                }
                self.to_leader.extend(self.nat.resend_after(last));
            }
        }
        // What a refusal makes the proxy send again is bounded here as a stream would bound it.
        self.to_leader.truncate(64);
    }

    /// Nothing is lost any more, until everything is committed.
    fn heal(&mut self) -> Result<(), TestCaseError> {
        self.to_leader.clear();
        self.sequencer.change_leader(0)?;
        self.nat.committed(SubmissionId { epoch: EPOCH, number: self.sequencer.last });
        self.to_leader.extend(self.nat.resend_after(self.sequencer.last));
        for _ in 0..1_000 {
            self.submit();
            while !self.to_leader.is_empty() {
                self.network(3, 0);
            }
            self.sequencer.appended.append(&mut self.sequencer.pending);
            while let Some(Answer::Committed(number)) = self.sequencer.commit_one()? {
                self.nat.committed(SubmissionId { epoch: EPOCH, number });
            }
            if self.nat.in_flight() == 0 && !self.nat.has_pending() {
                return Ok(());
            }
        }
        prop_assert!(false, "{} submissions are never committed", self.nat.in_flight());
        Ok(())
    }

    fn check(&self, complete: bool) -> Result<(), TestCaseError> {
        for (serial, flow) in &self.sequencer.guest {
            let sent = &self.clients[serial].sent;
            prop_assert!(sent.starts_with(&flow.read), "{} read {:?} of {:?}", serial, flow.read, sent);
        }
        for (serial, client) in self.clients.iter().filter(|_| complete) {
            let guest = self.sequencer.guest.get(serial);
            if client.reset {
                prop_assert!(guest.is_none_or(|flow| flow.over), "{} is over, and its guest does not know", serial);
                continue;
            }
            let Some(guest) = guest else { return Err(TestCaseError::fail(format!("{serial} was never opened"))) };
            prop_assert_eq!(&guest.read, &client.sent, "of {}", serial);
            prop_assert_eq!((guest.finished, guest.over), (client.finished, false), "of {}", serial);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_record_is_lost_or_doubled_whatever_becomes_of_submissions(
        steps in vec((0u8..10, any::<u8>(), 0usize..80), 1..300),
    ) {
        let mut model = Model::new();
        for (kind, what, which) in steps {
            match kind {
                0..=2 => model.client(what, which),
                3 => model.submit(),
                4..=5 => model.network(what, which),
                6..=7 => model.leader(what, which)?,
                _ => model.answer(what, which),
            }
            model.check(false)?;
        }
        model.heal()?;
        model.check(true)?;
    }
}
