//! HTTP at a whole server: stateless components and replicated services behind the front end, versions that come and go
//! under load, guests that fail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use refrain_tests::descriptors;
use refrain_tests::http::{HttpClient, request};
use refrain_tests::native::{Example, ScratchFolder, examples_folder};
use refrain_tests::server::{Server, Site};
use refrain_tests::services::{other_version, route, version_of};
use refrain_tests::transcript::noise;
use refrain_tests::wait;
use serde_json::Value;

/// A component of `wasi:http` 0.2 that does what the path says; its source is beside it.
const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/http/tests/guests/p2.wasm");
/// One of 0.3 that does the same.
const GUEST_P3: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/http/tests/guests/p3.wasm");
/// Requests of one round of traffic.
const ROUND: usize = 50;

fn manifest(name: &str, version: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\nnamespace = \"tests\"\nversion = \"{version}\"\nmodule = \"{name}.wasm\"\n\
         kind = \"http\"\nmode = \"stateless\"\n{more}\n[[routes]]\npath = \"/{name}/...\"\nrewrite = \"/\"\n"
    )
}

fn guest() -> Result<Vec<u8>> {
    std::fs::read(GUEST).with_context(|| format!("cannot read {GUEST}"))
}

/// A site with one component, `web`, whose front end listens on free ports.
fn site(purpose: &str, more: &str) -> Result<Site> {
    let mut site = Site::new(purpose)?;
    site.service(&manifest("web", "1.0.0", more), &guest()?)?;
    site.argument("--http").argument("127.0.0.1:0").argument("--https").argument("127.0.0.1:0");
    Ok(site)
}

/// A folder with another version of it.
fn version(folder: &Path, version: &str, more: &str) -> Result<PathBuf> {
    component(&folder.join(version), "web", version, more)
}

/// A folder with a component.
fn component(folder: &Path, name: &str, version: &str, more: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("service.toml"), manifest(name, version, more))?;
    std::fs::write(folder.join(format!("{name}.wasm")), guest()?)?;
    Ok(folder.to_owned())
}

fn http(server: &Server) -> Result<Value> {
    Ok(server.rctl_json(&["status"])?["http"].take())
}

/// Where the front end listens, in clear and with TLS.
fn urls(server: &Server) -> Result<(String, String)> {
    let status = http(server)?;
    let of = |scheme: &str| {
        let urls = status["listens"].as_array().into_iter().flatten().filter_map(Value::as_str);
        urls.into_iter().find(|url| url.starts_with(scheme)).map(str::to_owned).with_context(|| format!("{status:#}"))
    };
    Ok((of("http://")?, of("https://")?))
}

/// Where the front end listens in clear.
fn address(server: &Server) -> Result<SocketAddr> {
    let status = http(server)?;
    let url = status["listens"][0].as_str().and_then(|url| url.strip_prefix("http://"));
    Ok(url.with_context(|| format!("{status:#}"))?.parse()?)
}

/// Runs curl; status and body.
fn curl(arguments: &[&str]) -> Result<(u16, Vec<u8>)> {
    let mut command = Command::new("curl");
    let output =
        command.args(["-s", "-k", "--max-time", "60", "-w", "%{stderr}%{http_code}"]).args(arguments).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "curl {arguments:?}: {} {told}", output.status);
    let code = told.trim().parse().with_context(|| format!("curl {arguments:?}: {told}"))?;
    Ok((code, output.stdout))
}

fn good(arguments: &[&str]) -> Result<String> {
    let (status, body) = curl(arguments)?;
    ensure!(status == 200, "curl {arguments:?}: {status} {}", String::from_utf8_lossy(&body));
    Ok(String::from_utf8(body)?)
}

fn deploy(server: &Server, folder: &Path, more: &[&str]) -> Result<Value> {
    let folder = folder.display().to_string();
    server.rctl_json(&[&["service", "deploy", &folder], more].concat())
}

