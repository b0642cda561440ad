//! What every source file has: a header, a bounded length, a name that says where it belongs.

use anyhow::Result;

use crate::workspace::{files, none, read};

const MAX_LINES: usize = 600;
const MAX_TEST_LINES: usize = 800;

/// Files of tests, benches and examples, wherever they are.
fn is_test(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.any(|part| matches!(part, "tests" | "benches" | "examples" | "tests.rs" | "bench"))
}

fn sources(extensions: &[&str]) -> Result<Vec<String>> {
    let has = |path: &String| path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension));
    Ok(files()?.into_iter().filter(has).collect())
}

/// What is wrong with the start of a module.
fn header_fault(text: &str) -> Option<&'static str> {
    let first = text.lines().next().unwrap_or_default();
    let Some(words) = first.strip_prefix("//!") else {
        return Some("does not begin with a //! header");
    };
    (words.trim().len() < 8).then_some("has a header that says nothing")
}

#[test]
fn every_module_begins_with_a_header() -> Result<()> {
    let mut faults = Vec::new();
    for path in sources(&["rs"])?.iter().filter(|path| !is_test(path) && !path.ends_with("build.rs")) {
        faults.extend(header_fault(&read(path)?).map(|fault| format!("{path} {fault}")));
    }
    none("a module does not say what it is", &faults)
}

#[test]
fn a_module_without_a_header_is_found() {
    assert!(header_fault("use std::fmt;\n").is_some());
    assert!(header_fault("//! t\n").is_some());
    assert!(header_fault("").is_some());
    assert_eq!(header_fault("//! What it is.\n"), None);
}

#[test]
fn no_file_is_too_long() -> Result<()> {
    let mut faults = Vec::new();
    for path in sources(&["rs", "c", "h"])? {
        let limit = if is_test(&path) { MAX_TEST_LINES } else { MAX_LINES };
        let lines = read(&path)?.lines().count();
        if lines > limit {
            faults.push(format!("{path} has {lines} lines, the limit is {limit}"));
        }
    }
    none("a file has a second subject", &faults)
}

#[test]
fn modules_are_named_after_their_subject() -> Result<()> {
    const DRAWERS: &[&str] = &["common", "util", "utils", "helpers", "misc", "types"];
    let mut faults = Vec::new();
    for path in sources(&["rs"])? {
        // Below `tests/` a file of its own would be a test binary.
        if path.ends_with("/mod.rs") && !is_test(&path) {
            faults.push(format!("{path}: a module's file stands beside its folder"));
        }
        let drawer = |part: &str| DRAWERS.contains(&part.trim_end_matches(".rs"));
        // openraft wants its type parameters in one place; that module holds nothing else.
        if path.split('/').any(drawer) && path != "sequencer/src/raft/types.rs" {
            faults.push(format!("{path}: a drawer is no name"));
        }
    }
    none("a module has a bad name", &faults)
}
