//! The examples, built with this machine's compilers: what they promise holds without Refrain too.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use refrain_tests::bus::{BusClient, message_bus_scenario};
use refrain_tests::echo::{connect, echo_scenario};
use refrain_tests::http::{HttpClient, image_server_scenario, put, request};
use refrain_tests::jobs::{JobClient, job_queue_scenario};
use refrain_tests::native::{Example, NativeServer, ScratchFolder, build_wasm};
use refrain_tests::resp::{RespClient, command, kv_server_scenario};
use refrain_tests::transcript::noise;
use refrain_tests::wiki::wiki_scenario;

const MIB: u64 = 1 << 20;

#[test]
fn echo_gives_back_what_it_is_sent() -> Result<()> {
    for example in [Example::Echo, Example::EchoP2, Example::EchoCP2] {
        let server = NativeServer::start(example)?;
        echo_scenario(server.address())?;
    }
    Ok(())
}

#[test]
fn image_server_gives_the_same_bytes_on_every_run() -> Result<()> {
    let first = NativeServer::start(Example::ImageServer)?;
    let second = NativeServer::start(Example::ImageServer)?;
    let transcript = image_server_scenario(first.address())?;
    ensure!(transcript == image_server_scenario(second.address())?);
    // And again on the same server, which has to have forgotten everything.
    ensure!(transcript == image_server_scenario(first.address())?);
    let left = std::fs::read_dir(first.files().join("images"))?.count();
    ensure!(left == 0, "{left} files were left behind");
    Ok(())
}

#[test]
fn kv_server_gives_the_same_bytes_on_every_run() -> Result<()> {
    let first = NativeServer::start(Example::KvServer)?;
    let second = NativeServer::start(Example::KvServer)?;
    ensure!(kv_server_scenario(first.address())? == kv_server_scenario(second.address())?);
    Ok(())
}

#[test]
fn job_queue_gives_the_same_bytes_on_every_run() -> Result<()> {
    let server = NativeServer::start(Example::JobQueue)?;
    let transcript = job_queue_scenario(server.address())?;
    // On the same server, which has no job left.
    ensure!(transcript == job_queue_scenario(server.address())?);
    Ok(())
}

#[test]
fn job_queue_refuses_jobs_above_its_memory_and_goes_on() -> Result<()> {
    let server = NativeServer::start(Example::JobQueue)?;
    let mut client = JobClient::connect(server.address())?;
    let body = "b".repeat(65_535);
    // 64 MiB, with 256 bytes counted beside each body.
    let room = (64 << 20) / (65_535 + 256);
    for _ in 0..room {
        client.put(&body)?;
    }
    ensure!(client.ask(&format!("put 0 0 1 65535\r\n{body}"))? == "OUT_OF_MEMORY");
    let (number, _) = client.reserve()?;
    ensure!(client.ask(&format!("delete {number}"))? == "DELETED");
    client.put(&body)?;
    Ok(())
}

#[test]
fn message_bus_gives_the_same_bytes_on_every_run() -> Result<()> {
    let server = NativeServer::start(Example::MessageBus)?;
    let transcript = message_bus_scenario(server.address())?;
    ensure!(transcript == message_bus_scenario(server.address())?);
    Ok(())
}

#[test]
fn message_bus_ends_a_client_that_does_not_read_and_serves_the_others() -> Result<()> {
    let server = NativeServer::start(Example::MessageBus)?;
    let mut silent = BusClient::connect(server.address())?;
    silent.say("SUB flood 1")?;
    silent.settle()?;
    let (mut reader, mut writer) = (BusClient::connect(server.address())?, BusClient::connect(server.address())?);
    reader.say("SUB flood 1")?;
    reader.settle()?;
    let payload = "f".repeat(65_536);
    // More than its 1 MiB and what sockets hold.
    for _ in 0..400 {
        writer.publish("flood", &payload)?;
        ensure!(reader.message()?.1 == payload);
    }
    // It finds what it was sent before, and the end of its connection.
    let received = silent.ended().map(|bytes| bytes.len()).unwrap_or_default();
    ensure!(received < 400 * payload.len(), "it was sent everything");
    writer.settle()
}