#[test]
fn a_component_answers_over_every_version_of_http_and_bodies_of_any_size_come_back() -> Result<()> {
    let site = site("http-versions", "")?;
    let server = site.start()?;
    let (clear, secure) = urls(&server)?;
    let (hello, echo) = (format!("{clear}/web/"), format!("{secure}/web/echo"));
    for version in ["--http1.1", "--http2", "--http2-prior-knowledge"] {
        ensure!(good(&[version, &hello])? == "hello, world\n");
    }
    for version in ["--http1.1", "--http2"] {
        ensure!(good(&[version, &format!("{secure}/web/")])? == "hello, world\n");
        for bytes in [0, 4096, 4097, 1_000_000] {
            let file = site.scratch().join("body");
            let body = noise(bytes as u64, bytes);
            std::fs::write(&file, &body)?;
            let (status, back) = curl(&[version, "--data-binary", &format!("@{}", file.display()), &echo])?;
            ensure!(status == 200 && back == body, "{version}: {bytes} bytes came back as {}", back.len());
        }
    }
    ensure!(curl(&[&format!("{clear}/elsewhere")])?.0 == 404);
    let status = http(&server)?;
    let web = &status["services"][0];
    ensure!(web["stateless"] == true && web["weight"] == 100 && web["answers"][1] == 13, "{status:#}");
    server.terminate()
}

#[test]
fn a_thousand_requests_of_one_client_to_a_component_that_sleeps_are_all_answered() -> Result<()> {
    descriptors::raise_limit()?;
    let mut site = Site::new("http-thousand")?;
    for (name, guest) in [("p2", GUEST), ("p3", GUEST_P3)] {
        let guest = std::fs::read(guest).with_context(|| format!("cannot read {guest}"))?;
        site.service(&manifest(name, "1.0.0", ""), &guest)?;
    }
    site.argument("--http").argument("127.0.0.1:0");
    let server = site.start()?;
    let address = address(&server)?;
    for name in ["p2", "p3"] {
        let mut clients = (0..1000).map(|_| HttpClient::connect(address)).collect::<Result<Vec<_>>>()?;
        for client in &mut clients {
            client.send(format!("HEAD /{name}/sleep?3000 HTTP/1.1\r\nHost: a\r\n\r\n"))?;
        }
        for client in &mut clients {
            let reply = client.reply(true)?;
            ensure!(reply.status == 200, "{name}: {}", String::from_utf8_lossy(&reply.bytes));
        }
    }
    server.terminate()
}

#[test]
fn guests_that_fail_cost_their_caller_an_answer_and_nobody_else() -> Result<()> {
    let site = site("http-hostile", "[limits]\nmemory = \"64MiB\"\n[http]\ndeadline = \"2s\"\ncpu = \"1s\"\n")?;
    let server = site.start()?;
    let (clear, _) = urls(&server)?;
    let at = |path: &str| format!("{clear}/web{path}");
    ensure!(curl(&[&at("/trap")])?.0 == 502);
    ensure!(curl(&[&at("/spin")])?.0 == 504);
    ensure!(curl(&[&at("/silent")])?.0 == 502);
    ensure!(curl(&[&at("/sleep?60000")])?.0 == 504);
    // It traps after its first bytes: before the head has gone out, or after.
    let cut = Command::new("curl").args(["-s", "-f", "--max-time", "60", &at("/trap-in-body")]).output()?;
    ensure!(!cut.status.success(), "an answer that broke off does not look whole");
    ensure!(good(&[&at("/grow?1000000000")])? != "grown", "memory has a limit");
    ensure!(good(&[&at("/")])? == "hello, world\n");
    let status = http(&server)?;
    ensure!(status["services"][0]["trapped"].as_u64() >= Some(2), "{status:#}");
    server.terminate()
}

