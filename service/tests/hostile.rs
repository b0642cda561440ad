//! Bundles that are made to do harm: each is refused at once, whatever it says of its size, and none is taken for another.

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use refrain_service::{Bundle, BundleDigest, LoadError, MANIFEST_FILE, MAX_PACKED_BYTES, OpenError, UnpackError};
use support::{load_error, told};
use tempfile::TempDir;

const MANIFEST: &str = "name = \"a\"\nversion = \"1.0.0\"\nmodule = \"a.wasm\"\n\
    [[ports]]\nname = \"p\"\nguest = 80\nlisten = \"127.0.0.1:8080\"\n[files]\n\"/data\" = \"data\"\n";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const WANTED: BundleDigest = BundleDigest::new([0; 32]);

fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(MANIFEST_FILE), MANIFEST).unwrap();
    fs::write(dir.path().join("a.wasm"), MODULE).unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/a"), b"one").unwrap();
    fs::write(dir.path().join("data/b"), b"two").unwrap();
    dir
}

/// A file of holes: as long as it says, and nothing on the disk.
fn holes(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

/// Packs parts as they are given, whatever they are.
fn packed(manifest: &str, module: &[u8], files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![1];
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    put(manifest.as_bytes());
    put(module);
    out.extend_from_slice(&(files.len() as u32).to_le_bytes());
    for (path, bytes) in files {
        for part in [path.as_bytes(), bytes] {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part);
        }
    }
    out
}

fn unpack_error(bytes: &[u8]) -> UnpackError {
    Bundle::unpack(bytes, WANTED).unwrap_err()
}

/// The length of the part that begins at `at`, overwritten.
fn claims(bytes: &[u8], at: usize, length: u32) -> UnpackError {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    unpack_error(&bytes)
}

#[test]
fn a_folder_with_a_bomb_of_holes_is_refused_by_its_length() {
    let dir = folder();
    for name in ["a", "b"] {
        holes(&dir.path().join("data").join(name), 1 << 43);
    }
    let error = load_error(dir.path());
    assert!(error.ends_with(" has 8796093022208 bytes, the limit here is 1073741824"), "{error}");
    for (name, limit) in [("a.wasm", 256 << 20), (MANIFEST_FILE, 1 << 20)] {
        let dir = folder();
        holes(&dir.path().join(name), 1 << 43);
        let error = load_error(dir.path());
        assert!(error.ends_with(&format!("{name} has 8796093022208 bytes, the limit here is {limit}")), "{error}");
    }
}

#[test]
fn what_is_no_file_is_never_read() {
    let dir = folder();
    let fifo = |name: &str| {
        let made = Command::new("mkfifo").arg(dir.path().join(name)).status().expect("there is mkfifo");
        assert!(made.success());
    };
    // Whoever opened the pipe would wait for ever.
    fifo("data/pipe");
    let error = load_error(dir.path());
    assert!(error.ends_with("data/pipe: not a regular file"), "{error}");
    fs::remove_file(dir.path().join("data/pipe")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("data/s")).unwrap();
    let error = load_error(dir.path());
    assert!(error.ends_with("data/s: not a regular file"), "{error}");
    fs::remove_file(dir.path().join("data/s")).unwrap();
    for name in ["a.wasm", MANIFEST_FILE] {
        fs::remove_file(dir.path().join(name)).unwrap();
        fifo(name);
        let error = load_error(dir.path());
        assert!(error.ends_with(&format!("{name}: not a regular file")), "{error}");
    }
}

#[test]
fn names_that_no_guest_could_have_are_refused() {
    let dir = folder();
    let mut deep = dir.path().join("data");
    for _ in 0..30 {
        deep.push("d".repeat(200));
        // The whole path is longer than the system takes at once.
        if fs::create_dir(&deep).is_err() {
            deep.pop();
            break;
        }
    }
    fs::write(deep.join("f"), b"").unwrap();
    let found = Bundle::load(dir.path());
    let guest = deep.join("f").strip_prefix(dir.path()).unwrap().as_os_str().len() + 1;
    assert_eq!(found.is_ok(), guest <= 4096, "{guest} bytes: {found:?}");
    let long = format!("\"/{}\" = \"data/a\"\n", "n".repeat(256));
    fs::write(dir.path().join(MANIFEST_FILE), format!("{MANIFEST}{long}")).unwrap();
    let error = load_error(dir.path());
    assert!(error.contains("a name of 256 bytes, the limit is 255"), "{error}");
}

