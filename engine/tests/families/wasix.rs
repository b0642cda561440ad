//! WASIX: sockets, and the rest that a single-threaded program imports.

use crate::support::script::{PORT, Script, guest};
use crate::support::{data, open, sent};

const VECTOR: u32 = 16;
const DATA: u32 = 256;

#[test]
fn a_server_opens_binds_listens_accepts_and_answers() {
    let mut script = Script::default();
    script.buffer(VECTOR, DATA, 64).bytes(800, &[1, 0, 80, 0]);
    script
        .call("wasix.sock_open", "1 1 6 0", 0)
        .call("wasix.sock_set_opt_flag", "@0 2 1", 0)
        .call("wasix.sock_status", "@0 512", 0)
        .expect_bytes(512, &[0])
        .call("wasix.sock_bind", "@0 800", 0)
        .call("wasix.sock_listen", "@0 5", 0)
        .call("wasix.sock_get_opt_flag", "@0 10 512", 0)
        .expect_bytes(512, &[1])
        .call("wasix.sock_accept_v2", "@0 0 4 800", 0)
        .expect_bytes(800, &[1, 0, 3, 232, 192, 0, 2, 1])
        .call("wasix.sock_status", "@4 512", 0)
        .expect_bytes(512, &[1])
        .call("wasix.sock_recv", "@4 16 1 0 520 524", 0)
        .expect(520, 5)
        .call("wasix.sock_recv", "@4 16 1 8 520 524", 6)
        .word(VECTOR + 4, 5)
        .call("wasix.sock_send", "@4 16 1 0 520", 0)
        .call("wasix.sock_addr_local", "@4 800", 0)
        .expect_bytes(802, &PORT.to_be_bytes())
        .call("wasix.sock_addr_peer", "@0 800", 53)
        .call("wasix.sock_get_opt_size", "@4 25 512", 0)
        .expect(512, 1)
        .call("wasix.sock_get_opt_size", "@4 26 512", 0)
        .expect(512, 6)
        .call("wasix.sock_get_opt_size", "@4 15 512", 0)
        .expect(512, 1 << 20)
        .call("wasix.sock_set_opt_size", "@4 15 4096L", 0)
        .call("wasix.sock_set_opt_time", "@4 19 512", 0)
        .call("wasix.sock_get_opt_time", "@4 19 512", 0)
        .expect(512, 0)
        .call("wasix.sock_accept", "@0 0 4 800", 0);
    let outcomes = script.run(guest(), &[vec![], vec![open(1, PORT), data(1, b"hello")], vec![open(2, PORT)]]);
    assert_eq!(sent(&outcomes[1]), b"hello");
}

#[test]
fn a_read_that_waits_for_all_returns_when_all_is_there() {
    let mut script = Script::default();
    script.buffer(VECTOR, DATA, 5).bytes(800, &[1, 0, 80, 0]);
    script
        .call("wasix.sock_open", "1 1 6 0", 0)
        .call("wasix.sock_bind", "@0 800", 0)
        .call("wasix.sock_listen", "@0 5", 0)
        .call("wasix.sock_accept", "@0 0 4 800", 0)
        .call("wasix.sock_recv", "@4 16 1 10 520 524", 0)
        .expect(520, 2)
        .call("wasix.sock_recv", "@4 16 1 2 520 524", 0)
        .expect(520, 5)
        .call("wasix.sock_recv", "@4 16 1 16 520 524", 28);
    script.run(guest(), &[vec![], vec![open(1, PORT), data(1, b"he")], vec![data(1, b"llo")], vec![data(1, b"wo")]]);
}

#[test]
fn a_file_goes_down_a_socket() {
    let mut script = Script::default();
    script.buffer(VECTOR, DATA, 8).bytes(DATA, b"contents").bytes(400, b"file").bytes(800, &[1, 0, 80, 0]);
    script
        // Created in the first preopened folder, which is 3.
        .call("wasix.path_open2", "3 0 400 4 1 -1L -1L 0 0 12", 0)
        .call("fd_write", "@12 16 1 520", 0)
        .call("wasix.sock_open", "1 1 0 0", 0)
        .call("wasix.sock_bind", "@0 800", 0)
        .call("wasix.sock_listen", "@0 5", 0)
        .call("wasix.sock_accept", "@0 0 4 800", 0)
        .call("wasix.sock_send_file", "@4 @12 3L 100L 520", 0)
        .expect(520, 5)
        .expect(524, 0)
        .call("wasix.sock_send_file", "@4 @12 8L 100L 520", 0)
        .expect(520, 0)
        .call("wasix.sock_send_file", "@4 99 0L 1L 520", 8)
        .call("wasix.sock_send_file", "@12 @12 0L 1L 520", 57)
        .call("wasix.sock_send_file", "@4 @12 0L 1L 65530", 21);
    let outcomes = script.run(guest(), &[vec![], vec![open(1, PORT)]]);
    assert_eq!(sent(&outcomes[1]), b"tents");
}

