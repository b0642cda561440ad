//! Disks of a cluster's nodes that are full or slow: the others go on, and nothing acknowledged is lost.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::disk::SmallDisk;
use refrain_tests::native::Example;
use refrain_tests::server::Server;
use refrain_tests::three::{KV, NODES, others, prepared, started};
use refrain_tests::tools::installed;
use refrain_tests::traffic::{Traffic, crowd, writers};
use refrain_tests::wait;

const ALL: [Example; 3] = [Example::Echo, Example::ImageServer, Example::KvServer];

/// Three nodes of which one has its data on a small disk; none where that cannot be mounted.
fn with_a_small_disk(purpose: &str, id: u64, size: &str) -> Result<Option<(Cluster, SmallDisk)>> {
    if !rustix::process::geteuid().is_root() {
        ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "mounting a small disk takes root");
        println!("skipped: mounting a small disk takes root");
        return Ok(None);
    }
    let mut cluster = prepared(purpose, &ALL)?;
    let folder = cluster.scratch().join("disk");
    let disk = SmallDisk::mount(&folder, size)?;
    // A log that is cut behind checkpoints does not fill the disk.
    cluster.set("log-cut-interval", "1h").set("checkpoint-interval", "1h");
    cluster.data_in(id, &folder.join("data")).start()?;
    for example in ALL {
        cluster.until_equal(example.name())?;
    }
    Ok(Some((cluster, disk)))
}

/// Clients of the other nodes write until the disk is full, and for a while longer.
fn fill(cluster: &Cluster, full: u64) -> Result<Traffic> {
    let traffic = Traffic::start(cluster.doors(), crowd(&others(full)));
    let log = cluster.server(full).log();
    wait::within(Duration::from_secs(120), "a full disk", || {
        Ok((log.count("disk is full") > 0 || traffic.pulse().is_stopped()).then_some(()))
    })?;
    traffic.until_more(1000)?;
    Ok(traffic)
}

fn goes_on(cluster: &Cluster, disk: &SmallDisk, traffic: Traffic, full: u64) -> Result<()> {
    disk.resize("1g")?;
    traffic.until_more(1000)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    for example in ALL {
        cluster.until_equal(example.name())?;
    }
    outcome.check(cluster.doors(), full)
}

#[test]
fn a_full_disk_of_a_follower_is_told_and_stops_nobody() -> Result<()> {
    let Some((cluster, disk)) = with_a_small_disk("full-follower", 3, "160m")? else { return Ok(()) };
    if cluster.leader()? == 3 {
        cluster.server(1).rctl_json(&["sequencer", "transfer", "1"])?;
    }
    let traffic = fill(&cluster, 3)?;
    let problems = |id: u64| cluster.server(id).rctl_json(&["status"]).map(|status| status["problems"].to_string());
    // While entries come: a member that is asked for none has nothing to refuse.
    wait::within(wait::PATIENCE, "the status of a member with a full disk", || {
        let told = problems(3)?;
        Ok((told.contains("is full, ") && told.contains("the log takes no entries here")).then_some(()))
    })?;
    let shown = cluster.server(3).rctl(&["status"])?;
    ensure!(String::from_utf8_lossy(&shown.stdout).contains("\nproblem     the disk of "), "{shown:?}");
    goes_on(&cluster, &disk, traffic, 3)
}

#[test]
fn a_leader_whose_disk_is_full_gives_the_lead_to_another_one() -> Result<()> {
    let Some((cluster, disk)) = with_a_small_disk("full-leader", 1, "160m")? else { return Ok(()) };
    if cluster.leader()? != 1 {
        cluster.server(1).rctl_json(&["sequencer", "transfer", "1"])?;
        cluster.leader()?;
    }
    let traffic = fill(&cluster, 1)?;
    ensure!(cluster.leader()? != 1, "the member with the full disk still leads");
    goes_on(&cluster, &disk, traffic, 1)
}

/// A process whose syncs take longer, by a debugger that delays them. Ended on drop.
struct Slowed(Child);

impl Slowed {
    fn start(server: &Server, delay_micros: u32) -> Result<Option<Self>> {
        let Some(strace) = installed("strace")? else { return Ok(None) };
        let mut command = Command::new(strace);
        command.args(["-f", "-q", "-e", "trace=fdatasync", "-o", "/dev/null"]);
        command.args(["-e", &format!("inject=fdatasync:delay_enter={delay_micros}"), "-p", &server.pid().to_string()]);
        Ok(Some(Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?)))
    }

    fn is_at_work(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        // It lets go of the process when it is asked to end.
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

#[test]
fn a_slow_disk_of_the_leader_deposes_nobody_and_one_of_a_follower_slows_nobody() -> Result<()> {
    let cluster = started("slow-disk")?;
    let leader = cluster.leader()?;
    let term = |id: u64| -> Result<u64> {
        Ok(cluster.server(id).rctl_json(&["status"])?["log"]["term"].as_u64().unwrap_or_default())
    };
    let before = term(leader)?;
    let traffic = Traffic::start(cluster.doors(), writers(6, &NODES));
    for slow in [leader, others(leader)[0]] {
        let Some(mut slowed) = Slowed::start(cluster.server(slow), 200_000)? else {
            drop(traffic.stop()?);
            return Ok(());
        };
        wait::pause(Duration::from_secs(3));
        traffic.until_more(100)?;
        if !slowed.is_at_work()? {
            ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "no process may be traced here");
            println!("skipped: no process may be traced here");
            drop(traffic.stop()?);
            return Ok(());
        }
    }
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    ensure!(term(leader)? == before && cluster.leader()? == leader, "the leader was deposed");
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), leader)
}
