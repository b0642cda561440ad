//! `rctl new` as a user runs it. Its projects are built and served by `tests/tests/e2e_new.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const LANGUAGES: [&str; 4] = ["rust", "c", "js", "python"];

fn rctl(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rctl")).args(arguments).current_dir(place).output().unwrap()
}

fn told(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn a_project_is_told_with_what_to_do_next() {
    let place = TempDir::new().unwrap();
    let output = rctl(place.path(), &["new", "--lang", "c", "hello", "--dir", "a/b"]);
    assert_eq!(told(&output.stdout), include_str!("golden/new.txt"), "{}", told(&output.stderr));
    let output = rctl(place.path(), &["new", "--lang", "c", "hello", "-o", "json"]);
    assert_eq!(told(&output.stdout), include_str!("golden/new.json"));
    let written: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for file in written["files"].as_array().unwrap() {
        assert!(place.path().join("hello").join(file.as_str().unwrap()).is_file(), "{file}");
    }
}

#[test]
fn every_language_has_a_manifest_that_is_valid() {
    let place = TempDir::new().unwrap();
    for lang in LANGUAGES {
        let output = rctl(place.path(), &["new", "--lang", lang, &format!("my-{lang}")]);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output.stderr));
        let text = fs::read_to_string(place.path().join(format!("my-{lang}/service.toml"))).unwrap();
        let manifest = refrain_service::Manifest::parse(&text).unwrap();
        assert_eq!(manifest.id.to_string(), format!("default/my-{lang}@0.1.0"));
        assert_eq!((manifest.routes.len(), manifest.kind), (1, refrain_service::Kind::Http));
    }
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_written() {
    let place = TempDir::new().unwrap();
    fs::create_dir(place.path().join("full")).unwrap();
    fs::write(place.path().join("full/file"), "").unwrap();
    for (arguments, code, words) in [
        (&["--lang", "rust", "full"][..], 1, "full is not empty; nothing was written"),
        (&["--lang", "rust", "Hello"], 2, "`H` at character 1 is not allowed"),
        (&["--lang", "go", "hello"], 2, "[possible values: rust, c, js, python]"),
        (&["hello"], 2, "--lang <LANG>"),
        (&["--lang", "c", "hello", "--sdk", "."], 1, "--sdk is for --lang rust alone"),
        (&["--lang", "rust", "hello", "--sdk", "full"], 1, "cannot read full/Cargo.toml"),
    ] {
        let arguments: Vec<&str> = ["new"].iter().chain(arguments).copied().collect();
        let output = rctl(place.path(), &arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(told(&output.stderr).contains(words), "{}", told(&output.stderr));
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(place.path().join("full")).unwrap().count(), 1);
}

#[test]
fn an_empty_folder_is_filled_and_an_sdk_elsewhere_is_named() {
    let place = TempDir::new().unwrap();
    fs::create_dir(place.path().join("hello")).unwrap();
    let sdk = repository().join("sdk/rust");
    let output = rctl(place.path(), &["new", "--lang", "rust", "hello", "--sdk", sdk.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output.stderr));
    assert!(!place.path().join("hello/refrain-sdk").exists());
    let manifest = fs::read_to_string(place.path().join("hello/Cargo.toml")).unwrap();
    let named = fs::canonicalize(sdk).unwrap();
    assert!(manifest.contains(&format!("path = \"{}\"", named.display())), "{manifest}");
}

#[test]
fn the_examples_say_hello_as_new_projects_do() {
    let place = TempDir::new().unwrap();
    for (lang, folders) in
        [("rust", &["src"][..]), ("c", &["src", "test"]), ("js", &["src", "test"]), ("python", &["src", "test"])]
    {
        let made = rctl(place.path(), &["new", "--lang", lang, "hello", "--dir", lang]);
        assert_eq!(made.status.code(), Some(0), "{}", told(&made.stderr));
        for folder in folders {
            let project = place.path().join(lang).join(folder);
            let example = repository().join(format!("examples/hello-{lang}")).join(folder);
            for entry in fs::read_dir(project).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
                let (ours, theirs) = (fs::read(entry.path()).unwrap(), fs::read(example.join(entry.file_name())));
                assert!(theirs.is_ok_and(|theirs| theirs == ours), "{lang}: {:?}", entry.path());
            }
        }
    }
}
