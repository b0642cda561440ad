//! WasmEdge's sockets, both forms.

use refrain_wire::Record;

use crate::support::script::{PORT, Script, guest};
use crate::support::{data, open, sent};

/// Where the scripts keep things: the listener's descriptor, the connection's, a vector, an address structure with its
/// bytes, results.
const LISTENER: u32 = 0;
const CLIENT: u32 = 4;
const VECTOR: u32 = 16;
const ADDRESS: u32 = 32;
const ADDRESS_BYTES: u32 = 64;
const DATA: u32 = 256;

fn client_sends_hello() -> Vec<Record> {
    vec![open(1, PORT), data(1, b"hello")]
}

#[test]
fn a_server_of_the_first_form_opens_binds_listens_accepts_and_answers() {
    let mut script = Script::default();
    script.buffer(VECTOR, DATA, 64).buffer(ADDRESS, ADDRESS_BYTES, 4);
    script
        .call("v1.sock_open", "1 2 0", 0)
        .call("v1.sock_setsockopt", "@0 0 0 16 4", 0)
        .call("v1.sock_bind", "@0 32 80", 0)
        .call("v1.sock_listen", "@0 5", 0)
        .call("v1.sock_getsockopt", "@0 0 13 512 516", 28)
        .word(516, 4)
        .call("v1.sock_getsockopt", "@0 0 13 512 516", 0)
        .expect(512, 1)
        .call("v1.sock_getsockopt", "@0 0 1 512 516", 0)
        .expect(512, 2)
        .call("v1.sock_accept", "@0 4", 0)
        .call("sock_recv", "@4 16 1 0 520 524", 0)
        .expect(520, 5)
        .word(VECTOR + 4, 5)
        .call("sock_send", "@4 16 1 0 520", 0)
        .expect(520, 5)
        .buffer(ADDRESS, ADDRESS_BYTES, 16)
        .call("v1.sock_getpeeraddr", "@4 32 520 524", 0)
        .expect(520, 4)
        .expect(524, 1000)
        .expect_bytes(ADDRESS_BYTES, &[192, 0, 2, 1])
        .call("v1.sock_getlocaladdr", "@4 32 520 524", 0)
        .expect(524, u32::from(PORT))
        .call("sock_shutdown", "@4 2", 0);
    let outcomes = script.run(guest(), &[vec![], client_sends_hello()]);
    assert_eq!(sent(&outcomes[1]), b"hello");
    let _ = (LISTENER, CLIENT);
}

#[test]
fn a_server_of_the_second_form_has_addresses_with_their_family() {
    let mut script = Script::default();
    script.buffer(VECTOR, DATA, 64).buffer(ADDRESS, ADDRESS_BYTES, 128).bytes(ADDRESS_BYTES, &[1, 0, 0, 0, 0, 0]);
    script
        .call("v2.sock_open_v2", "1 2 0", 0)
        .call("v2.sock_bind_v2", "@0 32 80", 0)
        .call("v2.sock_listen_v2", "@0 5", 0)
        .call("v2.sock_getlocaladdr_v2", "@0 32 524", 0)
        .expect(524, u32::from(PORT))
        .call("v2.sock_accept_v2", "@0 0 4", 0)
        .call("v2.sock_recv_v2", "@4 16 1 0 520 528", 0)
        .expect(520, 5)
        .word(VECTOR + 4, 5)
        .call("v2.sock_send_v2", "@4 16 1 0 520", 0)
        .call("v2.sock_getpeeraddr", "@4 32 524", 0)
        .expect(524, 1000)
        .expect_bytes(ADDRESS_BYTES, &[1, 0, 192, 0, 2, 1])
        .call("v2.sock_getpeeraddr_v2", "@0 32 524", 53)
        // On a connection the sender of what is received is its client.
        .call("v2.sock_recv_from", "@4 16 1 32 0 532 520 528", 0)
        .expect(520, 2)
        .expect(532, 1000);
    let outcomes = script.run(guest(), &[vec![], client_sends_hello(), vec![data(1, b"ho")]]);
    assert_eq!(sent(&outcomes[1]), b"hello");
}

