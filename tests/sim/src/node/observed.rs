//! What clients note while they run, and what the checkers say to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::resp::Reply;
use crate::check::acked::{Write, Writes};
use crate::check::flow::{self, End};
use crate::check::linear::Operation;
use crate::check::linear::key_value::{History, Step};
use crate::check::{Finding, acked};
use crate::trace::Trace;

/// The most findings that are kept; a run that is wrong is wrong in many places.
const MAX_FINDINGS: usize = 20;
/// Unanswered changes of a key after which clients turn to another: each doubles what the check may cost.
const MAX_UNANSWERED: usize = 8;
/// How long the text of an appended write is.
pub const WRITE_BYTES: usize = 14;

/// Something that a client asked of the key-value server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Something with a key of the linearizable history.
    Key(u32, Step),
    /// An append to the common list.
    Append(Write),
}

struct Call {
    ask: Ask,
    called: u64,
    returned: Option<u64>,
}

#[derive(Default)]
struct State {
    /// Rises with every call and return: the clock of the history.
    clock: u64,
    calls: Vec<Call>,
    writes: Writes,
    /// Where appends are by their answers.
    places: BTreeMap<usize, Write>,
    next_writer: u32,
    /// The key that stands for each of those that clients share.
    keys: BTreeMap<u32, u32>,
    next_key: u32,
    flows: u64,
    findings: Vec<Finding>,
}

/// The notes of a run; clones share them.
#[derive(Clone)]
pub struct Observed {
    state: Rc<RefCell<State>>,
    trace: Trace,
}

/// The text of a write.
#[must_use]
pub fn text_of(write: Write) -> String {
    format!("{:06}.{:06};", write.writer, write.number)
}

fn write_of(text: &[u8]) -> Option<Write> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix(';')?;
    let (writer, number) = text.split_once('.')?;
    Some(Write { writer: writer.parse().ok()?, number: number.parse().ok()? })
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

    /// Something is wrong.
    pub fn find(&self, finding: Finding) {
        self.trace.note("finding", &finding);
        let mut state = self.state.borrow_mut();
        if state.findings.len() < MAX_FINDINGS && !state.findings.contains(&finding) {
            state.findings.push(finding);
        }
    }

    /// A number for a writer that nobody else has: what one connection writes keeps its order.
    #[must_use]
    pub fn new_writer(&self) -> u32 {
        let mut state = self.state.borrow_mut();
        state.next_writer += 1;
        state.next_writer
    }

    /// The key that clients use now for the one with this number.
    #[must_use]
    pub fn key(&self, number: u32) -> u32 {
        let mut state = self.state.borrow_mut();
        let fresh = state.next_key;
        let key = *state.keys.entry(number).or_insert(fresh);
        let is_open = |call: &&Call| {
            call.returned.is_none()
                && matches!(&call.ask, Ask::Key(of, step) if *of == key && !matches!(step, Step::Get(_)))
        };
        let worn = state.calls.iter().filter(is_open).count() >= MAX_UNANSWERED;
        if worn || key == fresh {
            state.next_key += 1;
        }
        if worn {
            state.keys.insert(number, fresh);
            return fresh;
        }
        key
    }

    /// Something is asked; returns what the answer is noted by.
    #[must_use]
    pub fn called(&self, ask: Ask) -> usize {
        let mut state = self.state.borrow_mut();
        state.clock += 1;
        if let Ask::Append(write) = ask {
            state.writes.tried(write);
        }
        let called = state.clock;
        state.calls.push(Call { ask, called, returned: None });
        state.calls.len() - 1
    }

    /// It was answered.
    pub fn returned(&self, call: usize, reply: &Reply) {
        let fits = {
            let mut state = self.state.borrow_mut();
            state.clock += 1;
            let clock = state.clock;
            let call = &mut state.calls[call];
            call.returned = Some(clock);
            let fits = take_in(&mut call.ask, reply);
            if let (Ask::Append(write), Reply::Integer(len)) = (call.ask.clone(), reply) {
                state.writes.acknowledged(write);
                let place = *len as usize / WRITE_BYTES;
                state.places.insert(place.saturating_sub(1), write);
            }
            fits
        };
        self.trace.note("reply", format_args!("{call} {reply:?}"));
        if !fits {
            let seen = format!("{reply:?} to {:?}", self.state.borrow().calls[call].ask);
            self.find(Finding::new("an answer fits its question", seen));
        }
    }

    /// The common list was read at the end.
    pub fn read_all_writes(&self, text: &[u8]) {
        let found: Option<Vec<Write>> = text.chunks(WRITE_BYTES).map(write_of).collect();
        let Some(found) = found else {
            let seen = String::from_utf8_lossy(text).into_owned();
            return self.find(Finding::new("the list holds whole writes", seen));
        };
        let mut findings = self.state.borrow().writes.findings(&found);
        for (place, write) in &self.state.borrow().places {
            if found.get(*place) != Some(write) {
                let seen = format!("{write:?} at {place}, where {:?} is", found.get(*place));
                findings.push(Finding::new("a write is where its answer said", seen));
            }
        }
        findings.into_iter().for_each(|finding| self.find(finding));
    }

    /// A flow is over: what one single server would have sent, and what came.
    pub fn flow(&self, name: &str, expected: &[u8], got: &[u8], end: End) {
        self.state.borrow_mut().flows += 1;
        self.trace.note(name, format_args!("flow ends {end:?} after {} of {} bytes", got.len(), expected.len()));
        flow::findings(name, expected, got, end).into_iter().for_each(|finding| self.find(finding));
    }

    /// Whether the history of the key-value server has an order.
    pub fn judge_history(&self) {
        let mut history = History::default();
        for call in &self.state.borrow().calls {
            if let Ask::Key(key, step) = &call.ask {
                history.push(*key, Operation { called: call.called, returned: call.returned, step: step.clone() });
            }
        }
        history.findings().into_iter().for_each(|finding| self.find(finding));
    }

    /// Everything that is wrong.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.state.borrow().findings.clone()
    }

    /// Writes that were acknowledged, operations on keys that were answered, and flows that ended.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.state.borrow();
        let answered = state.calls.iter().filter(|call| call.returned.is_some()).count();
        let writes = acked::Writes::count_acknowledged(&state.writes);
        (writes as u64, (answered - writes) as u64, state.flows)
    }
}

/// Notes the result in the question; false when the answer is none to it.
fn take_in(ask: &mut Ask, reply: &Reply) -> bool {
    let number = |value: &Option<Vec<u8>>| match value {
        None => Some(0),
        Some(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
    };
    match (ask, reply) {
        (Ask::Key(_, Step::Get(seen)), Reply::Bulk(value)) => {
            *seen = number(value);
            seen.is_some()
        }
        (Ask::Key(_, Step::Set(_)), Reply::Simple(word)) => word == "OK",
        (Ask::Key(_, Step::Delete(was)), Reply::Integer(count @ 0..=1)) => {
            *was = Some(*count == 1);
            true
        }
        (Ask::Key(_, Step::Increment(seen)), Reply::Integer(value @ 1..)) => {
            *seen = Some(*value as u64);
            true
        }
        (Ask::Append(_), Reply::Integer(len @ 1..)) => (*len as usize).is_multiple_of(WRITE_BYTES),
        _ => false,
    }
}
