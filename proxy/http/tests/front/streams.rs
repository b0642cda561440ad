//! Streams: trailers, 100-continue, events that come one by one, answers before the body has ended.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use refrain_front::{Body, BodyError, Endpoint};
use tokio::sync::{Semaphore, mpsc};

use crate::support::*;

fn with_trailers() -> Response<Body> {
    let trailers: HeaderMap =
        [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))].into_iter().collect();
    let frames = vec![Ok(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(Body::stream(StreamBody::new(futures_util::stream::iter(frames))));
    response.headers_mut().insert("trailer", HeaderValue::from_static("grpc-status"));
    response
}

/// Both kinds of upstream; each tells what trailers it got in a header.
fn trailing() -> [Endpoint; 2] {
    let told = |trailers: Option<HeaderMap>| {
        let mut response = with_trailers();
        let got = trailers.and_then(|trailers| trailers.get("x-sum").cloned());
        response.headers_mut().insert("x-got", got.unwrap_or_else(|| HeaderValue::from_static("none")));
        response
    };
    let own =
        handler(
            move |request| async move { Ok(told(request.into_body().collect().await.unwrap().trailers().cloned())) },
        );
    let other =
        upstream(move |request| async move { told(request.into_body().collect().await.unwrap().trailers().cloned()) });
    [own, Endpoint::Tcp(other)]
}

#[test]
fn trailers_come_through_both_ways_over_http_1() {
    for endpoint in trailing() {
        let front = start(plan(endpoint));
        let mut client = Raw::to(&front);
        client.send(
            "POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\
             Connection: close\r\n\r\n4\r\ndata\r\n0\r\nX-Sum: 7\r\nContent-Length: 1\r\n\r\n",
        );
        let text = String::from_utf8(client.rest()).unwrap();
        assert!(text.contains("x-got: 7") && text.ends_with("4\r\ndata\r\n0\r\ngrpc-status: 0\r\n\r\n"), "{text}");
    }
}

#[test]
fn trailers_come_through_both_ways_over_http_2() {
    for endpoint in trailing() {
        let front = start(plan(endpoint));
        block_on(async {
            let trailers: HeaderMap =
                [(http::HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))].into_iter().collect();
            let frames = vec![Ok(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(trailers))];
            let mut request =
                request("POST", "http://test/", Body::stream(StreamBody::new(futures_util::stream::iter(frames))));
            request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
            request.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
            let response = http2(address(&front)).await.send_request(request).await.unwrap();
            assert_eq!(response.headers()["x-got"], "7");
            let collected = response.into_body().collect().await.unwrap();
            assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
            assert_eq!(collected.to_bytes(), "data");
        });
    }
}

#[test]
fn a_client_that_waits_for_100_gets_it_when_the_body_is_wanted() {
    let front = start(plan(tells()));
    let mut client = Raw::to(&front);
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.answer().status(), 100);
    let head = client.send("body").answer();
    assert!(head.status() == 200 && head.text().ends_with("\n\nbody"), "{head:?}");
}

#[test]
fn a_client_that_waits_for_100_gets_the_refusal_instead() {
    let mut release = release("1.0.0", vec![echoes()]);
    release.limits.body_bytes = 3;
    let front = start(plan_of(release));
    let mut client = Raw::to(&front);
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.answer().status(), 413);
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
    let answer = ask(&front, "POST / HTTP/1.1\r\nHost: test\r\nExpect: a-miracle\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(answer.status(), 417);
}

/// Each permit is an event.
fn events(gate: &Arc<Semaphore>) -> impl Fn() -> Response<Body> + Clone + Send + Sync + 'static {
    let gate = Arc::clone(gate);
    move || {
        let gate = Arc::clone(&gate);
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, BodyError>>(1);
        tokio::spawn(async move {
            for number in 0..3 {
                gate.acquire().await.unwrap().forget();
                let event = Bytes::from(format!("data: {number}\n\n"));
                sender.send(Ok(Frame::data(event))).await.unwrap();
            }
        });
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        let mut response = Response::new(Body::stream(StreamBody::new(frames)));
        response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
        response
    }
}

#[test]
fn an_event_reaches_the_client_before_the_next_one_is_made() {
    let gate = Arc::new(Semaphore::new(0));
    let make = events(&gate);
    let own = {
        let make = make.clone();
        handler(move |_| std::future::ready(Ok(make())))
    };
    let other = Endpoint::Tcp(upstream(move |_| std::future::ready(make())));
    for endpoint in [own, other] {
        let front = start(plan(endpoint));
        let mut client = Raw::to(&front);
        assert_eq!(client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").answer().status(), 200);
        for number in 0..3 {
            gate.add_permits(1);
            let expected = format!("9\r\ndata: {number}\n\n\r\n");
            let mut event = vec![0; expected.len()];
            client.0.read_exact(&mut event).unwrap();
            assert_eq!(String::from_utf8(event).unwrap(), expected);
        }
    }
}

#[test]
fn an_answer_may_come_before_the_body_has_ended() {
    let front = start(plan(says("enough")));
    let mut client = Raw::to(&front);
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nonly this");
    assert_eq!(client.answer().text(), "enough");
}

#[test]
fn an_answer_that_breaks_off_is_seen_to_be_broken() {
    let front = start(plan(handler(|_| async {
        let frames = vec![Ok(Frame::data(Bytes::from_static(b"half"))), Err(BodyError::Failed("it failed".into()))];
        Ok(Response::new(Body::stream(StreamBody::new(futures_util::stream::iter(frames)))))
    })));
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
}
