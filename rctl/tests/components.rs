//! Components by `rctl check` and `rctl service build`, as a user runs them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const MANIFEST: &str =
    "name = \"svc\"\nversion = \"1.0.0\"\nmodule = \"svc.wasm\"\nkind = \"http\"\nmode = \"stateless\"\n";
const ROUTES: &str =
    "[[routes]]\npath = \"/...\"\n[[routes]]\nhost = \"a.b\"\npath = \"/x\"\nmethods = [\"GET\", \"POST\"]\n";

/// As the C compiler leaves it: a core module with the names of the canonical ABI.
const MODULE: &str = r#"(module
    (import "wasi:http/types@0.2.12" "[resource-drop]incoming-request" (func $drop (param i32)))
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "wasi:http/incoming-handler@0.2.12#handle") (param i32 i32) (call $drop (local.get 0))))"#;

/// A component with these imports.
fn importing(names: &[&str]) -> Vec<u8> {
    let imports: String = names.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    let handler = "(instance $i) (export \"wasi:http/handler@0.3.0\" (instance $i))";
    wat::parse_str(format!("(component {imports} {handler})")).unwrap()
}

fn folder(manifest: &str, module: &[u8]) -> TempDir {
    let place = TempDir::new().unwrap();
    fs::create_dir(place.path().join("svc")).unwrap();
    fs::write(place.path().join("svc/service.toml"), format!("{MANIFEST}{manifest}")).unwrap();
    fs::write(place.path().join("svc/svc.wasm"), module).unwrap();
    place
}

fn rctl(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rctl")).args(arguments).current_dir(place).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&out(output)).unwrap()
}

fn told(value: &serde_json::Value) -> Vec<&str> {
    value.as_array().unwrap().iter().filter_map(|text| text.as_str()).collect()
}

#[test]
fn check_of_a_component_is_golden_as_text_and_as_json() {
    let names =
        ["wasi:http/types@0.3.0", "wasi:http/client@0.3.0", "wasi:cli/environment@0.2.6", "shop:stock/levels@1.0.0"];
    let place = folder(ROUTES, &importing(&names));
    let output = rctl(place.path(), &["check", "svc"]);
    assert_eq!(out(&output), include_str!("golden/check-component.txt"));
    assert_eq!(output.status.code(), Some(1));
    let output = rctl(place.path(), &["check", "svc", "--json"]);
    assert_eq!(out(&output), include_str!("golden/check-component.json"));
    // Without a manifest nothing is compared.
    let output = rctl(place.path(), &["check", "svc/svc.wasm", "--json"]);
    assert!(told(&json(&output)["warnings"]).is_empty());
}

#[test]
fn check_tells_what_the_manifest_gives_and_the_component_does_not_use() {
    let client = ["wasi:http/client@0.3.0"];
    let sockets = ["wasi:sockets/tcp@0.2.0"];
    for (names, manifest, warning) in [
        (&client[..], format!("{ROUTES}[http]\noutgoing = [\"a.b\"]\n"), None),
        (&client, ROUTES.to_owned(), Some("http.outgoing is empty")),
        (&[], format!("{ROUTES}[http]\noutgoing = [\"a.b\"]\n"), Some("http.outgoing has 1 entry")),
        (&sockets, ROUTES.to_owned(), Some("wasi:sockets")),
        (&[], String::new(), Some("no [[routes]]")),
    ] {
        let place = folder(&manifest, &importing(names));
        let output = rctl(place.path(), &["check", "svc", "--json"]);
        let checked = json(&output);
        let warnings = told(&checked["warnings"]);
        assert_eq!(output.status.code(), Some(0), "a warning is no failure");
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{warnings:?}");
        assert!(warning.is_none_or(|warning| warnings[0].contains(warning)), "{warnings:?}");
    }
}

