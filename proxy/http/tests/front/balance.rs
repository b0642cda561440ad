//! Which upstream gets a request, and what happens when it fails.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use refrain_front::{Body, Cause, Endpoint, Front, Health, Refusal};

use crate::support::*;

/// An upstream that speaks HTTP/1.1 and says this.
fn server(text: &'static str) -> Endpoint {
    Endpoint::Tcp(upstream(move |_| std::future::ready(Response::new(Body::from(text)))))
}

/// Reads a request and closes; counts the requests.
fn closes(count: &Arc<AtomicUsize>) -> SocketAddr {
    let count = Arc::clone(count);
    raw_upstream(move |_, mut stream| {
        if !read_head(&mut stream).is_empty() {
            count.fetch_add(1, Relaxed);
        }
    })
}

fn send(front: &Front, method: &str) -> u16 {
    ask(front, &format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).status()
}

#[test]
fn a_request_that_was_not_sent_goes_elsewhere_whatever_its_method() {
    let front = start(plan_of(release("1.0.0", vec![Endpoint::Tcp(dead_address()), server("alive")])));
    for _ in 0..20 {
        assert_eq!(send(&front, "POST"), 200);
    }
    assert!(front.metrics().releases[0].retries > 0);
}

#[test]
fn a_handler_that_gives_the_request_back_is_passed_over() {
    let gives_back = handler(|request: Request<Body>| async {
        Err(Refusal::untouched(Cause::Busy { retry_after: Duration::from_secs(1) }, request))
    });
    let front = start(plan_of(release("1.0.0", vec![gives_back, server("alive")])));
    let answer = ask(&front, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!((answer.status(), answer.text()), (200, "alive"));
}

#[test]
fn a_request_that_was_sent_goes_elsewhere_only_if_it_can_be_repeated() {
    for (method, expected) in [("GET", 200), ("PUT", 200), ("DELETE", 200), ("POST", 502), ("PATCH", 502)] {
        let count = Arc::new(AtomicUsize::new(0));
        let mut release = release("1.0.0", vec![Endpoint::Tcp(closes(&count)), server("alive")]);
        // The second is busier than it may be, until the first has failed.
        release.upstreams[1].requests = 1;
        let front = start(plan_of(release));
        let mut seen = Vec::new();
        while count.load(Relaxed) == 0 {
            seen.push(send(&front, method));
        }
        assert_eq!(seen.last(), Some(&expected), "{method}");
        assert!(seen.len() == 1 || seen[..seen.len() - 1].iter().all(|status| *status == 200));
    }
}

#[test]
fn a_body_that_was_begun_is_not_sent_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let front = start(plan_of(release("1.0.0", vec![Endpoint::Tcp(closes(&count))])));
    let answer = ask(&front, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!((answer.status(), count.load(Relaxed)), (502, 1));
}

#[test]
fn attempts_end_and_tell_what_the_last_one_met() {
    let dead = (0..5).map(|_| Endpoint::Tcp(dead_address())).collect();
    let front = start(plan_of(release("1.0.0", dead)));
    let answer = get(&front, "/");
    assert_eq!((answer.status(), answer.header("x-refrain-error")), (502, Some("upstream-unreachable")));
    assert_eq!(front.metrics().releases[0].retries, 2);
}

#[test]
fn an_upstream_that_fails_is_left_alone_and_an_application_error_never_ejects() {
    let failing = server_with_status(500);
    let front = start(plan_of(release("1.0.0", vec![failing, Endpoint::Tcp(dead_address())])));
    wait_until(|| {
        assert_eq!(send(&front, "GET"), 500);
        front.metrics().releases[0].upstreams[1].is_ejected
    });
    assert!(!front.metrics().releases[0].upstreams[0].is_ejected);
}

fn server_with_status(status: u16) -> Endpoint {
    Endpoint::Tcp(upstream(move |_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        std::future::ready(response)
    }))
}

#[test]
fn failures_of_one_service_do_not_eject_the_upstream_of_another() {
    let address = dead_address();
    let mut plan = plan(Endpoint::Tcp(address));
    let mut second = plan.services[0].clone();
    second.name = "test/two".into();
    plan.services.push(second);
    plan.routes.push(refrain_front::Route::to("/two/...", "test/two").unwrap());
    let front = start(plan);
    for _ in 0..5 {
        assert_eq!(get(&front, "/").status(), 502);
    }
    let metrics = front.metrics();
    assert!(metrics.releases[0].upstreams[0].is_ejected && !metrics.releases[1].upstreams[0].is_ejected);
    // The only one is tried all the same: it may be back.
    let _server = std::net::TcpListener::bind(address).map(|listener| {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            let _ = stream.read(&mut [0]);
        })
    });
    assert_eq!(get(&front, "/").status(), 200);
    assert!(!front.metrics().releases[0].upstreams[0].is_ejected);
}

#[test]
fn an_upstream_in_this_process_comes_first() {
    let front = start(plan_of(release("1.0.0", vec![server("far"), says("near"), server("far")])));
    for _ in 0..20 {
        assert_eq!(get(&front, "/").text(), "near");
    }
}

#[test]
fn a_draining_upstream_gets_no_new_requests() {
    let mut release = release("1.0.0", vec![says("old"), says("new")]);
    release.upstreams[0].is_draining = true;
    let front = start(plan_of(release.clone()));
    for _ in 0..20 {
        assert_eq!(get(&front, "/").text(), "new");
    }
    release.upstreams[1].is_draining = true;
    front.reload(plan_of(release)).unwrap();
    let answer = get(&front, "/");
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
}

