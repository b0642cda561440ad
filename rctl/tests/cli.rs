//! The binary as a user runs it: golden output, exit codes, and every way in which a server can fail to answer.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;

use refrain_api::Token;
use refrain_api::discovery::{AdminFile, write};
use tempfile::TempDir;

const STATUS: &str = include_str!("../../api/tests/status.json");

/// A working folder, a runtime place, and the environment of a user who set nothing.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The server's data folder says that it listens there.
    fn with_server(address: &str) -> Self {
        let place = Self::new();
        let data = place.path().join("refrain-data");
        fs::create_dir(&data).unwrap();
        write(&data, &AdminFile { address: address.to_owned(), token: Token::of([1; 32]) }).unwrap();
        place
    }

    fn rctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rctl"));
        command.args(arguments).current_dir(self.path()).env("XDG_RUNTIME_DIR", self.path());
        for variable in ["REFRAIN_SERVER", "REFRAIN_TOKEN_FILE", "NO_COLOR"] {
            command.env_remove(variable);
        }
        command.output().unwrap()
    }

    fn module(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), wat::parse_str(text).unwrap()).unwrap();
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// Answers one connection after another with these bytes; gives back the requests.
fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let answer = |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&stream);
            stream.write_all(answer.as_bytes()).unwrap();
            request
        };
        answers.into_iter().map(answer).collect()
    });
    (address, server)
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        request.push_str(&line);
        if line == "\r\n" || line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request + &String::from_utf8(body).unwrap()
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// Runs one command against a server that answers like this.
fn against(arguments: &[&str], answers: &[String]) -> (Output, Vec<String>, String) {
    let (address, server) = serve(answers.to_vec());
    let output = Place::with_server(&address).rctl(arguments);
    (output, server.join().unwrap(), address)
}

#[test]
fn status_is_golden_as_table_and_as_json() {
    let (output, requests, address) = against(&["status"], &[answer("200 OK", STATUS)]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output).replace(&address, "ADDRESS"), include_str!("golden/status.txt"));
    assert!(requests[0].starts_with("GET /v1/status HTTP/1.1\r\n"), "{}", requests[0]);
    let authorization = format!("authorization: Bearer {}\r\n", "01".repeat(32));
    assert!(requests[0].contains(&authorization), "{}", requests[0]);
    for json in [&["status", "-o", "json"][..], &["status", "--json"], &["--json", "status"]] {
        let (output, _, _) = against(json, &[answer("200 OK", STATUS)]);
        assert_eq!(out(&output), STATUS);
    }
}

#[test]
fn nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let place = Place::with_server(&address);
    let output = place.rctl(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "rctl: no refrain server at {address} (from ./refrain-data/admin.json): connection refused; start one with `refrain up`\n"
    );
    assert_eq!(err(&output), expected);
    let output = place.rctl(&["-o", "json", "status"]);
    assert_eq!(json(&err(&output))["code"], "no-server");
    assert_eq!(out(&output), "");
}

#[test]
fn no_server_was_ever_started() {
    let output = Place::new().rctl(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    let told = err(&output);
    assert!(told.contains("no refrain server found: neither ./refrain-data/admin.json nor "), "{told}");
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Ends when the client has given up.
        stream.read_to_end(&mut Vec::new()).unwrap_or_default()
    });
    let output = Place::with_server(&address).rctl(&["status", "--timeout", "200ms"]);
    assert!(server.join().unwrap() > 0, "the request arrived");
    assert_eq!(output.status.code(), Some(1));
    let expected =
        format!("rctl: the server at {address} did not answer within 0.2 s; what was asked may still happen\n");
    assert_eq!(err(&output), expected);
}

#[test]
fn a_wrong_token_is_told_with_where_it_came_from() {
    let body = r#"{"code":"unauthorized","message":"the token is not valid"}"#;
    let (output, _, address) = against(&["status"], &[answer("401 Unauthorized", body)]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "rctl: the server at {address} refuses the token (from ./refrain-data/admin.json): the token is not valid\n"
    );
    assert_eq!(err(&output), expected);
}

#[test]
fn errors_of_the_server_keep_their_code() {
    let body = r#"{"code":"internal","message":"the log cannot be read"}"#;
    let (output, _, _) = against(&["status", "-o", "json"], &[answer("500 Internal Server Error", body)]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&err(&output)), json(body));
}

