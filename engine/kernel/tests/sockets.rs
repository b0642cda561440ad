//! Sockets turn by turn: what records do to flows, and what the guest's calls answer.

mod support;

use refrain_kernel::descriptor::Descriptor;
use refrain_kernel::files::OpenRequest;
use refrain_kernel::fs::{Follow, OpenFlags};
use refrain_kernel::poll::Interest;
use refrain_kernel::socket::Shutdown;
use refrain_kernel::{Errno, Kernel, Stop, Subscription, rights};
use refrain_wire::EffectKind::{Bytes, Consumed, Finish, Listen, Reset, Unlisten};
use refrain_wire::{Record, Serial};
use support::{
    AGAIN, LISTENER, PORT, ROOT_DIR, Rig, config, credit, data, effects, open, open_at, recv, reset, shutdown,
};

const NONBLOCK: u16 = 4;
const WRITE: Shutdown = Shutdown { read: false, write: true };

#[test]
fn a_connection_is_accepted_read_answered_and_closed() {
    let mut rig = Rig::new(config());
    let mut fd = 0;
    let end = rig.turn(&[open(1), data(1, b"ping")], |kernel| {
        fd = kernel.accept(LISTENER, 0).unwrap();
        assert_eq!(recv(kernel, fd, 10), Ok(b"ping".to_vec()));
        assert_eq!(kernel.send(fd, b"pong"), Ok(4));
        assert_eq!(recv(kernel, fd, 10), Err(Stop::Block));
    });
    assert_eq!(effects(&end), [(Bytes, 1, 0, 4)]);
    let end = rig.turn(&[shutdown(1)], |kernel| {
        assert_eq!(recv(kernel, fd, 10), Ok(Vec::new()), "the end of the stream");
        kernel.close(fd).unwrap();
    });
    assert_eq!(effects(&end), [(Finish, 1, 4, 0)]);
    assert_eq!(rig.kernel.flow_count(), 1, "the client has not taken the answer");
    assert_eq!(effects(&rig.turn(&[credit(1, 4)], |_| ())), []);
    assert_eq!(rig.kernel.flow_count(), 0);
}

#[test]
fn connections_are_accepted_in_order_and_have_their_addresses() {
    let mut rig = Rig::new(config());
    rig.turn(&[open(7), open(3)], |kernel| {
        let (a, b) = (kernel.accept(LISTENER, 0).unwrap(), kernel.accept(LISTENER, 0).unwrap());
        assert_eq!(kernel.accept(LISTENER, 0), Err(Stop::Block));
        assert_eq!(kernel.peer_address(a).unwrap(), "192.0.2.1:1000".parse().unwrap());
        assert_eq!(kernel.local_address(b).unwrap().port(), PORT);
        kernel.send(a, b"seven").unwrap();
    });
    let end = rig.turn(&[data(3, b"x")], |kernel| assert_eq!(recv(kernel, 6, 9), Ok(b"x".to_vec())));
    assert_eq!(effects(&end), []);
}

#[test]
fn a_port_that_nobody_listens_on_refuses() {
    let mut rig = Rig::new(config());
    assert_eq!(effects(&rig.turn(&[open_at(1, 81), data(1, b"lost")], |_| ())), [(Reset, 1, 0, 0)]);
    assert_eq!(effects(&rig.turn(&[data(1, b"late"), credit(1, 5), shutdown(1), reset(1)], |_| ())), []);
}

#[test]
fn a_serial_that_is_used_twice_loses_its_flow() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    let end = rig.turn(&[open(1)], |kernel| assert_eq!(recv(kernel, fd, 1), Err(Stop::Errno(Errno::Connreset))));
    assert_eq!(effects(&end), [(Reset, 1, 0, 0)]);
    assert_eq!(rig.kernel.flow_count(), 0);
}

