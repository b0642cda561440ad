//! The life of a guest and of its group: start, end, restart, timers, halt, epochs, audits, log lines.

mod support;

use std::time::Duration;

use refrain_kernel::config::RestartPolicy;
use refrain_kernel::descriptor::Object;
use refrain_kernel::process::{GuestEnd, Phase};
use refrain_kernel::{Errno, Kernel, ShardEvent, Stop};
use refrain_wire::EffectKind::{Audit, Bytes, Exit, Listen, Log, Reset, Start, Timer, Unlisten};
use refrain_wire::{Control, Epoch, Position, Record, Time};
use support::{LISTENER, PORT, ROOT_DIR, Rig, config, data, effects, open, recv};

const HALT: Record = Record::Control(Control::Halt { position: Position(1) });
const RESUME: Record = Record::Control(Control::Resume);
const AUDIT: Record = Record::Control(Control::Audit);
const TRAP: fn() -> GuestEnd = || GuestEnd::Trap("trapped: test".into());

#[test]
fn the_first_turn_starts_the_guest_with_what_it_is_given() {
    let mut rig = Rig::unstarted(config());
    let end = rig.turn(&[], |kernel| {
        assert!(matches!(kernel.descriptor(0).unwrap().object, Object::Input));
        assert!(matches!(kernel.descriptor(LISTENER).unwrap().object, Object::Socket { bound: Some(PORT), .. }));
        assert!(matches!(kernel.descriptor(ROOT_DIR).unwrap().object, Object::Directory { preopen: Some(_), .. }));
        assert_eq!(kernel.config().environment(), [b"A=1".to_vec(), b"LISTEN_FDS=1".to_vec()]);
    });
    assert_eq!(effects(&end), [(Start, 0, 1, 0), (Listen, 0, u64::from(PORT), 0)]);
    assert!(rig.started);
    assert_eq!(effects(&rig.turn(&[], |_| ())), []);
    assert!(!rig.started);
}

#[test]
fn an_end_resets_flows_tells_why_and_leaves_files() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[open(2)], |_| ());
    let end = rig.turn(&[], |kernel| {
        kernel.send(fd, b"lost").unwrap();
        kernel.change_names(ROOT_DIR, 0, |fs, dir, now| fs.mkdir(dir, b"stays", now).map(drop)).unwrap();
        kernel.write(1, b"unfinished line").unwrap();
        kernel.guest_ended(GuestEnd::Exit(3));
    });
    let want =
        [(Reset, 1, 0, 0), (Reset, 2, 0, 0), (Log, 0, 1, 15), (Exit, 0, 3, 18), (Unlisten, 0, u64::from(PORT), 0)];
    assert_eq!(effects(&end), want);
    assert_eq!(&end.effects[3].payload[..], b"exited with code 3");
    assert_eq!(rig.kernel.process().phase, Phase::Ended);
    assert!(rig.kernel.fs().lookup_at(refrain_kernel::fs::ROOT, b"stays", refrain_kernel::fs::Follow::No).is_ok());
    assert_eq!(effects(&rig.turn(&[open(3)], |_| panic!("it does not run"))), [(Reset, 3, 0, 0)]);
}

#[test]
fn restart_policies_look_at_how_the_guest_ended() {
    use RestartPolicy::{Always, Never, OnFailure};
    let cases = [
        (Always, GuestEnd::Exit(0), true),
        (Always, TRAP(), true),
        (OnFailure, GuestEnd::Exit(0), false),
        (OnFailure, GuestEnd::Exit(1), true),
        (OnFailure, TRAP(), true),
        (Never, TRAP(), false),
    ];
    for (restart, end, again) in cases {
        let mut config = config();
        config.restart = restart;
        let mut rig = Rig::new(config);
        let wants = rig.end_guest(end.clone()).wants;
        assert_eq!(wants.is_some(), again, "{restart:?} {end:?}");
    }
}

