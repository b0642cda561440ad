//! `refrain run`: one program by itself, called as a user calls it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use refrain_tests::echo::{connect, echo_scenario};
use refrain_tests::native::{Example, NativeServer, ScratchFolder};
use refrain_tests::resp::kv_server_scenario;
use refrain_tests::run::{Programs, Ran, Running, ran, ran_with_input, refrain_run, tool};
use rustix::process::{Pid, Signal, kill_process};

/// The program that does what its arguments say, in a folder that it knows as `/`.
struct Tool {
    path: String,
    folder: ScratchFolder,
    _built: ScratchFolder,
}

impl Tool {
    fn new() -> Result<Option<Self>> {
        let Some((built, path)) = tool()? else { return Ok(None) };
        let (path, folder) = (path.to_string_lossy().into_owned(), ScratchFolder::new("run")?);
        Ok(Some(Self { path, folder, _built: built }))
    }

    fn host(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn run(&self, script: &str) -> Result<Ran> {
        self.run_with(&[], script)
    }

    fn run_with(&self, flags: &[&str], script: &str) -> Result<Ran> {
        let dir = format!("{}::/", self.folder.path().display());
        let mut words = vec!["--dir", &dir];
        words.extend(flags);
        words.push(&self.path);
        words.extend(script.split_whitespace());
        ran(&words)
    }
}

#[test]
fn every_check_of_preview_1_holds_under_refrain_run() -> Result<()> {
    let mut failures = Vec::new();
    for program in Programs::build()?.checks()? {
        let folder = ScratchFolder::new("checks")?;
        let (dir, path) = (format!("{}::/", folder.path().display()), program.to_string_lossy().into_owned());
        let ran = ran(&["--dir", &dir, "--env", "A=1", "--env", "LANG=C", &path])?;
        if ran.code != Some(0) || !ran.err.is_empty() {
            failures.push(format!("{path}: {:?}\n{}{}", ran.code, ran.out, ran.err));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn arguments_and_environment_are_passed_and_nothing_else_is() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    let path = tool.path.as_str();
    ensure!(ran(&[path, "args", "ls", "--help"])?.code == Some(9), "there is no folder to list");
    ensure!(ran(&["--env", "A=1", "--env", "B=x=y", "--env", "A=2", path, "--", "env"])?.good()? == "B=x=y\nA=2\n");
    ensure!(ran(&[path, "--env", "A=behind", "env"])?.good()? == "A=behind\n");
    ensure!(ran(&[path, "env"])?.good()?.is_empty(), "the environment of this process is not the program's");
    let mut inheriting = refrain_run(&["--env", "GIVEN", "--env", "MISSING", path, "env"])?;
    ensure!(Ran::from(inheriting.env("GIVEN", "here").output()?).good()? == "GIVEN=here\n");
    ensure!(ran(&[path, "--", "args"])?.good()? == "tool.wasm\nargs\n");
    Ok(())
}

#[test]
fn exit_codes_are_the_programs_and_a_trap_is_134() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    for code in [0, 1, 3, 255] {
        let ran = ran(&[&tool.path, "err", "said", "exit", &code.to_string()])?;
        ensure!(ran == Ran { code: Some(code), out: String::new(), err: "said".to_owned() }, "{ran:?}");
    }
    let trapped = ran(&[&tool.path, "trap"])?;
    ensure!(trapped.code == Some(134) && trapped.err.starts_with("refrain: trapped: "), "{trapped:?}");
    let spun = ran(&["--fuel", "10000000", &tool.path, "spin"])?;
    ensure!(spun.code == Some(134), "{spun:?}");
    ensure!(spun.err == "refrain: trapped: used up its fuel of 10000000\n", "{spun:?}");
    for (wrong, code) in [
        (&["--no-such-flag", "x.wasm"][..], 2),
        (&["--dir", "a::b::c", "x.wasm"], 2),
        (&["--dir", "/::/a", "x.wasm", "--dir", "/tmp::/a/"], 2),
        (&["--env", "=1", "x.wasm"], 2),
        (&["x.wasm", "--seed", "none"], 2),
        (&[], 2),
        (&["/nowhere/x.wasm"], 1),
        (&["--dir", "/nowhere", &tool.path], 1),
    ] {
        let ran = ran(wrong)?;
        ensure!(ran.code == Some(code) && !ran.err.is_empty() && ran.out.is_empty(), "{wrong:?}: {ran:?}");
    }
    Ok(())
}

#[test]
fn what_refrain_up_serves_is_told_so() -> Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for (version, exported) in [("p2", "wasi:http/incoming-handler"), ("p3", "wasi:http/handler")] {
        let ran = ran(&[&format!("{root}/engine/http/tests/guests/{version}.wasm")])?;
        ensure!(ran.code == Some(1), "{ran:?}");
        ensure!(ran.err.contains(&format!("{version}.wasm exports {exported}: it answers HTTP requests")), "{ran:?}");
        ensure!(ran.err.contains("serve it by `refrain up FOLDER`"), "{ran:?}");
    }
    let folder = ran(&[&format!("{root}/examples/echo")])?;
    ensure!(folder.code == Some(1) && folder.err.contains("a service is run by `refrain up "), "{folder:?}");
    Ok(())
}

#[test]
fn fuel_is_that_of_the_whole_run() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    let sleeps = ["sleep", "1"].repeat(40);
    let run = |fuel: &str| {
        let words: Vec<&str> =
            ["--verbose", "--fuel", fuel, tool.path.as_str()].into_iter().chain(sleeps.clone()).collect();
        ran(&words)
    };
    let whole = run("1000000000")?;
    let used = whole.err.lines().find_map(|line| line.strip_prefix("refrain: used ")?.strip_suffix(" of fuel"));
    let used: u64 = used.with_context(|| format!("{whole:?}"))?.parse()?;
    ensure!(whole.code == Some(0) && used > 40 * 200, "{whole:?}");
    ensure!(run(&(used + used / 10).to_string())?.code == Some(0));
    ensure!(run(&(used / 2).to_string())?.code == Some(134), "half of it does not do");
    Ok(())
}

