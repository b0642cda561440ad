//! Guests that loop, trap, take all memory, or are no programs at all: each ends with its own reason, others go on.

use anyhow::{Context, Result, ensure};
use refrain_tests::guests::{ALLOCATE, EMPTY_LINES, EXIT, NO_START, SPIN, TRAP, UNKNOWN_IMPORT, manifest};
use refrain_tests::load::echo_round_trips;
use refrain_tests::native::Example;
use refrain_tests::server::Site;

/// A hostile guest: its name, its module, its limits, and the kind and words of its exit reason.
struct Hostile {
    name: &'static str,
    module: Vec<u8>,
    limits: &'static str,
    kind: &'static str,
    words: &'static str,
}

fn hostile() -> Result<Vec<Hostile>> {
    let echo = std::fs::read(Example::Echo.folder().join("echo.wasm"))?;
    let half = echo[..echo.len() / 2].to_vec();
    let text = |text: &str| wat::parse_str(text);
    let limit = "fuel_per_turn = 50_000_000";
    let rows = [
        ("spins", text(SPIN)?, limit, "fuel", "used up its fuel of 50000000"),
        ("traps", text(TRAP)?, limit, "trap", "unreachable"),
        ("allocates", text(ALLOCATE)?, "memory = \"8MiB\"", "memory", "memory limit of 8388608 bytes"),
        ("exits", text(EXIT)?, limit, "exit", "3"),
        ("imports", text(UNKNOWN_IMPORT)?, limit, "import", "env.launch_rockets"),
        ("starts-not", text(NO_START)?, limit, "no-start", "no export `_start`"),
        ("picture", b"\xff\xd8\xff\xe0 a picture".to_vec(), limit, "not-a-module", "not a WebAssembly module"),
        ("truncated", half, limit, "truncated", "truncated: the module ends after"),
    ];
    let row = |(name, module, limits, kind, words)| Hostile { name, module, limits, kind, words };
    Ok(rows.into_iter().map(row).collect())
}

#[test]
fn each_hostile_guest_ends_with_its_own_reason_while_echo_answers() -> Result<()> {
    let hostile = hostile()?;
    let mut site = Site::of("hostile", &[Example::Echo])?;
    for guest in &hostile {
        site.service(&manifest(guest.name, guest.limits), &guest.module)?;
    }
    let server = site.start()?;
    for guest in &hostile {
        let service = server.until(guest.name, "at its end", |service| service["state"] == "exited")?;
        let reason = &service["exit_reason"];
        ensure!(reason["kind"] == guest.kind, "{}: {reason:#}, expected {}", guest.name, guest.kind);
        let message = reason["message"].as_str().context("no message")?;
        ensure!(message.contains(guest.words), "{}: {message:?}, expected {:?}", guest.name, guest.words);
        ensure!(!message.contains('\n'), "{}: {message:?} has several lines", guest.name);
        ensure!(service["restarts"] == 0, "{}: {service:#}", guest.name);
        echo_round_trips(server.address("echo"), 50)?;
    }
    let table = String::from_utf8(server.rctl(&["status"])?.stdout)?;
    for guest in &hostile {
        ensure!(table.contains(guest.words), "{} is not explained in:\n{table}", guest.name);
    }
    server.until_equal("echo")?;
    server.terminate()
}

#[test]
fn an_empty_line_is_agreed_on_like_any_other() -> Result<()> {
    let mut site = Site::of("empty-lines", &[])?;
    site.service(&manifest("lines", ""), &wat::parse_str(EMPTY_LINES)?)?;
    let server = site.start()?;
    let service = server.until("lines", "at its end", |service| service["state"] == "exited")?;
    ensure!(service["exit_reason"]["kind"] == "exit", "{service:#}");
    let told = server.rctl_json(&["service", "logs", "lines"])?;
    let lines = told["lines"].as_array().context("no lines")?;
    let lines: Vec<&str> = lines.iter().filter_map(|line| line["line"].as_str()).collect();
    ensure!(lines == ["", "word", ""], "{told:#}");
    server.terminate()
}

#[test]
fn what_cannot_run_is_told_at_the_start_and_the_rest_is_served() -> Result<()> {
    let mut site = Site::of("refused", &[Example::Echo])?;
    site.service(&manifest("imports", ""), &wat::parse_str(UNKNOWN_IMPORT)?)?;
    let server = site.start()?;
    let told = server.output().into_iter().find(|line| line.starts_with("not serving tests/imports"));
    ensure!(told.clone().is_some_and(|line| line.contains("env.launch_rockets")), "{told:?}");
    echo_round_trips(server.address("echo"), 10)?;
    Ok(())
}

#[test]
fn a_guest_that_traps_is_started_again_ever_more_slowly() -> Result<()> {
    let mut site = Site::of("restarts", &[Example::Echo])?;
    let again = manifest("traps", "").replace("\"never\"", "\"always\"\nbackoff = \"10ms\"\nbackoff_max = \"50ms\"");
    site.service(&again, &wat::parse_str(TRAP)?)?;
    let server = site.start()?;
    server.until("traps", "started again five times", |service| service["restarts"].as_u64() >= Some(5))?;
    echo_round_trips(server.address("echo"), 100)?;
    let log = server.log().so_far();
    let told = log.iter().filter(|line| line.contains("guest ended")).count();
    ensure!(told >= 5, "the operator is told of each end, {told} lines");
    Ok(())
}

#[test]
fn echo_is_answered_beside_four_services_that_spin() -> Result<()> {
    let mut site = Site::of("spinners", &[Example::Echo])?;
    let spin = wat::parse_str(SPIN)?;
    for name in ["spin-a", "spin-b", "spin-c", "spin-d"] {
        site.service(&manifest(name, "fuel_per_turn = \"off\""), &spin)?;
    }
    let quiet = echo_round_trips(Site::of("no-spinners", &[Example::Echo])?.start()?.address("echo"), 1000)?;
    let server = site.start()?;
    for name in ["spin-a", "spin-b", "spin-c", "spin-d"] {
        server.until(name, "there", |service| service["seats"].as_array().is_some_and(|seats| seats.len() == 3))?;
    }
    let beside = echo_round_trips(server.address("echo"), 1000)?;
    println!(
        "echo, 1000 round trips: alone p50 {:.2?}, p99 {:.2?}; beside 12 spinning replicas p50 {:.2?}, p99 {:.2?} (aim: 5 ms)",
        quiet.percentile(50),
        quiet.percentile(99),
        beside.percentile(50),
        beside.percentile(99)
    );
    for name in ["spin-a", "spin-b", "spin-c", "spin-d"] {
        let service = server.service(name)?;
        let seats = service["seats"].as_array().context("no seats")?;
        let still = seats.iter().filter(|seat| seat["lag"].as_u64() > Some(0)).count();
        ensure!(still == 3, "the replicas of {name} do not spin: {service:#}");
    }
    server.until_equal("echo")?;
    Ok(())
}
