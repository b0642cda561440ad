//! One build for the server and for the tests: a crate whose features differ between the two is compiled twice, and
//! for wasmtime that costs minutes.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::workspace::{Graph, cargo, none};

/// `name version features` of every package that a build of `selection` compiles.
fn features_of(selection: &[&str], edges: &str) -> Result<BTreeSet<String>> {
    let tree = cargo(
        &[&["tree", "--prefix", "none", "--no-dedupe", "--format", "{p} [{f}]", "--edges", edges], selection].concat(),
    )?;
    Ok(tree.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect())
}

/// As the README builds the programs.
const PROGRAMS: &[&str] = &["--package", "refrain", "--package", "refrain-rctl"];

#[test]
fn wasmtime_is_built_once_for_the_programs_and_the_tests() -> Result<()> {
    let graph = Graph::load()?;
    let of_wasmtime = graph.build_of(graph.package("wasmtime")?);
    let programs = features_of(PROGRAMS, "normal,build")?;
    let workspace = features_of(&["--workspace"], "normal,build,dev")?;
    let compared = programs.iter().filter(|line| line.split(' ').next().is_some_and(|name| of_wasmtime.contains(name)));
    let (same, different): (Vec<&String>, Vec<&String>) = compared.partition(|line| workspace.contains(*line));
    // What is slow to compile must be among what was compared; the graph also names parts of other systems.
    for part in ["wasmtime", "wasmtime-environ", "wasmtime-internal-cranelift", "cranelift-codegen", "regalloc2"] {
        let found = same.iter().chain(&different).any(|line| line.split(' ').next() == Some(part));
        ensure!(found, "the server is built without {part}");
    }
    none("the tests are built with other features than", &different.into_iter().cloned().collect::<Vec<_>>())
}

#[test]
fn wasmtime_has_the_features_that_were_chosen_for_it() -> Result<()> {
    let programs = features_of(PROGRAMS, "normal,build")?;
    let features: Vec<&str> =
        programs.iter().filter(|line| line.starts_with("wasmtime v")).map(String::as_str).collect();
    ensure!(features.len() == 1, "more than one wasmtime: {features:?}");
    let has = |name: &str| features[0].split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| word == name);
    ensure!(has("cranelift") && has("async") && has("runtime"), "{features:?}");
    // Threads are not even compiled in; its own cache and the others would only cost time.
    for absent in ["threads", "cache", "profiling", "winch", "wat", "coredump"] {
        ensure!(!has(absent), "wasmtime has the feature {absent}: {features:?}");
    }
    Ok(())
}