#[test]
fn what_is_no_socket_or_makes_no_sense_is_told() {
    for (function, rest) in [
        ("wasix.sock_accept", "0 4 800"),
        ("wasix.sock_addr_local", "800"),
        ("wasix.sock_addr_peer", "800"),
        ("wasix.sock_bind", "800"),
        ("wasix.sock_connect", "800"),
        ("wasix.sock_get_opt_flag", "10 512"),
        ("wasix.sock_get_opt_size", "11 512"),
        ("wasix.sock_get_opt_time", "19 512"),
        ("wasix.sock_listen", "5"),
        ("wasix.sock_recv", "16 1 0 520 524"),
        ("wasix.sock_recv_from", "16 1 0 520 524 800"),
        ("wasix.sock_send", "16 1 0 520"),
        ("wasix.sock_send_to", "16 1 0 800 520"),
        ("wasix.sock_set_opt_flag", "2 1"),
        ("wasix.sock_set_opt_size", "15 1L"),
        ("wasix.sock_set_opt_time", "19 512"),
        ("wasix.sock_status", "512"),
    ] {
        let mut script = Script::default();
        script.buffer(VECTOR, DATA, 64).bytes(800, &[1, 0, 56, 21, 192, 0, 2, 9]);
        script.call(function, &format!("1 {rest}"), 57).call(function, &format!("99 {rest}"), 8);
        script.run_at_once();
    }
    let mut script = Script::default();
    script
        .call("wasix.sock_open", "3 1 0 0", 5)
        .call("wasix.sock_open", "1 3 0 0", 66)
        .call("wasix.sock_open", "1 1 17 0", 66)
        .call("wasix.sock_open", "1 2 6 0", 66)
        .call("wasix.sock_open", "1 1 0 65533", 21)
        .call("wasix.sock_open", "1 1 0 0", 0)
        .bytes(800, &[3, 0, 80, 0])
        .call("wasix.sock_bind", "@0 800", 5)
        .call("wasix.sock_bind", "@0 65530", 21)
        .call("wasix.sock_set_opt_flag", "@0 27 1", 28)
        .call("wasix.sock_pair", "1 1 0 0 4", 58)
        .call("wasix.sock_join_multicast_v4", "@0 800 800", 58);
    script.run_at_once();
}

#[test]
fn a_thread_sleeps_and_a_futex_waits_for_its_time_alone() {
    let mut script = Script::default();
    script
        .call("wasix.thread_sleep", "1500000L", 0)
        .word(512, 7)
        .call("wasix.futex_wait", "512 8 520 540", 28)
        // Without a limit nobody would ever wake it.
        .call("wasix.futex_wait", "512 7 520 540", 16)
        .bytes(520, &[1])
        .word(528, 1_500_000)
        .bytes(540, &[9])
        .call("wasix.futex_wait", "512 7 520 540", 0)
        .expect_bytes(540, &[0])
        .call("wasix.futex_wake", "512 540", 0)
        .call("wasix.futex_wake_all", "512 540", 0)
        .expect_bytes(540, &[0]);
    let outcomes = script.run(guest(), &vec![vec![]; 5]);
    assert!(outcomes[0].wants.is_some());
}

#[test]
fn one_process_of_one_thread_in_the_root_folder() {
    let mut script = Script::default();
    script
        .call("wasix.proc_id", "512", 0)
        .expect(512, 1)
        .call("wasix.proc_parent", "1 512", 0)
        .expect(512, 0)
        .call("wasix.proc_parent", "2 512", 71)
        .call("wasix.thread_id", "512", 0)
        .expect(512, 1)
        .call("wasix.thread_parallelism", "512", 0)
        .expect(512, 1)
        .call("wasix.getcwd", "520 512", 0)
        .expect(512, 1)
        .expect_bytes(520, b"/")
        .word(512, 0)
        .call("wasix.getcwd", "520 512", 61)
        .expect(512, 1)
        .call("wasix.chdir", "520 1", 0)
        .bytes(521, b"tmp")
        .call("wasix.chdir", "520 4", 58)
        .call("wasix.tty_get", "600", 0)
        .expect(600, 80)
        .call("wasix.tty_set", "600", 0)
        .call("wasix.fd_fdflags_get", "1 512", 0)
        .call("wasix.fd_fdflags_set", "1 1", 0)
        .call("wasix.fd_fdflags_set", "99 1", 8)
        .word(512, 9)
        .call("wasix.port_addr_list", "0 512", 0)
        .expect(512, 0)
        .call("wasix.proc_signals_sizes_get", "512", 0)
        .expect(512, 0);
    script.run_at_once();
}

#[test]
fn what_one_process_cannot_do_is_an_errno() {
    let mut script = Script::default();
    script
        .call("wasix.proc_fork", "1 512", 52)
        .call("wasix.proc_join", "512 0 516", 12)
        .call("wasix.proc_exec3", "0 0 0 0 0 0 0 0 0", 52)
        .call("wasix.proc_spawn2", "0 0 0 0 0 0 0 0 0 0 0 0 0 0", 52)
        .call("wasix.proc_signal", "1 15", 52)
        .call("wasix.thread_signal", "1 15", 52)
        .call("wasix.fd_dup", "0 512", 58)
        .call("wasix.fd_pipe", "512 516", 58)
        .call("wasix.fd_event", "0L 0 512", 58)
        .call("wasix.clock_time_set", "0 0L", 63)
        .call("wasix.port_mac", "512", 58);
    script.run_at_once();
}
