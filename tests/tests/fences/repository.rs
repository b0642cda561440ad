//! The repository as a whole: nothing of the machine that it was made on, and a map that names every folder.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use crate::workspace::{files, none, read, root};

/// Paths of somebody's machine, and hosts of registries, which a build must take from its clients' configuration. Put
/// together here, so that this file does not contain them.
const FORBIDDEN: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/tmp/", "target"),
    concat!("crates", ".io"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("npm", "js."),
    concat!("deb.", "debian.org"),
    concat!("archive.", "ubuntu.com"),
    concat!("security.", "ubuntu.com"),
    concat!("proxy.", "golang.org"),
    concat!("static.", "rust-lang.org"),
    concat!("sh.", "rustup.rs"),
];

/// Lock files name the registry that their client used; the clients write them.
const LOCK_FILES: &[&str] = &["Cargo.lock", "package-lock.json", "go.sum"];

fn forbidden_in(content: &[u8]) -> impl Iterator<Item = &'static str> {
    FORBIDDEN.iter().copied().filter(|text| content.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn no_file_names_a_machine_or_a_registry() -> Result<()> {
    let mut faults = Vec::new();
    for path in files()? {
        if LOCK_FILES.iter().any(|name| path.rsplit('/').next() == Some(name)) {
            continue;
        }
        let content = std::fs::read(root().join(&path)).with_context(|| format!("cannot read {path}"))?;
        faults.extend(forbidden_in(&content).map(|text| format!("{path} contains {text}")));
    }
    none("a file works on one machine alone", &faults)
}

#[test]
fn a_forbidden_text_is_found_in_the_middle_of_bytes() {
    let content = [b"\0asm".as_slice(), FORBIDDEN[0].as_bytes(), b"someone\xff"].concat();
    assert_eq!(forbidden_in(&content).collect::<Vec<_>>(), FORBIDDEN[..1]);
    assert_eq!(forbidden_in(b"usr/include").count(), 0);
}

#[test]
fn the_architecture_names_every_folder_and_member() -> Result<()> {
    let files = files()?;
    let mut folders: BTreeSet<String> = BTreeSet::new();
    for path in &files {
        if let Some((folder, _)) = path.split_once('/') {
            folders.insert(folder.to_owned());
        }
        if let Some(member) = path.strip_suffix("/Cargo.toml") {
            folders.insert(member.to_owned());
        }
    }
    let map = read("docs/architecture.md")?;
    let unnamed: Vec<String> = folders.into_iter().filter(|folder| !map.contains(&format!("`{folder}/`"))).collect();
    none("docs/architecture.md does not name", &unnamed)
}

#[test]
fn the_architecture_fits_into_three_hundred_lines() -> Result<()> {
    let lines = read("docs/architecture.md")?.lines().count();
    assert!(lines <= 300, "docs/architecture.md has {lines} lines");
    Ok(())
}

#[test]
fn paths_that_documents_name_are_there() -> Result<()> {
    let files = files()?;
    let mut faults = Vec::new();
    for document in ["docs/architecture.md", "docs/formats.md", "docs/glossary.md"] {
        let text = read(document)?;
        // Every second piece between backticks is code; a path has a slash, and letters only of this alphabet.
        for code in text.split('`').skip(1).step_by(2) {
            let is_path = code.contains('/')
                && code.starts_with(|c: char| c.is_ascii_lowercase() || c == '.')
                && code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            let there = |path: &String| path == code || path.starts_with(&format!("{}/", code.trim_end_matches('/')));
            if is_path && !files.iter().any(there) {
                faults.push(format!("{document}: {code}"));
            }
        }
    }
    none("a document names what is not there", &faults)
}

#[test]
fn tests_that_the_documents_name_are_there() -> Result<()> {
    let mut sources = String::new();
    for path in files()?.iter().filter(|path| path.ends_with(".rs")) {
        sources.push_str(&read(path)?);
    }
    let mut faults = Vec::new();
    for document in ["docs/architecture.md", "docs/formats.md"] {
        let text = read(document)?;
        // A test's name is a claim: words joined by at least three underscores.
        let named = text.split('`').skip(1).step_by(2).filter(|code| {
            code.matches('_').count() >= 3
                && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        });
        faults.extend(named.filter(|name| !sources.contains(&format!("fn {name}("))).map(str::to_owned));
    }
    none("a document names a test that is not there", &faults)
}
