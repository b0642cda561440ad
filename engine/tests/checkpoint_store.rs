//! The folder of checkpoints: what is read is what was written, nothing that is needed is removed, damage is told.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use refrain_engine::checkpoint::manifest::{Blob, GuestParts, MemoryParts, Parts};
use refrain_engine::checkpoint::{CheckpointStore, ChunkError, ChunkId, ChunkSource, Manifest, StoreError};
use refrain_wire::{Digest, GroupId, Position, RunningDigest};

fn page(fill: u8) -> Vec<u8> {
    (0..65536u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ fill).collect()
}

/// A checkpoint of one memory with these pages, and its chunks.
fn checkpoint(group: u32, position: u64, fills: &[u8]) -> (Manifest, Vec<(ChunkId, Vec<u8>)>) {
    let pages: Vec<_> = fills.iter().map(|fill| page(*fill)).map(|page| (ChunkId::of(&page), page)).collect();
    let kernel = format!("kernel at {position}").into_bytes();
    let chunks = pages.iter().enumerate().map(|(index, (id, _))| (index as u32, *id)).collect();
    let manifest = Manifest::new(Parts {
        group: GroupId(group),
        position: Position(position),
        running: RunningDigest([1; 32]),
        bundle: [2; 32],
        key: Digest([3; 16]),
        guest: Some(GuestParts {
            memory_refused: false,
            memories: vec![MemoryParts { pages: fills.len() as u32, chunks }],
            globals: vec![5],
        }),
        kernel: Blob { bytes: kernel.len() as u64, chunks: vec![ChunkId::of(&kernel)] },
        contents: Vec::new(),
    });
    let kernel = (ChunkId::of(&kernel), kernel);
    (manifest, pages.into_iter().chain([kernel]).collect())
}

fn store(store: &CheckpointStore, (manifest, chunks): &(Manifest, Vec<(ChunkId, Vec<u8>)>)) {
    let draft = store.draft();
    for (id, bytes) in chunks {
        draft.put(*id, bytes).unwrap();
    }
    draft.finish(manifest).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out
}

fn chunk_files(folder: &Path) -> usize {
    files(&folder.join("chunks")).len()
}

#[test]
fn what_was_stored_is_read_back_also_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let one = checkpoint(1, 10, &[1, 2, 1]);
    store(&CheckpointStore::open(folder.path()).unwrap(), &one);
    let again = CheckpointStore::open(folder.path()).unwrap();
    assert_eq!(again.list(GroupId(1)).unwrap(), [(Position(10), one.0.root())]);
    assert_eq!(again.manifest(GroupId(1), one.0.root()).unwrap(), Some(one.0.clone()));
    for (id, bytes) in &one.1 {
        assert_eq!(&again.chunk(id).unwrap(), bytes);
    }
    assert_eq!(chunk_files(folder.path()), 3, "equal pages are stored once");
    assert_eq!(again.manifest(GroupId(2), one.0.root()).unwrap(), None);
    let missing = again.chunk(&ChunkId([0; 32])).unwrap_err();
    assert!(matches!(missing, ChunkError::Missing { .. }), "{missing}");
}

#[test]
fn the_two_newest_and_the_agreed_one_are_kept_and_chunks_that_nobody_names_go() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<_> = (1..=5).map(|at| checkpoint(1, at, &[at as u8, 100])).collect();
    let opened = CheckpointStore::open(folder.path()).unwrap();
    store(&opened, &checkpoint(2, 1, &[100, 50]));
    store(&opened, &all[0]);
    opened.agreed(GroupId(1), &[all[0].0.root()]);
    all[1..].iter().for_each(|one| store(&opened, one));
    let positions = |store: &CheckpointStore| {
        store.list(GroupId(1)).unwrap().iter().map(|(position, _)| position.0).collect::<Vec<_>>()
    };
    assert_eq!(positions(&opened), [5, 4, 1]);
    // Pages 1, 4, 5, 50 and 100, and three kernels, one of them of both groups.
    assert_eq!(chunk_files(folder.path()), 8);
    opened.agreed(GroupId(1), &[all[4].0.root()]);
    store(&opened, &checkpoint(1, 6, &[6]));
    assert_eq!(positions(&opened), [6, 5]);
    opened.remove_group(GroupId(1)).unwrap();
    assert_eq!(positions(&opened), [0; 0]);
    assert_eq!(chunk_files(folder.path()), 3, "those of the other group");
}