#[test]
fn what_is_no_refrain_server_is_told() {
    for (reply, reason) in [
        (answer("500 Internal Server Error", "<html>"), "it answers with HTTP status 500"),
        (answer("302 Found", ""), "it answers with HTTP status 302"),
        (answer("200 OK", "{}"), "its answer cannot be read: missing field `version`"),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), ""),
    ] {
        let (output, _, address) = against(&["status"], std::slice::from_ref(&reply));
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("rctl: what answers at {address} is no refrain server: {reason}");
        assert!(err(&output).starts_with(&expected), "{}", err(&output));
    }
}

#[test]
fn a_broken_connection_is_not_called_a_missing_server() {
    let half = answer("200 OK", STATUS);
    let (output, _, address) = against(&["status"], &[half[..200].to_owned()]);
    assert_eq!(output.status.code(), Some(1));
    let told = err(&output);
    assert!(told.starts_with(&format!("rctl: the connection to the server at {address} broke: ")), "{told}");
}

#[test]
fn actions_send_what_they_say_and_print_the_position() {
    let position = answer("200 OK", r#"{"position":1301}"#);
    for (arguments, path, body, text) in [
        (
            vec!["kill-replica", "examples/a", "--seat", "1"],
            "kill-replica",
            r#"{"seat":1}"#,
            "examples/a seat 1: kill-replica at position 1301\n",
        ),
        (
            vec!["corrupt-replica", "examples/a", "--seat", "2", "--address", "0x1000", "--bit", "3"],
            "corrupt-replica",
            r#"{"seat":2,"address":4096,"bit":3}"#,
            "examples/a seat 2: corrupt-replica at position 1301\n",
        ),
        (vec!["audit", "examples/a"], "audit", "{}", "examples/a: audit at position 1301\n"),
        (vec!["resume", "examples/a"], "resume", "{}", "examples/a: resume at position 1301\n"),
        (
            vec!["rebuild", "examples/a", "--seat", "0"],
            "rebuild",
            r#"{"seat":0}"#,
            "examples/a seat 0: rebuild at position 1301\n",
        ),
    ] {
        let arguments: Vec<&str> = ["service"].into_iter().chain(arguments).collect();
        let (output, requests, _) = against(&arguments, std::slice::from_ref(&position));
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), text), "{}", err(&output));
        assert!(
            requests[0].starts_with(&format!("POST /v1/services/examples/a/{path} HTTP/1.1\r\n")),
            "{}",
            requests[0]
        );
        assert!(requests[0].ends_with(&format!("\r\n\r\n{body}")), "{}", requests[0]);
    }
    let arguments = ["service", "kill-replica", "examples/a", "--seat", "1", "-o", "json"];
    let (output, _, _) = against(&arguments, &[position]);
    let expected = r#"{"service":"examples/a","action":"kill-replica","seat":1,"position":1301}"#;
    assert_eq!(json(&out(&output)), json(expected));
}

#[test]
fn a_name_alone_is_looked_up_and_must_be_unique() {
    let position = answer("200 OK", r#"{"position":1}"#);
    let (output, requests, _) = against(&["service", "audit", "kv-server"], &[answer("200 OK", STATUS), position]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(requests[1].starts_with("POST /v1/services/examples/kv-server/audit "), "{}", requests[1]);

    let twice = STATUS.replace("examples/image-server@", "other/kv-server@");
    let (output, _, _) = against(&["service", "audit", "kv-server"], &[answer("200 OK", &twice)]);
    assert_eq!(err(&output), "rctl: kv-server is not unique, say which: other/kv-server, examples/kv-server\n");

    let (output, _, _) = against(&["service", "audit", "none"], &[answer("200 OK", STATUS)]);
    let expected = "rctl: no service is called none; there are: examples/image-server, examples/kv-server\n";
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(1), expected));
}

#[test]
fn a_name_that_could_leave_its_path_is_refused_before_anything_is_sent() {
    for name in ["../x", "a/b/c", "a/b?x", "A"] {
        let output = Place::with_server("127.0.0.1:1").rctl(&["service", "audit", name]);
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).contains("is no name of a service"), "{}", err(&output));
    }
}

const TRACES: &str = r#"{"node":1,"ratio":0.01,"slow_millis":100,"kept_spans":4096,"traces":[
    {"trace":"f9cdfd195e1e0a1a710c470f667e35f4","service":"examples/kv-server","group":1,"position":9,"spans":[
    {"trace":"f9cdfd195e1e0a1a710c470f667e35f4","span":"2e1eeecf75ebeed5","name":"batch","node":1,"group":1,
     "position":9,"start_micros":1795626189123456,"duration_nanos":1250000,"attributes":{"refrain.records":3}}]}]}"#;

