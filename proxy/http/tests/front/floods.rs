//! The floods that HTTP/2 is known for: each is refused or held back, its client is told why, and others notice nothing.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::StreamBody;
use hyper::body::Frame;
use refrain_front::{Body, Front};

use crate::frames::*;
use crate::support::*;

/// More than any flood may send.
const MOST: usize = 200_000;

/// Another client is served.
fn is_well(front: &Front) {
    assert_eq!(get(front, "/").text(), "hello");
}

fn ends_with(expected: u32, next: impl FnMut(usize) -> Vec<u8>) {
    let front = start(plan(says("hello")));
    assert_eq!(flood(&front, MOST, next), Some(expected));
    is_well(&front);
    wait_until(|| front.metrics().connections == 0 && front.metrics().releases[0].in_flight == 0);
}

fn stream(number: usize) -> u32 {
    u32::try_from(2 * number + 1).unwrap()
}

/// CVE-2023-44487.
#[test]
fn streams_that_are_reset_as_soon_as_they_begin() {
    ends_with(CALM, |number| {
        let stream = stream(number);
        [asks(stream), frame(RESET, 0, stream, &CANCEL.to_be_bytes())].concat()
    });
}

/// The same by a client that has the other side reset them: CVE-2025-8671.
#[test]
fn streams_that_the_other_side_is_made_to_reset() {
    ends_with(CALM, |number| {
        let stream = stream(number);
        let too_far = frame(WINDOW, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
        [frame(HEADERS, END_HEADERS, stream, &head(b"POST", &[])), too_far].concat()
    });
}

/// CVE-2024-27316 and its kin.
#[test]
fn a_head_that_never_ends() {
    ends_with(CALM, |number| match number {
        0 => frame(HEADERS, 0, 1, &head(b"GET", &[])),
        _ => frame(CONTINUATION, 0, 1, &fields(&[(b"x", b"y")])),
    });
}

#[test]
fn a_head_that_never_ends_and_has_nothing_in_it() {
    ends_with(CALM, |number| match number {
        0 => frame(HEADERS, 0, 1, &[]),
        _ => frame(CONTINUATION, 0, 1, &[]),
    });
}

/// CVE-2019-9518.
#[test]
fn data_without_a_byte() {
    ends_with(CALM, |number| match number {
        0 => frame(HEADERS, END_HEADERS, 1, &head(b"POST", &[])),
        _ => frame(DATA, 0, 1, &[]),
    });
}

/// One line in the table of the connection, named over and over: a small frame is a large head.
#[test]
fn a_head_that_is_large_only_when_it_is_unpacked() {
    let line = [&[0x40, 1, b'x'], &number(4000, 7)[..], &[b'y'; 4000]].concat();
    let bomb = [head(b"GET", &[]), line, vec![0xbe; 8000]].concat();
    ends_with(CALM, |number| frame(HEADERS, END, stream(number), &bomb));
}

/// Settings and pings have to be answered, so that a client that reads nothing could make answers pile up.
#[test]
fn settings_and_pings_of_a_client_that_reads_nothing() {
    for (kind, payload) in [(SETTINGS, &[][..]), (PING, &[0; 8][..])] {
        let front = start(plan(says("hello")));
        let mut client = connect(&front);
        client.0.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let frames = frame(kind, 0, 0, payload).repeat(1000);
        let mut sent: usize = 0;
        while let Ok(written) = client.0.write(&frames) {
            sent += written;
            assert!(sent < 64 << 20, "it takes more than 64 MiB");
        }
        is_well(&front);
    }
}

#[test]
fn settings_and_pings_of_a_client_that_reads_are_answered() {
    let front = start(plan(says("hello")));
    let mut client = connect(&front);
    for _ in 0..100 {
        client.send(frame(SETTINGS, 0, 0, &[]).repeat(10)).send(frame(PING, 0, 0, &[0; 8]).repeat(10));
        assert!(ping(&mut client).len() >= 20);
    }
    is_well(&front);
}

#[test]
fn priorities_and_frames_of_no_known_kind_change_nothing() {
    let front = start(plan(says("hello")));
    let mut client = connect(&front);
    for number in 0..10_000 {
        client.send(frame(PRIORITY, 0, stream(number), &[0, 0, 0, 0, 1]));
        client.send(frame(0xfa, 0xff, stream(number), b"whatever"));
    }
    client.send(asks(stream(20_000)));
    assert_eq!(next_of(&mut client, DATA).payload, b"hello");
}

#[test]
fn windows_that_do_not_grow_or_grow_too_far() {
    let most = 0x7fff_ffff_u32.to_be_bytes();
    for (frames, expected) in [
        (frame(WINDOW, 0, 0, &[0; 4]), PROTOCOL),
        ([frame(WINDOW, 0, 0, &most), frame(WINDOW, 0, 0, &most)].concat(), FLOW),
        // A window at the start that is larger than there can be; h2 has this code for it.
        (frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), PROTOCOL),
    ] {
        let front = start(plan(says("hello")));
        let mut client = connect(&front);
        client.send(frames);
        assert_eq!(goaway(&mut client), Some(expected));
        is_well(&front);
    }
}

