//! Guests that call without measure: descriptors until there are none, numbers that no descriptor has, clocks and polls in
//! a loop, calls at the end of the stack, an end in the middle of a write, and calls that are much work for little. What
//! the host does counts against the guest's fuel, and each turn ends.

mod support;

use refrain_engine::TurnOutcome;
use refrain_engine::replica::RunLimits;
use refrain_inspect::ValType;
use refrain_inspect::abi::{Family, HostFunction};
use refrain_kernel::Errno;
use refrain_kernel::config::{GuestConfig, RestartPolicy};
use refrain_wire::{Control, EffectKind, Record};
use support::pieces::{must, times};
use support::script::{Script, guest};
use support::{
    LIMITS, Pair, agree, blueprint, command, command_with, config, credit, data, exit_reason, functions, lines, open,
    platform, sent, wat,
};

const BADF: u16 = Errno::Badf as u16;
const MFILE: u16 = Errno::Mfile as u16;
/// How a guest ends whose stack is full.
const STACK: &str = "trapped: wasm trap: call stack exhausted";

/// A module whose `_start` is this, with a local `$n`.
fn module(imports: &str, body: &str) -> Vec<u8> {
    command(imports, &format!("(local $n i32) {body}"))
}

fn run(module: &[u8], config: GuestConfig, turns: &[Vec<Record>]) -> Vec<TurnOutcome> {
    agree(&platform(), module, config, LIMITS, turns)
}

fn ends_well(module: &[u8], config: GuestConfig) {
    assert_eq!(exit_reason(&run(module, config, &[vec![]])[0]).as_deref(), Some("exited with code 0"));
}

#[test]
fn descriptors_run_out_for_every_kind_and_come_back() {
    let config = GuestConfig { max_descriptors: 100, ..guest() };
    let open = "(call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 1) (i64.const 66)
        (i64.const 0) (i32.const 0) (i32.const 8))";
    let makers = [
        "(call $v1.sock_open (i32.const 1) (i32.const 2) (i32.const 8))",
        "(call $v1.sock_open (i32.const 2) (i32.const 1) (i32.const 8))",
        "(call $v2.sock_open_v2 (i32.const 1) (i32.const 2) (i32.const 8))",
        "(call $wasix.sock_open (i32.const 1) (i32.const 1) (i32.const 6) (i32.const 8))",
        "(call $wasix.sock_open (i32.const 2) (i32.const 2) (i32.const 17) (i32.const 8))",
        open,
    ];
    let mut body = "(i32.store8 (i32.const 16) (i32.const 102))".to_owned();
    for maker in makers {
        // Four are there: three streams and the root.
        body += &times(96, &must(maker, 0));
        for other in makers {
            body += &must(other, MFILE);
        }
        // One that is closed makes room for one, and it has its number.
        body += &must("(call $fd_close (i32.const 50))", 0);
        body += &must(maker, 0);
        body += "(if (i32.ne (i32.load (i32.const 8)) (i32.const 50)) (then (unreachable)))";
        body += &must(maker, MFILE);
        body += &times(96, &must("(call $fd_close (i32.add (local.get $n) (i32.const 3)))", 0));
    }
    let imports = "path_open fd_close v1.sock_open v2.sock_open_v2 wasix.sock_open";
    ends_well(&module(imports, &body), config);
}

#[test]
fn two_to_the_31_sockets_are_asked_for_and_a_hundred_are_had() {
    let open = "(drop (call $v1.sock_open (i32.const 1) (i32.const 2) (i32.const 8)))";
    let module = module("v1.sock_open", &times(1 << 31, open));
    let config = GuestConfig { max_descriptors: 100, ..guest() };
    let outcome = run(&module, config, &[vec![]]).remove(0);
    assert!(exit_reason(&outcome).expect("it ends").contains("used up its fuel"));
    // As many as the limit again and again: the lowest free number is found without looking at all that are taken.
    let many = GuestConfig { max_descriptors: 20_000, ..guest() };
    let open = must("(call $v1.sock_open (i32.const 1) (i32.const 2) (i32.const 8))", 0);
    let close = |fd: &str| must(&format!("(call $fd_close (i32.const {fd}))"), 0);
    let twice = close("100") + &close("19999") + &open + &open;
    let body = times(19_996, &open) + &times(100_000, &twice);
    ends_well(&self::module("v1.sock_open fd_close", &body), many);
}