#[test]
fn trace_asks_for_what_it_is_told_and_shows_it() {
    let status = answer("200 OK", STATUS);
    let traces = answer("200 OK", TRACES);
    let (output, requests, _) = against(&["trace"], std::slice::from_ref(&traces));
    assert!(requests[0].starts_with("GET /v1/traces?last=10 HTTP/1.1"), "{}", requests[0]);
    let expected = "examples/kv-server, position 9, 2026-11-25 17:03:09.123456 UTC, trace f9cdfd195e1e0a1a710c470f667e35f4\n\
        SPAN   NODE  AFTER MS  TOOK MS  SAYS\n\
        batch     1     0.000    1.250  records 3\n";
    assert_eq!(out(&output), expected);
    let (_, requests, _) = against(&["trace", "image-server", "--last", "3"], &[status, traces.clone()]);
    let asked = "GET /v1/traces?last=3&service=examples/image-server HTTP/1.1";
    assert!(requests[1].starts_with(asked), "{}", requests[1]);
    let (output, requests, _) = against(&["trace", "F9CDFD195E1E0A1A710C470F667E35F4", "--json"], &[traces]);
    assert!(requests[0].contains("last=10&trace=f9cdfd195e1e0a1a710c470f667e35f4 "), "{}", requests[0]);
    assert_eq!(json(&out(&output))["traces"][0]["position"], 9);
}