/// What a request to a hostile component comes to.
#[derive(Clone, Copy)]
enum Outcome {
    /// A status, from the front end.
    Refused(u16),
    /// 200 with these words.
    Told(&'static str),
    /// 200 with how many of a thousand calls were answered, and how many were refused after they had waited.
    Called,
    /// An answer that does not look whole, or a refusal where its head has not gone out yet.
    Broken,
}

/// Everything that a hostile component does, and what its callers get.
const HOSTILE: [(&str, Outcome); 10] = [
    ("/hostile/trap", Outcome::Refused(502)),
    ("/hostile/silent", Outcome::Refused(502)),
    ("/hostile/spin", Outcome::Refused(504)),
    ("/hostile/sleep?600000", Outcome::Refused(504)),
    ("/hostile/grow?1000000000", Outcome::Told("refused")),
    ("/hostile/endless", Outcome::Broken),
    ("/hostile/trap-in-body", Outcome::Broken),
    ("/hostile/spin-in-body", Outcome::Broken),
    ("/patient/grow?10000000", Outcome::Told("10000000")),
    // It is the neighbour that is called.
    ("/patient/fetch-many?http://ADDRESS/hello-c/", Outcome::Called),
];
/// The other component, `patient`, has no limit of processor time, since what it does is not to be cut short.
const HOSTILE_LIMITS: &str =
    "[limits]\nmemory = \"64MiB\"\n[http]\ndeadline = \"10s\"\ncpu = \"100ms\"\nresponse_body = \"1MiB\"\n";
/// Clients of the hostile components at once.
const HOSTILE_CLIENTS: usize = 20;
/// Requests that their neighbour gets at least meanwhile.
const STEADY: usize = 300;

/// Asks for a path, which has to come to its outcome.
fn asked(address: SocketAddr, path: &str, outcome: Outcome) -> Result<()> {
    let url = format!("http://{address}{}", path.replace("ADDRESS", &address.to_string()));
    let output =
        Command::new("curl").args(["-s", "--max-time", "120", "-w", "%{stderr}%{http_code}", &url]).output()?;
    let status = String::from_utf8(output.stderr)?;
    let status: u16 = status.trim().parse().with_context(|| format!("{path}: {status}"))?;
    let (whole, text) = (output.status.success(), String::from_utf8_lossy(&output.stdout));
    let as_expected = match outcome {
        Outcome::Refused(expected) => whole && status == expected,
        Outcome::Told(words) => whole && status == 200 && text == words,
        Outcome::Called => {
            let told = |answered: usize| text == format!("{answered} answered, {} refused", 1000 - answered);
            whole && status == 200 && (0..=1000).any(told)
        }
        // Of curl, 18 and 56 are answers that the server broke off.
        Outcome::Broken if status == 200 => [Some(18), Some(56)].contains(&output.status.code()),
        Outcome::Broken => whole && [502, 504].contains(&status),
    };
    let start: String = text.chars().take(100).collect();
    ensure!(as_expected, "{path}: {status}, curl ended with {}: {start}", output.status);
    Ok(())
}

/// One request after another on one connection until told to end, each answered rightly; how many there were.
fn steady(address: SocketAddr, until: &AtomicBool) -> Result<usize> {
    let mut client = HttpClient::connect(address)?;
    let mut count = 0;
    while count < STEADY || !until.load(Ordering::SeqCst) {
        let reply = client.exchange(request("GET /hello-c/", "", b"")).with_context(|| format!("request {count}"))?;
        let right = reply.status == 200 && reply.body() == b"Hello, world, from C!\n";
        ensure!(right, "request {count}: {}", String::from_utf8_lossy(&reply.bytes));
        count += 1;
        wait::pause(Duration::from_millis(5));
    }
    Ok(count)
}

#[test]
fn neighbours_of_components_that_trap_hang_spin_take_memory_stream_and_call_outward_notice_nothing() -> Result<()> {
    let mut site = Site::new("http-neighbours")?;
    let hello = examples_folder().join("hello-c");
    let module = std::fs::read(hello.join("hello-c.wasm"))?;
    site.service(&std::fs::read_to_string(hello.join("service.toml"))?, &module)?;
    site.service(&manifest("hostile", "1.0.0", HOSTILE_LIMITS), &guest()?)?;
    site.argument("--http").argument("127.0.0.1:0");
    let server = site.start()?;
    let address = address(&server)?;
    let outgoing = format!("[http]\ndeadline = \"100s\"\noutgoing = [\"http://{address}\"]\n");
    deploy(&server, &component(&site.scratch().join("patient"), "patient", "1.0.0", &outgoing)?, &[])?;
    let over = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let steady = scope.spawn(|| steady(address, &over));
        let client = |first| {
            let paths = HOSTILE.iter().cycle().skip(first).take(HOSTILE.len());
            // Each of them is a thousand requests to the neighbour.
            let mut paths = paths.filter(|(_, outcome)| first < 2 || !matches!(outcome, Outcome::Called));
            paths.try_for_each(|(path, outcome)| asked(address, path, *outcome))
        };
        let clients: Vec<_> = (0..HOSTILE_CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        let hostile: Result<()> = clients.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"));
        over.store(true, Ordering::SeqCst);
        let answered = steady.join().expect("it does not panic");
        hostile.and(answered)
    })?;
    println!("{answered} requests to the neighbour were answered meanwhile");
    let status = http(&server)?;
    let of = |name: &str| {
        let mut services = status["services"].as_array().into_iter().flatten();
        services.find(|one| one["service"] == name).with_context(|| format!("{name}: {status:#}"))
    };
    let told = &of("examples/hello-c")?["answers"];
    ensure!(told[1].as_u64() > u64::try_from(answered).ok() && told[3] == 0 && told[4] == 0, "{status:#}");
    ensure!(of("tests/hostile")?["trapped"].as_u64() >= u64::try_from(2 * HOSTILE_CLIENTS).ok(), "{status:#}");
    ensure!(curl(&[&format!("http://{}/readyz", server.admin_address()?)])? == (200, b"ok\n".to_vec()));
    ensure!(good(&[&format!("http://{address}/hostile/")])? == "hello, world\n");
    server.terminate()
}

