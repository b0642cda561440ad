//! Outward connections and look-ups: who is asked, what a guest is told, and what happens when an owner goes.

mod support;

use std::net::{IpAddr, SocketAddr};

use refrain_kernel::budget::MAX_TURN_CALLS;
use refrain_kernel::config::GuestConfig;
use refrain_kernel::outbound::{Host, IpRange, PortRange, Rule};
use refrain_kernel::outward::OWNER_PATIENCE;
use refrain_kernel::poll::Interest;
use refrain_kernel::{Errno, Kernel, Outbound, ShardEvent, Stop, Subscription, TurnEnd};
use refrain_wire::outward::Owner;
use refrain_wire::{CallFailure, EffectKind, Epoch, Protocol, ProxyHeader, ProxyId, Record, Serial, Target, Time};
use support::{AGAIN, EPOCH, Rig, config, data, effects, open, reset};

const FIRST: u32 = refrain_wire::outward::FIRST_OUTWARD_SERIAL.0;
const NONBLOCK: u16 = 4;

fn rule(host: Host, port: u16) -> Rule {
    Rule { host, ports: PortRange::one(port), protocol: Protocol::Tcp, proxy_header: None }
}

/// A guest that may reach a name and an address, each at one port.
fn allowed() -> GuestConfig {
    let name = rule(Host::name("api.example.com").unwrap(), 443);
    let address = rule(Host::Range(IpRange::one(database().ip())), 5432);
    GuestConfig { outbound: Outbound::new(vec![name, address]), max_outward: 3, ..config() }
}

fn database() -> SocketAddr {
    "192.0.2.9:5432".parse().unwrap()
}

fn opened(proxy: u16, epoch: u32) -> ShardEvent {
    ShardEvent::EpochOpened(Owner { proxy: ProxyId(proxy), epoch: Epoch(epoch) })
}

/// A started guest, and this proxy's epoch may be asked.
fn rig(config: GuestConfig) -> Rig {
    let mut rig = Rig::new(config);
    rig.events(&[opened(1, EPOCH.0)], &[], |_| ());
    rig
}

fn connected(serial: u32) -> Record {
    Record::Connected { serial: Serial(serial), local: "198.51.100.1:40000".parse().unwrap() }
}

fn failed(serial: u32, failure: CallFailure) -> Record {
    Record::Failed { serial: Serial(serial), failure }
}

fn resolved(serial: u32, addresses: &[&str]) -> Record {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Record::Resolved { serial: Serial(serial), addresses }
}

/// The calls of a turn: kind, epoch, serial.
fn calls(end: &TurnEnd) -> Vec<(EffectKind, u32, u32)> {
    let short = |effect: &refrain_wire::turn::Effect| {
        let flow = effect.entry.flow?;
        Some((effect.entry.kind, flow.epoch.0, flow.serial.0))
    };
    end.effects.iter().filter_map(short).collect()
}

fn begin(kernel: &mut Kernel) -> u32 {
    let fd = kernel.socket(false, false).unwrap();
    assert_eq!(kernel.connect(fd, database(), true), Err(Stop::Block));
    fd
}

#[test]
fn a_client_is_refused_under_a_number_that_only_the_guest_gives() {
    let mut rig = Rig::new(config());
    assert_eq!(effects(&rig.turn(&[open(FIRST)], |_| ())), [(EffectKind::Reset, FIRST, 0, 0)]);
    assert_eq!(rig.kernel.flow_count(), 0);
    rig.events(&[ShardEvent::EpochEnded(EPOCH)], &[], |_| ());
}

/// A connection that the guest opened.
fn connection(rig: &mut Rig, serial: u32) -> u32 {
    let mut fd = 0;
    rig.turn(&[], |kernel| fd = begin(kernel));
    rig.turn(&[connected(serial)], |kernel| assert_eq!(kernel.connect(fd, database(), false), Ok(())));
    fd
}