#[test]
fn wiki_gives_the_same_bytes_on_every_run() -> Result<()> {
    if !Example::Wiki.is_possible()? {
        return Ok(());
    }
    let server = NativeServer::start(Example::Wiki)?;
    let transcript = wiki_scenario(server.address())?;
    ensure!(transcript == wiki_scenario(server.address())?);
    let left = std::fs::read_dir(server.files().join("pages"))?.count();
    ensure!(left == 0, "{left} pages were left behind");
    Ok(())
}

#[test]
fn image_server_takes_a_file_at_its_limit_and_refuses_one_byte_more() -> Result<()> {
    let server = NativeServer::start_with(Example::ImageServer, &["--max-file", "1000"])?;
    let mut client = HttpClient::connect(server.address())?;
    ensure!(client.exchange(put("/at.jpg", &[1; 1000]))?.status == 201);
    let chunked = |len: usize| {
        let mut body = format!("{len:x}\r\n").into_bytes();
        body.extend(vec![2; len]);
        body.extend(b"\r\n0\r\n\r\n");
        request("PUT /chunked.jpg", "Transfer-Encoding: chunked\r\n", &body)
    };
    ensure!(client.exchange(chunked(1000))?.status == 201);
    ensure!(HttpClient::connect(server.address())?.exchange(chunked(1001))?.status == 413);
    ensure!(client.exchange(put("/above.jpg", &[1; 1001]))?.status == 413);
    let mut other = HttpClient::connect(server.address())?;
    ensure!(other.exchange(request("GET /above.jpg", "", b""))?.status == 404);
    Ok(())
}

#[test]
fn image_server_takes_a_name_and_a_head_at_their_limits_and_refuses_one_byte_more() -> Result<()> {
    let server = NativeServer::start(Example::ImageServer)?;
    let mut client = HttpClient::connect(server.address())?;
    let target = |len: usize| format!("/{}", "n".repeat(len));
    ensure!(client.exchange(put(&target(200), b"x"))?.status == 201);
    ensure!(client.exchange(request(&format!("GET {}", target(201)), "", b""))?.status == 400);
    let head = |len: usize| {
        let empty = request("GET /", "X: \r\n", b"").len();
        request("GET /", &format!("X: {}\r\n", "x".repeat(len - empty)), b"")
    };
    ensure!(client.exchange(head(8192))?.status == 200);
    ensure!(client.exchange(head(8193))?.status == 431);
    Ok(())
}

#[test]
fn image_server_removes_uploads_that_an_earlier_run_left_unfinished() -> Result<()> {
    let folder = ScratchFolder::new("leftovers")?;
    let path = folder.path().to_str().expect("the path is ASCII").to_owned();
    std::fs::write(folder.path().join(".upload-0"), b"half")?;
    std::fs::write(folder.path().join("whole.jpg"), b"whole")?;
    let server = NativeServer::start_with(Example::ImageServer, &["--dir", &path])?;
    let mut client = HttpClient::connect(server.address())?;
    ensure!(client.exchange(request("GET /whole.jpg", "", b""))?.body() == b"whole");
    ensure!(!folder.path().join(".upload-0").exists());
    Ok(())
}

#[test]
fn image_server_bounds_the_memory_of_clients_that_never_read() -> Result<()> {
    let server = NativeServer::start(Example::ImageServer)?;
    let mut client = HttpClient::connect(server.address())?;
    client.exchange(put("/big.jpg", &noise(1, 4 << 20)))?;
    let before = server.resident_bytes()?;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut never_reads = HttpClient::connect(server.address())?;
        never_reads.send(request("GET /big.jpg", "", b"").repeat(100))?;
        silent.push(never_reads);
    }
    ensure!(client.exchange(request("GET /big.jpg", "", b""))?.body() == noise(1, 4 << 20));
    let grown = server.resident_bytes()?.saturating_sub(before);
    ensure!(grown < 8 * MIB, "100 silent clients cost {grown} bytes");
    Ok(())
}

#[test]
fn kv_server_bounds_the_memory_of_clients_that_never_read() -> Result<()> {
    let server = NativeServer::start(Example::KvServer)?;
    let mut client = RespClient::connect(server.address())?;
    let value = noise(1, 1 << 20);
    let set: [&[u8]; 3] = [b"SET", b"big", &value];
    client.command(&set)?;
    let before = server.resident_bytes()?;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut never_reads = RespClient::connect(server.address())?;
        never_reads.send(command(&["GET", "big"]).repeat(100))?;
        silent.push(never_reads);
    }
    ensure!(client.words("PING")? == b"+PONG\r\n");
    let grown = server.resident_bytes()?.saturating_sub(before);
    ensure!(grown < 100 * MIB, "20 silent clients cost {grown} bytes");
    Ok(())
}