/// Requests without a pause until told to end; how many there were, each answered with 200.
fn traffic(url: &str, until: &AtomicBool) -> Result<usize> {
    let mut count = 0;
    while !until.load(Ordering::SeqCst) {
        let mut command = Command::new("curl");
        command.args(["-s", "--max-time", "60", "-w", "%{http_code}\n"]);
        for _ in 0..ROUND {
            command.args(["-o", "/dev/null", url]);
        }
        let output = command.output()?;
        let told = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && told.lines().all(|line| line == "200"), "{} {told}", output.status);
        count += told.lines().count();
    }
    Ok(count)
}

#[test]
fn requests_shift_from_one_version_to_another_and_none_of_them_fails() -> Result<()> {
    let site = site("http-shift", "[env]\nVERSION = \"1.0.0\"\n")?;
    let server = site.start()?;
    let (clear, _) = urls(&server)?;
    let (env, hello) = (format!("{clear}/web/env"), format!("{clear}/web/"));
    let scratch = ScratchFolder::new("http-shift-versions")?;
    let second = version(scratch.path(), "1.1.0", "[env]\nVERSION = \"1.1.0\"\n")?;
    let until = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let traffic: Vec<_> = (0..2).map(|_| scope.spawn(|| traffic(&hello, &until))).collect();
        let shifted = (|| -> Result<()> {
            let asked = |version: &str| good(&["-H", &format!("x-refrain-version: {version}"), &env]);
            ensure!(deploy(&server, &second, &[])?["services"][1]["weight"] == 0, "a second version gets nothing yet");
            ensure!(good(&[&env])?.contains("1.0.0"));
            ensure!(asked("1.1.0")?.contains("1.1.0") && asked("1.0.0")?.contains("1.0.0"), "exact is exact");
            ensure!(asked("^1.0")?.contains("1.1.0"), "a range is its highest version");
            ensure!(curl(&["-H", "x-refrain-version: 2", &env])?.0 == 503);
            ensure!(curl(&["-H", "x-refrain-version: one", &env])?.0 == 400);
            server.rctl_json(&["service", "weights", "web", "1.0.0=50", "1.1.0=50"])?;
            let seen: Vec<String> = (0..64).map(|_| good(&[&env])).collect::<Result<_>>()?;
            ensure!(seen.iter().any(|text| text.contains("1.0.0")) && seen.iter().any(|text| text.contains("1.1.0")));
            server.rctl_json(&["service", "weights", "web", "1.0.0=0", "1.1.0=100"])?;
            ensure!((0..32).all(|_| good(&[&env]).is_ok_and(|text| text.contains("1.1.0"))));
            server.rctl_json(&["service", "remove", "web", "1.0.0"])?;
            ensure!(curl(&["-H", "x-refrain-version: 1.0.0", &env])?.0 == 503);
            Ok(())
        })();
        until.store(true, Ordering::SeqCst);
        let answered: Result<usize> = traffic.into_iter().map(|thread| thread.join().expect("it does not panic")).sum();
        shifted.and(answered)
    })?;
    ensure!(answered > 0);
    server.terminate()
}