#[test]
fn chunks_of_an_unfinished_checkpoint_stay_until_it_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let opened = CheckpointStore::open(folder.path()).unwrap();
    let (manifest, chunks) = checkpoint(1, 1, &[1, 2]);
    let draft = opened.draft();
    assert!(draft.put(chunks[0].0, &chunks[0].1).unwrap());
    assert!(!draft.put(chunks[0].0, &chunks[0].1).unwrap());
    store(&opened, &checkpoint(2, 1, &[9]));
    assert!(opened.has(&chunks[0].0), "another checkpoint's end does not collect it");
    let error = draft.finish(&manifest).unwrap_err();
    assert!(matches!(error, StoreError::Chunk(ChunkError::Missing { .. })), "{error}");
    assert!(!opened.has(&chunks[0].0));
    assert!(opened.list(GroupId(1)).unwrap().is_empty());
}

#[test]
fn a_transfer_goes_on_after_a_crash_with_the_chunks_that_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, chunks) = checkpoint(1, 1, &[1, 2]);
    {
        let opened = CheckpointStore::open(folder.path()).unwrap();
        let draft = opened.draft();
        chunks[..2].iter().for_each(|(id, bytes)| assert!(draft.put(*id, bytes).unwrap()));
        draft.keep_chunks();
    }
    // A crash before the disk had everything: one is cut, and one was never renamed.
    let of = |id: &ChunkId| folder.path().join("chunks").join(format!("{:02x}", id.0[0])).join(id.to_string());
    let cut = fs::read(of(&chunks[1].0)).unwrap();
    fs::write(of(&chunks[1].0), &cut[..cut.len() / 2]).unwrap();
    fs::write(folder.path().join("chunks/00/.part-7"), b"half").unwrap();
    let again = CheckpointStore::open(folder.path()).unwrap();
    assert_eq!((again.has(&chunks[0].0), again.has(&chunks[1].0)), (true, false));
    assert_eq!(chunk_files(folder.path()), 1);
    store(&again, &(manifest, chunks));
}

#[test]
fn every_damaged_byte_of_a_chunk_or_manifest_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let opened = CheckpointStore::open(folder.path()).unwrap();
    let (manifest, chunks) = checkpoint(1, 1, &[1]);
    let whole = (manifest, chunks);
    for path in {
        store(&opened, &whole);
        files(folder.path())
    } {
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 40 + 1).chain([bytes.len() - 1]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, damaged).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.ends_with(".manifest") {
                let error = opened.manifest(GroupId(1), whole.0.root()).unwrap_err();
                assert!(matches!(error, StoreError::Manifest { .. }), "{error}");
            } else {
                let id = whole.1.iter().find(|(id, _)| id.to_string() == name).unwrap().0;
                // A bit of the frame's header may change nothing that is unpacked.
                if let Err(error) = opened.chunk(&id) {
                    assert!(matches!(&error, ChunkError::Damaged { id: named, .. } if *named == id), "{error}");
                    assert!(!opened.has(&id), "it is fetched or written again");
                }
            }
            fs::write(&path, &bytes).unwrap();
        }
    }
}

#[test]
fn a_damaged_manifest_is_gone_after_the_next_start_and_takes_its_chunks_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (checkpoint(1, 1, &[1]), checkpoint(1, 2, &[2]));
    {
        let opened = CheckpointStore::open(folder.path()).unwrap();
        store(&opened, &one);
        store(&opened, &two);
    }
    let path = files(&folder.path().join("groups")).into_iter().find(|path| path.to_string_lossy().contains("01-"));
    fs::write(path.unwrap(), b"RFCK").unwrap();
    let opened = CheckpointStore::open(folder.path()).unwrap();
    assert_eq!(opened.list(GroupId(1)).unwrap(), [(Position(2), two.0.root())]);
}

