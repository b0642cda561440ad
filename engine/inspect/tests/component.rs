//! Components as they are told, from text.

use refrain_inspect::{Feature, Handler, InspectError, inspect_component, is_component, sentences};

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
