//! What is found in modules of each family, what is missing, and what is said of bytes that are no module.

use refrain_inspect::abi::{self, Family};
use refrain_inspect::{
    Feature, InspectError, MAX_LOOP_DEPTH, Problem, Reason, Report, StartExport, inspect, link_names, sentences,
};

fn report(text: &str) -> Report {
    inspect(&wat::parse_str(text).unwrap()).unwrap()
}

/// A command with these imports, `module name params`.
fn command(imports: &str) -> Report {
    let imports: String = imports
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let silent = abi::named(words[0], words[1], false).iter().any(|function| function.results.is_empty());
            let result = if silent { "" } else { "(result i32)" };
            let params = words[2..].join(" ");
            format!("(import \"{}\" \"{}\" (func (param {params}) {result}))\n", words[0], words[1])
        })
        .collect();
    report(&format!("(module {imports} (memory (export \"memory\") 2 10) (func (export \"_start\")))"))
}

fn problems(report: &Report) -> Vec<String> {
    report.problems().iter().map(Problem::to_string).collect()
}

#[test]
fn a_preview_1_command_runs() {
    let report = command("wasi_snapshot_preview1 fd_write i32 i32 i32 i32\nwasi_snapshot_preview1 proc_exit i32");
    assert_eq!(problems(&report), [""; 0]);
    assert_eq!(report.families(), [Family::Preview1]);
    assert_eq!(report.start, StartExport::Command);
    assert_eq!(report.initial_memory_bytes(), 131_072);
    assert_eq!((report.memories[0].min_pages, report.memories[0].max_pages), (2, Some(10)));
    assert_eq!(report.exports, ["memory", "_start"]);
}

#[test]
fn every_function_is_satisfied_but_those_that_are_refused_with_a_reason() {
    for function in abi::all().filter(|function| function.family != Family::Replicode) {
        let params: Vec<String> = function.params.iter().map(ToString::to_string).collect();
        let report = command(&format!("{} {} {}", function.module, function.name, params.join(" ")));
        assert_eq!(report.imports[0].family, Some(function.family), "{}", function.name);
        assert_eq!(report.missing().is_empty(), function.refusal.is_none(), "{} {params:?}", function.name);
    }
}

#[test]
fn sock_accept_is_told_apart_by_its_type() {
    for (import, family) in [
        ("wasi_snapshot_preview1 sock_accept i32 i32 i32", Family::Preview1),
        ("wasi_snapshot_preview1 sock_accept i32 i32", Family::WasmedgeV1),
        ("wasix_32v1 sock_accept i32 i32 i32 i32", Family::Wasix),
        ("wasi_snapshot_preview1 sock_recv_from i32 i32 i32 i32 i32 i32 i32", Family::WasmedgeV1),
        ("wasi_snapshot_preview1 sock_recv_from i32 i32 i32 i32 i32 i32 i32 i32", Family::WasmedgeV2),
        ("wasi_snapshot_preview1 sock_open i32 i32 i32", Family::WasmedgeV1),
        ("wasi_snapshot_preview1 sock_open i32 i32 i32 i32", Family::Replicode),
    ] {
        assert_eq!(command(import).families(), [family], "{import}");
    }
}

#[test]
fn a_replicode_program_is_not_taken_for_preview_1() {
    let sockets = "wasi_snapshot_preview1 sock_recv i32 i32 i32 i32 i32 i32";
    assert_eq!(command(sockets).families(), [Family::Preview1]);
    let report = command(&format!("{sockets}\nwasi_snapshot_preview1 sock_open i32 i32 i32 i32"));
    assert_eq!(report.families(), [Family::Replicode]);
    assert_eq!(problems(&report), [""; 0]);
    assert_eq!(problems(&command("env __builtin_rt_yield")).len(), 1, "no RepliCode program without its sockets");
}

