//! What clients and operators are told when an epoch begins and ends.

use refrain_wire::SubmissionId;

use super::*;

#[test]
fn a_connection_waits_until_an_epoch_begins() {
    on_loop(async {
        let stage = Stage::new(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        client.write_all(b"early").await.expect("the kernel takes it");
        stage.front_end.begin_epoch(EPOCH, Position(1));
        let mut back = [0; 5];
        client.read_exact(&mut back).await.expect("it is served now");
        assert_eq!(&back, b"early");
    });
}

#[test]
fn the_end_of_an_epoch_resets_its_connections() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"x").await;
        stage.front_end.begin_epoch(Epoch(EPOCH.0 + 1), Position(1_000));
        is_reset(&mut client).await;
        assert_eq!(stage.front_end.stats().connections, 0);
    });
}

#[test]
fn after_its_epoch_was_lost_a_proxy_resets_new_connections_at_once_until_the_next() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen(port::ECHO);
        echoes(&mut connect(addr).await, b"x").await;
        stage.is_empty().await;
        stage.front_end.end_epoch();
        for _ in 0..3 {
            is_reset(&mut connect(addr).await).await;
        }
        is_reset(&mut stage.client(port::ECHO).await).await;
        let stats = stage.front_end.stats();
        assert_eq!((stats.not_accepted, stats.outcome_unknown, stats.refused, stats.accepted), (4, 0, 0, 1));
        stage.front_end.begin_epoch(Epoch(EPOCH.0 + 1), Position(1_000));
        let _served = connect(addr).await;
        while stage.front_end.stats().connections == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(stage.front_end.stats().not_accepted, 4);
    });
    let refused = lines.of_access().into_iter().filter(|line| line.contains("ending=\"not-accepted\""));
    let refused: Vec<String> = refused.filter(|line| line.contains("service=\"test/guest\"")).collect();
    assert_eq!(refused.len(), 4, "{refused:?}");
}

#[test]
fn the_end_of_an_epoch_tells_what_was_not_accepted_from_what_may_have_been_executed() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen(port::ECHO);
        let mut submitted = connect(addr).await;
        echoes(&mut submitted, b"x").await;
        stage.guest.stopped.set(true);
        submitted.write_all(b"on its way").await.expect("the proxy takes it");
        stage.guest.has_submissions(stage.guest.submitted.get() + 1).await;
        let mut waits = connect(addr).await;
        while stage.front_end.stats().connections < 2 {
            tokio::task::yield_now().await;
        }
        stage.front_end.end_epoch();
        is_reset(&mut submitted).await;
        is_reset(&mut waits).await;
        let stats = stage.front_end.stats();
        assert_eq!((stats.not_accepted, stats.outcome_unknown), (1, 1));
    });
    let lines = lines.of_access();
    let ending = |flow: &str, word: &str| {
        let line = lines.iter().find(|line| line.contains(flow)).expect("each connection has its line");
        assert!(line.contains(&format!("ending=\"{word}\"")), "{line}");
    };
    ending("flow=2.1 ", "outcome-unknown");
    ending("flow=2.2 ", "not-accepted");
}

#[test]
fn what_no_leader_took_was_not_accepted() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.guest.refuse.set(true);
        let mut client = stage.client(port::ECHO).await;
        stage.guest.has_submissions(1).await;
        stage.front_end.end_epoch();
        is_reset(&mut client).await;
        let stats = stage.front_end.stats();
        assert_eq!((stats.not_accepted, stats.outcome_unknown), (1, 0));
    });
}

#[test]
fn a_leader_that_expects_an_earlier_number_is_sent_from_there() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.guest.refuse.set(true);
        let mut client = stage.client(port::ECHO).await;
        stage.guest.has_submissions(1).await;
        stage.guest.refuse.set(false);
        let id = |epoch, number| SubmissionId { epoch, number };
        stage.front_end.resend_from(id(Epoch(1), 1));
        stage.front_end.resend_from(id(EPOCH, 2));
        assert_eq!(stage.guest.submitted.get(), 1, "another epoch, or nothing is left");
        stage.front_end.resend_from(id(EPOCH, 1));
        echoes(&mut client, b"once").await;
    });
}

#[test]
fn a_full_log_of_another_epoch_gives_nothing_up() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"x").await;
        stage.guest.stopped.set(true);
        client.write_all(b"too much").await.expect("the proxy takes it");
        stage.guest.has_submissions(stage.guest.submitted.get() + 1).await;
        let last = |epoch| SubmissionId { epoch, number: 0 };
        assert!(!stage.front_end.give_up_after(last(Epoch(1))));
        assert_eq!(stage.front_end.epoch(), Some(EPOCH));
        assert!(stage.front_end.give_up_after(last(EPOCH)));
        is_reset(&mut client).await;
        assert!(!stage.front_end.give_up_after(last(EPOCH)), "there is nothing left to give up");
    });
}