/// Every function whose first argument is a descriptor, with numbers that none has.
#[test]
fn numbers_that_no_descriptor_has_are_refused_by_every_function() {
    let platform = platform();
    // Its first argument is something else, or it never looks at it.
    let others = [
        "args_",
        "environ_",
        "clock_",
        "poll_",
        "proc_",
        "random_",
        "sched_",
        "callback_",
        "chdir",
        "epoll_",
        "fd_dup",
        "fd_event",
        "fd_pipe",
        "futex_",
        "getcwd",
        "port_",
        "resolve",
        "sock_getaddrinfo",
        "sock_open",
        "sock_pair",
        "sock_join",
        "sock_leave",
        "thread_",
        "tty_",
        "path_symlink",
        "__",
    ];
    let by_descriptor = |function: &HostFunction| !others.iter().any(|other| function.name.starts_with(other));
    let functions: Vec<_> = functions().into_iter().filter(|(_, function)| by_descriptor(function)).collect();
    assert!(functions.len() > 70, "{}", functions.len());
    for (word, function) in functions {
        let mut body = "(i32.store (i32.const 64) (i32.const 128)) (i32.store (i32.const 68) (i32.const 4))".to_owned();
        for fd in [50u32, 1000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX] {
            let arguments: String = (function.params.iter().enumerate())
                .map(|(index, ty)| match (index, ty) {
                    (0, _) => format!("(i32.const {})", fd.cast_signed()),
                    (_, ValType::I32) => "(i32.const 64)".to_owned(),
                    _ => "(i64.const 1)".to_owned(),
                })
                .collect();
            let call = format!("(call ${word} {arguments})");
            // What is wrong besides may be told first; nothing is done.
            body += &if function.family == Family::Replicode {
                must(&call, 1)
            } else {
                format!("(local.set $n {call}) (if (i32.eqz (local.get $n)) (then (unreachable)))")
            };
            if function.params.len() == 1 {
                body += &must(&call, if function.family == Family::Replicode { 1 } else { BADF });
            }
        }
        let marks = if function.family == Family::Replicode && word != "rc.sock_open" { "rc.sock_open" } else { "" };
        let module = module(&format!("{word} {marks}"), &body);
        let outcome = agree(&platform, &module, guest(), LIMITS, &[vec![]]).remove(0);
        assert_eq!(exit_reason(&outcome).as_deref(), Some("exited with code 0"), "{word}");
    }
}

