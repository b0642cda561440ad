//! Components of WASI 0.2 as replicated services under `refrain up`, and by themselves under `refrain run`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use refrain_tests::echo::{connect, echo_scenario};
use refrain_tests::native::{Example, NativeServer, ScratchFolder};
use refrain_tests::run::{Programs, ran, ran_with_input};
use refrain_tests::server::{Server, Site, program};

const LEDGER: &str = "ledger";

fn ledger_manifest(ports: &str) -> String {
    format!(
        "name = \"{LEDGER}\"\nnamespace = \"tests\"\nversion = \"0.1.0\"\nmodule = \"{LEDGER}.wasm\"\nreplicas = 3\n\
         env = {{ GREETING = \"hello\" }}\n\
         [[ports]]\nname = \"main\"\nguest = 7\nlisten = \"127.0.0.1:0\"\n{ports}[restart]\npolicy = \"always\"\n"
    )
}

/// One client that is answered line by line.
struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { reader: BufReader::new(connect(address)?) })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        Ok(self.reader.get_mut().write_all(format!("{line}\n").as_bytes())?)
    }

    /// How many lines the program has had, in memory and in its file.
    fn ask(&mut self, line: &str) -> Result<(u64, u64)> {
        self.say(line)?;
        let mut answer = String::new();
        self.reader.read_line(&mut answer)?;
        let mut words = answer.split(' ');
        let mut number = || -> Result<u64> { Ok(words.next().context("no number")?.parse()?) };
        let (lines, kept) = (number().with_context(|| format!("{answer:?}"))?, number()?);
        Ok((lines, kept))
    }
}

fn check(folder: &Path) -> Result<Output> {
    Ok(Command::new(program("rctl")?).arg("check").arg(folder).output()?)
}

fn audit(server: &Server, service: &str) -> Result<String> {
    server.rctl_json(&["service", "audit", service])?;
    server.until_equal(service)
}

#[test]
fn the_replicated_component_answers_as_the_native_program() -> Result<()> {
    let native = NativeServer::start(Example::EchoP2)?;
    let server = Site::of("up-echo-p2", &[Example::EchoP2])?.start()?;
    ensure!(echo_scenario(server.address("echo-p2"))? == echo_scenario(native.address())?);
    audit(&server, "echo-p2")?;
    let shown = String::from_utf8(server.rctl(&["status"])?.stdout)?;
    ensure!(shown.contains("REPLAY-ONLY") && shown.contains("it is a component"), "{shown}");
    server.terminate()
}

#[test]
fn clients_of_a_component_do_not_notice_that_its_replicas_die() -> Result<()> {
    let server = Site::of("kill-echo-p2", &[Example::EchoP2])?.start()?;
    let mut clients = (0..5).map(|_| connect(server.address("echo-p2"))).collect::<Result<Vec<_>>>()?;
    for seat in 0..3 {
        for round in 0..20 {
            for (number, client) in clients.iter_mut().enumerate() {
                let sent = format!("{seat} {round} {number};");
                client.write_all(sent.as_bytes())?;
                let mut came = vec![0; sent.len()];
                std::io::Read::read_exact(client, &mut came)?;
                ensure!(came == sent.as_bytes());
            }
            if round == 10 {
                server.rctl_json(&["service", "kill-replica", "echo-p2", "--seat", &seat.to_string()])?;
            }
        }
        server.until_equal("echo-p2")?;
    }
    audit(&server, "echo-p2")?;
    server.terminate()
}

