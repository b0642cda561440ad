//! The bytes of a manifest are fixed, and no other bytes are one.

use refrain_wire::{Digest, GroupId, Position, RunningDigest};

use super::{Blob, Difference, GuestParts, Manifest, ManifestError, MemoryParts, Parts, Root};
use crate::checkpoint::chunk::ChunkId;

fn parts() -> Parts {
    Parts {
        group: GroupId(7),
        position: Position(0x0102_0304),
        running: RunningDigest([0x11; 32]),
        bundle: [0x22; 32],
        key: Digest([0x33; 16]),
        guest: Some(GuestParts {
            memory_refused: true,
            memories: vec![
                MemoryParts { pages: 3, chunks: vec![(0, ChunkId([0xa0; 32])), (2, ChunkId([0xa1; 32]))] },
                MemoryParts { pages: 64, chunks: Vec::new() },
            ],
            globals: vec![5, u128::from(u64::MAX)],
        }),
        kernel: Blob { bytes: 65_537, chunks: vec![ChunkId([0xb0; 32]), ChunkId([0xb1; 32])] },
        contents: vec![ChunkId([0xc0; 32])],
    }
}

#[test]
fn the_bytes_of_a_manifest_are_fixed() {
    let of = |byte: u8| [byte; 32];
    let mut bytes = b"RFCK\x02\x00\x07\x00\x00\x00\x04\x03\x02\x01\x00\x00\x00\x00".to_vec();
    bytes.extend([of(0x11), of(0x22)].concat());
    bytes.extend([0x33; 16]);
    bytes.extend(b"\x01\x01\x02");
    bytes.extend(b"\x03\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00");
    bytes.extend(of(0xa0));
    bytes.extend(b"\x02\x00\x00\x00");
    bytes.extend(of(0xa1));
    bytes.extend(b"\x40\x00\x00\x00\x00\x00\x00\x00");
    bytes.extend(b"\x02\x00\x00\x00\x05");
    bytes.extend([0; 15]);
    bytes.extend([[0xff; 8], [0; 8]].concat());
    bytes.extend(b"\x01\x00\x01\x00\x00\x00\x00\x00");
    bytes.extend([of(0xb0), of(0xb1)].concat());
    bytes.extend(b"\x01\x00\x00\x00");
    bytes.extend(of(0xc0));
    let manifest = Manifest::new(parts());
    assert_eq!(manifest.bytes(), bytes);
    assert_eq!(manifest.root(), Root(*blake3::hash(&bytes).as_bytes()));
    assert_eq!(Manifest::open(&bytes, manifest.root()), Ok(manifest));
}

#[test]
fn bytes_with_another_root_are_refused_wherever_they_differ() {
    let manifest = Manifest::new(parts());
    for at in 0..manifest.bytes().len() {
        let mut bytes = manifest.bytes().to_vec();
        bytes[at] ^= 1;
        let error = Manifest::open(&bytes, manifest.root()).unwrap_err();
        assert!(matches!(error, ManifestError::Root { expected, .. } if expected == manifest.root()));
    }
}

/// Opens bytes under their own root, as one does who was lied to about it.
fn open(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    Manifest::open(bytes, Root(*blake3::hash(bytes).as_bytes()))
}

#[test]
fn bytes_that_are_cut_or_too_long_or_changed_never_panic_and_are_no_other_form_of_a_manifest() {
    let whole = Manifest::new(parts()).bytes().to_vec();
    (0..whole.len()).for_each(|end| assert!(open(&whole[..end]).is_err(), "cut at {end}"));
    assert!(open(&[&whole[..], b"x"].concat()).is_err());
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            if let Ok(manifest) = open(&bytes) {
                assert_eq!(Manifest::new(manifest.parts().clone()).bytes(), bytes, "one value has one form");
            }
        }
    }
}

