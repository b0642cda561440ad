//! What becomes of each kind of file when another bundle comes below the files of a guest.

use super::SuccessionError;
use crate::fs::fixture::{bundle, create, encoded, file, read, tree, write};
use crate::fs::{BundleFiles, CHUNK_BYTES, Follow, Fs, INODE_CHARGE_BYTES, NAME_CHARGE_BYTES, OpenFlags, ROOT};

const QUOTA: u64 = 1 << 20;

fn old() -> BundleFiles {
    bundle(&[
        ("/etc/gone", b"gone".to_vec()),
        ("/etc/kept", b"as it was".to_vec()),
        ("/etc/written", vec![b'o'; CHUNK_BYTES + 9]),
        ("/removed", b"r".to_vec()),
        ("/void", vec![]),
    ])
}

fn new() -> BundleFiles {
    bundle(&[
        ("/etc/added/deep", b"deep".to_vec()),
        ("/etc/kept", b"as it is".to_vec()),
        ("/etc/made", b"the bundle's".to_vec()),
        ("/etc/written", b"new".to_vec()),
        ("/removed", b"again".to_vec()),
        ("/void", b"no more".to_vec()),
    ])
}

/// Files of a guest that wrote one of the bundle's, made two and removed one.
fn used() -> Fs {
    let mut fs = Fs::new(&old(), QUOTA, 1);
    let written = file(&fs, "etc/written");
    write(&mut fs, written, CHUNK_BYTES as u64 + 8, b"w").unwrap();
    let made = create(&mut fs, "etc/made");
    write(&mut fs, made, 0, b"the guest's").unwrap();
    fs.unlink(ROOT, b"removed", 2).unwrap();
    let own = create(&mut fs, "own");
    write(&mut fs, own, 0, b"data").unwrap();
    fs
}

#[test]
fn what_the_guest_did_stays_and_the_rest_follows_the_bundle() {
    let fs = used().succeed(&new(), QUOTA, 9).unwrap();
    let expected = ["etc/", "etc/added/", "etc/added/deep", "etc/kept", "etc/made", "etc/written", "own", "void"];
    assert_eq!(tree(&fs), expected);
    assert_eq!(read(&fs, "etc/kept"), b"as it is");
    assert_eq!(read(&fs, "etc/made"), b"the guest's");
    assert_eq!(read(&fs, "void"), b"no more");
    assert_eq!(read(&fs, "own"), b"data");
    let mut written = vec![b'o'; CHUNK_BYTES + 9];
    written[CHUNK_BYTES + 8] = b'w';
    assert_eq!(read(&fs, "etc/written"), written);
}

#[test]
fn what_follows_is_a_state_like_any_other() {
    for next in [old(), new(), bundle(&[])] {
        let fs = used().succeed(&next, QUOTA, 9).unwrap();
        let decoded = Fs::decode(&encoded(&fs), &next).unwrap();
        assert_eq!(encoded(&decoded), encoded(&fs));
        assert_eq!(decoded.usage(), fs.usage());
    }
}

#[test]
fn the_same_bundle_changes_nothing_but_handles_and_quota() {
    let mut fs = used();
    let before = encoded(&fs);
    let own = file(&fs, "own");
    fs.retain(own);
    fs.unlink(ROOT, b"own", 3).unwrap();
    let after = fs.succeed(&old(), QUOTA, 9).unwrap();
    assert!(!tree(&after).contains(&"own".to_owned()), "nobody holds it any more");
    assert_eq!(encoded(&used().succeed(&old(), QUOTA, 9).unwrap()), before);
    assert_eq!(used().succeed(&old(), 3 * QUOTA, 9).unwrap().usage().limit_bytes, 3 * QUOTA);
}

#[test]
fn a_way_there_and_back_leaves_the_guests_files() {
    let back = used().succeed(&new(), QUOTA, 9).unwrap().succeed(&old(), QUOTA, 10).unwrap();
    assert_eq!(read(&back, "etc/made"), b"the guest's");
    assert_eq!(read(&back, "etc/gone"), b"gone");
    assert!(!tree(&back).contains(&"removed".to_owned()));
}

#[test]
fn a_bundle_file_where_the_guest_has_something_else_is_named() {
    let mut fs = Fs::new(&bundle(&[]), QUOTA, 0);
    create(&mut fs, "a");
    let next = bundle(&[("/a/b", b"x".to_vec())]);
    let no_place = |path: &str, at: &str| SuccessionError::NoPlace { path: path.into(), at: at.into() };
    assert_eq!(fs.succeed(&next, QUOTA, 1).err(), Some(no_place("/a/b", "/a")));
    fs.mkdir(ROOT, b"d", 1).unwrap();
    let next = bundle(&[("/d", b"x".to_vec())]);
    assert_eq!(fs.succeed(&next, QUOTA, 1).err(), Some(no_place("/d", "/d")));
    fs.symlink(b"d", ROOT, b"l", 1).unwrap();
    let next = bundle(&[("/l/x", b"x".to_vec())]);
    assert_eq!(fs.succeed(&next, QUOTA, 1).err(), Some(no_place("/l/x", "/l")));
}

#[test]
fn a_directory_of_the_former_bundle_may_become_a_file() {
    let fs = Fs::new(&bundle(&[("/a/b/c", b"x".to_vec())]), QUOTA, 0);
    let fs = fs.succeed(&bundle(&[("/a", b"file".to_vec())]), QUOTA, 1).unwrap();
    assert_eq!((tree(&fs), read(&fs, "a")), (vec!["a".to_owned()], b"file".to_vec()));
}

#[test]
fn a_quota_of_what_is_used_is_enough_and_one_below_is_not() {
    let mut fs = Fs::new(&bundle(&[]), QUOTA, 0);
    let a = create(&mut fs, "a");
    write(&mut fs, a, 0, b"x").unwrap();
    let used = INODE_CHARGE_BYTES + NAME_CHARGE_BYTES + CHUNK_BYTES as u64;
    assert!(fs.succeed(&bundle(&[]), used, 1).is_ok());
    let refused = SuccessionError::Quota { used_bytes: used, limit_bytes: used - 1 };
    assert_eq!(fs.succeed(&bundle(&[]), used - 1, 1).err(), Some(refused));
}

#[test]
fn a_file_that_was_moved_or_linked_is_the_guests() {
    let mut fs = Fs::new(&old(), QUOTA, 0);
    fs.rename(ROOT, b"etc/gone", ROOT, b"moved", 1).unwrap();
    fs.link(ROOT, b"etc/kept", Follow::No, ROOT, b"linked", 1).unwrap();
    let mut fs = fs.succeed(&new(), QUOTA, 2).unwrap();
    assert_eq!(read(&fs, "moved"), b"gone");
    assert_eq!(read(&fs, "linked"), b"as it was");
    assert_eq!(read(&fs, "etc/kept"), b"as it was");
    let opened = fs.open_at(ROOT, b"etc/added/deep", Follow::Yes, OpenFlags { truncate: true, ..OpenFlags::NONE }, 3);
    assert!(opened.is_ok(), "the new bundle's files can be written");
}