#[test]
fn a_guest_that_spins_on_clocks_and_polls_ends_each_turn_and_goes_on_in_the_next() {
    // A poll for what is there already: a time that has come.
    let poll = "(call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 8))";
    let flags = "(drop (call $fd_fdstat_set_flags (i32.const 3) (i32.const 4)))";
    for (imports, before, call) in [
        ("clock_time_get", "", "(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 8))"),
        ("clock_time_get", "", "(call $clock_time_get (i32.const 1) (i64.const -1) (i32.const 8))"),
        ("sched_yield", "", "(call $sched_yield)"),
        ("poll_oneoff", "", poll),
        ("wasix.thread_sleep", "", "(call $wasix.thread_sleep (i64.const 0))"),
        ("sock_accept fd_fdstat_set_flags", flags, "(call $sock_accept (i32.const 3) (i32.const 0) (i32.const 8))"),
        ("v1.sock_accept fd_fdstat_set_flags", flags, "(call $v1.sock_accept (i32.const 3) (i32.const 8))"),
    ] {
        let module = module(imports, &format!("{before} (loop (drop {call}) (br 0))"));
        let outcomes = run(&module, config(), &vec![vec![]; 4]);
        for (index, outcome) in outcomes.iter().enumerate() {
            assert_eq!(exit_reason(outcome), None, "{call}");
            assert!(outcome.wants.is_some(), "{call}: it wants the next turn");
            // A million of them, and nothing is left over.
            assert!((200_000_000..300_000_000).contains(&outcome.fuel), "{call} in turn {index}: {}", outcome.fuel);
        }
    }
    let yields =
        wat("(module (import \"wasi_snapshot_preview1\" \"sock_open\" (func (param i32 i32 i32 i32) (result i32)))
        (import \"env\" \"__builtin_rt_yield\" (func $yield)) (memory (export \"memory\") 1)
        (func (export \"_start\") (loop (call $yield) (br 0))))");
    let outcomes = run(&yields, config(), &vec![vec![]; 3]);
    assert!(outcomes.iter().all(|outcome| exit_reason(outcome).is_none() && outcome.wants.is_some()));
    // Less fuel than a turn's worth of readings: it is used up.
    let module = module("sched_yield", "(loop (drop (call $sched_yield)) (br 0))");
    let limits = RunLimits { fuel_per_turn: Some(1_000_000), ..LIMITS };
    let outcome = agree(&platform(), &module, config(), limits, &[vec![]]).remove(0);
    assert!(exit_reason(&outcome).expect("it ends").contains("used up its fuel of 1000000"));
}

#[test]
fn calls_at_the_end_of_the_stack_are_made_or_the_stack_is_exhausted() {
    let platform = platform();
    let zeros = |function: &HostFunction, fd: u32| -> String {
        let argument = |(index, ty): (usize, &ValType)| match (index, ty) {
            (0, ValType::I32) => format!("(i32.const {fd})"),
            (_, ValType::I32) => "(i32.const 1024)".to_owned(),
            _ => "(i64.const 0)".to_owned(),
        };
        function.params.iter().enumerate().map(argument).collect()
    };
    for (word, function) in functions() {
        let name = function.link().1;
        if ["proc_exit", "proc_raise"].contains(&name) {
            continue;
        }
        let close = if function.results.is_empty() { "" } else { "drop" };
        // Every depth calls, so the last call is made with almost no stack left; and on the way back again.
        let call = format!("(call ${word} {}) {close}", zeros(function, 4));
        let fields = format!("(func $deeper (param i64 i64) {call} (call $deeper (local.get 1) (local.get 0)))");
        let marks = if function.family == Family::Replicode && word != "rc.sock_open" { "rc.sock_open" } else { "" };
        let module = command_with(&format!("{word} {marks}"), "(call $deeper (i64.const 1) (i64.const 2))", &fields);
        let mut pair = Pair::new(blueprint(&platform, &module, guest(), LIMITS));
        let end = (0..4).find_map(|_| exit_reason(&pair.turn(&[])));
        // Some wait for ever, at the first depth.
        assert!(end.is_none() || end.as_deref() == Some(STACK), "{word}: {end:?}");
    }
}

#[test]
fn recursion_ends_at_the_same_depth_whatever_its_form() {
    for (functions, fuel) in [
        ("(func $f (call $f))", false),
        ("(func $f (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))", false),
        ("(table 1 funcref) (elem (i32.const 0) $f) (func $f (call_indirect (i32.const 0)))", false),
        ("(func $f (call $g)) (func $g (call $f))", false),
        // What replaces its caller never fills the stack.
        ("(func $f (return_call $f))", true),
        ("(func $f (return_call $g)) (func $g (return_call $f))", true),
    ] {
        let argument = if functions.contains("param") { "(i32.const 0)" } else { "" };
        let result = if functions.contains("result") { "drop" } else { "" };
        let start = format!("(func (export \"_start\") (call $f {argument}) {result})");
        let text = format!("(module (memory (export \"memory\") 1) {functions} {start})");
        let limits = RunLimits { fuel_per_turn: Some(10_000_000), ..LIMITS };
        let outcome = agree(&platform(), &wat(&text), config(), limits, &[vec![]]).remove(0);
        let reason = exit_reason(&outcome).expect("it ends");
        let expected = if fuel { "used up its fuel" } else { "call stack exhausted" };
        assert!(reason.contains(expected), "{functions}: {reason}");
    }
}

/// A guest that writes half of a file, a line and an answer, and ends; started again, it tells what it finds.
#[test]
fn an_end_in_the_middle_of_a_write_keeps_what_was_written_and_nothing_else() {
    for (end, code) in [("(call $proc_exit (i32.const 3))", 3), ("(unreachable)", 134)] {
        let mut body = String::new();
        for (index, byte) in (512u32..).zip(b"fhalf a lineHTTP/1.1 2") {
            body += &format!("(i32.store8 (i32.const {index}) (i32.const {byte}))");
        }
        for (at, value) in [(16, 513), (20, 4), (32, 513), (36, 11), (48, 524), (52, 10)] {
            body += &format!("(i32.store (i32.const {at}) (i32.const {value}))");
        }
        // After the listener comes the root. Exclusively: the second run finds the file.
        let open_file = |flags: u32| {
            format!(
                "(call $path_open (i32.const 4) (i32.const 0) (i32.const 512) (i32.const 1) (i32.const {flags})
                 (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 8))"
            )
        };
        let first = format!(
            "(drop (call $fd_write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 12)))
             (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 56)))
             (drop (call $sock_send (i32.load (i32.const 56)) (i32.const 48) (i32.const 1) (i32.const 0) (i32.const 12)))
             (drop (call $fd_write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 12)))
             {end}"
        );
        let again = must(&open_file(0), 0)
            + &must("(call $fd_filestat_get (i32.load (i32.const 8)) (i32.const 128))", 0)
            + "(if (i64.ne (i64.load (i32.const 160)) (i64.const 4)) (then (unreachable)))
               (drop (call $fd_write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 12)))
               (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 56)))";
        body += &format!("(if (i32.eqz {}) (then {first}) (else {again}))", open_file(5));
        let imports = "path_open fd_write sock_accept sock_send fd_filestat_get proc_exit";
        let config = GuestConfig { restart: RestartPolicy::OnFailure, ..config() };
        let turns = [&[vec![], vec![open(1, 7)]][..], &vec![vec![]; 150]].concat();
        let outcomes = run(&module(imports, &body), config, &turns);
        let ended = &outcomes[1];
        let reason = exit_reason(ended).expect("it ends");
        assert!(reason.ends_with(&format!("code {code}")) || reason.contains("unreachable"), "{reason}");
        assert_eq!(lines(ended), ["half a line"], "as it stands");
        assert_eq!(sent(ended), b"", "a flow that is reset sends nothing");
        let kinds: Vec<EffectKind> = ended.effects.effects.iter().map(|effect| effect.entry.kind).collect();
        assert!(kinds.contains(&EffectKind::Reset), "{kinds:?}");
        let later: Vec<String> = outcomes[2..].iter().filter_map(exit_reason).collect();
        assert!(later.is_empty(), "the second run found four bytes: {later:?}");
        let starts = |outcome: &&TurnOutcome| {
            outcome.effects.effects.iter().any(|effect| effect.entry.kind == EffectKind::Start)
        };
        assert_eq!(outcomes.iter().filter(starts).count(), 2);
    }
}

