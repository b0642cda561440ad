//! What an operator of a server does and asks besides its services: health, configuration, its end.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use refrain_tests::http::HttpClient;
use refrain_tests::native::Example;
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site, program};
use refrain_tests::services::other_version;
use refrain_tests::three::{KV, NODES, others, prepared};
use refrain_tests::wait;

/// What a server says of itself at a path, without a token.
fn says(server: &Server, path: &str) -> Result<(u16, String)> {
    let address = server.admin_address()?;
    let mut client = HttpClient::connect(address)?;
    client.send(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n"))?;
    let reply = client.reply(false)?;
    Ok((reply.status, String::from_utf8_lossy(reply.body()).into_owned()))
}

/// Waits until it says something.
fn until_it_says(server: &Server, path: &str, status: u16, text: &str) -> Result<()> {
    let mut last = None;
    let said = wait::until(&format!("{path} says {status} {text:?}"), || {
        let (is, body) = says(server, path)?;
        let fits = is == status && body.contains(text);
        last = Some((is, body));
        Ok(fits.then_some(()))
    });
    said.with_context(|| format!("{last:?}"))
}

#[test]
fn a_node_is_healthy_as_long_as_it_answers_and_ready_while_it_takes_part() -> Result<()> {
    let mut cluster = prepared("health", &[Example::KvServer])?;
    cluster.set("drain-timeout", "60s").start()?;
    for id in NODES {
        ensure!(says(cluster.server(id), "/healthz")? == (200, "ok\n".to_owned()));
        until_it_says(cluster.server(id), "/readyz", 200, "ok")?;
    }
    // An open connection keeps the node while it is drained.
    let held = RespClient::connect(cluster.server(1).address(KV))?;
    cluster.server(1).ask_to_end()?;
    until_it_says(cluster.server(1), "/readyz", 503, "this node is being ended")?;
    ensure!(says(cluster.server(1), "/healthz")? == (200, "ok\n".to_owned()), "it drains");
    drop(held);
    cluster.kill(1)?;
    let left = others(1);
    cluster.kill(left[0])?;
    until_it_says(cluster.server(left[1]), "/readyz", 503, "no leader of the log can be reached")?;
    ensure!(says(cluster.server(left[1]), "/healthz")? == (200, "ok\n".to_owned()), "it is not its fault");
    Ok(())
}

/// What a configuration is printed as.
fn printed(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program("refrain")?);
    let output = command.args(arguments).arg("--print-config").stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn a_printed_configuration_is_one_that_says_the_same() -> Result<()> {
    let site = Site::new("printed")?;
    let file = site.scratch().join("printed.toml");
    let path = file.to_str().context("the path is no text")?;
    let given = [
        &["up"][..],
        &["up", "a", "b", "--listen", "a/b/c=127.0.0.1:9000", "--shards", "2", "--place", "a/b=1", "--lease", "7s"],
    ];
    for arguments in given {
        let first = printed(arguments)?;
        std::fs::write(&file, &first)?;
        let again = printed(&["up", "--config", path])?;
        ensure!(first == again, "{first}\n---\n{again}");
    }
    let cluster = "[[node]]\nid = 4\naddress = \"127.0.0.1:7104\"\nroles = [\"proxy\", \"sequencer\"]\n";
    std::fs::write(site.scratch().join("cluster.toml"), cluster)?;
    let cluster = site.scratch().join("cluster.toml");
    let first = printed(&["node", "--node", "4", "--cluster", cluster.to_str().context("the path is no text")?])?;
    std::fs::write(&file, &first)?;
    let again = printed(&["node", "--config", path])?;
    ensure!(first == again && first.contains("roles = [") && first.contains("node = 4"), "{first}\n---\n{again}");
    Ok(())
}

#[test]
fn a_folder_that_was_changed_under_its_version_is_upgraded_as_the_refusal_says() -> Result<()> {
    let mut site = Site::of("changed", &[Example::KvServer])?;
    let server = site.start()?;
    let version = server.service(KV)?["name"].as_str().and_then(|name| Some(name.split_once('@')?.1.to_owned()));
    let version = version.context("the service has no version")?;
    server.terminate()?;
    let folder = other_version(site.scratch(), Example::KvServer, &version, |_| {})?;
    site.give(&[&folder]);
    let said = site.refused()?;
    let start = format!("`refrain up --data-dir {}`", site.data_dir().display());
    let upgrade = "`rctl service upgrade examples/kv-server FOLDER`";
    ensure!(said.contains(&start) && said.contains(upgrade), "{said}");
    site.give(&[]);
    let server = site.start()?;
    server.until_equal(KV)?;
    server.rctl_json(&["service", "upgrade", KV, folder.to_str().context("the path is no text")?])?;
    server.terminate()?;
    site.give(&[&folder]);
    let server = site.start()?;
    ensure!(RespClient::connect(server.address(KV))?.words("GET other")? == b"$-1\r\n");
    server.terminate()
}

/// A component that takes a while to be compiled: one function with many values that all live to its end.
fn slow_to_compile() -> Result<Vec<u8>> {
    let locals = 1_500;
    let load = |local| format!("(local.set {local} (i64.load (i32.const {})))", local * 8);
    let mut body: String = (0..locals).map(load).collect();
    for round in 0..60 {
        for local in 0..locals {
            let (one, other) = (local, (local * 7 + round * 13 + 1) % locals);
            body.push_str(&format!(
                "(local.set {one} (i64.mul (i64.xor (local.get {one}) (local.get {other})) (i64.const {})))",
                2 * round + 3
            ));
        }
        body.push_str("(if (i64.eqz (local.get 0)) (then (return)))");
    }
    let sink: String =
        (0..locals).map(|local| format!("(i64.store (i32.const {}) (local.get {local}))", local * 8)).collect();
    let text = format!(
        "(component (core module (memory 1) (func (export \"slow\") (local {}) {body} {sink})) (instance $none) \
         (export \"wasi:http/incoming-handler@0.2.0\" (instance $none)))",
        "i64 ".repeat(locals)
    );
    Ok(wat::parse_str(text)?)
}

#[test]
fn a_server_that_is_to_end_waits_for_no_program_that_is_compiled() -> Result<()> {
    let mut site = Site::of("ends", &[Example::Echo])?;
    site.argument("--http").argument("127.0.0.1:0");
    let server = site.start()?;
    let folder = site.scratch().join("slow");
    std::fs::create_dir_all(&folder)?;
    let manifest = "name = \"slow\"\nnamespace = \"tests\"\nversion = \"1.0.0\"\nmodule = \"slow.wasm\"\nkind = \"http\"\n\
                    mode = \"stateless\"\n[[routes]]\npath = \"/slow/...\"\n";
    std::fs::write(folder.join("service.toml"), manifest)?;
    std::fs::write(folder.join("slow.wasm"), slow_to_compile()?)?;
    let asked = std::thread::scope(|scope| -> Result<_> {
        let deploy = || server.rctl(&["service", "deploy", folder.to_str().unwrap_or_default()]);
        let asked = scope.spawn(deploy);
        server.log().until("a program that is compiled", |line| line.contains("a large program is made ready"))?;
        server.ask_to_end()?;
        asked.join().expect("it does not panic")
    })?;
    ensure!(server.log().count("the program is ready to run") == 0, "it was compiled to its end: {asked:?}");
    server.ended_well()
}
