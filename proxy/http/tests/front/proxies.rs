//! Proxies in front that say whose connection each is. The header of these tests is a line `FROM address`; that of the PROXY
//! protocol is read by whoever starts a front end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use refrain_front::{
    ClientHeader, Front, HeaderError, Listen, ListenAt, MAX_HEADER_BYTES, Plan, Proxies, Settings, StartError,
};

use crate::support::*;

fn read(bytes: &[u8]) -> Result<Option<ClientHeader>, HeaderError> {
    let begin = b"FROM ";
    if !bytes.starts_with(&begin[..bytes.len().min(begin.len())]) {
        return Err("no such line".into());
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let client = std::str::from_utf8(&bytes[begin.len()..end])?;
    let client = (client != "itself").then(|| client.parse()).transpose()?;
    Ok(Some(ClientHeader { length: end + 1, client }))
}

fn proxied(from: &str, change: impl FnOnce(&mut Settings, &mut Plan)) -> Front {
    let (mut settings, mut plan) = (settings(false), plan(tells()));
    settings.proxies = Some(Proxies::new(vec![from.parse().unwrap()], read));
    change(&mut settings, &mut plan);
    Front::start(&settings, plan).unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn error(answer: &Answer) -> (u16, &str) {
    (answer.status(), answer.header("x-refrain-error").unwrap_or("-"))
}

#[test]
fn the_client_is_the_one_that_the_header_names_for_the_whole_connection() {
    let front = proxied("127.0.0.1/32", |_, _| {});
    let mut client = Raw::to(&front);
    for begin in ["FROM 203.0.113.7\n", ""] {
        let answer = client.send(format!("{begin}{GET}")).answer();
        let text = answer.text();
        assert!(text.contains("x-forwarded-for: 203.0.113.7\n"), "{text}");
        assert!(text.contains("forwarded: for=203.0.113.7;proto=http;"), "{text}");
    }
    let own = Raw::to(&front).send(format!("FROM itself\n{GET}")).answer();
    assert!(own.text().contains("x-forwarded-for: 127.0.0.1\n"), "{}", own.text());
    let six = Raw::to(&front).send(format!("FROM ::ffff:9.9.9.9\n{GET}")).answer();
    assert!(six.text().contains("x-forwarded-for: 9.9.9.9\n"), "{}", six.text());
}

#[test]
fn it_does_not_matter_in_which_pieces_a_header_comes() {
    let front = proxied("127.0.0.0/8", |_, _| {});
    let mut client = Raw::to(&front);
    for byte in format!("FROM 203.0.113.8\n{GET}").bytes() {
        client.send([byte]);
    }
    assert!(client.answer().text().contains("x-forwarded-for: 203.0.113.8\n"));
    let text = block_on(async {
        // The preface of HTTP/2 in the same piece.
        let mut stream = tokio::net::TcpStream::connect(address(&front)).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"FROM 203.0.113.9\n").await.unwrap();
        let builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = http::Request::get("http://a/").body(refrain_front::Body::empty()).unwrap();
        let body = sender.send_request(request).await.unwrap().into_body();
        String::from_utf8(http_body_util::BodyExt::collect(body).await.unwrap().to_bytes().to_vec()).unwrap()
    });
    assert!(text.contains("x-forwarded-for: 203.0.113.9\n"), "{text}");
}

#[test]
fn what_others_begin_with_is_no_header() {
    let front = proxied("10.0.0.0/8", |_, _| {});
    let answer = Raw::to(&front).send(format!("FROM 203.0.113.7\n{GET}")).answer();
    assert_eq!(error(&answer), (400, "malformed"));
    assert!(get(&front, "/").text().contains("x-forwarded-for: 127.0.0.1\n"));
}

#[test]
fn a_proxy_that_does_not_begin_with_a_header_is_told_so() {
    let front = proxied("127.0.0.1/32", |settings, _| {
        settings.proxies.as_mut().unwrap().patience = Duration::from_millis(50);
    });
    for (begin, expected) in [
        (GET.to_owned(), (400, "proxy-header")),
        ("FROM nobody\n".to_owned(), (400, "proxy-header")),
        (format!("FROM {}", "1".repeat(MAX_HEADER_BYTES)), (400, "proxy-header")),
        ("FROM 1.2.".to_owned(), (408, "proxy-header-slow")),
    ] {
        let mut client = Raw::to(&front);
        let answer = client.send(&begin).answer();
        assert_eq!(error(&answer), expected, "{begin:?}");
        assert!(client.rest().is_empty());
    }
    let mut client = Raw::to(&front);
    client.send("FROM 1.2.").0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(error(&client.answer()), (400, "proxy-header"));
    // Who only looks whether it is there is no fault.
    assert!(Raw::to(&front).rest().is_empty());
    wait_until(|| front.metrics().connections == 0);
    assert_eq!(front.metrics().faults, [("proxy-header", 4), ("proxy-header-slow", 1)]);
}

#[test]
fn limits_are_those_of_the_client_that_the_header_names() {
    let front = proxied("127.0.0.1/32", |settings, _| settings.connection.client_connections = 1);
    let mut first = Raw::to(&front);
    assert_eq!(first.send(format!("FROM 1.1.1.1\n{GET}")).answer().status(), 200);
    assert!(Raw::to(&front).send(format!("FROM 1.1.1.1\n{GET}")).rest().is_empty());
    assert_eq!(front.metrics().turned_away, 1);
    assert_eq!(Raw::to(&front).send(format!("FROM 2.2.2.2\n{GET}")).answer().status(), 200);
}

#[test]
fn what_a_client_says_of_itself_is_believed_if_the_header_names_one_that_is_trusted() {
    let front = proxied("127.0.0.1/32", |_, plan| plan.trusted = vec!["10.0.0.0/8".parse().unwrap()]);
    let ask = |from: &str| {
        let text = format!("FROM {from}\nGET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 7.7.7.7\r\n\r\n");
        Raw::to(&front).send(text).answer()
    };
    assert!(ask("10.0.0.1").text().contains("x-forwarded-for: 7.7.7.7, 10.0.0.1\n"));
    assert!(ask("11.0.0.1").text().contains("x-forwarded-for: 11.0.0.1\n"));
}

#[test]
fn a_unix_socket_counts_as_127_0_0_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let at = ListenAt::Unix(path.clone());
    let front = proxied("127.0.0.1/32", |settings, _| settings.listeners = vec![Listen { at, is_tls: false }]);
    let mut stream = UnixStream::connect(&path).unwrap();
    write!(stream, "FROM 203.0.113.7\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("x-forwarded-for: 203.0.113.7\n"), "{text}");
    assert_eq!(front.drain(PATIENCE), 0);
    assert!(!path.exists());
}

#[test]
fn the_time_for_a_header_has_bounds() {
    let mut settings = settings(false);
    let mut proxies = Proxies::new(vec![], read);
    proxies.patience = Duration::from_millis(9);
    settings.proxies = Some(proxies);
    assert!(matches!(Front::start(&settings, plan(tells())), Err(StartError::Bound { .. })));
    settings.proxies.as_mut().unwrap().patience = Duration::from_millis(10);
    assert!(Front::start(&settings, plan(tells())).is_ok());
}
