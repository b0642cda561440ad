//! Replicas that die, are damaged, and disagree: what clients see meanwhile, and what the status says.

use std::io::ErrorKind;

use anyhow::{Context, Result, ensure};
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::native::{Example, ScratchFolder};
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site, program};
use refrain_tests::transcript::noise;
use serde_json::Value;

const IMAGE_BYTES: usize = 10 << 20;

fn seat(service: &Value, seat: usize) -> &Value {
    &service["seats"][seat]
}

fn states(service: &Value) -> Vec<String> {
    let seats = service["seats"].as_array().cloned().unwrap_or_default();
    seats.iter().map(|seat| seat["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Runs `rctl`, which must fail with exit code 1; returns what it says.
fn refusal(server: &Server, arguments: &[&str]) -> Result<String> {
    let output = server.rctl(arguments)?;
    ensure!(output.status.code() == Some(1), "rctl {arguments:?} ended with {}", output.status);
    ensure!(output.stdout.is_empty(), "an error belongs on standard error");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_replica_killed_during_an_upload_is_not_noticed_and_comes_back_equal() -> Result<()> {
    let server = Site::of("kill-replica", &[Example::ImageServer])?.start()?;
    let before = server.until("image-server", "running", |service| service["state"] == "running")?;
    let image = noise(1, IMAGE_BYTES);
    let upload = put("/lake.jpg", &image);
    let (first, second) = upload.split_at(IMAGE_BYTES / 2);
    let mut client = HttpClient::connect(server.address("image-server"))?;
    client.send(first)?;
    server.rctl_json(&["service", "kill-replica", "image-server", "--seat", "1"])?;
    client.send(second)?;
    ensure!(client.reply(false)?.status == 201);
    ensure!(client.exchange(request("GET /lake.jpg", "", b""))?.body() == image, "the image came back changed");
    server.until_equal("image-server")?;
    let after = server.service("image-server")?;
    ensure!(seat(&after, 1)["incarnation"].as_u64() > seat(&before, 1)["incarnation"].as_u64(), "{after:#}");
    for other in [0, 2] {
        ensure!(seat(&after, other)["incarnation"] == seat(&before, other)["incarnation"], "{after:#}");
    }
    ensure!(
        HttpClient::connect(server.address("image-server"))?.exchange(request("GET /lake.jpg", "", b""))?.body()
            == image
    );
    Ok(())
}

#[test]
fn replicas_killed_one_after_another_during_transfers_are_not_noticed() -> Result<()> {
    let server = Site::of("kill-replicas", &[Example::ImageServer])?.start()?;
    let image = noise(2, IMAGE_BYTES);
    let upload = put("/lake.jpg", &image);
    let mut client = HttpClient::connect(server.address("image-server"))?;
    for (number, piece) in upload.chunks(upload.len() / 4 + 1).enumerate() {
        client.send(piece)?;
        let seat = (number % 3).to_string();
        server.rctl_json(&["service", "kill-replica", "image-server", "--seat", &seat])?;
        server.until_equal("image-server")?;
    }
    ensure!(client.reply(false)?.status == 201);
    client.send(request("GET /lake.jpg", "", b""))?;
    server.rctl_json(&["service", "kill-replica", "image-server", "--seat", "0"])?;
    ensure!(client.reply(false)?.body() == image, "the image came back changed");
    server.until_equal("image-server")?;
    Ok(())
}

#[test]
fn a_damaged_replica_is_out_at_the_audit_and_every_answer_is_right() -> Result<()> {
    let mut site = Site::of("corrupt", &[Example::ImageServer])?;
    let server = site.argument("--allow-fault-injection").argument("--rebuild=false").start()?;
    let image = noise(3, 1 << 20);
    let mut client = HttpClient::connect(server.address("image-server"))?;
    ensure!(client.exchange(put("/lake.jpg", &image))?.status == 201);
    let upload = put("/hill.jpg", &image);
    client.send(&upload[..upload.len() / 2])?;
    let done = server.rctl_json(&["service", "corrupt-replica", "image-server", "--seat", "1"])?;
    let audit = done["position"].as_u64().context("no position of the audit")?;
    client.send(&upload[upload.len() / 2..])?;
    ensure!(client.reply(false)?.status == 201);
    let service =
        server.until("image-server", "without seat 1", |service| seat(service, 1)["state"] == "quarantined")?;
    ensure!(states(&service) == ["active", "quarantined", "active"], "{service:#}");
    let reason = seat(&service, 1)["reason"].as_str().unwrap_or_default().to_owned();
    ensure!(reason.contains(&format!("position {audit}")), "the audit is at {audit}: {reason}");
    let digests = reason.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 32).count();
    ensure!(digests == 2, "no two digests: {reason}");
    ensure!(seat(&service, 1)["since_position"].as_u64() >= Some(audit), "{service:#}");
    for name in ["/lake.jpg", "/hill.jpg"] {
        ensure!(client.exchange(request(&format!("GET {name}"), "", b""))?.body() == image, "{name} came back changed");
    }
    let table = String::from_utf8(server.rctl(&["status"])?.stdout)?;
    ensure!(table.contains("quarantined") && table.contains(&reason), "{table}");
    server.rctl_json(&["service", "rebuild", "image-server", "--seat", "1"])?;
    server.until_equal("image-server")?;
    server.rctl_json(&["service", "audit", "image-server"])?;
    server.until_equal("image-server")?;
    ensure!(client.exchange(request("GET /lake.jpg", "", b""))?.body() == image);
    Ok(())
}

/// What a client of a halted service gets: an end of its connection, soon, and no byte.
fn expect_no_answer(mut client: RespClient) -> Result<()> {
    let Err(error) = client.words("GET lake") else { anyhow::bail!("a halted service answered") };
    let timed_out = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    ensure!(!timed_out, "the connection was neither answered nor reset");
    Ok(())
}

#[test]
fn two_of_three_damaged_differently_halt_the_service_and_resume_brings_it_back() -> Result<()> {
    let mut site = Site::of("halt", &[Example::KvServer])?;
    let server = site.argument("--allow-fault-injection").argument("--rebuild=false").start()?;
    let address = server.address("kv-server");
    let mut client = RespClient::connect(address)?;
    ensure!(client.words("SET lake deep")? == b"+OK\r\n");
    for (seat, flipped) in [("1", "64"), ("2", "80")] {
        let corrupt = ["service", "corrupt-replica", "kv-server", "--seat", seat, "--address", flipped, "--bit", "3"];
        server.rctl_json(&corrupt)?;
    }
    let service = server.until("kv-server", "halted", |service| service["state"] == "halted")?;
    ensure!(!states(&service).contains(&"active".to_owned()), "{service:#}");
    expect_no_answer(client)?;
    if let Ok(client) = RespClient::connect(address) {
        expect_no_answer(client)?;
    }
    let refused = refusal(&server, &["service", "audit", "kv-server"])?;
    ensure!(refused.contains("halted"), "{refused}");
    server.rctl_json(&["service", "resume", "kv-server"])?;
    server.until_equal("kv-server")?;
    let service = server.until("kv-server", "running", |service| service["state"] == "running")?;
    ensure!(states(&service) == ["active"; 3], "{service:#}");
    ensure!(RespClient::connect(address)?.words("GET lake")? == b"$4\r\ndeep\r\n", "an answered write is lost");
    let refused = refusal(&server, &["service", "resume", "kv-server"])?;
    ensure!(refused.contains("not halted"), "{refused}");
    Ok(())
}

#[test]
fn a_halt_outlives_a_restart_and_resume_ends_it() -> Result<()> {
    let mut site = Site::of("halt-restart", &[Example::KvServer])?;
    site.argument("--allow-fault-injection").argument("--rebuild=false");
    let server = site.start()?;
    ensure!(RespClient::connect(server.address("kv-server"))?.words("SET lake deep")? == b"+OK\r\n");
    for (seat, flipped) in [("0", "64"), ("1", "80")] {
        server.rctl_json(&["service", "corrupt-replica", "kv-server", "--seat", seat, "--address", flipped])?;
    }
    server.until("kv-server", "halted", |service| service["state"] == "halted")?;
    server.kill()?;
    let server = site.start()?;
    ensure!(server.service("kv-server")?["state"] == "halted", "safety over liveness");
    // A client that comes now is told so at once, and leaves nothing behind.
    for _ in 0..20 {
        match RespClient::connect(server.address("kv-server")) {
            Ok(client) => expect_no_answer(client)?,
            // The reset may come before the client knows that it was connected.
            Err(error) => {
                let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
                ensure!(kind == Some(ErrorKind::ConnectionReset), "{error:#}");
            }
        }
    }
    ensure!(server.rctl_json(&["status"])?["proxy"]["flows"] == 0);
    server.rctl_json(&["service", "resume", "kv-server"])?;
    server.until_equal("kv-server")?;
    ensure!(RespClient::connect(server.address("kv-server"))?.words("GET lake")? == b"$4\r\ndeep\r\n");
    Ok(())
}

#[test]
fn when_no_seat_is_left_that_counts_the_service_halts_and_resume_goes_on_from_the_log() -> Result<()> {
    let mut site = Site::of("last-seat", &[Example::KvServer])?;
    site.argument("--allow-fault-injection").argument("--rebuild=false").argument("--replicas=1");
    let server = site.start()?;
    ensure!(RespClient::connect(server.address("kv-server"))?.words("SET lake deep")? == b"+OK\r\n");
    // Alone, a damaged replica agrees with itself; the one that is built after it does not.
    server.rctl_json(&["service", "corrupt-replica", "kv-server", "--seat", "0"])?;
    server.rctl_json(&["service", "kill-replica", "kv-server", "--seat", "0"])?;
    server.until("kv-server", "halted", |service| service["state"] == "halted")?;
    server.rctl_json(&["service", "resume", "kv-server"])?;
    server.until_equal("kv-server")?;
    ensure!(RespClient::connect(server.address("kv-server"))?.words("GET lake")? == b"$4\r\ndeep\r\n");
    Ok(())
}

#[test]
fn wrong_requests_are_refused_with_words_that_say_what_is_wrong() -> Result<()> {
    let server = Site::of("refusals", &[Example::Echo])?.start()?;
    let cases: [(&[&str], &str); 6] = [
        (&["service", "corrupt-replica", "echo", "--seat", "1"], "--allow-fault-injection"),
        (
            &["service", "kill-replica", "nothing", "--seat", "1"],
            "no service is called nothing; there are: examples/echo",
        ),
        (
            &["service", "kill-replica", "examples/nothing", "--seat", "1"],
            "no service is called examples/nothing; there are: examples/echo",
        ),
        (&["service", "kill-replica", "echo", "--seat", "3"], "has 3 seats"),
        (&["service", "rebuild", "echo", "--seat", "200"], "has 3 seats"),
        (&["service", "resume", "echo"], "is not halted"),
    ];
    for (arguments, expected) in cases {
        let said = refusal(&server, arguments)?;
        ensure!(said.contains(expected), "{arguments:?}: {said}");
        ensure!(said.lines().count() == 1, "{arguments:?}: {said}");
    }
    server.until_equal("echo")?;
    Ok(())
}

#[test]
fn without_a_server_rctl_says_so() -> Result<()> {
    let folder = ScratchFolder::new("no-server")?;
    let rctl = |arguments: &[&str]| -> Result<String> {
        let mut command = std::process::Command::new(program("rctl")?);
        command.args(arguments).current_dir(folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        let output = command.env_remove("REFRAIN_SERVER").env_remove("REFRAIN_TOKEN_FILE").output()?;
        ensure!(output.status.code() == Some(1), "it ended with {}", output.status);
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = rctl(&["status"])?;
    ensure!(said.contains("no refrain server found") && said.contains("refrain up"), "{said}");
    let error: Value = serde_json::from_str(&rctl(&["status", "-o", "json"])?)?;
    ensure!(error["code"] == "no-server", "{error}");
    Ok(())
}

#[test]
fn after_a_crash_rctl_says_that_nobody_answers() -> Result<()> {
    let site = Site::of("gone-server", &[Example::Echo])?;
    let server = site.start()?;
    let data_dir = site.data_dir();
    server.kill()?;
    let mut command = std::process::Command::new(program("rctl")?);
    let output = command.arg("status").arg("--data-dir").arg(data_dir).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("no refrain server at 127.0.0.1:"), "{said}");
    Ok(())
}
