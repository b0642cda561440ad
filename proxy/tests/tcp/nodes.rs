//! Engines on other nodes: lists that are asked for, votes that come early, seats that rejoin.

use super::*;

#[test]
fn a_speaker_that_does_not_come_is_replaced_by_asking_another_seat() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        stage.guest.withholds.set(true);
        echoes(&mut client, b"asked for").await;
        assert!(stage.guest.asked.get() > 0);
    });
}

#[test]
fn when_the_seat_that_was_asked_does_not_answer_another_is_asked() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        stage.guest.withholds.set(true);
        stage.guest.silent.set(Some(Seat(0)));
        echoes(&mut client, b"asked for twice").await;
        assert!(stage.guest.asked.get() > 1);
    });
}

#[test]
fn votes_on_entries_that_are_not_applied_here_wait() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.front_end.applied(Position(2));
        let mut client = stage.client(port::ECHO).await;
        client.write_all(b"early").await.expect("the proxy takes it");
        stage.guest.has_ordered(|record| matches!(record, Record::Data { .. })).await;
        tokio::task::yield_now().await;
        assert_eq!(stage.front_end.stats().bytes_out, 0);
        stage.front_end.applied(Position(1_000));
        let mut back = [0; 5];
        client.read_exact(&mut back).await.expect("the proxy answers");
        assert_eq!(&back, b"early");
    });
}

#[test]
fn seats_are_added_and_dropped_while_clients_are_served() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"three").await;
        let at = stage.front_end.released(GROUP);
        stage.front_end.resize(GROUP, 5, at);
        assert_eq!(
            (stage.front_end.holder(GROUP, Seat(2)), stage.front_end.holder(GROUP, Seat(4))),
            (Some(Incarnation(1)), None)
        );
        echoes(&mut client, b"three of five").await;
        assert_eq!(stage.front_end.rejoin(GROUP, Seat(4), Incarnation(1)), None, "it is vacant");
        assert_eq!(stage.front_end.rejoin(GROUP, Seat(0), Incarnation(1)), Some(stage.front_end.released(GROUP)));
        stage.front_end.resize(GROUP, 1, stage.front_end.released(GROUP));
        echoes(&mut client, b"one").await;
    });
}

#[test]
fn an_upgraded_service_is_named_so_and_its_new_flows_have_the_new_window() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let limits = GroupLimits { window_bytes: 1_000, ..GroupLimits::default() };
        stage.front_end.update_group(GROUP, limits, "test/next".to_owned());
        let mut client = stage.client(port::SINK).await;
        client.write_all(&[0; 5_000]).await.expect("the kernel takes it");
        let sent = |record: &Record| matches!(record, Record::Data { bytes, .. } if bytes.len() == 1_000);
        stage.guest.has_ordered(sent).await;
        assert_eq!(stage.front_end.stats().bytes_in, 1_000);
        stage.front_end.end_epoch();
    });
    assert!(lines.of_access()[0].contains("service=\"test/next\""));
}
