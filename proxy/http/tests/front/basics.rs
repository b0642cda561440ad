//! A request goes through, changed as the edge says, and errors have their answers.

use std::io::Write;

use http::Response;
use refrain_front::{Body, Front, Listen, ListenAt, Plan, Route, Service};

use crate::support::*;

#[test]
fn a_request_reaches_the_handler_and_its_answer_the_client() {
    let front = start(plan(says("hello")));
    let mut client = Raw::to(&front);
    for _ in 0..3 {
        let answer = client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").answer();
        assert_eq!((answer.status(), answer.text()), (200, "hello"));
        assert_eq!(answer.header("x-request-id").unwrap().len(), 32);
    }
}

#[test]
fn the_handler_sees_the_request_as_the_edge_leaves_it() {
    let front = start(plan(tells()));
    let answer = ask(
        &front,
        "POST http://a.test:1/x/%61/../b?q=%20 HTTP/1.1\r\nHost: a.test:1\r\nConnection: x-gone\r\nX-Gone: 1\r\n\
         X-Refrain-Caller: me\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-Id: abc\r\nContent-Length: 4\r\n\r\nbody",
    );
    let text = answer.text();
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("traceparent")).collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "POST /x/b?q=%20",
            "",
            "body",
            "content-length: 4",
            "forwarded: for=127.0.0.1;proto=http;host=\"a.test:1\"",
            "host: a.test:1",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: a.test:1",
            "x-forwarded-proto: http",
            "x-request-id: abc",
        ]
    );
    assert_eq!(answer.header("x-request-id"), Some("abc"));
}

