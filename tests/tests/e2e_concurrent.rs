//! Commands of WASI 0.3, whose tasks wait beside each other: by themselves under `refrain run`, and as a replicated service
//! under `refrain up`.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use refrain_tests::echo::connect;
use refrain_tests::native::ScratchFolder;
use refrain_tests::run::{Ran, Running, ran, ran_with_input};
use refrain_tests::server::{Site, program};

/// The committed command, which does what its first argument says.
fn command() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/preview3/preview3.wasm")
}

fn run(flags: &[&str], arguments: &[&str]) -> Result<Ran> {
    let path = command();
    let mut words = flags.to_vec();
    words.push(path.to_str().context("its path is text")?);
    words.extend(arguments);
    ran(&words)
}

#[test]
fn streams_arguments_and_exit_codes_are_the_programs() -> Result<()> {
    let ran = run(&["--env", "WORD=value=1"], &["cli", "two words", ""])?;
    ensure!(ran == Ran { code: Some(0), out: "out 1\nout 2\none\ntwo\nok\n".into(), err: "err\n".into() }, "{ran:?}");
    for (arguments, code) in [(&["exit", "0"][..], 0), (&["exit", "7"], 7), (&["fail"], 1)] {
        ensure!(run(&[], arguments)?.code == Some(code), "{arguments:?}");
    }
    let wrong = run(&[], &["no such"])?;
    ensure!(wrong.code == Some(134) && wrong.err.contains("there is no check \"no such\""), "{wrong:?}");
    let stuck = run(&[], &["deadlock"])?;
    ensure!(stuck.code == Some(134) && stuck.err.contains("trapped: wasm trap: deadlock detected"), "{stuck:?}");
    let spun = run(&["--fuel", "10000000"], &["spin"])?;
    ensure!(spun.err == "refrain: trapped: used up its fuel of 10000000\n", "{spun:?}");
    Ok(())
}

#[test]
fn input_passes_whether_the_program_sees_it_or_not() -> Result<()> {
    let path = command();
    let path = path.to_str().context("its path is text")?;
    let large: Vec<u8> = (0..3_000_000u32).map(|number| b'a' + (number * 7 % 26) as u8).collect();
    for input in [&b""[..], b"no newline", &large] {
        let text = String::from_utf8(input.to_vec())?;
        let copied = ran_with_input(&[path, "copy"], input)?.good()?;
        ensure!(copied == format!("{text}ok\n"), "{} of {} bytes", copied.len(), input.len());
        let upper = ran_with_input(&[path, "upper"], input)?.good()?;
        ensure!(upper == format!("{}ok\n", text.to_ascii_uppercase()), "{} of {} bytes", upper.len(), input.len());
    }
    Ok(())
}

#[test]
fn output_is_there_while_its_stream_is_open() -> Result<()> {
    let path = command();
    let mut command = refrain_tests::run::refrain_run(&[path.to_str().context("its path is text")?, "flush"])?;
    let mut running = Running(command.stdin(std::process::Stdio::piped()).spawn()?);
    let mut out = running.0.stdout.take().context("it has an output")?;
    let mut came = [0; 6];
    out.read_exact(&mut came)?;
    ensure!(&came == b"READY\n");
    running.0.stdin.take().context("it has an input")?.write_all(b"x and more")?;
    let mut rest = String::new();
    out.read_to_string(&mut rest)?;
    ensure!(rest == "ok\n" && running.0.wait()?.success(), "{rest:?}");
    Ok(())
}

#[test]
fn clocks_randomness_and_sockets_hold_what_the_interfaces_promise() -> Result<()> {
    for check in ["clocks", "random", "tcp", "udp", "chatter"] {
        for flags in [&[][..], &["--fast"]] {
            let ran = run(flags, &[check])?;
            ensure!(ran == Ran { code: Some(0), out: "ok\n".into(), err: String::new() }, "{check} {flags:?}: {ran:?}");
        }
    }
    let names = run(&[], &["lookup", "localhost", "127.0.0.1", "::1", "a b", "not.known.example"])?.good()?;
    let lines: Vec<&str> = names.lines().collect();
    ensure!(lines[0].starts_with("localhost: Ok(["), "{names}");
    ensure!(lines[1] == "127.0.0.1: Ok([IpAddress::Ipv4((127, 0, 0, 1))])", "{names}");
    ensure!(lines[3].contains("InvalidArgument") && lines[4].starts_with("not.known.example: Err("), "{names}");
    Ok(())
}