#[test]
fn a_version_that_is_not_known_is_told_with_the_one_that_is() {
    let mut bytes = Manifest::new(parts()).bytes().to_vec();
    for version in [0u16, 1, 3, 0xffff] {
        bytes[4..6].copy_from_slice(&version.to_le_bytes());
        let error = open(&bytes).unwrap_err();
        assert_eq!(error, ManifestError::Version(version));
        assert_eq!(error.to_string(), format!("the manifest has version {version}, expected 2"));
    }
}

#[test]
fn what_no_replica_could_have_written_is_refused() {
    let refused = |edit: fn(&mut Parts), rule: &str| {
        let mut parts = parts();
        edit(&mut parts);
        let error = open(Manifest::new(parts).bytes()).unwrap_err();
        assert!(error.to_string().contains(rule), "{error}");
    };
    fn memory(parts: &mut Parts) -> &mut MemoryParts {
        &mut parts.guest.as_mut().unwrap().memories[0]
    }
    refused(|parts| memory(parts).chunks.swap(0, 1), "do not rise");
    refused(|parts| memory(parts).pages = 2, "beyond its memory");
    refused(|parts| memory(parts).pages = 65_537, "too large");
    refused(
        |parts| parts.guest.as_mut().unwrap().memories = vec![MemoryParts { pages: 0, chunks: vec![] }; 17],
        "too many",
    );
    refused(|parts| parts.contents.push(ChunkId([0xc0; 32])), "do not rise");
    refused(|parts| parts.kernel.bytes = u64::MAX, "ends too early");
}

#[test]
fn every_difference_is_named() {
    let one = Manifest::new(parts());
    let differences = |edit: fn(&mut Parts)| {
        let mut other = parts();
        edit(&mut other);
        one.differences(&Manifest::new(other))
    };
    assert_eq!(differences(|_| {}), []);
    fn guest(parts: &mut Parts) -> &mut GuestParts {
        parts.guest.as_mut().unwrap()
    }
    let id = |byte| Some(ChunkId([byte; 32]));
    let page = |page, chunks| Difference::Page { memory: 0, page, chunks };
    assert_eq!(differences(|parts| guest(parts).memories[0].chunks[1].1.0 = [9; 32]), [page(2, (id(0xa1), id(9)))]);
    assert_eq!(differences(|parts| guest(parts).memories[0].chunks.truncate(1)), [page(2, (id(0xa1), None))]);
    assert_eq!(
        differences(|parts| guest(parts).globals[1] = 3),
        [Difference::Global { index: 1, bits: (u128::from(u64::MAX), 3) }]
    );
    assert_eq!(differences(|parts| parts.kernel.chunks[1].0 = [0; 32]), [Difference::Kernel { chunk: 1 }]);
    assert_eq!(differences(|parts| parts.contents.clear()), [Difference::Contents]);
    assert_eq!(differences(|parts| parts.guest = None), [Difference::Guest]);
    assert_eq!(differences(|parts| parts.position.0 = 1), [Difference::Identity { what: "position" }]);
    let sizes = Difference::MemorySize { memory: 1, pages: (64, 65) };
    assert_eq!(differences(|parts| guest(parts).memories[1].pages = 65), [sizes]);
}

#[test]
fn chunks_are_named_once_by_name_or_in_the_order_in_which_they_are_read() {
    let mut parts = parts();
    if let Some(guest) = &mut parts.guest {
        guest.memories[1].chunks = vec![(5, ChunkId([0xa1; 32])), (6, ChunkId([0x01; 32]))];
    }
    let manifest = Manifest::new(parts);
    let first_bytes = |chunks: Vec<ChunkId>| chunks.iter().map(|id| id.0[0]).collect::<Vec<u8>>();
    assert_eq!(first_bytes(manifest.chunks()), [0x01, 0xa0, 0xa1, 0xb0, 0xb1, 0xc0]);
    assert_eq!(first_bytes(manifest.chunks_as_read()), [0xb0, 0xb1, 0xc0, 0xa0, 0xa1, 0x01]);
}
