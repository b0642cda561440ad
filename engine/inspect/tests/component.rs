//! Components as they are told, from text.

use refrain_inspect::{Feature, Handler, InspectError, MAX_PARTS, inspect_component, is_component, sentences};

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).unwrap()
}

const EMPTY: &str = "(instance)";

#[test]
fn the_handler_is_told_by_its_interface_and_its_version() {
    for (export, handler) in [
        ("wasi:http/incoming-handler@0.2.0", Some(Handler::P2)),
        ("wasi:http/incoming-handler@0.2.12", Some(Handler::P2)),
        ("wasi:http/handler@0.3.0", Some(Handler::P3)),
        ("wasi:http/handler@0.2.0", None),
        ("wasi:http/incoming-handler@0.3.0", None),
        ("wasi:http/incoming-handler@0.20.0", None),
        ("wasi:cli/run@0.2.0", None),
    ] {
        let bytes = component(&format!("(instance $i) (export \"{export}\" (instance $i))"));
        let found = inspect_component(&bytes).unwrap();
        assert_eq!((found.handler, found.exports[0].to_string().as_str()), (handler, export));
        assert_eq!(found.unservable().is_empty(), handler.is_some(), "{export}");
    }
}

#[test]
fn imports_that_the_host_does_not_have_are_missing() {
    for (import, provided) in [
        ("wasi:io/streams@0.2.12", true),
        ("wasi:io/streams@0.3.0", false),
        ("wasi:http/types@0.3.0", true),
        ("wasi:http/types@0.1.0", false),
        ("wasi:http/types", false),
        ("wasi:nn/graph@0.2.0", false),
        ("shop:stock/levels@1.0.0", false),
        ("plain", false),
    ] {
        let bytes = component(&format!(
            "(import \"{import}\" {EMPTY}) (instance $i) (export \"wasi:http/handler@0.3.0\" (instance $i))"
        ));
        let told = sentences(&inspect_component(&bytes).unwrap().unservable());
        let expected = format!("imports {import}, which no http service is given");
        assert_eq!(told, if provided { vec![] } else { vec![expected] });
    }
}

#[test]
fn a_command_is_told_by_its_export_and_what_it_is_not_given_is_missing() {
    let command =
        |fields: &str, export: &str| component(&format!("{fields} (instance $i) (export \"{export}\" (instance $i))"));
    let told = |bytes: &[u8]| sentences(&inspect_component(bytes).unwrap().unrunnable());
    for (version, sockets) in
        [("0.2.0", "tcp"), ("0.2.6", "tcp"), ("0.2.99", "tcp"), ("0.3.0", "types"), ("0.3.7", "types")]
    {
        let import = format!("(import \"wasi:sockets/{sockets}@{version}\" {EMPTY})");
        let bytes = command(&import, &format!("wasi:cli/run@{version}"));
        let found = inspect_component(&bytes).unwrap();
        assert_eq!(found.command().map(ToString::to_string), Some(format!("wasi:cli/run@{version}")));
        assert!(told(&bytes).is_empty());
    }
    for export in ["wasi:cli/run@0.3.0-rc-2026-02-09", "wasi:cli/run@0.4.0", "wasi:http/incoming-handler@0.2.0", "run"]
    {
        let nothing = "exports neither wasi:cli/run 0.2 nor 0.3: nothing in it runs";
        assert_eq!(told(&command("", export)), [nothing], "{export}");
    }
    for import in
        ["wasi:http/types@0.2.0", "wasi:clocks/timezone@0.2.0", "wasi:sockets/tcp@0.3.0", "wasi:io/poll", "plain"]
    {
        let bytes = command(&format!("(import \"{import}\" {EMPTY})"), "wasi:cli/run@0.2.0");
        assert_eq!(told(&bytes), [format!("imports {import}, which no command is given")]);
    }
    for (import, given) in [
        ("wasi:sockets/tcp@0.2.0", true),
        ("wasi:sockets/types@0.3.0", true),
        ("wasi:sockets/tcp@0.3.0", false),
        ("wasi:cli/stdin@0.3.0-rc-2026-02-09", false),
        ("wasi:http/types@0.3.0", false),
        ("wasi:clocks/timezone@0.3.0", false),
    ] {
        let bytes = command(&format!("(import \"{import}\" {EMPTY})"), "wasi:cli/run@0.3.0");
        let missing = format!("imports {import}, which no command is given");
        assert_eq!(told(&bytes), if given { vec![] } else { vec![missing] });
    }
    let both =
        "(instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)) (export \"wasi:cli/run@0.3.0\" (instance $i))";
    let found = inspect_component(&component(both)).unwrap();
    assert_eq!(found.command().map(ToString::to_string).as_deref(), Some("wasi:cli/run@0.3.0"));
    assert!(found.is_concurrent());
}

