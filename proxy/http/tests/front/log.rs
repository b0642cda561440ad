//! What the access log tells: of requests, of tunnels, and of clients whose requests could not be read.
//!
//! Every test has clients of an address of its own, as all of this process write into one log.

use std::io::Write;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use refrain_front::{Body, BodyError, Endpoint, Front, Plan, Settings};

use crate::frames;
use crate::support::*;
use crate::upgrade::{ASK, echo};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The loops are threads of their own: there is one subscriber for this process.
fn told() -> String {
    static LINES: OnceLock<Lines> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        lines
    });
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

/// The first line that has all of this.
fn line_with(parts: &[&str]) -> String {
    let find = || told().lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned);
    wait_until(|| find().is_some());
    find().unwrap()
}

fn front(change: impl FnOnce(&mut Settings, &mut Plan)) -> Front {
    told();
    let (mut settings, mut plan) = (settings(false), plan(says("hello")));
    plan.access_log = true;
    change(&mut settings, &mut plan);
    Front::start(&settings, plan).unwrap()
}

/// A body of a declared length that does not say with its last bytes that it is over.
struct Declared(Option<Bytes>);

impl http_body::Body for Declared {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[test]
fn an_answer_of_which_all_that_was_declared_went_out_is_whole() {
    let declared = handler(|_| async { Ok(Response::new(Body::stream(Declared(Some(Bytes::from_static(b"12345")))))) });
    let front = front(|_, plan| *plan = Plan { access_log: true, ..crate::support::plan(declared) });
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: log.test\r\nX-Request-Id: declared\r\n\r\n").answer();
    let line = line_with(&["declared"]);
    for field in ["\"whole\":true", "\"bytes_out\":5", "\"error\":\"-\""] {
        assert!(line.contains(field), "{field}: {line}");
    }
    assert_eq!(front.metrics().faults, []);
}

#[test]
fn each_request_is_told_once_and_only_if_it_is_wanted() {
    let front = front(|_, _| {});
    let mut client = Raw::to(&front);
    client
        .send("GET /logged?secret HTTP/1.1\r\nHost: log.test\r\nX-Request-Id: id-1\r\nUser-Agent: a client/1\r\n\r\n")
        .answer();
    let line = line_with(&["id-1"]);
    front.reload(plan(says("hello"))).unwrap();
    client.send("GET /silent HTTP/1.1\r\nHost: log.test\r\nX-Request-Id: id-2\r\n\r\n").answer();
    wait_until(|| front.metrics().releases[0].answers[1] == 2);
    for field in [
        "\"target\":\"access\"",
        "\"client\":\"127.0.0.1\"",
        "\"method\":\"GET\"",
        "\"host\":\"log.test\"",
        "\"path\":\"/logged\"",
        "\"protocol\":\"HTTP/1.1\"",
        "\"user_agent\":\"a client/1\"",
        "\"status\":200",
        "\"error\":\"-\"",
        "\"bytes_out\":5",
        "\"whole\":true",
        "\"service\":\"test/one@1.0.0\"",
        "\"upstream\":\"u0\"",
        "\"attempts\":1",
    ] {
        assert!(line.contains(field), "{line} has {field}");
    }
    assert!(!told().contains("secret") && !told().contains("id-2"), "{}", told());
}

#[test]
fn a_request_of_http_2_is_told_with_its_authority() {
    let front = front(|_, _| {});
    block_on(async {
        let mut client = http2(address(&front)).await;
        let request = http::Request::get("http://two.test:81/x").header("x-request-id", "id-h2").body(Body::empty());
        assert_eq!(client.send_request(request.unwrap()).await.unwrap().status(), 200);
    });
    let line = line_with(&["id-h2"]);
    assert!(line.contains("\"host\":\"two.test:81\"") && line.contains("\"path\":\"/x\""), "{line}");
    assert!(line.contains("\"protocol\":\"HTTP/2.0\""), "{line}");
}

#[test]
fn a_tunnel_is_told_with_the_bytes_that_passed_over_both_protocols() {
    let front = front(|_, plan| plan.services = tunnels().services);
    let mut client = Raw::to(&front);
    client.send(ASK.replace("\r\n\r\n", "\r\nX-Request-Id: id-tunnel\r\n\r\n")).answer();
    client.send("12 and more").0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"first12 and morelast");
    let line = line_with(&["id-tunnel"]);
    for field in ["\"status\":101", "\"bytes_in\":11", "\"bytes_out\":20", "\"whole\":true", "\"error\":\"-\""] {
        assert!(line.contains(field), "{line} has {field}");
    }
    assert_eq!((front.metrics().releases[0].bytes_in, front.metrics().releases[0].bytes_out), (11, 20));
}