#[test]
fn a_stream_whose_window_grows_too_far_ends_alone() {
    let front = start(plan(echoes()));
    let mut client = connect(&front);
    let most = 0x7fff_ffff_u32.to_be_bytes();
    client.send(frame(HEADERS, END_HEADERS, 1, &head(b"POST", &[]))).send(frame(WINDOW, 0, 1, &most));
    let reset = next_of(&mut client, RESET);
    assert_eq!((reset.stream, reset.error()), (1, FLOW));
    client.send(asks(3));
    assert_eq!(next_of(&mut client, HEADERS).stream, 3);
}

#[test]
fn data_beyond_the_window_ends_its_stream_or_the_connection() {
    // The body of a request that was dropped has no window: it is read and forgotten.
    let keeps = handler(|request| async move {
        let _kept = request;
        std::future::pending().await
    });
    let front = start(plan(keeps));
    let mut client = connect(&front);
    client.send(frame(HEADERS, END_HEADERS, 1, &head(b"POST", &[])));
    for _ in 0..256 {
        // The connection may be closed before all of it is out.
        let _ = client.0.write_all(&frame(DATA, 0, 1, &[0; 16_384]));
    }
    let ends = std::iter::from_fn(|| next(&mut client.0)).find(|came| matches!(came.kind, RESET | GOAWAY));
    assert_eq!(ends.map(|came| came.error()), Some(FLOW));
}

/// `SETTINGS_INITIAL_WINDOW_SIZE` of 0: not a byte of an answer may come.
const SHUT: &[u8] = &[0, 4, 0, 0, 0, 0];

#[test]
fn a_stream_whose_window_stays_shut_is_ended_and_the_connection_is_not() {
    let mut settings = settings(false);
    settings.connection.write_idle = Duration::from_millis(50);
    let front = Front::start(&settings, plan(says("hello"))).unwrap();
    let mut client = connect_with(&front, SHUT);
    client.send(asks(1));
    let reset = next_of(&mut client, RESET);
    assert_eq!((reset.stream, reset.error()), (1, CANCEL));
    wait_until(|| front.metrics().releases[0].in_flight == 0);
    ping(&mut client);
}

#[test]
fn the_whole_exchange_has_an_end_though_the_window_is_shut() {
    let mut release = release("1.0.0", vec![says("hello")]);
    release.limits.total = Some(Duration::from_millis(50));
    let front = start(plan_of(release));
    let mut client = connect_with(&front, SHUT);
    client.send(asks(1));
    let reset = next_of(&mut client, RESET);
    assert_eq!((reset.stream, reset.error()), (1, CANCEL));
}

/// Answers without an end, and how many bytes of them were asked for.
fn endless() -> (refrain_front::Endpoint, Arc<AtomicU64>) {
    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    let piece = Bytes::from(vec![0; 16 * 1024]);
    let endpoint = handler(move |_| {
        let (made, piece) = (Arc::clone(&counted), piece.clone());
        let frames = futures_util::stream::repeat_with(move || {
            made.fetch_add(piece.len() as u64, Relaxed);
            Ok(Frame::data(piece.clone()))
        });
        std::future::ready(Ok(Response::new(Body::stream(StreamBody::new(frames)))))
    });
    (endpoint, made)
}