#[test]
fn check_compares_what_a_program_begins_with_with_its_limits() {
    let module = "(core module $m (memory 100) (table 1000 funcref)) (core instance (instantiate $m))
        (component $c (core module $n (memory 12)) (core instance (instantiate $n)) (core instance (instantiate $n)))
        (instance (instantiate $c)) (instance (instantiate $c))";
    let run = "(instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i))";
    let bytes = wat::parse_str(format!("(component {module} {run})")).unwrap();
    for (limits, problems) in [
        ("memory = \"9472KiB\"\ntables = 1000\n", &[][..]),
        (
            "memory = \"9408KiB\"\ntables = 999\n",
            &[
                "starts with 9.2 MiB of memory, limits.memory is 9408KiB",
                "starts with tables of 1000 elements, limits.tables is 999",
            ],
        ),
    ] {
        let place = folder("", &bytes);
        let manifest = format!("name = \"svc\"\nversion = \"1.0.0\"\nmodule = \"svc.wasm\"\n[limits]\n{limits}");
        fs::write(place.path().join("svc/service.toml"), manifest).unwrap();
        let output = rctl(place.path(), &["check", "svc", "--json"]);
        assert_eq!(told(&json(&output)["problems"]), problems);
        assert_eq!(output.status.code(), Some(i32::from(!problems.is_empty())));
    }
}

#[test]
fn build_makes_a_component_of_a_core_module_and_leaves_one_as_it_is() {
    let command = format!("{ROUTES}[build]\ncommand = \"cp made.wasm out.wasm\"\noutput = \"out.wasm\"\n");
    let place = folder(&command, b"");
    let module = wat::parse_str(MODULE).unwrap();
    fs::write(place.path().join("svc/made.wasm"), &module).unwrap();
    let output = rctl(place.path(), &["service", "build", "svc", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    let built = json(&output);
    assert_eq!(built["module_bytes"].as_u64(), Some(module.len() as u64));
    assert_eq!((built["written"].as_bool(), built["component"]["handler"].as_str()), (Some(true), Some("0.2")));

    let component = fs::read(place.path().join("svc/svc.wasm")).unwrap();
    fs::write(place.path().join("svc/made.wasm"), &component).unwrap();
    let built = json(&rctl(place.path(), &["service", "build", "svc", "-o", "json"]));
    assert!(built["module_bytes"].is_null());
    assert_eq!(fs::read(place.path().join("svc/svc.wasm")).unwrap(), component);
    let text = out(&rctl(place.path(), &["service", "build", "svc"]));
    assert!(text.contains("wasi:http/incoming-handler 0.2") && !text.contains("checkpoints"), "{text}");
}

#[test]
fn build_refuses_what_cannot_serve_and_keeps_what_was_there() {
    for (made, problem) in [
        (wat::parse_str("(module (memory (export \"memory\") 1))").unwrap(), "no component can be made of the module"),
        (wat::parse_str("(component)").unwrap(), "nothing handles requests"),
        (b"not wasm".to_vec(), "invalid"),
    ] {
        let place = folder(&format!("{ROUTES}[build]\noutput = \"made.wasm\"\n"), b"before");
        fs::write(place.path().join("svc/made.wasm"), made).unwrap();
        let output = rctl(place.path(), &["service", "build", "svc", "-o", "json"]);
        let built = json(&output);
        let problems = told(&built["problems"]);
        assert_eq!((output.status.code(), problems.len()), (Some(1), 1), "{problems:?}");
        assert!(problems[0].contains(problem), "{problems:?}");
        assert_eq!(fs::read(place.path().join("svc/svc.wasm")).unwrap(), b"before");
    }
}

#[test]
fn a_core_module_is_no_service_of_kind_http_until_it_is_built() {
    let place = folder(ROUTES, &wat::parse_str(MODULE).unwrap());
    for arguments in [&["check", "svc"][..], &["service", "build", "svc", "--check"]] {
        let output = rctl(place.path(), arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(out(&output).contains("`rctl service build` makes it one"), "{}", out(&output));
    }
}