#[test]
fn a_connect_is_an_effect_for_the_owner_and_waits_for_its_answer() {
    let mut rig = rig(allowed());
    let mut fd = 0;
    let end = rig.turn(&[], |kernel| fd = begin(kernel));
    assert_eq!(calls(&end), [(EffectKind::Connect, 1, FIRST)]);
    let target = Target { protocol: Protocol::Tcp, header: ProxyHeader::None, address: database() };
    assert_eq!(Target::decode(&end.effects[0].payload), Ok(target));
    rig.turn(&[], |kernel| {
        assert_eq!(kernel.connect(fd, database(), false), Err(Stop::Block));
        assert_eq!(kernel.send(fd, b"early"), Err(Errno::Notconn.into()));
    });
    let end = rig.turn(&[connected(FIRST)], |kernel| {
        assert_eq!(kernel.connect(fd, database(), false), Ok(()));
        assert_eq!(kernel.peer_address(fd), Ok(database()));
        assert_eq!(kernel.local_address(fd), Ok("198.51.100.1:40000".parse().unwrap()));
        assert_eq!(kernel.send(fd, b"hello"), Ok(5));
    });
    assert_eq!(calls(&end), [(EffectKind::Bytes, 1, FIRST)]);
    rig.turn(&[data(FIRST, b"world")], |kernel| assert_eq!(support::recv(kernel, fd, 9), Ok(b"world".to_vec())));
}

#[test]
fn nothing_is_reached_without_a_rule() {
    let mut rig = rig(config());
    let end = rig.turn(&[], |kernel| {
        let fd = kernel.socket(false, false).unwrap();
        assert_eq!(kernel.connect(fd, database(), true), Err(Errno::Acces.into()));
        assert_eq!(kernel.resolve(b"api.example.com", true), Err(Errno::Acces.into()));
    });
    assert_eq!(calls(&end), []);
}

#[test]
fn the_lowest_proxy_is_asked_and_an_epoch_from_the_turn_after_its_own() {
    let mut rig = Rig::new(allowed());
    let (mut first, mut second) = (0, 0);
    let end = rig.turn(&[], |kernel| first = begin(kernel));
    assert_eq!(calls(&end), [], "nobody can be asked");
    let end = rig.events(&[opened(7, 5)], &[], |kernel| second = begin(kernel));
    assert_eq!(calls(&end), [], "votes of this turn are not for that epoch");
    assert_eq!(end.wants, Some(Time::from_micros(rig.micros)), "what waits wants a turn at once");
    let end = rig.events(&[opened(2, 6)], &[], |_| ());
    assert_eq!(calls(&end), [(EffectKind::Connect, 5, FIRST), (EffectKind::Connect, 5, FIRST + 1)]);
    let end = rig.turn(&[], |kernel| assert!(begin(kernel) > 0));
    assert_eq!(calls(&end), [(EffectKind::Connect, 6, FIRST)], "serials are counted for each epoch");
    assert_ne!(first, second);
}

#[test]
fn a_call_that_nobody_can_be_asked_for_fails_in_the_end() {
    let mut rig = Rig::new(allowed());
    let patience = OWNER_PATIENCE.as_micros() as u64;
    let (began, mut waits, mut polled) = (rig.micros + 1000, 0, 0);
    let end = rig.turn(&[], |kernel| {
        waits = begin(kernel);
        polled = kernel.socket(false, false).unwrap();
        kernel.descriptor_mut(polled).unwrap().flags = NONBLOCK;
        assert_eq!(kernel.connect(polled, database(), true), Err(Errno::Inprogress.into()));
    });
    assert_eq!(end.wants, Some(Time::from_micros(began + patience)));
    rig.at(began + patience - 1, |kernel| assert_eq!(kernel.connect(waits, database(), false), Err(Stop::Block)));
    let end = rig.at(began + patience, |kernel| {
        assert_eq!(kernel.connect(waits, database(), false), Err(Errno::Netunreach.into()));
        assert_eq!(kernel.take_socket_error(polled), Ok(Some(Errno::Netunreach)));
    });
    assert_eq!(end.wants, None);
}

#[test]
fn a_look_up_that_nobody_can_be_asked_for_fails_in_the_end() {
    let mut rig = Rig::new(allowed());
    let patience = OWNER_PATIENCE.as_micros() as u64;
    let wanted = |micros| Some(Time::from_micros(micros));
    let name = b"api.example.com";
    let end = rig.turn(&[], |kernel| assert_eq!(kernel.resolve(name, true), Err(Stop::Block)));
    assert_eq!(end.wants, wanted(rig.micros + patience));
    rig.at(rig.micros + patience, |kernel| assert_eq!(kernel.resolve(name, false), Err(AGAIN)));
    // The time counts from when the last owner went.
    rig.events(&[opened(1, EPOCH.0)], &[], |_| ());
    rig.turn(&[], |kernel| assert_eq!(kernel.resolve(name, true), Err(Stop::Block)));
    let end = rig.at(rig.micros + patience, |kernel| assert_eq!(kernel.resolve(name, false), Err(Stop::Block)));
    assert_eq!(end.wants, None, "who is asked answers");
    let gone = |kernel: &mut Kernel| assert_eq!(kernel.resolve(name, false), Err(Stop::Block));
    assert_eq!(rig.events(&[ShardEvent::EpochEnded(EPOCH)], &[], gone).wants, wanted(rig.micros + patience));
    rig.at(rig.micros + patience, |kernel| assert_eq!(kernel.resolve(name, false), Err(AGAIN)));
}

