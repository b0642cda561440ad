//! Programs of each socket family, and a foreign web server on `sdk/c`, as services of three replicas.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use refrain_tests::dialogue::Dialogue;
use refrain_tests::guests::manifest;
use refrain_tests::http::{HttpClient, request};
use refrain_tests::run::Programs;
use refrain_tests::server::Site;
use refrain_tests::tools::installed;

/// Clients of the web server at one time, and what each asks for on its connection.
const CLIENTS: usize = 8;
const REQUESTS: usize = 25;

fn with_port(name: &str) -> String {
    format!("{}[[ports]]\nname = \"main\"\nguest = 80\nlisten = \"127.0.0.1:0\"\n", manifest(name, ""))
}

#[test]
fn programs_of_replicode_wasix_and_wasmedges_crate_serve_their_clients_as_replicas() -> Result<()> {
    let programs = Programs::build_sockets()?;
    let mut site = Site::new("sockets")?;
    let mut names = Vec::new();
    for name in ["replicode", "wasix", "edge"] {
        if let Some(module) = programs.module(name)? {
            site.service(&with_port(name), &module)?;
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let server = site.start()?;
    for name in names {
        // The second client finds what the first one left: one state, on all replicas.
        for (asked, expected) in [(["one", "two"], ["nothing", "one"]), (["three", "four"], ["two", "three"])] {
            let mut client = Dialogue::connect(server.address(name))?;
            for (asked, expected) in asked.into_iter().zip(expected) {
                ensure!(client.ask(asked)? == expected, "{name}: {asked} is not answered by {expected}");
            }
        }
        server.until_equal(name)?;
    }
    server.terminate()
}

#[test]
fn a_foreign_web_server_compiles_unchanged_with_make_and_cmake_and_serves_8_clients_at_once() -> Result<()> {
    let programs = Programs::build_sockets()?;
    let mut site = Site::new("web")?;
    let mut names = Vec::new();
    for name in ["web-make", "web-cmake"] {
        if let Some(module) = programs.module(name)? {
            site.service(&with_port(name), &module)?;
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let server = site.start()?;
    for name in names {
        let address = server.address(name);
        let clients: Vec<_> = (0..CLIENTS).map(|client| std::thread::spawn(move || browse(address, client))).collect();
        for client in clients {
            client.join().ok().context("a client panicked")?.with_context(|| format!("a client of {name}"))?;
        }
        server.until_equal(name)?;
    }
    server.terminate()
}

#[test]
fn the_manual_page_is_installed_with_the_headers_and_formats_without_a_complaint() -> Result<()> {
    let programs = Programs::build_sockets()?;
    let (Some(page), Some(groff)) = (programs.other("refrain-sockets.7"), installed("groff")?) else { return Ok(()) };
    let output = Command::new(groff).args(["-man", "-Tascii", "-ww", "-P-cbou"]).arg(page).output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["REFRAIN-SOCKETS(7)", "pkg-config --cflags refrain", "getaddrinfo"] {
        ensure!(text.contains(word), "{word} is not in\n{text}");
    }
    Ok(())
}

/// One client: all its requests on one connection, with bodies that grow.
fn browse(address: SocketAddr, client: usize) -> Result<()> {
    let mut connection = HttpClient::connect(address)?;
    for number in 0..REQUESTS {
        let body = vec![b'a' + client as u8; number * 997];
        let headers = format!("Content-Length: {}\r\n", body.len());
        let reply = connection.exchange(request(&format!("POST /{client}/{number}"), &headers, &body))?;
        ensure!(reply.status == 200, "status {}", reply.status);
        let expected = [format!("/{client}/{number} ").as_bytes(), &body, b"\n"].concat();
        ensure!(reply.body() == expected, "request {number} has another answer");
    }
    Ok(())
}
