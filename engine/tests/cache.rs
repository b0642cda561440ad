//! The cache of compiled code.

mod support;

use std::path::{Path, PathBuf};

use refrain_engine::Platform;
use support::{ECHO, LIMITS, Rig, blueprint_of, config, open};

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn compiled_code_is_kept_and_a_damaged_file_is_compiled_over() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("code");
    let platform = Platform::new(Some(cache.clone())).unwrap();
    assert!(!platform.load(ECHO).unwrap().cached);
    assert!(platform.load(ECHO).unwrap().cached);
    let again = Platform::new(Some(cache.clone())).unwrap();
    assert!(again.load(ECHO).unwrap().cached, "another process with the same key would find it too");
    let [file] = &files(&cache)[..] else { panic!("one file and no leftovers") };
    let whole = std::fs::read(file).unwrap();
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes[0] ^= 1,
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.truncate(10),
    ];
    for damage in damages {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(file, bytes).unwrap();
        let compiled = platform.load(ECHO).unwrap();
        assert!(!compiled.cached, "it is not used");
        let mut rig = Rig::new(blueprint_of(compiled, config(), LIMITS), 0);
        assert_eq!(support::exit_reason(&rig.turn(&[open(1, 7)])), None, "the code runs");
        assert!(platform.load(ECHO).unwrap().cached, "the file is whole again");
    }
}

#[test]
fn a_cache_that_cannot_be_written_costs_only_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"in the way").unwrap();
    let platform = Platform::new(Some(file)).unwrap();
    assert!(!platform.load(ECHO).unwrap().cached);
    assert!(!platform.load(ECHO).unwrap().cached);
}
