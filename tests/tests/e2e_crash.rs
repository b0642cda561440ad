//! The process dies or is ended at any moment: what was answered is there afterwards, and nothing else is made up.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::load::{Dice, Ledger, Progress};
use refrain_tests::native::Example;
use refrain_tests::resp::{RespClient, command};
use refrain_tests::server::{Server, Site};
use refrain_tests::transcript::noise;

const DEFAULT_ROUNDS: u64 = 10;
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes before the first frame of a segment.
const SEGMENT_HEADER: usize = 64;
const KEY_WRITERS: u64 = 3;
const IMAGE_WRITER: u64 = 3;

fn rounds() -> Result<u64> {
    match std::env::var("REFRAIN_KILL_ROUNDS") {
        Ok(text) => text.parse().context("REFRAIN_KILL_ROUNDS is no number"),
        Err(_) => Ok(DEFAULT_ROUNDS),
    }
}

/// Writes from several clients until `enough` writes were answered, then kills the server under them.
fn write_and_kill(server: Server, ledgers: &mut [Ledger], enough: u64) -> Result<()> {
    let (keys, images) = (server.address("kv-server"), server.address("image-server"));
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let writers: Vec<_> = ledgers
            .iter_mut()
            .enumerate()
            .map(|(number, ledger)| {
                let progress = &progress;
                scope.spawn(move || match number as u64 {
                    IMAGE_WRITER => ledger.write_images(images, progress),
                    _ => ledger.write_keys(keys, progress),
                })
            })
            .collect();
        let reached = progress.until(enough, PATIENCE);
        let killed = server.kill();
        progress.stop();
        for writer in writers {
            writer.join().expect("a writer does not panic")?;
        }
        reached.and(killed)
    })
}

fn check(server: &Server, ledgers: &mut [Ledger]) -> Result<()> {
    for service in ["kv-server", "image-server"] {
        server.until_equal(service)?;
    }
    for (number, ledger) in ledgers.iter_mut().enumerate() {
        match number as u64 {
            IMAGE_WRITER => ledger.check_images(server.address("image-server"))?,
            _ => ledger.check_keys(server.address("kv-server"))?,
        }
    }
    for service in ["kv-server", "image-server"] {
        server.until_equal(service)?;
    }
    Ok(())
}

#[test]
fn every_answered_write_survives_kills_at_random_moments() -> Result<()> {
    let site = Site::of("kills", &[Example::KvServer, Example::ImageServer])?;
    let mut ledgers: Vec<Ledger> = (0..=KEY_WRITERS).map(Ledger::new).collect();
    let mut dice = Dice::new(2);
    for round in 0..rounds()? {
        let server = site.start().with_context(|| format!("start {round}"))?;
        check(&server, &mut ledgers).with_context(|| format!("before kill {round}"))?;
        write_and_kill(server, &mut ledgers, dice.below(600)).with_context(|| format!("kill {round}"))?;
    }
    let server = site.start()?;
    check(&server, &mut ledgers)?;
    server.terminate()
}

#[test]
fn replay_is_told_in_times_of_real_time() -> Result<()> {
    let site = Site::of("replay-speed", &[Example::KvServer])?;
    let server = site.start()?;
    let count: u64 = 100_000;
    let start = Instant::now();
    let address = server.address("kv-server");
    std::thread::scope(|scope| -> Result<()> {
        let writers: Vec<_> =
            (0..4).map(|writer| scope.spawn(move || one_at_a_time(address, writer, count / 4))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().expect("a writer does not panic"))
    })?;
    let real = start.elapsed();
    server.until_equal("kv-server")?;
    server.kill()?;
    let replay = time_to_start(&site)?;
    // What a start costs by itself is not replay.
    let empty = Site::of("no-replay", &[Example::KvServer])?;
    time_to_start(&empty)?;
    let start_alone = time_to_start(&empty)?;
    let times = real.as_secs_f64() / replay.saturating_sub(start_alone).as_secs_f64().max(1e-9);
    println!(
        "replay: {count} writes took {real:.2?}; start with replay {replay:.2?}, without {start_alone:.2?}: \
         {times:.1} times real time (aim: 5)"
    );
    let server = site.start()?;
    let mut client = RespClient::connect(server.address("kv-server"))?;
    for writer in 0..4 {
        let expected = (count / 4).to_string();
        let reply = client.words(&format!("GET n{writer}"))?;
        ensure!(reply == format!("${}\r\n{expected}\r\n", expected.len()).as_bytes(), "writer {writer}: {reply:?}");
    }
    Ok(())
}

