//! Linearizability: whether operations that overlapped in time can be put into one order that respects real time and
//! in which each result follows from the operations before it.
//!
//! The algorithm is that of Wing and Gong, with Lowe's memory of configurations that lead nowhere, as Porcupine has
//! it: walk over calls and returns; at a call try to let the operation take effect now, at a return whose operation
//! has not taken effect go back. An operation without a result may have taken effect at any time after its call, or
//! never, which is the same as after everything else.
//!
//! A history is checked by parts that do not touch each other (keys), because the cost is exponential in the number of
//! operations that overlap. The number of configurations is limited; a history that needs more is undecided.

use std::collections::HashSet;
use std::hash::Hash;

pub mod key_value;

/// A sequential object.
pub trait Model {
    /// What the object holds.
    type State: Clone + Eq + Hash;
    /// An operation and its result, if it is known.
    type Step;
    /// The object before the first operation.
    fn start(&self) -> Self::State;
    /// The object after `step`; `None` when the result cannot be that in this state.
    fn apply(&self, state: &Self::State, step: &Self::Step) -> Option<Self::State>;
}

/// One operation of a client.
#[derive(Debug, Clone)]
pub struct Operation<S> {
    /// When it was called, by any clock that all clients share.
    pub called: u64,
    /// When its result was known; `None` when it never was.
    pub returned: Option<u64>,
    /// What was done.
    pub step: S,
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none: the operation with this index has no place in any order.
    Violation(usize),
    /// It was not found out within the limit.
    Undecided,
}

/// The most configurations that are remembered for one check.
pub const MAX_CONFIGURATIONS: usize = 1_000_000;

/// Checks a history; operations may stand in any order.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Step>]) -> Verdict {
    Search::new(model, history).run()
}

/// A set of operations.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Placed(Vec<u64>);

impl Placed {
    fn flip(&mut self, operation: usize) {
        self.0[operation / 64] ^= 1 << (operation % 64);
    }
}

/// A call or return in the list of those that are still to be explained; `next` and `before` are places in that list.
#[derive(Clone, Copy)]
struct Event {
    operation: usize,
    is_call: bool,
    before: usize,
    next: usize,
}

/// The place before the first event.
const HEAD: usize = 0;

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Step>],
    /// `events[HEAD]` is no event.
    events: Vec<Event>,
    /// Where the return of each operation stands.
    returns: Vec<usize>,
    /// Results that are known and not yet explained.
    open: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Step>]) -> Self {
        // At the same moment calls come first: then the operations overlap, which allows more.
        let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(history.len() * 2);
        for (operation, at) in history.iter().enumerate() {
            order.push((at.called, false, operation));
            order.push((at.returned.unwrap_or(u64::MAX), true, operation));
        }
        order.sort_unstable();
        let last = order.len();
        let mut events = vec![Event { operation: usize::MAX, is_call: false, before: last, next: 1 % (last + 1) }];
        let mut returns = vec![HEAD; history.len()];
        for (nth, (_, is_return, operation)) in order.into_iter().enumerate() {
            let place = nth + 1;
            events.push(Event { operation, is_call: !is_return, before: nth, next: (place + 1) % (last + 1) });
            if is_return {
                returns[operation] = place;
            }
        }
        let open = history.iter().filter(|operation| operation.returned.is_some()).count();
        Self { model, history, events, returns, open }
    }

    fn unlink(&mut self, place: usize) {
        let Event { before, next, .. } = self.events[place];
        self.events[before].next = next;
        self.events[next].before = before;
    }

    fn link(&mut self, place: usize) {
        let Event { before, next, .. } = self.events[place];
        self.events[before].next = place;
        self.events[next].before = place;
    }

    /// Takes an operation that takes effect out of the list.
    fn lift(&mut self, call: usize) {
        let operation = self.events[call].operation;
        self.unlink(call);
        self.unlink(self.returns[operation]);
        self.open -= usize::from(self.history[operation].returned.is_some());
    }

    fn unlift(&mut self, call: usize) {
        let operation = self.events[call].operation;
        self.link(self.returns[operation]);
        self.link(call);
        self.open += usize::from(self.history[operation].returned.is_some());
    }

    fn run(mut self) -> Verdict {
        let mut state = self.model.start();
        let mut placed = Placed(vec![0; self.history.len().div_ceil(64)]);
        let mut known: HashSet<(Placed, M::State)> = HashSet::new();
        let mut effects: Vec<(usize, M::State)> = Vec::new();
        let (mut at, mut deepest, mut blamed) = (self.events[HEAD].next, 0, 0);
        while self.open > 0 {
            let event = self.events[at];
            if event.is_call {
                if let Some(after) = self.model.apply(&state, &self.history[event.operation].step) {
                    placed.flip(event.operation);
                    if known.len() >= MAX_CONFIGURATIONS {
                        return Verdict::Undecided;
                    }
                    if known.insert((placed.clone(), after.clone())) {
                        effects.push((at, std::mem::replace(&mut state, after)));
                        self.lift(at);
                        at = self.events[HEAD].next;
                        continue;
                    }
                    placed.flip(event.operation);
                }
                at = event.next;
                continue;
            }
            // The operation returned and has not taken effect.
            if effects.len() >= deepest {
                (deepest, blamed) = (effects.len(), event.operation);
            }
            let Some((call, before)) = effects.pop() else { return Verdict::Violation(blamed) };
            state = before;
            placed.flip(self.events[call].operation);
            self.unlift(call);
            at = self.events[call].next;
        }
        Verdict::Linearizable
    }
}

#[cfg(test)]
mod tests;
