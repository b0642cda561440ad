//! Buffers and pointers that are made to do harm: overlapping, at the end of the memory and behind it, too many, too long.
//! A call does all of its work or tells an errno and has written nothing; none moves more than its limit.

mod support;

use std::fmt::Write as _;

use refrain_engine::Platform;
use refrain_engine::replica::RunLimits;
use refrain_inspect::ValType;
use refrain_inspect::abi::{Family, HostFunction};
use refrain_kernel::Errno;
use refrain_kernel::config::GuestConfig;
use refrain_wire::Record;
use support::numbers::Numbers;
use support::script::{Script, guest};
use support::seeds::seeds;
use support::{Pair, agree, blueprint, command, command_with, data, exit_reason, functions, open, platform};

const PAGE: u32 = 65536;
/// The end of the memory of a script's module.
const END: u32 = PAGE;
const FAULT: u16 = Errno::Fault as u16;
const INVAL: u16 = Errno::Inval as u16;
/// The most bytes of one call.
const MAX_CALL_BYTES: u32 = 64 << 20;
/// The preopened root of a script's guest, which has no listener passed in.
const ROOT: u32 = 3;

/// A script that has the file `f` with "0123456789" open, its descriptor in @0.
fn with_file() -> Script {
    let mut script = Script::default();
    script.bytes(500, b"f0123456789").buffer(16, 501, 10);
    script.call("path_open", &format!("{ROOT} 0 500 1 1 66L 0L 0 0"), 0);
    script.call("fd_pwrite", "@0 16 1 0L 8", 0).expect(8, 10);
    script
}

#[test]
fn buffers_that_overlap_are_filled_one_after_another() {
    let mut script = with_file();
    // Each begins one byte after the one before: the last that was filled shows.
    script.buffer(16, 100, 4).buffer(24, 101, 4).buffer(32, 100, 2);
    script.call("fd_pread", "@0 16 3 0L 8", 0).expect(8, 10).expect_bytes(100, b"89567");
    // One that reaches into the list of buffers itself: the list was read before.
    script.buffer(16, 24, 4).buffer(24, 200, 4).call("fd_pread", "@0 16 2 0L 8", 0).expect(8, 8);
    script.expect_bytes(200, b"4567").expect_bytes(24, b"0123");
    // One that has the place of the total: the total comes last.
    script.buffer(16, 6, 8).call("fd_pread", "@0 16 1 0L 8", 0).expect(8, 8).expect_bytes(6, b"01");
    // Written from one place many times.
    for index in 0..8 {
        script.buffer(16 + 8 * index, 501, 10);
    }
    script.call("fd_pwrite", "@0 16 8 0L 8", 0).expect(8, 80);
    script.buffer(16, 300, 100).call("fd_pread", "@0 16 1 35L 8", 0).expect(8, 45).expect_bytes(300, b"5678901234");
    script.run_at_once();
}

#[test]
fn the_end_of_the_memory_is_reached_to_the_last_byte_and_not_passed() {
    let mut script = with_file();
    for call in ["fd_pread", "fd_pwrite"] {
        let mut with = |at: u32, len: u32, list: u32, total: u32, result: u16| {
            if list <= END - 8 {
                script.buffer(list, at, len);
            }
            script.call(call, &format!("@0 {} 1 0L {}", list.cast_signed(), total.cast_signed()), result);
        };
        with(END - 4, 4, 16, 8, 0);
        with(END - 4, 5, 16, 8, FAULT);
        with(END, 0, 16, 8, 0);
        with(END + 1, 0, 16, 8, FAULT);
        with(u32::MAX, u32::MAX, 16, 8, FAULT);
        with(u32::MAX, 1, 16, 8, FAULT);
        with(0, u32::MAX, 16, 8, FAULT);
        with(100, 4, END - 8, 8, 0);
        with(100, 4, END - 7, 8, FAULT);
        with(100, 4, u32::MAX - 3, 8, FAULT);
        with(100, 4, 16, END - 4, 0);
        with(100, 4, 16, END - 3, FAULT);
        with(100, 4, 16, u32::MAX, FAULT);
    }
    script.call("random_get", &format!("{} 8", END - 8), 0).call("random_get", &format!("{} 9", END - 8), FAULT);
    script.call("random_get", &format!("{END} 0"), 0).call("random_get", &format!("{} 0", END + 1), FAULT);
    script.call("clock_time_get", &format!("0 0L {}", END - 8), 0);
    script.call("clock_time_get", &format!("0 0L {}", END - 7), FAULT);
    script.run_at_once();
}

