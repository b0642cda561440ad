//! Upgrades: all replicas switch at one position or none does, files stay, and what follows does not tell a replica
//! that was there from one that replayed or was restored.

mod support;

use std::sync::Arc;

use refrain_engine::replica::{Blueprint, Blueprints, RunLimits};
use refrain_engine::{Platform, Replica, ReplicaId, TurnBatch, TurnOutcome};
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_wire::effect::{UPGRADE_DONE, UPGRADE_ROLLED_BACK};
use refrain_wire::{Control, Digest, EffectKind, GroupId, Incarnation, Record, Seat};
use support::chunks::Chunks;
use support::{LIMITS, Rig, blueprint, command, config, data, exit_reason, instrumented, lines, open, platform, sent};

const IMPORTS: &str = "path_open fd_write fd_pread fd_close sock_accept sock_recv sock_send poll_oneoff proc_exit";

/// Appends `letter` to the file `log` and leaves its descriptor at 16.
fn sign(letter: char) -> String {
    format!(
        "(i32.store (i32.const 200) (i32.const 0x676f6c))
         (i32.store8 (i32.const 100) (i32.const {}))
         (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 1))
         (drop (call $path_open (i32.const 4) (i32.const 0) (i32.const 200) (i32.const 3) (i32.const 1)
           (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 1) (i32.const 16)))
         (drop (call $fd_write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))",
        u32::from(letter)
    )
}

/// Serves one connection: whatever comes, it sends the file.
const SERVE: &str = "
  (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 20)))
  (loop $again
    (i32.store (i32.const 32) (i32.const 1024)) (i32.store (i32.const 36) (i32.const 64))
    (drop (call $sock_recv (i32.load (i32.const 20)) (i32.const 32) (i32.const 1) (i32.const 0) (i32.const 40) (i32.const 44)))
    (i32.store (i32.const 48) (i32.const 2048)) (i32.store (i32.const 52) (i32.const 64))
    (drop (call $fd_pread (i32.load (i32.const 16)) (i32.const 48) (i32.const 1) (i64.const 0) (i32.const 56)))
    (i32.store (i32.const 52) (i32.load (i32.const 56)))
    (drop (call $sock_send (i32.load (i32.const 20)) (i32.const 48) (i32.const 1) (i32.const 0) (i32.const 60)))
    (br $again))";

fn server(letter: char) -> Vec<u8> {
    command(IMPORTS, &format!("{} {SERVE}", sign(letter)))
}

/// Signs and then does something else than serve.
fn other(letter: char, body: &str) -> Vec<u8> {
    command(IMPORTS, &format!("{} {body}", sign(letter)))
}

fn upgrade(to: &Blueprint) -> Control {
    Control::Upgrade { bundle: to.digest, engine: Digest::of(b"engine") }
}

/// Two replicas that know the same programs and must agree on everything.
struct Pair {
    rigs: [Rig; 2],
    known: Arc<Blueprints>,
    batches: Vec<TurnBatch>,
    outcomes: Vec<TurnOutcome>,
}

impl Pair {
    fn new(first: &Arc<Blueprint>, others: &[&Arc<Blueprint>]) -> Self {
        let known = Arc::new(Blueprints::default());
        others.iter().chain([&first]).for_each(|blueprint| known.put(Arc::clone(blueprint)));
        let rig = |seat| {
            let mut rig = Rig::new(Arc::clone(first), seat);
            rig.replica = replica(first, seat).with_blueprints(Arc::clone(&known));
            rig
        };
        Self { rigs: [rig(0), rig(1)], known, batches: Vec::new(), outcomes: Vec::new() }
    }

    fn turn(&mut self, control: Option<&Control>, records: &[Record]) -> TurnOutcome {
        let [one, two] = &mut self.rigs;
        let batch = one.batch_of(control, records);
        let other = two.batch_of(control, records);
        assert_eq!(batch.records, other.records);
        let (a, b) = (one.replica.turn(&batch).unwrap(), two.replica.turn(&other).unwrap());
        same(&a, &b);
        self.batches.push(batch);
        self.outcomes.push(a.clone());
        a
    }