/// Every stream gets its piece and no more: what is kept is as large as the streams are many.
#[test]
fn large_answers_to_a_client_that_opens_no_window_are_not_made() {
    let (endpoint, made) = endless();
    let front = start(plan(endpoint));
    let mut client = connect_with(&front, SHUT);
    client.send((0..128).flat_map(|number| asks(stream(number))).collect::<Vec<_>>());
    wait_until(|| front.metrics().releases[0].in_flight == 128);
    for _ in 0..128 {
        assert_eq!(next_of(&mut client, HEADERS).flags & END_STREAM, 0);
    }
    ping(&mut client);
    assert!(made.load(Relaxed) <= 128 * 2 * 16 * 1024, "{} bytes", made.load(Relaxed));
}

/// The windows are wide open, and the socket is not read.
#[test]
fn large_answers_to_a_client_that_does_not_read_are_bounded() {
    let (endpoint, made) = endless();
    let mut settings = settings(false);
    settings.connection.write_idle = Duration::from_secs(1);
    let front = Front::start(&settings, plan(endpoint)).unwrap();
    let wide = 0x7fff_0000_u32.to_be_bytes();
    let mut client = connect_with(&front, &[&[0, 4], &wide[..]].concat());
    client.send(frame(WINDOW, 0, 0, &wide));
    client.send((0..128).flat_map(|number| asks(stream(number))).collect::<Vec<_>>());
    wait_until(|| front.metrics().accepted == 1 && front.metrics().connections == 0);
    assert!(made.load(Relaxed) < 64 << 20, "{} bytes", made.load(Relaxed));
    is_well_otherwise(&front);
}

fn is_well_otherwise(front: &Front) {
    let mut other = Raw::to(front);
    assert_eq!(other.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").head().status(), 200);
}

#[test]
fn a_stream_above_the_limit_is_refused_and_many_of_them_end_the_connection() {
    let front = start(plan(echoes()));
    let mut client = connect(&front);
    // The first settings say how many there may be; a client that has not read them yet may still send more.
    for number in 0..128 {
        client.send(frame(HEADERS, END_HEADERS, stream(number), &head(b"POST", &[])));
    }
    ping(&mut client);
    client.send(asks(stream(128)));
    let reset = next_of(&mut client, RESET);
    assert_eq!((reset.stream, reset.error()), (stream(128), REFUSED));
    for number in 129..129 + 1000 {
        if client.0.write_all(&asks(stream(number))).is_err() {
            break;
        }
    }
    assert_eq!(goaway(&mut client), Some(CALM));
    wait_until(|| front.metrics().releases[0].in_flight == 0);
}

#[test]
fn ten_thousand_streams_one_after_the_other_leave_nothing_behind() {
    let front = start(plan(says("hello")));
    let mut client = connect(&front);
    for number in 0..10_000 {
        client.send(asks(stream(number)));
        assert_eq!(next_of(&mut client, DATA).stream, stream(number));
    }
    wait_until(|| front.metrics().releases[0].answers[1] == 10_000);
    assert_eq!(front.metrics().releases[0].in_flight, 0);
}

/// As many as there may be, none of which sends its body.
#[test]
fn streams_that_are_begun_and_left_are_ended() {
    let mut release = release("1.0.0", vec![tells()]);
    release.limits.body_idle = Duration::from_millis(200);
    let front = start(plan_of(release));
    let mut client = connect(&front);
    for number in 0..128 {
        client.send(frame(HEADERS, END_HEADERS, stream(number), &head(b"POST", &[])));
    }
    let mut answered = 0;
    while answered < 128 {
        let came = next(&mut client.0).expect("the connection goes on");
        answered += usize::from(came.kind == HEADERS);
    }
    wait_until(|| front.metrics().releases[0].in_flight == 0);
    assert_eq!(front.metrics().releases[0].answers[3], 128, "each is told that it is late");
    ping(&mut client);
}

#[test]
fn a_frame_of_every_size_that_is_not_allowed_ends_the_connection() {
    for frames in [
        frame(DATA, 0, 1, &[0; 16_385]),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(PING, 0, 0, &[0; 7]),
        frame(WINDOW, 0, 0, &[0; 3]),
    ] {
        let front = start(plan(says("hello")));
        let mut client = connect(&front);
        client.send(frames);
        let error = goaway(&mut client);
        assert!(matches!(error, Some(SIZE | PROTOCOL)), "{error:?}");
    }
}
