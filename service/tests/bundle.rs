//! Loading, digest, storing and opening of bundles.

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use refrain_service::{Bundle, BundleDigest, LoadError, MANIFEST_FILE, Manifest, OpenError, UnpackError};
use support::{load_error, told};
use tempfile::TempDir;

const MANIFEST: &str = "name = \"a\"\nversion = \"1.0.0\"\nmodule = \"a.wasm\"\nargs = [\"x\"]\n\
    [[ports]]\nname = \"p\"\nguest = 80\nlisten = \"127.0.0.1:8080\"\n\
    [env]\nK = \"v\"\n[files]\n\"/data\" = \"data\"\n\"/one\" = \"one.txt\"\n";

fn folder(manifest: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(MANIFEST_FILE), manifest).unwrap();
    fs::write(dir.path().join("a.wasm"), b"\0asm\x01\0\0\0").unwrap();
    fs::write(dir.path().join("one.txt"), b"one").unwrap();
    fs::create_dir_all(dir.path().join("data/sub")).unwrap();
    fs::write(dir.path().join("data/z"), b"z").unwrap();
    fs::write(dir.path().join("data/sub/b"), b"b").unwrap();
    dir
}

fn digest(manifest: &str) -> String {
    Bundle::load(folder(manifest).path()).unwrap().digest.to_string()
}

#[test]
fn files_come_sorted_by_guest_path() {
    let bundle = Bundle::load(folder(MANIFEST).path()).unwrap();
    let paths: Vec<&str> = bundle.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["/data/sub/b", "/data/z", "/one"]);
    assert_eq!(bundle.files[2].bytes, b"one");
    assert_eq!(bundle.module, b"\0asm\x01\0\0\0");
}

#[test]
fn the_digest_is_golden() {
    assert_eq!(digest(MANIFEST), include_str!("digest.txt").trim());
}