#[test]
fn the_backoff_doubles_to_its_maximum_and_begins_anew_after_a_long_run() {
    let mut config = config();
    config.restart = RestartPolicy::Always;
    let mut rig = Rig::new(config);
    for backoff_ms in [100, 200, 400, 800, 1000, 1000] {
        let wants = rig.end_guest(TRAP()).wants.expect("it is started again");
        assert_eq!(wants, Time::from_micros(rig.micros + backoff_ms * 1000));
        rig.at(wants.micros() - 1, |_| panic!("too early"));
        assert!(!rig.started);
        rig.at(wants.micros(), |_| ());
        assert!(rig.started, "exactly when it is due");
    }
    let (a_second, started) = (1_000_000, rig.micros);
    rig.micros = started + a_second - 1000;
    let wants = rig.end_guest(TRAP()).wants.unwrap();
    assert_eq!(wants.micros() - rig.micros, 1_000_000, "a run of just the maximum is not long");
    rig.at(wants.micros(), |_| ());
    rig.micros = rig.micros + a_second - 999;
    let wants = rig.end_guest(TRAP()).wants.unwrap();
    assert_eq!(wants.micros() - rig.micros, 100_000);
}

#[test]
fn a_restarted_guest_has_fresh_descriptors_and_other_random_numbers() {
    let mut config = config();
    (config.restart, config.backoff) = (RestartPolicy::Always, Duration::ZERO);
    let mut rig = Rig::new(config);
    let fd = rig.flow(1);
    rig.end_guest(TRAP());
    let end = rig.turn(&[], |kernel| {
        assert_eq!(kernel.descriptor(fd), Err(Errno::Badf));
        assert_eq!(kernel.since_start_ns(), 0);
        assert_eq!(kernel.accept(LISTENER, 0), Err(Stop::Block));
    });
    assert_eq!(effects(&end), [(Start, 0, 2, 0), (Listen, 0, u64::from(PORT), 0), (Timer, 0, 0, 0)]);
}

#[test]
fn a_timer_is_told_only_when_the_wish_changes() {
    let mut rig = Rig::new(config());
    let wish = |at_ns| move |kernel: &mut Kernel| kernel.wait_until(at_ns);
    assert_eq!(effects(&rig.turn(&[], wish(5_000_000_001))), [(Timer, 0, 5_000_001, 0)], "rounded up");
    let same = rig.turn(&[], wish(5_000_000_001));
    assert_eq!(effects(&same), []);
    assert_eq!(same.wants, Some(Time::from_micros(5_000_001)), "it is repeated with every turn all the same");
    let earliest = rig.turn(&[], |kernel| {
        kernel.wait_until(9_000_000_000);
        kernel.wait_until(4_000_000_000);
        kernel.wait_until(6_000_000_000);
    });
    assert_eq!(effects(&earliest), [(Timer, 0, 4_000_000, 0)]);
    assert_eq!(effects(&rig.turn(&[], |_| ())), [(Timer, 0, 0, 0)], "taken back");
    assert_eq!(effects(&rig.turn(&[], |_| ())), []);
}

#[test]
fn a_halt_resets_all_flows_and_nothing_runs_until_resume() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[open(2)], |kernel| kernel.wait_until(9_000_000_000));
    let end = rig.turn(&[HALT, data(1, b"void"), open(3)], |_| panic!("halted"));
    assert_eq!(effects(&end), [(Reset, 1, 0, 0), (Reset, 2, 0, 0), (Reset, 3, 0, 0), (Timer, 0, 0, 0)]);
    assert_eq!((end.wants, rig.kernel.halted()), (None, true));
    assert_eq!(
        effects(&rig.turn(&[open(4)], |_| panic!("halted"))),
        [(Reset, 4, 0, 0)],
        "clients are not left waiting"
    );
    rig.turn(&[RESUME, open(5), data(5, b"on")], |kernel| {
        assert_eq!(recv(kernel, fd, 1), Err(Stop::Errno(Errno::Connreset)));
        let fd = kernel.accept(LISTENER, 0).unwrap();
        assert_eq!(recv(kernel, fd, 9), Ok(b"on".to_vec()));
    });
}