#[test]
fn without_a_trace_it_is_said_why() {
    let none = answer("200 OK", r#"{"node":1,"ratio":0.01,"slow_millis":100,"kept_spans":4096,"traces":[]}"#);
    let (output, _, _) = against(&["trace"], std::slice::from_ref(&none));
    assert!(out(&output).starts_with("node 1 has no spans: it traces 1 % of the batches"), "{}", out(&output));
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
    let (output, _, _) = against(&["trace", "--json"], std::slice::from_ref(&none));
    assert_eq!((output.status.code(), json(&out(&output))["traces"].as_array().map(Vec::len)), (Some(0), Some(0)));
    // One that was asked for is missing.
    let (output, _, _) = against(&["trace", "f9cdfd195e1e0a1a710c470f667e35f4"], &[none]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("it keeps its newest 4096 spans"), "{}", out(&output));
}

/// The status of a server that runs a stateless service beside the replicated ones.
fn with_stateless() -> String {
    let mut status = json(STATUS);
    let web = serde_json::json!({
        "service": "default/web", "version": "1.0.0", "stateless": true, "weight": 100, "routes": ["*/..."],
        "in_flight": 0, "answers": [0, 0, 0, 0, 0]
    });
    status["http"] = serde_json::json!({
        "listens": ["http://127.0.0.1:8000"], "connections": 0, "refused": 0, "services": [web],
        "code_cached": 0, "code_compiled": 1
    });
    status.to_string()
}

#[test]
fn a_command_for_services_of_the_other_mode_says_what_the_service_is_and_what_there_is_for_it() {
    let not_found = answer("404 Not Found", r#"{"code":"service-not-found","message":"no service is named so"}"#);
    let status = answer("200 OK", &with_stateless());
    let told = |of: &str, mode: &str, command: &str, other: &str, first: &str| {
        format!(
            "rctl: {of} is a {mode} service, and `rctl {command}` is for {other} ones; for {of} there are: \
             rctl service show, rctl service logs, rctl service invoke, rctl service {first}"
        )
    };
    // A name alone is looked up before, one with its namespace after the server did not have it.
    for (name, answers) in [("web", vec![status.clone()]), ("default/web", vec![not_found.clone(), status.clone()])] {
        for command in
            [vec!["service", "audit", name], vec!["service", "scale", name, "--replicas", "1"], vec!["trace", name]]
        {
            let (output, _, _) = against(&command, &answers);
            let words = if command[0] == "trace" { "trace".to_owned() } else { command[..2].join(" ") };
            let expected = told("default/web", "stateless", &words, "replicated", "deploy, rctl service dev");
            assert!(err(&output).starts_with(&expected), "{}", err(&output));
            assert_eq!(output.status.code(), Some(1));
        }
    }
    for (name, answers) in [("kv-server", vec![status.clone()]), ("examples/kv-server", vec![not_found, status])] {
        for command in [vec!["service", "remove", name, "1.0.0"], vec!["service", "weights", name, "1.0.0=1"]] {
            let (output, _, _) = against(&command, &answers);
            let expected = told("examples/kv-server", "replicated", &command[..2].join(" "), "stateless", "audit");
            assert!(err(&output).starts_with(&expected), "{}", err(&output));
        }
        let (output, _, _) = against(&["service", "remove", name, "1.0.0", "--json"], &answers);
        assert_eq!(json(&err(&output))["code"], "other-mode");
    }
}

#[test]
fn a_service_that_is_nowhere_is_told_with_those_that_there_are() {
    let not_found = answer("404 Not Found", r#"{"code":"service-not-found","message":"no service is named so"}"#);
    let status = answer("200 OK", &with_stateless());
    for command in ["show", "logs", "audit"] {
        let (output, _, _) = against(
            &["service", command, "examples/none"],
            // The description of a stateless one is asked for too.
            &[vec![not_found.clone(); if command == "show" { 2 } else { 1 }], vec![status.clone()]].concat(),
        );
        let expected = "rctl: no service is called examples/none; there are: examples/image-server, \
                        examples/kv-server, default/web\n";
        assert_eq!(err(&output), expected, "{command}");
    }
}

const HTTP_SERVICE: &str = include_str!("../../api/tests/http-service.json");

#[test]
fn show_of_a_stateless_service_is_golden_as_text_and_as_json() {
    let not_found = answer("404 Not Found", r#"{"code":"service-not-found","message":"no service is named so"}"#);
    let answers = [not_found, answer("200 OK", HTTP_SERVICE)];
    let (output, requests, _) = against(&["service", "show", "default/web"], &answers);
    assert_eq!(out(&output), include_str!("golden/show-stateless.txt"), "{}", err(&output));
    assert!(requests[1].starts_with("GET /v1/http/services/default/web HTTP/1.1\r\n"), "{}", requests[1]);
    let (output, _, _) = against(&["service", "show", "default/web", "--json"], &answers);
    assert_eq!(out(&output), HTTP_SERVICE);
}

const SERVICE: &str = include_str!("../../api/tests/service.json");

#[test]
fn show_is_golden_as_text_and_as_json() {
    let (output, requests, _) = against(&["service", "show", "examples/kv-server"], &[answer("200 OK", SERVICE)]);
    assert_eq!(out(&output), include_str!("golden/show.txt"), "{}", err(&output));
    assert!(requests[0].starts_with("GET /v1/services/examples/kv-server HTTP/1.1\r\n"), "{}", requests[0]);
    let arguments = ["service", "show", "examples/kv-server", "-o", "json"];
    let (output, _, _) = against(&arguments, &[answer("200 OK", SERVICE)]);
    assert_eq!(out(&output), SERVICE);
}

fn line(number: u64, seconds: u64, stream: &str, text: &str) -> serde_json::Value {
    let (position, time) = (1196 + number, (1_795_626_185 + seconds) * 1_000_000 + 7);
    serde_json::json!({ "number": number, "position": position, "time_micros": time, "stream": stream, "line": text })
}

#[test]
fn logs_are_golden_and_ask_for_as_many_lines_as_wanted() {
    let lines = [line(4, 4, "out", "listening on 8080"), line(5, 5, "err", "a\u{1b}[2J line")];
    let body = serde_json::json!({ "node": 1, "lines": lines, "next": 5, "missed": 3 }).to_string();
    let arguments = ["service", "logs", "examples/kv-server", "--lines", "2"];
    let (output, requests, _) = against(&arguments, &[answer("200 OK", &body)]);
    assert_eq!(out(&output), include_str!("golden/logs.txt"), "{}", err(&output));
    assert!(
        requests[0].starts_with("GET /v1/services/examples/kv-server/logs?lines=2 HTTP/1.1\r\n"),
        "{}",
        requests[0]
    );
    let empty = serde_json::json!({ "node": 1, "lines": [], "next": 0, "missed": 0 }).to_string();
    let (output, _, _) = against(&arguments, &[answer("200 OK", &empty)]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""));
    assert_eq!(Place::new().rctl(&["service", "logs", "a/b", "--lines", "10001"]).status.code(), Some(2));
}

#[test]
fn logs_that_are_followed_go_on_after_the_last_line() {
    let body = |lines: &[serde_json::Value], next: u64| {
        answer("200 OK", &serde_json::json!({ "node": 1, "lines": lines, "next": next, "missed": 0 }).to_string())
    };
    let answers = [body(&[line(1, 1, "out", "one")], 1), body(&[], 1), body(&[line(2, 2, "out", "two")], 2)];
    // The server is gone then, which ends it.
    let (output, requests, _) = against(&["service", "logs", "a/b", "--follow", "-o", "json"], &answers);
    let lines: Vec<serde_json::Value> = out(&output).lines().map(json).collect();
    assert_eq!(lines.iter().map(|line| line["line"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((output.status.code(), json(&err(&output))["code"].as_str()), (Some(1), Some("no-server")));
    let asked: Vec<&str> = requests.iter().map(|request| request.split_whitespace().nth(1).unwrap()).collect();
    let logs = "/v1/services/a/b/logs?lines=";
    assert_eq!(asked, [format!("{logs}100"), format!("{logs}1000&after=1"), format!("{logs}1000&after=1")]);
}

/// A folder of a service with this module and these lines in its manifest.
fn folder(place: &Place, module: &str, manifest: &str) {
    fs::create_dir(place.path().join("svc")).unwrap();
    place.module("svc/svc.wasm", module);
    let head = "name = \"svc\"\nversion = \"1.0.0\"\nmodule = \"svc.wasm\"\n";
    fs::write(place.path().join("svc/service.toml"), format!("{head}{manifest}")).unwrap();
}

const SERVER: &str = "(module (import \"wasi_snapshot_preview1\" \"sock_open\" (func (param i32 i32 i32) (result i32)))
    (import \"wasi_snapshot_preview1\" \"sock_listen\" (func (param i32 i32) (result i32)))
    (import \"wasi_snapshot_preview1\" \"sock_accept\" (func (param i32 i32 i32) (result i32)))
    (memory (export \"memory\") 2) (table 5 funcref) (func (export \"_start\")))";
const PORT: &str = "[[ports]]\nname = \"http\"\nguest = 80\nlisten = \"127.0.0.1:0\"\n";

#[test]
fn check_of_a_folder_compares_the_module_with_the_manifest() {
    let place = Place::new();
    folder(&place, SERVER, &format!("outbound = [\"a.b:1\"]\n{PORT}"));
    let output = place.rctl(&["check", "svc"]);
    assert_eq!(out(&output), include_str!("golden/check-folder.txt"));
    assert_eq!(output.status.code(), Some(0), "a warning is no failure");
    let told = json(&out(&place.rctl(&["check", "svc", "--json"])));
    assert_eq!((told["service"].as_str(), told["runs"].as_bool()), (Some("default/svc@1.0.0"), Some(true)));
    assert_eq!(told["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn check_tells_limits_that_a_module_begins_above_and_none_that_it_reaches() {
    for (limits, problem) in [
        ("memory = \"128KiB\"\ntables = 5", None),
        ("memory = 131071\ntables = 5", Some("starts with 128 KiB of memory, limits.memory is 131071B")),
        ("memory = \"128KiB\"\ntables = 4", Some("starts with tables of 5 elements, limits.tables is 4")),
    ] {
        // In two memories as in one: all count together.
        for memories in ["(memory (export \"memory\") 2)", "(memory (export \"memory\") 1) (memory 1)"] {
            let place = Place::new();
            let server = SERVER.replace("(memory (export \"memory\") 2)", memories);
            folder(&place, &server, &format!("{PORT}[limits]\n{limits}\n"));
            let output = place.rctl(&["check", "svc", "--json"]);
            let told = json(&out(&output));
            let problems: Vec<&str> = told["problems"].as_array().unwrap().iter().filter_map(|p| p.as_str()).collect();
            assert_eq!(problems, Vec::from_iter(problem), "{limits} {memories}");
            assert_eq!(output.status.code(), Some(i32::from(problem.is_some())), "{limits} {memories}");
        }
    }
}

#[test]
fn check_tells_memories_of_any_size() {
    let place = Place::new();
    let memory = "(memory i64 1 0xffffffffffffffff (pagesize 1))";
    place.module("large.wasm", &format!("(module {memory} {memory} (func (export \"_start\")))"));
    let output = place.rctl(&["check", "large.wasm"]);
    assert!(out(&output).contains(" at the start, at most 15.9 EiB"), "{}{}", out(&output), err(&output));
    assert_eq!(output.status.code(), Some(1), "such memories are not run");
}

#[test]
fn check_warns_of_what_the_manifest_does_not_allow_and_of_what_nobody_uses() {
    let import = |name: &str, params: usize| {
        let params = "i32 ".repeat(params);
        format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func (param {params}) (result i32)))")
    };
    let end = "(memory (export \"memory\") 1) (func (export \"_start\")))";
    let caller = format!("(module {} {} {end}", import("sock_connect", 3), import("sock_getaddrinfo", 8));
    let acceptor = format!("(module {} {end}", import("sock_accept", 3));
    let nothing = format!("(module {end}");
    let udp = PORT.replace("guest = 80", "guest = 80\nprotocol = \"udp\"");
    let passed = PORT.replace("guest = 80", "guest = 80\npass = true");
    let none = "[limits]\noutward = 0\n";
    let behind = |listen: &str, from: &str| {
        PORT.replace(
            "guest = 80",
            &format!("guest = 80\npass = true\nunix = \"/run/x\"\nproxy_protocol.from = [\"{from}\"]"),
        )
        .replace("listen = ", listen)
    };
    let (at_unix, at_both) = ("# ", "listen = ");
    for (module, manifest, warning) in [
        (&caller, String::new(), "imports sock_connect, sock_getaddrinfo to call outside, and outbound is empty"),
        (&caller, format!("outbound = [\"*:1\"]\n{none}"), "to call outside, and limits.outward is 0"),
        (&caller, "outbound = [\"*:1\"]\n".to_owned(), ""),
        (
            &nothing,
            "outbound = [\"*:1\"]\n".to_owned(),
            "outbound has 1 entry, and the module imports nothing to call outside",
        ),
        (&acceptor, String::new(), "imports sock_accept for clients, and there are no [[ports]]"),
        (&acceptor, PORT.to_owned(), "port http is not passed in, and the module imports nothing to listen on 80"),
        (&acceptor, passed, ""),
        (&nothing, PORT.to_owned(), "port http has clients, and the module imports nothing to accept them"),
        (&nothing, udp, "port http is of udp, and the module imports nothing to take datagrams"),
        (&nothing, String::new(), ""),
        (&acceptor, behind(at_unix, "10.0.0.0/8"), "who count as 127.0.0.1, and proxy_protocol.from does not hold it"),
        (&acceptor, behind(at_unix, "127.0.0.0/8"), ""),
        (&acceptor, behind(at_both, "10.0.0.0/8"), ""),
    ] {
        let place = Place::new();
        folder(&place, module, &manifest);
        let told = json(&out(&place.rctl(&["check", "svc", "--json"])));
        let warnings: Vec<&str> = told["warnings"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
        assert_eq!(warnings.len(), usize::from(!warning.is_empty()), "{manifest}: {warnings:?}");
        assert!(warnings.concat().contains(warning), "{manifest}: {warnings:?}");
    }
}

#[test]
fn check_of_a_folder_tells_a_manifest_that_is_missing_or_wrong() {
    let place = Place::new();
    let output = place.rctl(&["check", "."]);
    assert!(err(&output).starts_with("rctl: cannot read ./service.toml: No such file"), "{}", err(&output));
    folder(&place, SERVER, "outbound = [\"a.b\"]\n");
    let output = place.rctl(&["check", "svc"]);
    assert!(err(&output).contains("entry 1: expected a host and a port"), "{}", err(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn check_tells_what_a_module_needs() {
    let place = Place::new();
    place.module(
        "good.wasm",
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32)))
         (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32)))
         (import \"wasi_snapshot_preview1\" \"sock_open\" (func (param i32 i32 i32) (result i32)))
         (import \"wasi_snapshot_preview1\" \"sock_accept\" (func (param i32 i32 i32) (result i32)))
         (memory (export \"memory\") 2) (func (export \"_start\") (drop (i32x4.splat (i32.const 1)))))",
    );
    let output = place.rctl(&["check", "good.wasm"]);
    assert_eq!(out(&output), include_str!("golden/check-good.txt"));
    assert_eq!(output.status.code(), Some(0));
    let output = place.rctl(&["check", "good.wasm", "-o", "json"]);
    assert_eq!(out(&output), include_str!("golden/check-good.json"));
}

#[test]
fn check_tells_why_a_module_cannot_run_and_exits_1() {
    let place = Place::new();
    place.module(
        "bad.wasm",
        "(module (import \"wasi_snapshot_preview1\" \"fd_wirte\" (func (param i32 i32 i32 i32) (result i32)))
         (import \"env\" \"fork\" (func (result i32)))
         (import \"wasi_snapshot_preview1\" \"sock_connect\" (func (param i32 i32 i32) (result i32)))
         (import \"wasix_32v1\" \"thread_spawn_v2\" (func (param i32 i32) (result i32)))
         (memory (export \"memory\") 5000 8000 shared))",
    );
    let output = place.rctl(&["check", "bad.wasm"]);
    assert_eq!(out(&output), include_str!("golden/check-bad.txt"));
    assert_eq!(output.status.code(), Some(1));
    let output = place.rctl(&["check", "bad.wasm", "-o", "json"]);
    assert_eq!(out(&output), include_str!("golden/check-bad.json"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn check_tells_what_is_no_module() {
    let place = Place::new();
    fs::write(place.path().join("text.wasm"), "hello").unwrap();
    let output = place.rctl(&["check", "text.wasm"]);
    let expected = "text.wasm: cannot run\n  not a WebAssembly module: begins with \"hello\", expected \\0asm\n";
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(1), expected));
    let output = place.rctl(&["check", "text.wasm", "-o", "json"]);
    assert_eq!(json(&out(&output))["runs"], false);
    let output = place.rctl(&["check", "none.wasm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).starts_with("rctl: cannot read none.wasm: No such file"), "{}", err(&output));
}

#[test]
fn init_writes_a_manifest_that_is_valid_and_overwrites_nothing() {
    let place = Place::new();
    let output = place.rctl(&["service", "init", "web-shop"]);
    assert_eq!(
        out(&output),
        "wrote web-shop/service.toml; put web-shop.wasm beside it and run `refrain up web-shop`\n",
        "{}",
        err(&output)
    );
    let path = place.path().join("web-shop/service.toml");
    let written = fs::read_to_string(&path).unwrap();
    let manifest = refrain_service::Manifest::parse(&written).unwrap();
    assert_eq!(manifest.id.to_string(), "default/web-shop@0.1.0");
    let output = place.rctl(&["service", "init", "web-shop", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&err(&output))["code"], "exists");
    assert_eq!(fs::read_to_string(&path).unwrap(), written);
    let output = place.rctl(&["service", "init", "Odd Name"]);
    assert!(err(&output).contains("give one with --name"), "{}", err(&output));
    assert!(!place.path().join("Odd Name").exists());
    let output = place.rctl(&["service", "init", "Odd Name", "--name", "odd", "-o", "json"]);
    assert_eq!(json(&out(&output))["written"], "Odd Name/service.toml");
}

#[test]
fn wrong_usage_exits_2() {
    for arguments in [
        &[][..],
        &["statsu"],
        &["service", "kill-replica", "a"],
        &["service", "corrupt-replica", "a", "--seat", "1", "--bit", "8"],
        &["status", "-o", "yaml"],
        &["status", "--server", "https://localhost:1"],
        &["status", "--timeout", "0s"],
        &["trace", "--last", "0"],
    ] {
        assert_eq!(Place::new().rctl(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// What bash offers for the last of these words, with the script that `rctl completion bash` prints.
fn offered(words: &[&str]) -> Vec<String> {
    let output = Place::new().rctl(&["completion", "bash"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let (cursor, line) = (words.len() - 1, words.join(" "));
    let before = words.get(cursor.wrapping_sub(1)).unwrap_or(&"");
    let asked = format!(
        "{}\nCOMP_WORDS=({line}) COMP_CWORD={cursor}\n_rctl rctl '{}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        out(&output),
        words[cursor]
    );
    let bash = Command::new("bash").args(["--norc", "-c", &asked]).output().unwrap();
    assert!(bash.status.success() && bash.stderr.is_empty(), "{}", err(&bash));
    out(&bash).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    assert_eq!(offered(&["rctl", "sta"]), ["status"]);
    assert_eq!(offered(&["rctl", "service", "kill"]), ["kill-replica"]);
    assert_eq!(offered(&["rctl", "service", "audit", "--jso"]), ["--json"]);
    assert_eq!(offered(&["rctl", "new", "--lang", "r"]), ["rust"]);
    assert_eq!(offered(&["rctl", "status", "--output", "j"]), ["json"]);
}

#[test]
fn completion_is_a_script_for_each_shell() {
    for (shell, words) in [("bash", "complete -F _rctl"), ("zsh", "#compdef rctl"), ("fish", "complete -c rctl")] {
        let output = Place::new().rctl(&["completion", shell]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(out(&output).contains(words), "{shell}: {}", out(&output));
        // A shell that is here must be able to read it.
        if let Ok(mut reader) =
            Command::new(shell).args(["-n", "/dev/stdin"]).stdin(std::process::Stdio::piped()).spawn()
        {
            reader.stdin.take().unwrap().write_all(&output.stdout).unwrap();
            assert!(reader.wait().unwrap().success(), "{shell} cannot read it");
        }
    }
}

const WAITS: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;

fn service(place: &Place, build: &str, module: &str) {
    fs::create_dir_all(place.path().join("one")).unwrap();
    let manifest = format!("name = \"one\"\nversion = \"1.0.0\"\nmodule = \"one.wasm\"\n{build}");
    fs::write(place.path().join("one/service.toml"), manifest).unwrap();
    place.module(module, WAITS);
}

/// The `wasm-opt` of this machine.
fn wasm_opt() -> Option<String> {
    let named = std::env::var("REFRAIN_WASM_OPT").ok().filter(|named| !named.is_empty());
    assert!(named.is_some() || std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "REFRAIN_WASM_OPT is not set");
    if named.is_none() {
        eprintln!("skipped: REFRAIN_WASM_OPT is not set");
    }
    named
}

#[test]
fn service_build_runs_the_command_and_instruments_what_it_makes() {
    let Some(tool) = wasm_opt() else { return };
    let place = Place::new();
    service(
        &place,
        "[build]\ncommand = \"echo building; cp ../made.wasm plain.wasm\"\noutput = \"plain.wasm\"\n",
        "made.wasm",
    );
    let output = place.rctl(&["service", "build", "one", "--wasm-opt", &tool, "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(err(&output).contains("building"), "what the command prints is no result");
    let built = json(&out(&output));
    let plain = fs::read(place.path().join("one/plain.wasm")).unwrap();
    let module = fs::read(place.path().join("one/one.wasm")).unwrap();
    assert_eq!(
        (built["bytes_before"].as_u64(), built["bytes"].as_u64()),
        (Some(plain.len() as u64), Some(module.len() as u64))
    );
    assert_eq!((&built["savable"], &built["written"]), (&true.into(), &true.into()), "{built:#}");
    assert!(built["instrumented_by"].as_str().is_some_and(|tool| tool.starts_with("wasm-opt ")), "{built:#}");
    // What is instrumented already stays as it is, without a tool too.
    let check = place.rctl(&["service", "build", "one", "--check"]);
    assert_eq!(check.status.code(), Some(0), "{}", err(&check));
    assert!(out(&check).contains("  checkpoints  guests can be saved\n"), "{}", out(&check));
    assert_eq!(fs::read(place.path().join("one/one.wasm")).unwrap(), module);
}

#[test]
fn service_build_without_wasm_opt_says_how_to_get_it_and_leaves_a_module_that_runs() {
    let place = Place::new();
    service(&place, "", "one/one.wasm");
    let before = fs::read(place.path().join("one/one.wasm")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rctl"));
    command.args(["service", "build", "one"]).current_dir(place.path()).env("PATH", "").env_remove("REFRAIN_WASM_OPT");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = out(&output);
    assert!(
        said.contains("not done     wasm-opt was not found: install binaryen 132 (npm install binaryen@132"),
        "{said}"
    );
    assert!(said.contains("guests cannot be saved") && said.contains("not instrumented"), "{said}");
    assert_eq!(fs::read(place.path().join("one/one.wasm")).unwrap(), before);
}

#[test]
fn service_build_tells_what_is_wrong_with_the_manifest_the_command_and_the_module() {
    let place = Place::new();
    service(&place, "[build]\ncommand = \"exit 3\"\n", "one/one.wasm");
    let output = place.rctl(&["service", "build", "one"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), "rctl: build.command failed (exit status: 3): exit 3\n");
    fs::write(place.path().join("one/one.wasm"), b"no module").unwrap();
    let output = place.rctl(&["service", "build", "one", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("cannot run"), "{}", out(&output));
    fs::write(place.path().join("one/service.toml"), "name = 3\n").unwrap();
    let output = place.rctl(&["service", "build", "one", "-o", "json"]);
    assert_eq!(json(&err(&output))["code"], "bad-manifest");
}
