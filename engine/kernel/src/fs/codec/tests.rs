//! Tests of the canonical form. Random states are encoded and decoded in `fs/model.rs`.

use std::sync::Arc;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::DecodeError;
use crate::fs::fixture::{bundle, create, empty, encoded, file, read, tree, write};
use crate::fs::inode::Node;
use crate::fs::{BundleFiles, CHUNK_BYTES, Follow, Fs, INODE_CHARGE_BYTES, ROOT};

/// Something of every kind: bundle files whole, cut and overlaid, holes, links, unnamed but open inodes.
fn sample() -> (Fs, BundleFiles) {
    let bundle = bundle(&[
        ("/b/big", vec![3; 2 * CHUNK_BYTES + 7]),
        ("/b/cut", vec![4; 100]),
        ("/b/empty", vec![]),
        ("/whole", b"whole".to_vec()),
    ]);
    let mut fs = Fs::new(&bundle, 1 << 20, 3);
    let big = file(&fs, "b/big");
    write(&mut fs, big, CHUNK_BYTES as u64 + 1, b"x").unwrap();
    let cut = file(&fs, "b/cut");
    fs.set_size(cut, 50, 4).unwrap();
    fs.set_size(cut, 70, 5).unwrap();
    let sparse = create(&mut fs, "sparse");
    write(&mut fs, sparse, 1 << 40, b"far").unwrap();
    fs.link(ROOT, b"sparse", Follow::No, ROOT, b"b/hard", 6).unwrap();
    fs.symlink(b"../sparse", ROOT, b"b/soft", 7).unwrap();
    let gone = create(&mut fs, "gone");
    fs.retain(gone);
    fs.unlink(ROOT, b"gone", 8).unwrap();
    let dir = fs.mkdir(ROOT, b"gone", 9).unwrap();
    fs.retain(dir);
    fs.rmdir(ROOT, b"gone", 10).unwrap();
    (fs, bundle)
}

fn digest(fs: &Fs) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    fs.digest_into(&mut hasher);
    hasher.finalize()
}

#[test]
fn decoding_gives_the_same_files_bytes_and_digest() {
    let (mut fs, bundle) = sample();
    let bytes = encoded(&fs);
    let mut again = Fs::decode(&bytes, &bundle).unwrap();
    assert_eq!(encoded(&again), bytes);
    assert_eq!(digest(&again), digest(&fs));
    assert_eq!(tree(&again), tree(&fs));
    assert_eq!(again.usage(), fs.usage());
    assert_eq!(read(&again, "b/big"), read(&fs, "b/big"));
    assert_eq!(read(&again, "b/cut"), read(&fs, "b/cut"));
    for fs in [&mut fs, &mut again] {
        fs.rename(ROOT, b"b", ROOT, b"c", 11).unwrap();
        create(fs, "c/new");
    }
    assert_eq!(encoded(&again), encoded(&fs));
}

#[test]
fn the_form_is_fixed() {
    let bundle = bundle(&[("/b", b"bundle".to_vec())]);
    let mut fs = Fs::new(&bundle, 1 << 20, 5);
    let f = create(&mut fs, "f");
    write(&mut fs, f, 0, b"hi").unwrap();
    fs.retain(f);
    fs.symlink(b"f", ROOT, b"l", 9).unwrap();

    let number = u64::to_le_bytes;
    let times = |a, m, c| [number(a), number(m), number(c)].concat();
    let name = |name: &[u8], inode, cookie| [&[1], name, &number(inode), &number(cookie)].concat();
    let head = [&[1], &bundle.digest().as_bytes()[..], &number(1 << 20), &number(3 * 512)].concat();
    let root = [&number(1)[..], &[3], &[0; 4], &times(5, 9, 9), &number(6), &number(3)].concat();
    let names = [name(b"b", 2, 3), name(b"f", 3, 4), name(b"l", 4, 5)].concat();
    let b = [&number(2)[..], &[4], &[0; 4], &times(5, 5, 5), &number(6)].concat();
    let shown = [&[1][..], &[0; 4], &number(6), &number(0)].concat();
    let file = [&number(3)[..], &[4], &[1, 0, 0, 0], &times(1, 2, 2), &number(2)].concat();
    let chunks = [&[0][..], &number(1), &number(0)].concat();
    let link = [&number(4)[..], &[7], &[0; 4], &times(9, 9, 9), &[1, 0], b"f"].concat();

    let counts = [number(5), number(4)].concat();
    let before = [head, counts, root, names, b, shown, file, chunks].concat();
    assert_eq!(encoded(&fs), [&before[..], b"hi", &link].concat());
    let hashed = [&before[..], blake3::hash(b"hi").as_bytes(), &link].concat();
    assert_eq!(digest(&fs), blake3::hash(&hashed));
}

#[test]
fn the_digest_tells_every_single_change_and_follows_cached_chunks() {
    let (mut fs, bundle) = sample();
    let mut seen = vec![digest(&fs)];
    let mut changed = |fs: &Fs| {
        let fresh = Fs::decode(&encoded(fs), &bundle).unwrap();
        assert_eq!(digest(&fresh), digest(fs), "a kept hash is stale");
        assert!(!seen.contains(&digest(fs)));
        seen.push(digest(fs));
    };
    let big = file(&fs, "b/big");
    write(&mut fs, big, CHUNK_BYTES as u64 + 1, b"y").unwrap();
    changed(&fs);
    fs.set_size(big, 2 * CHUNK_BYTES as u64 - 1, 2).unwrap();
    changed(&fs);
    fs.append(big, b"z", 2).unwrap();
    changed(&fs);
    fs.retain(big);
    changed(&fs);
    fs.rename(ROOT, b"whole", ROOT, b"w", 10).unwrap();
    changed(&fs);
}

