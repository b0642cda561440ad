//! Limits: each at the limit and one above, with its answer.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use refrain_front::{Body, Cause, Endpoint, Front, Plan, Rate, Refusal, Release, Settings};
use tokio::sync::Semaphore;

use crate::frames::*;
use crate::support::*;

const SHORT: Duration = Duration::from_millis(50);

/// Answers when a permit is there.
fn gated(gate: &Arc<Semaphore>) -> Endpoint {
    let gate = Arc::clone(gate);
    handler(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Response::new(Body::from("done")))
        }
    })
}

fn gated_front(change: impl FnOnce(&mut Release)) -> (Front, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let mut release = release("1.0.0", vec![gated(&gate)]);
    change(&mut release);
    (start(plan_of(release)), gate)
}

fn begin(front: &Front) -> Raw {
    let mut client = Raw::to(front);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client
}

fn in_flight(front: &Front) -> u32 {
    front.metrics().releases[0].in_flight
}

fn error(answer: &Answer) -> (u16, &str) {
    (answer.status(), answer.header("x-refrain-error").unwrap_or("-"))
}

#[test]
fn a_request_above_the_limit_of_a_service_is_503_with_retry_after() {
    let (front, gate) = gated_front(|release| release.limits.requests = 2);
    let mut first = begin(&front);
    let mut second = begin(&front);
    wait_until(|| in_flight(&front) == 2);
    let refused = get(&front, "/");
    assert_eq!(error(&refused), (503, "service-busy"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    gate.add_permits(3);
    assert_eq!((first.answer().status(), second.answer().status()), (200, 200));
    wait_until(|| in_flight(&front) == 0);
    assert_eq!(get(&front, "/").status(), 200);
    assert_eq!(front.metrics().releases[0].refused, 0, "it never was among the release's");
}

#[test]
fn a_request_waits_for_a_place_and_is_served_when_there_is_one() {
    let (front, gate) = gated_front(|release| {
        release.upstreams[0].requests = 1;
        release.limits.queue = 1;
        release.limits.queue_wait = PATIENCE;
    });
    let mut first = begin(&front);
    wait_until(|| front.metrics().releases[0].upstreams[0].outstanding == 1);
    let mut second = begin(&front);
    wait_until(|| front.metrics().releases[0].waiting == 1);
    let refused = get(&front, "/");
    assert_eq!(error(&refused), (503, "queue-full"));
    gate.add_permits(2);
    assert_eq!((first.answer().status(), second.answer().status()), (200, 200));
}

#[test]
fn a_request_that_waits_too_long_is_503() {
    let (front, gate) = gated_front(|release| {
        release.upstreams[0].requests = 1;
        release.limits.queue_wait = SHORT;
    });
    let mut first = begin(&front);
    wait_until(|| front.metrics().releases[0].upstreams[0].outstanding == 1);
    assert_eq!(error(&get(&front, "/")), (503, "queue-slow"));
    gate.add_permits(1);
    assert_eq!(first.answer().status(), 200);
}

#[test]
fn a_place_is_free_again_when_the_client_goes_away() {
    let (front, gate) = gated_front(|release| release.upstreams[0].requests = 1);
    let leaves = begin(&front);
    wait_until(|| in_flight(&front) == 1);
    drop(leaves);
    wait_until(|| in_flight(&front) == 0);
    gate.add_permits(1);
    assert_eq!(get(&front, "/").status(), 200);
}

#[test]
fn a_body_of_the_limit_is_taken_and_one_byte_more_is_413() {
    let mut release = release("1.0.0", vec![tells()]);
    release.limits.body_bytes = 4;
    let front = start(plan_of(release));
    let send = |head: &str, body: &str| ask(&front, &format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}"));
    assert_eq!(send("Content-Length: 4", "abcd").status(), 200);
    assert_eq!(error(&send("Content-Length: 5", "abcde")), (413, "body-too-large"));
    let chunked = "Transfer-Encoding: chunked";
    assert_eq!(send(chunked, "4\r\nabcd\r\n0\r\n\r\n").status(), 200);
    assert_eq!(error(&send(chunked, "4\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n")), (413, "body-too-large"));
}

#[test]
fn a_client_that_sends_too_much_gets_its_413_and_no_reset() {
    let mut release = release("1.0.0", vec![tells()]);
    release.limits.body_bytes = 4;
    let front = start(plan_of(release));
    let mut client = Raw::to(&front);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let body = vec![b'x'; 1_000_000];
    client.0.write_all(&body).unwrap();
    assert_eq!(client.answer().status(), 413);
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let mut release = release("1.0.0", vec![tells()]);
    release.limits.body_idle = SHORT;
    let front = start(plan_of(release));
    let answer = ask(&front, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    assert_eq!(error(&answer), (408, "body-slow"));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn an_answer_that_does_not_come_is_504() {
    let (front, _gate) = gated_front(|release| release.limits.answer = SHORT);
    assert_eq!(error(&get(&front, "/")), (504, "upstream-slow"));
    let mut silent =
        release("1.0.0", vec![Endpoint::Tcp(raw_upstream(|_, mut stream| drop(stream.read_to_end(&mut Vec::new()))))]);
    silent.limits.answer = SHORT;
    let front = start(plan_of(silent));
    assert_eq!(error(&get(&front, "/")), (504, "upstream-slow"));
    assert_eq!(front.metrics().releases[0].retries, 0);
}

#[test]
fn a_body_that_moves_keeps_the_answer_from_being_late() {
    let mut release = release("1.0.0", vec![tells()]);
    release.limits.answer = Duration::from_millis(400);
    let front = start(plan_of(release));
    let mut client = Raw::to(&front);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n");
    // Slower than the limit as a whole, and quicker byte for byte.
    let pause = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..12 {
        pause.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
        client.send("x");
    }
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn the_whole_exchange_has_an_end() {
    let mut slow = release("1.0.0", vec![handler(|request| async { Ok(Response::new(request.into_body())) })]);
    slow.limits.total = Some(SHORT);
    let front = start(plan_of(slow));
    let mut client = Raw::to(&front);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ab"), "{text}");
}

#[test]
fn the_whole_exchange_has_an_end_though_the_client_takes_nothing() {
    let body = vec![0; 64 << 20];
    let answers = handler(move |_| std::future::ready(Ok(Response::new(Body::from(body.clone())))));
    let mut slow = release("1.0.0", vec![answers]);
    slow.limits.total = Some(Duration::from_millis(500));
    let front = start(plan_of(slow));
    let mut client = begin(&front);
    wait_until(|| front.metrics().accepted == 1 && front.metrics().connections == 0);
    assert!(client.rest().len() < 64 << 20);
}

#[test]
fn the_end_of_an_exchange_is_not_that_of_its_connection() {
    let mut quick = release("1.0.0", vec![says("x")]);
    quick.limits.total = Some(SHORT);
    let front = start(plan_of(quick));
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    let pause = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    pause.block_on(async { tokio::time::sleep(3 * SHORT).await });
    assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status(), 200);
}

fn with_times(change: impl FnOnce(&mut Settings)) -> Front {
    let mut settings = settings(false);
    change(&mut settings);
    Front::start(&settings, plan(says("x"))).unwrap()
}

#[test]
fn a_head_that_does_not_end_in_time_ends_the_connection() {
    let front = with_times(|settings| settings.connection.head = SHORT);
    for head in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"] {
        let mut client = Raw::to(&front);
        client.send(head);
        let answers = String::from_utf8(client.rest()).unwrap().matches("HTTP/1.1 200").count();
        assert_eq!(answers, usize::from(head.contains("\r\n\r\n")), "{head:?}");
    }
}

#[test]
fn a_connection_that_is_idle_is_closed() {
    let front = with_times(|settings| settings.connection.idle = SHORT);
    assert!(Raw::to(&front).rest().is_empty());
    let mut client = Raw::to(&front);
    assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status(), 200);
    assert!(client.rest().is_empty());
}

#[test]
fn an_idle_connection_of_http_2_is_told_that_it_ends_and_serves_what_comes_meanwhile() {
    let front = with_times(|settings| settings.connection.idle = Duration::from_secs(1));
    let mut client = connect(&front);
    assert_eq!(next_of(&mut client, GOAWAY).error(), 0);
    client.send(asks(1));
    assert_eq!(next_of(&mut client, HEADERS).stream, 1);
    // Whoever does not answer is not waited for.
    let quiet = connect(&front);
    wait_until(|| front.metrics().accepted == 2 && front.metrics().connections == 1);
    drop(client);
    wait_until(|| front.metrics().connections == 0);
    assert_eq!(goaway(&mut { quiet }), Some(0));
}

#[test]
fn a_client_that_takes_nothing_is_closed() {
    let body = vec![0; 64 << 20];
    let mut settings = settings(false);
    settings.connection.write_idle = SHORT;
    let front = Front::start(
        &settings,
        plan(handler(move |_| std::future::ready(Ok(Response::new(Body::from(body.clone())))))),
    )
    .unwrap();
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until(|| front.metrics().accepted == 1 && front.metrics().connections == 0);
    assert!(client.rest().len() < 64 << 20);
}

#[test]
fn a_connection_above_the_limit_is_turned_away() {
    let front = with_times(|settings| settings.connection.connections = 1);
    let mut first = Raw::to(&front);
    assert_eq!(first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status(), 200);
    assert!(Raw::to(&front).rest().is_empty());
    assert_eq!(front.metrics().turned_away, 1);
    drop(first);
    wait_until(|| front.metrics().connections == 0);
    assert_eq!(get(&front, "/").status(), 200);
}

#[test]
fn a_connection_above_the_limit_of_its_client_is_turned_away() {
    let front = with_times(|settings| settings.connection.client_connections = 1);
    let mut first = Raw::to(&front);
    assert_eq!(first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status(), 200);
    assert!(Raw::to(&front).rest().is_empty());
}

#[test]
fn a_client_that_holds_its_share_of_a_service_waits_and_others_do_not() {
    let (front, gate) = gated_front(|release| {
        release.limits.client_requests = Some(2);
        release.limits.client_wait = SHORT;
    });
    let (mut first, mut second) = (begin(&front), begin(&front));
    wait_until(|| front.metrics().releases[0].upstreams[0].outstanding == 2);
    assert_eq!(error(&get(&front, "/")), (429, "client-busy"));
    let mut plan = plan(gated(&gate));
    plan.services[0].releases[0].limits.client_requests = Some(2);
    plan.services[0].releases[0].limits.client_wait = PATIENCE;
    plan.trusted = vec!["127.0.0.1/32".parse().unwrap()];
    front.reload(plan).unwrap();
    let mut other = Raw::to(&front);
    other.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n");
    wait_until(|| front.metrics().releases[0].upstreams[0].outstanding == 3);
    let mut third = begin(&front);
    gate.add_permits(4);
    for client in [&mut first, &mut second, &mut third, &mut other] {
        assert_eq!(client.answer().status(), 200);
    }
    wait_until(|| in_flight(&front) == 0);
}

fn with_client(change: impl FnOnce(&mut Plan)) -> (Front, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let mut plan = plan(gated(&gate));
    change(&mut plan);
    (start(plan), gate)
}

#[test]
fn a_request_above_the_limit_of_its_client_is_429() {
    let (front, gate) = with_client(|plan| plan.client.requests = 1);
    let mut first = begin(&front);
    wait_until(|| in_flight(&front) == 1);
    let refused = get(&front, "/");
    assert_eq!(error(&refused), (429, "client-busy"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    gate.add_permits(1);
    assert_eq!(first.answer().status(), 200);
}

#[test]
fn a_client_behind_a_trusted_proxy_has_limits_of_its_own() {
    let (front, gate) = with_client(|plan| {
        plan.client.requests = 1;
        plan.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut first = Raw::to(&front);
    first.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n");
    wait_until(|| in_flight(&front) == 1);
    gate.add_permits(1);
    assert_eq!(first.answer().status(), 200);
    let mut again = Raw::to(&front);
    again.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n");
    wait_until(|| in_flight(&front) == 1);
    let refused = ask(&front, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n");
    assert_eq!(error(&refused), (429, "client-busy"));
    gate.add_permits(2);
    assert_eq!(ask(&front, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n").status(), 200);
}

#[test]
fn a_client_that_is_too_fast_is_429() {
    let (front, gate) = with_client(|plan| plan.client.rate = Some(Rate { per_second: 1, burst: 2 }));
    gate.add_permits(3);
    let statuses: Vec<u16> = (0..3).map(|_| get(&front, "/").status()).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn the_causes_of_a_handler_have_their_statuses() {
    let refuse = |make: fn() -> Cause| start(plan(handler(move |_| std::future::ready(Err(Refusal::begun(make()))))));
    for (make, expected) in [
        ((|| Cause::Busy { retry_after: Duration::from_secs(7) }) as fn() -> Cause, (503, "upstream-busy")),
        (|| Cause::Trapped("unreachable".into()), (502, "upstream-trapped")),
        (|| Cause::Timeout { limit: SHORT }, (504, "upstream-slow")),
        (|| Cause::Broken("x".into()), (502, "upstream-broken")),
        (|| Cause::Unreachable("x".into()), (502, "upstream-unreachable")),
    ] {
        let answer = get(&refuse(make), "/");
        assert_eq!(error(&answer), expected);
        assert_eq!(answer.header("retry-after"), (expected.1 == "upstream-busy").then_some("7"));
    }
}

#[test]
fn the_error_that_a_handler_names_reaches_the_client_and_that_of_an_upstream_does_not() {
    let answer = || {
        let response = Response::builder().status(500).header("x-refrain-error", "own").header("x-refrain-x", "1");
        response.body(Body::empty()).unwrap()
    };
    let own = get(&start(plan(handler(move |_| std::future::ready(Ok(answer()))))), "/");
    assert_eq!((error(&own), own.header("x-refrain-x")), ((500, "own"), None));
    let address = upstream(move |_| std::future::ready(answer()));
    assert_eq!(error(&get(&start(plan(Endpoint::Tcp(address))), "/")), (500, "-"));
}

#[test]
fn an_upstream_that_reads_slowly_holds_no_more_than_its_window() {
    // Its answer comes when the body has ended, however long that takes.
    let front = start(plan(handler(|request| async {
        let collected = request.into_body().collect().await.unwrap().to_bytes();
        Ok(Response::new(Body::from(collected.len().to_string())))
    })));
    let mut client = Raw::to(&front);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..100 {
        client.send("1\r\nx\r\n");
    }
    assert_eq!(client.send("0\r\n\r\n").answer().text(), "100");
}
