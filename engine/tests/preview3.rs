//! A command of WASI 0.3 as a guest, whose tasks wait beside each other: replicas of it agree.

mod support;

use std::sync::{Arc, Mutex};

use refrain_engine::replica::RunLimits;
use refrain_engine::trace::HostCall;
use refrain_inspect::asyncify::Reason;
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_kernel::fs::{Follow, OpenFlags, ROOT};
use refrain_kernel::solo::{Preopen, Solo};
use refrain_wire::{Control, EffectKind, Record, ResetReason, Serial};
use support::{LIMITS, Pair, Rig, blueprint, config, credit, data, exit_reason, lines, open, platform, sent};

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

fn session() -> Vec<Vec<Record>> {
    let large = vec![7; 200_000];
    vec![
        vec![],
        vec![open(1, 7)],
        vec![data(1, b"hello")],
        vec![open(2, 7), data(2, b"both"), data(1, b"again")],
        vec![credit(1, 10), Record::Shutdown(Serial(1))],
        vec![Record::Control(Control::Audit)],
        vec![data(2, &large)],
        vec![credit(2, 100_000)],
        vec![Record::Reset { serial: Serial(2), reason: ResetReason::Client }, open(3, 7)],
        vec![data(3, b"after")],
        vec![Record::Control(Control::Audit)],
    ]
}

#[test]
fn tasks_of_several_clients_answer_and_replicas_agree() {
    let mut pair = Pair::new(blueprint(&platform(), PROGRAM, served(), LIMITS));
    let outcomes: Vec<_> = session().iter().map(|records| pair.turn(records)).collect();
    for outcome in &outcomes {
        assert_eq!(exit_reason(outcome), None, "{:?}", lines(outcome));
    }
    assert_eq!(lines(&outcomes[0]), ["listening"]);
    let listens = outcomes[0].effects.effects.iter().find(|effect| effect.entry.kind == EffectKind::Listen);
    assert_eq!(listens.map(|effect| effect.entry.offset), Some(7));
    let answers: Vec<Vec<u8>> = outcomes.iter().map(sent).collect();
    assert_eq!(answers[2], b"hello");
    assert_eq!(answers[3], b"againboth", "in the order of flows, not of records");
    assert_eq!(answers[6], vec![7; 200_000]);
    assert_eq!(answers[9], b"after");
    assert!(outcomes[4].effects.effects.iter().any(|effect| effect.entry.kind == EffectKind::Finish));
    assert_eq!(lines(&outcomes[4]), ["ok ok"]);
    assert_eq!(outcomes.last().unwrap().flows, 1);
}

#[test]
fn a_replay_of_the_same_batches_gives_the_same_digests() {
    let run = || {
        let mut rig = Rig::new(blueprint(&platform(), PROGRAM, served(), LIMITS), 0);
        let turns = session();
        turns.iter().map(|records| (rig.turn(records).fuel, rig.replica.running_digest())).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
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
    let blueprint = blueprint(&platform(), PROGRAM, served(), LIMITS);
    assert_eq!(blueprint.compiled.checkpointable, Err(vec![Reason::Component]));
    let (mut one, mut two) = (Rig::new(blueprint.clone(), 0), Rig::new(blueprint, 1));
    let turns = session();
    for records in &turns[..4] {
        one.turn(records);
        two.turn(records);
        drop(two.replica.look());
        assert!(two.replica.capture().is_none());
    }
    for records in &turns[4..] {
        assert_eq!(one.turn(records).votes, two.turn(records).votes, "nobody notices that it was looked at");
    }
}

#[test]
fn its_calls_are_told_in_words_and_change_nothing() {
    let mut plain = Rig::new(blueprint(&platform(), PROGRAM, served(), LIMITS), 0);
    let traced = platform().traced().unwrap();
    let mut rig = Rig::new(blueprint(&traced, PROGRAM, served(), LIMITS), 0);
    let calls: Arc<Mutex<Vec<HostCall>>> = Arc::default();
    let sink = Arc::clone(&calls);
    rig.replica.tell_calls(Some(Box::new(move |call| sink.lock().unwrap().push(call))));
    for records in session() {
        let (a, b) = (plain.turn(&records), rig.turn(&records));
        assert_eq!((a.votes, a.fuel), (b.votes, b.fuel));
    }
    let told: Vec<String> = calls.lock().unwrap().iter().map(ToString::to_string).collect();
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
