//! Programs of other projects against a running server: none reports an error.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Result, ensure};
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::native::Example;
use refrain_tests::server::{Server, Site};
use refrain_tests::tools::{chromium, installed, output_of};
use refrain_tests::transcript::noise;

const IMAGE_BYTES: usize = 10 << 20;
/// A picture of one red point, which a browser can draw.
const RED_POINT: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,\
    \x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

fn start(purpose: &str, example: Example) -> Result<(Server, SocketAddr)> {
    let server = Site::of(purpose, &[example])?.start()?;
    let address = server.address(example.name());
    Ok((server, address))
}

#[test]
fn curl_uploads_ten_megabytes_and_gets_the_same_back() -> Result<()> {
    let Some(curl) = installed("curl")? else { return Ok(()) };
    let site = Site::of("curl", &[Example::ImageServer])?;
    let server = site.start()?;
    let (sent, back) = (site.scratch().join("lake.jpg"), site.scratch().join("back.jpg"));
    std::fs::write(&sent, noise(1, IMAGE_BYTES))?;
    let url = format!("http://{}/lake.jpg", server.address("image-server"));
    let quiet = ["--silent", "--show-error", "--fail"];
    output_of(Command::new(&curl).args(quiet).arg("-T").arg(&sent).arg(&url))?;
    output_of(Command::new(&curl).args(quiet).arg("-o").arg(&back).arg(&url))?;
    ensure!(std::fs::read(&sent)? == std::fs::read(&back)?, "the image came back changed");
    let piece = output_of(
        Command::new(&curl).args(quiet).args(["-r", "0-3", "-w", "%{http_code}", "-o"]).arg(&back).arg(&url),
    )?;
    ensure!(piece == "206" && std::fs::read(&back)? == std::fs::read(&sent)?[..4], "{piece}");
    server.until_equal("image-server")?;
    Ok(())
}

#[test]
fn redis_cli_talks_to_the_key_value_server() -> Result<()> {
    let Some(cli) = installed("redis-cli")? else { return Ok(()) };
    let (_server, address) = start("redis-cli", Example::KvServer)?;
    let ask = |words: &[&str]| {
        output_of(Command::new(&cli).args(["-h", "127.0.0.1", "-p", &address.port().to_string()]).args(words))
    };
    for (words, expected) in [
        (&["ping"][..], "PONG\n"),
        (&["set", "lake", "deep", "ex", "100"], "OK\n"),
        (&["get", "lake"], "deep\n"),
        (&["ttl", "lake"], "100\n"),
        (&["incr", "n"], "1\n"),
        (&["mset", "a", "1", "b", "2"], "OK\n"),
        (&["mget", "a", "b", "c"], "1\n2\n\n"),
        (&["del", "a", "b"], "2\n"),
    ] {
        let said = ask(words)?;
        ensure!(said == expected, "{words:?}: {said:?}");
    }
    Ok(())
}

#[test]
fn redis_benchmark_runs_without_an_error() -> Result<()> {
    let Some(benchmark) = installed("redis-benchmark")? else { return Ok(()) };
    let (server, address) = start("redis-benchmark", Example::KvServer)?;
    for pipelined in ["16", "1"] {
        let count = if pipelined == "1" { "20000" } else { "100000" };
        let mut command = Command::new(&benchmark);
        command.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-t", "set,get,incr", "-n", count]);
        let said = output_of(command.args(["-c", "50", "-P", pipelined, "--csv"]))?;
        println!("-n {count} -P {pipelined}:\n{said}");
        ensure!(!said.to_lowercase().contains("error"), "{said}");
        for test in ["SET", "GET", "INCR"] {
            ensure!(said.lines().any(|line| line.starts_with(&format!("\"{test}\""))), "{test} is missing: {said}");
        }
    }
    server.until_equal("kv-server")?;
    Ok(())
}