#[test]
fn a_component_comes_back_from_its_history_after_the_node_was_killed() -> Result<()> {
    let Some(module) = Programs::build_components()?.module(LEDGER)? else { return Ok(()) };
    let mut site = Site::new("component-history")?;
    site.service(&ledger_manifest(""), &module)?;
    site.argument("--log-cut-interval=200ms").argument("--checkpoint-batches=20");
    let mut lines = 0;
    for round in 0..3 {
        let server = site.start()?;
        for client in 0..4 {
            let mut client_of = Client::connect(server.address(LEDGER))?;
            for line in 0..25 {
                lines += 1;
                let told = client_of.ask(&format!("{round} {client} {line}"))?;
                ensure!(told == (lines, lines), "{told:?}, and {lines} were said");
            }
        }
        let digest = audit(&server, LEDGER)?;
        ensure!(!digest.is_empty());
        ensure!(server.service(LEDGER)?["history"]["max_bytes"].as_u64().is_some());
        server.kill()?;
    }
    let server = site.start()?;
    let mut client = Client::connect(server.address(LEDGER))?;
    ensure!(client.ask("after the last kill")? == (lines + 1, lines + 1));
    audit(&server, LEDGER)?;
    server.rctl_json(&["service", "rebuild", LEDGER, "--seat", "1"])?;
    server.until_equal(LEDGER)?;
    // It ends by itself, is started again, and has its files.
    client.say("quit")?;
    server.until(LEDGER, "started again", |service| service["restarts"] == 1)?;
    let mut client = Client::connect(server.address(LEDGER))?;
    ensure!(client.ask("a new life")? == (1, lines + 2));
    audit(&server, LEDGER)?;
    let logs = String::from_utf8(server.rctl(&["service", "logs", LEDGER])?.stdout)?;
    ensure!(logs.contains("listening, hello") && logs.contains("a new life"), "{logs}");
    server.terminate()
}

#[test]
fn a_check_says_that_a_component_runs_and_lives_on_its_history() -> Result<()> {
    let checked = check(&Example::EchoP2.folder())?;
    let text = String::from_utf8(checked.stdout)?;
    ensure!(checked.status.success(), "{text}");
    for part in
        ["runs", "WASI 0.2.", "in no checkpoints, rebuilt from the log alone: it is a component", "tcp-create-socket"]
    {
        ensure!(text.contains(part), "{part}: {text}");
    }
    // A listener cannot be passed in.
    let scratch = ScratchFolder::new("component-check")?;
    std::fs::copy(Example::EchoP2.folder().join("echo-p2.wasm"), scratch.path().join("ledger.wasm"))?;
    std::fs::write(scratch.path().join("service.toml"), ledger_manifest("pass = true\n"))?;
    let checked = check(scratch.path())?;
    let text = String::from_utf8(checked.stdout)?;
    let told = "port main has pass = true, and a component makes its listeners by itself";
    ensure!(!checked.status.success() && text.contains(told), "{text}");
    Ok(())
}

#[test]
fn components_run_by_themselves_with_streams_folders_and_exit_codes() -> Result<()> {
    let programs = Programs::build_components()?;
    let folder = ScratchFolder::new("component-run")?;
    let path = |name: &str| programs.other(&format!("{name}.wasm")).map(|path| path.to_string_lossy().into_owned());
    let (Some(words), Some(std)) = (path("words"), path("std")) else { return Ok(()) };
    let dir = format!("{}::/", folder.path().display());
    ensure!(ran(&[&words, "args", "x"])?.code == Some(1), "x is no word");
    ensure!(ran(&["--env", "A=1", "--env", "B=x=y", &words, "env"])?.good()? == "A=1\nB=x=y\n");
    let large = vec![b'x'; 3_000_000];
    for input in [&b""[..], b"no newline", &large] {
        ensure!(ran_with_input(&[&words, "echo"], input)?.good()?.as_bytes() == input, "{} bytes", input.len());
    }
    // Rust's library ends a component by `exit`, which knows success and failure alone.
    for (code, told) in [(0, 0), (1, 1), (3, 1)] {
        let ran = ran(&[&words, "err", "said", "exit", &code.to_string()])?;
        ensure!(ran.code == Some(told) && ran.err == "said", "{ran:?}");
    }
    let failed = ran(&[&words, "fail"])?;
    ensure!(failed.code == Some(1) && failed.err.contains("as it was told"), "{failed:?}");
    let panicked = ran(&[&words, "panic"])?;
    ensure!(panicked.code == Some(134) && panicked.err.contains("refrain: trapped: "), "{panicked:?}");
    ensure!(ran(&["--dir", &dir, &words, "write", "/kept", "text", "read", "/kept"])?.good()? == "text");
    ensure!(std::fs::read_to_string(folder.path().join("kept"))? == "text");
    ensure!(ran(&["--fast", &words, "sleep", "3600000"])?.good()?.is_empty());
    let checks = ScratchFolder::new("component-std")?;
    let ran = ran(&["--dir", &format!("{}::/", checks.path().display()), "--env", "A=1", "--env", "LANG=C", &std])?;
    ensure!(ran.code == Some(0) && ran.err.is_empty(), "{ran:?}");
    Ok(())
}
