//! Requests that one front end sends to another over streams of their own.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use refrain_front::{
    Body, BodyError, Cause, Dial, Dialling, Endpoint, Front, Inner, InnerStream, Link, Plan, Refusal, Settings,
};

use crate::support::*;

/// Streams to an address, which are counted.
#[derive(Debug)]
struct Way {
    address: SocketAddr,
    made: AtomicUsize,
    is_up: AtomicBool,
}

impl Dial for Way {
    fn dial(&self) -> Dialling {
        self.made.fetch_add(1, Relaxed);
        let address = self.address;
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn InnerStream>)
        })
    }

    fn is_up(&self) -> bool {
        self.is_up.load(Relaxed)
    }
}

fn way(address: SocketAddr) -> Arc<Way> {
    Arc::new(Way { address, made: AtomicUsize::new(0), is_up: AtomicBool::new(true) })
}

/// A front end that others reach, and nobody else: its listener, and streams of it that are open.
struct Far {
    front: Arc<Mutex<Option<Front>>>,
    address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Far {
    fn start(plan: Plan, inner: Inner) -> Self {
        let front = Front::start(&Settings { threads: 2, inner, ..Settings::default() }, plan).unwrap();
        let front = Arc::new(Mutex::new(Some(front)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, streams) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (serving, kept) = (Arc::clone(&front), Arc::clone(&streams));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                kept.lock().unwrap().push(stream.try_clone().unwrap());
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                if let Some(front) = &*serving.lock().unwrap() {
                    let _ = front.serve_inner(stream);
                }
            }
        });
        Self { front, address, streams }
    }

    fn of(endpoint: Endpoint) -> Self {
        Self::start(plan(endpoint), Inner::default())
    }

    /// Breaks every stream, as the end of its process would.
    fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn served(&self) -> u64 {
        self.front.lock().unwrap().as_ref().map_or(0, |front| front.metrics().releases[0].inner)
    }
}

/// A front end whose only upstream is that one.
fn near(far: &Far) -> Front {
    start(plan(Endpoint::Inner(way(far.address))))
}

/// One whose first upstream is that one, and whose second answers here, as soon as the first is tried.
fn near_with_other(dial: Arc<Way>, patience: Duration) -> Front {
    let mut release = release("1.0.0", vec![Endpoint::Inner(dial), upstream_that_says("other")]);
    release.limits.connect = patience;
    Front::start(&Settings { inner: Inner { patience, ..Inner::default() }, ..settings(false) }, plan_of(release))
        .unwrap()
}

fn upstream_that_says(text: &'static str) -> Endpoint {
    Endpoint::Tcp(upstream(move |_| std::future::ready(Response::new(Body::from(text)))))
}

#[test]
fn a_handler_behind_the_hop_gets_what_one_in_this_process_gets() {
    let far = Far::of(tells());
    let (behind, here) = (near(&far), start(plan(tells())));
    let head = "X-Request-Id: 0123456789abcdef\r\nX-Refrain-Target: test/other@2.0.0\r\nTE: trailers\r\n\
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nCookie: a=b\r\n";
    let text = format!("POST /a/b?c=d HTTP/1.1\r\nHost: test:80\r\n{head}Content-Length: 4\r\n\r\nbody");
    let lines = |front: &Front| {
        let answer = ask(front, &text);
        assert_eq!(answer.status(), 200, "{answer:?}");
        let mut lines: Vec<String> = answer.text().lines().map(str::to_owned).collect();
        // A span of its own for each.
        lines.iter_mut().filter(|line| line.starts_with("traceparent")).for_each(|line| line.truncate(50));
        lines.sort();
        lines
    };
    assert_eq!(lines(&behind), lines(&here));
    assert_eq!(far.served(), 1);
}