fn image_to_load(address: SocketAddr) -> Result<()> {
    ensure!(HttpClient::connect(address)?.exchange(put("/lake.jpg", &noise(2, 20_000)))?.status == 201);
    Ok(())
}

/// The number behind a label of `ab`.
fn number_of(report: &str, label: &str) -> Option<u64> {
    report.lines().find_map(|line| line.strip_prefix(label)?.split_whitespace().next()?.parse().ok())
}

#[test]
fn ab_keeps_connections_alive_without_a_failed_request() -> Result<()> {
    let Some(ab) = installed("ab")? else { return Ok(()) };
    let (server, address) = start("ab", Example::ImageServer)?;
    image_to_load(address)?;
    let url = format!("http://{address}/lake.jpg");
    let said = output_of(Command::new(ab).args(["-q", "-k", "-n", "10000", "-c", "32", &url]))?;
    println!("{said}");
    ensure!(number_of(&said, "Complete requests:") == Some(10_000), "{said}");
    ensure!(number_of(&said, "Failed requests:") == Some(0), "{said}");
    ensure!(number_of(&said, "Keep-Alive requests:") == Some(10_000), "{said}");
    ensure!(!said.contains("Non-2xx"), "{said}");
    server.until_equal("image-server")?;
    Ok(())
}

#[test]
fn wrk_sees_no_socket_error() -> Result<()> {
    let Some(wrk) = installed("wrk")? else { return Ok(()) };
    let (server, address) = start("wrk", Example::ImageServer)?;
    image_to_load(address)?;
    let url = format!("http://{address}/lake.jpg");
    let said = output_of(Command::new(wrk).args(["-t", "2", "-c", "64", "-d", "5s", "--latency", &url]))?;
    println!("{said}");
    ensure!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    ensure!(said.contains("requests in"), "{said}");
    server.until_equal("image-server")?;
    Ok(())
}

#[test]
fn a_browser_shows_the_gallery_with_its_pictures() -> Result<()> {
    let Some(program) = installed("chromium")? else { return Ok(()) };
    let site = Site::of("browser", &[Example::ImageServer])?;
    let server = site.start()?;
    let address = server.address("image-server");
    let mut client = HttpClient::connect(address)?;
    for name in ["/lake.gif", "/hill.gif"] {
        ensure!(client.exchange(put(name, RED_POINT))?.status == 201);
    }
    let (profile, picture) = (site.scratch().join("profile"), site.scratch().join("gallery.png"));
    let url = format!("http://{address}/");
    let page = chromium(&program, &profile, &["--dump-dom"], &url)?;
    ensure!(page.contains("<title>"), "{page}");
    for name in ["lake.gif", "hill.gif"] {
        ensure!(page.contains(&format!("src=\"/{name}\"")) || page.contains(&format!("src=\"{name}\"")), "{page}");
    }
    let screenshot = format!("--screenshot={}", picture.display());
    chromium(&program, &profile, &[&screenshot], &url)?;
    let png = std::fs::read(&picture)?;
    ensure!(png.starts_with(b"\x89PNG") && png.len() > 1000, "no picture of the page");
    Ok(())
}

#[test]
fn clients_that_come_while_others_upload_are_served() -> Result<()> {
    let server = Site::of("uploads", &[Example::ImageServer])?.start()?;
    let address = server.address("image-server");
    let body = noise(3, 3 << 20);
    std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..20)
            .map(|number| {
                let body = &body;
                scope.spawn(move || -> Result<()> {
                    let path = format!("/picture-{number}.jpg");
                    let reply = HttpClient::connect(address)?.exchange(put(&path, body))?;
                    ensure!(reply.status == 201, "{path}: {}", reply.status);
                    let reply = HttpClient::connect(address)?.exchange(request(&format!("GET {path}"), "", b""))?;
                    ensure!(reply.body() == body, "{path} is not what was sent");
                    Ok(())
                })
            })
            .collect();
        uploads.into_iter().try_for_each(|upload| upload.join().expect("a client does not panic"))
    })
}
