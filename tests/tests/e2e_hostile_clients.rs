//! Clients that send rubbish, dribble, half open, never read, or only stay: memory is bounded and others are served.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use refrain_tests::descriptors;
use refrain_tests::echo::connect;
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::load::{Dice, echo_round_trips};
use refrain_tests::native::Example;
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site};
use refrain_tests::transcript::noise;

const MIB: u64 = 1 << 20;
const IDLE_CONNECTIONS: usize = 10_000;
/// What 10,000 idle connections may cost the server, in all three replicas and the proxy together.
const IDLE_BYTES_MAX: u64 = 400 * MIB;
/// What clients that never read may cost it: their windows in every replica and at the proxy.
const NEVER_READING_BYTES_MAX: u64 = 256 * MIB;
/// A limit that is short enough to be waited for.
const IDLE_LIMIT: &str = "2s";

fn with_idle_limit(purpose: &str, example: Example) -> Result<Site> {
    let mut site = Site::new(purpose)?;
    site.example(example, |manifest| {
        let limits = manifest.entry("limits").or_insert_with(|| toml::Table::new().into());
        limits.as_table_mut().expect("limits are a table").insert("idle".to_owned(), IDLE_LIMIT.into());
    })?;
    Ok(site)
}

/// Other clients, which must not notice anything.
fn served(server: &Server) -> Result<()> {
    let mut client = HttpClient::connect(server.address("image-server"))?;
    let image = noise(7, 50_000);
    ensure!(matches!(client.exchange(put("/other.jpg", &image))?.status, 201 | 204));
    ensure!(client.exchange(request("GET /other.jpg", "", b""))?.body() == image);
    Ok(())
}

#[test]
fn garbage_is_answered_or_cut_off_and_nothing_else_happens() -> Result<()> {
    let server = Site::of("garbage", &[Example::ImageServer, Example::KvServer])?.start()?;
    let mut dice = Dice::new(3);
    for number in 0..200 {
        let address = server.address(if number % 2 == 0 { "image-server" } else { "kv-server" });
        let mut stream = connect(address)?;
        let garbage = noise(number, 1 + dice.below(5000) as usize);
        // The server may cut it off at any byte.
        let _ = stream.write_all(&garbage).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let hangs = ended.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        ensure!(!hangs, "garbage {number} was neither answered nor cut off");
    }
    served(&server)?;
    ensure!(RespClient::connect(server.address("kv-server"))?.words("PING")? == b"+PONG\r\n");
    for service in ["image-server", "kv-server"] {
        ensure!(server.until_equal(service).is_ok() && server.service(service)?["restarts"] == 0, "{service} ended");
        server.until(service, "without flows", |service| service["flows"] == 0)?;
    }
    Ok(())
}

#[test]
fn clients_that_send_byte_by_byte_are_answered_and_delay_nobody() -> Result<()> {
    let server = Site::of("slow-loris", &[Example::ImageServer])?.start()?;
    let address = server.address("image-server");
    served(&server)?;
    let mut slow: Vec<TcpStream> = (0..50).map(|_| connect(address)).collect::<Result<_>>()?;
    let bytes = request("GET /other.jpg", "", b"");
    let mut fast = HttpClient::connect(address)?;
    for byte in &bytes {
        for stream in &mut slow {
            stream.write_all(&[*byte])?;
        }
        ensure!(fast.exchange(&bytes)?.status == 200);
    }
    for mut stream in slow {
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        ensure!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(&noise(7, 50_000)));
    }
    Ok(())
}

/// Closes with a reset instead of an end.
fn reset(stream: TcpStream) -> Result<()> {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(())
}

#[test]
fn half_open_connections_are_forgotten_and_others_are_served() -> Result<()> {
    let server = with_idle_limit("half-open", Example::ImageServer)?.start()?;
    let address = server.address("image-server");
    let mut kept = Vec::new();
    for number in 0..150 {
        let mut stream = connect(address)?;
        match number % 3 {
            0 => {
                stream.write_all(b"PUT /half.jpg HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")?;
                stream.shutdown(Shutdown::Write)?;
                kept.push(stream);
            }
            1 => {
                stream.write_all(b"GET /")?;
                reset(stream)?;
            }
            _ => kept.push(stream),
        }
    }
    served(&server)?;
    for mut stream in kept {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let hangs = ended.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        ensure!(!hangs, "a connection stays open although nothing comes");
    }
    server.until("image-server", "without flows", |service| service["flows"] == 0)?;
    ensure!(HttpClient::connect(address)?.exchange(request("GET /half.jpg", "", b""))?.status == 404);
    Ok(())
}