fn tunnels() -> Plan {
    plan(Endpoint::Tcp(echo()))
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_told_to_be_one() {
    let mut idle = release("1.0.0", vec![Endpoint::Tcp(echo())]);
    idle.limits.tunnel_idle = Duration::from_millis(50);
    let front = front(|_, plan| plan.services = plan_of(idle).services);
    Raw::to(&front).send(ASK.replace("\r\n\r\n", "\r\nX-Request-Id: id-idle\r\n\r\n")).rest();
    let line = line_with(&["id-idle"]);
    for field in ["\"error\":\"tunnel-idle\"", "\"bytes_out\":5", "\"whole\":false"] {
        assert!(line.contains(field), "{line} has {field}");
    }
}

/// What is no request: how it begins, what the answer and the log say of it, and a word of the reason.
const NO_REQUESTS: [(&str, u16, &str, &str); 7] = [
    ("GET\r\n\r\n", 400, "malformed", "invalid"),
    ("GET / HTTP/9\r\nHost: a\r\n\r\n", 400, "malformed", "version"),
    ("GET / HTTP/1.1\r\nHost: a\r\nx y: z\r\n\r\n", 400, "malformed", "header"),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed", "invalid"),
    ("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 400, "malformed", "invalid"),
    ("\x16\x03\x01\0\x05\x01\0\0\x01\0", 400, "tls-on-plain", "hello of TLS"),
    ("HEAD", 431, "head-too-large", "too large"),
];

#[test]
fn what_is_no_request_is_answered_in_words_and_told_with_its_client() {
    let front = front(|settings, _| settings.connection.head_bytes = 8192);
    for (number, (begin, status, code, reason)) in NO_REQUESTS.into_iter().enumerate() {
        let source = format!("127.0.1.{}", number + 1);
        let mut client = Raw::from(&source, &front);
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "y".repeat(9000));
        let answer = client.send(if begin == "HEAD" { &long } else { begin }).answer();
        assert_eq!((answer.status(), answer.header("x-refrain-error")), (status, Some(code)), "{begin:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(answer.text().len() > 10 && answer.header("date").is_some(), "{answer:?}");
        assert!(client.rest().is_empty());
        let line = line_with(&[&format!("\"client\":\"{source}\"")]);
        for field in [&format!("\"status\":{status}"), &format!("\"error\":\"{code}\""), reason] {
            assert!(line.contains(field), "{line} has {field}");
        }
    }
    let metrics = front.metrics();
    assert_eq!(metrics.refused, 7);
    assert_eq!(metrics.faults, [("head-too-large", 1), ("malformed", 5), ("tls-on-plain", 1)]);
}

#[test]
fn a_head_above_the_limit_is_told_at_once_and_its_client_may_go_on_sending() {
    // As far as the limit is what one read takes in, and further than that: then what is left of a read is not believed.
    for (limit, source) in [(8192, "127.0.1.8"), (64 * 1024, "127.0.1.9")] {
        let front = front(|settings, _| settings.connection.head_bytes = limit);
        let mut client = Raw::from(source, &front);
        let answer = client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}", "y".repeat(limit + 5_000))).answer();
        assert_eq!(answer.status(), 431);
        line_with(&[&format!("\"client\":\"{source}\""), "head-too-large"]);
        assert_eq!(front.metrics().faults, [("head-too-large", 1)]);
        for _ in 0..10 {
            client.send("y".repeat(10_000));
        }
    }
}

#[test]
fn no_request_with_a_body_under_way_is_told_at_once() {
    let front = front(|_, _| {});
    let mut client = Raw::from("127.0.1.10", &front);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nx y: z\r\n\r\n";
    assert_eq!(client.send(format!("{head}and so on")).answer().status(), 400);
    line_with(&["\"client\":\"127.0.1.10\"", "malformed"]);
}

#[test]
fn what_follows_a_good_request_and_is_none_is_answered_in_words_too() {
    let front = front(|_, _| {});
    let mut client = Raw::from("127.0.2.1", &front);
    for _ in 0..2 {
        assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().text(), "hello");
    }
    let answer = client.send("nonsense\r\n\r\n").answer();
    assert_eq!((answer.status(), answer.header("x-refrain-error")), (400, Some("malformed")));
    line_with(&["127.0.2.1", "malformed"]);
}

/// Whatever a service answers, even what looks like an answer of hyper's own, reaches the client as it is.
#[test]
fn an_answer_of_a_service_is_never_taken_for_one_to_no_request() {
    let body = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let front = start(plan(handler(move |request| async move {
        let mut response = Response::new(Body::from(body));
        if request.uri().path() == "/bare" {
            *response.status_mut() = http::StatusCode::URI_TOO_LONG;
            *response.body_mut() = Body::empty();
        }
        Ok(response)
    })));
    let mut client = Raw::to(&front);
    for _ in 0..3 {
        assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().text(), body);
        let bare = client.send("GET /bare HTTP/1.1\r\nHost: a\r\n\r\n").answer();
        assert_eq!((bare.status(), bare.header("x-refrain-error")), (414, None));
        assert_eq!(client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").head().status(), 200);
    }
}

