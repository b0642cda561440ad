//! The log of a run with mixed traffic, replayed in another process under other load: the same digest at every position.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use refrain_tests::echo::{connect, echo_scenario};
use refrain_tests::guests::{ORACLE, oracle_manifest};
use refrain_tests::http::image_server_scenario;
use refrain_tests::lines::Lines;
use refrain_tests::native::Example;
use refrain_tests::resp::{RespClient, kv_server_scenario};
use refrain_tests::server::{Server, Site};
use refrain_tests::tools::output_of;

/// Every turn is to be replayed.
const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-batches=1000000000", "--checkpoint-bytes=1TiB"];
const SERVICES: [&str; 4] = ["echo", "image-server", "kv-server", "oracle"];
/// Makes the server tell the digest of every turn of every replica.
const TRACE: &str = "info,openraft=warn,refrain::turn=trace";

/// The digest after each turn, by group and position.
type Digests = BTreeMap<(u64, u64), String>;

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    Some(word.trim_matches('"'))
}

/// What a server told of its turns. All replicas must have told the same.
fn digests(log: &Lines) -> Result<Digests> {
    let mut digests = Digests::new();
    for line in log.so_far().iter().filter(|line| line.contains("TRACE")) {
        let Some(digest) = field(line, "digest") else { continue };
        let number = |name| field(line, name).and_then(|text| text.parse().ok()).with_context(|| line.clone());
        let turn = (number("group")?, number("position")?);
        let known = digests.entry(turn).or_insert_with(|| digest.to_owned());
        ensure!(known == digest, "two replicas of one process differ at {turn:?}: {known}, {digest}");
    }
    Ok(digests)
}

/// Requests to the oracle: no two answers have the same random bytes, and its clock does not go back.
fn ask_oracle(server: &Server, count: usize) -> Result<Vec<[u8; 16]>> {
    let mut stream = connect(server.address("oracle"))?;
    let mut answers = Vec::new();
    for _ in 0..count {
        stream.write_all(b"?")?;
        let mut answer = [0; 16];
        stream.read_exact(&mut answer)?;
        answers.push(answer);
    }
    let clock = |answer: &[u8; 16]| u64::from_le_bytes(*answer.last_chunk().expect("16 bytes have 8 at their end"));
    ensure!(answers.is_sorted_by_key(clock), "the clock went back");
    let mut random: Vec<&[u8]> = answers.iter().map(|answer| &answer[..8]).collect();
    random.sort_unstable();
    random.dedup();
    ensure!(random.len() == count, "random bytes were given twice");
    Ok(answers)
}

fn mixed_traffic(server: &Server) -> Result<()> {
    std::thread::scope(|scope| {
        let all: Vec<std::thread::ScopedJoinHandle<'_, Result<()>>> = vec![
            scope.spawn(|| echo_scenario(server.address("echo")).map(drop)),
            scope.spawn(|| image_server_scenario(server.address("image-server")).map(drop)),
            scope.spawn(|| kv_server_scenario(server.address("kv-server")).map(drop)),
            scope.spawn(|| ask_oracle(server, 200).map(drop)),
        ];
        all.into_iter().try_for_each(|one| one.join().expect("a client does not panic"))
    })?;
    let mut client = RespClient::connect(server.address("kv-server"))?;
    for number in 0..20 {
        client.words(&format!("SET brief:{number} 1 PX {}", 10 + number * 10))?;
    }
    let expired = |reply: &[u8]| reply == b":0\r\n";
    while !expired(&client.words("DBSIZE")?) {}
    server.rctl_json(&["service", "kill-replica", "kv-server", "--seat", "2"])?;
    for service in SERVICES {
        server.rctl_json(&["service", "audit", service])?;
        server.until_equal(service)?;
    }
    Ok(())
}

/// How long replicas may take to catch up beside hogs.
const BESIDE_HOGS: Duration = Duration::from_secs(240);

/// Keeps every core busy until it is dropped.
struct Hogs(std::sync::Arc<AtomicBool>);

impl Hogs {
    fn start(count: usize) -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        for _ in 0..count {
            let stop = stop.clone();
            std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        }
        Self(stop)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_log_replayed_in_another_process_under_load_gives_the_same_digest_at_every_position() -> Result<()> {
    let mut site = Site::of("replay", &[Example::Echo, Example::ImageServer, Example::KvServer])?;
    site.service(&oracle_manifest(), &wat::parse_str(ORACLE)?)?.variable("RUST_LOG", TRACE);
    // Every turn is to be replayed.
    site.argument(NO_CHECKPOINTS[0]).argument(NO_CHECKPOINTS[1]);
    let server = site.start()?;
    mixed_traffic(&server)?;
    let told = digests(server.log())?;
    ensure!(told.len() > 1000, "only {} turns were told", told.len());
    server.kill()?;

    let copy = site.scratch().join("copy");
    output_of(Command::new("cp").args(["-r", "--sparse=always"]).arg(site.data_dir()).arg(&copy))?;
    let mut other = Site::new("replay-copy")?;
    other
        .data_in(&copy)
        .argument(NO_CHECKPOINTS[0])
        .argument(NO_CHECKPOINTS[1])
        .argument("--engine-workers")
        .argument("1")
        .variable("RUST_LOG", TRACE);
    let hogs = Hogs::start(4);
    let server = other.start()?;
    for service in SERVICES {
        // Replicas that catch up run at a lower priority than the hogs, so it may take long.
        server.equal_within(BESIDE_HOGS, service)?;
    }
    let replayed = digests(server.log())?;
    for (turn, digest) in &told {
        let other = replayed.get(turn);
        ensure!(other == Some(digest), "group and position {turn:?}: {digest} then, {other:?} in the replay");
    }
    println!("replay: {} turns of {} services, all digests equal", told.len(), SERVICES.len());
    drop(hogs);
    // And it goes on from there.
    for service in SERVICES {
        server.rctl_json(&["service", "audit", service])?;
        server.until_equal(service)?;
    }
    ask_oracle(&server, 10)?;
    Ok(())
}

#[test]
fn a_restart_does_not_repeat_random_bytes_or_turn_the_clock_back() -> Result<()> {
    let mut site = Site::new("oracle")?;
    site.service(&oracle_manifest(), &wat::parse_str(ORACLE)?)?;
    let server = site.start()?;
    let mut all = ask_oracle(&server, 50)?;
    server.kill()?;
    let server = site.start()?;
    all.extend(ask_oracle(&server, 50)?);
    let clocks: Vec<u64> =
        all.iter().map(|answer| u64::from_le_bytes(*answer.last_chunk().expect("16 bytes have 8"))).collect();
    ensure!(clocks.is_sorted(), "the clock went back over the restart");
    let mut random: Vec<&[u8]> = all.iter().map(|answer| &answer[..8]).collect();
    random.sort_unstable();
    random.dedup();
    ensure!(random.len() == 100, "random bytes were repeated after the restart");
    server.until_equal("oracle")?;
    Ok(())
}
