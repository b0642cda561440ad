//! `poll` turn by turn, and the turn's budget of calls that do not wait.

mod support;

use refrain_kernel::clock::READS_PER_TURN;
use refrain_kernel::poll::Interest;
use refrain_kernel::{Errno, Event, Kernel, Stop, Subscription};
use refrain_wire::Time;
use support::{AGAIN, LISTENER, ROOT_DIR, Rig, config, data, open, reset, shutdown};

fn poll(kernel: &mut Kernel, wanted: &[Interest]) -> Result<Vec<(u64, Errno, u64, bool)>, Stop> {
    let subscriptions: Vec<Subscription> =
        (10..).zip(wanted).map(|(userdata, interest)| Subscription { userdata, interest: *interest }).collect();
    let events = kernel.poll(&subscriptions, true)?;
    Ok(events.iter().map(|Event { userdata, errno, bytes, hangup, .. }| (*userdata, *errno, *bytes, *hangup)).collect())
}

#[test]
fn a_deadline_is_an_event_exactly_when_it_has_come() {
    let mut rig = Rig::new(config());
    let at = Interest::Until(3_000_000_500);
    let end = rig.turn(&[], |kernel| assert_eq!(poll(kernel, &[at]), Err(Stop::Block)));
    assert_eq!(end.wants, Some(Time::from_micros(3_000_001)));
    let end = rig.at(3_000_000, |kernel| assert_eq!(poll(kernel, &[at]), Err(Stop::Block)));
    assert_eq!(end.wants, Some(Time::from_micros(3_000_001)));
    let end = rig.at(3_000_001, |kernel| assert_eq!(poll(kernel, &[at]), Ok(vec![(10, Errno::Success, 0, false)])));
    assert_eq!(end.wants, None);
}

#[test]
fn the_earliest_of_several_deadlines_is_wanted_and_only_those_due_are_events() {
    let mut rig = Rig::new(config());
    let wanted = [9_000_000_000, 3_000_000_000, u64::MAX].map(Interest::Until);
    let end = rig.turn(&[], |kernel| assert_eq!(poll(kernel, &wanted), Err(Stop::Block)));
    assert_eq!(end.wants, Some(Time::from_micros(3_000_000)));
    rig.at(4_000_000, |kernel| assert_eq!(poll(kernel, &wanted), Ok(vec![(11, Errno::Success, 0, false)])));
}

#[test]
fn a_poll_without_a_deadline_wants_no_turn() {
    let mut rig = Rig::new(config());
    let end = rig.turn(&[], |kernel| assert_eq!(poll(kernel, &[Interest::Read(LISTENER)]), Err(Stop::Block)));
    assert_eq!(end.wants, None);
}

#[test]
fn listeners_and_flows_are_readable_when_a_read_would_return() {
    let mut rig = Rig::new(config());
    rig.turn(&[open(1)], |kernel| {
        assert_eq!(poll(kernel, &[Interest::Read(LISTENER)]), Ok(vec![(10, Errno::Success, 1, false)]));
    });
    let mut fd = 0;
    rig.turn(&[], |kernel| {
        fd = kernel.accept(LISTENER, 0).unwrap();
        assert_eq!(poll(kernel, &[Interest::Read(fd)]), Err(Stop::Block));
    });
    rig.turn(&[data(1, b"abc")], |kernel| {
        assert_eq!(poll(kernel, &[Interest::Read(fd)]), Ok(vec![(10, Errno::Success, 3, false)]));
        kernel.recv(fd, &mut [0; 3], false).unwrap();
    });
    rig.turn(&[shutdown(1)], |kernel| {
        assert_eq!(
            poll(kernel, &[Interest::Read(fd)]),
            Ok(vec![(10, Errno::Success, 0, false)]),
            "the end, no hang-up"
        );
    });
    rig.turn(&[reset(1)], |kernel| {
        let both = [Interest::Read(fd), Interest::Write(fd)];
        let gone = vec![(10, Errno::Success, 0, true), (11, Errno::Success, 0, true)];
        assert_eq!(poll(kernel, &both), Ok(gone));
    });
}

#[test]
fn a_flow_is_writable_when_half_its_buffer_is_free() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    let wanted = [Interest::Write(fd)];
    rig.turn(&[], |kernel| {
        kernel.send(fd, &[0; 500]).unwrap();
        assert_eq!(poll(kernel, &wanted), Ok(vec![(10, Errno::Success, 500, false)]));
        kernel.send(fd, &[0; 1]).unwrap();
        assert_eq!(poll(kernel, &wanted), Err(Stop::Block));
    });
    rig.turn(&[support::credit(1, 1)], |kernel| assert!(poll(kernel, &wanted).is_ok()));
}

#[test]
fn bad_descriptors_are_events_with_their_error_beside_good_ones() {
    let mut rig = Rig::new(config());
    rig.turn(&[], |kernel| {
        let wanted = [
            Interest::Read(99),
            Interest::Write(0),
            Interest::Read(1),
            Interest::Read(ROOT_DIR),
            Interest::Read(0),
            Interest::Read(LISTENER),
        ];
        let want = vec![
            (10, Errno::Badf, 0, false),
            (11, Errno::Notsup, 0, false),
            (12, Errno::Notsup, 0, false),
            (13, Errno::Isdir, 0, false),
            (14, Errno::Success, 0, true),
        ];
        assert_eq!(poll(kernel, &wanted), Ok(want));
    });
}

/// Spends the turn's budget with `call` and returns what the next call gives.
fn beyond_budget<T: PartialEq + std::fmt::Debug>(
    kernel: &mut Kernel,
    call: impl Fn(&mut Kernel) -> T,
    within: &T,
) -> T {
    for _ in 0..READS_PER_TURN {
        assert_eq!(call(kernel), *within);
    }
    call(kernel)
}

#[test]
fn calls_that_do_not_wait_end_the_turn_when_its_budget_is_spent() {
    let mut rig = Rig::new(config());
    let end = rig.turn(&[], |kernel| {
        kernel.descriptor_mut(LISTENER).unwrap().flags = 4;
        let accept = |kernel: &mut Kernel| kernel.accept(LISTENER, 0);
        assert_eq!(beyond_budget(kernel, accept, &Err(AGAIN)), Err(Stop::Block));
    });
    assert_eq!(end.wants, Some(Time::from_micros(rig.micros)), "at once");
    rig.turn(&[], |kernel| assert_eq!(kernel.accept(LISTENER, 0), Err(AGAIN), "the next turn has its own"));
    let now = [Interest::Until(0)];
    let due = Ok(vec![(10, Errno::Success, 0, false)]);
    let end = rig.turn(&[], |kernel| {
        assert_eq!(beyond_budget(kernel, |kernel| poll(kernel, &now), &due), Err(Stop::Block));
    });
    assert!(end.wants.is_some());
    let end = rig.turn(&[], |kernel| while kernel.read_clock().is_ok() {});
    let second_later = Time::from_micros(rig.micros + u64::from(READS_PER_TURN));
    assert_eq!(end.wants, Some(second_later), "when the log has reached what the guest has seen");
}