#[test]
fn the_digest_covers_everything_but_listen_addresses_and_spelling() {
    let base = digest(MANIFEST);
    for same in [
        MANIFEST.replace("127.0.0.1:8080", "0.0.0.0:1"),
        format!("# a comment\n{MANIFEST}"),
        format!("replicas = 3\n{MANIFEST}"),
        format!("{MANIFEST}[limits]\nmemory = \"262144KiB\"\n"),
        format!("{MANIFEST}[build]\ncommand = \"make\"\noutput = \"b.wasm\"\n"),
        format!("{MANIFEST}[ready]\ntimeout = \"1s\"\n"),
        MANIFEST.replace("guest = 80", "guest = 80\nunix = \"/run/a\""),
        MANIFEST.replace("guest = 80", "guest = 80\nnodelay = false"),
        MANIFEST.replace("guest = 80", "guest = 80\nkeepalive = \"off\""),
        MANIFEST.replace("guest = 80", "guest = 80\nproxy_protocol.from = [\"::1\"]"),
        format!("outbound = []\n{MANIFEST}[limits]\noutward = 1024\ntables = 1000000\ninodes = 100000\n"),
    ] {
        assert_eq!(digest(&same), base, "{same}");
    }
    let mut seen = vec![base];
    for other in [
        MANIFEST.replace("\"x\"", "\"y\""),
        MANIFEST.replace("\"x\"", "\"x\", \"\""),
        MANIFEST.replace("guest = 80", "guest = 81"),
        MANIFEST.replace("guest = 80", "guest = 80\npass = true"),
        MANIFEST.replace("guest = 80", "guest = 80\nprotocol = \"udp\""),
        MANIFEST.replace("name = \"p\"", "name = \"q\""),
        format!("outbound = [\"a.b:1\"]\n{MANIFEST}"),
        format!("outbound = [\"a.b:1\", \"a.b:2\"]\n{MANIFEST}"),
        format!("outbound = [\"a.b:2\", \"a.b:1\"]\n{MANIFEST}"),
        format!("outbound = [{{ to = \"a.b:1\", proxy_protocol = \"v1\" }}]\n{MANIFEST}"),
        format!("outbound = [{{ to = \"a.b:1\", proxy_protocol = \"v2\" }}]\n{MANIFEST}"),
        format!("{MANIFEST}[limits]\noutward = 1\n"),
        format!("{MANIFEST}[limits]\ntables = 1\n"),
        format!("{MANIFEST}[limits]\ninodes = 1\n"),
        MANIFEST.replace("K = ", "L = "),
        MANIFEST.replace("\"v\"", "\"w\""),
        MANIFEST.replace("/one", "/two"),
        MANIFEST.replace("1.0.0", "1.0.1"),
        format!("replicas = 5\n{MANIFEST}"),
        format!("agreement = \"all\"\n{MANIFEST}"),
        format!("namespace = \"other\"\n{MANIFEST}"),
        format!("{MANIFEST}[limits]\nmemory = \"1MiB\"\n"),
        format!("{MANIFEST}[limits]\nfiles = \"1MiB\"\n"),
        format!("{MANIFEST}[limits]\nfuel_per_turn = \"off\"\n"),
        format!("{MANIFEST}[limits]\nflows = 30000\n"),
        format!("{MANIFEST}[limits]\nflows_per_client = 1\n"),
        format!("{MANIFEST}[limits]\ndescriptors = 100\n"),
        format!("{MANIFEST}[limits]\nsocket_buffer = \"2MiB\"\n"),
        format!("{MANIFEST}[limits]\nsocket_buffers = \"2MiB\"\n"),
        format!("{MANIFEST}[limits]\nidle = \"off\"\n"),
        format!("{MANIFEST}[limits]\nlog_lines_per_second = 1\n"),
        format!("{MANIFEST}[limits]\nhistory = \"2MiB\"\n"),
        format!("{MANIFEST}[restart]\npolicy = \"never\"\n"),
        format!("{MANIFEST}[restart]\nbackoff = \"1s\"\n"),
        format!("{MANIFEST}[restart]\nbackoff_max = \"1m\"\n"),
    ] {
        let found = digest(&other);
        assert!(!seen.contains(&found), "{other}");
        seen.push(found);
    }
    let dir = folder(MANIFEST);
    for name in ["a.wasm", "one.txt", "data/z"] {
        fs::write(dir.path().join(name), b"changed").unwrap();
        let found = Bundle::load(dir.path()).unwrap().digest.to_string();
        assert!(!seen.contains(&found), "{name}");
        seen.push(found);
    }
}

#[test]
fn what_is_missing_is_named() {
    let dir = folder(MANIFEST);
    fs::remove_file(dir.path().join("a.wasm")).unwrap();
    let error = load_error(dir.path());
    assert!(error.contains("a.wasm: No such file"), "{error}");
    let dir = folder(MANIFEST);
    fs::remove_file(dir.path().join("one.txt")).unwrap();
    let error = load_error(dir.path());
    assert!(error.contains("one.txt: No such file"), "{error}");
    fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
    let error = load_error(dir.path());
    assert!(error.contains("service.toml: No such file"), "{error}");
    fs::create_dir(dir.path().join(MANIFEST_FILE)).unwrap();
    let error = load_error(dir.path());
    assert!(error.contains("service.toml: not a regular file"), "{error}");
}

#[test]
fn faults_of_the_manifest_name_its_file() {
    let error = load_error(folder(&MANIFEST.replace("args", "arg")).path());
    assert!(error.contains("service.toml has 1 fault\n  line 4: arg: unknown key; did you mean `args`?"), "{error}");
}

#[test]
fn no_link_leads_out_of_the_folder() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    let dir = folder(MANIFEST);
    fs::remove_file(dir.path().join("one.txt")).unwrap();
    symlink(outside.path().join("secret"), dir.path().join("one.txt")).unwrap();
    assert!(matches!(Bundle::load(dir.path()), Err(LoadError::Outside { .. })));
    let dir = folder(MANIFEST);
    symlink(outside.path(), dir.path().join("data/link")).unwrap();
    assert!(matches!(Bundle::load(dir.path()), Err(LoadError::Link { .. })));
}