#[test]
fn a_source_that_changes_under_load_is_built_and_served_and_no_request_fails() -> Result<()> {
    let server = site("http-dev", "")?.start()?;
    let scratch = ScratchFolder::new("http-dev-source")?;
    let copied = "[build]\ncommand = \"cp live.source live.wasm\"\n";
    std::fs::write(scratch.path().join("service.toml"), manifest("live", "1.0.0", copied))?;
    let source = scratch.path().join("live.source");
    let (before, after) = ("hello, world\n", "HELLO, AGAIN\n");
    let mut guest = guest()?;
    std::fs::write(&source, &guest)?;
    let dev = server.start_rctl(&["service", "dev", &scratch.path().display().to_string()])?;
    let url = format!("{}/live/", urls(&server)?.0);
    let until_said = |what: &str| wait::until(what, || Ok((curl(&[&url])? == (200, what.into())).then_some(())));
    until_said(before)?;
    let until = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let traffic = scope.spawn(|| traffic(&url, &until));
        let at = guest.windows(before.len()).position(|bytes| bytes == before.as_bytes());
        let changed = at.context("the guest has its words").and_then(|at| {
            guest[at..at + after.len()].copy_from_slice(after.as_bytes());
            std::fs::write(&source, &guest)?;
            until_said(after)
        });
        until.store(true, Ordering::SeqCst);
        changed.and(traffic.join().expect("it does not panic"))
    })?;
    ensure!(answered > 0);
    drop(dev);
    server.terminate()
}

#[test]
fn what_was_deployed_runs_again_after_a_restart_and_its_code_is_not_compiled_again() -> Result<()> {
    let mut site = site("http-restart", "")?;
    let server = site.start()?;
    let scratch = ScratchFolder::new("http-restart-versions")?;
    deploy(&server, &version(scratch.path(), "2.0.0", "")?, &["--weight", "7"])?;
    let before = http(&server)?;
    ensure!(before["code_compiled"] == 1 && before["code_cached"] == 1, "{before:#}");
    server.kill()?;
    site.give(&[]);
    let server = site.start()?;
    let after = http(&server)?;
    let shown = |status: &Value| {
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let of = |service: &Value| format!("{} {} {}", service["version"], service["weight"], service["bundle"]);
        services.iter().map(of).collect::<Vec<_>>()
    };
    ensure!(shown(&before) == shown(&after) && shown(&after).len() == 2, "{before:#} {after:#}");
    ensure!(after["code_compiled"] == 0 && after["code_cached"] == 2, "{after:#}");
    ensure!(good(&[&format!("{}/web/", urls(&server)?.0)])? == "hello, world\n");
    server.terminate()
}