#[test]
fn preview_1_is_found_in_the_module_of_wasix_too() {
    let report = command("wasix_32v1 fd_write i32 i32 i32 i32\nwasix_32v1 sock_open i32 i32 i32 i32");
    assert_eq!(problems(&report), [""; 0]);
    assert_eq!(report.families(), [Family::Wasix]);
    let links: Vec<&str> = report.imports.iter().map(|import| import.link().0).collect();
    assert_eq!(links, [Family::Preview1.link_module(), Family::Wasix.link_module()]);
}

#[test]
fn imports_are_led_to_the_function_of_their_type_and_nothing_else_changes() {
    let text = |one: &str, other: &str| {
        wat::parse_str(format!(
            r#"(module
              (type $t (func (param i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (import "{one}" "sock_accept" (func $two (type $t)))
              (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
              (import "{other}" "sock_accept" (func (param i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (func (export "_start") (drop (call $two (i32.const 3) (i32.const 8)))))"#
        ))
        .unwrap()
    };
    let module = text("wasi_snapshot_preview1", "wasi_snapshot_preview1");
    let led = link_names(&module).unwrap();
    assert_eq!(led, text(Family::WasmedgeV1.link_module(), "wasi_snapshot_preview1"));
    let preview1 =
        wat::parse_str("(module (import \"wasi_snapshot_preview1\" \"fd_close\" (func (param i32) (result i32))))");
    let preview1 = preview1.unwrap();
    assert_eq!(link_names(&preview1).unwrap(), preview1);
    assert_eq!(problems(&inspect(&led).unwrap()).len(), 1, "no guest reaches a family by the engine's own name");
}

#[test]
fn each_missing_import_says_why() {
    for (import, problem) in [
        ("wasi_snapshot_preview1 fd_wirte i32", "unknown name; did you mean `fd_write`?"),
        ("wasi_snapshot_preview1 teleport i32", "unknown name"),
        ("wasi_snapshot_preview2 fd_write i32", "unknown module; did you mean `wasi_snapshot_preview1`?"),
        ("mine fd_write i32", "unknown module"),
        (
            "env socket i32 i32 i32",
            "an undefined symbol of the program; link with what defines it (sdk/c defines BSD sockets)",
        ),
        ("wasi_snapshot_preview1 fd_close i64", "has the type (i64) -> i32, expected (i32) -> i32"),
        (
            "wasi_snapshot_preview1 sock_accept i64",
            "has the type (i64) -> i32, expected (i32, i32, i32) -> i32 or (i32, i32) -> i32",
        ),
        ("wasix_32v1 teleport i32 i32", "not provided by this version (WASIX)"),
        ("wasix_32v1 thread_spawn_v2 i32 i32", "starts threads, on whose timing replicas cannot agree (WASIX)"),
    ] {
        let found = problems(&command(import));
        let name: Vec<&str> = import.split(' ').collect();
        assert_eq!(found, [format!("{}.{}: {problem}", name[0], name[1])], "{import}");
    }
    let found = problems(&report(
        "(module (import \"env\" \"memory\" (memory 1)) (import \"env\" \"t\" (table 1 funcref))
         (import \"env\" \"g\" (global i32)) (func (export \"_start\")))",
    ));
    let expected = ["memory: a memory", "t: a table", "g: a global"];
    assert_eq!(found, expected.map(|what| format!("env.{what}; only functions can be imported")));
}

#[test]
fn a_command_needs_start_and_memory() {
    let found = |text| problems(&report(text));
    assert_eq!(found("(module)"), ["no export `_start`: a library or a reactor, not a command"]);
    assert_eq!(found("(module (func (export \"_start\") (param i32)))"), ["`_start` has the type (i32), expected ()"]);
    assert_eq!(found("(module (memory (export \"_start\") 1))"), ["`_start` is not a function"]);
    assert_eq!(
        found(
            "(module (import \"wasi_snapshot_preview1\" \"sched_yield\" (func (result i32))) (memory 1) (func (export \"_start\")))"
        ),
        ["no memory is exported as `memory`, which the host reads and writes"]
    );
    assert_eq!(found("(module (func (export \"_start\")))"), [""; 0]);
}

#[test]
fn features_are_seen_and_blocked_ones_say_why() {
    for (body, feature, blocked) in [
        ("(func (drop (i32x4.splat (i32.const 1))))", Feature::Simd, false),
        (
            "(func (drop (f32x4.relaxed_min (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
            Feature::RelaxedSimd,
            false,
        ),
        ("(tag) (func (throw 0))", Feature::Exceptions, false),
        ("(tag)", Feature::Exceptions, false),
        ("(func (local exnref))", Feature::Exceptions, false),
        ("(global exnref (ref.null exn))", Feature::Exceptions, false),
        ("(func (param anyref))", Feature::Gc, true),
        ("(table 1 eqref)", Feature::Gc, true),
        ("(type $t (func)) (func (param (ref null $t)))", Feature::FunctionReferences, true),
        ("(type (struct (field i32)))", Feature::Gc, true),
        (
            "(type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0)))",
            Feature::FunctionReferences,
            true,
        ),
        ("(func return_call 0)", Feature::TailCall, false),
        ("(memory 1) (memory 1)", Feature::MultiMemory, false),
        ("(memory 1 2 shared)", Feature::Threads, true),
        ("(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", Feature::Threads, true),
        ("(memory i64 1)", Feature::Memory64, true),
        ("(memory 1 (pagesize 1))", Feature::CustomPageSizes, true),
        ("(func try catch_all end)", Feature::LegacyExceptions, true),
    ] {
        let report = report(&format!("(module {body} (func (export \"_start\")))"));
        assert!(report.features.contains(&feature), "{body}: {:?}", report.features);
        assert_eq!(!report.problems().is_empty(), blocked, "{body}: {:?}", report.problems());
    }
    let plain = report(
        "(module (memory 1) (func (export \"_start\") (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))",
    );
    assert_eq!(plain.features, []);
}

#[test]
fn what_is_no_module_is_told_apart() {
    let said = |bytes: &[u8]| inspect(bytes).unwrap_err().to_string();
    assert_eq!(said(b""), "the file is empty");
    assert_eq!(
        said(b"\x7fELF\x02\x01\x01\0\0"),
        "not a WebAssembly module: begins with \"\\x7fELF\\x02\\x01\\x01\\x00\", expected \\0asm"
    );
    assert_eq!(said(b"\0as"), "truncated: the module ends after 3 bytes, in the middle of its header");
    assert_eq!(said(b"\0asm\x02\0\0\0"), "WebAssembly version 0x2 is not known, expected 0x1");
    let component = wat::parse_str("(component)").unwrap();
    assert_eq!(said(&component), "a component, not a module");
    let invalid = wat::parse_str("(module (func (result i32)))").unwrap();
    let told = said(&invalid);
    assert!(told.starts_with("invalid at byte 0x") && told.contains("type mismatch"), "{told}");
}

#[test]
fn loops_as_deep_as_the_limit_are_taken_and_one_more_is_refused() {
    let module = |depth: usize| {
        // Loops side by side, and blocks, count for nothing.
        let (open, close) = ("(block (loop ".repeat(depth), "))".repeat(depth));
        wat::parse_str(format!("(module (func (loop) {open} (loop) {close}))"))
    };
    let inspected = |depth| inspect(&module(depth).unwrap());
    assert!(inspected(MAX_LOOP_DEPTH - 1).is_ok());
    let refused = inspected(MAX_LOOP_DEPTH).unwrap_err();
    assert!(matches!(refused, InspectError::LoopsTooDeep { .. }), "{refused}");
    assert!(refused.to_string().contains("more than 50 loops within one another"), "{refused}");
}

#[test]
fn a_module_cut_anywhere_is_no_valid_command_and_never_panics() {
    let whole = wat::parse_str(
        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32))) (memory (export \"memory\") 1)
         (func (export \"_start\") (call 0 (i32.const 0))) (data (i32.const 0) \"hello\"))",
    )
    .unwrap();
    let mut truncated = 0;
    for end in 0..whole.len() {
        match inspect(&whole[..end]) {
            Err(InspectError::Truncated { have, .. }) => {
                assert_eq!(have, end);
                truncated += 1;
            }
            Err(InspectError::Empty) => assert_eq!(end, 0),
            // A cut between two sections looks whole; what is gone is then missed by a rule.
            Err(InspectError::Invalid { .. }) => {}
            Err(other) => panic!("{end}: {other}"),
            // Before its last section, the data, nothing tells that something is missing.
            Ok(report) => assert!(!report.problems().is_empty() || end == whole.len() - 13, "{end}"),
        }
    }
    assert!(truncated > whole.len() / 2, "{truncated} of {}", whole.len());
}

#[test]
fn a_flipped_byte_never_panics() {
    let whole = wat::parse_str(
        "(module (memory (export \"memory\") 1) (func (export \"_start\") (i32.store (i32.const 0) (i32.const 1))))",
    )
    .unwrap();
    let mut refused = 0;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            refused += usize::from(inspect(&bytes).map_or(true, |report| !report.problems().is_empty()));
        }
    }
    assert!(refused > whole.len() * 4, "{refused}");
}

#[test]
fn data_that_fits_to_the_last_byte_is_no_problem_and_one_byte_more_is() {
    let problems = |data: &str| {
        let text = format!("(module (memory (export \"memory\") 1) {data} (func (export \"_start\")))");
        report(&text).problems().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(problems("(data (i32.const 65533) \"abc\")"), Vec::<String>::new());
    let told = "its data ends at byte 65537 of memory 0, which has 65536 bytes at the start";
    assert_eq!(problems("(data (i32.const 65534) \"abc\")"), [told]);
    assert_eq!(problems("(data (i32.const 65534) \"abc\") (data (i32.const 0) \"abc\")"), [told]);
    let far = problems("(data (i32.const -1) \"abc\")");
    assert_eq!(far, ["its data ends at byte 4294967298 of memory 0, which has 65536 bytes at the start"]);
    assert_eq!(problems("(data \"passive, wherever it goes\")"), Vec::<String>::new());
}

#[test]
fn tables_are_reported_with_what_they_begin_with() {
    let report = report("(module (table 3 9 funcref) (table 4 externref) (func (export \"_start\")))");
    let tables: Vec<_> = report.tables.iter().map(|table| (table.min, table.max)).collect();
    assert_eq!((tables, report.initial_table_elements()), (vec![(3, Some(9)), (4, None)], 7));
}

#[test]
fn what_is_told_of_a_hostile_module_is_bounded() {
    let long = "x".repeat(90_000);
    let imports = |count: usize, name: &dyn Fn(usize) -> String| {
        let imports: String = (0..count)
            .map(|number| format!("(import \"wasi_snapshot_preview1\" \"{}\" (func))", name(number)))
            .collect();
        report(&format!("(module {imports} (memory (export \"memory\") 1) (func (export \"_start\")))"))
    };
    let told = sentences(&imports(100, &|number| format!("{long}{number}")).problems());
    assert_eq!((told.len(), told[20].as_str()), (21, "and 80 more"));
    let name = format!("{}... (90001 bytes)", "x".repeat(100));
    assert_eq!(told[0], format!("wasi_snapshot_preview1.{name}: unknown name"));
    // Words that are near enough to be looked for are many.
    let missing = imports(20_000, &|number| format!("fd_wirte{}", number % 10)).missing();
    let hints = missing.iter().filter(|missing| missing.reason == Reason::UnknownName { nearest: Some("fd_write") });
    assert_eq!((missing.len(), hints.count()), (20_000, 20));
}
