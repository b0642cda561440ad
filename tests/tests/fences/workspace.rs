//! The workspace as cargo and git see it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The repository's root.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are one folder below the root").to_owned()
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {} failed: {errors}", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs cargo, offline and with the lock file as it is.
pub fn cargo(arguments: &[&str]) -> Result<String> {
    let arguments = [arguments, &["--offline", "--locked"]].concat();
    run(option_env!("CARGO").unwrap_or("cargo"), &arguments)
}

/// Every file that is tracked, or would be: what is ignored is left out. Paths are relative to the root.
pub fn files() -> Result<Vec<String>> {
    // Who runs the tests need not own the clone.
    let listed = run(
        "git",
        &["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
    )?;
    let there = |path: &&str| !path.is_empty() && root().join(path).is_file();
    Ok(listed.split('\0').filter(there).map(str::to_owned).collect())
}

/// Reads a file of the repository.
pub fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// One package of the resolved graph.
pub struct Package {
    pub name: String,
    /// The folder of its manifest; relative to the root for members.
    pub folder: PathBuf,
    /// The names of the packages that it depends on for any purpose.
    pub direct: BTreeSet<String>,
    /// The ids of the packages that end up in its binary or run in its build.
    built_with: Vec<String>,
}

/// The resolved graph for this machine's target.
pub struct Graph {
    packages: BTreeMap<String, Package>,
    members: BTreeSet<String>,
}

impl Graph {
    pub fn load() -> Result<Self> {
        let version = run("rustc", &["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names its host")?;
        // Without the filter, cargo wants the packages of every other platform as well.
        let json = cargo(&["metadata", "--format-version", "1", "--filter-platform", host])?;
        Self::parse(&serde_json::from_str(&json)?).context("unexpected output of cargo metadata")
    }

    fn parse(json: &Value) -> Option<Self> {
        let mut packages = BTreeMap::new();
        let mut names = BTreeMap::new();
        for package in json["packages"].as_array()? {
            let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
            let folder = folder.strip_prefix(root()).unwrap_or(folder).to_owned();
            names.insert(package["id"].as_str()?, (package["name"].as_str()?.to_owned(), folder));
        }
        for node in json["resolve"]["nodes"].as_array()? {
            let id = node["id"].as_str()?;
            let (name, folder) = names.get(id)?.clone();
            let (mut direct, mut built_with) = (BTreeSet::new(), Vec::new());
            for dependency in node["deps"].as_array()? {
                let of = dependency["pkg"].as_str()?;
                direct.insert(names.get(of)?.0.clone());
                if dependency["dep_kinds"].as_array()?.iter().any(|kind| kind["kind"] != "dev") {
                    built_with.push(of.to_owned());
                }
            }
            packages.insert(id.to_owned(), Package { name, folder, direct, built_with });
        }
        let members = json["workspace_members"].as_array()?;
        let members = members.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<_>>()?;
        Some(Self { packages, members })
    }

    /// The packages of the workspace.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter_map(|id| self.packages.get(id))
    }

    /// The names of the workspace's packages.
    pub fn member_names(&self) -> BTreeSet<&str> {
        self.members().map(|member| member.name.as_str()).collect()
    }

    /// One member by its name.
    pub fn member(&self, name: &str) -> Result<&Package> {
        self.members().find(|member| member.name == name).with_context(|| format!("no member is called {name}"))
    }

    /// One package of the graph by its name; any of them when there are several.
    pub fn package(&self, name: &str) -> Result<&Package> {
        self.packages.values().find(|package| package.name == name).with_context(|| format!("nothing builds {name}"))
    }

    /// The names of all packages that a build of `package` compiles, itself included.
    pub fn build_of<'a>(&'a self, package: &'a Package) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::from([package.name.as_str()]);
        let mut open: Vec<&str> = package.built_with.iter().map(String::as_str).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if let Some(package) = self.packages.get(id).filter(|_| seen.insert(id)) {
                reached.insert(&package.name);
                open.extend(package.built_with.iter().map(String::as_str));
            }
        }
        reached
    }
}

/// Fails with all faults at once.
pub fn none(rule: &str, faults: &[String]) -> Result<()> {
    ensure!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
    Ok(())
}