#[test]
fn half_close_works_in_both_directions() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    let end = rig.turn(&[data(1, b"rest"), shutdown(1)], |kernel| {
        assert_eq!(recv(kernel, fd, 9), Ok(b"rest".to_vec()));
        assert_eq!(recv(kernel, fd, 9), Ok(Vec::new()));
        assert_eq!(kernel.send(fd, b"still"), Ok(5), "a client that has finished still reads");
        kernel.shutdown(fd, WRITE).unwrap();
        kernel.shutdown(fd, WRITE).unwrap();
        assert_eq!(kernel.send(fd, b"no"), Err(Stop::Errno(Errno::Pipe)));
    });
    assert_eq!(effects(&end), [(Bytes, 1, 0, 5), (Finish, 1, 5, 0)]);
    let other = rig.flow(2);
    rig.turn(&[data(2, b"unread")], |kernel| {
        kernel.shutdown(other, Shutdown { read: true, write: false }).unwrap();
        assert_eq!(recv(kernel, other, 9), Ok(Vec::new()), "what was not read is gone");
        assert_eq!(kernel.send(other, b"x"), Ok(1));
    });
}

#[test]
fn a_reset_from_outside_ends_both_directions_and_says_nothing() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[], |kernel| assert_eq!(kernel.send(fd, b"kept"), Ok(4)));
    let end = rig.turn(&[data(1, b"x"), reset(1)], |kernel| {
        assert_eq!(recv(kernel, fd, 1), Err(Stop::Errno(Errno::Connreset)));
        assert_eq!(kernel.send(fd, b"x"), Err(Stop::Errno(Errno::Pipe)));
        assert_eq!(kernel.shutdown(fd, WRITE), Err(Errno::Notconn));
        kernel.close(fd).unwrap();
    });
    assert_eq!(effects(&end), []);
}

#[test]
fn a_reset_flows_descriptor_does_not_reach_its_successor() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[reset(1), open(2), data(2, b"two")], |kernel| {
        assert_eq!(recv(kernel, fd, 9), Err(Stop::Errno(Errno::Connreset)));
        kernel.close(fd).unwrap();
        let fd = kernel.accept(LISTENER, 0).unwrap();
        assert_eq!(recv(kernel, fd, 9), Ok(b"two".to_vec()), "closing the old one did not touch the new one");
    });
}

#[test]
fn data_after_the_guest_closed_resets() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    let end = rig.turn(&[], |kernel| kernel.close(fd).unwrap());
    assert_eq!(effects(&end), [(Finish, 1, 0, 0)]);
    assert_eq!(effects(&rig.turn(&[data(1, b"x")], |_| ())), [(Reset, 1, 0, 0)]);
    assert_eq!(rig.kernel.flow_count(), 0);
}

#[test]
fn a_connection_that_was_reset_while_it_waited_is_not_accepted() {
    let mut rig = Rig::new(config());
    rig.turn(&[open(1), open(2)], |_| ());
    rig.turn(&[reset(1)], |kernel| {
        let fd = kernel.accept(LISTENER, NONBLOCK).unwrap();
        kernel.send(fd, b"x").unwrap();
        assert_eq!(recv(kernel, fd, 1), Err(AGAIN));
        assert_eq!(kernel.accept(LISTENER, 0), Err(Stop::Block));
    });
}

#[test]
fn what_was_written_in_the_turn_of_a_reset_is_not_sent() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[], |kernel| kernel.close(fd).unwrap());
    let fd = rig.flow(2);
    let end = rig.turn(&[data(1, b"x")], |kernel| assert_eq!(kernel.send(fd, b"ok"), Ok(2)));
    assert_eq!(effects(&end), [(Reset, 1, 0, 0), (Bytes, 2, 0, 2)]);
}

#[test]
fn a_guest_makes_its_own_listener() {
    let mut rig = Rig::new(config());
    let mut fd = 0;
    let end = rig.turn(&[], |kernel| {
        fd = kernel.socket(false, false).unwrap();
        assert_eq!(kernel.accept(fd, 0), Err(Stop::Errno(Errno::Inval)), "not listening");
        assert_eq!(kernel.bind(fd, PORT), Err(Errno::Addrinuse));
        kernel.bind(fd, 8080).unwrap();
        assert_eq!(kernel.bind(fd, 8081), Err(Errno::Inval), "bound already");
        kernel.listen(fd, 5).unwrap();
        kernel.listen(fd, 6).unwrap();
        let second = kernel.socket(true, false).unwrap();
        assert_eq!(kernel.bind(second, 8080), Err(Errno::Addrinuse));
        kernel.listen(second, 1).unwrap();
        assert_eq!(kernel.local_address(second).unwrap().port(), 49152, "a free port where none was named");
    });
    assert_eq!(effects(&end), [(Listen, 0, 8080, 0), (Listen, 0, 49152, 0)]);
    rig.turn(&[open_at(1, 8080)], |kernel| assert!(kernel.accept(fd, 0).is_ok()));
    let end = rig.turn(&[open_at(2, 8080)], |kernel| kernel.close(fd).unwrap());
    assert_eq!(effects(&end), [(Reset, 2, 0, 0), (Unlisten, 0, 8080, 0)], "those that wait are turned away");
    assert_eq!(rig.kernel.flow_count(), 1, "the accepted one stays");
    assert_eq!(effects(&rig.turn(&[open_at(3, 8080)], |_| ())), [(Reset, 3, 0, 0)]);
}

