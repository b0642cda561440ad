//! Programs of each socket family, and a foreign web server on `sdk/c`, as services of three replicas; every call of `sdk/c`
//! by itself.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use refrain_tests::dialogue::Dialogue;
use refrain_tests::guests::manifest;
use refrain_tests::http::{HttpClient, request};
use refrain_tests::run::{Programs, Ran, Running, alone, ran};
use refrain_tests::server::Site;
use refrain_tests::tools::installed;
use rustix::process::{Pid, Signal, kill_process};

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
fn a_project_in_cpp_alone_compiles_with_cmake_and_has_a_stack_of_1_mib() -> Result<()> {
    let Some((_built, program)) = alone("sockets", "cxx-cmake.wasm")? else { return Ok(()) };
    let said = ran(&[&program.to_string_lossy()])?.good()?;
    ensure!(said == "guest is well\n", "{said}");
    Ok(())
}

#[test]
fn a_project_has_a_larger_stack_by_an_option_of_its_own() -> Result<()> {
    let Some((_built, program)) = alone("sockets", "stack-cmake.wasm")? else { return Ok(()) };
    let said = ran(&[&program.to_string_lossy()])?.good()?;
    ensure!(said == "it fits\n", "{said}");
    Ok(())
}

#[test]
fn the_manual_page_is_installed_names_every_call_and_formats_without_a_complaint() -> Result<()> {
    let Some((_folder, page)) = alone("sockets", "refrain-sockets.7")? else { return Ok(()) };
    let Some(groff) = installed("groff")? else { return Ok(()) };
    let output = Command::new(groff).args(["-man", "-Tascii", "-ww", "-P-cbou"]).arg(page).output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["REFRAIN-SOCKETS(7)", "pkg-config --cflags refrain"] {
        ensure!(text.contains(word), "{word} is not in\n{text}");
    }
    let missing: Vec<_> = declared()?.into_iter().filter(|name| !text.contains(&format!("{name}()"))).collect();
    ensure!(missing.is_empty(), "the page has no word about {missing:?}");
    Ok(())
}

#[test]
fn every_call_of_sdk_c_does_what_it_promises() -> Result<()> {
    let sources = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/sockets/posix"))?;
    let used = |name: &String| sources.iter().any(|text| is_used(text, name));
    let missing: Vec<_> = declared()?.into_iter().filter(|name| !used(name)).collect();
    ensure!(missing.is_empty(), "the program does not call {missing:?}");
    let Some((built, program)) = alone("sockets", "posix.wasm")? else { return Ok(()) };
    let (folder, program) = (built.path().join("root"), program.to_string_lossy());
    std::fs::create_dir(&folder)?;
    let ran = ran(&["--dir", &format!("{}::/", folder.display()), &program])?;
    ensure!(ran.code == Some(0) && ran.err.is_empty(), "{:?}\n{}{}", ran.code, ran.out, ran.err);
    ensure!(ran.out.ends_with(" checks, 0 failed\n"), "{}", ran.out);
    end_or_tell(&program)?;
    wait_for_ever(&program)
}

/// Calls that end the program, or write to standard error.
fn end_or_tell(program: &str) -> Result<()> {
    let missing = "No such file or directory";
    for (how, code, told) in [
        ("err", 3, "said err: Permission denied\n".to_owned()),
        ("errx", 4, "said errx\n".to_owned()),
        ("verr", 5, "said verr: Permission denied\n".to_owned()),
        ("verrx", 6, "said verrx\n".to_owned()),
        ("warn", 0, format!("number 1: {missing}\nnumber 2: {missing}\nnumber 3\nnumber 4\n{missing}\n")),
        ("syslog", 0, format!("plain\nposix[1]: number 1: {missing}, 100%\nposix[1]: number 2\n")),
    ] {
        ensure!(ran(&[program, how])? == Ran { code: Some(code), out: String::new(), err: told }, "{how}");
    }
    Ok(())
}

/// Calls that wait for a signal, of which none comes.
fn wait_for_ever(program: &str) -> Result<()> {
    for how in ["pause", "sigsuspend"] {
        let mut waiting = Running::start(&[program, how])?;
        let mut line = String::new();
        BufReader::new(waiting.0.stdout.take().context("it has an output")?).read_line(&mut line)?;
        ensure!(line == "waiting\n", "{how}: {line}");
        kill_process(Pid::from_child(&waiting.0), Signal::TERM)?;
        ensure!(waiting.0.wait()?.code() == Some(143), "{how} came back");
    }
    Ok(())
}

/// What the files of a folder say, those in its folders too.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(texts(&path)?);
        } else {
            found.push(std::fs::read_to_string(path)?);
        }
    }
    Ok(found)
}

/// The calls that headers of `sdk/c` declare with a symbol of their own.
fn declared() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for text in texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/c/include"))? {
        let mut declaration = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if !line.starts_with(' ') {
                declaration = line;
            }
            if line.contains("REFRAIN_SYMBOL(") {
                let before = declaration.split('(').next().unwrap_or_default();
                names.push(before.rsplit([' ', '*']).next().unwrap_or_default().to_owned());
            }
        }
    }
    ensure!(names.len() > 100, "only {names:?} are declared");
    Ok(names)
}

/// Whether a text in C calls a function, or passes it on.
fn is_used(text: &str, name: &str) -> bool {
    let in_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '"';
    text.match_indices(name)
        .any(|(at, _)| text[at + name.len()..].starts_with(['(', ',', ')']) && !text[..at].ends_with(in_word))
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