#[test]
fn a_disk_that_cannot_be_written_costs_the_checkpoint_alone() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Arc::new(CheckpointStore::open(folder.path()).unwrap());
    let one = checkpoint(1, 1, &[1]);
    store(&opened, &one);
    let two = checkpoint(1, 2, &[2]);
    let blocked = folder.path().join("chunks").join(format!("{:02x}", two.1[0].0.0[0]));
    let moved = folder.path().join("moved");
    fs::rename(&blocked, &moved).unwrap();
    fs::write(&blocked, b"in the way").unwrap();
    let draft = opened.draft();
    let error = draft.put(two.1[0].0, &two.1[0].1).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    drop(draft);
    fs::remove_file(&blocked).unwrap();
    fs::rename(&moved, &blocked).unwrap();
    assert_eq!(opened.list(GroupId(1)).unwrap().len(), 1);
    one.1.iter().for_each(|(id, bytes)| assert_eq!(&opened.chunk(id).unwrap(), bytes));
    store(&opened, &two);
}

#[test]
fn checkpoints_that_are_finished_while_others_are_removed_keep_every_chunk() {
    const ROUNDS: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let opened = CheckpointStore::open(folder.path()).unwrap();
    std::thread::scope(|scope| {
        for group in 1..=4u32 {
            let opened = &opened;
            scope.spawn(move || {
                for at in 1..=ROUNDS {
                    // Each has a page of its own, and one that others write, name and remove all the time.
                    let one = checkpoint(group, at, &[(group * 61) as u8 ^ at as u8, (at % 3) as u8]);
                    store(opened, &one);
                    assert!(opened.holds(GroupId(group), one.0.root()).unwrap(), "group {group}, position {at}");
                }
            });
        }
    });
    let mut named = std::collections::BTreeSet::new();
    for group in 1..=4 {
        for (_, root) in opened.list(GroupId(group)).unwrap() {
            assert!(opened.holds(GroupId(group), root).unwrap(), "{root}");
            named.extend(opened.manifest(GroupId(group), root).unwrap().unwrap().chunks());
        }
    }
    drop(opened.draft());
    assert_eq!(chunk_files(folder.path()), named.len(), "nothing else is left");
}

#[test]
fn a_checkpoint_without_one_of_its_chunks_is_not_held() {
    let folder = tempfile::tempdir().unwrap();
    let opened = CheckpointStore::open(folder.path()).unwrap();
    let one = checkpoint(1, 1, &[1, 2]);
    store(&opened, &one);
    assert!(opened.holds(GroupId(1), one.0.root()).unwrap());
    assert!(!opened.holds(GroupId(2), one.0.root()).unwrap());
    let id = one.1[1].0.to_string();
    let chunk = files(&folder.path().join("chunks")).into_iter().find(|path| path.ends_with(&id)).unwrap();
    fs::remove_file(chunk).unwrap();
    assert!(!opened.holds(GroupId(1), one.0.root()).unwrap());
}

#[test]
fn a_manifest_of_another_version_is_an_error_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    store(&CheckpointStore::open(folder.path()).unwrap(), &checkpoint(1, 1, &[1]));
    let path = files(&folder.path().join("groups")).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[4] += 1;
    fs::remove_file(&path).unwrap();
    // What another version writes is what its name says, too.
    let path = path.with_file_name(format!("{:020}-{}.manifest", 1, blake3::hash(&bytes).to_hex()));
    fs::write(&path, &bytes).unwrap();
    let error = CheckpointStore::open(folder.path()).err().unwrap();
    assert!(error.to_string().ends_with("cannot be used"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(chunk_files(folder.path()), 2);
}
