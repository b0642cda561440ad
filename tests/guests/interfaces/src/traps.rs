//! What the interfaces forbid: it ends the program.

use wasip2::cli::stdout::get_stdout;
use wasip2::io::poll::poll;
use wasip2::random::random::get_random_bytes;

use crate::addresses::*;

pub const TRAPS: &[(&str, fn())] = &[
    ("trap-poll-nothing", || drop(poll(&[]))),
    ("trap-flush-too-much", || drop(get_stdout().blocking_write_and_flush(&[b'x'; 4097]))),
    ("trap-zeroes", || drop(get_stdout().write_zeroes(u64::MAX))),
    ("trap-flush-zeroes", || drop(get_stdout().blocking_write_zeroes_and_flush(4097))),
    ("trap-random", || drop(get_random_bytes(u64::MAX))),
    ("trap-send-unasked", || send_beyond(None)),
    ("trap-send-too-much", || send_beyond(Some(1))),
    ("trap-send-twice", send_twice),
];

/// Sends without having asked, or so many more than are permitted.
fn send_beyond(beyond: Option<u64>) {
    let (socket, own) = bound_udp(loopback(Family::Ipv4), Family::Ipv4);
    let (_, outgoing) = socket.stream(Some(own)).unwrap();
    let count = beyond.map_or(1, |beyond| outgoing.check_send().unwrap() + beyond);
    let datagrams: Vec<_> = (0..count).map(|_| datagram(b"x", None)).collect();
    let _ = outgoing.send(&datagrams);
}

/// A permit is for one call.
fn send_twice() {
    let (socket, own) = bound_udp(loopback(Family::Ipv4), Family::Ipv4);
    let (_, outgoing) = socket.stream(Some(own)).unwrap();
    outgoing.check_send().unwrap();
    assert_eq!(outgoing.send(&[datagram(b"x", None)]).unwrap(), 1);
    let _ = outgoing.send(&[datagram(b"x", None)]);
}