#[test]
fn a_failure_that_was_not_told_leaves_with_its_guest() {
    let restart = refrain_kernel::config::RestartPolicy::Always;
    let mut rig = rig(GuestConfig { restart, backoff: std::time::Duration::ZERO, max_outward: 1, ..allowed() });
    for life in 0..3 {
        rig.turn(&[], |kernel| assert!(begin(kernel) > 0, "life {life}"));
        rig.turn(&[failed(FIRST + life, CallFailure::Refused)], |_| ());
        rig.end_guest(refrain_kernel::process::GuestEnd::Exit(0));
        assert_eq!(rig.kernel.flow_count(), 0);
    }
}

#[test]
fn calls_and_clients_have_limits_of_their_own() {
    let mut rig = rig(GuestConfig { max_flows: 1, ..allowed() });
    rig.flow(1);
    rig.turn(&[], |kernel| (0..3).for_each(|_| assert!(begin(kernel) > 0)));
    rig.turn(&[reset(1)], |_| ());
    rig.flow(2);
    assert_eq!(rig.kernel.flow_count(), 1);
}

#[test]
fn a_call_that_failed_is_told_once_and_its_socket_can_be_used_again() {
    let mut rig = rig(allowed());
    let mut fd = 0;
    rig.turn(&[], |kernel| fd = begin(kernel));
    rig.turn(&[failed(FIRST, CallFailure::Refused), connected(FIRST)], |kernel| {
        assert_eq!(kernel.connect(fd, database(), false), Err(Errno::Connrefused.into()));
    });
    let end = rig.turn(&[], |kernel| assert_eq!(kernel.connect(fd, database(), true), Err(Stop::Block)));
    assert_eq!(calls(&end), [(EffectKind::Connect, 1, FIRST + 1)]);
}

#[test]
fn a_socket_that_does_not_wait_is_told_by_poll_and_by_its_error() {
    let mut rig = rig(allowed());
    let (mut good, mut bad) = (0, 0);
    let ready = |kernel: &mut Kernel, fd| {
        let wanted = Subscription { userdata: 1, interest: Interest::Write(fd) };
        kernel.poll(&[wanted], true).map(|events| events[0].hangup)
    };
    rig.turn(&[], |kernel| {
        for fd in [&mut good, &mut bad] {
            *fd = kernel.socket(false, false).unwrap();
            kernel.descriptor_mut(*fd).unwrap().flags = NONBLOCK;
            assert_eq!(kernel.connect(*fd, database(), true), Err(Errno::Inprogress.into()));
            assert_eq!(kernel.connect(*fd, database(), true), Err(Errno::Already.into()));
            assert_eq!(kernel.take_socket_error(*fd), Ok(None));
            assert_eq!(ready(kernel, *fd), Err(Stop::Block));
        }
    });
    rig.turn(&[connected(FIRST), failed(FIRST + 1, CallFailure::TimedOut)], |kernel| {
        assert_eq!(ready(kernel, good), Ok(false));
        assert_eq!(kernel.take_socket_error(good), Ok(None));
        assert_eq!(kernel.connect(good, database(), true), Err(Errno::Isconn.into()));
        assert_eq!(ready(kernel, bad), Ok(true));
        assert_eq!(kernel.take_socket_error(bad), Ok(Some(Errno::Timedout)));
        assert_eq!(kernel.take_socket_error(bad), Ok(None));
    });
}