    fn bundle(&self) -> [u8; 32] {
        let bundles = self.rigs.each_ref().map(|rig| rig.replica.bundle());
        assert_eq!(bundles[0], bundles[1]);
        bundles[0]
    }
}

fn replica(blueprint: &Arc<Blueprint>, seat: u8) -> Replica {
    let id = ReplicaId { group: GroupId(1), seat: Seat(seat), incarnation: Incarnation(1) };
    Replica::new(id, Arc::clone(blueprint))
}

fn same(one: &TurnOutcome, other: &TurnOutcome) {
    assert_eq!(one.effects, other.effects);
    assert_eq!((&one.votes, one.after, one.wants, one.fuel), (&other.votes, other.after, other.wants, other.fuel));
}

/// What came of an upgrade, as the turn's effects tell.
fn told(outcome: &TurnOutcome) -> Option<(u64, Vec<u8>)> {
    let mut upgrades = outcome.effects.effects.iter().filter(|effect| effect.entry.kind == EffectKind::Upgrade);
    let told = upgrades.next().map(|effect| (effect.entry.offset, effect.payload.to_vec()));
    assert!(upgrades.next().is_none(), "one effect tells");
    told
}

fn why_not(outcome: &TurnOutcome) -> String {
    let (result, reason) = told(outcome).expect("the turn was that of an upgrade");
    assert_eq!(result, UPGRADE_ROLLED_BACK);
    String::from_utf8(reason).unwrap()
}

fn kinds(outcome: &TurnOutcome) -> Vec<EffectKind> {
    outcome.effects.effects.iter().map(|effect| effect.entry.kind).collect()
}

fn made(platform: &Platform, module: &[u8]) -> Arc<Blueprint> {
    blueprint(platform, module, config(), LIMITS)
}

#[test]
fn both_replicas_switch_at_the_position_and_the_files_stay() {
    let platform = platform();
    let (a, b) = (made(&platform, &server('a')), made(&platform, &server('b')));
    let mut pair = Pair::new(&a, &[&b]);
    pair.turn(None, &[]);
    assert_eq!(sent(&pair.turn(None, &[open(1, 7), data(1, b"?")])), b"a");
    let outcome = pair.turn(Some(&upgrade(&b)), &[data(1, b"?"), Record::Control(Control::Audit)]);
    assert_eq!(told(&outcome), Some((UPGRADE_DONE, b.digest.to_vec())));
    use EffectKind as K;
    assert_eq!(kinds(&outcome), [K::Reset, K::Upgrade, K::Start, K::Audit], "it is no exit of the guest");
    assert_eq!(pair.bundle(), b.digest);
    assert_eq!(sent(&pair.turn(None, &[open(2, 7), data(2, b"?")])), b"ab");
}

#[test]
fn a_connection_in_the_batch_of_the_upgrade_reaches_the_new_program() {
    let platform = platform();
    let (a, b) = (made(&platform, &server('a')), made(&platform, &server('b')));
    let mut pair = Pair::new(&a, &[&b]);
    pair.turn(None, &[]);
    assert_eq!(sent(&pair.turn(Some(&upgrade(&b)), &[open(1, 7), data(1, b"?")])), b"ab");
}

#[test]
fn an_upgrade_to_what_runs_already_touches_nothing() {
    let platform = platform();
    let a = made(&platform, &server('a'));
    let mut pair = Pair::new(&a, &[]);
    pair.turn(None, &[]);
    pair.turn(None, &[open(1, 7)]);
    let outcome = pair.turn(Some(&upgrade(&a)), &[data(1, b"?")]);
    assert_eq!((told(&outcome), sent(&outcome)), (Some((UPGRADE_DONE, a.digest.to_vec())), b"a".to_vec()));
}

/// Waits for a millisecond of log time.
const SLEEP: &str = "
  (i64.store (i32.const 352) (i64.const 1000000)) (i32.store (i32.const 344) (i32.const 1))
  (drop (call $poll_oneoff (i32.const 328) (i32.const 456) (i32.const 1) (i32.const 24)))";

