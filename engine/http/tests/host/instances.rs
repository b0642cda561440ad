//! How many instances there are, who waits for them, and how often they are used.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use refrain_http_host::{Limits, Permissions, Refusal, Reuse, Service, Settings};
use wasmparser::{Parser, Payload};

use crate::support::{P2, P3, dropped, get, host_with, service, settings, text, until};

async fn served(service: &Service) -> u32 {
    text(service, "/served").await.expect("a response").parse().expect("a number")
}

/// How many requests each of some instances served, one request after another.
async fn lives(service: &Service, requests: usize) -> Vec<u32> {
    let mut lives = Vec::new();
    for _ in 0..requests {
        match served(service).await {
            1 => lives.push(1),
            number => *lives.last_mut().expect("a first request") = number,
        }
    }
    lives
}

#[tokio::test]
async fn by_default_every_request_has_a_fresh_instance() {
    for guest in [P2, P3] {
        let service = service(guest, Limits::default());
        assert_eq!(lives(&service, 20).await, [1; 20]);
        assert_eq!(service.counted().instances, 20);
    }
}

#[tokio::test]
async fn an_instance_serves_as_often_as_it_may() {
    for guest in [P2, P3] {
        let service = service(guest, Limits { reuse: Reuse::between(5, 5), ..Limits::default() });
        assert_eq!(lives(&service, 20).await, [5; 4]);
    }
}

#[tokio::test]
async fn limits_of_reuse_are_drawn_from_the_whole_range() {
    let service = service(P2, Limits { reuse: Reuse::between(1, 4), ..Limits::default() });
    let mut lives = lives(&service, 200).await;
    // The last one may have more to live.
    lives.pop();
    let seen: HashSet<u32> = lives.into_iter().collect();
    assert_eq!(seen, HashSet::from([1, 2, 3, 4]));
}

#[tokio::test]
async fn an_instance_that_trapped_is_not_used_again() {
    for guest in [P2, P3] {
        let service = service(guest, Limits { reuse: Reuse::between(100, 100), ..Limits::default() });
        assert_eq!(served(&service).await, 1);
        assert_eq!(served(&service).await, 2);
        let refusal = service.handle(get("/trap")).await.map(drop).expect_err("a refusal");
        assert_eq!(refusal.code(), "trapped");
        assert_eq!(served(&service).await, 1);
    }
}

#[tokio::test]
async fn an_idle_instance_is_dropped_after_a_while() {
    let limits = Limits { reuse: Reuse::between(100, 100), idle: Duration::from_millis(20), ..Limits::default() };
    let service = service(P2, limits);
    assert_eq!(served(&service).await, 1);
    until(&service, |counted| counted.dropped > 0).await;
    assert_eq!(served(&service).await, 1);
}

#[tokio::test]
async fn a_thousand_requests_to_a_component_that_sleeps_are_all_answered_at_once() {
    for guest in [P2, P3] {
        let limits = Limits { instances: 1000, concurrency: 1, queue: 0, ..Limits::default() };
        let host = host_with(Settings { slots: 1200, ..settings() });
        let service = host.load(guest, "test", limits, Permissions::default()).expect("the guest loads");
        let answers = join_all((0..1000).map(|_| text(&service, "/sleep?1000"))).await;
        let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).take(3).collect();
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(service.counted().instances, 1000);
    }
}

#[tokio::test]
async fn requests_beyond_the_instances_wait_and_those_beyond_the_queue_are_refused() {
    for (guest, concurrency) in [(P2, 1), (P3, 1), (P3, 16)] {
        let service = service(guest, Limits { instances: 2, concurrency, queue: 3, ..Limits::default() });
        let answers = join_all((0..7).map(|_| text(&service, "/sleep?100"))).await;
        let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!((answered.len(), refused.len()), (5, 2));
        check_busy(refused);
    }
}

fn check_busy(refused: Vec<Result<String, Refusal>>) {
    for refusal in refused {
        let refusal = refusal.expect_err("a refusal");
        assert!(matches!(refusal, Refusal::Busy { .. }), "{refusal:?}");
        assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refusal.retry_after().is_some() && refusal.is_untouched());
    }
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_refused() {
    let limits = Limits { instances: 1, queue_wait: Duration::from_millis(20), ..Limits::default() };
    let service = service(P2, limits);
    let (first, second) = futures_util::future::join(text(&service, "/sleep?300"), text(&service, "/sleep?300")).await;
    assert_eq!(first.expect("a response"), "slept");
    assert_eq!(second.expect_err("a refusal").code(), "busy");
}

#[tokio::test]
async fn an_idle_instance_makes_room_for_another_service() {
    let host = host_with(Settings { slots: 1, ..settings() });
    let limits = Limits { reuse: Reuse::between(100, 100), ..Limits::default() };
    let load = |name| host.load(P2, name, limits.clone(), Permissions::default()).expect("the guest loads");
    let (one, other) = (load("one"), load("other"));
    for _ in 0..3 {
        assert_eq!(served(&one).await, 1);
        assert_eq!(served(&other).await, 1);
    }
}

