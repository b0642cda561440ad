//! Bodies of all lengths, both ways, through a handler and through an upstream at an address.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use refrain_front::{Body, BodyError, Endpoint};
use tokio::sync::Semaphore;

use crate::support::*;

/// What sockets and the front end hold on one way, at the most: far less than what the tests send.
const BOUND: u64 = 48 << 20;
const MANY: u64 = 100 << 20;

/// An upstream at an address that sends bodies back as they come.
fn echo_upstream() -> Endpoint {
    Endpoint::Tcp(upstream(|request| async move {
        Response::new(Body::stream(request.into_body().map_err(|error| BodyError::Failed(Box::new(error)))))
    }))
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

fn round_trips(endpoint: Endpoint, is_http2: bool, is_chunked: bool) {
    let front = start(plan(endpoint));
    block_on(async {
        for bytes in [0, 1, 4096, 4097, 65_536, 1 << 20] {
            let sent = pattern(bytes);
            let body = if is_chunked {
                let frames: Vec<_> =
                    sent.chunks(1000).map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
                Body::stream(StreamBody::new(futures_util::stream::iter(frames)))
            } else {
                Body::from(sent.clone())
            };
            let request = request("POST", "http://test/", body);
            let response = if is_http2 {
                http2(address(&front)).await.send_request(request).await.unwrap()
            } else {
                let mut request = request;
                *request.uri_mut() = "/".parse().unwrap();
                http1(address(&front)).await.send_request(request).await.unwrap()
            };
            assert_eq!(response.status(), 200);
            let received = response.into_body().collect().await.unwrap().to_bytes();
            assert!(received == sent, "{bytes} bytes came back as {}", received.len());
        }
    });
}

#[test]
fn a_body_of_4097_bytes_comes_through_a_handler_and_back() {
    round_trips(echoes(), false, false);
    round_trips(echoes(), false, true);
}

#[test]
fn a_body_of_4097_bytes_comes_through_an_upstream_and_back() {
    round_trips(echo_upstream(), false, false);
    round_trips(echo_upstream(), false, true);
}

#[test]
fn a_body_of_4097_bytes_comes_through_http_2_and_back() {
    round_trips(echoes(), true, true);
    round_trips(echo_upstream(), true, false);
}

#[test]
fn a_body_reaches_an_upstream_whatever_the_method() {
    let front = start(plan(echo_upstream()));
    for method in ["GET", "POST", "DELETE", "OPTIONS", "FOO"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        for body in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
            let answer = Raw::to(&front).send(format!("{head}{body}")).rest();
            let text = String::from_utf8(answer).unwrap();
            assert!(text.starts_with("HTTP/1.1 200") && text.contains("body"), "{method} {body:?}: {text}");
        }
    }
}

/// An answer of so many bytes; counts what was taken of it.
fn fountain(taken: Arc<AtomicU64>) -> Endpoint {
    handler(move |_| {
        let taken = Arc::clone(&taken);
        async move {
            let chunk = Bytes::from(vec![7; 1 << 16]);
            let frames = futures_util::stream::iter((0..MANY >> 16).map(move |_| {
                taken.fetch_add(1 << 16, Relaxed);
                Ok(Frame::data(chunk.clone()))
            }));
            Ok(Response::new(Body::stream(StreamBody::new(frames))))
        }
    })
}

#[test]
fn an_answer_of_100_mb_is_made_no_faster_than_it_is_read() {
    let taken = Arc::new(AtomicU64::new(0));
    let front = start(plan(fountain(Arc::clone(&taken))));
    let mut client = Raw::to(&front);
    let head = client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").answer();
    assert_eq!(head.status(), 200);
    let (mut received, mut chunk) = (0, vec![0; 1 << 16]);
    loop {
        let read = client.0.read(&mut chunk).unwrap() as u64;
        received += read;
        let held = taken.load(Relaxed).saturating_sub(received);
        assert!(held <= BOUND, "{held} bytes are held after {received}");
        if read == 0 {
            break;
        }
    }
    // The frames of the chunked coding are on top.
    assert!((MANY..MANY + (1 << 20)).contains(&received), "{received}");
}

#[test]
fn a_body_of_100_mb_is_taken_no_faster_than_it_is_read() {
    let (gate, counted) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let (opened, count) = (Arc::clone(&gate), Arc::clone(&counted));
    let front = start(plan(handler(move |request| {
        let (gate, count) = (Arc::clone(&opened), Arc::clone(&count));
        async move {
            let _open = gate.acquire().await.unwrap();
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                count.fetch_add(frame.unwrap().data_ref().map_or(0, |data| data.len() as u64), Relaxed);
            }
            Ok(Response::new(Body::from("read")))
        }
    })));
    let mut client = Raw::to(&front);
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {MANY}\r\n\r\n"));
    client.0.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = vec![7; 1 << 16];
    let mut sent = 0;
    while let Ok(written) = client.0.write(&chunk) {
        sent += written as u64;
        assert!(sent <= BOUND, "the front end holds more than {BOUND} bytes");
    }
    gate.add_permits(1);
    client.0.set_write_timeout(Some(PATIENCE)).unwrap();
    while sent < MANY {
        let left = usize::try_from(MANY - sent).unwrap();
        sent += client.0.write(&chunk[..left.min(chunk.len())]).unwrap() as u64;
    }
    assert_eq!(client.answer().text(), "read");
    assert_eq!(counted.load(Relaxed), MANY);
}

#[test]
fn a_hundred_megabytes_go_through_an_upstream_and_back() {
    let front = start(plan(echo_upstream()));
    let mut writer = Raw::to(&front);
    let mut reader = Raw(writer.0.try_clone().unwrap());
    writer.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {MANY}\r\nConnection: close\r\n\r\n"));
    let writing = std::thread::spawn(move || {
        let chunk = vec![7; 1 << 16];
        (0..MANY >> 16).for_each(|_| writer.0.write_all(&chunk).unwrap());
        writer
    });
    assert_eq!(reader.head().status(), 200);
    let mut received: u64 = 0;
    let mut chunk = vec![0; 1 << 16];
    loop {
        match reader.0.read(&mut chunk).unwrap() {
            0 => break,
            read => received += read as u64,
        }
    }
    writing.join().unwrap();
    assert!(received >= MANY, "{received}");
}
