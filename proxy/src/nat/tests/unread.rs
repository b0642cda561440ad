//! What clients sent and the guest has not taken is bounded over all flows of a group, and holds up nobody for ever.

use super::*;

/// 1,024 shared bytes less a quarter, and of that quarter a fourth for each flow.
const BUFFERS: u64 = 1024;
const SHARED: usize = 768;
const OWN: usize = 64;

fn nat() -> Nat {
    let mut nat = Nat::new(EPOCH, limits());
    let of_group =
        GroupLimits { window_bytes: WINDOW, buffers_bytes: BUFFERS, connections: Some(4), ..GroupLimits::default() };
    nat.add_group(GROUP, of_group);
    nat
}

/// The flow sends all that it may.
fn fill(nat: &mut Nat, serial: Serial) -> usize {
    let bytes = nat.readable_bytes(serial);
    nat.received(serial, &vec![0; bytes], NOW);
    bytes
}

#[test]
fn flows_share_what_may_be_unread_and_each_has_a_little_of_its_own() {
    let mut nat = nat();
    let [first, second] = [opened(&mut nat), opened(&mut nat)];
    assert_eq!(fill(&mut nat, first), SHARED, "the window would take more");
    assert_eq!(nat.readable_bytes(first), 0);
    assert_eq!(fill(&mut nat, second), OWN);
    assert_eq!(nat.readable_bytes(second), 0);
    nat.consumed(GROUP, second, 1);
    assert_eq!(nat.take_resumed(), [second], "its own share is free, whatever the other leaves unread");
    assert_eq!(nat.readable_bytes(second), 1);
}

#[test]
fn flows_that_wait_for_others_go_on_once_an_eighth_is_free() {
    let mut nat = nat();
    let [first, second] = [opened(&mut nat), opened(&mut nat)];
    fill(&mut nat, first);
    fill(&mut nat, second);
    assert_eq!((nat.readable_bytes(first), nat.readable_bytes(second)), (0, 0));
    let until = OWN as u64 + SHARED as u64 / 8;
    nat.consumed(GROUP, first, until - 1);
    assert_eq!(nat.take_resumed(), [first], "it may be read itself, though not much of it");
    nat.readable_bytes(first);
    nat.consumed(GROUP, first, until);
    assert_eq!(nat.take_resumed(), [second]);
    assert_eq!(fill(&mut nat, second), SHARED / 8);
}

#[test]
fn a_flow_that_ends_leaves_its_room_to_the_others() {
    let mut nat = nat();
    let [first, second] = [opened(&mut nat), opened(&mut nat)];
    fill(&mut nat, first);
    fill(&mut nat, second);
    assert_eq!(nat.readable_bytes(second), 0);
    nat.reset(first, Ending::ClientReset);
    nat.gone(first, NOW);
    assert_eq!(nat.take_resumed(), [second]);
    assert_eq!(nat.readable_bytes(second), SHARED - OWN);
}

#[test]
fn flows_that_go_while_they_wait_for_others_are_forgotten() {
    let mut nat = nat();
    let first = opened(&mut nat);
    fill(&mut nat, first);
    for _ in 0..10 {
        let goes = opened(&mut nat);
        fill(&mut nat, goes);
        assert_eq!(nat.readable_bytes(goes), 0);
        assert_eq!(nat.groups[&GROUP].unread.waiting(), 1);
        nat.gone(goes, NOW);
        assert_eq!(nat.groups[&GROUP].unread.waiting(), 0);
    }
}