#[test]
fn an_upstream_that_is_not_well_gets_no_requests_until_it_is() {
    let is_well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_well);
    let sick = handler(move |request: Request<Body>| {
        let status = if request.uri().path() == "/__health" && !told.load(Relaxed) { 500 } else { 200 };
        let mut response = Response::new(Body::from("sick"));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        std::future::ready(Ok(response))
    });
    let mut release = release("1.0.0", vec![sick, server("well")]);
    release.health = Some(Health { interval: Duration::from_millis(100), ..Health::default() });
    let front = start(plan_of(release));
    wait_until(|| front.metrics().releases[0].upstreams[1].is_ready);
    assert!(!front.metrics().releases[0].upstreams[0].is_ready);
    assert_eq!(get(&front, "/").text(), "well");
    let health = front.health();
    is_well.store(true, Relaxed);
    wait_until(|| front.metrics().releases[0].upstreams[0].is_ready);
    wait_until(|| health.has_changed().unwrap());
    assert_eq!(get(&front, "/").text(), "sick");
}

#[test]
fn an_upstream_whose_requests_wait_is_busy_and_not_ill() {
    // It serves two requests at once, as long as nobody lets it go on, and the others wait.
    let (asked, goes_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let places = Arc::new(tokio::sync::Semaphore::new(2));
    let (count, go) = (Arc::clone(&asked), Arc::clone(&goes_on));
    let busy = handler(move |request: Request<Body>| {
        let (places, go, count) = (Arc::clone(&places), Arc::clone(&go), Arc::clone(&count));
        async move {
            let _place = places.acquire_owned().await.unwrap();
            if request.uri().path() == "/__health" {
                count.fetch_add(1, Relaxed);
            } else {
                go.acquire().await.unwrap().forget();
            }
            Ok(Response::new(Body::from("served")))
        }
    });
    let mut release = release("1.0.0", vec![busy]);
    (release.upstreams[0].requests, release.upstreams[0].queue) = (10, 8);
    let times = (Duration::from_millis(100), Duration::from_millis(50));
    release.health = Some(Health { interval: times.0, timeout: times.1, ..Health::default() });
    let front = start(plan_of(release));
    wait_until(|| asked.load(Relaxed) > 0);
    let mut clients: Vec<Raw> = (0..5).map(|_| Raw::to(&front)).collect();
    let in_flight = |number| wait_until(|| front.metrics().releases[0].in_flight == number);
    for (number, client) in clients.iter_mut().enumerate().take(4) {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        in_flight(u32::try_from(number + 1).unwrap());
    }
    // Questions that began before the places were taken are over, and so are some that waited in vain.
    std::thread::park_timeout(Duration::from_millis(600));
    assert!(front.metrics().releases[0].upstreams[0].is_ready);
    clients[4].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    in_flight(5);
    goes_on.add_permits(5);
    for client in &mut clients {
        assert_eq!(client.answer().text(), "served");
    }
}

#[test]
fn connections_to_an_upstream_are_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = raw_upstream(move |_, mut stream| {
        counted.fetch_add(1, Relaxed);
        while !read_head(&mut stream).is_empty() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    let front = start(plan(Endpoint::Tcp(address)));
    let mut client = Raw::to(&front);
    for _ in 0..50 {
        assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().text(), "ok");
    }
    assert_eq!(connections.load(Relaxed), 1);
}

#[test]
fn a_connection_that_closed_while_it_waited_costs_no_request() {
    // Each connection serves one request and closes without saying so.
    let address = raw_upstream(|_, mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let front = start(plan(Endpoint::Tcp(address)));
    let mut client = Raw::to(&front);
    for _ in 0..50 {
        assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().text(), "ok");
    }
}

#[test]
fn a_unix_socket_is_an_upstream_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).unwrap();
        assert!(chunk[..read].starts_with(b"GET / HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").unwrap();
    });
    let front = start(plan(Endpoint::Unix(path)));
    assert_eq!(get(&front, "/").text(), "unix");
}

#[test]
fn connections_that_wait_keep_no_request_from_an_upstream_that_takes_few() {
    let open = Arc::new(AtomicUsize::new(0));
    let held = Arc::new(AtomicUsize::new(0));
    let released = Arc::new(AtomicUsize::new(0));
    let counts = [&open, &held, &released].map(Arc::clone);
    let address = raw_upstream(move |_, mut stream| {
        let [open, held, released] = &counts;
        open.fetch_add(1, Relaxed);
        loop {
            let head = read_head(&mut stream);
            if head.is_empty() {
                break;
            }
            if head.starts_with("GET /held") {
                let turn = held.fetch_add(1, Relaxed);
                wait_until(|| released.load(Relaxed) > turn);
            }
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                break;
            }
        }
        open.fetch_sub(1, Relaxed);
    });
    let mut release = release("1.0.0", vec![Endpoint::Tcp(address)]);
    release.upstreams[0].requests = 2;
    let front = start(plan_of(release));
    // Each client comes to one of two loops at random, which has a connection that waits, or has none.
    for round in 1..=24 {
        assert_eq!(get(&front, "/").status(), 200);
        let mut clients = [(); 2].map(|()| Raw::to(&front));
        for client in &mut clients {
            client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        wait_until(|| held.load(Relaxed) == 2 * round);
        // Less than connections wait: others may be ending.
        wait_for(PATIENCE / 3, || open.load(Relaxed) == 2);
        released.store(2 * round, Relaxed);
        for client in &mut clients {
            assert_eq!(client.answer().status(), 200);
        }
        wait_for(PATIENCE / 3, || open.load(Relaxed) <= 1);
    }
}
