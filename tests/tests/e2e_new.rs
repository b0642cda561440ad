//! Projects of `rctl new`, from nothing: built without a warning, served, and asked by every method.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use refrain_tests::server::{Server, Site, program};
use refrain_tests::tools::output_of;
use serde_json::Value;

const METHODS: &str = "GET, HEAD, POST";

/// An answer: the line of the status, headers, body.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What curl gets, with the head.
fn curl(arguments: &[&str]) -> Result<Answer> {
    let text = output_of(Command::new("curl").args(["-s", "-i", "--max-time", "60"]).args(arguments))?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no head in {text:?}"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no line of the status")?.parse()?;
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut headers: Vec<(String, String)> = lines.filter_map(header).collect();
    headers.retain(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    Ok(Answer { status, headers, body: body.to_owned() })
}

/// Whether the project's script says that a tool is not here.
fn is_left_out(lang: &str, output: &Output) -> Result<bool> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    let Some(missing) = complaint.lines().find(|line| line.starts_with("build: ")) else { return Ok(false) };
    ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{missing}");
    println!("skipped: {lang}: {missing}");
    Ok(true)
}

/// Makes a project and builds it; false, with a word, where a tool is not here.
fn builds(lang: &str, project: &Path) -> Result<bool> {
    let rctl = program("rctl")?;
    output_of(Command::new(&rctl).args(["new", "--lang", lang, "hello", "--dir"]).arg(project))?;
    let output = Command::new(&rctl).args(["service", "build", "--json"]).arg(project).output()?;
    if !output.status.success() && is_left_out(lang, &output)? {
        return Ok(false);
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{told}");
    ensure!(!told.to_lowercase().contains("warn"), "a tool warns: {told}");
    let built: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(built["component"]["handler"] == "0.2", "{built:#}");
    output_of(Command::new(&rctl).arg("check").arg(project))?;
    Ok(true)
}

fn url(server: &Server) -> Result<String> {
    let status = server.rctl_json(&["status"])?;
    let url = status["http"]["listens"][0].as_str().with_context(|| format!("{status:#}"))?;
    Ok(format!("{url}/"))
}

fn builds_and_serves(lang: &str, name: &str) -> Result<()> {
    let mut site = Site::new(&format!("new-{lang}"))?;
    let project = site.scratch().join("hello");
    if !builds(lang, &project)? {
        return Ok(());
    }
    site.give(&[&project]).argument("--http").argument("127.0.0.1:0");
    let server = site.start()?;
    let url = url(&server)?;
    for path in ["", "env", "none"] {
        let (get, head) = (curl(&[&format!("{url}{path}")])?, curl(&["-I", &format!("{url}{path}")])?);
        ensure!(get.status == if path == "none" { 404 } else { 200 }, "{}: {}", get.status, get.body);
        ensure!(get.status == head.status && get.headers == head.headers, "{:?}, HEAD {:?}", get.headers, head.headers);
        ensure!(head.body.is_empty() && head.header("content-length") == Some(&get.body.len().to_string()));
    }
    ensure!(curl(&[&url])?.body == format!("Hello, world, from {name}!\n"));
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
        let refused = curl(&["-X", method, &url])?;
        ensure!(refused.status == 405 && refused.header("allow") == Some(METHODS), "{method}: {:?}", refused.headers);
        ensure!(refused.body == "405 Method Not Allowed\n", "{method}: {}", refused.body);
    }
    let echoed = curl(&["--data-binary", "a body", "-H", "content-type: text/x", &url])?;
    ensure!((echoed.status, echoed.body.as_str(), echoed.header("content-type")) == (200, "a body", Some("text/x")));
    let invoked = server.rctl_json(&["service", "invoke", "hello", "/?name=Ada"])?;
    ensure!(invoked["body"] == format!("Hello, Ada, from {name}!\n"), "{invoked:#}");
    let shown = server.rctl_json(&["service", "show", "hello"])?;
    let version = &shown["versions"][0];
    ensure!(version["trapped"] == 0 && version["weight"] == 100 && version["routes"][0] == "*/...", "{shown:#}");
    ensure!(version["limits"].as_array().is_some_and(|limits| !limits.is_empty()), "{shown:#}");
    server.terminate()
}

#[test]
fn a_project_in_rust_builds_and_serves() -> Result<()> {
    builds_and_serves("rust", "Rust")
}

#[test]
fn a_project_in_c_builds_and_serves() -> Result<()> {
    builds_and_serves("c", "C")
}

#[test]
fn a_project_in_javascript_builds_and_serves() -> Result<()> {
    builds_and_serves("js", "JavaScript")
}

#[test]
fn a_project_in_python_builds_and_serves() -> Result<()> {
    builds_and_serves("python", "Python")
}
