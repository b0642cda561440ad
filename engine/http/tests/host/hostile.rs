//! Guests that trap, hang, take memory or write for ever: their caller gets the right answer, others notice nothing.

use std::time::Duration;

use crate::support::{
    P2, P3, Pieces, count, dropped, get, host, host_with, logging, read, service, settings, text, until,
};
use http::StatusCode;
use http_body_util::BodyExt as _;
use refrain_http_host::{BodyError, Limits, Permissions, Refusal, Reuse, Service, Settings};

const HOUR: Duration = Duration::from_secs(3600);

async fn refused(service: &Service, target: &str) -> Refusal {
    service.handle(get(target)).await.map(drop).expect_err("a refusal")
}

async fn broken(service: &Service, target: &str) -> BodyError {
    let response = service.handle(get(target)).await.expect("a response");
    response.into_body().collect().await.map(drop).expect_err("a body that breaks off")
}

#[tokio::test]
async fn a_trap_before_the_head_is_a_refusal() {
    for guest in [P2, P3] {
        let service = service(guest, Limits::default());
        let refusal = refused(&service, "/trap").await;
        assert!(matches!(refusal, Refusal::Trapped { word: "unreachable", .. }), "{refusal:?}");
        assert_eq!(refusal.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!refusal.to_string().contains("wasm"), "{refusal}");
        assert!(refusal.detail().expect("a stack").contains("backtrace"), "{refusal:?}");
        assert_eq!(text(&service, "/").await.expect("a response"), "hello, world\n");
    }
}