#[test]
fn listening_and_closing_in_a_loop_makes_no_effects() {
    let mut rig = Rig::new(config());
    let end = rig.turn(&[], |kernel| {
        for _ in 0..1000 {
            let fd = kernel.socket(false, false).unwrap();
            kernel.bind(fd, 8080).unwrap();
            kernel.listen(fd, 1).unwrap();
            kernel.close(fd).unwrap();
        }
    });
    assert_eq!(effects(&end), []);
}

#[test]
fn two_sockets_bound_to_one_port_do_not_both_listen() {
    let mut rig = Rig::new(config());
    rig.turn(&[], |kernel| {
        let (a, b) = (kernel.socket(false, false).unwrap(), kernel.socket(false, false).unwrap());
        kernel.bind(a, 8080).unwrap();
        kernel.bind(b, 8080).unwrap();
        kernel.listen(a, 1).unwrap();
        assert_eq!(kernel.listen(b, 1), Err(Errno::Addrinuse));
        kernel.close(b).unwrap();
        assert_eq!(kernel.accept(a, 0), Err(Stop::Block), "closing the other did not end the listener");
    });
}

#[test]
fn a_port_that_is_passed_in_twice_is_listened_on_until_both_are_closed() {
    let mut config = config();
    config.ports.push(config.ports[0].clone());
    let mut rig = Rig::new(config);
    rig.turn(&[], |kernel| {
        kernel.close(LISTENER).unwrap();
        assert_eq!(kernel.accept(LISTENER + 1, 0), Err(Stop::Block));
        kernel.close(LISTENER + 1).unwrap();
        assert_eq!(kernel.listening().count(), 0);
    });
}

#[test]
fn calls_on_the_wrong_kind_of_descriptor_are_told_so() {
    type Call = fn(&mut Kernel, u32) -> Result<(), Stop>;
    let mut rig = Rig::new(config());
    let flow = rig.flow(1);
    rig.turn(&[], |kernel| {
        let idle = kernel.socket(false, false).unwrap();
        let accept: Call = |kernel, fd| kernel.accept(fd, 0).map(drop);
        let receive: Call = |kernel, fd| recv(kernel, fd, 1).map(drop);
        let send: Call = |kernel, fd| kernel.send(fd, b"x").map(drop);
        let bind: Call = |kernel, fd| Ok(kernel.bind(fd, 0)?);
        let listen: Call = |kernel, fd| Ok(kernel.listen(fd, 1)?);
        let peer: Call = |kernel, fd| Ok(kernel.peer_address(fd).map(drop)?);
        for (call, fd, errno) in [
            (accept, 99, Errno::Badf),
            (accept, 1, Errno::Notsock),
            (accept, flow, Errno::Inval),
            (receive, 99, Errno::Badf),
            (receive, 0, Errno::Notsock),
            (receive, LISTENER, Errno::Notconn),
            (send, idle, Errno::Notconn),
            (send, 2, Errno::Notsock),
            (bind, 99, Errno::Badf),
            (bind, 0, Errno::Notsock),
            (bind, flow, Errno::Inval),
            (listen, flow, Errno::Inval),
            (listen, 0, Errno::Notsock),
            (peer, idle, Errno::Notconn),
            (peer, 99, Errno::Badf),
        ] {
            assert_eq!(call(kernel, fd), Err(Stop::Errno(errno)), "descriptor {fd}");
        }
    });
}