#[test]
fn what_a_component_writes_is_shown_with_its_version_and_its_service_can_be_shown() -> Result<()> {
    let server = site("http-lines", "")?.start()?;
    let (url, _) = urls(&server)?;
    good(&[&format!("{url}/web/log?written")])?;
    let lines = wait::until("the line is there", || {
        let told = server.rctl_json(&["service", "logs", "web"])?;
        let lines = told["lines"].as_array().cloned().unwrap_or_default();
        Ok(lines.iter().any(|line| line["line"].as_str() == Some("written")).then_some(lines))
    })?;
    ensure!(lines.iter().all(|line| line["version"] == "1.0.0"), "{lines:?}");
    let shown = server.rctl_json(&["service", "show", "web"])?;
    ensure!(
        shown["service"] == "tests/web" && shown["versions"].as_array().is_some_and(|all| all.len() == 1),
        "{shown:#}"
    );
    let refused = server.rctl(&["service", "logs", "nobody"])?;
    ensure!(!refused.status.success(), "there is no such service");
    server.terminate()
}

#[test]
fn what_cannot_run_is_refused_with_its_reason_and_the_others_go_on() -> Result<()> {
    let mut site = site("http-refused", "")?;
    site.service(&manifest("broken", "1.0.0", ""), b"\0asm\x0d\0\x01\0 not a component")?;
    site.service(&manifest("astray", "1.0.0", "[[routes]]\npath = \"nowhere\"\n"), &guest()?)?;
    let server = site.start()?;
    for name in ["broken", "astray"] {
        let told = server.output().into_iter().find(|line| line.starts_with(&format!("not serving tests/{name}")));
        ensure!(told.is_some(), "{:?}", server.output());
    }
    let scratch = ScratchFolder::new("http-refused-versions")?;
    let folder = version(scratch.path(), "1.0.1", "")?;
    std::fs::write(folder.join("web.wasm"), b"nothing")?;
    let refused = server.rctl(&["service", "deploy", &folder.display().to_string()])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && told.contains("tests/web@1.0.1 cannot run"), "{told}");
    let refused = server.rctl(&["service", "weights", "web", "1.0.0=0"])?;
    ensure!(!refused.status.success(), "somebody has to answer");
    let refused = server.rctl(&["service", "remove", "web", "3.0.0"])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("those that do: 1.0.0"));
    ensure!(good(&[&format!("{}/web/", urls(&server)?.0)])? == "hello, world\n");
    server.terminate()
}