#[test]
fn calls_are_limited_and_a_close_makes_room() {
    let mut rig = rig(allowed());
    let mut fds = Vec::new();
    rig.turn(&[], |kernel| {
        fds = (0..3).map(|_| begin(kernel)).collect();
        let one_more = kernel.socket(false, false).unwrap();
        assert_eq!(kernel.connect(one_more, database(), true), Err(Errno::Nobufs.into()));
        assert_eq!(kernel.resolve(b"api.example.com", true), Err(Errno::Nobufs.into()));
    });
    // One is closed while it waits, one when it had failed, one when it was there.
    let records = [failed(FIRST + 1, CallFailure::Refused), connected(FIRST + 2)];
    rig.turn(&records, |kernel| fds.iter().for_each(|fd| kernel.close(*fd).unwrap()));
    rig.turn(&[support::shutdown(FIRST + 2)], |_| ());
    rig.turn(&[], |kernel| (0..3).for_each(|_| assert!(begin(kernel) > 0)));
}

#[test]
fn a_call_that_is_given_up_is_reset_and_its_answer_ignored() {
    let mut rig = rig(allowed());
    let mut fd = 0;
    rig.turn(&[], |kernel| fd = begin(kernel));
    let end = rig.turn(&[], |kernel| kernel.close(fd).unwrap());
    assert_eq!(calls(&end), [(EffectKind::Reset, 1, FIRST)]);
    let end = rig.turn(&[connected(FIRST), data(FIRST, b"late")], |_| ());
    assert_eq!(calls(&end), []);
    let end = rig.turn(&[], |kernel| {
        for _ in 0..1000 {
            let fd = begin(kernel);
            kernel.close(fd).unwrap();
        }
    });
    assert_eq!(calls(&end), [], "within one turn, nobody hears of it");
}

#[test]
fn what_a_turn_calls_is_bounded_and_the_rest_waits_for_the_next() {
    let mut rig = rig(allowed());
    let mut fd = 0;
    let end = rig.turn(&[], |kernel| {
        for _ in 0..MAX_TURN_CALLS {
            fd = begin(kernel);
            kernel.close(fd).unwrap();
        }
        fd = kernel.socket(false, false).unwrap();
        kernel.descriptor_mut(fd).unwrap().flags = NONBLOCK;
        assert_eq!(kernel.connect(fd, database(), true), Err(Stop::Block));
        assert_eq!(kernel.resolve(b"api.example.com", true), Err(Stop::Block));
    });
    assert_eq!(calls(&end), []);
    assert_eq!(end.wants.map(|at| at.micros()), Some(rig.micros), "at once");
    let end = rig.turn(&[], |kernel| {
        assert_eq!(kernel.connect(fd, database(), false), Err(Errno::Inprogress.into()));
        assert_eq!(kernel.resolve(b"api.example.com", false), Err(Stop::Block));
    });
    let serial = FIRST + MAX_TURN_CALLS;
    assert_eq!(calls(&end), [(EffectKind::Connect, 1, serial), (EffectKind::Resolve, 1, serial + 1)]);
}

#[test]
fn when_the_owner_goes_a_connect_may_have_happened_and_a_connection_is_reset() {
    let mut rig = rig(allowed());
    rig.events(&[opened(4, 8)], &[], |_| ());
    let open = connection(&mut rig, FIRST);
    let mut waiting = 0;
    rig.turn(&[], |kernel| waiting = begin(kernel));
    rig.events(&[ShardEvent::EpochEnded(EPOCH)], &[], |kernel| {
        assert_eq!(kernel.connect(waiting, database(), false), Err(Errno::Connaborted.into()));
        assert_eq!(support::recv(kernel, open, 1), Err(Errno::Connreset.into()));
    });
    let end = rig.turn(&[], |kernel| assert!(begin(kernel) > 0));
    assert_eq!(calls(&end), [(EffectKind::Connect, 8, FIRST)], "the next owner is asked from now on");
}

#[test]
fn a_connection_that_breaks_is_reset_and_one_that_waits_fails() {
    let mut rig = rig(allowed());
    let open = connection(&mut rig, FIRST);
    let mut waiting = 0;
    rig.turn(&[], |kernel| waiting = begin(kernel));
    rig.turn(&[reset(FIRST), reset(FIRST + 1)], |kernel| {
        assert_eq!(kernel.connect(waiting, database(), false), Err(Errno::Connreset.into()));
        assert_eq!(support::recv(kernel, open, 1), Err(Errno::Connreset.into()));
    });
}