#[test]
fn kv_server_refuses_writes_above_its_memory_and_still_reads_and_deletes() -> Result<()> {
    let server = NativeServer::start_with(Example::KvServer, &["--max-memory", "10000"])?;
    let mut client = RespClient::connect(server.address())?;
    let out_of_memory = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    // 512 bytes of buckets, 64 for each argument after the name, the key's one and the value's own.
    let room = 10_000 - 512 - 2 * 64 - 1;
    ensure!(client.words("GET first")? == b"$-1\r\n");
    ensure!(client.words("SET k v")? == b"+OK\r\n");
    ensure!(client.words("DEL k")? == b":1\r\n");
    let set = |len: usize| command(&[b"SET".to_vec(), b"k".to_vec(), vec![b'v'; len]]);
    client.send(set(room + 1))?;
    ensure!(client.reply()? == out_of_memory);
    client.send(set(room))?;
    ensure!(client.reply()? == b"+OK\r\n");
    ensure!(client.words("INCR n")? == out_of_memory);
    ensure!(client.words("STRLEN k")? == format!(":{room}\r\n").as_bytes());
    ensure!(client.words("DEL k")? == b":1\r\n");
    ensure!(client.words("INCR n")? == b":1\r\n");
    Ok(())
}

#[test]
fn garbage_ends_its_own_connection_alone() -> Result<()> {
    for example in [Example::ImageServer, Example::KvServer, Example::JobQueue, Example::MessageBus] {
        let server = NativeServer::start(example)?;
        for seed in 0..50 {
            let mut stream = connect(server.address())?;
            // The server may close before all is sent: that is an answer too.
            let _ = stream.write_all(&noise(seed, 20_000));
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
        match example {
            Example::ImageServer => {
                let mut client = HttpClient::connect(server.address())?;
                ensure!(client.exchange(request("GET /", "", b""))?.status == 200);
            }
            Example::JobQueue => {
                ensure!(JobClient::connect(server.address())?.ask("kick 1")? == "KICKED 0");
            }
            Example::MessageBus => BusClient::connect(server.address())?.settle()?,
            _ => {
                let mut client = RespClient::connect(server.address())?;
                ensure!(client.words("PING")? == b"+PONG\r\n");
            }
        }
    }
    Ok(())
}

/// How a module begins, or a component.
fn header(example: Example) -> &'static [u8] {
    if example.is_component() { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" }
}

/// What was built before by the same tools, in the folder that `REFRAIN_BUILT_EXAMPLES` names: the step before the tests
/// has done so.
fn built_before(example: Example) -> Result<Option<Vec<u8>>> {
    let Some(folder) = std::env::var_os("REFRAIN_BUILT_EXAMPLES") else { return Ok(None) };
    let module = PathBuf::from(folder).join(format!("{}.wasm", example.name()));
    Ok(module.exists().then(|| std::fs::read(module)).transpose()?)
}

#[test]
fn the_sources_build_for_wasm_and_give_the_same_bytes_twice() -> Result<()> {
    let folder = ScratchFolder::new("wasm")?;
    for example in Example::ALL {
        let module = folder.path().join(format!("{}.wasm", example.name()));
        if !build_wasm(example, folder.path())? {
            eprintln!("{}: no compiler for it on this machine", example.name());
            continue;
        }
        let once = std::fs::read(&module)?;
        ensure!(once.starts_with(header(example)));
        let again = match built_before(example)? {
            Some(before) => before,
            None => {
                ensure!(build_wasm(example, folder.path())?);
                std::fs::read(&module)?
            }
        };
        ensure!(once == again, "two builds of {} differ", example.name());
    }
    Ok(())
}

#[test]
fn a_module_is_committed_beside_every_manifest() -> Result<()> {
    for example in Example::ALL.into_iter().filter(|example| example.is_committed()) {
        let module = std::fs::read(example.folder().join(format!("{}.wasm", example.name())))?;
        ensure!(module.starts_with(header(example)));
        let limit = if [Example::EchoP2, Example::MessageBus].contains(&example) { 150_000 } else { 100_000 };
        ensure!(module.len() < limit, "{} bytes are too many", module.len());
        ensure!(example.folder().join("service.toml").exists());
    }
    Ok(())
}