#[test]
fn features_of_the_modules_within_are_those_of_the_component() {
    let run = "(instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i))";
    let bytes = component(&format!("(component (core module (memory i64 1))) (core module (memory 1)) {run}"));
    let found = inspect_component(&bytes).unwrap();
    assert_eq!(found.features, [Feature::Memory64]);
    assert!(sentences(&found.unrunnable())[0].starts_with("uses 64-bit memory: "));
    assert!(inspect_component(&component(&format!("(core module (memory 1)) {run}"))).unwrap().features.is_empty());
}

#[test]
fn names_of_inner_components_are_not_the_outer_ones() {
    let inner = "(component (import \"x\" (instance)) (core module (memory 1)))";
    let found =
        inspect_component(&component(&format!("{inner} (core module) (import \"wasi:io/poll@0.2.0\" {EMPTY})")))
            .unwrap();
    assert_eq!(found.imports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["wasi:io/poll@0.2.0"]);
    assert_eq!(found.modules, 2);
    assert!(found.imports("wasi:io", "poll") && !found.imports("wasi:io", "streams"));
}

#[test]
fn loops_too_deep_in_a_module_within_are_told() {
    let loops = format!("{}{}", "(loop ".repeat(51), ")".repeat(51));
    let error = inspect_component(&component(&format!("(core module (func {loops}))"))).unwrap_err();
    assert!(matches!(error, InspectError::LoopsTooDeep { .. }), "{error}");
}

#[test]
fn what_is_no_component_is_told() {
    let module = wat::parse_str("(module)").unwrap();
    assert!(!is_component(&module) && is_component(&component("")));
    let bytes = component("(instance $i) (export \"wasi:http/handler@0.3.0\" (instance $i))");
    for end in 0..bytes.len() {
        // Whole sections that are not there are no fault, half ones are.
        if let Err(error) = inspect_component(&bytes[..end]) {
            assert!(matches!(error, InspectError::Invalid { .. }), "{error}");
        }
    }
}

/// Components within one another, of which each makes so many of the next; in the last one a module with a memory.
fn nested(depth: usize, times: usize) -> Vec<u8> {
    let instances = |what: &str| format!("(instance (instantiate ${what}))").repeat(times);
    let mut text =
        "(component $c0 (core module $m (memory 2) (table 10 funcref)) (core instance (instantiate $m)))".to_owned();
    for level in 1..=depth {
        text = format!("(component $c{level} {text} {})", instances(&format!("c{}", level - 1)));
    }
    component(&format!("{text} (instance (instantiate $c{depth}))"))
}

#[test]
fn what_a_component_becomes_is_counted_as_often_as_it_is_instantiated() {
    let found = inspect_component(&nested(3, 4)).unwrap();
    assert_eq!(found.initial_memory_bytes, 64 * 2 * 65_536);
    assert_eq!(found.initial_table_elements, 640);
    // Two to the thirtieth in 2 KiB.
    let error = inspect_component(&nested(30, 2)).unwrap_err();
    assert!(matches!(error, InspectError::TooManyParts { count } if count > 1 << 30), "{error}");
    assert!(error.to_string().contains("the limit is 10000"), "{error}");
}