#[test]
fn standard_input_and_output_pass_bytes_as_they_are() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    let large: Vec<u8> = (0..5_000_000u32).map(|number| (number * 7 % 251) as u8).collect();
    for input in [&b""[..], b"no newline", b"\0\xff\n\n", &large] {
        let ran = ran_with_input(&[&tool.path, "echo"], input)?;
        ensure!(ran.code == Some(0) && ran.out == String::from_utf8_lossy(input), "{} bytes", input.len());
    }
    ensure!(ran_with_input(&[&tool.path, "poll"], b"x")?.good()? == "input\n");
    Ok(())
}

#[test]
fn input_that_is_not_asked_for_is_not_read() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    let refrain = refrain_tests::server::program("refrain")?;
    let script = format!("'{}' run '{}' err '' && cat", refrain.display(), tool.path);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = shell.spawn()?;
    child.stdin.take().context("it has an input")?.write_all(b"for the other")?;
    ensure!(child.wait_with_output()?.stdout == b"for the other");
    Ok(())
}

#[test]
fn output_is_there_before_the_program_ends_and_a_broken_pipe_is_told() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    let mut running = Running::start(&[&tool.path, "err", "first\n", "sleep", "600000"])?;
    let mut line = String::new();
    BufReader::new(running.0.stderr.take().context("it has one")?).read_line(&mut line)?;
    ensure!(line == "first\n");
    // A waiting program ends by a signal, with its number.
    kill_process(Pid::from_child(&running.0), Signal::TERM)?;
    ensure!(running.0.wait()?.code() == Some(128 + 15));
    // More than a pipe holds, with nobody to read it: the program is told by its write.
    let large = tool.host("large");
    fs::write(&large, vec![b'x'; 4 << 20])?;
    let dir = format!("{}::/", tool.folder.path().display());
    let mut broken = Running::start(&["--dir", &dir, &tool.path, "cat", "/large"])?;
    drop(broken.0.stdout.take());
    let mut told = String::new();
    broken.0.stderr.take().context("it has one")?.read_to_string(&mut told)?;
    ensure!(told == "cat: Broken pipe\n" && broken.0.wait()?.code() == Some(9), "{told}");
    Ok(())
}