#[test]
fn an_accept_that_does_not_wait_is_told_so() {
    let mut script = Script::default();
    script
        .call("v1.sock_open", "1 0 0", 0)
        .call("v1.sock_listen", "@0 0", 0)
        .call("fd_fdstat_set_flags", "@0 4", 0)
        .call("v1.sock_accept", "@0 4", 6);
    script.run_at_once();
}

#[test]
fn what_is_no_socket_or_not_that_kind_is_told_by_every_function() {
    for (function, rest) in [
        ("v1.sock_accept", "4"),
        ("v1.sock_bind", "32 80"),
        ("v1.sock_connect", "32 5432"),
        ("v1.sock_getlocaladdr", "32 520 524"),
        ("v1.sock_getpeeraddr", "32 520 524"),
        ("v1.sock_getsockopt", "0 2 512 516"),
        ("v1.sock_listen", "5"),
        ("v1.sock_recv_from", "16 1 32 0 520 524"),
        ("v1.sock_send_to", "16 1 32 80 0 520"),
        ("v1.sock_setsockopt", "0 2 512 4"),
        ("v2.sock_accept_v2", "0 4"),
        ("v2.sock_bind_v2", "32 80"),
        ("v2.sock_connect_v2", "32 5432"),
        ("v2.sock_getlocaladdr", "32 524"),
        ("v2.sock_getpeeraddr_v2", "32 524"),
        ("v2.sock_listen_v2", "5"),
        ("v2.sock_recv_from_v2", "16 1 32 0 532 520 524"),
        ("v2.sock_recv_v2", "16 1 0 520 524"),
        ("v2.sock_send_to_v2", "16 1 32 80 0 520"),
        ("v2.sock_send_v2", "16 1 0 520"),
    ] {
        let mut script = Script::default();
        script.buffer(VECTOR, DATA, 64).buffer(ADDRESS, ADDRESS_BYTES, 16).word(516, 4);
        // Standard output is no socket, 99 is nothing.
        script.call(function, &format!("1 {rest}"), 57).call(function, &format!("99 {rest}"), 8);
        script.run_at_once();
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let mut script = Script::default();
    script
        .call("v1.sock_open", "3 2 0", 5)
        .call("v1.sock_open", "1 3 0", 66)
        .call("v1.sock_open", "1 2 65533", 21)
        .call("v1.sock_open", "2 2 0", 0)
        .buffer(ADDRESS, ADDRESS_BYTES, 5)
        .call("v1.sock_bind", "@0 32 80", 28)
        .buffer(ADDRESS, 65530, 16)
        .call("v1.sock_bind", "@0 32 80", 21)
        .buffer(ADDRESS, ADDRESS_BYTES, 16)
        .call("v1.sock_bind", "@0 32 65536", 28)
        .call("v1.sock_bind", "@0 65530 80", 21)
        .call("v1.sock_setsockopt", "@0 1 0 512 4", 50)
        .call("v1.sock_setsockopt", "@0 0 15 512 4", 50)
        .call("v1.sock_setsockopt", "@0 0 0 65533 4", 21)
        .word(516, 4)
        .call("v1.sock_getsockopt", "@0 0 15 512 516", 50)
        .call("v1.sock_getsockopt", "@0 0 2 65533 516", 21)
        .call("v1.sock_getsockopt", "@0 0 2 512 65533", 21)
        .call("v1.sock_accept", "@0 4", 28)
        .call("v1.sock_getpeeraddr", "@0 32 520 524", 53);
    script.run_at_once();
}

#[test]
fn epoll_oneoff_is_poll_oneoff() {
    let mut script = Script::default();
    // A clock that has gone by already.
    script.word(16, 1).call("v1.epoll_oneoff", "0 64 1 128", 0).expect(128, 1);
    script.call("v1.epoll_oneoff", "0 64 0 128", 28);
    script.run_at_once();
}