#[test]
fn lists_that_are_too_long_are_refused_before_they_are_read() {
    let mut script = with_file();
    for (call, offset) in [("fd_pread", " 0L"), ("fd_pwrite", " 0L"), ("fd_read", ""), ("fd_write", "")] {
        let last = END.cast_signed() - 8;
        for (list, count, result) in
            [(1024, 1024, 0), (1024, 1025, INVAL), (1024, -1, INVAL), (1024, i32::MIN, INVAL), (last, 2, FAULT)]
        {
            script.call(call, &format!("@0 {list} {count}{offset} 8"), result);
        }
    }
    script.call("poll_oneoff", "1024 1024 0 8", INVAL).call("poll_oneoff", "1024 1024 65537 8", INVAL);
    script.call("poll_oneoff", "1024 1024 65536 8", FAULT).call("poll_oneoff", "1024 1024 -1 8", INVAL);
    script.run_at_once();
}

/// A module with more memory than a script's.
fn large(pages: u32, imports: &str, body: &str) -> Vec<u8> {
    command(imports, &format!("(local $n i32) (drop (memory.grow (i32.const {})))\n{body}", pages - 1))
}

fn end_of(module: &[u8], config: GuestConfig) -> String {
    let limits = RunLimits { memory_bytes: 4 << 30, table_elements: 1000, fuel_per_turn: Some(10_000_000_000) };
    exit_reason(&agree(&platform(), module, config, limits, &[vec![]])[0]).expect("it ends at once")
}

fn trap_unless(call: &str, expected: u32) -> String {
    format!("(if (i32.ne {call} (i32.const {})) (then unreachable))\n", expected.cast_signed())
}

#[test]
fn no_call_moves_more_than_64_mebibytes_however_its_buffers_are_made() {
    let mut body = "(i32.store8 (i32.const 512) (i32.const 102))".to_owned();
    let file = "(call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 1) (i32.const 1)
        (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 0))";
    body += &trap_unless(file, 0);
    // 1024 buffers that all are the same megabyte, and one that has 65 alone.
    for index in 0..1024 {
        let at = 1024 + 8 * index;
        write!(
            body,
            "(i32.store (i32.const {at}) (i32.const 65536)) (i32.store (i32.const {}) (i32.const 1048576))",
            at + 4
        )
        .expect("a text takes everything");
    }
    body += "(i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 68157440))";
    for (list, count) in [(1024, 1024), (1024, 65), (16, 1)] {
        for call in ["fd_pwrite", "fd_pread"] {
            let call = format!(
                "(call ${call} (i32.load (i32.const 0)) (i32.const {list}) (i32.const {count}) (i64.const 0) (i32.const 8))"
            );
            // What was read came over the lists, and over the descriptor.
            if call.contains("pread") && list == 16 {
                continue;
            }
            body += &trap_unless(&call, 0);
            body += &trap_unless("(i32.load (i32.const 8))", MAX_CALL_BYTES);
        }
    }
    // Lines are counted and dropped, however many one call writes.
    let write = "(call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1024) (i32.const 8))";
    body += &trap_unless(write, 0);
    body += &trap_unless("(i32.load (i32.const 8))", MAX_CALL_BYTES);
    let random = |len: u32| format!("(call $random_get (i32.const 65536) (i32.const {len}))");
    body += &trap_unless(&random(MAX_CALL_BYTES), 0);
    body += &trap_unless(&random(MAX_CALL_BYTES + 1), u32::from(INVAL));
    body += "(call $proc_exit (i32.const 5))";
    let config = GuestConfig { files_bytes: 80 << 20, ..guest() };
    let module = large(1100, "path_open fd_pwrite fd_pread fd_write random_get proc_exit", &body);
    assert_eq!(end_of(&module, config), "exited with code 5");
}

