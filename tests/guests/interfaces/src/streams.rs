//! `wasi:io/streams` and `wasi:io/poll` on connections and standard streams: ends, errors, permits.

use wasip2::io::poll::poll;
use wasip2::io::streams::StreamError;
use wasip2::sockets::tcp::ShutdownType;

use crate::addresses::*;
use crate::{Check, both};

pub const CHECKS: &[Check] = &[
    ("stream-end-of-peer", || both(end_of_peer)),
    ("stream-own-end", || both(own_end)),
    ("stream-no-more-output", || both(no_more_output)),
    ("stream-nothing-lost", || both(nothing_lost)),
    ("stream-permits", || both(permits)),
    ("stream-one-writes-one-reads", || both(half_closed)),
    ("stream-splice", || both(splice)),
    ("stream-peer-gone", || both(peer_gone)),
    ("stream-standard", standard),
    ("poll-several", || both(several)),
];

macro_rules! closed {
    ($call:expr) => {
        assert!(matches!($call, Err(StreamError::Closed)), "{}", stringify!($call))
    };
}

fn end_of_peer(family: Family) {
    let (server, client) = pair(family);
    server.socket.shutdown(ShutdownType::Both).unwrap();
    drop(server);
    client.input.subscribe().block();
    closed!(client.input.read(10));
    closed!(client.input.read(0));
    closed!(client.input.blocking_read(10));
    closed!(client.input.skip(1));
}

/// What came before is not read any more.
fn own_end(family: Family) {
    let (server, client) = pair(family);
    write_all(&server.output, b"some words");
    client.input.subscribe().block();
    client.socket.shutdown(ShutdownType::Receive).unwrap();
    closed!(client.input.read(10));
    closed!(client.input.read(0));
}

fn no_more_output(family: Family) {
    let (_server, client) = pair(family);
    assert!(client.output.check_write().unwrap() >= 3);
    client.socket.shutdown(ShutdownType::Send).unwrap();
    closed!(client.output.write(b"Hi!"));
    closed!(client.output.write(b""));
    closed!(client.output.check_write());
    closed!(client.output.flush());
    closed!(client.output.blocking_flush());
    client.output.subscribe().block();
}

fn nothing_lost(family: Family) {
    let (server, client) = pair(family);
    client.socket.set_send_buffer_size(1024).unwrap();
    let small = client.socket.send_buffer_size().unwrap();
    let large = client.output.check_write().unwrap().min(100 * small);
    assert!(large > small);
    client.output.write(&vec![7; large as usize]).unwrap();
    client.socket.shutdown(ShutdownType::Send).unwrap();
    assert_eq!(read_to_end(&server.input), vec![7; large as usize]);
}

fn permits(family: Family) {
    let (server, client) = pair(family);
    client.output.subscribe().block();
    for _ in 0..1000 {
        assert!(client.output.check_write().unwrap() > 0);
    }
    for _ in 0..300 {
        assert!(client.output.check_write().unwrap() > 0);
        client.output.write(b"x").unwrap();
    }
    client.output.write_zeroes(10).unwrap();
    client.socket.shutdown(ShutdownType::Send).unwrap();
    let received = read_to_end(&server.input);
    assert_eq!((received.len(), &received[..300]), (310, &[b'x'; 300][..]));
}

fn half_closed(family: Family) {
    let (server, client) = pair(family);
    client.socket.shutdown(ShutdownType::Send).unwrap();
    assert!(read_to_end(&server.input).is_empty());
    write_all(&server.output, b"still heard");
    assert_eq!(client.input.blocking_read(100).unwrap(), b"still heard");
    assert!(client.input.read(100).unwrap().is_empty(), "not at its end");
    assert!(!client.input.subscribe().ready());
}

fn splice(family: Family) {
    let ((server, client), (other_server, other_client)) = (pair(family), pair(family));
    write_all(&client.output, b"through two connections");
    let moved = other_server.output.blocking_splice(&server.input, 100).unwrap();
    assert_eq!(moved, 23);
    assert_eq!(other_server.output.splice(&server.input, 100).unwrap(), 0, "nothing there, and it does not wait");
    assert_eq!(other_client.input.blocking_skip(8).unwrap(), 8);
    assert_eq!(other_client.input.blocking_read(100).unwrap(), b"two connections");
    client.socket.shutdown(ShutdownType::Send).unwrap();
    closed!(other_server.output.blocking_splice(&server.input, 100));
}

/// Everything of the other side is gone: that is the end of what comes, and of what goes.
fn peer_gone(family: Family) {
    let (server, client) = pair(family);
    let Connection { socket, input, output } = server;
    drop((input, output));
    drop(socket);
    closed!(client.input.blocking_read(u64::MAX));
    closed!(client.output.blocking_write_and_flush(b"x"));
}

fn standard() {
    let (input, output) = (wasip2::cli::stdin::get_stdin(), wasip2::cli::stdout::get_stdout());
    assert_eq!(poll(&[&input.subscribe()]), [0]);
    closed!(input.blocking_read(10));
    closed!(input.read(0));
    assert!(output.check_write().unwrap() > 0);
    output.blocking_flush().unwrap();
    assert_eq!(poll(&[&output.subscribe()]), [0]);
}

/// Those that are ready, in order, and nothing else.
fn several(family: Family) {
    let (server, client) = pair(family);
    write_all(&client.output, b"x");
    let (waits, comes, never) = (
        client.input.subscribe(),
        server.input.subscribe(),
        wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX),
    );
    let writes = client.output.subscribe();
    assert_eq!(poll(&[&waits, &comes, &never, &writes, &comes]), [1, 3, 4]);
}
