//! Logs replayed outside a server, and what is kept of replicas that diverge.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use refrain_tests::native::Example;
use refrain_tests::rctl::Rctl;
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site};
use refrain_tests::tools::output_of;
use refrain_tests::wait;
use serde_json::Value;

/// Runs `rctl replay`: whether nothing differed, and what it printed.
fn replay(data_dir: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let mut all = vec!["replay"];
    all.extend(arguments);
    let output = Rctl::new(data_dir).run(&all)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.is_empty(), "rctl {all:?}: {said}");
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

fn write(server: &Server, from: u32, to: u32) -> Result<()> {
    let mut client = RespClient::connect(server.address("kv-server"))?;
    (from..to).try_for_each(|number| {
        ensure!(client.words(&format!("SET key:{number} value-{number}"))? == b"+OK\r\n");
        Ok(())
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    output_of(Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to)).map(drop)
}

/// The bundles of a data folder, once there is one.
fn bundles(data_dir: &Path) -> Result<Vec<Value>> {
    wait::until("a forensic bundle", || {
        let listed = Rctl::new(data_dir).json(&["forensics", "list"])?;
        Ok(listed.as_array().filter(|all| !all.is_empty()).cloned())
    })
}

#[test]
fn a_replica_that_diverged_leaves_a_bundle_and_a_replay_names_the_page_that_was_flipped() -> Result<()> {
    let mut site = Site::of("forensics", &[Example::KvServer])?;
    let server = site.argument("--allow-fault-injection").argument("--rebuild=false").start()?;
    write(&server, 0, 50)?;
    let corrupt = ["service", "corrupt-replica", "kv-server", "--seat", "1", "--address", "0x8040", "--bit", "3"];
    let audit = server.rctl_json(&corrupt)?["position"].as_u64().context("no position of the audit")?;
    server.until("kv-server", "without seat 1", |service| service["seats"][1]["state"] == "quarantined")?;
    write(&server, 50, 60)?;
    let kept = bundles(&site.data_dir())?;
    ensure!(kept.len() == 1, "{kept:?}");
    let report = &kept[0]["report"];
    ensure!(kept[0]["bundle"] == format!("examples/kv-server/{audit}-seat1"), "{:?}", kept[0]);
    ensure!(report["position"] == audit && report["seat"] == 1 && report["voted"] != report["agreed"], "{report:#}");
    ensure!(report["state"]["position"].as_u64() >= Some(audit), "{report:#}");
    ensure!(report["state"]["bytes_kept"] == true && report["note"].is_null(), "{report:#}");
    ensure!(report["engine"]["program"].as_str().is_some_and(|program| program.len() == 64), "{report:#}");
    let shown = Rctl::new(&site.data_dir()).run(&["forensics", "show", &format!("kv-server/{audit}-seat1")])?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(shown.contains(&format!("diverged at     position {audit}")), "{shown}");

    let output = Rctl::new(&site.data_dir()).run(&["replay", "kv-server"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("a node runs on"), "{said}");
    server.kill()?;

    let path = kept[0]["path"].as_str().context("no path")?;
    let (equal, found) = replay(&site.data_dir(), &["kv-server", "--until-differs", path])?;
    ensure!(!equal, "{found}");
    // Bit 3 of a byte that was 0, in page 0, and nothing else but the history that followed from it.
    ensure!(found.contains("memory 0, page 0: byte 0x8040 is 08, not 00\n"), "{found}");
    ensure!(found.contains("another running digest"), "{found}");
    ensure!(!found.contains("page 1:") && !found.contains("mutable global"), "{found}");
    // A replay of the folder finds it by itself, and agrees with the majority.
    let (equal, found) = replay(&site.data_dir(), &["kv-server", "--print-from", "9999999"])?;
    ensure!(!equal && found.contains("byte 0x8040 is 08, not 00"), "{found}");
    ensure!(found.contains(&format!("position {audit}: the votes for which seat 1 was put out")), "{found}");
    ensure!(found.contains("agrees: the replay votes") && found.contains("as the others did"), "{found}");
    Ok(())
}

#[test]
fn a_replay_prints_what_a_replica_was_given_what_its_guest_called_and_did() -> Result<()> {
    let site = Site::of("replay-prints", &[Example::KvServer])?;
    let server = site.start()?;
    write(&server, 7, 8)?;
    server.rctl_json(&["service", "audit", "kv-server"])?;
    let digest = server.until_equal("kv-server")?;
    let position = server.service("kv-server")?["seats"][0]["position"].as_u64().context("no position")?;
    server.kill()?;
    let (equal, text) = replay(&site.data_dir(), &["examples/kv-server", "--to", &position.to_string()])?;
    ensure!(equal, "{text}");
    for part in [
        "given   control: examples/kv-server is created with 3 seats",
        "given   fresh randomness of a leader's term",
        "call    sock_listen(fd=",
        "effect  listens on port 6379",
        "opened by 127.0.0.1:",
        "SET",
        "call    sock_recv(fd=",
        "5 bytes \"+OK\\r\\n\" at offset 0",
        "given   control: audit",
        "effect  state digest ",
    ] {
        ensure!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    ensure!(text.contains(&format!("the last at position {position}\nrunning digest {digest}\n")), "{digest}: {text}");
    // The same for programs, from a position on.
    let (equal, lines) = replay(&site.data_dir(), &["kv-server", "--json", "--print-from", &position.to_string()])?;
    let lines: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(equal && lines[0]["position"] == position && lines[0]["running_digest"] == *digest, "{lines:?}");
    ensure!(lines.last().is_some_and(|last| last["summary"]["service"] == "examples/kv-server"), "{lines:?}");
    // It changed nothing: the server goes on.
    let server = site.start()?;
    server.until_equal("kv-server")?;
    write(&server, 8, 9)
}

#[test]
fn two_folders_are_equal_up_to_the_entry_at_which_their_logs_part() -> Result<()> {
    let site = Site::of("replay-parts", &[Example::KvServer])?;
    let server = site.start()?;
    write(&server, 0, 30)?;
    server.kill()?;
    let other = site.scratch().join("other");
    copy(&site.data_dir(), &other)?;
    let there = other.display().to_string();
    let (equal, text) = replay(&site.data_dir(), &["kv-server", "--until-differs", &there])?;
    ensure!(equal && text.contains("they do not differ"), "{text}");

    let mut second = Site::new("replay-parts-other")?;
    second.data_in(&other);
    for (site, from) in [(&site, 100), (&second, 200)] {
        let server = site.start()?;
        write(&server, from, from + 5)?;
        server.kill()?;
    }
    let (equal, lines) = replay(&site.data_dir(), &["kv-server", "--until-differs", &there, "--json"])?;
    ensure!(!equal, "{lines}");
    let found: Value = serde_json::from_str(&lines)?;
    let found = &found["comparison"];
    let (parted, differs) = (found["entries_differ_at"].as_u64(), found["differs_at"].as_u64());
    ensure!(parted.is_some() && differs >= parted && found["equal_to"].as_u64() < parted, "{found:#}");
    ensure!(found["differences"].as_array().is_some_and(|all| !all.is_empty()), "{found:#}");
    let (equal, text) = replay(&site.data_dir(), &["kv-server", "--until-differs", &there, "--to", "20"])?;
    ensure!(equal && text.contains("they do not differ"), "{text}");
    Ok(())
}

#[test]
fn what_cannot_be_replayed_is_refused_with_words_that_say_why() -> Result<()> {
    let site = Site::of("replay-refused", &[Example::Echo])?;
    site.start()?.kill()?;
    let refused = |data_dir: &Path, arguments: &[&str]| -> Result<String> {
        let output = Rctl::new(data_dir).run(arguments)?;
        ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{arguments:?}: {}", output.status);
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let data = site.data_dir();
    for (data_dir, arguments, expected) in [
        (&data, ["replay", "nothing", "--to", "9"], "no service is called nothing; there are: examples/echo"),
        (&data, ["replay", "echo", "--from", "77"], "\"77\" is no checkpoint of examples/echo; there are: "),
        (&data, ["replay", "echo", "--until-differs", "no-such-folder"], "there is no log in no-such-folder"),
        (&site.scratch().join("none"), ["replay", "echo", "--to", "9"], "there is no log in"),
        (&data, ["replay", "echo", "--refrain", "no-such-program"], "cannot run the server's program no-such-program"),
    ] {
        let said = refused(data_dir, &arguments)?;
        ensure!(said.contains(expected), "{arguments:?}: {said}");
    }
    let said = refused(&data, &["forensics", "show", "echo/1-seat0"])?;
    ensure!(said.contains("no forensic bundle is called echo/1-seat0; there are: none"), "{said}");
    Ok(())
}