#[test]
fn bodies_and_trailers_pass_both_ways_whatever_their_size() {
    let far = Far::of(echoes());
    let front = near(&far);
    block_on(async {
        let mut client = http2(address(&front)).await;
        for bytes in [0, 1, 16 * 1024, 1 << 20, 9 << 20] {
            let sent = Bytes::from((0..bytes).map(|at: usize| (at * 31 % 251) as u8).collect::<Vec<_>>());
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from(bytes));
            let frames = [Ok::<_, BodyError>(Frame::data(sent.clone())), Ok(Frame::trailers(trailers))];
            let body = Body::stream(StreamBody::new(futures_util::stream::iter(frames)));
            let answer = client.send_request(request("POST", &format!("http://test/{bytes}"), body)).await.unwrap();
            assert_eq!(answer.status(), 200);
            let whole = answer.into_body().collect().await.unwrap();
            assert_eq!(whole.trailers().unwrap()["x-sum"], HeaderValue::from(bytes));
            assert!(whole.to_bytes() == sent, "{bytes} bytes came back different");
        }
    });
}

#[test]
fn many_requests_share_one_connection_of_each_loop() {
    let far = Far::of(says("far"));
    let dial = way(far.address);
    let front = start(plan(Endpoint::Inner(dial.clone())));
    for _ in 0..100 {
        assert_eq!(get(&front, "/").text(), "far");
    }
    assert!((1..=2).contains(&dial.made.load(Relaxed)), "{dial:?}");
    assert_eq!(far.served(), 100);
}

/// An answer without an end.
fn endless() -> Body {
    let frames = futures_util::stream::repeat_with(|| Ok::<_, BodyError>(Frame::data(Bytes::from(vec![7; 16 * 1024]))));
    Body::stream(StreamBody::new(frames))
}