#[test]
fn a_guest_path_is_given_once_and_is_a_file_or_a_folder() {
    let twice = format!("{MANIFEST}\"/data/z\" = \"one.txt\"\n");
    let error = load_error(folder(&twice).path());
    assert!(error.contains("two entries of [files] give the guest file /data/z"), "{error}");
    let both = format!("{MANIFEST}\"/one/below\" = \"one.txt\"\n\"/one.txt\" = \"one.txt\"\n");
    let error = load_error(folder(&both).path());
    assert!(error.contains("makes /one a file and, with /one/below, also a folder"), "{error}");
}

#[test]
fn a_bundle_holds_at_most_ten_thousand_files() {
    let dir = folder(&MANIFEST.replace("\"/one\" = \"one.txt\"\n", ""));
    for n in 2..10_000 {
        fs::write(dir.path().join(format!("data/f{n}")), b"").unwrap();
    }
    assert_eq!(Bundle::load(dir.path()).unwrap().files.len(), 10_000);
    fs::write(dir.path().join("data/f1"), b"").unwrap();
    assert!(matches!(Bundle::load(dir.path()), Err(LoadError::TooManyFiles)));
}

#[test]
fn a_module_has_at_most_256_mebibytes() {
    let dir = folder(MANIFEST);
    let module = fs::File::create(dir.path().join("a.wasm")).unwrap();
    module.set_len((256 << 20) + 1).unwrap();
    let error = load_error(dir.path());
    assert!(error.ends_with("a.wasm has 268435457 bytes, the limit here is 268435456"), "{error}");
    module.set_len(256 << 20).unwrap();
    assert_eq!(Bundle::load(dir.path()).unwrap().module.len(), 256 << 20);
}

#[test]
fn a_stored_bundle_opens_as_it_was_without_its_source() {
    let source = folder(&format!("{MANIFEST}\"/odd\\nname\\\\\" = \"one.txt\"\n"));
    let bundle = Bundle::load(source.path()).unwrap();
    let data = TempDir::new().unwrap();
    let bundles = data.path().join("bundles");
    let stored = bundle.store(&bundles).unwrap();
    assert_eq!(stored, bundles.join(bundle.digest.to_string()));
    drop(source);
    assert_eq!(Bundle::open(&bundles, bundle.digest).unwrap(), bundle);
    bundle.store(&bundles).unwrap();
    let names: Vec<_> = fs::read_dir(&bundles).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing temporary is left: {names:?}");
}

#[test]
fn another_listen_address_replaces_the_stored_manifest() {
    let data = TempDir::new().unwrap();
    let first = Bundle::load(folder(MANIFEST).path()).unwrap();
    let second = Bundle::load(folder(&MANIFEST.replace(":8080", ":9090")).path()).unwrap();
    first.store(data.path()).unwrap();
    second.store(data.path()).unwrap();
    assert_eq!(Bundle::open(data.path(), first.digest).unwrap(), second);
}

#[test]
fn damage_is_found_on_opening_and_mended_by_storing() {
    let data = TempDir::new().unwrap();
    let bundle = Bundle::load(folder(MANIFEST).path()).unwrap();
    let folder = bundle.store(data.path()).unwrap();
    for part in ["module.wasm", "files/0", "index", "service.toml"] {
        let path = folder.join(part);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len().saturating_sub(2);
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = Bundle::open(data.path(), bundle.digest).expect_err(part);
        let damaged = matches!(error, OpenError::Damaged { .. } | OpenError::Manifest { .. });
        assert!(damaged, "{part}: {error}");
        bundle.store(data.path()).unwrap();
        assert_eq!(Bundle::open(data.path(), bundle.digest).unwrap(), bundle, "{part}");
    }
    fs::remove_file(folder.join("module.wasm")).unwrap();
    let error = told(&Bundle::open(data.path(), bundle.digest).unwrap_err());
    assert!(error.contains("module.wasm: No such file"), "{error}");
}

#[test]
fn a_digest_reads_as_it_prints() {
    let digest = BundleDigest::new([0xa5; 32]);
    assert_eq!(digest.to_string().parse(), Ok(digest));
    for bad in ["", "a5", &"A5".repeat(32), &"é".repeat(32)] {
        assert!(bad.parse::<BundleDigest>().is_err(), "{bad}");
    }
}

