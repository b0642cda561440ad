//! Histories that are known to be good or bad, and random ones against a search through all orders.

use super::key_value::{History, Register, Step, Value};
use super::{Model, Operation, Verdict, check};
use crate::dice::Dice;

fn operation(called: u64, returned: impl Into<Option<u64>>, step: Step) -> Operation<Step> {
    Operation { called, returned: returned.into(), step }
}

fn get(called: u64, returned: u64, seen: Value) -> Operation<Step> {
    operation(called, returned, Step::Get(Some(seen)))
}

fn set(called: u64, returned: impl Into<Option<u64>>, value: Value) -> Operation<Step> {
    operation(called, returned, Step::Set(value))
}

fn is_good(history: &[Operation<Step>]) -> bool {
    check(&Register, history) == Verdict::Linearizable
}

#[test]
fn an_empty_history_and_one_operation_are_good() {
    assert!(is_good(&[]));
    assert!(is_good(&[set(1, 2, 7)]));
    assert!(!is_good(&[get(1, 2, 7)]));
}

#[test]
fn a_read_during_a_write_may_see_either_value_and_afterwards_only_the_new_one() {
    for seen in [0, 7] {
        assert!(is_good(&[set(1, 10, 7), get(2, 3, seen)]));
    }
    assert!(is_good(&[set(1, 10, 7), get(11, 12, 7)]));
    assert!(!is_good(&[set(1, 10, 7), get(11, 12, 0)]), "a stale read");
}

#[test]
fn reads_do_not_see_the_new_value_and_then_the_old_one() {
    let write = set(1, 10, 7);
    assert!(is_good(&[write.clone(), get(2, 3, 0), get(4, 5, 7)]));
    let back = [write, get(2, 3, 7), get(4, 5, 0)];
    assert!(matches!(check(&Register, &back), Verdict::Violation(_)));
}

#[test]
fn a_write_without_an_answer_may_take_effect_late_or_never() {
    assert!(is_good(&[set(1, None, 7), get(2, 3, 0), get(100, 101, 7)]));
    assert!(is_good(&[set(1, None, 7), get(100, 101, 0)]));
    assert!(!is_good(&[set(1, None, 7), get(2, 3, 7), get(4, 5, 0)]), "it took effect and was taken back");
    assert!(!is_good(&[set(5, None, 7), get(1, 2, 7)]), "it took effect before it was called");
}

#[test]
fn an_acknowledged_write_that_is_lost_is_found() {
    assert!(!is_good(&[set(1, 2, 7), set(3, 4, 8), get(5, 6, 7)]));
    assert_eq!(check(&Register, &[set(1, 2, 7), get(5, 6, 0)]), Verdict::Violation(1));
}

#[test]
fn increments_count_once_each() {
    let increment = |called, returned, seen| operation(called, returned, Step::Increment(Some(seen)));
    assert!(is_good(&[increment(1, 10, 2), increment(2, 9, 1), get(11, 12, 2)]));
    assert!(!is_good(&[increment(1, 10, 1), increment(2, 9, 1)]), "two saw the same");
    assert!(!is_good(&[increment(1, 2, 1), increment(3, 4, 3)]), "one counted twice");
    let unknown = operation(1, None, Step::Increment(None));
    for seen in [1, 2] {
        assert!(is_good(&[unknown.clone(), increment(2, 9, seen)]));
    }
}

#[test]
fn deletes_tell_whether_the_key_was_there() {
    let delete = |called, was| operation(called, called + 1, Step::Delete(Some(was)));
    assert!(is_good(&[set(1, 2, 7), delete(3, true), delete(5, false), get(7, 8, 0)]));
    assert!(!is_good(&[set(1, 2, 7), delete(3, false)]));
}

/// Whether some order of `rest` explains what is known, by trying all of them.
fn by_all_orders(state: Value, rest: &[Operation<Step>]) -> bool {
    if rest.iter().all(|operation| operation.returned.is_none()) {
        return true;
    }
    let first_return = rest.iter().filter_map(|operation| operation.returned).min().unwrap_or(u64::MAX);
    (0..rest.len()).any(|nth| {
        let next = &rest[nth];
        next.called <= first_return
            && Register.apply(&state, &next.step).is_some_and(|after| {
                let others: Vec<_> = rest[..nth].iter().chain(&rest[nth + 1..]).cloned().collect();
                by_all_orders(after, &others)
            })
    })
}

#[test]
fn random_histories_are_judged_as_by_trying_all_orders() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..3000 {
        let mut dice = Dice::new(seed);
        let history: Vec<_> = (0..2 + dice.below(5))
            .map(|_| {
                let called = dice.below(20);
                let returned = (dice.below(5) > 0).then(|| called + 1 + dice.below(8));
                let known = returned.is_some();
                let step = match dice.below(4) {
                    0 | 1 => Step::Set(1 + dice.below(3)),
                    2 => Step::Get(known.then(|| dice.below(4))),
                    _ => Step::Increment(known.then(|| 1 + dice.below(3))),
                };
                Operation { called, returned, step }
            })
            .collect();
        let expected = by_all_orders(0, &history);
        assert_eq!(is_good(&history), expected, "seed {seed}: {history:?}");
        let mut store = History::default();
        history.iter().for_each(|operation| store.push(1, operation.clone()));
        assert_eq!(store.findings().is_empty(), expected, "seed {seed}: {history:?}");
        if expected { good += 1 } else { bad += 1 }
    }
    assert!(good > 300 && bad > 300, "{good} good, {bad} bad");
}

#[test]
fn many_writes_without_an_answer_are_judged_quickly() {
    // Forty writes that nobody sees, and one that everybody does.
    let mut store = History::default();
    (0..40).for_each(|nth| store.push(1, set(nth, None, 1_000 + nth)));
    store.push(1, set(45, None, 7));
    (50..250).for_each(|nth| store.push(1, get(nth * 2, nth * 2 + 1, 7)));
    assert_eq!(store.findings(), []);
    store.push(1, get(600, 601, 1_039));
    assert_eq!(store.findings(), [], "one of them takes effect late");
    store.push(1, get(602, 603, 7));
    assert_eq!(store.findings().len(), 1, "it is not taken back");
}

#[test]
fn a_long_history_with_much_overlap_is_judged_quickly() {
    // Eight clients, each with 200 writes and reads of a register that really is one.
    let (mut dice, mut value, mut clock, mut history) = (Dice::new(1), 0, 0, Vec::new());
    for _ in 0..200 {
        let begin = clock;
        let mut steps: Vec<Step> = (0..8).map(|_| Step::Set(1 + dice.below(1000))).collect();
        steps.iter_mut().for_each(|step| {
            if dice.below(2) == 0 {
                *step = Step::Get(None);
            }
        });
        for step in &mut steps {
            match step {
                Step::Set(new) => value = *new,
                other => *other = Step::Get(Some(value)),
            }
        }
        dice.shuffle(&mut steps);
        clock += 10;
        history.extend(steps.into_iter().map(|step| operation(begin, clock, step)));
        clock += 1;
    }
    assert!(is_good(&history));
}