#[test]
fn clients_that_take_nothing_hold_up_nobody_else() {
    let far = Far::of(handler(|request| async move {
        Ok(Response::new(if request.uri().path() == "/endless" { endless() } else { Body::from("short") }))
    }));
    let front = near(&far);
    let idle: Vec<Raw> = (0..40)
        .map(|_| {
            let mut client = Raw::to(&front);
            client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").head();
            client
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(get(&front, "/").text(), "short");
    }
    assert_eq!(front.metrics().releases[0].in_flight, 40);
    drop(idle);
    wait_until(|| front.metrics().releases[0].in_flight == 0);
    let outstanding = || far.front.lock().unwrap().as_ref().unwrap().metrics().releases[0].upstreams[0].outstanding;
    wait_until(|| outstanding() == 0);
}

#[test]
fn a_request_whose_client_goes_away_is_given_up_at_the_far_end() {
    let dropped = Arc::new(AtomicBool::new(false));
    struct Tell(Arc<AtomicBool>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let (told, begun) = (Arc::clone(&dropped), Arc::new(AtomicBool::new(false)));
    let begins = Arc::clone(&begun);
    let far = Far::of(handler(move |_| {
        let tell = Tell(Arc::clone(&told));
        begins.store(true, Relaxed);
        async move {
            std::future::pending::<()>().await;
            drop(tell);
            Ok(Response::new(Body::empty()))
        }
    }));
    let front = near(&far);
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until(|| begun.load(Relaxed));
    drop(client);
    wait_until(|| dropped.load(Relaxed));
}

#[test]
fn why_there_is_no_answer_is_told_as_if_it_were_here() {
    let far = Far::of(handler(|request| async move {
        let broken = || Box::<dyn std::error::Error + Send + Sync>::from("x");
        Err(Refusal::begun(match request.uri().path() {
            "/busy" => Cause::Busy { retry_after: Duration::from_secs(7) },
            "/trapped" => Cause::Trapped("unreachable".into()),
            "/timeout" => Cause::Timeout { limit: Duration::from_secs(1) },
            _ => Cause::Broken(broken()),
        }))
    }));
    let front = near(&far);
    for (path, status, code) in [
        ("/busy", 503, "upstream-busy"),
        ("/trapped", 502, "upstream-trapped"),
        ("/timeout", 504, "upstream-slow"),
        ("/broken", 502, "upstream-broken"),
    ] {
        let answer = get(&front, path);
        assert_eq!((answer.status(), answer.header("x-refrain-error")), (status, Some(code)), "{path}");
    }
    assert_eq!(get(&front, "/busy").header("retry-after"), Some("7"));
}

#[test]
fn answers_of_a_guest_cannot_pass_for_refusals_and_its_errors_are_believed() {
    let far = Far::of(handler(|_| async {
        let response = Response::builder().header("x-refrain-refusal", "untouched busy 1");
        Ok(response.header("x-refrain-error", "own-code").body(Body::from("an answer")).unwrap())
    }));
    let answer = get(&near(&far), "/");
    assert_eq!(
        (answer.status(), answer.text(), answer.header("x-refrain-error")),
        (200, "an answer", Some("own-code"))
    );
    assert_eq!(answer.header("x-refrain-refusal"), None);
}

#[test]
fn what_was_not_begun_at_the_far_end_goes_elsewhere_whatever_its_method() {
    // It has another release.
    let far = Far::start(plan_of(release("2.0.0", vec![says("far")])), Inner::default());
    let front = near_with_other(way(far.address), PATIENCE);
    for _ in 0..20 {
        let answer = ask(&front, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((answer.status(), answer.text()), (200, "other"));
    }
    assert_eq!(get(&near(&far), "/").status(), 502, "nobody else");
}

#[test]
fn a_request_goes_to_a_handler_there_and_never_further() {
    let third = Far::of(says("third"));
    let second = Far::start(plan(Endpoint::Inner(way(third.address))), Inner::default());
    let answer = get(&near(&second), "/");
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert_eq!(third.served(), 0);
}

#[test]
fn streams_that_break_cost_no_request_that_can_be_repeated() {
    let begun = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&begun);
    let far = Far::of(handler(move |_| {
        counts.fetch_add(1, Relaxed);
        async {
            std::future::pending::<()>().await;
            Ok(Response::new(Body::empty()))
        }
    }));
    for (method, expected) in [("GET", (200, "other")), ("POST", (502, "the service broke off\n"))] {
        let front = near_with_other(way(far.address), PATIENCE);
        // Until one is at the far end; those before it were answered by the other one.
        let before = begun.load(Relaxed);
        let mut clients = Vec::new();
        while begun.load(Relaxed) == before {
            let mut client = Raw::to(&front);
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
            clients.push(client);
            let sent = clients.len() as u64;
            wait_until(|| begun.load(Relaxed) > before || front.metrics().releases[0].answers[1] == sent);
            assert!(sent < 1000);
        }
        far.cut();
        let answers = clients.iter_mut().map(Raw::answer);
        let seen: Vec<_> = answers.map(|answer| (answer.status(), answer.text().to_owned())).collect();
        assert!(seen.iter().any(|(status, text)| (*status, text.as_str()) == expected), "{method}: {seen:?}");
        assert!(seen.iter().all(|(status, text)| *status == 200 || (*status, text.as_str()) == expected), "{seen:?}");
    }
}

#[test]
fn a_far_end_that_is_silent_is_left_for_another_one() {
    let patience = Duration::from_millis(300);
    // It takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = near_with_other(way(listener.local_addr().unwrap()), patience);
    for _ in 0..10 {
        assert_eq!(get(&front, "/").text(), "other");
    }
    // It begins well, and says nothing more: the preface and settings of HTTP/2 alone.
    let address = raw_upstream(|_, mut stream| {
        std::io::Write::write_all(&mut stream, &[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let front = near_with_other(way(address), patience);
    for _ in 0..10 {
        assert_eq!(get(&front, "/").text(), "other");
    }
}

#[test]
fn a_far_end_that_closes_every_stream_is_left_for_another_one() {
    let address = raw_upstream(|_, stream| drop(stream));
    let dial = way(address);
    let front = near_with_other(dial.clone(), PATIENCE);
    for _ in 0..10 {
        assert_eq!(get(&front, "/").text(), "other");
    }
    let alone = start(plan(Endpoint::Inner(way(address))));
    assert_eq!(get(&alone, "/").status(), 502);
}

#[test]
fn a_stream_on_which_nothing_comes_is_let_go() {
    let far = Far::start(plan(says("far")), Inner { patience: Duration::from_millis(300), ..Inner::default() });
    let mut silent = TcpStream::connect(far.address).unwrap();
    wait_until(|| !far.streams.lock().unwrap().is_empty());
    // What this test keeps of it would keep it open.
    far.streams.lock().unwrap().clear();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(get(&near(&far), "/").text(), "far");
}

#[test]
fn a_front_end_that_is_down_gets_no_requests() {
    let far = Far::of(says("far"));
    let dial = way(far.address);
    let front = near_with_other(dial.clone(), PATIENCE);
    dial.is_up.store(false, Relaxed);
    for _ in 0..20 {
        assert_eq!(get(&front, "/").text(), "other");
    }
    assert_eq!(dial.made.load(Relaxed), 0);
}

#[test]
fn a_drain_lets_requests_of_other_front_ends_end_and_takes_no_more() {
    let (let_go, wait) = tokio::sync::watch::channel(false);
    let begun = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&begun);
    let far = Far::of(handler(move |request| {
        let mut wait = wait.clone();
        let is_late = request.uri().path() == "/late";
        counts.fetch_add(usize::from(is_late), Relaxed);
        async move {
            if is_late {
                let _ = wait.wait_for(|may| *may).await;
            }
            Ok(Response::new(Body::from("late")))
        }
    }));
    let front = near(&far);
    let mut client = Raw::to(&front);
    client.send("POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    wait_until(|| begun.load(Relaxed) == 1);
    let drained = far.front.lock().unwrap().take().unwrap();
    let draining = std::thread::spawn(move || drained.drain(PATIENCE));
    wait_until(|| ask(&front, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status() == 502);
    let_go.send_replace(true);
    assert_eq!(client.answer().text(), "late");
    assert_eq!(draining.join().unwrap(), 0);
}

#[test]
fn the_owner_answers_what_names_no_release() {
    let owner = Inner { owner: Some(own_handler()), ..Inner::default() };
    let far = Far::start(Plan::default(), owner);
    let nobody = Far::of(says("far"));
    block_on(async {
        for (far, status) in [(&far, StatusCode::OK), (&nobody, StatusCode::SERVICE_UNAVAILABLE)] {
            let stream = tokio::net::TcpStream::connect(far.address).await.unwrap();
            let mut link = Link::open(Box::new(stream), PATIENCE).await.unwrap();
            let answer = link.ask(Request::new(Body::empty())).await.unwrap();
            assert_eq!(answer.status(), status);
            if status == StatusCode::OK {
                assert_eq!(answer.into_body().frame().await.unwrap().unwrap().into_data().unwrap(), "told");
            }
        }
    });
}

fn own_handler() -> Arc<dyn refrain_front::Handler> {
    let Endpoint::Handler(handler) = handler(|_| async {
        let frames = futures_util::StreamExt::chain(
            futures_util::stream::iter([Ok::<_, BodyError>(Frame::data(Bytes::from("told")))]),
            futures_util::stream::pending(),
        );
        Ok(Response::new(Body::stream(StreamBody::new(frames))))
    }) else {
        unreachable!("it makes one")
    };
    handler
}

#[test]
fn an_address_that_speaks_http_2_is_an_upstream_as_well() {
    let server = start(plan(tells()));
    let mut release = release("1.0.0", vec![Endpoint::Tcp(address(&server))]);
    release.upstreams[0].is_http2 = true;
    let front = start(plan_of(release));
    for _ in 0..10 {
        let answer = ask(&front, "POST /x HTTP/1.1\r\nHost: test:81\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(answer.text().starts_with("POST /x\n") && answer.text().ends_with("\n\nbody"), "{}", answer.text());
        assert!(answer.text().contains("\nhost: test:81\n"), "{}", answer.text());
    }
    assert!(server.metrics().accepted <= 2, "{:?}", server.metrics());
}
