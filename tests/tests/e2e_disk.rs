//! A full disk and a full log: clear failures, nothing answered is lost, and with more room it goes on.

use std::io::ErrorKind;

use anyhow::{Result, bail, ensure};
use refrain_tests::disk::SmallDisk;
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::native::{Example, ScratchFolder};
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site};
use refrain_tests::transcript::noise;

const IMAGE_BYTES: usize = 1 << 20;
/// Names that images are put under, again and again.
const NAMES: u64 = 20;
/// More than any disk or log of these tests holds.
const MAX_WRITES: u64 = 400;

fn image(number: u64) -> Vec<u8> {
    noise(number, IMAGE_BYTES)
}

/// Puts images until one is not taken. Returns how many were answered with success.
fn fill(server: &Server) -> Result<u64> {
    let mut client = HttpClient::connect(server.address("image-server"))?;
    for number in 0..MAX_WRITES {
        match client.exchange(put(&format!("/{}.jpg", number % NAMES), &image(number))) {
            Ok(reply) if matches!(reply.status, 201 | 204) => {}
            Ok(reply) => bail!("image {number} was answered with {}", reply.status),
            Err(error) => {
                let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
                let waits = matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut));
                ensure!(!waits, "image {number} got no answer and no reset: {error:#}");
                return Ok(number);
            }
        }
    }
    bail!("{MAX_WRITES} images were taken")
}

/// Every image whose PUT was answered is there. The one after the last may have got through as well.
fn check(server: &Server, answered: u64) -> Result<()> {
    server.until_equal("image-server")?;
    let mut client = HttpClient::connect(server.address("image-server"))?;
    for name in 0..NAMES.min(answered) {
        let last = (0..answered).rev().find(|number| number % NAMES == name).expect("it was answered");
        let reply = client.exchange(request(&format!("GET /{name}.jpg"), "", b""))?;
        let lawful = reply.body() == image(last) || (answered % NAMES == name && reply.body() == image(answered));
        ensure!(reply.status == 200 && lawful, "image {last} is lost");
    }
    ensure!(client.exchange(put("/after.jpg", b"more"))?.status == 201);
    Ok(())
}

#[test]
fn a_full_disk_fails_clearly_and_loses_nothing_that_was_answered() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting a small disk takes root");
        return Ok(());
    }
    let folder = ScratchFolder::new("small-disk")?;
    let disk = SmallDisk::mount(&folder.path().join("disk"), "100m")?;
    let mut site = Site::of("disk-full", &[Example::ImageServer])?;
    site.data_in(&folder.path().join("disk/data"));
    let server = site.start()?;
    let answered = fill(&server)?;
    ensure!(answered >= 10, "only {answered} images were taken");
    server.log().until("that the disk is full", |line| line.contains("disk is full"))?;
    // A second client fails as fast, and the operator is not told for every request.
    for _ in 0..20 {
        if let Ok(mut client) = HttpClient::connect(server.address("image-server")) {
            let error = client.exchange(put("/no.jpg", &image(1))).err();
            ensure!(error.is_some(), "a write was answered although the disk is full");
        }
    }
    ensure!(server.rctl(&["status"])?.status.success(), "the status can still be asked for");
    let told = server.log().count("disk is full");
    ensure!(told <= 3, "the operator was told {told} times");
    server.kill()?;
    disk.resize("400m")?;
    let server = site.start()?;
    check(&server, answered)?;
    server.terminate()
}

#[test]
fn a_full_log_refuses_clearly_and_goes_on_with_a_higher_limit() -> Result<()> {
    let mut site = Site::of("log-full", &[Example::ImageServer, Example::KvServer])?;
    let server = site.argument("--max-log-bytes").argument("128MiB").start()?;
    let mut neighbour = RespClient::connect(server.address("kv-server"))?;
    ensure!(neighbour.words("SET lake deep")? == b"+OK\r\n");
    let answered = fill(&server)?;
    ensure!(neighbour.words("GET lake")? == b"$4\r\ndeep\r\n", "who sends little is not disturbed");
    ensure!(answered >= 10, "only {answered} images were taken");
    server.log().until("that the log is full", |line| line.contains("the log has") && line.contains("134217728"))?;
    let status = server.rctl_json(&["status"])?;
    let (bytes, max) = (status["log"]["bytes"].as_u64(), status["log"]["max_bytes"].as_u64());
    ensure!(max == Some(128 << 20) && bytes <= max, "{bytes:?} of {max:?}");
    ensure!(server.log().so_far().iter().any(|line| line.contains("80 %")), "no warning came before");
    let table = String::from_utf8(server.rctl(&["status"])?.stdout)?;
    ensure!(table.contains("nearly full"), "{table}");
    server.kill()?;
    site.without_arguments().argument("--max-log-bytes").argument("1GiB");
    let server = site.start()?;
    check(&server, answered)?;
    server.terminate()
}
