//! RepliCode's own calls: raw buffers, listeners that were never bound, failures that are 1.

use refrain_kernel::config::{GuestConfig, GuestPort};

use crate::support::script::{PORT, Script, guest};
use crate::support::{data, open, sent};

#[test]
fn a_server_listens_on_the_services_port_and_reads_and_writes_raw_buffers() {
    let mut script = Script::default();
    script
        .call("rc.sock_open", "2 1 0 0", 0)
        .call("rc.sock_listen", "@0 5", 0)
        .call("rc.sock_accept", "@0 0 4", 0)
        .call("rc.sock_recv", "@4 256 2 0 520 0", 0)
        .expect(520, 2)
        .expect_bytes(256, b"he")
        .word(524, 9)
        .call("rc.sock_recv", "@4 258 100 0 520 524", 0)
        .expect(520, 3)
        .expect(524, 0)
        .call("rc.sock_send", "@4 256 5 0 520", 0)
        .expect(520, 5)
        .call("rc.sock_shutdown", "@4 3", 0)
        // That was its end: the descriptor is free.
        .call("rc.sock_close", "@4", 1)
        .call("rc.sock_close", "@0", 0);
    let outcomes = script.run(guest(), &[vec![], vec![open(1, PORT), data(1, b"hello")]]);
    assert_eq!(sent(&outcomes[1]), b"hello");
}

#[test]
fn each_listener_gets_the_next_of_the_services_ports() {
    let mut script = Script::default();
    script
        .call("rc.sock_open", "2 1 0 0", 0)
        .call("rc.sock_listen", "@0 5", 0)
        .call("rc.sock_open", "2 1 0 4", 0)
        .call("rc.sock_listen", "@4 5", 0)
        .call("rc.sock_accept", "@4 0 8", 0)
        .call("rc.sock_recv", "@8 256 2 0 520 0", 0);
    let port = |port, datagram| GuestPort { port, datagram, pass: false };
    let config = GuestConfig { ports: vec![port(79, true), port(80, false), port(81, false)], ..guest() };
    script.run(config, &[vec![], vec![open(1, 81), data(1, b"ab")]]);
}

#[test]
fn every_failure_is_1_and_what_would_wait_is_11() {
    let mut script = Script::default();
    script
        .call("rc.sock_open", "3 1 0 0", 1)
        .call("rc.sock_open", "2 9 0 0", 1)
        .call("rc.sock_open", "2 1 0 65533", 1)
        .call("rc.sock_open", "1 1 0 0", 0)
        .call("rc.sock_accept", "@0 0 4", 1)
        .call("rc.sock_recv", "@0 256 2 0 520 0", 1)
        .call("rc.sock_recv", "@0 65535 2 0 520 0", 1)
        .call("rc.sock_send", "@0 256 2 0 520", 1)
        .call("rc.sock_connect", "@0 32 7", 1)
        .call("rc.sock_shutdown", "@0 9", 1)
        .call("rc.sock_listen", "1 5", 1)
        .call("rc.sock_close", "1", 1)
        .call("rc.sock_listen", "@0 5", 0)
        .call("fd_fdstat_set_flags", "@0 4", 0)
        .call("rc.sock_accept", "@0 0 4", 11);
    script.run_at_once();
}
