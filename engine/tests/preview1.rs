//! The programs that check WASI preview 1, in two replicas that must agree: every check holds, and all digests are equal.

mod support;

use std::path::PathBuf;
use std::process::Command;

use refrain_kernel::config::GuestConfig;
use support::{LIMITS, Rig, blueprint, exit_reason, lines, platform};

/// The most turns of a program: it waits a second in all, a millisecond a turn.
const MAX_TURNS: u32 = 20_000;

/// The programs that could be built here, and their folder.
fn programs() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/preview1/build");
    let built = Command::new(build).arg(folder.path()).output().expect("the script can be run");
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{told}");
    let left_any = told.lines().any(|line| line.starts_with("left out: "));
    assert!(!left_any || std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{told}");
    eprint!("{told}");
    let entries = std::fs::read_dir(folder.path()).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut programs: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "wasm")).collect();
    programs.sort();
    (folder, programs)
}

#[test]
fn every_check_of_preview_1_holds_in_replicas_that_agree() {
    let platform = platform();
    let (_folder, programs) = programs();
    let mut failures = Vec::new();
    for program in &programs {
        let name = program.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let module = std::fs::read(program).expect("it was built");
        let config = GuestConfig {
            args: vec![name.clone().into_bytes()],
            env: vec![b"A=1".to_vec(), b"LANG=C".to_vec()],
            ports: Vec::new(),
            ..support::config()
        };
        let blueprint = blueprint(&platform, &module, config, LIMITS);
        let mut rigs = [0, 1].map(|seat| Rig::new(blueprint.clone(), seat));
        let (mut told, mut end) = (Vec::new(), None);
        for _ in 0..MAX_TURNS {
            let [one, two] = rigs.each_mut().map(|rig| rig.turn(&[]));
            assert_eq!((&one.votes, one.after, one.fuel), (&two.votes, two.after, two.fuel), "{name}");
            told.extend(lines(&one));
            end = exit_reason(&one);
            if end.is_some() {
                break;
            }
        }
        if end.as_deref() != Some("exited with code 0") {
            failures.push(format!("{name}: {end:?}\n{}", told.join("\n")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
