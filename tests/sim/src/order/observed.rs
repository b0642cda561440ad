//! What is noted while members and proxies run, and what the checkers say to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use refrain_sequencer::shard::Applied;
use refrain_wire::record::records;
use refrain_wire::{Digest, Entry, Position, Record};

use super::GROUP;
use super::frame::decode_write;
use crate::check::Finding;
use crate::check::acked::{Write, Writes};
use crate::check::dedup::{Dedup, Judged};
use crate::check::log::LogWatch;
use crate::net::gates::Host;
use crate::trace::Trace;

/// The most findings that are kept; a run that is wrong is wrong in many places.
const MAX_FINDINGS: usize = 20;

#[derive(Default)]
struct State {
    log: LogWatch,
    writes: Writes,
    dedup: Dedup,
    /// What the first member made of each position.
    applied: BTreeMap<Position, Applied>,
    /// The state that stood at each position behind which somebody cut.
    cuts: BTreeMap<Position, Digest>,
    /// Writes that count, in their order.
    found: Vec<Write>,
    findings: Vec<Finding>,
    /// The next write of each proxy.
    next_write: BTreeMap<u32, u64>,
    acknowledged: BTreeMap<u32, u64>,
    /// Who votes, as the leader of the highest term says.
    voters: (u64, Vec<Host>),
}

/// The notes of a run; clones share them.
#[derive(Clone)]
pub struct Observed {
    state: Rc<RefCell<State>>,
    trace: Trace,
}

/// The writes in the records of flows of a batch.
fn writes_in(batch: &Bytes) -> Vec<Write> {
    let data = |record| match record {
        Ok(Record::Data { bytes, .. }) => decode_write(&bytes),
        _ => None,
    };
    records(batch).filter_map(data).collect()
}

fn judged(applied: &Applied) -> Judged {
    Judged {
        accepted: applied.accepted.clone(),
        dropped: applied.dropped.clone(),
        opened: applied.opened.iter().map(|opened| opened.epoch).collect(),
        ended: applied.ended.clone(),
    }
}