#[test]
fn a_target_that_is_too_long_is_told_whoever_refuses_it() {
    let front = front(|settings, _| settings.connection.head_bytes = 128 * 1024);
    for (length, source) in [(9000, "127.0.3.1"), (70_000, "127.0.3.2")] {
        let mut client = Raw::from(source, &front);
        let answer = client.send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length))).answer();
        assert_eq!((answer.status(), answer.header("x-refrain-error")), (414, Some("uri-too-long")));
        line_with(&[source, "\"status\":414", "uri-too-long"]);
    }
}

#[test]
fn a_head_that_does_not_end_is_answered_in_words_and_told() {
    let front = front(|settings, _| settings.connection.head = Duration::from_millis(50));
    let mut client = Raw::from("127.0.4.1", &front);
    let answer = client.send("GET / HTTP/1.1\r\nHost: a\r\n").answer();
    assert_eq!((answer.status(), answer.header("x-refrain-error")), (408, Some("head-slow")));
    assert!(client.rest().is_empty());
    line_with(&["127.0.4.1", "\"status\":408", "head-slow", "50ms"]);
}

#[test]
fn a_head_that_breaks_off_is_told_and_a_connection_without_one_is_not() {
    let front = front(|_, _| {});
    drop(Raw::from("127.0.5.1", &front));
    Raw::from("127.0.5.2", &front).send("GET / HTTP/1.1\r\nHo").0.shutdown(Shutdown::Write).unwrap();
    line_with(&["127.0.5.2", "\"status\":400", "head-broken"]);
    wait_until(|| front.metrics().connections == 0);
    assert!(!told().contains("127.0.5.1"));
}

#[test]
fn http_2_that_breaks_the_rules_is_told_with_its_error() {
    let front = front(|_, _| {});
    let mut client = Raw::from("127.0.7.1", &front);
    client.send([frames::PREFACE, &frames::frame(frames::SETTINGS, 0, 0, b"")].concat());
    client.send(frames::frame(frames::DATA, 0, 1, b"x")).rest();
    line_with(&["127.0.7.1", "\"status\":400", "http2-broken", "protocol error"]);
    // One that goes as it should is not told.
    drop(frames::connect(&front));
    wait_until(|| front.metrics().connections == 0);
    assert_eq!(front.metrics().faults, [("http2-broken", 1)]);
}

#[test]
fn a_connection_that_is_turned_away_is_told() {
    let front = front(|settings, _| settings.connection.client_connections = 1);
    let mut first = Raw::from("127.0.6.1", &front);
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert!(Raw::from("127.0.6.1", &front).rest().is_empty());
    line_with(&["127.0.6.1", "\"status\":429", "client-connections"]);
    let metrics = front.metrics();
    assert_eq!((metrics.turned_away, metrics.refused, &metrics.faults[..]), (1, 0, &[("client-connections", 1)][..]));
}

#[test]
fn a_client_that_does_not_wait_for_its_answer_is_told_to_have_gone() {
    let front = front(|_, plan| plan.services = self::plan(handler(|_| std::future::pending())).services);
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-gone\r\n\r\n");
    wait_until(|| front.metrics().releases[0].in_flight == 1);
    drop(client);
    let line = line_with(&["id-gone"]);
    assert!(line.contains("\"status\":499") && line.contains("\"error\":\"client-gone\""), "{line}");
    assert_eq!(front.metrics().releases[0].answers, [0, 0, 0, 1, 0]);
}

#[test]
fn an_answer_that_its_client_does_not_take_is_told_to_be_cut_off() {
    let endless = raw_upstream(|_, mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        while stream.write_all(&[0; 65_536]).is_ok() {}
    });
    let front = front(|settings, plan| {
        settings.connection.write_idle = Duration::from_millis(50);
        plan.services = self::plan(Endpoint::Tcp(endless)).services;
    });
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-slow\r\n\r\n");
    let line = line_with(&["id-slow"]);
    assert!(line.contains("\"error\":\"client-slow\"") && line.contains("\"whole\":false"), "{line}");
    // Over HTTP/2 by the window alone.
    let mut client = frames::connect(&front);
    client.send(frames::frame(frames::HEADERS, frames::END, 1, &frames::head(b"GET", &[(b"x-request-id", b"id-two")])));
    let line = line_with(&["id-two"]);
    assert!(line.contains("\"error\":\"client-slow\"") && line.contains("\"whole\":false"), "{line}");
}

#[test]
fn an_exchange_that_takes_too_long_is_told_so() {
    let mut slow = release("1.0.0", vec![echoes()]);
    slow.limits.total = Some(Duration::from_millis(50));
    let front = front(|_, plan| plan.services = plan_of(slow).services);
    let mut client = Raw::to(&front);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-long\r\nContent-Length: 4\r\n\r\nab").rest();
    assert!(line_with(&["id-long"]).contains("\"error\":\"too-long\""));
}