#[test]
fn a_look_up_pins_what_it_found_until_the_next() {
    let mut rig = rig(allowed());
    let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 443);
    let try_connect = |kernel: &mut Kernel, to| {
        let fd = kernel.socket(false, false).unwrap();
        kernel.connect(fd, to, true)
    };
    let end = rig.turn(&[], |kernel| {
        assert_eq!(try_connect(kernel, address("203.0.113.5")), Err(Errno::Acces.into()), "nobody looked it up");
        assert_eq!(kernel.resolve(b"API.example.com.", true), Err(Stop::Block));
    });
    assert_eq!(calls(&end), [(EffectKind::Resolve, 1, FIRST)]);
    assert_eq!(&end.effects[0].payload[..], b"api.example.com");
    rig.turn(&[resolved(FIRST, &["203.0.113.5", "2001:db8::5"])], |kernel| {
        let found = kernel.resolve(b"API.example.com.", false).unwrap();
        assert_eq!(found, ["203.0.113.5".parse::<IpAddr>().unwrap(), "2001:db8::5".parse().unwrap()]);
        assert_eq!(try_connect(kernel, address("203.0.113.5")), Err(Stop::Block));
        let other_port = SocketAddr::new("203.0.113.5".parse().unwrap(), 80);
        assert_eq!(try_connect(kernel, other_port), Err(Errno::Acces.into()));
        assert_eq!(kernel.resolve(b"api.example.com", true), Err(Stop::Block));
    });
    rig.turn(&[resolved(FIRST + 2, &["127.0.0.1", "203.0.113.6"])], |kernel| {
        assert!(kernel.resolve(b"api.example.com", false).is_ok());
        assert_eq!(try_connect(kernel, address("203.0.113.5")), Err(Errno::Acces.into()), "not any more");
        assert_eq!(try_connect(kernel, address("127.0.0.1")), Err(Errno::Acces.into()), "no name leads inside");
        assert_eq!(try_connect(kernel, address("203.0.113.6")), Err(Stop::Block));
    });
}

#[test]
fn a_look_up_goes_to_the_next_owner_and_the_first_answer_counts() {
    let mut rig = rig(allowed());
    rig.events(&[opened(4, 8)], &[], |_| ());
    let end = rig.turn(&[], |kernel| assert_eq!(kernel.resolve(b"api.example.com", true), Err(Stop::Block)));
    assert_eq!(calls(&end), [(EffectKind::Resolve, 1, FIRST)]);
    let end = rig.events(&[ShardEvent::EpochEnded(EPOCH)], &[], |_| ());
    assert_eq!(calls(&end), [(EffectKind::Resolve, 8, FIRST)]);
    let next = Record::Origin(Epoch(8));
    let records = [next, failed(FIRST, CallFailure::NotFound), resolved(FIRST, &["203.0.113.5"])];
    rig.turn(&records, |kernel| {
        assert_eq!(kernel.resolve(b"api.example.com", false), Err(Errno::Noent.into()));
    });
}

#[test]
fn numbers_and_localhost_ask_nobody_and_what_is_no_name_is_refused() {
    let mut rig = rig(allowed());
    let end = rig.turn(&[], |kernel| {
        assert_eq!(kernel.resolve(b"2001:db8::1", true), Ok(vec!["2001:db8::1".parse().unwrap()]));
        assert_eq!(kernel.resolve(b"localhost", true).unwrap()[0], IpAddr::from([127, 0, 0, 1]));
        assert_eq!(kernel.resolve(b"[2001:DB8::1]", true), Ok(vec!["2001:db8::1".parse().unwrap()]));
        for bad in [&b""[..], b"a b", b"a\0b", b"127.0.0.1:80", b"[::1]:80", b"[127.0.0.1]", b"a%b", &[b'a'; 254]] {
            assert_eq!(kernel.resolve(bad, true), Err(Errno::Inval.into()));
        }
        assert_eq!(kernel.resolve(b"\xff", true), Err(Errno::Ilseq.into()));
    });
    assert_eq!(calls(&end), []);
}

#[test]
fn a_guest_that_ends_leaves_no_call_behind() {
    let mut rig = rig(allowed());
    connection(&mut rig, FIRST);
    rig.turn(&[], |kernel| {
        begin(kernel);
        assert_eq!(kernel.resolve(b"api.example.com", true), Err(Stop::Block));
    });
    let end = rig.end_guest(refrain_kernel::process::GuestEnd::Exit(0));
    let resets: Vec<_> = (FIRST..FIRST + 3).map(|serial| (EffectKind::Reset, 1, serial)).collect();
    assert_eq!(calls(&end), resets);
}