#[test]
fn a_program_that_does_not_start_is_rolled_back_and_the_flows_go_on() {
    let platform = platform();
    let a = made(&platform, &server('a'));
    let trap = made(&platform, &other('t', "unreachable"));
    let exit = made(&platform, &other('x', "(call $proc_exit (i32.const 3))"));
    let returns = made(&platform, &other('r', ""));
    let spins = made(&platform, &other('s', "(loop $on (br $on))"));
    let small = RunLimits { memory_bytes: 1 << 16, ..LIMITS };
    let large = support::wat("(module (memory (export \"memory\") 2) (func (export \"_start\")))");
    let large = blueprint(&platform, &large, config(), small);
    let mut pair = Pair::new(&a, &[&trap, &exit, &returns, &spins, &large]);
    pair.turn(None, &[]);
    pair.turn(None, &[open(1, 7)]);
    for (broken, reason) in [
        (&trap, "it ended at its start: trapped: wasm trap: wasm `unreachable` instruction executed"),
        (&exit, "it ended at its start: exited with code 3"),
        (&returns, "it ended at its start: exited with code 0"),
        (&spins, "it ended at its start: trapped: used up its fuel of 1000000000 in one turn without waiting"),
        (&large, "it ended at its start: could not be started (its memory limit of 65536 bytes was reached)"),
    ] {
        let outcome = pair.turn(Some(&upgrade(broken)), &[data(1, b"?")]);
        assert_eq!(why_not(&outcome), reason);
        assert_eq!(sent(&outcome), b"a", "the file is as it was, and the flow goes on");
        assert_eq!((exit_reason(&outcome), pair.bundle()), (None, a.digest));
    }
    let b = made(&platform, &server('b'));
    pair.known.put(Arc::clone(&b));
    pair.turn(Some(&upgrade(&b)), &[]);
    assert_eq!(sent(&pair.turn(None, &[open(2, 7), data(2, b"?")])), b"ab");
}

#[test]
fn a_program_that_waits_before_it_listens_has_not_started() {
    let platform = platform();
    let ports = vec![GuestPort { port: 7, datagram: false, pass: false }];
    let silent = GuestConfig { ports, ..config() };
    let a = made(&platform, &server('a'));
    let sleeps = blueprint(&platform, &other('z', SLEEP), silent, LIMITS);
    let mut pair = Pair::new(&a, &[&sleeps]);
    pair.turn(None, &[]);
    pair.turn(None, &[open(1, 7)]);
    let outcome = pair.turn(Some(&upgrade(&sleeps)), &[data(1, b"?")]);
    assert_eq!(why_not(&outcome), "it waited before it listened on port 7");
    assert_eq!(sent(&outcome), b"a");
}

#[test]
fn what_a_program_wrote_before_it_failed_is_shown() {
    let platform = platform();
    let says = "(i32.store (i32.const 100) (i32.const 0x216f6e)) (i32.store (i32.const 4) (i32.const 3))
      (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))) unreachable";
    let (a, broken) = (made(&platform, &server('a')), made(&platform, &other('t', says)));
    let mut pair = Pair::new(&a, &[&broken]);
    pair.turn(None, &[]);
    let outcome = pair.turn(Some(&upgrade(&broken)), &[]);
    assert_eq!(lines(&outcome), ["no!"]);
    assert_eq!(kinds(&outcome), [EffectKind::Log, EffectKind::Upgrade]);
}

