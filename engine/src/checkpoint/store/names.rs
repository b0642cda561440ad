//! Names of files, and back.

use refrain_wire::Position;

use crate::checkpoint::chunk::ChunkId;
use crate::checkpoint::manifest::Root;

pub(super) const MANIFEST_ENDING: &str = ".manifest";

pub(super) fn chunk_of(name: &str) -> Option<ChunkId> {
    digest(name).map(ChunkId)
}

pub(super) fn manifest(position: Position, root: Root) -> String {
    format!("{:020}-{root}{MANIFEST_ENDING}", position.0)
}

pub(super) fn manifest_of(name: &str) -> Option<(Position, Root)> {
    let (position, root) = name.strip_suffix(MANIFEST_ENDING)?.split_once('-')?;
    Some((Position(position.parse().ok()?), Root(digest(root)?)))
}

fn digest(name: &str) -> Option<[u8; 32]> {
    let digest = blake3::Hash::from_hex(name).ok()?;
    // One name a digest: capitals are not ours.
    (*digest.to_hex() == *name).then_some(*digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_go_both_ways_and_others_are_nobodys() {
        let (id, root) = (ChunkId([0xab; 32]), Root([7; 32]));
        assert_eq!(chunk_of(&id.to_string()), Some(id));
        assert_eq!(manifest_of(&manifest(Position(12), root)), Some((Position(12), root)));
        for name in ["", "ab", ".part-1", &id.to_string().to_uppercase(), "x-y.manifest", "1.manifest"] {
            assert_eq!((chunk_of(name), manifest_of(name)), (None, None), "{name}");
        }
    }
}