#[tokio::test]
async fn a_trap_after_the_head_breaks_the_body_off() {
    for guest in [P2, P3] {
        let service = service(guest, Limits::default());
        let error = match service.handle(get("/trap-in-body")).await {
            Ok(response) => response.into_body().collect().await.map(drop).expect_err("a body that breaks off"),
            // The guest may trap before its head could be passed on.
            Err(Refusal::Trapped { .. }) => continue,
            Err(other) => panic!("{other:?}"),
        };
        assert!(matches!(error, BodyError::Trapped { word: "unreachable", .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_declared_is_never_whole() {
    for reuse in [Reuse::FRESH, Reuse::between(100, 100)] {
        let service = service(P2, Limits { reuse, ..Limits::default() });
        for shape in ["5,500,leave", "500,5,leave", "5,500,drop", "500,5,drop", "500,5,finish", "5,500,finish"] {
            let error = broken(&service, &format!("/shape?{shape}")).await;
            assert!(matches!(error, BodyError::Broken { .. }), "{shape}: {error:?}");
        }
        let response = service.handle(get("/shape?500,500,finish")).await.expect("a response");
        assert_eq!(count(response.into_body()).await.expect("a whole body"), 500);
    }
}

#[tokio::test]
async fn a_connection_carries_no_more_of_a_response_than_was_declared() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let service = service(P2, Limits::default());
    let (mut client, server) = tokio::io::duplex(65_536);
    let answer = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move { service.handle(request).await }
    });
    let server = hyper_util::rt::TokioIo::new(server);
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(server, answer));
    client.write_all(b"GET /shape?5,500,leave HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("sent");
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.expect("read");
    let sent = all.iter().filter(|byte| **byte == b'x').count();
    assert!(sent < 5, "{}", String::from_utf8_lossy(&all));
}

#[tokio::test]
async fn a_body_that_is_not_finished_is_broken_off_and_its_instance_is_not_kept() {
    for reuse in [Reuse::FRESH, Reuse::between(100, 100)] {
        let service = service(P2, Limits { reuse, ..Limits::default() });
        for shape in
            ["-,13,drop", "13,13,drop", "-,0,drop", "-,13,leave", "13,13,leave", "-,0,leave", "-,1000000,leave"]
        {
            let error = broken(&service, &format!("/shape?{shape}")).await;
            assert!(matches!(error, BodyError::Broken { .. }), "{shape}: {error:?}");
        }
        let left = "/shape?-,13,leave";
        let made = service.counted().instances;
        broken(&service, left).await;
        broken(&service, left).await;
        assert!(service.counted().instances > made);
        let response = service.handle(get("/shape?-,13,finish")).await.expect("a response");
        assert_eq!(count(response.into_body()).await.expect("a whole body"), 13);
    }
}

#[tokio::test]
async fn a_guest_that_ends_without_a_response_is_a_refusal() {
    let refusal = refused(&service(P2, Limits::default()), "/silent").await;
    assert_eq!((refusal.code(), refusal.status()), ("no-response", StatusCode::BAD_GATEWAY));
}

#[tokio::test]
async fn an_error_code_of_the_guest_is_a_refusal() {
    let refusal = refused(&service(P3, Limits::default()), "/error").await;
    assert_eq!((refusal.code(), refusal.status()), ("failed", StatusCode::BAD_GATEWAY));
    assert!(refusal.detail().expect("a code").contains("LoopDetected"), "{refusal:?}");
}

#[tokio::test]
async fn a_guest_that_hangs_meets_its_deadline() {
    let limits = Limits { deadline: Duration::from_millis(50), ..Limits::default() };
    for (guest, target) in [(P2, "/sleep?600000"), (P3, "/sleep?600000"), (P2, "/spin"), (P3, "/spin")] {
        let service = service(guest, limits.clone());
        let refusal = refused(&service, target).await;
        assert!(matches!(refusal, Refusal::Deadline { .. }), "{target}: {refusal:?}");
        assert_eq!(refusal.status(), StatusCode::GATEWAY_TIMEOUT);
        // On a busy machine the deadline may come before there is an instance.
        until(&service, |counted| counted.dropped >= counted.instances).await;
    }
}

#[tokio::test]
async fn a_guest_that_spins_meets_its_limit_of_processor_time() {
    // The background has the lowest priority: on a busy machine 20 ms may take their time.
    let deadline = Duration::from_secs(600);
    let limits = Limits { cpu: Some(Duration::from_millis(20)), deadline, ..Limits::default() };
    for guest in [P2, P3] {
        let service = service(guest, limits.clone());
        let refusal = refused(&service, "/spin").await;
        assert!(matches!(refusal, Refusal::Cpu { .. }), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_guest_that_pauses_before_its_share_is_used_up_meets_its_limit_of_processor_time() {
    // Less than what leads to the background, where 20 ms may take their time.
    let deadline = Duration::from_secs(600);
    let limits = Limits { cpu: Some(Duration::from_millis(8)), deadline, ..Limits::default() };
    for guest in [P2, P3] {
        let refusal = refused(&service(guest, limits.clone()), "/naps?1000000").await;
        assert!(matches!(refusal, Refusal::Cpu { .. }), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_guest_that_works_much_with_pauses_goes_to_the_background() {
    for guest in [P2, P3] {
        let service = service(guest, Limits { deadline: Duration::from_secs(600), ..Limits::default() });
        let moved = async {
            until(&service, |counted| counted.to_background > 0).await;
        };
        tokio::select! {
            refusal = refused(&service, "/naps?1000000") => panic!("{refusal:?}"),
            () = moved => {}
        }
    }
    assert_eq!(text(&service(P2, Limits::default()), "/naps?20").await.expect("a response"), "rested");
}

#[tokio::test]
async fn a_guest_that_waits_in_the_background_ends_when_its_caller_goes() {
    let limits = Limits { instances: 1, reuse: Reuse::between(1000, 1000), ..Limits::default() };
    let service = service(P3, Limits { deadline: Duration::from_secs(600), ..limits });
    let mut waiting = Box::pin(service.handle(get("/sleep?600000")));
    let moved = async {
        while service.counted().to_background == 0 {
            text(&service, "/naps?20").await.expect("a response");
        }
    };
    tokio::select! {
        _ = &mut waiting => panic!("the guest sleeps"),
        () = moved => {}
    }
    drop(waiting);
    until(&service, |counted| counted.dropped > 0).await;
}

#[tokio::test]
async fn a_guest_that_spins_after_its_head_breaks_the_body_off() {
    let limits = Limits { cpu: Some(Duration::from_millis(20)), ..Limits::default() };
    let error = broken(&service(P2, limits), "/spin-in-body").await;
    assert!(matches!(error, BodyError::Cpu), "{error:?}");
}

#[tokio::test]
async fn a_guest_that_runs_long_goes_to_the_background_and_answers() {
    let service = service(P2, Limits::default());
    // On a busy machine 30 ms of the clock may be less than 1 ms of work.
    while service.counted().to_background == 0 {
        assert_eq!(text(&service, "/busy?30").await.expect("a response"), "worked");
    }
}

#[tokio::test]
async fn beside_guests_that_spin_others_are_answered_on_the_same_thread() {
    let host = host();
    let limits = Limits { deadline: Duration::from_millis(200), ..Limits::default() };
    let spinner = host.load(P2, "spinner", limits, Permissions::default()).expect("the guest loads");
    let neighbour = host.load(P2, "neighbour", Limits::default(), Permissions::default()).expect("the guest loads");
    let spinning = futures_util::future::join_all((0..4).map(|_| refused(&spinner, "/spin")));
    let answers = async {
        for _ in 0..100 {
            assert_eq!(text(&neighbour, "/").await.expect("a response"), "hello, world\n");
        }
    };
    let (refusals, ()) = futures_util::future::join(spinning, answers).await;
    assert!(refusals.iter().all(|refusal| refusal.code() == "deadline"), "{refusals:?}");
}

#[tokio::test]
async fn memory_stops_at_the_limit() {
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    let service = service(P2, limits);
    assert_eq!(text(&service, "/grow?8000000").await.expect("a response"), "8000000");
    assert_eq!(text(&service, "/grow?17000000").await.expect("a response"), "refused");
}

#[tokio::test]
async fn instances_of_all_services_together_grow_as_far_as_their_host_lets_them() {
    let host = host_with(Settings { memory_bytes: 64 << 20, ..settings() });
    let load = |name, limits| host.load(P2, name, limits, Permissions::default()).expect("the guest loads");
    // Its instance keeps what it took until its second request is over.
    let keeps = load("keeps", Limits { reuse: Reuse::between(2, 2), idle: HOUR, ..Limits::default() });
    let other = load("other", Limits::default());
    assert_eq!(text(&other, "/grow?60000000").await.expect("a response"), "refused", "an eighth is for others");
    assert_eq!(text(&keeps, "/grow?40000000").await.expect("a response"), "40000000");
    assert_eq!(text(&other, "/grow?30000000").await.expect("a response"), "refused");
    assert_eq!(text(&other, "/grow?4000000").await.expect("a response"), "4000000");
    text(&keeps, "/").await.expect("a response");
    dropped(&keeps, 1).await;
    assert_eq!(text(&other, "/grow?30000000").await.expect("a response"), "30000000");
}

#[tokio::test]
async fn an_endless_body_stops_at_the_limit_of_bytes() {
    let limits = Limits { response_body_bytes: 1 << 20, ..Limits::default() };
    for guest in [P2, P3] {
        let error = broken(&service(guest, limits.clone()), "/endless").await;
        assert!(matches!(error, BodyError::TooLong { limit: 1_048_576 }), "{error:?}");
    }
}

#[tokio::test]
async fn a_response_body_at_the_limit_is_whole_and_one_byte_more_is_not() {
    let limits = Limits { response_body_bytes: 10_000, ..Limits::default() };
    let service = service(P2, limits);
    let response = service.handle(get("/bytes?10000")).await.expect("a response");
    assert_eq!(count(response.into_body()).await.expect("a whole body"), 10_000);
    assert!(matches!(broken(&service, "/bytes?10001").await, BodyError::TooLong { limit: 10_000 }));
}

#[tokio::test]
async fn an_endless_body_stops_at_the_limit_of_time() {
    let limits = Limits { lifetime: Duration::from_millis(50), ..Limits::default() };
    for guest in [P2, P3] {
        let service = service(guest, limits.clone());
        let response = service.handle(get("/endless")).await.expect("a response");
        let mut body = response.into_body();
        let error = loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("an endless body ended"),
            }
        };
        assert!(matches!(error, BodyError::Lifetime { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_request_body_at_the_limit_is_taken_and_one_byte_more_is_refused() {
    let limits = Limits { request_body_bytes: 100_000, ..Limits::default() };
    for guest in [P2, P3] {
        let service = service(guest, limits.clone());
        let request = |bytes| http::Request::post("http://test/length").body(Pieces::new(bytes)).expect("a request");
        let response = service.handle(request(100_000)).await.expect("a response");
        assert_eq!(read(response).await.expect("a whole body"), "100000");
        let refusal = service.handle(request(100_001)).await.map(drop).expect_err("a refusal");
        assert!(matches!(refusal, Refusal::RequestBody { limit: 100_000 }), "{refusal:?}");
        assert_eq!(refusal.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}

#[tokio::test]
async fn a_declared_length_beyond_the_limit_is_refused_without_an_instance() {
    let limits = Limits { request_body_bytes: 10, ..Limits::default() };
    let service = service(P2, limits);
    let refusal =
        service.handle(crate::support::post("/length", "12345678901")).await.map(drop).expect_err("a refusal");
    assert_eq!(refusal.code(), "request-body-too-large");
    assert_eq!(service.counted().instances, 0);
}

#[tokio::test]
async fn request_headers_at_the_limit_are_taken_and_one_byte_more_is_refused() {
    let service = service(P2, Limits { header_bytes: 1000, ..Limits::default() });
    let with = |bytes: usize| {
        let mut request = get("/");
        request.headers_mut().insert("x-long", "x".repeat(bytes - "x-long".len()).parse().expect("a value"));
        request
    };
    service.handle(with(1000)).await.map(drop).expect("a response");
    let refusal = service.handle(with(1001)).await.map(drop).expect_err("a refusal");
    assert!(matches!(refusal, Refusal::RequestHeaders { limit: 1000 }), "{refusal:?}");
    assert_eq!(refusal.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn lines_of_the_log_are_cut_and_counted() {
    let (host, lines) = logging();
    let limits = Limits { log_line_bytes: 5, log_lines: 1, ..Limits::default() };
    let service = host.load(P2, "test", limits, Permissions::default()).expect("the guest loads");
    assert_eq!(text(&service, "/log?123456").await.expect("a response"), "logged");
    assert_eq!(*lines.lock(), ["Stdout 12345", "Host 1 lines beyond 1 per request were dropped"]);
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_guest() {
    for (guest, target) in [(P2, "/sleep?600000"), (P3, "/sleep?600000"), (P2, "/spin"), (P3, "/spin")] {
        let service = service(guest, Limits::default());
        let running = async {
            until(&service, |counted| counted.instances > 0).await;
        };
        let handled = Box::pin(service.handle(get(target)));
        let first = futures_util::future::select(handled, Box::pin(running)).await;
        assert!(matches!(first, futures_util::future::Either::Right(_)));
        drop(first);
        until(&service, |counted| counted.dropped > 0).await;
    }
}

#[tokio::test]
async fn a_caller_that_drops_the_body_ends_the_guest() {
    for guest in [P2, P3] {
        let service = service(guest, Limits::default());
        let mut response = service.handle(get("/endless")).await.expect("a response");
        response.body_mut().frame().await.expect("a frame").expect("a piece of the body");
        assert_eq!(service.counted().dropped, 0);
        drop(response);
        until(&service, |counted| counted.dropped > 0).await;
    }
}

#[tokio::test]
async fn a_client_that_closes_its_connection_ends_the_guest() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    for (guest, target) in [(P2, "/endless"), (P3, "/endless"), (P2, "/sleep?600000"), (P3, "/sleep?600000")] {
        let service = service(guest, Limits::default());
        let (mut client, server) = tokio::io::duplex(1024);
        let handle = service.clone();
        let answer = hyper::service::service_fn(move |request| {
            let handle = handle.clone();
            async move { handle.handle(request).await }
        });
        let server = hyper_util::rt::TokioIo::new(server);
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(server, answer));
        client.write_all(format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await.expect("sent");
        if target == "/endless" {
            let mut some = [0; 100];
            client.read_exact(&mut some).await.expect("a part of the response");
            assert!(some.starts_with(b"HTTP/1.1 200 OK"));
        } else {
            until(&service, |counted| counted.instances > 0).await;
        }
        drop(client);
        until(&service, |counted| counted.dropped > 0).await;
    }
}
