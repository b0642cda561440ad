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

/// What is wrong with the operations on one key. Those without a result may have taken effect at any time after their
/// call, or never: few histories need one of them to be explained, and an order without is found far sooner.
fn judge(key: u32, operations: &[Operation<Step>]) -> Option<Finding> {
    let answered = |operation: &Operation<Step>| operation.returned.is_some();
    faults(key, operations, answered)?;
    let seen: Vec<Value> = operations.iter().filter_map(seen).collect();
    let increments = operations.iter().filter(|operation| matches!(operation.step, Step::Increment(_))).count() as u64;
    // What nobody read and nobody removed can be left out of every order that has it.
    let removed = operations.iter().any(|operation| operation.step == Step::Delete(Some(true)));
    let may_show = |operation: &Operation<Step>| match operation.step {
        Step::Set(value) => removed || seen.iter().any(|seen| (value..=value + increments).contains(seen)),
        _ => true,
    };
    faults(key, operations, |operation| answered(operation) || may_show(operation))
}

/// What is wrong with some of them.
fn faults(key: u32, operations: &[Operation<Step>], some: impl Fn(&Operation<Step>) -> bool) -> Option<Finding> {
    let operations: Vec<Operation<Step>> = operations.iter().filter(|operation| some(operation)).cloned().collect();
    match check(&Register, &operations) {
        Verdict::Linearizable => None,
        Verdict::Violation(at) => {
            Some(Finding::new("the key-value history is linearizable", format!("key {key}: {:?}", operations[at])))
        }
        Verdict::Undecided => Some(Finding::new(
            "the key-value history is small enough to be judged",
            format!("key {key} with {} operations", operations.len()),
        )),
    }
}

/// The value that the key had after an operation, by its result.
fn seen(operation: &Operation<Step>) -> Option<Value> {
    match operation.step {
        Step::Get(seen) | Step::Increment(seen) => seen,
        Step::Set(_) | Step::Delete(_) => None,
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
        self.keys.iter().filter_map(|(key, operations)| judge(*key, operations)).collect()
    }
}