#[test]
fn the_same_seed_and_time_give_the_same_run() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    let fixed = ["--seed", "7", "--time", "2026-01-31T12:00:00Z", "--fast"];
    let words = ["time", "random", "sleep", "3600000", "time", "random"];
    let run = |flags: &[&str]| {
        let all: Vec<&str> = flags.iter().copied().chain([tool.path.as_str()]).chain(words).collect();
        ran(&all)?.good()
    };
    let began = Instant::now();
    let first = run(&fixed)?;
    ensure!(began.elapsed() < Duration::from_secs(60), "an hour was not waited for");
    ensure!(first == run(&fixed)?, "{first}");
    ensure!(first.starts_with("1769860800."), "{first}");
    ensure!(first.lines().nth(2).is_some_and(|line| line.starts_with("1769864400.")), "{first}");
    let other = run(&["--seed", "8", "--time", "1769860800", "--fast"])?;
    ensure!(other.lines().next() == first.lines().next() && other.lines().nth(1) != first.lines().nth(1), "{other}");
    let random = || ran(&[&tool.path, "random"])?.good();
    ensure!(random()? != random()?, "without a seed every run has its own");
    Ok(())
}

#[test]
fn without_a_time_it_is_now_and_sleeping_takes_its_time() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    let began = Instant::now();
    let seconds = std::time::SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let out = ran(&[&tool.path, "time", "sleep", "300", "time"])?.good()?;
    ensure!(began.elapsed() >= Duration::from_millis(300));
    let times: Vec<f64> = out.lines().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(times[0] >= seconds - 0.001 && times[0] < seconds + 60.0, "{times:?} and {seconds}");
    ensure!(times[1] - times[0] >= 0.3, "{times:?}");
    Ok(())
}

#[test]
fn a_folder_is_read_in_with_its_links_and_times() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    fs::create_dir(tool.host("sub"))?;
    fs::write(tool.host("sub/file"), "text")?;
    fs::hard_link(tool.host("sub/file"), tool.host("same"))?;
    symlink("sub/file", tool.host("link"))?;
    symlink("/etc/passwd", tool.host("out"))?;
    fs::File::options().write(true).open(tool.host("same"))?.set_modified(UNIX_EPOCH + Duration::from_secs(1000))?;
    let told = tool.run("ls / ls /sub cat /link stat /same stat /link")?.good()?;
    ensure!(
        told.starts_with("link\nout\nsame\nsub/\nfile\ntext4 bytes, 2 names, changed 1000\n8 bytes, 1 names"),
        "{told}"
    );
    ensure!(tool.run("cat /out")?.code == Some(9), "a link that leads out is not followed");
    ensure!(fs::read_link(tool.host("out"))? == Path::new("/etc/passwd"), "and it is left alone");
    Ok(())
}

