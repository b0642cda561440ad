//! A command of WASI 0.3 as a guest, whose tasks wait beside each other: replicas of it agree.

mod support;

use std::sync::Arc;

use refrain_engine::replica::RunLimits;
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_kernel::fs::{Follow, OpenFlags, ROOT};
use refrain_kernel::solo::{Preopen, Solo};
use refrain_wire::{Control, Record, Serial};
use support::components::{is_not_saved_and_can_be_looked_at, replayed, serves_and_agrees, told_calls};
use support::numbers::Numbers;
use support::seeds::seeds;
use support::{LIMITS, Pair, Rig, blueprint, config, data, exit_reason, lines, open, platform, sent};

const PROGRAM: &[u8] = include_bytes!("../../tests/guests/preview3/preview3.wasm");

fn config_of(arguments: &[&str]) -> GuestConfig {
    let arguments = ["preview3"].iter().chain(arguments);
    GuestConfig {
        args: arguments.map(|argument| argument.as_bytes().to_vec()).collect(),
        ports: vec![GuestPort { port: 7, datagram: false, pass: false }],
        ..config()
    }
}

fn served() -> GuestConfig {
    config_of(&["serve", "7"])
}

#[test]
fn tasks_of_several_clients_answer_and_replicas_agree() {
    let outcomes = serves_and_agrees(PROGRAM, served(), "listening");
    assert_eq!(lines(&outcomes[4]), ["ok ok"]);
}

#[test]
fn a_replay_of_the_same_batches_gives_the_same_digests() {
    assert_eq!(replayed(PROGRAM, served()), replayed(PROGRAM, served()));
}

/// Many clients whose bytes come in an order that changes from turn to turn.
#[test]
fn a_crowd_of_clients_is_answered_alike_by_replicas_and_by_a_replay() {
    let clients = 1..=60u32;
    let mut turns = vec![vec![], clients.clone().map(|serial| open(serial, 7)).collect::<Vec<_>>()];
    for turn in 0..20u32 {
        let some = clients.clone().map(|serial| serial * 17 % 61).filter(|serial| (serial * 7 + turn) % 3 == 0);
        let mut records: Vec<_> = some.map(|serial| data(serial, &serial.to_le_bytes())).collect();
        if turn % 4 == 3 {
            records.push(Record::Shutdown(Serial(turn)));
        }
        if turn % 5 == 4 {
            records.push(Record::Control(Control::Audit));
        }
        turns.push(records);
    }
    let mut pair = Pair::new(blueprint(&platform(), PROGRAM, served(), LIMITS));
    let outcomes: Vec<_> = turns.iter().map(|records| pair.turn(records)).collect();
    let answered: usize = outcomes.iter().map(|outcome| sent(outcome).len()).sum();
    assert!(answered > 4 * 60, "{answered} bytes");
    let mut again = Rig::new(blueprint(&platform(), PROGRAM, served(), LIMITS), 0);
    for (records, before) in turns.iter().zip(&outcomes) {
        let outcome = again.turn(records);
        assert_eq!((outcome.fuel, outcome.after), (before.fuel, before.after));
    }
}

/// Clients come, send and leave in turns that are cut at random: each byte is answered in the turn that brings it.
#[test]
fn clients_are_answered_however_their_records_are_cut_into_turns() {
    let program = blueprint(&platform(), PROGRAM, served(), LIMITS);
    for seed in seeds(20) {
        let mut numbers = Numbers(seed);
        let mut rig = Rig::new(Arc::clone(&program), 0);
        rig.turn(&[]);
        let (mut connected, mut next) = (Vec::new(), 1);
        for turn in 0..60 {
            let (mut records, mut expected) = (Vec::new(), 0);
            for _ in 0..numbers.below(40) {
                match numbers.below(8) {
                    0 | 1 if connected.len() < 30 => {
                        records.push(open(next, 7));
                        connected.push(next);
                        next += 1;
                    }
                    2 if !connected.is_empty() => {
                        let client = connected.swap_remove(numbers.below(connected.len() as u64) as usize);
                        records.push(Record::Shutdown(Serial(client)));
                    }
                    3 if numbers.below(4) == 0 => records.push(Record::Control(Control::Audit)),
                    _ if !connected.is_empty() => {
                        let client = connected[numbers.below(connected.len() as u64) as usize];
                        let bytes = vec![b'x'; 1 + numbers.below(20) as usize];
                        expected += bytes.len();
                        records.push(data(client, &bytes));
                    }
                    _ => {}
                }
            }
            let outcome = rig.turn(&records);
            assert_eq!(sent(&outcome).len(), expected, "seed {seed}, turn {turn}: {records:?}");
        }
    }
}