#[test]
fn a_start_that_takes_long_yields_its_core_and_takes_over() {
    let platform = platform();
    let busy = format!(
        "(local $n i32) (local.set $n (i32.const 40000000))
         (loop $on (br_if $on (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) {} {SERVE}",
        sign('b')
    );
    let (a, b) = (made(&platform, &server('a')), made(&platform, &command(IMPORTS, &busy)));
    let mut pair = Pair::new(&a, &[&b]);
    pair.turn(None, &[]);
    pair.turn(Some(&upgrade(&b)), &[open(1, 7)]);
    assert_eq!((sent(&pair.turn(None, &[data(1, b"?")])), pair.bundle()), (b"ab".to_vec(), b.digest));
}

#[test]
fn a_guest_that_has_ended_for_good_is_replaced() {
    let platform = platform();
    let (trap, b) = (made(&platform, &other('t', "unreachable")), made(&platform, &server('b')));
    let mut pair = Pair::new(&trap, &[&b]);
    assert!(exit_reason(&pair.turn(None, &[])).is_some());
    pair.turn(Some(&upgrade(&b)), &[]);
    assert_eq!(sent(&pair.turn(None, &[open(1, 7), data(1, b"?")])), b"tb");
}

#[test]
fn a_bundle_that_is_not_at_hand_is_the_hosts_failure() {
    let platform = platform();
    let (a, b) = (made(&platform, &server('a')), made(&platform, &server('b')));
    let mut rig = Rig::new(Arc::clone(&a), 0);
    rig.turn(&[]);
    let batch = rig.batch_of(Some(&upgrade(&b)), &[]);
    let failed = rig.replica.turn(&batch).unwrap_err();
    assert!(failed.ends_with("of the upgrade at position 2 is not at hand"), "{failed}");
}

/// A history with two upgrades that come about and one that does not.
fn history(pair: &mut Pair, b: &Blueprint, broken: &Blueprint, c: &Blueprint) {
    let turns: [(Option<Control>, Vec<Record>); 10] = [
        (None, vec![]),
        (None, vec![open(1, 7), data(1, b"1")]),
        (Some(upgrade(b)), vec![open(2, 7), data(2, b"2")]),
        (None, vec![data(2, b"3")]),
        (Some(upgrade(broken)), vec![data(2, b"4")]),
        (None, vec![data(2, b"5")]),
        (Some(upgrade(b)), vec![data(2, b"6")]),
        (Some(upgrade(c)), vec![Record::Control(Control::Audit)]),
        (None, vec![open(3, 7), data(3, b"7")]),
        (None, vec![data(3, b"8"), Record::Control(Control::Audit)]),
    ];
    for (control, records) in turns {
        pair.turn(control.as_ref(), &records);
    }
    assert_eq!(sent(&pair.outcomes[9]), b"abc");
}

#[test]
fn a_replica_that_replays_from_the_beginning_passes_the_same_upgrades() {
    let platform = platform();
    let [a, b, c] = ['a', 'b', 'c'].map(|letter| made(&platform, &server(letter)));
    let broken = made(&platform, &other('t', "unreachable"));
    let mut pair = Pair::new(&a, &[&b, &broken, &c]);
    history(&mut pair, &b, &broken, &c);
    let mut late = replica(&a, 2).with_blueprints(Arc::clone(&pair.known));
    for (batch, expected) in pair.batches.iter().zip(&pair.outcomes) {
        same(&late.turn(batch).unwrap(), expected);
    }
    assert_eq!(late.bundle(), c.digest);
}

#[test]
fn a_replica_from_a_checkpoint_before_at_or_after_an_upgrade_goes_on_alike() {
    let platform = platform();
    let Some([a, b, c]) = instrumented_servers(&platform) else { return };
    let broken = made(&platform, &other('t', "unreachable"));
    let mut pair = Pair::new(&a, &[&b, &broken, &c]);
    history(&mut pair, &b, &broken, &c);
    let mut captured = replica(&a, 2).with_blueprints(Arc::clone(&pair.known));
    let mut chunks = Chunks::default();
    for (at, batch) in pair.batches.iter().enumerate() {
        captured.capture_next();
        let outcome = captured.turn(batch).unwrap();
        same(&outcome, &pair.outcomes[at]);
        let manifest = chunks.seal(outcome.captured.as_ref().expect("the guest waits"));
        let program = pair.known.get(GroupId(1), &manifest.parts().bundle).expect("it names what it is of");
        assert_eq!(program.digest, captured.bundle());
        let source = Arc::new(chunks.clone());
        let restored = Replica::restore(captured.id(), program, &manifest, source).unwrap();
        let mut restored = restored.with_blueprints(Arc::clone(&pair.known));
        for (later, expected) in pair.batches[at + 1..].iter().zip(&pair.outcomes[at + 1..]) {
            same(&restored.turn(later).unwrap(), expected);
        }
    }
}

fn instrumented_servers(platform: &Platform) -> Option<[Arc<Blueprint>; 3]> {
    let made = |letter| Some(made(platform, &instrumented(&server(letter))?));
    Some([made('a')?, made('b')?, made('c')?])
}