/// How long a server takes until all its replicas are active and equal. It is killed afterwards.
fn time_to_start(site: &Site) -> Result<Duration> {
    let start = Instant::now();
    let server = site.start()?;
    server.until_equal("kv-server")?;
    let taken = start.elapsed();
    server.kill()?;
    Ok(taken)
}

fn one_at_a_time(address: std::net::SocketAddr, writer: u64, count: u64) -> Result<()> {
    let mut client = RespClient::connect(address)?;
    for number in 1..=count {
        let reply = client.words(&format!("INCR n{writer}"))?;
        ensure!(reply == format!(":{number}\r\n").as_bytes(), "{reply:?}");
    }
    Ok(())
}

/// The segments of a log, oldest first.
fn segments(data_dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![data_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with("segment-") && name.ends_with(".log") {
                found.push(path);
            }
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "no segments in {}", data_dir.display());
    Ok(found)
}

/// Where the bytes of a segment end: behind them are the zeros of the reserved size.
fn used(segment: &Path) -> Result<usize> {
    let bytes = fs::read(segment)?;
    Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1))
}

/// The last segment that has entries, with where they end.
fn last_used(data_dir: &Path) -> Result<(PathBuf, usize)> {
    for segment in segments(data_dir)?.into_iter().rev() {
        let used = used(&segment)?;
        if used > SEGMENT_HEADER {
            return Ok((segment, used));
        }
    }
    bail!("no segment has entries")
}

/// A server with keys `k0` to `k{count - 1}`, each with its number, one request after another; killed.
fn site_with_keys(purpose: &str, count: u64) -> Result<Site> {
    let site = Site::of(purpose, &[Example::KvServer])?;
    let server = site.start()?;
    let mut client = RespClient::connect(server.address("kv-server"))?;
    for number in 0..count {
        ensure!(client.words(&format!("SET k{number} {number}"))? == b"+OK\r\n");
    }
    server.kill()?;
    Ok(site)
}

/// How many of the keys are there, from the first on; the others must all be missing.
fn keys_there(server: &Server, count: u64) -> Result<u64> {
    let mut client = RespClient::connect(server.address("kv-server"))?;
    let mut there = 0;
    for number in 0..count {
        let reply = client.words(&format!("GET k{number}"))?;
        let text = number.to_string();
        if reply == format!("${}\r\n{text}\r\n", text.len()).as_bytes() {
            ensure!(there == number, "k{number} is there, k{there} is not");
            there += 1;
        } else {
            ensure!(reply == b"$-1\r\n", "k{number}: {:?}", String::from_utf8_lossy(&reply));
        }
    }
    Ok(there)
}

#[test]
fn a_write_torn_by_the_crash_is_cut_and_everything_before_it_is_there() -> Result<()> {
    for (name, garbage) in [("zeros", vec![0; 4096]), ("noise", noise(9, 3000)), ("short", vec![0xff; 5])] {
        let site = site_with_keys(&format!("torn-{name}"), 100)?;
        let (segment, used) = last_used(&site.data_dir())?;
        OpenOptions::new().write(true).open(&segment)?.write_all_at(&garbage, used as u64)?;
        let server = site.start().with_context(|| name.to_owned())?;
        server.until_equal("kv-server")?;
        ensure!(keys_there(&server, 100)? == 100, "{name}: answered writes are gone");
        ensure!(RespClient::connect(server.address("kv-server"))?.words("SET after 1")? == b"+OK\r\n");
        server.kill()?;
        let server = site.start()?;
        ensure!(RespClient::connect(server.address("kv-server"))?.words("GET after")? == b"$1\r\n1\r\n");
    }
    Ok(())
}

