//! What every component that echoes what its clients send is held to, whatever version of WASI it is written for.

use std::sync::{Arc, Mutex};

use refrain_engine::TurnOutcome;
use refrain_engine::trace::HostCall;
use refrain_inspect::asyncify::Reason;
use refrain_kernel::config::GuestConfig;
use refrain_wire::{Control, EffectKind, Record, ResetReason, RunningDigest, Serial};

use super::{LIMITS, Pair, Rig, blueprint, credit, data, exit_reason, lines, open, platform, sent};

/// The turns of three clients on port 7.
pub fn session() -> Vec<Vec<Record>> {
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

/// Two replicas agree on the session, and its clients are answered.
pub fn serves_and_agrees(component: &[u8], config: GuestConfig, first_line: &str) -> Vec<TurnOutcome> {
    let mut pair = Pair::new(blueprint(&platform(), component, config, LIMITS));
    let outcomes: Vec<_> = session().iter().map(|records| pair.turn(records)).collect();
    for outcome in &outcomes {
        assert_eq!(exit_reason(outcome), None, "{:?}", lines(outcome));
    }
    assert_eq!(lines(&outcomes[0]), [first_line]);
    let listens = outcomes[0].effects.effects.iter().find(|effect| effect.entry.kind == EffectKind::Listen);
    assert_eq!(listens.map(|effect| effect.entry.offset), Some(7));
    let answers: Vec<Vec<u8>> = outcomes.iter().map(sent).collect();
    assert_eq!(answers[2], b"hello");
    assert_eq!(answers[3], b"againboth", "{first_line}: in the order of flows, not of records");
    assert_eq!(answers[6], vec![7; 200_000]);
    assert_eq!(answers[9], b"after");
    assert!(outcomes[4].effects.effects.iter().any(|effect| effect.entry.kind == EffectKind::Finish));
    assert_eq!(outcomes.last().unwrap().usage.flows, 1);
    outcomes
}

/// Fuel and digest of every turn of the session, by one replica.
pub fn replayed(component: &[u8], config: GuestConfig) -> Vec<(u64, RunningDigest)> {
    let mut rig = Rig::new(blueprint(&platform(), component, config, LIMITS), 0);
    session().iter().map(|records| (rig.turn(records).fuel, rig.replica.running_digest())).collect()
}

/// The calls of the session in words, which change neither votes nor fuel.
pub fn told_calls(component: &[u8], config: GuestConfig) -> Vec<String> {
    let mut plain = Rig::new(blueprint(&platform(), component, config.clone(), LIMITS), 0);
    let traced = platform().traced().unwrap();
    let mut rig = Rig::new(blueprint(&traced, component, config, LIMITS), 0);
    let calls: Arc<Mutex<Vec<HostCall>>> = Arc::default();
    let sink = Arc::clone(&calls);
    rig.replica.tell_calls(Some(Box::new(move |call| sink.lock().unwrap().push(call))));
    for records in session() {
        let (a, b) = (plain.turn(&records), rig.turn(&records));
        assert_eq!((a.votes, a.fuel), (b.votes, b.fuel));
    }
    calls.lock().unwrap().iter().map(ToString::to_string).collect()
}

/// No checkpoint is taken of it, and who looks at it is not noticed.
pub fn is_not_saved_and_can_be_looked_at(component: &[u8], config: GuestConfig) {
    let blueprint = blueprint(&platform(), component, config, LIMITS);
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
