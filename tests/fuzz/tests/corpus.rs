//! Every committed input goes through its target: what a fuzzer found once is not forgotten, and what it found its way
//! to stays reachable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use refrain_fuzz::TARGETS;

/// Targets in C: the program, and the sources that it is linked with, from the root of the repository.
const NATIVE: &[(&str, &[&str])] = &[
    ("native_chunked", &["fuzz/native/chunked.c", "examples/image-server/chunked.c"]),
    ("native_request", &["fuzz/native/request.c", "examples/image-server/request.c", "examples/image-server/name.c"]),
    ("native_resp", &["fuzz/native/resp.c", "examples/kv-server/resp.c"]),
];

/// As many inputs as a target has at least and at most, and the most bytes of all of them.
const LEAST: usize = 10;
const MOST: usize = 64;
const MOST_BYTES: u64 = 64 * 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The inputs of a target, in the order of their names.
fn inputs(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let listed = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    inputs
}

fn run(name: &str) {
    let target = refrain_fuzz::target(name).expect("a target");
    for path in inputs(name) {
        let bytes = fs::read(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| target(&bytes));
        assert!(outcome.is_ok(), "{name} fails on {}", path.display());
    }
}

#[test]
fn every_target_has_a_small_corpus_and_every_corpus_a_target() {
    let mut names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    names.extend(NATIVE.iter().map(|(name, _)| *name));
    names.sort_unstable();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut folders: Vec<String> =
        fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort_unstable();
    assert_eq!(folders, names);
    for name in names {
        let inputs = inputs(name);
        let bytes: u64 = inputs.iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!((LEAST..=MOST).contains(&inputs.len()), "{name} has {} inputs", inputs.len());
        assert!(bytes <= MOST_BYTES, "{name} has {bytes} bytes of inputs, the limit is {MOST_BYTES}");
    }
}

#[test]
fn every_target_has_a_binary() {
    for (name, _) in TARGETS {
        let source = root().join(format!("fuzz/src/bin/{name}.rs"));
        let text = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        assert!(text.contains(&format!("::{name}(data));")), "{}", source.display());
    }
}

macro_rules! corpora {
    ($($test:ident: $name:literal;)*) => {
        $(#[test]
        fn $test() {
            run($name);
        })*

        #[test]
        fn every_target_is_run_here() {
            let run: Vec<&str> = vec![$($name,)*];
            assert_eq!(run, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        }
    };
}

corpora! {
    api_json_answers_its_corpus: "api_json";
    bundle_answers_its_corpus: "bundle";
    entry_answers_its_corpus: "entry";
    frames_answers_its_corpus: "frames";
    http_connection_answers_its_corpus: "http_connection";
    http_framing_answers_its_corpus: "http_framing";
    http_head_answers_its_corpus: "http_head";
    http_routes_answers_its_corpus: "http_routes";
    kernel_bytes_answers_its_corpus: "kernel_bytes";
    kernel_calls_answers_its_corpus: "kernel_calls";
    lists_answers_its_corpus: "lists";
    manifest_answers_its_corpus: "manifest";
    messages_answers_its_corpus: "messages";
    module_answers_its_corpus: "module";
    names_answers_its_corpus: "names";
    proxy_protocol_answers_its_corpus: "proxy_protocol";
    raft_messages_answers_its_corpus: "raft_messages";
    records_answers_its_corpus: "records";
    segments_answers_its_corpus: "segments";
    shard_state_answers_its_corpus: "shard_state";
}

/// With the sanitizers of the machine's own compiler, where it has them.
#[test]
fn the_targets_in_c_answer_their_corpus() {
    let scratch = tempfile::tempdir().unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    for (name, sources) in NATIVE {
        let program = scratch.path().join(name);
        let build = |sanitize: &[&str]| {
            let mut command = Command::new(&compiler);
            command.current_dir(root()).args(["-std=c11", "-g", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]);
            command.args(sanitize).arg("-o").arg(&program).args(*sources).arg("fuzz/native/replay.c");
            command.output().unwrap_or_else(|error| panic!("cannot run {compiler}: {error}"))
        };
        if !build(&["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]).status.success() {
            let plain = build(&[]);
            assert!(plain.status.success(), "{name}: {}", String::from_utf8_lossy(&plain.stderr));
        }
        let ran = Command::new(&program).args(inputs(name)).output().unwrap();
        assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}