#[test]
fn a_guest_that_fills_every_window_waits_and_costs_no_more_than_its_buffers() {
    // A megabyte at a time to a client that takes nothing.
    let body = "(drop (memory.grow (i32.const 16)))
        (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (i32.const 1048576))
        (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 8)))
        (loop (drop (call $fd_write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 12))) (br 0))";
    let module = module("sock_accept fd_write", body);
    let turns = [vec![], vec![open(1, 7)], vec![credit(1, 10)], vec![], vec![Record::Control(Control::Audit)]];
    let outcomes = run(&module, config(), &turns);
    let bytes: Vec<usize> = outcomes.iter().map(|outcome| sent(outcome).len()).collect();
    assert_eq!(bytes, [0, 1 << 20, 10, 0, 0]);
}

/// What each of `call` costs in fuel, in a guest that `before` prepared.
fn fuel_of(imports: &str, config: &GuestConfig, before: &str, call: &str) -> u64 {
    let fuel = |count| {
        let module = module(imports, &format!("{before} {}", times(count, call)));
        let turns = [vec![], vec![open(1, 7), data(1, &[b'x'; 200_000])], vec![], vec![]];
        let outcomes = run(&module, config.clone(), &turns);
        assert_eq!(outcomes.iter().find_map(exit_reason).as_deref(), Some("exited with code 0"), "{call}");
        outcomes.iter().map(|outcome| outcome.fuel).sum::<u64>()
    };
    (fuel(21) - fuel(1)) / 20
}

