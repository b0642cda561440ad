//! HTTP/2 with prior knowledge, by a client that keeps to it.

use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use refrain_front::{Body, Cause, Refusal};
use tokio::sync::Semaphore;

use crate::support::*;

#[test]
fn a_thousand_requests_over_one_connection_are_all_answered() {
    let front = start(plan(echoes()));
    block_on(async {
        let client = http2(address(&front)).await;
        let asked: Vec<_> = (0..1000)
            .map(|number| {
                let mut client = client.clone();
                tokio::task::spawn_local(async move {
                    client.ready().await.unwrap();
                    let sent = request("POST", "http://test/", Body::from(number.to_string()));
                    let response = client.send_request(sent).await.unwrap();
                    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), number.to_string());
                })
            })
            .collect();
        for one in asked {
            one.await.unwrap();
        }
    });
}

#[test]
fn the_authority_becomes_the_host_and_cookies_are_joined() {
    let front = start(plan(tells()));
    block_on(async {
        let mut sent = request("GET", "http://a.test:1/x", Body::empty());
        sent.headers_mut().remove("host");
        sent.headers_mut().append("cookie", "a=1".parse().unwrap());
        sent.headers_mut().append("cookie", "b=2".parse().unwrap());
        let response = http2(address(&front)).await.send_request(sent).await.unwrap();
        let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert!(text.starts_with("GET /x\n"), "{text}");
        assert!(text.contains("\nhost: a.test:1\n") && text.contains("\ncookie: a=1; b=2\n"), "{text}");
    });
}

#[test]
fn a_host_that_differs_from_the_authority_is_400() {
    let front = start(plan(tells()));
    block_on(async {
        let mut sent = request("GET", "http://other/", Body::empty());
        sent.headers_mut().insert("host", "test".parse().unwrap());
        let response = http2(address(&front)).await.send_request(sent).await.unwrap();
        assert_eq!(response.status(), 400);
    });
}

#[test]
fn head_over_http_2_has_the_length_and_no_body() {
    let front = start(plan(says("hello")));
    block_on(async {
        let sent = request("HEAD", "http://test/", Body::empty());
        let response = http2(address(&front)).await.send_request(sent).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["content-length"]), (200, &"5".parse().unwrap()));
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    });
}

#[test]
fn headers_above_the_limit_are_refused() {
    let front = start(plan(echoes()));
    block_on(async {
        let mut client = http2(address(&front)).await;
        let mut sent = request("GET", "http://test/", Body::empty());
        for number in 0..20 {
            sent.headers_mut()
                .insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), "x".repeat(4000).parse().unwrap());
        }
        let answered = client.send_request(sent).await;
        assert!(answered.is_err() || answered.is_ok_and(|response| response.status() == 431));
    });
    assert_eq!(get(&front, "/").status(), 200);
}

#[test]
fn an_answer_of_many_pieces_comes_through_a_small_window() {
    let body: Vec<u8> = (0..1_000_001_u32).map(|number| number.to_le_bytes()[number as usize % 4]).collect();
    let sent = body.clone();
    let front = start(plan(handler(move |_| std::future::ready(Ok(Response::new(Body::from(sent.clone())))))));
    block_on(async {
        let stream = tokio::net::TcpStream::connect(address(&front)).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1000).initial_connection_window_size(70_000);
        let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let response = client.send_request(request("GET", "http://test/", Body::empty())).await.unwrap();
        assert_eq!(response.headers()["content-length"], "1000001");
        assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
    });
}

#[test]
fn a_head_that_is_refused_over_http_2_has_the_length_and_no_body() {
    let mut release = release(
        "1.0.0",
        vec![handler(|_| {
            std::future::ready(Err(Refusal::begun(Cause::Busy { retry_after: std::time::Duration::from_secs(1) })))
        })],
    );
    release.limits.body_bytes = 4;
    let mut plan = plan_of(release);
    plan.routes[0].path = "/here/...".parse().unwrap();
    let front = start(plan);
    for (path, body, expected) in [("/", "", 404), ("/here", "12345", 413), ("/here", "", 503)] {
        block_on(async {
            let sent = request("HEAD", &format!("http://test{path}"), Body::from(body));
            let response = http2(address(&front)).await.send_request(sent).await.unwrap();
            assert_eq!(response.status(), expected);
            assert!(response.headers().contains_key("content-length"), "{:?}", response.headers());
            assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty(), "{expected}");
        });
    }
}

#[test]
fn uploads_that_nobody_reads_stop_no_other_one() {
    const HELD: usize = 64;
    // Those of the path /held are not read until the other one has ended.
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let front = start(plan(handler(move |request| {
        let gate = Arc::clone(&held);
        async move {
            if request.uri().path() == "/held" {
                gate.acquire().await.unwrap().forget();
            }
            let bytes = request.into_body().collect().await.unwrap().to_bytes().len();
            Ok(Response::new(Body::from(bytes.to_string())))
        }
    })));
    block_on(async {
        let client = http2(address(&front)).await;
        let upload = |path: &str| {
            let (mut client, uri) = (client.clone(), format!("http://test{path}"));
            async move {
                let sent = request("POST", &uri, Body::from(vec![0; 1 << 20]));
                let response = client.send_request(sent).await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes()
            }
        };
        let held: Vec<_> = (0..HELD).map(|_| tokio::task::spawn_local(upload("/held"))).collect();
        while front.metrics().releases[0].in_flight < u32::try_from(HELD).unwrap() {
            tokio::task::yield_now().await;
        }
        assert_eq!(upload("/").await, "1048576");
        gate.add_permits(HELD);
        for one in held {
            assert_eq!(one.await.unwrap(), "1048576");
        }
    });
}
