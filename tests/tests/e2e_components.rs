//! Components of WASI 0.2 as replicated services under `refrain up`, and by themselves under `refrain run`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use refrain_tests::echo::{connect, echo_scenario};
use refrain_tests::native::{Example, NativeServer, ScratchFolder};
use refrain_tests::outside::{Manner, Outside};
use refrain_tests::run::{Programs, ran, ran_with_input};
use refrain_tests::server::{Server, Site, program};
use refrain_tests::wait::until;

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

    fn answer(&mut self, line: &str) -> Result<String> {
        self.say(line)?;
        let mut answer = String::new();
        ensure!(self.reader.read_line(&mut answer)? > 0, "the program closed the connection");
        Ok(answer.trim_end().to_owned())
    }

    /// How many lines the program has had, in memory and in its file.
    fn ask(&mut self, line: &str) -> Result<(u64, u64)> {
        let answer = self.answer(line)?;
        let mut words = answer.split(' ');
        let mut number = || -> Result<u64> { Ok(words.next().context("no number")?.parse()?) };
        let (lines, kept) = (number().with_context(|| format!("{answer:?}"))?, number()?);
        Ok((lines, kept))
    }
}

/// Where a program is, if it was built.
fn path(programs: &Programs, name: &str) -> Option<String> {
    programs.other(&format!("{name}.wasm")).map(|path| path.to_string_lossy().into_owned())
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
    let components = [Example::EchoP2, Example::EchoCP2];
    let server = Site::of("up-echo-p2", &components)?.start()?;
    for example in components {
        let native = NativeServer::start(example)?;
        ensure!(echo_scenario(server.address(example.name()))? == echo_scenario(native.address())?);
        audit(&server, example.name())?;
    }
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
    let (Some(words), Some(std)) = (path(&programs, "words"), path(&programs, "std")) else { return Ok(()) };
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

#[test]
fn a_component_is_server_and_client_on_its_own_loopback() -> Result<()> {
    let programs = Programs::build_components()?;
    let Some(loopback) = path(&programs, "loopback") else { return Ok(()) };
    ensure!(ran(&[&loopback])?.good()? == "loopback: all checks hold\n");
    Ok(())
}

#[test]
fn the_interfaces_say_in_every_state_what_their_files_say() -> Result<()> {
    let programs = Programs::build_interfaces()?;
    let Some(interfaces) = path(&programs, "interfaces") else { return Ok(()) };
    let folder = ScratchFolder::new("interfaces-run")?;
    let dir = format!("{}::/", folder.path().display());
    let ran = ran(&["--dir", &dir, "--env", "NAME=a=value", &interfaces])?;
    // The last line that it wrote names the check that failed.
    ensure!(ran.code == Some(0) && ran.err.is_empty(), "{ran:?}");
    ensure!(ran.out.lines().count() > 45, "{}", ran.out);
    ensure!(std::fs::read_dir(folder.path())?.count() == 0, "it leaves nothing behind");
    Ok(())
}

#[test]
fn what_the_interfaces_forbid_ends_a_component_and_tells_why() -> Result<()> {
    let programs = Programs::build_interfaces()?;
    let Some(interfaces) = path(&programs, "interfaces") else { return Ok(()) };
    for (name, told) in [
        ("trap-poll-nothing", "polls 0 things, and one call takes 1 to 65536"),
        ("trap-flush-too-much", "writes 4097 bytes in a call that takes 4096 at most"),
        ("trap-zeroes", "writes 18446744073709551615 bytes in a call that takes 1048576 at most"),
        ("trap-flush-zeroes", "writes 4097 bytes in a call that takes 4096 at most"),
        ("trap-random", "asks for 18446744073709551615 random bytes, and one call gives 67108864 at most"),
        ("trap-send-unasked", "sends 1 datagrams where check-send permits 0"),
        ("trap-send-too-much", "sends 65 datagrams where check-send permits 64"),
        ("trap-send-twice", "sends 1 datagrams where check-send permits 0"),
    ] {
        let ran = ran(&[&interfaces, name])?;
        let trapped = format!("refrain: trapped: {told}");
        ensure!(ran.code == Some(134) && ran.err.contains(&trapped) && ran.out.is_empty(), "{name}: {ran:?}");
    }
    Ok(())
}

#[test]
fn a_component_changes_nothing_in_a_directory_that_is_only_read() -> Result<()> {
    let programs = Programs::build_interfaces()?;
    let Some(interfaces) = path(&programs, "interfaces") else { return Ok(()) };
    let (free, kept) = (ScratchFolder::new("interfaces-free")?, ScratchFolder::new("interfaces-kept")?);
    std::fs::write(kept.path().join("file"), "kept")?;
    let dirs = [format!("{}::/", free.path().display()), format!("{}::readonly::ro", kept.path().display())];
    let ran = ran(&["--dir", &dirs[0], "--dir", &dirs[1], &interfaces, "readonly"])?;
    ensure!(ran.good()? == "nothing was changed\n");
    ensure!(std::fs::read_to_string(kept.path().join("file"))? == "kept");
    Ok(())
}

/// A component that calls others, with what its manifest allows.
fn calling(purpose: &str, outbound: &[String]) -> Result<Option<Site>> {
    let Some(module) = Programs::build_components()?.module("caller")? else { return Ok(None) };
    let outbound: Vec<String> = outbound.iter().map(|entry| format!("{entry:?}")).collect();
    let manifest = format!(
        "name = \"caller\"\nnamespace = \"tests\"\nversion = \"0.1.0\"\nmodule = \"caller.wasm\"\nreplicas = 3\n\
         outbound = [{}]\n[[ports]]\nname = \"line\"\nguest = 7000\nlisten = \"127.0.0.1:0\"\n",
        outbound.join(", ")
    );
    let mut site = Site::new(purpose)?;
    site.service(&manifest, &module)?;
    Ok(Some(site))
}

/// `HOST PORT` of a server.
fn host_and_port(outside: &Outside) -> String {
    format!("{} {}", outside.address().ip(), outside.address().port())
}

#[test]
fn a_component_calls_others_once_for_all_replicas_and_only_where_it_may() -> Result<()> {
    let (echo, datagrams) = (Outside::start(Manner::Echo)?, Outside::datagrams()?);
    let (other, refused) = (Outside::start(Manner::Echo)?, Outside::datagrams()?);
    let allowed = [echo.address().to_string(), format!("{}/udp", datagrams.address())];
    let Some(site) = calling("component-calls", &allowed)? else { return Ok(()) };
    let server = site.start()?;
    let mut client = Client::connect(server.address("caller"))?;
    for round in 0..10 {
        let answer = client.answer(&format!("tcp {} hello {round}", host_and_port(&echo)))?;
        ensure!(answer.ends_with(&format!("hello {round}.")), "{answer}");
        let answer = client.answer(&format!("udp {} ping {round}", host_and_port(&datagrams)))?;
        ensure!(answer == format!("ok {} PING {round}", datagrams.address()), "{answer}");
        ensure!(client.answer("clock")?.starts_with("ok "));
    }
    let said = |word: &str| (0..10).map(|round| format!("{word} {round}")).collect::<Vec<_>>();
    ensure!(echo.lines() == said("hello"), "three replicas, one call each: {:?}", echo.lines());
    ensure!(datagrams.lines() == said("ping"), "{:?}", datagrams.lines());
    for (line, told) in [
        (format!("tcp {} x", host_and_port(&other)), "connect: PermissionDenied"),
        (format!("udp {} x", host_and_port(&refused)), "send: PermissionDenied"),
    ] {
        ensure!(client.answer(&line)? == told, "{line}");
    }
    ensure!(client.answer("name localhost")?.contains("127.0.0.1"));
    ensure!(client.answer("name elsewhere.example")?.starts_with("name: "), "no rule names it");
    ensure!(other.lines().is_empty() && refused.lines().is_empty());
    audit(&server, "caller")?;
    server.terminate()
}

#[test]
fn clients_send_datagrams_to_a_component_and_are_answered() -> Result<()> {
    let Some(module) = Programs::build_components()?.module("answerer")? else { return Ok(()) };
    let mut site = Site::new("component-datagrams")?;
    let manifest = "name = \"answerer\"\nnamespace = \"tests\"\nversion = \"0.1.0\"\nmodule = \"answerer.wasm\"\n\
                    replicas = 3\n[[ports]]\nname = \"datagrams\"\nguest = 7\nprotocol = \"udp\"\n\
                    listen = \"127.0.0.1:0\"\n";
    site.service(manifest, &module)?;
    let server = site.start()?;
    let clients = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
    for client in &clients {
        client.connect(server.address("answerer"))?;
        client.set_read_timeout(Some(Duration::from_millis(500)))?;
    }
    for round in 0..5 {
        for client in &clients {
            let expected = format!("{} datagram {round}", client.local_addr()?);
            // Nothing waits for a datagram: one that is lost is sent again, and an answer to it may come twice.
            until("the answer of this round", || {
                client.send(format!("datagram {round}").as_bytes())?;
                let mut answer = [0; 100];
                let length = client.recv(&mut answer).unwrap_or(0);
                Ok((answer[..length] == *expected.as_bytes()).then_some(()))
            })?;
        }
    }
    audit(&server, "answerer")?;
    server.terminate()
}
