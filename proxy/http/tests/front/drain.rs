//! The end of a front end: what is under way is finished, and nothing new is taken.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use refrain_front::{Body, Endpoint};
use tokio::sync::Semaphore;

use crate::support::*;

fn gated() -> (Endpoint, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let endpoint = handler(move |_| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Response::new(Body::from("done")))
        }
    });
    (endpoint, gate)
}

#[test]
fn requests_under_way_are_answered_and_their_connections_closed() {
    let (endpoint, gate) = gated();
    let front = start(plan(endpoint));
    let at = address(&front);
    let mut busy = Raw::to(&front);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until(|| front.metrics().releases[0].in_flight == 1);
    let mut silent = Raw::to(&front);
    wait_until(|| front.metrics().connections == 2);
    let draining = std::thread::spawn(move || front.drain(PATIENCE));
    // The silent one is closed, so the drain has begun.
    assert!(silent.rest().is_empty());
    wait_until(|| std::net::TcpStream::connect(at).is_err());
    gate.add_permits(1);
    let answer = busy.answer();
    assert_eq!((answer.text(), answer.header("connection")), ("done", Some("close")));
    assert!(busy.rest().is_empty());
    assert_eq!(draining.join().unwrap(), 0);
}

#[test]
fn streams_of_http_2_under_way_are_answered_and_no_more_are_taken() {
    let (endpoint, gate) = gated();
    let front = start(plan(endpoint));
    block_on(async {
        let mut client = http2(address(&front)).await;
        let pending = client.send_request(request("GET", "http://test/", Body::empty()));
        let pending = tokio::task::spawn_local(pending);
        while front.metrics().releases[0].in_flight == 0 {
            tokio::task::yield_now().await;
        }
        let at = address(&front);
        let draining = std::thread::spawn(move || front.drain(PATIENCE));
        while tokio::net::TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        let response = pending.await.unwrap().unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "done");
        // GOAWAY was there, and the connection has ended.
        while client.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(tokio::task::spawn_blocking(|| draining.join().unwrap()).await.unwrap(), 0);
    });
}

#[test]
fn what_is_not_done_at_the_deadline_is_cut_off_and_counted() {
    let (endpoint, _gate) = gated();
    let front = start(plan(endpoint));
    let mut busy = Raw::to(&front);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until(|| front.metrics().releases[0].in_flight == 1);
    assert_eq!(front.drain(Duration::from_millis(50)), 1);
    assert!(busy.rest().is_empty());
}
