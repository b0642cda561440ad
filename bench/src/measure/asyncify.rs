//! What instrumenting costs: the examples as they are committed, whose guests can be saved in checkpoints, in turns
//! with the same sources compiled without it. One process, durability none, so that the guests' share is large.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Rows;
use super::variants::{self, EXAMPLES};
use crate::process;
use crate::report::{Row, Side, Unit};
use crate::setup::Setup;

const BUILD_LIMIT: Duration = Duration::from_secs(120);

/// Measures sizes and speeds of each example.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let plain = build(setup)?;
    for name in EXAMPLES {
        for (side, examples) in [(Side::Base, plain.as_path()), (Side::Refrain, setup.examples())] {
            let mut row = Row::new(format!("{name}: bytes of the module"), side);
            row.figure = Some(Unit::Bytes.of(module_bytes(examples, name)?));
            rows.push(row);
        }
    }
    variants::compare(setup, &plain, setup.examples(), rows)
}

fn module_bytes(examples: &Path, name: &str) -> Result<f64> {
    let module = examples.join(name).join(name).with_extension("wasm");
    let read = std::fs::metadata(&module).with_context(|| format!("cannot read {}", module.display()))?;
    Ok(read.len() as f64)
}

/// Compiles the examples without instrumenting them; a folder of examples.
fn build(setup: &Setup) -> Result<PathBuf> {
    let folder = setup.folder().join("plain");
    for name in EXAMPLES {
        let into = folder.join(name);
        let mut build = Command::new("bash");
        build.arg(setup.examples().join("build")).args(["--plain", "--out"]).arg(&into).arg(name);
        process::output(&format!("examples/build --plain {name}"), &mut build, BUILD_LIMIT)?;
        std::fs::copy(setup.examples().join(name).join("service.toml"), into.join("service.toml"))
            .with_context(|| format!("cannot copy the manifest of {name}"))?;
    }
    Ok(folder)
}