#[test]
fn what_changed_is_written_back_and_nothing_else_is() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    for (path, text) in [("kept", "kept"), ("changed", "old"), ("gone", ""), ("moved", "moved"), ("longer", "12345678")]
    {
        fs::write(tool.host(path), text)?;
    }
    fs::create_dir_all(tool.host("tree/below"))?;
    fs::write(tool.host("tree/below/leaf"), "leaf")?;
    fs::create_dir(tool.host("empty"))?;
    fs::set_permissions(tool.host("moved"), fs::Permissions::from_mode(0o750))?;
    fs::set_permissions(tool.host("changed"), fs::Permissions::from_mode(0o640))?;
    let identity = |path: &str| -> Result<(u64, i64, i64)> {
        let metadata = fs::metadata(tool.host(path))?;
        Ok((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    };
    let kept = identity("kept")?;
    let script = "write /changed new write /made made rm /gone mv /moved /tree/renamed mv /tree /wood rmdir /empty \
                  mkdir /fresh write /fresh/a A ln /fresh/a /fresh/b sym ../kept /fresh/link append /longer 9 \
                  touch /made 1000000 size /wood/below/leaf 2 exit 3";
    let ran = tool.run(script)?;
    ensure!(ran.code == Some(3) && ran.err.is_empty(), "{ran:?}");
    ensure!(identity("kept")? == kept, "what was not changed is not written");
    ensure!(fs::read(tool.host("changed"))? == b"new");
    ensure!(fs::metadata(tool.host("changed"))?.mode() & 0o777 == 0o640);
    ensure!(fs::read(tool.host("made"))? == b"made" && fs::metadata(tool.host("made"))?.mtime() == 1_000_000);
    ensure!(fs::read(tool.host("longer"))? == b"123456789");
    for gone in ["gone", "moved", "tree", "empty"] {
        ensure!(!tool.host(gone).exists(), "{gone} is still there");
    }
    ensure!(fs::read(tool.host("wood/renamed"))? == b"moved");
    ensure!(fs::metadata(tool.host("wood/renamed"))?.mode() & 0o777 == 0o750, "permissions move along");
    ensure!(fs::read(tool.host("wood/below/leaf"))? == b"le");
    ensure!(fs::metadata(tool.host("fresh/a"))?.ino() == fs::metadata(tool.host("fresh/b"))?.ino());
    ensure!(fs::read(tool.host("fresh/link"))? == b"kept");
    Ok(())
}

#[test]
fn two_names_can_be_exchanged_and_a_file_become_a_folder() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    for path in ["a", "b", "c"] {
        fs::write(tool.host(path), path)?;
    }
    tool.run("mv /a /t mv /b /a mv /t /b rm /c mkdir /c write /c/in in size /sparse 100000000000")?;
    tool.run("write /sparse x size /sparse 100000000000 append /sparse end")?.good()?;
    ensure!(fs::read(tool.host("a"))? == b"b" && fs::read(tool.host("b"))? == b"a");
    ensure!(fs::read(tool.host("c/in"))? == b"in");
    let sparse = fs::metadata(tool.host("sparse"))?;
    ensure!(sparse.len() == 100_000_000_003 && sparse.blocks() < 1000, "holes stay holes: {sparse:?}");
    Ok(())
}

#[test]
fn a_read_only_folder_is_not_changed_and_others_beside_it_are() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    fs::create_dir_all(tool.host("one/inner"))?;
    fs::create_dir(tool.host("two"))?;
    fs::write(tool.host("one/file"), "text")?;
    let [one, two, inner] = [("one", "/one::ro"), ("two", "/two"), ("one/inner", "/inner")]
        .map(|(host, guest)| format!("{}::{guest}", tool.host(host).display()));
    let run = |script: &str| {
        let words = ["--dir", &one, "--dir", &two, "--dir", &inner, &tool.path];
        ran(&words.into_iter().chain(script.split_whitespace()).collect::<Vec<_>>())
    };
    for refused in [
        "write /one/file x",
        "write /one/new x",
        "rm /one/file",
        "mkdir /one/new",
        "mv /one/file /two/file",
        "touch /one/file 1",
        "sym x /one/link",
        "ln /one/file /one/again",
        "write /one/inner/x x",
    ] {
        let ran = run(refused)?;
        ensure!(ran.code == Some(9) && ran.err.contains("Read-only file system"), "{refused}: {ran:?}");
    }
    ensure!(run("cat /one/file write /two/new new write /inner/deep deep cat /one/inner/deep")?.good()? == "textdeep");
    ensure!(fs::read(tool.host("two/new"))? == b"new" && fs::read(tool.host("one/inner/deep"))? == b"deep");
    ensure!(fs::read(tool.host("one/file"))? == b"text" && fs::read_dir(tool.host("one"))?.count() == 2);
    Ok(())
}