#[test]
fn texts_as_long_as_the_memory_are_refused_without_being_read() {
    let (len, pages) = (3000 * PAGE, 3001);
    let long = format!("(i32.const 65536) (i32.const {})", len.cast_signed());
    let mut body = format!("(memory.fill (i32.const 65536) (i32.const 97) (i32.const {}))", len.cast_signed());
    let too_long = u32::from(Errno::Nametoolong.code());
    let calls = [
        (format!("(call $path_create_directory (i32.const 3) {long})"), too_long),
        (format!("(call $path_symlink {long} (i32.const 3) (i32.const 0) (i32.const 1))"), too_long),
        (format!("(call $path_rename (i32.const 3) (i32.const 65536) (i32.const 1) (i32.const 3) {long})"), too_long),
        (format!("(call $wasix.resolve {long} (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 8))"), 28),
        (
            format!(
                "(call $v1.sock_getaddrinfo {long} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16)
                 (i32.const 1) (i32.const 8))"
            ),
            28,
        ),
    ];
    // A hundred thousand times: were the text looked at, this would be 20 TB.
    for (call, errno) in &calls {
        write!(
            body,
            "(local.set $n (i32.const 100000))
             (loop {} (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
            trap_unless(call, *errno)
        )
        .expect("a text takes everything");
    }
    let imports = "path_create_directory path_symlink path_rename wasix.resolve v1.sock_getaddrinfo";
    assert_eq!(end_of(&large(pages, imports, &body), guest()), "exited with code 0");
}

// A call that fails has written nothing.

/// Bytes at the beginning of the memory that hold something.
const FILLED: u64 = 4096;
const CALLS: u64 = 150;

fn two(low: u64, high: u64) -> u64 {
    (low & 0xffff_ffff) | high << 32
}

/// What calls look for: pointers and lengths, half of them good, paths, numbers.
fn filling(numbers: &mut Numbers) -> String {
    let mut word = || match numbers.below(8) {
        0..=3 => two(numbers.below(FILLED), numbers.below(40)),
        4 => two(u64::from(PAGE) - numbers.below(24), numbers.below(32)),
        5 => u64::from_le_bytes(*b"f/../d/f"),
        6 => two(numbers.below(12), numbers.below(3)),
        _ => numbers.below(40),
    };
    let bytes = (0..FILLED / 8).flat_map(|_| word().to_le_bytes());
    bytes.map(|byte| format!("\\{byte:02x}")).collect()
}

/// A descriptor or a small number first; then pointers, of which one in four leads to the memory's end or out of it.
fn argument(numbers: &mut Numbers, index: usize) -> u32 {
    match (index, numbers.below(8)) {
        (0, 0..=5) => numbers.below(10) as u32,
        (_, 0) => PAGE - numbers.below(24) as u32,
        (_, 1) => PAGE + numbers.below(8) as u32,
        (_, 2) => numbers.below(70) as u32,
        _ => 8 * numbers.below(FILLED / 8) as u32,
    }
}

/// Opens a file, a folder, a socket of each kind, a connection and a peer, so that calls find something.
fn prelude(replicode: bool) -> &'static str {
    if replicode {
        return "(drop (call $path_open (i32.const 4) (i32.const 0) (i32.const 5000) (i32.const 1) (i32.const 1)
                  (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 5100)))
                (drop (call $rc.sock_open (i32.const 2) (i32.const 1) (i32.const 0) (i32.const 5100)))
                (drop (call $rc.sock_open (i32.const 2) (i32.const 2) (i32.const 0) (i32.const 5100)))
                (drop (call $rc.sock_accept (i32.const 3) (i32.const 0) (i32.const 5100)))
                (drop (call $fd_fdstat_set_flags (i32.const 3) (i32.const 4)))
                (drop (call $fd_fdstat_set_flags (i32.const 6) (i32.const 4)))
                (drop (call $fd_fdstat_set_flags (i32.const 7) (i32.const 4)))
                (drop (call $fd_fdstat_set_flags (i32.const 8) (i32.const 4)))";
    }
    "(drop (call $path_open (i32.const 4) (i32.const 0) (i32.const 5000) (i32.const 1) (i32.const 1)
       (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 5100)))
     (drop (call $path_create_directory (i32.const 4) (i32.const 5001) (i32.const 1)))
     (drop (call $v1.sock_open (i32.const 1) (i32.const 2) (i32.const 5100)))
     (drop (call $v1.sock_open (i32.const 1) (i32.const 1) (i32.const 5100)))
     (drop (call $sock_accept (i32.const 3) (i32.const 4) (i32.const 5100)))
     (drop (call $fd_fdstat_set_flags (i32.const 3) (i32.const 4)))
     (drop (call $fd_fdstat_set_flags (i32.const 6) (i32.const 4)))
     (drop (call $fd_fdstat_set_flags (i32.const 7) (i32.const 4)))"
}

