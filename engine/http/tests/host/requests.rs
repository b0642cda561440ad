//! Requests and responses of well-behaved guests, of both versions.

use std::time::Duration;

use crate::support::{P2, P3, Pieces, count, get, happens, host, logging, post, read, service, text, until};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use refrain_http_host::{Limits, Permissions, Refusal};

#[tokio::test]
async fn a_component_of_0_2_answers() {
    let service = service(P2, Limits::default());
    let response = service.handle(get("/")).await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(read(response).await.expect("a whole body"), "hello, world\n");
}

#[tokio::test]
async fn a_component_of_0_3_answers() {
    let service = service(P3, Limits::default());
    assert_eq!(text(&service, "/").await.expect("a response"), "hello, world\n");
}

/// As requests come over the wire: the target is a path, and headers tell the rest.
#[tokio::test]
async fn a_guest_is_told_by_which_scheme_and_for_which_host_it_is_asked() {
    for guest in [P2, P3] {
        let service = service(guest, Limits::default());
        for (proto, scheme) in [(None, "Http"), (Some("https"), "Https")] {
            let mut request = http::Request::get("/target").header("host", "example.com:8080");
            if let Some(proto) = proto {
                request = request.header("x-forwarded-proto", proto);
            }
            let response = service.handle(request.body(Full::<Bytes>::default()).expect("a request")).await;
            let told = read(response.expect("a response")).await.expect("a whole body");
            assert!(told.contains(&format!("{scheme})")) && told.ends_with("Some(\"example.com:8080\")"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_status_of_the_guest_is_passed_on() {
    for guest in [P2, P3] {
        let response = service(guest, Limits::default()).handle(get("/nowhere")).await.expect("a response");
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(read(response).await.expect("a whole body"), "");
    }
}

#[tokio::test]
async fn the_length_of_a_short_body_is_known_before_it_is_read() {
    use http_body::Body as _;
    let service = service(P2, Limits::default());
    // A guest that is made to wait by a busy machine ends after its head went out.
    for _ in 0..1000 {
        let response = service.handle(get("/")).await.expect("a response");
        if response.body().size_hint().exact() == Some(13) {
            return;
        }
    }
    panic!("the length was never known");
}

/// Bodies of lengths around the sizes that a guest writes at once, there and back.
async fn comes_through(bytes: u64) {
    for guest in [P2, P3] {
        let service = service(guest, Limits::default());
        let request = http::Request::post("http://test/echo").body(Pieces::new(bytes)).expect("a request");
        let response = service.handle(request).await.expect("a response");
        assert_eq!(count(response.into_body()).await.expect("a whole body"), bytes);

        let request = http::Request::post("http://test/length").body(Pieces::new(bytes)).expect("a request");
        let response = service.handle(request).await.expect("a response");
        assert_eq!(read(response).await.expect("a whole body"), bytes.to_string());

        let response = service.handle(get(&format!("/bytes?{bytes}"))).await.expect("a response");
        assert_eq!(count(response.into_body()).await.expect("a whole body"), bytes);
    }
}

#[tokio::test]
async fn a_body_of_0_bytes_comes_through() {
    comes_through(0).await;
}

#[tokio::test]
async fn a_body_of_4096_bytes_comes_through() {
    comes_through(4096).await;
}

#[tokio::test]
async fn a_body_of_4097_bytes_comes_through() {
    comes_through(4097).await;
}

#[tokio::test]
async fn a_body_of_1_mib_comes_through() {
    comes_through(1 << 20).await;
}

#[tokio::test]
async fn a_body_that_was_begun_before_the_response_was_set_comes_through() {
    // As much as the stream between guest and host holds: nobody can read on before there is a response.
    let service = service(P2, Limits::default());
    for bytes in [0, 1, 4096, 4097, 65_536] {
        let response = service.handle(get(&format!("/late-head?{bytes}"))).await.expect("a response");
        assert_eq!(count(response.into_body()).await.expect("a whole body"), bytes);
    }
}

#[tokio::test]
async fn a_body_longer_than_the_stream_before_the_response_is_set_meets_the_deadline() {
    let limits = Limits { deadline: Duration::from_millis(50), ..Limits::default() };
    let refusal = service(P2, limits).handle(get("/late-head?1000000")).await.map(drop).expect_err("a refusal");
    assert!(matches!(refusal, Refusal::Deadline { .. }), "{refusal:?}");
}

#[tokio::test]
async fn an_answer_that_ignores_the_request_body_is_complete() {
    let service = service(P2, Limits::default());
    let response = service.handle(post("/early-body", vec![0; 1 << 20])).await.expect("a response");
    assert_eq!(read(response).await.expect("a whole body"), "not read");
}

#[tokio::test]
async fn trailers_come_through_in_both_directions() {
    for (guest, target) in [(P2, "/trailers"), (P3, "/echo")] {
        let mut fields = HeaderMap::new();
        fields.insert("x-checksum", HeaderValue::from_static("17"));
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(fields))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let request = http::Request::post(format!("http://test{target}")).body(body).expect("a request");
        let response = service(guest, Limits::default()).handle(request).await.expect("a response");
        let body = response.into_body().collect().await.expect("a whole body");
        assert_eq!(body.trailers().expect("trailers")["x-checksum"], "17");
        assert_eq!(body.to_bytes(), "abc");
    }
}

#[tokio::test]
async fn a_response_to_head_has_no_body() {
    use http_body::Body as _;
    let service = service(P2, Limits::default());
    let mut request = get("/bytes?1000000");
    *request.method_mut() = Method::HEAD;
    let response = service.handle(request).await.expect("a response");
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_an_error_in_the_guest_and_no_end() {
    for guest in [P2, P3] {
        let frames = [Ok(Frame::data(Bytes::from_static(b"abc"))), Err(std::io::Error::other("reset"))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let request = http::Request::post("http://test/length").body(body).expect("a request");
        let response = service(guest, Limits::default()).handle(request).await.expect("a response");
        let text = read(response).await.expect("a whole body");
        assert!(text.starts_with("error after 3"), "{text}");
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let request = http::Request::get("/").body(Full::new(Bytes::new())).expect("a request");
    let refusal = service(P2, Limits::default()).handle(request).await.map(drop).expect_err("a refusal");
    assert_eq!((refusal.code(), refusal.status()), ("no-host", StatusCode::BAD_REQUEST));
}

#[tokio::test]
async fn guests_see_the_environment_they_are_given_and_no_other() {
    let environment = vec![("GREETING".to_owned(), "hello".to_owned())];
    let permissions = Permissions { environment, ..Permissions::default() };
    let service = host().load(P2, "test", Limits::default(), permissions).expect("the guest loads");
    assert_eq!(text(&service, "/env").await.expect("a response"), "GREETING=hello\n");
}

#[tokio::test]
async fn guests_have_no_files_and_no_sockets() {
    let service = service(P2, Limits::default());
    assert_eq!(text(&service, "/files").await.expect("a response"), "none");
    assert_eq!(text(&service, "/connect").await.expect("a response"), "denied");
}

#[tokio::test]
async fn a_guest_goes_on_after_its_response_is_complete() {
    for guest in [P2, P3] {
        let (host, lines) = logging();
        let service = host.load(guest, "test", Limits::default(), Permissions::default()).expect("the guest loads");
        assert_eq!(text(&service, "/after?20").await.expect("a response"), "answered");
        happens(|| !lines.lock().is_empty()).await;
        assert_eq!(*lines.lock(), ["Stdout after the response"]);
    }
}

#[test]
fn a_guest_that_goes_on_outlives_the_runtime_that_took_its_request() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (host, lines) = logging();
    let service = host.load(P2, "test", Limits::default(), Permissions::default()).expect("the guest loads");
    let first = runtime();
    assert_eq!(first.block_on(text(&service, "/after?300")).expect("a response"), "answered");
    drop(first);
    runtime().block_on(until(&service, |counted| counted.dropped > 0));
    assert_eq!(*lines.lock(), ["Stdout after the response"]);
}

#[tokio::test]
async fn a_request_that_no_instance_takes_is_given_back() {
    for (guest, concurrency) in [(P2, 1), (P3, 1), (P3, 16)] {
        let service = service(guest, Limits { instances: 1, concurrency, queue: 0, ..Limits::default() });
        let mut busy = Box::pin(service.handle(get("/sleep?600000")));
        let begun = until(&service, |counted| counted.instances > 0);
        tokio::select! {
            _ = &mut busy => panic!("the guest sleeps"),
            () = begun => {}
        }
        let refused = service.offer(post("/echo", "whole")).await.map(drop).expect_err("a refusal");
        assert_eq!(refused.refusal.code(), "busy");
        let request = refused.request.expect("the request");
        assert_eq!(request.uri().path(), "/echo");
        assert_eq!(request.into_body().collect().await.expect("a body").to_bytes(), "whole");
        let refused = service.offer(get("/trap")).await.map(drop).expect_err("a refusal");
        assert_eq!(refused.refusal.code(), "busy");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_begins_anew_with_each_piece_of_the_request() {
    for guest in [P2, P3] {
        let deadline = Duration::from_secs(20);
        let service = service(guest, Limits { deadline, ..Limits::default() });
        let pieces = |count: u64| {
            let clock = tokio::time::interval(Duration::from_secs(15));
            let pieces = futures_util::stream::unfold((clock, 0), move |(mut clock, sent)| async move {
                clock.tick().await;
                let frame = Frame::data(Bytes::from_static(b"x"));
                (sent < count).then_some((Ok::<_, std::io::Error>(frame), (clock, sent + 1)))
            });
            let body = StreamBody::new(Box::pin(pieces));
            http::Request::post("http://test/length").body(body).expect("a request")
        };
        let response = service.handle(pieces(10)).await.expect("a response");
        assert_eq!(read(response).await.expect("a whole body"), "10");
        // No longer than a request may be altogether.
        let limits = Limits { deadline, lifetime: Duration::from_secs(100), ..Limits::default() };
        let service = crate::support::service(guest, limits);
        let refusal = service.handle(pieces(1000)).await.map(drop).expect_err("a refusal");
        assert!(matches!(refusal, Refusal::Deadline { .. }), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_guest_that_goes_on_for_too_long_is_dropped() {
    let (host, lines) = logging();
    let limits = Limits { afterwards: Duration::from_millis(10), ..Limits::default() };
    let service = host.load(P2, "test", limits, Permissions::default()).expect("the guest loads");
    assert_eq!(text(&service, "/after?60000").await.expect("a response"), "answered");
    until(&service, |counted| counted.dropped > 0).await;
    assert!(lines.lock().is_empty());
}