#[test]
fn a_silent_client_is_reset_at_the_idle_limit_and_a_talking_one_stays() -> Result<()> {
    let server = with_idle_limit("idle", Example::Echo)?.start()?;
    let address = server.address("echo");
    let mut talking = connect(address)?;
    let silent: Vec<TcpStream> = (0..50).map(|_| connect(address)).collect::<Result<_>>()?;
    let start = Instant::now();
    for mut stream in silent {
        // The talking client talks while the silent one is waited for.
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        loop {
            talking.write_all(b"!")?;
            talking.read_exact(&mut [0])?;
            match stream.read(&mut [0]) {
                Ok(0) => break,
                Ok(_) => anyhow::bail!("a silent client got a byte"),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(_) => ensure!(start.elapsed() < Duration::from_secs(30), "a silent client stays"),
            }
        }
    }
    ensure!(start.elapsed() >= Duration::from_millis(1500), "reset after {:?}", start.elapsed());
    server.until("echo", "with the talking client alone", |service| service["flows"] == 1)?;
    Ok(())
}

/// Sends requests for a large file and never reads, until the server takes no more.
fn never_read(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.set_write_timeout(Some(Duration::from_millis(300)))?;
    let requests = request("GET /large.jpg", "", b"").repeat(200);
    // The socket buffers of both ends may take many megabytes before anybody waits.
    for _ in 0..10_000 {
        match stream.write(&requests) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(stream),
            Err(error) => return Err(error).context("a client that never reads was cut off while it wrote"),
        }
    }
    anyhow::bail!("the server takes requests without end")
}

#[test]
fn clients_that_never_read_cost_their_windows_delay_nobody_and_are_reset() -> Result<()> {
    let server = with_idle_limit("never-reading", Example::ImageServer)?.start()?;
    let address = server.address("image-server");
    let mut client = HttpClient::connect(address)?;
    ensure!(client.exchange(put("/large.jpg", &noise(8, 4 << 20)))?.status == 201);
    served(&server)?;
    let before = server.resident_bytes()?;
    let mut most = before;
    let mut greedy = Vec::new();
    for _ in 0..8 {
        greedy.push(never_read(address)?);
        served(&server)?;
        most = most.max(server.resident_bytes()?);
    }
    // One that were still there would be served for ever by the reads below.
    drop(client);
    server.until("image-server", "rid of those who never read", |service| service["flows"] == 0)?;
    println!("8 clients that never read: {} MiB more at most", (most - before) / MIB);
    ensure!(most - before <= NEVER_READING_BYTES_MAX, "{} bytes more", most - before);
    for mut stream in greedy {
        let ended = std::io::copy(&mut stream, &mut std::io::sink());
        ensure!(!ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it was not reset");
    }
    served(&server)?;
    server.until_equal("image-server")?;
    Ok(())
}

#[test]
fn ten_thousand_idle_connections_cost_bounded_memory_and_delay_nobody() -> Result<()> {
    descriptors::raise_limit()?;
    let server = Site::of("idle-10k", &[Example::Echo])?.start()?;
    let address = server.address("echo");
    let quiet = echo_round_trips(address, 500)?;
    let before = server.resident_bytes()?;
    let mut idle = Vec::with_capacity(IDLE_CONNECTIONS);
    for number in 0..IDLE_CONNECTIONS {
        idle.push(connect(address).with_context(|| format!("connection {number}"))?);
    }
    server.until("echo", "holding all connections", |service| {
        service["flows"].as_u64() >= Some(IDLE_CONNECTIONS as u64)
    })?;
    let more = server.resident_bytes()?.saturating_sub(before);
    let beside = echo_round_trips(address, 500)?;
    println!(
        "{IDLE_CONNECTIONS} idle connections: {} MiB more; echo p50 {:.2?} before, {:.2?} beside them",
        more / MIB,
        quiet.percentile(50),
        beside.percentile(50)
    );
    ensure!(more <= IDLE_BYTES_MAX, "{more} bytes more, at most {IDLE_BYTES_MAX} are allowed");
    for stream in idle.iter_mut().step_by(997) {
        stream.write_all(b"still here")?;
        let mut back = [0; 10];
        stream.read_exact(&mut back)?;
        ensure!(&back == b"still here");
    }
    drop(idle);
    server.until("echo", "without flows", |service| service["flows"] == 0)?;
    server.until_equal("echo")?;
    echo_round_trips(address, 100)?;
    Ok(())
}

#[test]
fn more_connections_than_the_service_takes_are_turned_away_and_the_others_stay() -> Result<()> {
    let mut site = Site::new("too-many")?;
    site.example(Example::Echo, |manifest| {
        let limits = manifest["limits"].as_table_mut().expect("the example has limits");
        limits.insert("flows".to_owned(), 10.into());
    })?;
    let server = site.start()?;
    let mut inside: Vec<TcpStream> = (0..10).map(|_| connect(server.address("echo"))).collect::<Result<_>>()?;
    for stream in &mut inside {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
    }
    // One more is reset, or closed without a byte: it never waits.
    if let Ok(mut outside) = connect(server.address("echo")) {
        let _ = outside.write_all(b"x");
        match outside.read(&mut [0]) {
            Ok(got) => ensure!(got == 0, "an eleventh connection was served"),
            Err(error) => ensure!(error.kind() == ErrorKind::ConnectionReset, "{error}"),
        }
    }
    inside.pop();
    server.until("echo", "with a free place", |service| service["flows"] == 9)?;
    echo_round_trips(server.address("echo"), 10)?;
    for stream in &mut inside {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
    }
    Ok(())
}