/// Checks the result of the call that was just made: after an errno the memory must be what the second memory has.
const CHECK: &str = "(func $check (param $result i32) (param $call i32) (local $at i32)
    (if (i32.eqz (local.get $result)) (then (return (call $reset))))
    (loop $next
      (if (i64.ne (i64.load 0 (local.get $at)) (i64.load 1 (local.get $at)))
        (then (call $proc_exit (i32.add (local.get $call) (i32.const 1000)))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 65536)))))
  (func $reset (memory.copy 0 1 (i32.const 0) (i32.const 0) (i32.const 65536)))";

/// What tells something with its errno, on purpose.
fn tells(function: &HostFunction) -> bool {
    // How much room a name takes that has none, and how many addresses fit: none.
    ["getcwd", "sock_getaddrinfo"].contains(&function.name)
}

fn calls(numbers: &mut Numbers, word: &str, function: &HostFunction) -> Vec<String> {
    let mut call = || {
        let arguments: String = (function.params.iter().enumerate())
            .map(|(index, ty)| match ty {
                ValType::I32 => format!("(i32.const {})", argument(numbers, index) as i32),
                _ => format!("(i64.const {})", numbers.below(5000)),
            })
            .collect();
        format!("(call ${word} {arguments})")
    };
    (0..CALLS).map(|_| call()).collect()
}

fn check(platform: &Platform, seed: u64, word: &str, function: &HostFunction) {
    let mut numbers = Numbers(seed);
    let filling = filling(&mut numbers);
    let calls = calls(&mut numbers, word, function);
    let mut body = prelude(function.family == Family::Replicode).to_owned() + "(call $reset)";
    for (index, call) in calls.iter().enumerate() {
        writeln!(body, "(call $check {call} (i32.const {index}))").expect("a text takes everything");
    }
    body += "(call $proc_exit (i32.const 7))";
    let fields = format!(
        "{CHECK} (memory $second 1) (data (memory 0) (i32.const 5000) \"fd\")
         (data (memory 1) (i32.const 0) \"{filling}\")"
    );
    let prelude = if function.family == Family::Replicode {
        "path_open rc.sock_open rc.sock_accept fd_fdstat_set_flags proc_exit"
    } else {
        "path_open path_create_directory v1.sock_open sock_accept fd_fdstat_set_flags proc_exit"
    };
    let imports =
        if prelude.split(' ').any(|known| known == word) { prelude.to_owned() } else { format!("{prelude} {word}") };
    let module = command_with(&imports, &body, &fields);
    let config = GuestConfig { ports: support::config().ports, ..guest() };
    let mut pair = Pair::new(blueprint(platform, &module, config, support::LIMITS));
    let turns = [vec![], vec![open(1, 7), data(1, &[b'x'; 3000])], vec![open(2, 7)], vec![data(1, b"yy")]];
    let turns: Vec<Vec<Record>> = turns.into_iter().chain((0..400).map(|_| vec![])).collect();
    let end = turns.iter().find_map(|records| exit_reason(&pair.turn(records)));
    let code = end.as_deref().and_then(|end| end.strip_prefix("exited with code ")).and_then(|code| code.parse().ok());
    match code {
        Some(7u32) => {}
        Some(code @ 1000..) => {
            panic!("seed {seed}: {} wrote and then failed", calls[code as usize - 1000]);
        }
        _ => panic!("seed {seed}: {word}: {end:?}"),
    }
}

#[test]
fn a_call_that_fails_has_written_nothing() {
    let platform = platform();
    let ends = ["proc_exit", "proc_raise"];
    let functions = functions();
    let checked: Vec<_> = (functions.iter())
        .filter(|(_, function)| !function.results.is_empty() && !ends.contains(&function.link().1) && !tells(function))
        .collect();
    assert!(checked.len() > 100, "{}", checked.len());
    for seed in seeds(1) {
        println!("seed {seed}");
        for (index, (word, function)) in (0..).zip(&checked) {
            check(&platform, 1000 * seed + index, word, function);
        }
    }
}