#[test]
fn no_route_is_404_and_a_wrong_method_405_with_the_right_ones() {
    let mut plan = plan(says("x"));
    plan.routes = vec![Route::to("/a", "test/one").unwrap()];
    plan.routes[0].methods = vec![http::Method::GET];
    let front = start(plan);
    let answer = get(&front, "/b");
    assert_eq!((answer.status(), answer.header("x-refrain-error")), (404, Some("no-route")));
    let answer = ask(&front, "DELETE /a HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(front.metrics().refused, 2);
}

#[test]
fn a_path_that_another_server_takes_for_one_of_another_route_is_refused() {
    let named = |name: &str, endpoint| Service { name: name.into(), releases: vec![release("1.0.0", vec![endpoint])] };
    let front = start(Plan {
        routes: vec![
            Route::to("/...", "test/all").unwrap(),
            Route::to("/admin/...", "test/admin").unwrap(),
            Route::to("/items/{id}", "test/items").unwrap(),
        ],
        services: vec![
            named("test/all", says("all")),
            named("test/admin", says("admin")),
            named("test/items", says("items")),
        ],
        ..Plan::default()
    });
    for (path, expected) in [
        ("/a//b", Ok("all")),
        ("/group%2Fname/a%5Cb", Ok("all")),
        ("/admin//x%2Fy", Ok("admin")),
        ("/items/7", Ok("items")),
        ("//admin", Err("path-ambiguous")),
        ("/%2Fadmin/x", Err("path-ambiguous")),
        ("/\\admin", Err("path-ambiguous")),
        ("/admin%2Fx", Err("path-ambiguous")),
        ("/items/a%2fb", Err("path-ambiguous")),
        ("/items/..%2Fadmin", Err("uri-invalid")),
    ] {
        let answer = get(&front, path);
        let found = answer.header("x-refrain-error").map_or_else(|| Ok(answer.text()), Err);
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn a_route_sees_what_the_edge_says_of_the_client_and_not_what_the_client_says() {
    let mut plan = plan(says("x"));
    plan.routes[0].headers = vec![(http::HeaderName::from_static("x-forwarded-proto"), "https".parse().unwrap())];
    let front = start(plan.clone());
    let ask = |front: &Front| {
        ask(front, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nConnection: x-forwarded-proto\r\n\r\n")
    };
    assert_eq!(ask(&front).status(), 404);
    plan.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    assert_eq!(ask(&start(plan)).status(), 200);
}

#[test]
fn an_answer_that_says_a_wrong_length_is_502_and_the_next_one_is_read_from_its_beginning() {
    let front = start(plan(handler(|request| {
        let length = request.uri().query().unwrap_or("5").to_owned();
        let response = Response::builder().header("content-length", length).body(Body::from("hello"));
        std::future::ready(Ok(response.unwrap()))
    })));
    let mut client = Raw::to(&front);
    for (length, expected) in [("5", 200), ("0", 502), ("1", 502), ("500", 502), ("nonsense", 502), ("5", 200)] {
        let answer = client.send(format!("GET /?{length} HTTP/1.1\r\nHost: a\r\n\r\n")).answer();
        assert_eq!(answer.status(), expected, "{length}");
        let head = client.send(format!("HEAD /?{length} HTTP/1.1\r\nHost: a\r\n\r\n")).head();
        assert_eq!(head.status(), if length == "nonsense" { 502 } else { 200 }, "any number may be that of a body");
    }
}

#[test]
fn a_length_beside_chunks_of_an_upstream_does_not_go_on() {
    let front = start(plan(refrain_front::Endpoint::Tcp(raw_upstream(|_, mut stream| {
        read_head(&mut stream);
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    }))));
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(text.contains("\r\n5\r\nhello\r\n0\r\n") && !text.contains("content-length"), "{text}");
}

#[test]
fn head_has_the_length_and_no_body() {
    let front = start(plan(says("hello")));
    let mut client = Raw::to(&front);
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains("content-length: 5") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn head_of_an_upstream_keeps_the_length_that_it_says_and_gets_none_that_it_does_not() {
    for (length, expected) in [("Content-Length: 7\r\n", Some("7")), ("Transfer-Encoding: chunked\r\n", None)] {
        let front = start(plan(refrain_front::Endpoint::Tcp(raw_upstream(move |_, mut stream| {
            read_head(&mut stream);
            write!(stream, "HTTP/1.1 200 OK\r\n{length}\r\n").unwrap();
        }))));
        let mut client = Raw::to(&front);
        let answer = client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").head();
        assert_eq!(answer.header("content-length"), expected, "{answer:?}");
    }
}

#[test]
fn a_request_of_http_1_0_that_names_no_host_has_one_for_its_upstream() {
    let front = start(plan(tells()));
    let answer = ask(&front, "GET / HTTP/1.0\r\n\r\n");
    let text = answer.text();
    assert!(text.contains("\nhost: localhost\n") && !text.contains("x-forwarded-host"), "{text}");
}

#[test]
fn a_unix_socket_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(false);
    settings.listeners = vec![Listen { at: ListenAt::Unix(folder.path().join("s")), is_tls: false }];
    let _front = Front::start(&settings, plan(says("hello"))).unwrap();
    let output = std::process::Command::new("curl")
        .args(["-s", "--unix-socket", folder.path().join("s").to_str().unwrap(), "http://test/"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "hello");
}

#[test]
fn a_handler_that_panics_ends_its_own_connection_alone() {
    let front = start(plan(handler(|request| async move {
        assert_ne!(request.uri().path(), "/panic", "this test wants it");
        Ok(Response::new(Body::from("fine")))
    })));
    let mut other = Raw::to(&front);
    assert_eq!(other.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").answer().text(), "fine");
    assert!(Raw::to(&front).send("GET /panic HTTP/1.1\r\nHost: test\r\n\r\n").rest().is_empty());
    assert_eq!(other.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").answer().text(), "fine");
    wait_until(|| front.metrics().connections == 1 && front.metrics().releases[0].in_flight == 0);
}

#[test]
fn a_204_has_neither_body_nor_length_and_100_is_no_answer() {
    for (status, expected) in [(204, 204), (304, 304), (103, 502)] {
        let front = start(plan(handler(move |_| async move {
            let mut response = Response::new(Body::from("body"));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            Ok(response)
        })));
        let mut client = Raw::to(&front);
        let answer = client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").head();
        assert_eq!(answer.status(), expected);
        assert!(status != 204 || answer.header("content-length").is_none());
        assert!(status == 103 || client.rest().is_empty());
    }
}

#[test]
fn drain_ends_idle_connections_and_the_threads() {
    let front = start(plan(says("hello")));
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").answer();
    assert_eq!(front.metrics().connections, 1);
    assert_eq!(front.drain(PATIENCE), 0);
    assert!(client.rest().is_empty());
}
