//! Streams over pipes in memory, on a clock that jumps to the next timer.

use super::*;
use refrain_sequencer::net::greeting::{Incoming, greet};
use refrain_wire::stream::{Hello, Role, put_frame};
use refrain_wire::{ClusterId, Generation, NodeId};
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::task::spawn_local;

const PATIENCE: Duration = Duration::from_secs(3);
const NOBODY: Generation = Generation([0; 16]);

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(test))
}

/// A pipe that takes `bytes` at a time, after the greeting: its two ends.
async fn pipe(bytes: usize) -> (Framed, Framed) {
    let (near, far) = tokio::io::duplex(bytes);
    let hello = Hello::new(Role::Fetch, ClusterId([1; 16]), NOBODY, NodeId(1));
    let there =
        spawn_local(
            async move { Incoming::read(Box::new(far)).await.unwrap().welcome(NodeId(2), NOBODY).await.unwrap() },
        );
    let here = greet(Box::new(near), &hello).await.unwrap().framed;
    (here, there.await.unwrap())
}

/// One end of a stream that is served, and a pipe's end without any manners.
async fn with_bare_end(bytes: usize) -> (Inbox, Writer, DuplexStream) {
    let (near, mut far) = tokio::io::duplex(bytes);
    let mut hello = Vec::new();
    Hello::new(Role::Fetch, ClusterId([1; 16]), NOBODY, NodeId(1)).encode(&mut hello);
    let greeting =
        spawn_local(
            async move { Incoming::read(Box::new(near)).await.unwrap().welcome(NodeId(2), NOBODY).await.unwrap() },
        );
    far.write_all(&hello).await.unwrap();
    let mut welcome = [0; 35];
    far.read_exact(&mut welcome).await.unwrap();
    let (inbox, writer) = open(greeting.await.unwrap(), PATIENCE);
    (inbox, writer, far)
}

#[test]
fn frames_pushed_by_plain_calls_go_out_in_order() {
    run(async {
        let (_inbox, writer, mut far) = with_bare_end(64).await;
        let outbox = Outbox::default();
        let writing = outbox.clone();
        spawn_local(async move { writing.write_to(writer).await });
        let mut expected = Vec::new();
        for kind in 2..12 {
            outbox.push(|frames| frames.frame(kind, &[kind; 100]));
            put_frame(&mut expected, kind, &[kind; 100]);
        }
        outbox.end();
        let mut read = vec![0; expected.len()];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(read, expected);
    });
}

#[test]
fn an_outbox_that_nobody_empties_ends_its_stream() {
    run(async {
        let (_inbox, writer, _far) = with_bare_end(64).await;
        let outbox = Outbox::default();
        outbox.push(|frames| frames.unframed(|out| out.resize(MAX_WAITING_BYTES, 0)));
        assert!(!outbox.0.full.get(), "at the limit");
        outbox.push(|frames| frames.unframed(|out| out.push(0)));
        outbox.push(|_| panic!("nothing is taken after it was full"));
        assert!(matches!(outbox.write_to(writer).await, LinkError::Full));
        assert!(outbox.has_ended());
    });
}

#[test]
fn two_ends_with_nothing_to_say_stay_together() {
    run(async {
        let (here, there) = pipe(64).await;
        let mut ends = Vec::new();
        for framed in [here, there] {
            let (mut inbox, writer) = open(framed, PATIENCE);
            let outbox = Outbox::default();
            ends.push(outbox.clone());
            spawn_local(async move { inbox.next().await.map(drop) });
            spawn_local(async move { outbox.write_to(writer).await });
        }
        tokio::time::sleep(PATIENCE * 100).await;
        assert!(ends.iter().all(|outbox| !outbox.has_ended()));
    });
}

#[test]
fn an_end_that_is_silent_is_left_by_reader_and_writer() {
    run(async {
        let (mut inbox, writer, _far) = with_bare_end(4096).await;
        let outbox = Outbox::default();
        let writing = outbox.clone();
        let written = spawn_local(async move { writing.write_to(writer).await });
        let began = tokio::time::Instant::now();
        assert!(matches!(inbox.next().await, Err(LinkError::Silent(_))));
        assert!(began.elapsed() >= PATIENCE && began.elapsed() < PATIENCE * 7 / 6, "{:?}", began.elapsed());
        assert!(matches!(written.await.unwrap(), LinkError::Silent(_)));
        assert!(outbox.has_ended());
    });
}

#[test]
fn an_end_that_takes_nothing_is_left_by_who_waits_to_write_and_does_not_read() {
    run(async {
        let (_inbox, writer, _far) = with_bare_end(64).await;
        let outbox = Outbox::default();
        outbox.push(|frames| frames.frame(2, &[0; 1000]));
        assert!(matches!(outbox.write_to(writer).await, LinkError::Silent(_)));
        outbox.drained(0).await;
    });
}

#[test]
fn a_slow_end_that_takes_a_little_is_no_dead_one() {
    run(async {
        let (_inbox, writer, mut far) = with_bare_end(64).await;
        let outbox = Outbox::default();
        outbox.push(|frames| frames.frame(2, &[0; 1000]));
        outbox.end();
        let reading = spawn_local(async move {
            let mut read = 0;
            while let Ok(1..) = far.read(&mut [0; 16]).await {
                read += 16;
                tokio::time::sleep(PATIENCE / 2).await;
            }
            read
        });
        assert!(matches!(outbox.write_to(writer).await, LinkError::Done));
        assert!(reading.await.unwrap() >= 1009);
    });
}

#[test]
fn a_long_frame_that_comes_byte_by_byte_is_life() {
    run(async {
        let (mut inbox, writer, mut far) = with_bare_end(4096).await;
        spawn_local(async move { Outbox::default().write_to(writer).await });
        let mut frame = Vec::new();
        put_frame(&mut frame, 2, &[7; 20]);
        let whole = frame.clone();
        spawn_local(async move {
            for byte in frame {
                far.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(PATIENCE / 2).await;
            }
        });
        assert_eq!(inbox.next().await.unwrap().payload[..], whole[9..]);
    });
}

#[test]
fn an_end_that_is_busy_and_neither_reads_nor_writes_takes_nobody_for_dead() {
    run(async {
        let (_inbox, writer, _far) = with_bare_end(4096).await;
        let outbox = Outbox::default();
        let writing = outbox.clone();
        spawn_local(async move { writing.write_to(writer).await });
        tokio::time::sleep(PATIENCE * 10).await;
        assert!(!outbox.has_ended());
    });
}
