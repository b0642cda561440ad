//! What keeps a module's guests from being saved is found from its bytes, whatever the module says of itself.

use refrain_inspect::abi;
use refrain_inspect::asyncify::{Reason, checkpointable, layout, waiting_imports, waits};

/// A module with Asyncify's marks and these parts.
fn marked(parts: &str) -> Vec<u8> {
    module("(memory $stack 64 64)", parts)
}

fn module(stack: &str, parts: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  {stack}
  (global $state (mut i32) (i32.const 0))
  (global $data (mut i32) (i32.const 0))
  (table $t 4 funcref)
  {parts}
  (func (export "asyncify_start_unwind") (param i32)
    (global.set $state (i32.const 1)) (global.set $data (local.get 0))
    (if (i32.gt_u (i32.load $stack (global.get $data)) (i32.load $stack offset=4 (global.get $data)))
      (then unreachable)))
  (func (export "asyncify_get_state") (result i32) (global.get $state)))"#
    );
    wat::parse_str(text).unwrap()
}

const START: &str = r#"(func (export "_start")
  (drop (call $poll (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))) (drop (global.get $state)))"#;

fn reasons(module: &[u8]) -> Vec<String> {
    checkpointable(module).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn every_function_that_may_wait_is_one_that_a_guest_can_import() {
    let names: Vec<(&str, &str)> = waiting_imports().collect();
    assert!(names.len() > 30 && names.is_sorted());
    for (module, name) in names {
        let found = abi::named(module, name, module == "env");
        assert!(!found.is_empty() && found.iter().all(|function| function.refusal.is_none()), "{module}.{name}");
        assert!(waits(module, name) && !waits("mine", name));
    }
    assert!(!waits(abi::PREVIEW1_MODULE, "random_get"));
}

#[test]
fn what_waits_in_preview_1_waits_in_wasix_too() {
    for (module, name) in waiting_imports() {
        if module == abi::PREVIEW1_MODULE && abi::PREVIEW1.iter().any(|function| function.name == name) {
            assert!(waits(abi::WASIX_MODULE, name), "{name}");
        }
    }
}

#[test]
fn an_instrumented_module_shows_where_its_stack_goes() {
    let layout = layout(&marked(START)).unwrap();
    assert_eq!((layout.state_global, layout.data_global, layout.memory), (0, 1, 1));
    assert_eq!(layout.memory_bytes, 4 << 20);
    assert_eq!(checkpointable(&marked(START)), Ok(layout));
}

#[test]
fn a_module_without_marks_or_with_others_is_told_so() {
    let plain = wat::parse_str("(module (func (export \"_start\")))").unwrap();
    assert_eq!(checkpointable(&plain), Err(vec![Reason::NotInstrumented]));
    assert_eq!(layout(&plain), None);
    let odd = "(module (global $s (mut i32) (i32.const 0)) (func (export \"_start\"))
        (func (export \"asyncify_get_state\") (result i32) (i32.const 0))
        (func (export \"asyncify_start_unwind\") (param i32)))";
    assert_eq!(checkpointable(&wat::parse_str(odd).unwrap()), Err(vec![Reason::UnknownForm]));
    assert!(matches!(checkpointable(b"no").unwrap_err()[..], [Reason::Invalid { .. }]));
}

#[test]
fn a_long_way_to_a_wait_takes_no_longer_than_a_module_is_long() {
    // Each calls the next one, and the last may wait: one search for each would take hours.
    let count = 150_000;
    let chain: String = (0..count).map(|number| format!("(func $f{number} (call $f{}))", number + 1)).collect();
    let wait = "(drop (call $poll (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))";
    let module = marked(&format!("{START} {chain} (func $f{count} {wait})"));
    assert_eq!(checkpointable(&module).unwrap_err().len(), count + 1);
}

#[test]
fn a_function_on_the_way_to_a_wait_that_does_not_look_at_the_state_is_named() {
    let bare = r#"(func $inner (drop (call $poll (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
        (func (export "_start") (call $inner) (drop (global.get $state)))"#;
    assert_eq!(checkpointable(&marked(bare)), Err(vec![Reason::Uncovered { function: 2 }]));
    let indirect = format!("{START} (type $f (func)) (func $g (call_indirect (type $f) (i32.const 0)))");
    assert_eq!(reasons(&marked(&indirect)), ["function 3 leads to a call that may wait and is not instrumented"]);
    let apart = format!("{START} (func $g (drop (call $random (i32.const 0) (i32.const 0))))");
    assert!(checkpointable(&marked(&apart)).is_ok(), "a call that never waits needs nothing");
}

#[test]
fn state_that_nobody_could_put_back_is_named() {
    for (parts, reason) in [
        ("(func $s) (start $s)", "its start function would run again when it is restored"),
        ("(func (table.set $t (i32.const 0) (ref.null func)))", "its code changes table 0"),
        ("(func (drop (table.grow $t (ref.null func) (i32.const 1))))", "its code changes table 0"),
        ("(func (table.fill $t (i32.const 0) (ref.null func) (i32.const 1)))", "its code changes table 0"),
        ("(func (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 1)))", "its code changes table 0"),
        (
            "(elem $e funcref) (func (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0)))",
            "its code changes table 0",
        ),
        ("(elem $e funcref) (func (elem.drop $e))", "its code drops segments of data or elements"),
        ("(data $d \"x\") (func (data.drop $d))", "its code drops segments of data or elements"),
        ("(global (mut externref) (ref.null extern))", "its mutable global 2 holds a reference"),
    ] {
        assert_eq!(reasons(&marked(&format!("{START} {parts}"))), [reason], "{parts}");
    }
    let memories = |count| format!("{START} {}", "(memory 0)".repeat(count));
    assert_eq!(reasons(&marked(&memories(15))), ["it has 17 memories, more than 16"]);
    assert!(checkpointable(&marked(&memories(14))).is_ok());
    let passive = "(data $d \"x\") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))";
    assert!(checkpointable(&marked(&format!("{START} {passive}"))).is_ok(), "it stays for ever");
}

#[test]
fn the_memory_of_the_stack_is_apart_and_has_one_size() {
    for stack in ["(memory $stack 1)", "(memory $stack 1 2)", "(memory $stack 0 0)", "(memory $stack 257 257)"] {
        let found = reasons(&module(stack, START));
        assert!(found.len() == 1 && found[0].starts_with("the memory for its stack has "), "{stack}: {found:?}");
    }
    assert!(checkpointable(&module("(memory $stack 256 256)", START)).is_ok());
    let shared = wat::parse_str(
        "(module (memory $stack 1 1) (global $s (mut i32) (i32.const 0)) (global $d (mut i32) (i32.const 0))
         (func (export \"_start\"))
         (func (export \"asyncify_start_unwind\") (param i32)
           (global.set $s (i32.const 1)) (global.set $d (local.get 0))
           (if (i32.gt_u (i32.load (global.get $d)) (i32.load offset=4 (global.get $d))) (then unreachable)))
         (func (export \"asyncify_get_state\") (result i32) (global.get $s)))",
    );
    assert_eq!(checkpointable(&shared.unwrap()), Err(vec![Reason::StackInOwnMemory]));
}
