//! A key-value store for [`check`]: one register a key, which is what keys are to each other.

use std::collections::BTreeMap;

use super::{Model, Operation, Verdict, check};
use crate::check::Finding;

/// A value; 0 stands for "no such key", so that states are small.
pub type Value = u64;

/// An operation on one key, with its result where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Reads the value.
    Get(Option<Value>),
    /// Writes a value.
    Set(Value),
    /// Removes the key; whether it was there.
    Delete(Option<bool>),
    /// Adds one; the value afterwards.
    Increment(Option<Value>),
}

/// One key.
pub struct Register;

impl Model for Register {
    type State = Value;
    type Step = Step;

    fn start(&self) -> Value {
        0
    }

    fn apply(&self, state: &Value, step: &Step) -> Option<Value> {
        let fits = |is: bool, after: Value| is.then_some(after);
        match step {
            Step::Get(seen) => fits(seen.is_none_or(|seen| seen == *state), *state),
            Step::Set(value) => Some(*value),
            Step::Delete(was) => fits(was.is_none_or(|was| was == (*state != 0)), 0),
            Step::Increment(seen) => fits(seen.is_none_or(|seen| seen == state + 1), state + 1),
        }
    }
}

/// The history of a store.
#[derive(Debug, Clone, Default)]
pub struct History {
    keys: BTreeMap<u32, Vec<Operation<Step>>>,
}

impl History {
    /// Notes an operation on `key`.
    pub fn push(&mut self, key: u32, operation: Operation<Step>) {
        // A read without a result says nothing.
        if operation.returned.is_some() || !matches!(operation.step, Step::Get(_)) {
            self.keys.entry(key).or_default().push(operation);
        }
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What is wrong with it.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let judge = |(key, operations): (&u32, &Vec<Operation<Step>>)| match check(&Register, operations) {
            Verdict::Linearizable => None,
            Verdict::Violation(at) => {
                Some(Finding::new("the key-value history is linearizable", format!("key {key}: {:?}", operations[at])))
            }
            Verdict::Undecided => Some(Finding::new(
                "the key-value history is small enough to be judged",
                format!("key {key} with {} operations", operations.len()),
            )),
        };
        self.keys.iter().filter_map(judge).collect()
    }
}