#[test]
fn a_folder_has_its_own_name_where_none_is_given() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    fs::create_dir(tool.host("desk"))?;
    fs::write(tool.host("desk/file"), "text")?;
    let run = |dir: &str, script: &str| {
        let words = ["--dir", dir, &tool.path].into_iter().chain(script.split_whitespace());
        Ran::from(refrain_run(&words.collect::<Vec<_>>())?.current_dir(tool.folder.path()).output()?).good()
    };
    ensure!(run("desk", "cat desk/file")? == "text");
    ensure!(run(".", "cat ./desk/file cat desk/file")? == "texttext");
    Ok(())
}

#[test]
fn a_folder_that_is_too_large_is_refused_and_the_limit_named() -> Result<()> {
    let Some(tool) = Tool::new()? else { return Ok(()) };
    fs::write(tool.host("large"), vec![7; 2000])?;
    ensure!(tool.run_with(&["--files", "2000"], "stat /large")?.code == Some(0), "at the limit");
    let ran = tool.run_with(&["--files", "1999"], "stat /large")?;
    ensure!(ran.code == Some(1) && ran.err.contains("more than 1999 bytes"), "{ran:?}");
    Ok(())
}

/// The address that a run says it listens on.
fn listening(running: &mut Running) -> Result<SocketAddr> {
    let mut line = String::new();
    BufReader::new(running.0.stderr.take().context("it has one")?).read_line(&mut line)?;
    let address = line.strip_prefix("refrain: listening on ").and_then(|rest| rest.split(' ').next());
    address.with_context(|| line.clone())?.parse().context("an address")
}

#[test]
fn servers_answer_as_the_native_ones_whether_they_take_the_listener_or_make_it() -> Result<()> {
    let echo = Example::Echo.folder().join("echo.wasm").to_string_lossy().into_owned();
    let mut running = Running::start(&["--listen", "127.0.0.1:0:7", &echo])?;
    let native = NativeServer::start(Example::Echo)?;
    ensure!(echo_scenario(listening(&mut running)?)? == echo_scenario(native.address())?);
    let kv = Example::KvServer.folder().join("kv-server.wasm").to_string_lossy().into_owned();
    let mut running = Running::start(&["--listen", "127.0.0.1:0:6379", &kv, "--", "--port", "6379"])?;
    let native = NativeServer::start(Example::KvServer)?;
    ensure!(kv_server_scenario(listening(&mut running)?)? == kv_server_scenario(native.address())?);
    Ok(())
}

#[test]
fn an_interrupted_server_writes_its_folder_back() -> Result<()> {
    let images = Example::ImageServer.folder().join("image-server.wasm").to_string_lossy().into_owned();
    let folder = ScratchFolder::new("interrupted")?;
    let dir = format!("{}::/", folder.path().display());
    let words = ["--listen", "127.0.0.1:0:8080", "--dir", &dir, &images, "--", "--port", "8080"];
    let mut running = Running::start(&words)?;
    let address = listening(&mut running)?;
    let mut client = connect(address)?;
    client.write_all(b"PUT /a.png HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\n12345")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    client.shutdown(Shutdown::Both).ok();
    kill_process(Pid::from_child(&running.0), Signal::INT)?;
    ensure!(running.0.wait()?.code() == Some(128 + 2));
    let kept = walk(folder.path())?;
    ensure!(kept.iter().any(|content| content == b"12345"), "{} files were written back", kept.len());
    Ok(())
}

fn walk(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let mut contents = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => contents.extend(walk(&path)?),
            false => contents.push(fs::read(&path)?),
        }
    }
    Ok(contents)
}

#[test]
fn text_is_a_module_too_and_nonsense_is_none() -> Result<()> {
    let folder = ScratchFolder::new("text")?;
    let write = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let exit = write("exit.wat", refrain_tests::guests::EXIT)?;
    ensure!(ran(&[&exit])?.code == Some(3));
    for (name, text) in
        [("wrong.wat", "(module (oops))"), ("empty.wasm", ""), ("no-start.wat", refrain_tests::guests::NO_START)]
    {
        let ran = ran(&[&write(name, text)?])?;
        ensure!(ran.code == Some(1) && ran.err.starts_with("refrain: "), "{name}: {ran:?}");
    }
    Ok(())
}