#[test]
fn peeking_leaves_the_bytes_and_an_empty_read_or_write_asks_for_nothing() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[data(1, b"abc")], |kernel| {
        let mut out = [0; 2];
        assert_eq!(kernel.recv(fd, &mut out, true), Ok(2));
        assert_eq!(&out, b"ab");
        assert_eq!(kernel.recv(fd, &mut [], false), Ok(0));
        assert_eq!(kernel.send(fd, &[]), Ok(0));
        assert_eq!(recv(kernel, fd, 9), Ok(b"abc".to_vec()));
    });
}

#[test]
fn renumbered_sockets_keep_their_flow_and_close_what_was_there() {
    let mut rig = Rig::new(config());
    let (one, two) = (rig.flow(1), rig.flow(2));
    let end = rig.turn(&[data(1, b"x")], |kernel| {
        kernel.renumber(one, two).unwrap();
        assert_eq!(recv(kernel, two, 1), Ok(b"x".to_vec()));
        assert_eq!(recv(kernel, one, 1), Err(Stop::Errno(Errno::Badf)));
        assert_eq!(kernel.renumber(one, two), Err(Errno::Badf));
        assert_eq!(kernel.renumber(two, 99), Err(Errno::Badf));
        kernel.renumber(two, two).unwrap();
    });
    assert_eq!(effects(&end), [(Finish, 2, 0, 0)]);
}

#[test]
fn data_records_bring_what_was_delivered() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[], |kernel| assert_eq!(kernel.send(fd, &[1; 2000]), Ok(1000), "the buffer's size"));
    let both = Record::Data { serial: Serial(1), delivered: 300, bytes: bytes::Bytes::from_static(b"x") };
    let end = rig.turn(&[both], |kernel| assert_eq!(kernel.send(fd, &[1; 2000]), Ok(300)));
    assert_eq!(effects(&end), [(Bytes, 1, 1000, 300)]);
}

#[test]
fn consumption_is_told_at_half_a_window_and_only_then() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    let end = rig.turn(&[data(1, &[1; 1000])], |kernel| drop(recv(kernel, fd, 499)));
    assert_eq!(effects(&end), []);
    assert_eq!(effects(&rig.turn(&[], |kernel| drop(recv(kernel, fd, 1)))), [(Consumed, 1, 500, 0)]);
    assert_eq!(effects(&rig.turn(&[], |kernel| drop(recv(kernel, fd, 499)))), []);
    assert_eq!(effects(&rig.turn(&[], |kernel| drop(recv(kernel, fd, 9)))), [(Consumed, 1, 1000, 0)]);
}

#[test]
fn rights_that_were_dropped_are_gone_for_sockets_too() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    let drop_rights = |kernel: &mut Kernel, fd: u32, dropped: u64, not_given: u64| {
        let Descriptor { rights, inheriting, .. } = kernel.descriptor(fd).unwrap().clone();
        kernel.set_rights(fd, rights & !dropped, inheriting & !not_given).unwrap();
    };
    rig.turn(&[open(2), data(1, b"x"), data(2, b"y")], |kernel| {
        drop_rights(kernel, fd, rights::SOCK_SHUTDOWN, 0);
        assert_eq!(kernel.shutdown(fd, WRITE), Err(Errno::Notcapable));
        drop_rights(kernel, fd, rights::FD_READ, 0);
        assert_eq!(recv(kernel, fd, 1), Err(Errno::Badf.into()));
        assert_eq!(kernel.recv_from(fd, &mut [0; 1], false), Err(Errno::Badf.into()));
        assert_eq!(kernel.await_all(fd, 1), Err(Errno::Badf.into()));
        assert_eq!(kernel.send(fd, b"x"), Ok(1), "that is another right");
        drop_rights(kernel, fd, rights::FD_WRITE, 0);
        assert_eq!(kernel.send(fd, b"x"), Err(Errno::Badf.into()));
        assert_eq!(kernel.send_to(fd, b"x", None), Err(Errno::Badf.into()));
        let datagrams = kernel.socket(false, true).unwrap();
        drop_rights(kernel, datagrams, rights::FD_READ | rights::FD_WRITE, 0);
        assert_eq!(kernel.recv_from(datagrams, &mut [0; 1], false), Err(Errno::Badf.into()));
        assert_eq!(kernel.send_to(datagrams, b"x", None), Err(Errno::Badf.into()));
        // What is accepted has no more than its listener gives on.
        drop_rights(kernel, LISTENER, 0, rights::FD_WRITE);
        let accepted = kernel.accept(LISTENER, 0).unwrap();
        assert_eq!(recv(kernel, accepted, 1), Ok(b"y".to_vec()));
        assert_eq!(kernel.send(accepted, b"x"), Err(Errno::Badf.into()));
        drop_rights(kernel, LISTENER, rights::SOCK_ACCEPT, 0);
        assert_eq!(kernel.accept(LISTENER, 0), Err(Errno::Notcapable.into()));
    });
}