#[test]
fn what_checks_the_interfaces_is_content_on_two_replicas() {
    for check in ["random", "chatter"] {
        let mut pair = Pair::new(blueprint(&platform(), PROGRAM, config_of(&[check]), LIMITS));
        let outcome = pair.turn(&[]);
        assert_eq!(exit_reason(&outcome).as_deref(), Some("exited with code 0"), "{check}: {:?}", lines(&outcome));
    }
    // Timers end in turns, as the log brings them.
    let mut pair = Pair::new(blueprint(&platform(), PROGRAM, config_of(&["clocks"]), LIMITS));
    let mut turns = 0;
    let outcome = loop {
        let outcome = pair.turn(&[]);
        turns += 1;
        if exit_reason(&outcome).is_some() {
            break outcome;
        }
        assert!(outcome.wants.is_some(), "it waits for a time");
        assert!(turns < 100, "turns are a millisecond apart");
    };
    assert_eq!(exit_reason(&outcome).as_deref(), Some("exited with code 0"), "{:?}", lines(&outcome));
    assert!(turns > 10, "{turns}");
}

#[test]
fn how_it_ends_is_told_alike_by_all_replicas() {
    let ended = |arguments: &[&str], limits| {
        let mut pair = Pair::new(blueprint(&platform(), PROGRAM, config_of(arguments), limits));
        exit_reason(&pair.turn(&[])).expect("it ends in its first turn")
    };
    assert_eq!(ended(&["exit", "7"], LIMITS), "exited with code 7");
    assert_eq!(ended(&["fail"], LIMITS), "exited with code 1");
    assert_eq!(ended(&["no such"], LIMITS), "trapped: wasm trap: wasm `unreachable` instruction executed");
    let told = "trapped: wasm trap: deadlock detected: event loop cannot make further progress";
    assert_eq!(ended(&["deadlock"], LIMITS), told);
    let fuel = RunLimits { fuel_per_turn: Some(20_000_000), ..LIMITS };
    assert_eq!(ended(&["spin"], fuel), "trapped: used up its fuel of 20000000 in one turn without waiting");
    let memory = RunLimits { memory_bytes: 65_536, ..LIMITS };
    assert_eq!(ended(&["fail"], memory), "could not be started (its memory limit of 65536 bytes was reached)");
}

#[test]
fn it_is_not_saved_and_can_be_looked_at() {
    is_not_saved_and_can_be_looked_at(PROGRAM, served());
}

#[test]
fn its_calls_are_told_in_words_and_change_nothing() {
    let told = told_calls(PROGRAM, served());
    for part in ["tcp-socket.create(Ipv4)", "tcp-socket.bind(", "tcp-socket.listen(", "[resource-drop](tcp-socket"] {
        assert!(told.iter().any(|call| call.contains(part)), "{part}: {told:#?}");
    }
}

/// A program that runs by itself, with a directory `given` that has `a.txt`, until it has ended: how, and what it wrote.
fn by_itself(arguments: &[&str], input: &[u8]) -> (String, String) {
    let mut rig = Rig::new(blueprint(&platform(), PROGRAM, config_of(arguments), LIMITS), 0);
    rig.replica.with_kernel(|kernel| {
        let fs = kernel.fs_mut();
        let work = fs.mkdir(ROOT, b"given", 0).expect("there is room");
        let create = OpenFlags { create: true, ..OpenFlags::default() };
        let file = fs.open_at(work, b"a.txt", Follow::No, create, 0).expect("there is room");
        fs.write_at(file.inode, 0, b"test-a\n", 0).expect("there is room");
        let preopens = vec![Preopen { name: b"given".to_vec(), inode: work, read_only: false }];
        kernel.run_solo(Solo::new(preopens, [false; 3]));
    });
    let (mut written, mut input, mut turns) = (String::new(), input.chunks(5), 0);
    loop {
        let outcome = rig.turn(&[]);
        turns += 1;
        rig.replica.with_kernel(|kernel| {
            let solo = kernel.solo().expect("it runs by itself");
            for (_, bytes) in solo.take_output() {
                written += &String::from_utf8_lossy(&bytes);
            }
            match solo.wants_input().then(|| input.next()) {
                Some(Some(bytes)) => solo.give_input(bytes),
                Some(None) => solo.end_input(),
                None => {}
            }
        });
        if let Some(reason) = exit_reason(&outcome) {
            return (reason, written);
        }
        assert!(turns < 1000, "{written}");
    }
}

#[test]
fn files_sockets_and_streams_of_a_program_by_itself_hold_what_the_interfaces_promise() {
    for check in ["files", "tcp", "udp"] {
        assert_eq!(by_itself(&[check], b""), ("exited with code 0".into(), "ok\n".into()), "{check}");
    }
    let upper = ("exited with code 0".into(), "MANY PIECES OF INPUTok\n".into());
    assert_eq!(by_itself(&["upper"], b"many pieces of input"), upper);
    let copied = ("exited with code 0".into(), "many pieces of inputok\n".into());
    assert_eq!(by_itself(&["copy"], b"many pieces of input"), copied);
    assert_eq!(by_itself(&["flush"], b"x"), ("exited with code 0".into(), "READY\nok\n".into()));
}
