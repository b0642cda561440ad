//! Options of stream sockets: what they are at first, what they may be, what they become.

use wasip2::sockets::tcp::TcpSocket;

use crate::addresses::*;
use crate::{Check, both};

const SECOND: u64 = 1_000_000_000;
const INVALID: Option<ErrorCode> = Some(ErrorCode::InvalidArgument);

pub const CHECKS: &[Check] = &[
    ("tcp-option-defaults", || both(defaults)),
    ("tcp-option-limits", || both(limits)),
    ("tcp-option-accepted", || both(accepted)),
];

fn defaults(family: Family) {
    let socket = tcp(family);
    socket.keep_alive_enabled().unwrap();
    let times = [socket.keep_alive_idle_time().unwrap(), socket.keep_alive_interval().unwrap()];
    assert!(times.iter().all(|time| *time > 0));
    assert!(socket.keep_alive_count().unwrap() > 0 && socket.hop_limit().unwrap() > 0);
    assert!(socket.receive_buffer_size().unwrap() > 0 && socket.send_buffer_size().unwrap() > 0);
}

fn limits(family: Family) {
    let socket = tcp(family);
    assert_eq!(error(socket.set_listen_backlog_size(0)), INVALID);
    socket.set_listen_backlog_size(1).unwrap();
    socket.set_listen_backlog_size(u64::MAX).unwrap();

    assert_eq!(error(socket.set_keep_alive_idle_time(0)), INVALID);
    socket.set_keep_alive_idle_time(1).unwrap();
    assert!((1..=SECOND).contains(&socket.keep_alive_idle_time().unwrap()), "the least that there is");
    socket.set_keep_alive_idle_time(u64::MAX).unwrap();
    assert_eq!(error(socket.set_keep_alive_interval(0)), INVALID);
    socket.set_keep_alive_interval(1).unwrap();
    assert!((1..=SECOND).contains(&socket.keep_alive_interval().unwrap()));
    socket.set_keep_alive_interval(u64::MAX).unwrap();
    assert_eq!(error(socket.set_keep_alive_count(0)), INVALID);
    socket.set_keep_alive_count(u32::MAX).unwrap();
    assert!(socket.keep_alive_count().unwrap() > 0);

    assert_eq!(error(socket.set_hop_limit(0)), INVALID);
    for hops in [1, 42, u8::MAX] {
        socket.set_hop_limit(hops).unwrap();
        assert_eq!(socket.hop_limit().unwrap(), hops);
    }
    assert_eq!(error(socket.set_receive_buffer_size(0)), INVALID);
    assert_eq!(error(socket.set_send_buffer_size(0)), INVALID);
    for bytes in [1, 0x10000, u64::MAX] {
        socket.set_receive_buffer_size(bytes).unwrap();
        socket.set_send_buffer_size(bytes).unwrap();
        assert!(socket.receive_buffer_size().unwrap() > 0 && socket.send_buffer_size().unwrap() > 0);
    }
}

fn set(socket: &TcpSocket, on: bool, number: u8) {
    socket.set_keep_alive_enabled(on).unwrap();
    socket.set_keep_alive_idle_time(u64::from(number) * SECOND).unwrap();
    socket.set_keep_alive_interval(u64::from(number) * SECOND).unwrap();
    socket.set_keep_alive_count(u32::from(number)).unwrap();
    socket.set_hop_limit(number).unwrap();
    socket.set_receive_buffer_size(u64::from(number) << 12).unwrap();
    socket.set_send_buffer_size(u64::from(number) << 12).unwrap();
}

fn check(socket: &TcpSocket, on: bool, number: u8) {
    assert_eq!(socket.keep_alive_enabled().unwrap(), on);
    assert_eq!(socket.keep_alive_idle_time().unwrap(), u64::from(number) * SECOND);
    assert_eq!(socket.keep_alive_interval().unwrap(), u64::from(number) * SECOND);
    assert_eq!(socket.keep_alive_count().unwrap(), u32::from(number));
    assert_eq!(socket.hop_limit().unwrap(), number);
    assert_eq!(socket.receive_buffer_size().unwrap(), u64::from(number) << 12);
    assert_eq!(socket.send_buffer_size().unwrap(), u64::from(number) << 12);
}

/// What is accepted has the options of its listener, as they were then, whenever they were set.
fn accepted(family: Family) {
    let on = !tcp(family).keep_alive_enabled().unwrap();
    for after in [false, true] {
        let listener = tcp(family);
        if !after {
            set(&listener, on, 42);
            check(&listener, on, 42);
        }
        bind(&listener, at(loopback(family), 0)).unwrap();
        listen(&listener).unwrap();
        if after {
            set(&listener, on, 42);
        }
        let client = tcp(family);
        let _streams = connect(&client, listener.local_address().unwrap()).unwrap();
        let accepted = accept(&listener);
        check(&accepted.socket, on, 42);
        set(&listener, !on, 43);
        check(&accepted.socket, on, 42);
    }
}