#[test]
fn the_end_of_an_epoch_drops_its_flows_and_their_effects_silently() {
    let mut rig = Rig::new(config());
    let (fd, other) = (rig.flow(1), Epoch(2));
    rig.turn(&[Record::Origin(other), open(1)], |kernel| assert!(kernel.accept(LISTENER, 0).is_ok()));
    let end = rig.events(&[ShardEvent::EpochEnded(support::EPOCH)], &[data(1, b"late")], |kernel| {
        assert_eq!(kernel.send(fd, b"x"), Err(Stop::Errno(Errno::Pipe)));
        assert_eq!(kernel.send(6, b"alive"), Ok(5));
    });
    assert_eq!(effects(&end), [(Bytes, 1, 0, 5)]);
    assert_eq!(end.effects[0].entry.flow.unwrap().epoch, other);
    assert_eq!(rig.kernel.flow_count(), 1);
}

#[test]
fn an_epoch_ends_for_a_halted_group_too() {
    let mut rig = Rig::new(config());
    rig.flow(1);
    rig.turn(&[HALT], |_| ());
    assert_eq!(effects(&rig.events(&[ShardEvent::EpochEnded(support::EPOCH)], &[], |_| ())), []);
}

#[test]
fn an_audit_adds_one_digest_of_everything() {
    let audit = |records: &[Record], guest: fn(&mut Kernel)| {
        let mut rig = Rig::new(config());
        let records = [&[AUDIT], records].concat();
        let end = rig.turn(&records, guest);
        let audits: Vec<_> = end.effects.iter().filter(|effect| effect.entry.kind == Audit).collect();
        assert_eq!(audits.len(), 1);
        assert_eq!(effects(&rig.turn(&[], |_| ())), [], "it is told once");
        audits[0].entry.digest
    };
    let base = audit(&[], |_| ());
    assert_eq!(base, audit(&[], |_| ()));
    assert_ne!(base, audit(&[open(1)], |_| ()));
    let changes: [fn(&mut Kernel); 5] = [
        |kernel| kernel.fill_random(&mut [0; 5]),
        |kernel| assert!(kernel.read_clock().is_ok()),
        |kernel| assert!(kernel.write(1, b"half a line").is_ok()),
        |kernel| assert!(kernel.socket(false, false).is_ok()),
        |kernel| {
            kernel.change_names(ROOT_DIR, 0, |fs, dir, now| fs.mkdir(dir, b"d", now).map(drop)).unwrap();
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_ne!(base, audit(&[], change), "change {index}");
    }
}

#[test]
fn log_lines_over_the_rate_are_dropped_and_told_in_the_next_second() {
    let mut config = config();
    config.log_lines_per_second = 2;
    let mut rig = Rig::new(config);
    rig.micros = 2_000_000;
    let end = rig.turn(&[], |kernel| assert_eq!(kernel.write(1, b"a\nb\nc\n"), Ok(6)));
    assert_eq!(effects(&end), [(Log, 0, 1, 1), (Log, 0, 1, 1)]);
    let end = rig.at(3_000_000, |kernel| assert_eq!(kernel.write(2, b"d\n"), Ok(2)));
    assert_eq!(&end.effects[0].payload[..], b"1 lines dropped: over 2 a second");
    assert_eq!(effects(&end)[1], (Log, 0, 2, 1));
}

#[test]
fn the_clock_follows_the_log_and_moves_with_each_reading() {
    let mut rig = Rig::new(config());
    rig.at(5_000_000, |kernel| {
        assert_eq!(kernel.read_clock(), Ok(5_000_001_000));
        assert_eq!(kernel.read_clock(), Ok(5_000_002_000));
        assert_eq!(kernel.now_ns(), 5_000_002_000);
    });
    rig.at(5_000_001, |kernel| assert_eq!(kernel.now_ns(), 5_000_002_000, "never back"));
}