#[test]
fn every_cut_is_refused_and_so_is_a_tail() {
    let (fs, bundle) = sample();
    let mut bytes = encoded(&fs);
    let mut cuts: Vec<usize> = (0..400).chain(bytes.len() - 400..bytes.len()).collect();
    cuts.extend((0..bytes.len()).step_by(997));
    for cut in cuts {
        let error = Fs::decode(&bytes[..cut], &bundle).err();
        assert_eq!(error, Some(DecodeError::Truncated), "cut at {cut}");
    }
    bytes.push(0);
    assert_eq!(Fs::decode(&bytes, &bundle).err(), Some(DecodeError::Trailing(1)));
}

#[test]
fn another_version_and_another_bundle_are_refused() {
    let (fs, bundle) = sample();
    let mut bytes = encoded(&fs);
    let other = crate::fs::fixture::bundle(&[("/whole", b"whole".to_vec())]);
    assert_eq!(Fs::decode(&bytes, &other).err(), Some(DecodeError::Bundle));
    bytes[0] = 2;
    assert_eq!(Fs::decode(&bytes, &bundle).err(), Some(DecodeError::Version(2)));
}

#[test]
fn more_than_the_quota_is_refused() {
    let bundle = bundle(&[]);
    let mut fs = Fs::new(&bundle, 2 * INODE_CHARGE_BYTES, 0);
    create(&mut fs, "a");
    let mut bytes = encoded(&fs);
    assert!(Fs::decode(&bytes, &bundle).is_ok());
    let limit = (2 * INODE_CHARGE_BYTES - 1).to_le_bytes();
    bytes[33..41].copy_from_slice(&limit);
    let refused = Fs::decode(&bytes, &bundle).err();
    assert!(matches!(refused, Some(DecodeError::Quota { .. })));
}

#[test]
fn directories_in_a_ring_are_refused() {
    let mut fs = empty(1 << 20);
    let a = fs.mkdir(ROOT, b"a", 1).unwrap();
    let b = fs.mkdir(a, b"b", 1).unwrap();
    fs.edit_directory(ROOT, 1, |entries| entries.remove(b"a"));
    fs.edit_directory(b, 1, |entries| entries.insert(b"a", a));
    let refused = Fs::decode(&encoded(&fs), &bundle(&[])).err();
    let rule = "not every directory is below it";
    assert_eq!(refused, Some(DecodeError::Inode { inode: 1, rule }));
}

#[test]
fn names_without_inodes_and_inodes_without_names_are_refused() {
    let decode = |fs: &Fs| Fs::decode(&encoded(fs), &bundle(&[])).err();
    let mut fs = empty(1 << 20);
    let a = create(&mut fs, "a");
    let whole = fs.clone();
    fs.inodes.remove(&a);
    assert!(matches!(decode(&fs), Some(DecodeError::Inode { inode: 2, .. })));
    let mut fs = whole.clone();
    fs.edit_directory(ROOT, 1, |entries| entries.remove(b"a"));
    assert!(matches!(decode(&fs), Some(DecodeError::Inode { inode: 2, .. })));
    let mut fs = whole.clone();
    let d = fs.mkdir(ROOT, b"d", 1).unwrap();
    fs.edit_directory(ROOT, 1, |entries| entries.insert(b"e", d));
    assert!(matches!(decode(&fs), Some(DecodeError::Inode { inode: 3, .. })));
    let mut fs = whole;
    fs.edit_directory(ROOT, 1, |entries| entries.insert(b"a/b", a));
    assert!(matches!(decode(&fs), Some(DecodeError::Inode { inode: 1, .. })));
}

#[test]
fn a_chunk_beyond_the_end_of_its_file_is_refused() {
    let mut fs = empty(1 << 20);
    let a = create(&mut fs, "a");
    write(&mut fs, a, 0, &[1; CHUNK_BYTES]).unwrap();
    if let Node::File(content) = &mut fs.inodes.get_mut(&a).unwrap().node {
        content.chunks.insert(1, Arc::default());
    }
    let rule = "it has a chunk beyond its end";
    let refused = Fs::decode(&encoded(&fs), &bundle(&[])).err();
    assert_eq!(refused, Some(DecodeError::Inode { inode: a.0, rule }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_never_panic_and_what_is_taken_is_canonical(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        near_start in any::<bool>(),
    ) {
        let bundle = bundle(&[("/b/cut", vec![4; 100]), ("/whole", b"whole".to_vec())]);
        let mut fs = Fs::new(&bundle, 1 << 20, 3);
        let a = create(&mut fs, "a");
        write(&mut fs, a, 0, &[7; 50]).unwrap();
        fs.symlink(b"a", ROOT, b"b/l", 7).unwrap();
        fs.link(ROOT, b"a", Follow::No, ROOT, b"b/h", 7).unwrap();
        let mut bytes = encoded(&fs);
        let reach = if near_start { 33..73 } else { 57..bytes.len() };
        for (index, byte) in damage {
            bytes[reach.start + index.index(reach.len())] = byte;
        }
        if let Ok(taken) = Fs::decode(&bytes, &bundle) {
            assert_eq!(encoded(&taken), bytes);
        }
    }

    #[test]
    fn garbage_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bundle = bundle(&[]);
        assert!(Fs::decode(&bytes, &bundle).is_err());
        bytes.splice(0..0, [&[1][..], bundle.digest().as_bytes()].concat());
        assert!(Fs::decode(&bytes, &bundle).is_err());
    }
}
