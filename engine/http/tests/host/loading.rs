//! From bytes to a service: what is refused and why, and the cache of compiled code.

use std::path::{Path, PathBuf};

use refrain_http_host::{Host, HostError, Limits, LoadError, Permissions, Service, Settings};

use crate::support::{P2, P3, host, host_with, settings, text};

fn load(text: &str) -> Result<Service, LoadError> {
    load_with(text, Limits::default())
}

fn load_with(text: &str, limits: Limits) -> Result<Service, LoadError> {
    let bytes = wat::parse_str(text).expect("valid text");
    host().load(&bytes, "test", limits, Permissions::default())
}

/// The service, or the error with its causes.
fn words(loaded: Result<Service, LoadError>) -> String {
    let error = loaded.map(drop).expect_err("an error");
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// A component with an instance that passes for a handler as far as names go, and a module beside it.
fn with_module(module: &str) -> String {
    format!(
        r#"(component
            (core module $m {module})
            (core instance (instantiate $m))
            (instance $handler)
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    )
}

#[test]
fn a_core_module_is_told_from_a_component() {
    assert_eq!(words(load("(module)")), "this is a core module, and an http service must be a component");
}

#[test]
fn other_bytes_are_no_component() {
    for bytes in [&b""[..], b"hello, world", b"\0asm\x01\0"] {
        let loaded = host().load(bytes, "test", Limits::default(), Permissions::default());
        assert!(words(loaded).starts_with("this is no WebAssembly component"));
    }
}

#[test]
fn a_component_without_a_handler_is_told_what_it_exports() {
    assert!(words(load("(component)")).ends_with("but nothing"));
    let other = r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;
    assert!(words(load(other)).ends_with("but wasi:cli/run@0.2.0"));
}

#[test]
fn a_handler_of_another_type_is_refused() {
    assert!(words(load(&with_module(""))).starts_with("the component's handler cannot be used: "));
}

#[test]
fn a_missing_import_is_named() {
    let text = r#"(component
        (import "acme:db/store@1.0.0" (instance (export "get" (func))))
        (instance $handler)
        (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;
    let words = words(load(text));
    assert!(words.contains("acme:db/store@1.0.0"), "{words}");
}

#[test]
fn a_component_that_is_damaged_is_refused() {
    let mut bytes = P2.to_vec();
    bytes.truncate(bytes.len() / 2);
    let loaded = host().load(&bytes, "test", Limits::default(), Permissions::default());
    let words = words(loaded);
    assert!(words.starts_with("the component exports neither") || words.contains("cannot be compiled"), "{words}");
}

#[test]
fn a_component_may_begin_with_memory_and_tables_up_to_its_limits() {
    let limits = Limits { memory_bytes: 2 * 65_536, table_elements: 10, ..Limits::default() };
    let loaded = |module: &str| words(load_with(&with_module(module), limits.clone()));
    let fits = "the component's handler cannot be used";
    assert!(loaded("(memory 2)").starts_with(fits));
    assert_eq!(
        loaded("(memory 3)"),
        "the component begins with a memory of 196608 bytes, more than its limit of 131072"
    );
    assert!(loaded("(table 10 funcref)").starts_with(fits));
    assert_eq!(
        loaded("(table 11 funcref)"),
        "the component begins with a table of 11 elements, more than its limit of 10"
    );
}

#[test]
fn a_component_may_take_sixteen_slots_and_no_more() {
    let many = |count: usize| {
        let modules = "(core instance (instantiate $m))".repeat(count);
        with_module("").replace("(core instance (instantiate $m))", &modules)
    };
    assert!(words(load(&many(128))).starts_with("the component's handler cannot be used"));
    let words = words(load(&many(129)));
    assert!(words.starts_with("an instance needs 17 slots of the pool (129 core instances, 0 memories"), "{words}");
}

#[test]
fn a_host_has_between_1_and_8192_slots() {
    for slots in [0, Host::MOST_SLOTS + 1] {
        let host = Host::new(Settings { slots, ..Settings::default() });
        assert!(matches!(host, Err(HostError::Slots { .. })));
    }
    host_with(Settings { slots: 1, ..settings() });
}

/// A host with a cache of its own.
fn cached(folder: &Path) -> Host {
    host_with(Settings { cache: Some(folder.to_owned()), ..settings() })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[tokio::test]
async fn compiled_code_is_taken_from_the_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |host: &Host| host.load(P2, "test", Limits::default(), Permissions::default()).expect("it loads");
    let first = cached(folder.path());
    load(&first);
    assert_eq!(first.cache_counts(), (0, 1));
    load(&first);
    assert_eq!(first.cache_counts(), (1, 1));

    let second = cached(folder.path());
    assert_eq!(text(&load(&second), "/").await.expect("a response"), "hello, world\n");
    assert_eq!(second.cache_counts(), (1, 0));
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn damaged_code_in_the_cache_is_compiled_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |host: &Host| host.load(P3, "test", Limits::default(), Permissions::default()).expect("it loads");
    load(&cached(folder.path()));
    let [file] = &files(folder.path())[..] else { panic!("one file") };
    let mut bytes = std::fs::read(file).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, &bytes).expect("the file");

    let host = cached(folder.path());
    assert_eq!(text(&load(&host), "/").await.expect("a response"), "hello, world\n");
    assert_eq!(host.cache_counts(), (0, 1));
    load(&host);
    assert_eq!(host.cache_counts(), (1, 1));
}
