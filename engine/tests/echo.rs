//! The echo guest under the kernel: the thinnest thread through the engine.

mod support;

use refrain_wire::Record;
use refrain_wire::{EffectKind, Serial};
use support::{LIMITS, Rig, blueprint, config, data, exit_reason, open, platform, sent};

const ECHO: &[u8] = include_bytes!("../../examples/echo/echo.wasm");

fn session(rig: &mut Rig) -> Vec<(Vec<u8>, String)> {
    let turns: Vec<Vec<Record>> = vec![
        vec![],
        vec![open(1, 7)],
        vec![data(1, b"hello")],
        vec![open(2, 7), data(2, b"both"), data(1, b"again")],
        vec![Record::Shutdown(Serial(1))],
        vec![Record::Control(refrain_wire::Control::Audit)],
        vec![data(2, &[7; 100_000])],
    ];
    turns
        .iter()
        .map(|records| {
            let outcome = rig.turn(records);
            assert_eq!(exit_reason(&outcome), None, "{:?}", support::lines(&outcome));
            (sent(&outcome), rig.replica.running_digest().short().to_string())
        })
        .collect()
}

#[test]
fn what_clients_send_comes_back_to_them() {
    let platform = platform();
    let mut rig = Rig::new(blueprint(&platform, ECHO, config(), LIMITS), 0);
    let turns = session(&mut rig);
    let bytes: Vec<_> = turns.iter().map(|(bytes, _)| bytes.clone()).collect();
    assert_eq!(bytes[2], b"hello");
    assert_eq!(bytes[3], b"againboth", "in the order of flows, not of records");
    assert_eq!(bytes[6], vec![7; 100_000]);
}

#[test]
fn the_same_batches_twice_give_the_same_digest_at_every_position() {
    let platform = platform();
    let blueprint = blueprint(&platform, ECHO, config(), LIMITS);
    let (mut one, mut two) = (Rig::new(blueprint.clone(), 0), Rig::new(blueprint, 1));
    assert_eq!(session(&mut one), session(&mut two));
}

#[test]
fn a_flipped_bit_shows_at_the_next_audit_and_only_then() {
    let platform = platform();
    let blueprint = blueprint(&platform, ECHO, config(), LIMITS);
    let (mut good, mut bad) = (Rig::new(blueprint.clone(), 0), Rig::new(blueprint, 1));
    let audit = [Record::Control(refrain_wire::Control::Audit)];
    for rig in [&mut good, &mut bad] {
        rig.turn(&[open(1, 7)]);
    }
    bad.replica.inject(refrain_engine::replica::Flip { address: 100, bit: 3 });
    let (a, b) = (good.turn(&[data(1, b"x")]), bad.turn(&[data(1, b"x")]));
    assert_eq!(a.votes, b.votes, "the flipped bit is not in what was sent");
    let (a, b) = (good.turn(&audit), bad.turn(&audit));
    assert_ne!(a.votes, b.votes);
    assert!(a.effects.effects.iter().any(|effect| effect.entry.kind == EffectKind::Audit));
}