#[test]
fn a_first_version_that_is_to_have_no_share_is_refused() -> Result<()> {
    let mut empty = Site::new("http-no-share")?;
    empty.argument("--http").argument("127.0.0.1:0");
    let server = empty.start()?;
    let scratch = ScratchFolder::new("http-no-share-version")?;
    let folder = version(scratch.path(), "1.0.0", "")?.display().to_string();
    let refused = server.rctl(&["service", "deploy", &folder, "--weight", "0"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    let words = "no version of tests/web would have a weight above 0";
    ensure!(!refused.status.success() && told.contains(words), "{told}");
    server.rctl_json(&["service", "deploy", &folder])?;
    server.terminate()
}

#[test]
fn a_replicated_service_is_reached_by_its_path_and_goes_on_when_a_replica_dies() -> Result<()> {
    let mut site = site("http-replicated", "")?;
    site.example(Example::ImageServer, |manifest| route(manifest, "/pictures/..."))?;
    let server = site.start()?;
    let (clear, _) = urls(&server)?;
    let picture = site.scratch().join("picture");
    std::fs::write(&picture, noise(7, 100_000))?;
    let at = format!("{clear}/pictures/one.jpg");
    let (status, told) = curl(&["-T", &picture.display().to_string(), &at])?;
    ensure!((200..300).contains(&status), "{status} {}", String::from_utf8_lossy(&told));
    let output = server.rctl(&["service", "kill-replica", "image-server", "--seat", "1"])?;
    ensure!(output.status.success());
    ensure!(curl(&[&at])? == (200, noise(7, 100_000)));
    wait::until("the seat is filled", || {
        let service = server.service("image-server")?;
        let seats = service["seats"].as_array().cloned().unwrap_or_default();
        Ok(seats.iter().all(|seat| seat["state"] == "active").then_some(()))
    })?;
    server.terminate()
}

#[test]
fn routes_of_a_replicated_service_are_those_of_the_version_that_runs() -> Result<()> {
    let mut site = site("http-upgraded", "")?;
    site.example(Example::ImageServer, |manifest| route(manifest, "/pictures/..."))?;
    let server = site.start()?;
    let picture = site.scratch().join("picture");
    std::fs::write(&picture, noise(7, 1000))?;
    let at = format!("{}/pictures/one.jpg", urls(&server)?.0);
    ensure!((200..300).contains(&curl(&["-T", &picture.display().to_string(), &at])?.0));
    for (version, path) in [("0.2.0", "/pictures"), ("0.3.0", "/photos")] {
        let next = other_version(site.scratch(), Example::ImageServer, version, |manifest| {
            route(manifest, &format!("{path}/..."));
        })?;
        server.rctl_json(&["service", "upgrade", "image-server", &next.display().to_string()])?;
        until_routed(&server, version, path)?;
    }
    ensure!(curl(&[&at])?.0 == 404);
    server.terminate()?;
    // The folder is still the first version's.
    let server = site.start()?;
    until_routed(&server, "0.3.0", "/photos")?;
    server.terminate()
}

/// A server that works for some seconds and ends before it listens.
const NEVER_STARTS: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (local $left i32)
        (local.set $left (i32.const 1000000000))
        (loop $on (br_if $on (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $exit (i32.const 3))))"#;

#[test]
fn routes_of_a_version_that_does_not_start_are_never_followed() -> Result<()> {
    let mut site = site("http-rolled-back", "")?;
    site.example(Example::ImageServer, |manifest| route(manifest, "/pictures/..."))?;
    let server = site.start()?;
    let picture = site.scratch().join("picture");
    std::fs::write(&picture, noise(7, 1000))?;
    let at = |path: &str| Ok::<_, anyhow::Error>(format!("{}/{path}/one.jpg", urls(&server)?.0));
    let (pictures, photos) = (at("pictures")?, at("photos")?);
    ensure!((200..300).contains(&curl(&["-T", &picture.display().to_string(), &pictures])?.0));
    let broken =
        version_of(site.scratch(), Example::ImageServer, "0.2.0", &wat::parse_str(NEVER_STARTS)?, |manifest| {
            route(manifest, "/photos/...");
        })?;
    let upgrade = ["service", "upgrade", "image-server", &broken.display().to_string(), "-o", "json"];
    let output = thread::scope(|scope| -> Result<_> {
        let upgrading = scope.spawn(|| server.rctl(&upgrade));
        while !upgrading.is_finished() {
            let (status, _) = curl(&[&photos])?;
            ensure!(status == 404, "{status}");
        }
        upgrading.join().expect("it only runs a program")
    })?;
    let status: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(status["state"] == "rolled-back", "{status:#}");
    ensure!(curl(&[&pictures])? == (200, noise(7, 1000)));
    ensure!(curl(&[&photos])?.0 == 404);
    server.terminate()
}

/// Waits until a version's picture is reached below a path, and the status says that it is that version.
fn until_routed(server: &Server, version: &str, path: &str) -> Result<()> {
    let at = format!("{}{path}/one.jpg", urls(server)?.0);
    wait::until(&format!("{version} at {path}"), || {
        let status = http(server)?;
        let services = status["services"].as_array().into_iter().flatten();
        let is_told =
            services.into_iter().any(|one| one["service"] == "examples/image-server-http" && one["version"] == version);
        let asked = ["-H", &format!("x-refrain-version: {version}"), &at];
        Ok((is_told && curl(&asked)? == (200, noise(7, 1000))).then_some(()))
    })
}