#[test]
fn a_packed_bundle_comes_back_and_damage_anywhere_is_told() {
    let bundle = Bundle::load(folder(MANIFEST).path()).unwrap();
    let packed = bundle.pack();
    assert_eq!(Bundle::unpack(&packed, bundle.digest).unwrap(), bundle);
    for at in 0..packed.len() {
        assert!(Bundle::unpack(&packed[..at], bundle.digest).is_err(), "cut at {at}");
        let mut damaged = packed.clone();
        damaged[at] ^= 0x10;
        // The digest does not cover how the manifest is spelled, nor where the proxy listens.
        if let Ok(found) = Bundle::unpack(&damaged, bundle.digest) {
            assert_eq!((&found.module, &found.files), (&bundle.module, &bundle.files), "flipped at {at}");
            assert_ne!(found.manifest_text, bundle.manifest_text, "flipped at {at}");
        }
    }
    let longer = [packed.as_slice(), b"x"].concat();
    assert_eq!(told(&Bundle::unpack(&longer, bundle.digest).unwrap_err()), "a packed bundle is damaged at its end");
    let other = Bundle::load(folder(&MANIFEST.replace("1.0.0", "1.0.1")).path()).unwrap();
    assert!(told(&Bundle::unpack(&packed, other.digest).unwrap_err()).contains("was asked for"));
}

/// A component's manifest as an earlier version of Refrain took it.
const OUTDATED: &str = "name = \"a\"\nversion = \"1.0.0\"\nmodule = \"a.wasm\"\nkind = \"http\"\nmode = \"stateless\"\n\
    [limits]\nflows = 7\n[http]\ninstances = 8192\n";

#[test]
fn what_was_stored_before_it_was_refused_is_opened_and_told_and_nothing_new_is_taken() {
    let folder = folder(OUTDATED);
    let of_new = Bundle::load(folder.path()).unwrap_err();
    assert!(told(&of_new).contains("limits.flows = 7: does nothing for a stateless service"), "{}", told(&of_new));
    assert!(told(&of_new).contains("http.instances = 8192: allowed: 1 to 2048"), "{}", told(&of_new));

    // As an earlier version packed it; its digest is what it was.
    let plain = OUTDATED.replace("[limits]\nflows = 7\n", "").replace("8192", "1");
    fs::write(folder.path().join(MANIFEST_FILE), plain).unwrap();
    let plain = Bundle::load(folder.path()).unwrap();
    let packed = Bundle { manifest_text: OUTDATED.to_owned(), ..plain }.pack();
    let Err(UnpackError::Digest { found, .. }) = Bundle::unpack_stored(&packed, BundleDigest::new([0; 32])) else {
        panic!("it has another digest");
    };
    assert!(matches!(Bundle::unpack(&packed, found), Err(UnpackError::Manifest(_))));
    let fetched = Bundle::unpack_stored(&packed, found).unwrap();

    fs::write(folder.path().join(MANIFEST_FILE), OUTDATED).unwrap();
    let store = TempDir::new().unwrap();
    assert!(matches!(Bundle::load_to_run(folder.path(), store.path()), Err(LoadError::Manifest { .. })));
    fetched.store(store.path()).unwrap();
    let opened = Bundle::open(store.path(), found).unwrap();
    let outdated: Vec<&str> = opened.outdated.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(outdated, ["limits.flows", "http.instances"]);
    assert_eq!(opened.manifest.http.instances, 2048);
    assert_eq!(Bundle::load_to_run(folder.path(), store.path()).unwrap(), opened);
}

#[test]
fn more_than_was_ever_allowed_is_a_fault_of_what_is_stored_too() {
    for (instances, is_taken) in [("2048", true), ("2049", true), ("8192", true), ("8193", false), ("0", false)] {
        let text = OUTDATED.replace("8192", instances);
        assert_eq!(Manifest::parse_stored(&text).is_ok(), is_taken, "{instances}");
    }
}
