//! New plans while requests come: none is lost, each keeps the plan that it began with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use http::Response;
use refrain_front::{Body, Front, Plan, ReloadError, Route, Service, Target};
use tokio::sync::Semaphore;

use crate::support::*;

/// Two versions, of which the second gets so many of a hundred requests.
fn weighted(second: u16) -> Plan {
    let releases = vec![release("1.0.0", vec![says("one")]), release("2.0.0", vec![says("two")])];
    let target = |version: &str, weight| Target {
        service: "test/one".into(),
        version: Some(version.parse().unwrap()),
        weight,
        rewrite: None,
    };
    let mut route = Route::to("/...", "test/one").unwrap();
    route.targets = vec![target("1.0.0", 100 - second), target("2.0.0", second)];
    Plan { routes: vec![route], services: vec![Service { name: "test/one".into(), releases }], ..Plan::default() }
}

fn version(front: &Front, wanted: &str) -> Answer {
    ask(front, &format!("GET / HTTP/1.1\r\nHost: a\r\nX-Refrain-Version: {wanted}\r\n\r\n"))
}

#[test]
fn each_version_gets_what_its_own_rewrite_makes_of_the_path() {
    let mut plan = weighted(0);
    plan.services[0].releases = vec![release("1.0.0", vec![tells()]), release("2.0.0", vec![tells()])];
    plan.services[0].releases.push(release("3.0.0", vec![tells()]));
    plan.routes[0].path = "/api/...".parse().unwrap();
    plan.routes[0].targets[0].rewrite = Some("/one".into());
    let front = start(plan);
    for (version, expected) in [("1.0.0", "GET /one/x"), ("2.0.0", "GET /api/x"), ("3.0.0", "GET /one/x")] {
        let head = format!("GET /api/x HTTP/1.1\r\nHost: a\r\nX-Refrain-Version: {version}\r\n\r\n");
        assert_eq!(ask(&front, &head).text().lines().next(), Some(expected), "{version}");
    }
}

#[test]
fn weights_move_under_load_without_a_failed_request() {
    let front = Arc::new(start(weighted(0)));
    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (front, is_over, asked) = (Arc::clone(&front), Arc::clone(&is_over), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut client = Raw::to(&front);
                while !is_over.load(Relaxed) {
                    let answer = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer();
                    assert_eq!(answer.status(), 200);
                    asked.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    for round in 0..50 {
        front.reload(weighted([0, 10, 100][round % 3])).unwrap();
        let before = asked.load(Relaxed);
        wait_until(|| asked.load(Relaxed) > before + 8);
    }
    is_over.store(true, Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let metrics = front.metrics();
    let total: u64 = metrics.releases.iter().map(|release| release.answers[1]).sum();
    assert_eq!(total, asked.load(Relaxed) as u64, "counts go on over plans");
    assert!(metrics.releases.iter().all(|release| release.answers[1] > 0));
}

#[test]
fn all_requests_follow_a_weight_of_a_hundred() {
    let front = start(weighted(0));
    assert!((0..20).all(|_| get(&front, "/").text() == "one"));
    front.reload(weighted(100)).unwrap();
    assert!((0..20).all(|_| get(&front, "/").text() == "two"));
}

#[test]
fn a_request_in_flight_keeps_its_plan() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let front = start(plan(handler(move |_| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Response::new(Body::from("old")))
        }
    })));
    let mut client = Raw::to(&front);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until(|| front.metrics().releases[0].in_flight == 1);
    front.reload(plan(says("new"))).unwrap();
    assert_eq!(get(&front, "/").text(), "new");
    gate.add_permits(1);
    assert_eq!(client.answer().text(), "old");
    assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().text(), "new");
}

#[test]
fn a_version_is_exactly_what_it_says() {
    let front = start(weighted(0));
    for (wanted, status, text) in
        [("1.0.0", 200, "one"), ("2.0.0", 200, "two"), ("^1", 200, "one"), (">=1", 200, "two")]
    {
        let answer = version(&front, wanted);
        assert_eq!((answer.status(), answer.text()), (status, text), "{wanted}");
    }
    assert_eq!(version(&front, "1.0.1").status(), 503);
    assert_eq!(version(&front, "latest").status(), 400);
}

#[test]
fn a_plan_with_faults_is_refused_with_all_of_them_and_changes_nothing() {
    let front = start(weighted(0));
    let mut plan = weighted(0);
    plan.services[0].name = "One".into();
    plan.routes[0].targets[0].rewrite = Some("x".into());
    let Err(ReloadError::Plan(error)) = front.reload(plan) else { panic!("it was taken") };
    let text = error.to_string();
    for words in ["service name \"One\"", "test/one@1.0.0, which the plan does not have", "\"x\" is not a path"] {
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(get(&front, "/").status(), 200);
}

#[test]
fn a_plan_that_is_replaced_is_let_go_of_without_a_request() {
    let held = Arc::new(());
    let seen = Arc::downgrade(&held);
    let front = start(plan(handler(move |_| {
        let _held = &held;
        std::future::ready(Ok(Response::new(Body::from("x"))))
    })));
    assert_eq!(get(&front, "/").status(), 200);
    front.reload(plan(says("y"))).unwrap();
    wait_until(|| seen.upgrade().is_none());
}