#[test]
fn a_log_that_lost_the_end_of_its_last_write_serves_all_before_it() -> Result<()> {
    let site = site_with_keys("cut-tail", 100)?;
    let (segment, used) = last_used(&site.data_dir())?;
    File::options().write(true).open(&segment)?.set_len(used as u64 - 3)?;
    let server = site.start()?;
    server.until_equal("kv-server")?;
    // The last write cannot be told from one that was never answered: its end is all that shows it.
    let there = keys_there(&server, 100)?;
    ensure!(there >= 99, "{there} of 100 keys are there");
    Ok(())
}

#[test]
fn a_flipped_byte_in_the_middle_is_an_error_that_names_file_and_offset_and_changes_nothing() -> Result<()> {
    let site = site_with_keys("damage", 200)?;
    let (segment, used) = last_used(&site.data_dir())?;
    let at = (used / 2) as u64;
    let file = File::options().read(true).write(true).open(&segment)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x10], at)?;
    let all = segments(&site.data_dir())?;
    let before: Vec<Vec<u8>> = all.iter().map(fs::read).collect::<Result<_, _>>()?;
    for attempt in 0..2 {
        let said = site.refused()?;
        ensure!(said.contains(&segment.display().to_string()) && said.contains("offset"), "attempt {attempt}: {said}");
        ensure!(said.contains("damaged"), "attempt {attempt}: {said}");
        let offset = said.split("offset ").nth(1).and_then(|rest| rest.split(' ').next()).context("no offset")?;
        let offset: u64 = offset.trim_end_matches(|c: char| !c.is_ascii_digit()).parse()?;
        ensure!(offset <= at && at < offset + 4096, "the byte at {at} was flipped: {said}");
        let after: Vec<Vec<u8>> = all.iter().map(fs::read).collect::<Result<_, _>>()?;
        ensure!(segments(&site.data_dir())? == all && after == before, "attempt {attempt} changed the log");
    }
    // With the byte as it was, everything is there.
    file.write_all_at(&byte, at)?;
    let server = site.start()?;
    ensure!(keys_there(&server, 200)? == 200);
    Ok(())
}

#[test]
fn a_second_server_on_the_same_data_is_refused() -> Result<()> {
    let site = Site::of("twice", &[Example::Echo])?;
    let server = site.start()?;
    let said = site.refused()?;
    ensure!(said.contains("another refrain uses the data folder"), "{said}");
    server.until_equal("echo")?;
    Ok(())
}

#[test]
fn a_request_under_way_ends_before_the_process_does_and_the_state_stays() -> Result<()> {
    let site = Site::of("drain", &[Example::ImageServer, Example::KvServer])?;
    let server = site.start()?;
    ensure!(RespClient::connect(server.address("kv-server"))?.words("SET lake deep")? == b"+OK\r\n");
    let address = server.address("image-server");
    let image = noise(4, 1 << 20);
    let upload = put("/lake.jpg", &image);
    let mut client = HttpClient::connect(address)?;
    client.send(&upload[..upload.len() / 2])?;
    server.ask_to_end()?;
    server.log().until("that it drains", |line| line.contains("draining"))?;
    client.send(&upload[upload.len() / 2..])?;
    ensure!(client.reply(false)?.status == 201, "the upload was cut off");
    server.ended_well()?;
    let server = site.start()?;
    let mut client = HttpClient::connect(server.address("image-server"))?;
    ensure!(client.exchange(request("GET /lake.jpg", "", b""))?.body() == image);
    ensure!(RespClient::connect(server.address("kv-server"))?.words("GET lake")? == b"$4\r\ndeep\r\n");
    for service in ["image-server", "kv-server"] {
        server.until_equal(service)?;
    }
    server.terminate()
}

#[test]
fn a_drain_does_not_wait_for_ever_for_a_connection_that_stays() -> Result<()> {
    let site = Site::of("drain-idle", &[Example::KvServer])?;
    let server = site.start()?;
    let mut client = RespClient::connect(server.address("kv-server"))?;
    client.send(&command(&["SET", "lake", "deep"])[..8])?;
    let start = Instant::now();
    server.terminate()?;
    ensure!(start.elapsed() < Duration::from_secs(20), "the drain took {:?}", start.elapsed());
    ensure!(client.reply().is_err());
    Ok(())
}
