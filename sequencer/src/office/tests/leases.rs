//! Leases of proxies.

use super::{Control, Desk, Epoch, GroupId, ShardControl, millis};

fn end(epoch: Epoch) -> (GroupId, Control) {
    (GroupId::SHARD, Control::Shard(ShardControl::EndEpoch(epoch)))
}

#[test]
fn an_epoch_ends_when_its_proxy_is_silent_for_the_whole_lease() {
    let mut desk = Desk::new();
    let epoch = desk.open_epoch(1, 10);
    desk.wait(millis(4999));
    assert!(desk.work().is_empty());
    assert_eq!(desk.office.next_deadline(desk.now, desk.log_time()), Some(millis(1)));
    desk.wait(millis(1));
    assert_eq!(desk.work(), [end(epoch)]);
    assert!(desk.shard.epochs().is_empty());
    desk.work_for(millis(60_000));
    assert_eq!(desk.office.next_deadline(desk.now, desk.log_time()), None);
}

#[test]
fn renewals_and_submissions_begin_the_lease_anew() {
    let mut desk = Desk::new();
    let epoch = desk.open_epoch(1, 10);
    for n in 0..10 {
        desk.wait(millis(4999));
        if n % 2 == 0 {
            assert!(desk.office.renew(epoch, desk.now, &[]));
        } else {
            desk.office.submitted(epoch, desk.now);
        }
        assert!(desk.work().is_empty());
    }
    desk.wait(millis(5000));
    assert_eq!(desk.work(), [end(epoch)]);
}

#[test]
fn a_new_leader_gives_every_open_epoch_one_full_lease() {
    let mut desk = Desk::new();
    let epoch = desk.open_epoch(1, 10);
    desk.wait(millis(4000));
    desk.elect();
    desk.wait(millis(4999));
    assert!(desk.work().is_empty());
    desk.wait(millis(1));
    assert_eq!(desk.work(), [end(epoch)]);
}

#[test]
fn an_end_that_was_asked_for_is_not_taken_back_and_is_asked_for_again() {
    let mut desk = Desk::new();
    let epoch = desk.open_epoch(1, 10);
    desk.wait(millis(5000));
    assert_eq!(desk.asked(), [end(epoch)]);
    assert!(!desk.office.renew(epoch, desk.now, &[]), "it may be in the log already");
    desk.wait(millis(999));
    assert!(desk.asked().is_empty());
    desk.wait(millis(1));
    assert_eq!(desk.work(), [end(epoch)]);
    assert!(!desk.office.renew(epoch, desk.now, &[]));
    assert!(!desk.office.renew(Epoch(77), desk.now, &[]), "there never was such an epoch");
}

#[test]
fn an_opening_that_is_said_again_renews_the_lease_and_a_new_epoch_has_its_own() {
    let mut desk = Desk::new();
    let first = desk.open_epoch(1, 10);
    desk.wait(millis(3000));
    let open = Control::Shard(ShardControl::OpenEpoch { proxy: refrain_wire::ProxyId(1), nonce: 10, outward: false });
    assert!(desk.order(GroupId::SHARD, open));
    desk.wait(millis(3000));
    assert!(desk.work().is_empty());
    let second = desk.open_epoch(1, 11);
    assert!(!desk.office.renew(first, desk.now, &[]), "it is over");
    desk.wait(millis(5000));
    assert_eq!(desk.work(), [end(second)]);
}