impl Observed {
    /// No notes.
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        Self { state: Rc::default(), trace }
    }

    /// The trace.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Notes something that must not be.
    pub fn find(&self, finding: Finding) {
        self.trace.note("finding", &finding);
        let findings = &mut self.state.borrow_mut().findings;
        if findings.len() < MAX_FINDINGS {
            findings.push(finding);
        }
    }

    /// A member's process was started.
    pub fn started(&self, member: Host) {
        self.state.borrow_mut().log.started(u64::from(member.0));
    }

    /// A member's log delivered a committed entry.
    pub fn delivered(&self, member: Host, position: Position, entry: &Bytes) {
        self.trace.note(member, format_args!("delivered {position}, {} bytes", entry.len()));
        let state = &mut *self.state.borrow_mut();
        state.log.delivered(u64::from(member.0), position, entry);
    }

    /// A member's log delivered a state in place of the entries up to `position`.
    pub fn restored(&self, member: Host, position: Position, state: &Bytes) {
        self.trace.note(member, format_args!("restored {position}, {} bytes", state.len()));
        let found = {
            let notes = &mut *self.state.borrow_mut();
            notes.log.restored(u64::from(member.0), position);
            let same = notes.cuts.get(&position) == Some(&Digest::of(state));
            (!same).then(|| {
                Finding::new("a snapshot is a state that members had there", format!("{position} on {member}"))
            })
        };
        found.into_iter().for_each(|finding| self.find(finding));
    }

    /// A member cuts its log behind `position`, where `state` stands for everything before.
    pub fn cuts(&self, member: Host, position: Position, state: &Bytes) {
        self.trace.note(member, format_args!("cuts behind {position}"));
        let first = *self.state.borrow_mut().cuts.entry(position).or_insert(Digest::of(state));
        if first != Digest::of(state) {
            let seen = format!("position {position} on {member}");
            self.find(Finding::new("members have the same state at a position", seen));
        }
    }

    /// A member derived this from the entry that was delivered last. `given` are the records that its replicas get.
    pub fn applied(&self, member: Host, applied: &Applied, entry: &Entry, given: &Bytes) {
        let found = {
            let state = &mut *self.state.borrow_mut();
            state.log.applied(u64::from(member.0), applied.time);
            match state.applied.get(&applied.position) {
                Some(first) if first == applied => Vec::new(),
                Some(_) => {
                    let seen = format!("position {} on {member}", applied.position);
                    vec![Finding::new("members derive the same from an entry", seen)]
                }
                None => {
                    state.applied.insert(applied.position, applied.clone());
                    state.found.extend(writes_in(given));
                    state.dedup.apply(applied.position, &entry.submissions, &judged(applied))
                }
            }
        };
        found.into_iter().for_each(|finding| self.find(finding));
    }

    /// A member leads a term.
    pub fn leads(&self, member: Host, term: u64) {
        self.trace.note(member, format_args!("leads term {term}"));
        self.state.borrow_mut().log.leads(u64::from(member.0), term);
    }

    /// The leader of a term says who votes.
    pub fn voters(&self, term: u64, voters: Vec<Host>) {
        let state = &mut *self.state.borrow_mut();
        if term >= state.voters.0 && state.voters.1 != voters {
            self.trace.note("run", format_args!("in term {term} vote {voters:?}"));
            state.voters = (term, voters);
        }
    }

    /// Who votes.
    #[must_use]
    pub fn current_voters(&self) -> Vec<Host> {
        self.state.borrow().voters.1.clone()
    }

    /// The numbers of a proxy's next `count` writes: the first of them.
    pub fn new_writes(&self, writer: u32, count: u64) -> u64 {
        let state = &mut *self.state.borrow_mut();
        let next = state.next_write.entry(writer).or_insert(1);
        let first = *next;
        *next += count;
        (first..first + count).for_each(|number| state.writes.tried(Write { writer, number }));
        first
    }

    /// Writes of a proxy were acknowledged.
    pub fn acknowledged(&self, writer: u32, first: u64, count: u64) {
        self.trace
            .note(format_args!("proxy {writer}"), format_args!("{count} writes from {first} on are acknowledged"));
        let state = &mut *self.state.borrow_mut();
        *state.acknowledged.entry(writer).or_default() += count;
        (first..first + count).for_each(|number| state.writes.acknowledged(Write { writer, number }));
    }

    /// How many writes of a proxy were acknowledged.
    #[must_use]
    pub fn count_acknowledged(&self, writer: u32) -> u64 {
        self.state.borrow().acknowledged.get(&writer).copied().unwrap_or_default()
    }

    /// How many terms had a leader.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.state.borrow().log.terms()
    }

    /// The end of the log.
    #[must_use]
    pub fn last(&self) -> Position {
        self.state.borrow().log.last()
    }

    /// Members that have not delivered everything.
    #[must_use]
    pub fn unequal(&self, members: &[Host]) -> Vec<Finding> {
        let members: Vec<u64> = members.iter().map(|member| u64::from(member.0)).collect();
        self.state.borrow().log.unequal(&members)
    }

    /// Everything that is wrong at the end.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let state = self.state.borrow();
        let mut findings = state.findings.clone();
        findings.extend(state.log.findings());
        findings.extend(state.writes.findings(&state.found));
        findings.truncate(MAX_FINDINGS);
        findings
    }
}

/// What replicas of the group are given of an entry: what the member derived, or everything that is in it.
#[must_use]
pub fn given(applied: &Applied, entry: &Entry, drops_dedup: bool) -> Bytes {
    let batches = if drops_dedup { &entry.batches } else { &applied.batches };
    batches.iter().find(|batch| batch.group == GROUP).map(|batch| batch.records.clone()).unwrap_or_default()
}