#[test]
fn calls_that_are_much_work_cost_it() {
    let list = "(i32.store (i32.const 16) (i32.const 4096)) (i32.store (i32.const 20) (i32.const 60000))";
    let accept = format!("{list} (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 8)))");
    let plain = config();
    let peek = must(
        "(call $sock_recv (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 1) (i32.const 24)
         (i32.const 28))",
        0,
    );
    let cost = fuel_of("sock_accept sock_recv", &plain, &accept, &peek);
    assert!((60_000 / 8..60_000).contains(&cost), "peeking at 60000 bytes: {cost}");
    let send =
        must("(call $sock_send (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 24))", 0);
    let cost =
        fuel_of("sock_accept sock_send", &GuestConfig { socket_buffer_bytes: 8 << 20, ..config() }, &accept, &send);
    assert!((60_000 / 8..60_000).contains(&cost), "sending 60000 bytes: {cost}");
    let lines = "(memory.fill (i32.const 4096) (i32.const 10) (i32.const 60000))".to_owned() + list;
    let write = must("(call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))", 0);
    let cost = fuel_of("fd_write", &plain, &lines, &write);
    assert!((60_000 * 64..60_000 * 80).contains(&cost), "writing 60000 lines: {cost}");
    let environment = GuestConfig { env: vec![vec![b'e'; 100_000]], ..config() };
    let sizes = must("(call $environ_sizes_get (i32.const 16) (i32.const 20))", 0);
    let cost = fuel_of("environ_sizes_get", &environment, "", &sizes);
    assert!((100_000 / 8..30_000).contains(&cost), "asking for the size of 100000 bytes: {cost}");
    let random = must("(call $random_get (i32.const 4096) (i32.const 60000))", 0);
    let cost = fuel_of("random_get", &plain, "", &random);
    assert!((60_000..70_000).contains(&cost), "60000 random bytes: {cost}");
    let poll = must("(call $poll_oneoff (i32.const 0) (i32.const 32768) (i32.const 600) (i32.const 65000))", 0);
    let cost = fuel_of("poll_oneoff", &plain, "(memory.fill (i32.const 0) (i32.const 0) (i32.const 65536))", &poll);
    assert!((600 * 32..40_000).contains(&cost), "a poll for 600 times: {cost}");
}

#[test]
fn instructions_that_are_much_work_cost_it() {
    let end = |body: &str| {
        let text = format!(
            "(module (memory (export \"memory\") 16) (table $t 1000 funcref) (func (export \"_start\") {body}))"
        );
        let limits = RunLimits { fuel_per_turn: Some(100_000_000), ..LIMITS };
        exit_reason(&agree(&platform(), &wat(&text), config(), limits, &[vec![]])[0]).expect("it ends")
    };
    // A megabyte, or a table of a thousand, a billion times.
    for body in [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576))",
        "(memory.copy (i32.const 0) (i32.const 8) (i32.const 1048560))",
        "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1000))",
        "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 999))",
    ] {
        let reason = end(&format!("(loop {body} (br 0))"));
        assert!(reason.contains("used up its fuel of 100000000"), "{body}: {reason}");
    }
}

#[test]
fn a_script_with_a_signed_descriptor_is_still_an_unsigned_one() {
    let mut script = Script::default();
    for fd in ["-1", "-2147483648", "2147483647"] {
        script.call("fd_close", fd, BADF).call("fd_renumber", &format!("3 {fd}"), BADF);
        script.call("fd_renumber", &format!("{fd} 3"), BADF).call("fd_sync", fd, BADF);
    }
    script.call("fd_renumber", "3 3", 0).run_at_once();
}