#[test]
fn a_read_of_all_waits_for_its_bytes_the_end_or_a_full_buffer() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[data(1, b"four")], |kernel| {
        assert_eq!(kernel.await_all(fd, 4), Ok(()));
        assert_eq!(kernel.await_all(fd, 5), Err(Stop::Block));
        kernel.descriptor_mut(fd).unwrap().flags = NONBLOCK;
        assert_eq!(kernel.await_all(fd, 5), Ok(()), "it takes what is there");
        kernel.descriptor_mut(fd).unwrap().flags = 0;
        assert_eq!(recv(kernel, fd, 4), Ok(b"four".to_vec()));
    });
    // The proxy knows of a window of a thousand bytes from the beginning.
    rig.turn(&[data(1, &[1; 995])], |kernel| assert_eq!(kernel.await_all(fd, 5000), Err(Stop::Block)));
    rig.turn(&[data(1, &[1; 1])], |kernel| {
        assert_eq!(kernel.await_all(fd, 5000), Ok(()));
        assert_eq!(recv(kernel, fd, 496).map(|bytes| bytes.len()), Ok(496));
        assert_eq!(kernel.await_all(fd, 5000), Err(Stop::Block), "it is told of this at the end of the turn");
    });
    rig.turn(&[shutdown(1)], |kernel| assert_eq!(kernel.await_all(fd, 5000), Ok(())));
}

#[test]
fn what_is_no_file_has_no_size_to_set() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[], |kernel| {
        assert_eq!([0, 1, LISTENER, fd].map(|fd| kernel.set_size(fd, 0)), [Err(Errno::Inval); 4]);
        assert_eq!(kernel.set_size(99, 0), Err(Errno::Badf));
        let opened = |kernel: &mut Kernel, rights| {
            let (follow, flags) = (Follow::Yes, OpenFlags::CREATE);
            kernel.open_path(&OpenRequest { dir: ROOT_DIR, path: b"f", follow, flags, fd_flags: 0, rights }).unwrap()
        };
        let read = opened(kernel, rights::FD_READ);
        assert_eq!(kernel.set_size(read, 0), Err(Errno::Badf));
        let written = opened(kernel, rights::FD_WRITE);
        assert_eq!(kernel.set_size(written, 5), Ok(()));
    });
}

#[test]
fn flows_whose_clients_never_read_leave_every_other_its_own_share() {
    let mut rig = Rig::new(config());
    let own = rig.config.socket_buffers_bytes / 4 / u64::from(rig.config.max_flows + rig.config.max_outward);
    let greedy: Vec<u32> = (1..=20).map(|serial| rig.flow(serial)).collect();
    rig.turn(&[], |kernel| {
        let taken: Vec<_> = greedy.iter().map(|fd| kernel.send(*fd, &[1; 2000])).collect();
        assert_eq!(taken[0], Ok(1000), "one alone has the whole buffer");
        assert_eq!(taken[19], Ok(own as usize), "the rest is used up");
        assert_eq!(kernel.send(greedy[0], &[1; 2000]), Err(Stop::Block));
    });
    let fd = rig.flow(21);
    for _ in 0..3 {
        rig.turn(&[credit(21, own)], |kernel| {
            let writable = Subscription { userdata: 1, interest: Interest::Write(fd) };
            assert_eq!(kernel.poll(&[writable], true).expect("its share is free").len(), 1);
            assert_eq!(kernel.send(fd, &[1; 2000]), Ok(own as usize));
        });
    }
    rig.turn(&[credit(1, 1000)], |kernel| {
        assert_eq!(kernel.send(fd, &[1; 2000]), Ok(1000 - own as usize), "what was given back may be used by all");
    });
}