#[test]
fn folders_are_read_and_written_by_streams() -> Result<()> {
    let folder = ScratchFolder::new("concurrent-files")?;
    std::fs::write(folder.path().join("a.txt"), "test-a\n")?;
    let dir = format!("{}::given", folder.path().display());
    ensure!(run(&["--dir", &dir], &["files"])?.good()? == "ok\n");
    let left: Vec<_> = std::fs::read_dir(folder.path())?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    ensure!(left == ["a.txt"], "{left:?}");
    ensure!(std::fs::read_to_string(folder.path().join("a.txt"))? == "test-a\n");
    Ok(())
}

#[test]
fn equal_seeds_and_times_give_equal_runs() -> Result<()> {
    let words = |seed: &str| run(&["--fast", "--seed", seed, "--time", "1700000000"], &["words"])?.good();
    let first = words("1")?;
    ensure!(first.lines().count() == 3 && first == words("1")?, "{first}");
    ensure!(first != words("2")?);
    Ok(())
}

#[test]
fn what_it_is_not_given_is_told_by_name() -> Result<()> {
    let folder = ScratchFolder::new("concurrent-missing")?;
    let component = folder.path().join("missing.wat");
    let text = "(component (import \"wasi:http/types@0.3.0\" (instance)) \
                (instance $i) (export \"wasi:cli/run@0.3.0\" (instance $i)))";
    std::fs::write(&component, text)?;
    let ran = ran(&[component.to_str().context("its path is text")?])?;
    ensure!(
        ran.code == Some(1) && ran.err.contains("imports wasi:http/types@0.3.0, which no command is given"),
        "{ran:?}"
    );
    let checked = Command::new(program("rctl")?).arg("check").arg(command()).output()?;
    let text = String::from_utf8(checked.stdout)?;
    for part in ["runs", "WASI 0.3.0", "in no checkpoints", "wasi:sockets 0.3.0", "wasi:cli 0.2."] {
        ensure!(checked.status.success() && text.contains(part), "{part}: {text}");
    }
    Ok(())
}

#[test]
fn a_replicated_one_answers_clients_and_comes_back_from_its_history() -> Result<()> {
    let manifest = "name = \"tasks\"\nnamespace = \"tests\"\nversion = \"0.1.0\"\nmodule = \"tasks.wasm\"\nreplicas = 3\n\
                    args = [\"serve\", \"7\"]\n\
                    [[ports]]\nname = \"main\"\nguest = 7\nlisten = \"127.0.0.1:0\"\n";
    let mut site = Site::new("concurrent-service")?;
    site.service(manifest, &std::fs::read(command())?)?;
    for _ in 0..2 {
        let server = site.start()?;
        let mut clients = (0..20).map(|_| connect(server.address("tasks"))).collect::<Result<Vec<_>>>()?;
        for round in 0..30 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(format!("{round} {number};").as_bytes())?;
            }
            for (number, client) in clients.iter_mut().enumerate().rev() {
                let sent = format!("{round} {number};");
                let mut came = vec![0; sent.len()];
                client.read_exact(&mut came)?;
                ensure!(came == sent.as_bytes());
            }
            if round == 10 {
                server.rctl_json(&["service", "kill-replica", "tasks", "--seat", "1"])?;
            }
        }
        for mut client in clients {
            client.shutdown(Shutdown::Write)?;
            ensure!(client.read(&mut [0; 10])? == 0, "the server ends what its client ended");
        }
        server.rctl_json(&["service", "audit", "tasks"])?;
        server.until_equal("tasks")?;
        server.kill()?;
    }
    let server = site.start()?;
    server.until_equal("tasks")?;
    server.terminate()
}