#[test]
fn parts_are_taken_up_to_the_limit_and_not_one_more() {
    // A hundred times a component of 99 instances, which is one itself.
    let hundreds = |besides: &str| {
        let inner = format!("(component $c {})", "(instance)".repeat(99));
        component(&format!("{inner} {} {besides}", "(instance (instantiate $c))".repeat(100)))
    };
    assert_eq!(MAX_PARTS, 10_000);
    assert!(inspect_component(&hundreds("")).is_ok());
    let error = inspect_component(&hundreds("(instance)")).unwrap_err();
    assert!(matches!(error, InspectError::TooManyParts { count: 10_001 }), "{error}");
}

#[test]
fn components_by_another_name_are_counted_too() {
    let inner = "(component $inner (core module $m (memory 1)) (core instance (instantiate $m)))";
    for made in [
        "(component (alias outer 1 $inner (component $other)) (instance (instantiate $other)))",
        "(component (component $own (alias outer 2 $inner (component $o)) (instance (instantiate $o)))
            (instance (instantiate $own)))",
    ] {
        let bytes = component(&format!(
            "{inner} {} (instance (instantiate $outer))",
            made.replacen("(component", "(component $outer", 1)
        ));
        assert_eq!(inspect_component(&bytes).unwrap().initial_memory_bytes, 65_536, "{made}");
    }
    let exported =
        component(&format!("{inner} (export $again \"again\" (component $inner)) (instance (instantiate $again))"));
    assert_eq!(inspect_component(&exported).unwrap().initial_memory_bytes, 65_536);
}

#[test]
fn components_that_are_handed_on_are_refused() {
    for text in [
        "(import \"c\" (component))",
        "(component (import \"c\" (component $c)) (instance (instantiate $c)))",
        "(import \"i\" (instance $i (export \"c\" (component)))) (alias export $i \"c\" (component $c))",
    ] {
        let error = inspect_component(&component(text)).unwrap_err();
        assert!(matches!(error, InspectError::ComponentHanded), "{text}: {error}");
    }
}

/// A component that gives a function of a type, and one that calls it.
fn exchange(ty: &str) -> String {
    let memory = "(core module $m (memory (export \"m\") 1)
        (func (export \"r\") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export \"f\") (param i32 i32)))
        (core instance $i (instantiate $m))
        (alias core export $i \"m\" (core memory $memory)) (alias core export $i \"r\" (core func $realloc))";
    let options = "(memory $memory) (realloc (core func $realloc))";
    format!(
        "(component $giver {memory}
            (func (export \"f\") (param \"x\" {ty}) (canon lift (core func $i \"f\") {options})))
        (component $taker (import \"f\" (func $f (param \"x\" {ty}))) {memory}
            (core func $lowered (canon lower (func $f) {options})))
        (instance $g (instantiate $giver)) (alias export $g \"f\" (func $f))
        (instance (instantiate $taker (with \"f\" (func $f))))"
    )
}

#[test]
fn strings_between_components_within_one_are_told_and_other_values_are_not() {
    let run = "(instance $run) (export \"wasi:cli/run@0.2.0\" (instance $run))";
    let told = |text: &str| sentences(&inspect_component(&component(&format!("{text} {run}"))).unwrap().unrunnable());
    let refused = ["components within it hand strings to each other, and no fuel counts what copying them costs"];
    assert_eq!(told(&exchange("string")), refused);
    assert_eq!(told(&exchange("(list (tuple string u8))")), refused);
    assert!(told(&exchange("(list u8)")).is_empty());
    // A component that asks its host for strings, as most do.
    let asks = "(import \"wasi:cli/environment@0.2.0\" (instance $e (export \"initial-cwd\" (func (result (option string))))))
        (core module $m (memory (export \"m\") 1) (func (export \"r\") (param i32 i32 i32 i32) (result i32) unreachable))
        (core instance $i (instantiate $m)) (alias export $e \"initial-cwd\" (func $f))
        (alias core export $i \"m\" (core memory $memory)) (alias core export $i \"r\" (core func $realloc))
        (core func (canon lower (func $f) (memory $memory) (realloc (core func $realloc))))";
    assert!(told(asks).is_empty());
}
