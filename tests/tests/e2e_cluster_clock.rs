//! A node whose wall clock is set back while clients go on.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use refrain_tests::native::Example;
use refrain_tests::three::{KV, NODES, others, prepared};
use refrain_tests::traffic::{Traffic, writers};

/// The library that shows a process another time; none, with a line that says so, where it is not installed.
fn other_time() -> Result<Option<PathBuf>> {
    let folders = std::fs::read_dir("/usr/lib")?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut known = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    let found = known.find(|path| path.is_file());
    if found.is_none() {
        ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "libfaketime is not installed");
        println!("skipped: libfaketime is not installed");
    }
    Ok(found)
}

fn set_clock(file: &Path, offset: &str) -> Result<()> {
    // Whole or not at all: the process reads it at any time.
    let next = file.with_extension("next");
    std::fs::write(&next, offset)?;
    Ok(std::fs::rename(next, file)?)
}

#[test]
fn a_leader_whose_clock_is_set_back_goes_on_and_loses_nothing() -> Result<()> {
    let Some(library) = other_time()? else { return Ok(()) };
    let mut cluster = prepared("clock", &[Example::KvServer])?;
    let clock = cluster.scratch().join("clock");
    set_clock(&clock, "+0")?;
    for (name, value) in [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ] {
        cluster.variable_on(1, name, &value);
    }
    cluster.start()?;
    cluster.until_equal(KV)?;
    if cluster.leader()? != 1 {
        cluster.server(1).rctl_json(&["sequencer", "transfer", "1"])?;
    }
    let traffic = Traffic::start(cluster.doors(), writers(6, &NODES));
    traffic.until_more(500)?;
    for offset in ["-3600", "+7200", "-86400"] {
        set_clock(&clock, offset)?;
        // The process looks for a new time once a second.
        refrain_tests::wait::pause(std::time::Duration::from_millis(1500));
        traffic.until_more(500)?;
    }
    ensure!(cluster.leader()? == 1, "a wall clock says nothing of who leads");
    cluster.server(1).rctl_json(&["sequencer", "transfer", &others(1)[0].to_string()])?;
    traffic.until_more(500)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), 1)
}
