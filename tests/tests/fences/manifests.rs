//! What a member's `Cargo.toml` may say: package facts, versions, features and lints are written once, in the root.

use anyhow::Result;
use toml::{Table, Value};

use crate::workspace::{Graph, none, read};

const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "repository", "publish"];
const DEPENDENCIES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

fn is_inherited(value: Option<&Value>) -> bool {
    value
        .and_then(Value::as_table)
        .is_some_and(|table| table.len() == 1 && table.get("workspace").and_then(Value::as_bool) == Some(true))
}

fn faults_of(path: &str, manifest: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    let package = manifest.get("package").and_then(Value::as_table);
    for key in INHERITED {
        if !is_inherited(package.and_then(|package| package.get(*key))) {
            faults.push(format!("{path}: {key}.workspace = true is missing"));
        }
    }
    if !is_inherited(manifest.get("lints")) {
        faults.push(format!("{path}: [lints] workspace = true is missing"));
    }
    for section in DEPENDENCIES {
        let named = manifest.get(*section).and_then(Value::as_table).into_iter().flatten();
        let wrong = named.filter(|(_, value)| !is_inherited(Some(value)));
        faults.extend(wrong.map(|(name, _)| format!("{path}: {name} is not plainly {name}.workspace = true")));
    }
    for section in ["features", "target", "profile", "patch", "replace"] {
        if manifest.contains_key(section) {
            faults.push(format!("{path}: [{section}] belongs into the root, if anywhere"));
        }
    }
    faults
}

#[test]
fn members_inherit_everything_and_set_no_features() -> Result<()> {
    let mut faults = Vec::new();
    for member in Graph::load()?.members() {
        let path = member.folder.join("Cargo.toml").display().to_string();
        faults.extend(faults_of(&path, &read(&path)?.parse()?));
    }
    none("a manifest says what the root should say", &faults)
}

#[test]
fn a_manifest_that_sets_a_feature_is_found() -> Result<()> {
    let manifest = "[package]\nname = \"x\"\nversion = \"1.0.0\"\n[dependencies]\n\
        good.workspace = true\nbad = { workspace = true, features = [\"more\"] }\n[features]\nextra = []\n";
    let faults = faults_of("x/Cargo.toml", &manifest.parse()?).join("\n");
    for part in ["version.workspace", "[lints]", "bad is not plainly", "[features]"] {
        assert!(faults.contains(part), "{part} in {faults}");
    }
    assert!(!faults.contains("good"));
    Ok(())
}

#[test]
fn one_release_of_each_openraft_crate_is_pinned_exactly() -> Result<()> {
    let root: Table = read("Cargo.toml")?.parse()?;
    let openraft = root["workspace"]["dependencies"]["openraft"]["version"].as_str().unwrap_or_default();
    assert!(openraft.starts_with('='), "openraft is {openraft:?}, not one exact version");
    Ok(())
}
