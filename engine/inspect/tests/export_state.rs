//! The exported state is complete, and nothing else changes.

use refrain_inspect::{ExportStateError, export_state, inspect};
use wasmparser::Parser;

fn exports(bytes: &[u8]) -> Vec<String> {
    inspect(bytes).unwrap().exports
}

fn exported(text: &str) -> (Vec<u8>, Vec<u8>) {
    let before = wat::parse_str(text).unwrap();
    let after = export_state(&before).unwrap();
    (before, after)
}

#[test]
fn memories_tables_and_mutable_globals_are_exported_under_reserved_names() {
    let (_, after) = exported(
        "(module (import \"m\" \"g\" (global i64)) (memory (export \"memory\") 1) (memory 2) (table 1 funcref)
         (global (mut i32) (i32.const 1)) (global i32 (i32.const 2)) (global (mut f64) (f64.const 3))
         (func (export \"_start\")))",
    );
    assert_eq!(
        exports(&after),
        [
            "memory",
            "_start",
            "refrain:memory:0",
            "refrain:memory:1",
            "refrain:table:0",
            "refrain:global:1",
            "refrain:global:3"
        ]
    );
}

#[test]
fn all_other_bytes_stay_as_they_are() {
    let (before, after) = exported(
        "(module (memory (export \"memory\") 1) (global $sp (mut i32) (i32.const 1)) (func $f (export \"_start\"))
         (data (i32.const 0) \"hello\") (@custom \"note\" (before func) \"kept\") (@custom \"end\" \"kept too\"))",
    );
    let others = |bytes: &[u8]| -> Vec<(u8, Vec<u8>)> {
        let payloads = Parser::new(0).parse_all(bytes).map(Result::unwrap);
        let sections = payloads.filter_map(|payload| payload.as_section());
        let others = sections.filter(|(id, _)| *id != 7);
        others.map(|(id, range)| (id, bytes[range].to_vec())).collect()
    };
    assert_eq!(others(&before), others(&after));
    assert_eq!(others(&before).len(), 9);
    assert_eq!(exports(&after)[..2], exports(&before));
}

#[test]
fn a_module_without_exports_gets_a_section_in_the_right_place() {
    for text in [
        "(module (memory 1))",
        "(module (memory 1) (func))",
        "(module (memory 1) (func) (start 0))",
        "(module (table 1 funcref) (func) (elem (i32.const 0) 0))",
        "(module (memory 1) (data (i32.const 0) \"x\"))",
        "(module (memory 1) (@custom \"x\" (after last) \"y\"))",
    ] {
        let (_, after) = exported(text);
        assert_eq!(exports(&after).len(), 1, "{text}");
    }
}

#[test]
fn a_module_without_state_stays_valid() {
    let (_, after) = exported("(module (func (export \"_start\")))");
    assert_eq!(exports(&after), ["_start"]);
}

#[test]
fn exporting_twice_is_refused_because_the_names_are_reserved() {
    let (_, after) = exported("(module (memory 1))");
    let error = export_state(&after).unwrap_err();
    assert!(matches!(&error, ExportStateError::Reserved { name } if name == "refrain:memory:0"), "{error}");
    assert_eq!(
        error.to_string(),
        "the module exports `refrain:memory:0`: names that begin with `refrain:` are reserved"
    );
}

#[test]
fn what_is_no_module_is_refused() {
    assert!(matches!(export_state(b"no"), Err(ExportStateError::Module(_))));
}