#[test]
fn a_packed_bundle_is_refused_by_what_it_says_of_its_parts_before_they_are_there() {
    let good = packed(MANIFEST, MODULE, &[("/data/a", b"one"), ("/data/b", b"two")]);
    assert!(matches!(unpack_error(&good), UnpackError::Digest { .. }), "all but the digest is well");
    let module = 1 + 4 + MANIFEST.len();
    let count = module + 4 + MODULE.len();
    let (path, content) = (count + 4, count + 4 + 4 + 7);
    let second = content + 4 + 3 + 4 + 7;
    for (at, length, words) in [
        (1, 1 << 20, "damaged at its manifest"),
        (1, (1 << 20) + 1, "manifest of a packed bundle: 1048577 bytes, the limit is 1048576"),
        (1, u32::MAX, "manifest of a packed bundle: 4294967295 bytes, the limit is 1048576"),
        (module, 256 << 20, "damaged at its module"),
        (module, (256 << 20) + 1, "module of a packed bundle: 268435457 bytes, the limit is 268435456"),
        (count, 10_000, "damaged at its path of a file"),
        (count, 10_001, "has 10001 files, the limit is 10000"),
        (count, u32::MAX, "has 4294967295 files"),
        (path, 4097, "path of a file of a packed bundle: 4097 bytes, the limit is 4096"),
        (content, 1 << 30, "damaged at its files"),
        (content, (1 << 30) + 1, "files of a packed bundle: 1073741825 bytes, the limit is 1073741824"),
        (second, (1 << 30) - 3, "damaged at its files"),
        (second, (1 << 30) - 2, "files of a packed bundle: 1073741825 bytes"),
    ] {
        let error = told(&claims(&good, at, length));
        assert!(error.contains(words), "{length} at {at}: {error}");
    }
    assert_eq!(MAX_PACKED_BYTES, (1 << 20) + (256 << 20) + (1 << 30) + 10_000 * (4096 + 8) + 13);
}

#[test]
fn a_packed_bundle_has_each_path_once_in_order_and_inside_the_guest() {
    let error = |files: &[(&str, &[u8])]| told(&unpack_error(&packed(MANIFEST, MODULE, files)));
    for path in ["", "/", "data", "../x", "/../x", "/a/../../x", "/a//b", "/a/", "/./a", "/a\0b"] {
        assert_eq!(error(&[(path, b"")]), "a packed bundle is damaged at its path of a file", "{path:?}");
    }
    assert!(error(&[("/b", b""), ("/a", b"")]).ends_with("not in order: /a follows /b"));
    assert!(error(&[("/a", b""), ("/a", b"")]).ends_with("not in order: /a follows /a"));
    // Between the two a name may stand that begins as the folder does.
    let both = error(&[("/a", b""), ("/a-", b""), ("/a/b", b"")]);
    assert_eq!(both, "a packed bundle makes /a a file and, with /a/b, also a folder");
}

#[test]
fn a_stored_bundle_that_was_blown_up_is_refused() {
    let data = TempDir::new().unwrap();
    let bundle = Bundle::load(folder().path()).unwrap();
    let stored = bundle.store(data.path()).unwrap();
    let error = || Bundle::open(data.path(), bundle.digest).unwrap_err();
    for (part, length, limit) in [
        ("files/0", (1 << 30) + 1, 1 << 30),
        ("files/1", (1 << 30) - 2, (1 << 30) - 3),
        ("module.wasm", (256 << 20) + 1, 256 << 20),
        ("service.toml", (1 << 20) + 1, 1 << 20),
        ("index", 1 << 43, 2 * 4097 * 10_000),
    ] {
        let whole = fs::read(stored.join(part)).unwrap();
        holes(&stored.join(part), length);
        let OpenError::Read { source: LoadError::TooLarge { bytes, limit: told, .. }, .. } = error() else {
            panic!("{part}: {}", told(&error()));
        };
        assert_eq!((bytes, told), (length, limit), "{part}");
        fs::write(stored.join(part), whole).unwrap();
    }
    assert_eq!(Bundle::open(data.path(), bundle.digest).unwrap(), bundle);
    let many: String = (0..10_001).map(|n| format!("/data/{n}\n")).collect();
    fs::write(stored.join("index"), many).unwrap();
    for number in 0..10_001 {
        fs::write(stored.join(format!("files/{number}")), b"").unwrap();
    }
    let error = error();
    assert!(matches!(error, OpenError::Index { line: 10_001, .. }), "{error}");
}