#[tokio::test]
async fn a_host_out_of_slots_lets_requests_wait() {
    let host = host_with(Settings { slots: 2, ..settings() });
    let service = host.load(P2, "test", Limits::default(), Permissions::default()).expect("the guest loads");
    let answers = join_all((0..10).map(|_| text(&service, "/sleep?10"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// P2 with 29 core instances more, so that an instance takes 4 slots.
fn of_four_slots() -> Vec<u8> {
    let modules = Parser::new(0).parse_all(P2).filter(|part| matches!(part, Ok(Payload::ModuleSection { .. })));
    let index = u8::try_from(modules.count()).expect("few modules");
    let mut bytes = [P2, &[1, 8], b"\0asm\x01\0\0\0", &[2, 1 + 3 * 29, 29]].concat();
    bytes.extend([0, index, 0].repeat(29));
    bytes
}

#[tokio::test]
async fn services_that_hold_all_slots_they_can_get_leave_some_to_their_neighbours() {
    let host = host_with(Settings { slots: 256, ..settings() });
    let load = |bytes: &[u8]| host.load(bytes, "test", Limits::default(), Permissions::default());
    let [first, second] = [(); 2].map(|()| load(&of_four_slots()).expect("the guest loads"));
    assert_eq!(first.places(), 56, "seven eighths of the slots");
    let sleep = |service| join_all((0..100).map(move |_| text(service, "/sleep?600000")));
    let mut long = Box::pin(futures_util::future::join(sleep(&first), sleep(&second)));
    let neighbours = async {
        // All that both can have.
        until(&second, |counted| first.counted().instances + counted.instances == 60).await;
        for guest in [P2, P3] {
            let neighbour = load(guest).expect("the guest loads");
            assert_eq!(text(&neighbour, "/").await.expect("a response"), "hello, world\n");
        }
    };
    tokio::select! {
        answered = &mut long => panic!("{answered:?}"),
        () = neighbours => {}
    }
}

#[tokio::test]
async fn an_instance_of_0_3_serves_several_requests_at_once() {
    let limits =
        Limits { instances: 2, concurrency: 8, queue: 0, reuse: Reuse::between(100, 100), ..Limits::default() };
    let service = service(P3, limits);
    let answers = join_all((0..16).map(|_| text(&service, "/sleep?200"))).await;
    let active = answers.into_iter().map(|answer| answer.expect("a response").parse().expect("a number"));
    assert_eq!(active.max(), Some(8_u32));
    assert_eq!(service.counted().instances, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_where_instances_end_and_others_begin() {
    for reuse in [1, 2, 3] {
        let service = service(P3, Limits { reuse: Reuse::between(reuse, reuse), ..Limits::default() });
        let clients = (0..8).map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    assert!((1..=reuse).contains(&served(&service).await));
                }
            })
        });
        let ended = join_all(clients).await;
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    }
}

#[tokio::test]
async fn a_trap_of_one_request_fails_those_beside_it_and_no_others() {
    let limits = Limits { instances: 2, concurrency: 2, reuse: Reuse::between(100, 100), ..Limits::default() };
    let service = service(P3, limits);
    let (slept, trapped) = futures_util::future::join(text(&service, "/sleep?100000"), async {
        until(&service, |counted| counted.instances > 0).await;
        text(&service, "/trap").await
    })
    .await;
    assert_eq!(trapped.expect_err("a refusal").code(), "trapped");
    assert_eq!(slept.expect_err("a refusal").code(), "trapped");
    assert_eq!(text(&service, "/").await.expect("a response"), "hello, world\n");
}

#[tokio::test]
async fn a_guest_that_goes_on_after_its_response_loses_its_instance() {
    for (target, concurrency) in [("/after?600000", 1), ("/after?600000", 16), ("/spin-after", 1), ("/spin-after", 16)]
    {
        let limits = Limits { concurrency, afterwards: Duration::from_millis(20), ..Limits::default() };
        let service = service(P3, limits);
        assert_eq!(text(&service, target).await.expect("a response"), "answered");
        dropped(&service, 1).await;
    }
}

#[tokio::test]
async fn an_idle_instance_whose_guest_goes_on_is_dropped() {
    let short = Duration::from_millis(20);
    let limits = Limits { reuse: Reuse::between(100, 100), idle: short, afterwards: short, ..Limits::default() };
    let service = service(P3, limits);
    assert_eq!(text(&service, "/after?600000").await.expect("a response"), "answered");
    dropped(&service, 1).await;
}

#[tokio::test]
async fn a_guest_that_ends_soon_after_its_response_is_let_go_on() {
    let (host, lines) = crate::support::logging();
    let service = host.load(P3, "test", Limits::default(), Permissions::default()).expect("the guest loads");
    assert_eq!(text(&service, "/after?50").await.expect("a response"), "answered");
    dropped(&service, 1).await;
    assert_eq!(*lines.lock(), ["Stdout after the response"]);
}

#[tokio::test]
async fn a_caller_that_goes_away_costs_its_neighbours_nothing_and_their_instance_ends_with_them() {
    let reuse = Reuse::between(100, 100);
    let limits = Limits { instances: 1, reuse, afterwards: Duration::from_millis(20), ..Limits::default() };
    let service = service(P3, limits);
    let neighbour = text(&service, "/sleep?1000");
    let gone = async {
        until(&service, |counted| counted.instances > 0).await;
        let gone = tokio::time::timeout(Duration::from_millis(20), text(&service, "/sleep?600000"));
        gone.await.expect_err("no response");
    };
    let (neighbour, ()) = futures_util::future::join(neighbour, gone).await;
    neighbour.expect("a response");
    dropped(&service, 1).await;
    assert_eq!(text(&service, "/").await.expect("a response"), "hello, world\n");
}

#[tokio::test]
async fn a_neighbour_goes_on_when_what_was_abandoned_ends_in_time() {
    let limits = Limits { instances: 1, reuse: Reuse::between(100, 100), ..Limits::default() };
    let service = service(P3, limits);
    let neighbour = text(&service, "/sleep?300");
    let gone = async {
        until(&service, |counted| counted.instances > 0).await;
        let gone = tokio::time::timeout(Duration::from_millis(20), text(&service, "/sleep?100"));
        let _ = gone.await;
    };
    let (neighbour, ()) = futures_util::future::join(neighbour, gone).await;
    neighbour.expect("a response");
}

#[tokio::test]
async fn an_instance_that_takes_no_more_requests_counts_until_it_is_gone() {
    for reuse in [Reuse::FRESH, Reuse::between(2, 2)] {
        let limits = Limits { instances: 1, queue: 0, reuse: reuse.clone(), ..Limits::default() };
        let afterwards = Duration::from_millis(100);
        let one = service(P3, limits.clone());
        let other = service(P3, Limits { queue: 1, afterwards, ..limits });
        for service in [&one, &other] {
            if reuse != Reuse::FRESH {
                text(service, "/after?600000").await.expect("a response");
            }
            text(service, "/after?600000").await.expect("a response");
        }
        assert_eq!(text(&one, "/").await.expect_err("a refusal").code(), "busy");
        assert_eq!(text(&other, "/").await.expect("a response"), "hello, world\n");
        assert_eq!(other.counted().instances, 2);
    }
}

/// Two services with so many slots, whose instances are kept for long.
fn two_with_slots(slots: u32, limits: &Limits) -> [Service; 2] {
    let host = host_with(Settings { slots, ..settings() });
    let limits = Limits { reuse: Reuse::between(1000, 1000), idle: Duration::from_secs(600), ..limits.clone() };
    ["one", "other"].map(|name| host.load(P3, name, limits.clone(), Permissions::default()).expect("the guest loads"))
}

#[tokio::test]
async fn an_instance_that_becomes_idle_makes_room_for_another_service_that_waits() {
    for concurrency in [1, 16] {
        let [one, other] = two_with_slots(1, &Limits { concurrency, ..Limits::default() });
        let waits = async {
            until(&one, |counted| counted.instances > 0).await;
            text(&other, "/").await
        };
        let (slept, answered) = futures_util::future::join(text(&one, "/sleep?200"), waits).await;
        slept.expect("a response");
        assert_eq!(answered.expect("a response"), "hello, world\n");
    }
}

#[tokio::test]
async fn a_request_that_waits_for_slots_takes_room_beside_others_that_comes_first() {
    let [service, other] = two_with_slots(2, &Limits { instances: 2, concurrency: 2, ..Limits::default() });
    let long = futures_util::future::join(text(&service, "/sleep?600000"), text(&other, "/sleep?600000"));
    let mut long = Box::pin(long);
    let others = async {
        until(&service, |counted| counted.instances > 0).await;
        until(&other, |counted| counted.instances > 0).await;
        let short = text(&service, "/sleep?300");
        let waits = async {
            until(&service, |counted| counted.requests > 1).await;
            text(&service, "/").await
        };
        futures_util::future::join(short, waits).await
    };
    tokio::select! {
        answered = &mut long => panic!("{answered:?}"),
        (short, waited) = others => {
            short.expect("a response");
            assert_eq!(waited.expect("a response"), "hello, world\n");
        }
    }
    assert_eq!(service.counted().instances, 1);
}

#[tokio::test]
async fn each_request_that_joins_others_brings_its_lines_of_the_log() {
    let (host, lines) = crate::support::logging();
    let limits = Limits { log_lines: 2, concurrency: 2, reuse: Reuse::between(1000, 1000), ..Limits::default() };
    let service = host.load(P3, "test", limits, Permissions::default()).expect("the guest loads");
    let mut long = Box::pin(text(&service, "/sleep?600000"));
    let logging = async {
        until(&service, |counted| counted.instances > 0).await;
        for _ in 0..20 {
            text(&service, "/log?line").await.expect("a response");
        }
    };
    tokio::select! {
        answered = &mut long => panic!("{answered:?}"),
        () = logging => {}
    }
    assert_eq!(*lines.lock(), ["Stdout line"; 20]);
}
