//! Every limit of sockets and descriptors, at the limit and one above.

mod support;

use refrain_kernel::budget::{EFFECT_OVERHEAD_BYTES, MAX_TURN_BYTES};
use refrain_kernel::files::OpenRequest;
use refrain_kernel::fs::{Follow, OpenFlags, SuccessionError};
use refrain_kernel::poll::Interest;
use refrain_kernel::socket::MAX_BACKLOG;
use refrain_kernel::{Errno, GuestConfig, Kernel, Stop, Subscription, TurnInput};
use refrain_wire::EffectKind::{Bytes, Reset};
use refrain_wire::{Position, Record, RecordWriter, Time};
use support::{AGAIN, LISTENER, ROOT_DIR, Rig, bundle, config, credit, data, effects, open, open_at, recv};

#[test]
fn a_listener_takes_as_many_as_its_backlog_and_refuses_the_next() {
    let mut rig = Rig::new(config());
    let mut fd = 0;
    rig.turn(&[], |kernel| {
        fd = kernel.socket(false, false).unwrap();
        kernel.bind(fd, 8080).unwrap();
        kernel.listen(fd, 3).unwrap();
    });
    let opens: Vec<Record> = (1..=4).map(|serial| open_at(serial, 8080)).collect();
    assert_eq!(effects(&rig.turn(&opens, |_| ())), [(Reset, 4, 0, 0)]);
    rig.turn(&[], |kernel| assert!(kernel.accept(fd, 0).is_ok()));
    assert_eq!(effects(&rig.turn(&[open_at(5, 8080), open_at(6, 8080)], |_| ())), [(Reset, 6, 0, 0)]);
}

#[test]
fn a_backlog_is_at_least_one_and_at_most_the_maximum() {
    let mut config = config();
    config.max_flows = 2 * MAX_BACKLOG;
    for (asked, taken) in [(0, 1), (u32::MAX, MAX_BACKLOG)] {
        let mut rig = Rig::new(config.clone());
        rig.turn(&[], |kernel| {
            let fd = kernel.socket(false, false).unwrap();
            kernel.bind(fd, 8080).unwrap();
            kernel.listen(fd, asked).unwrap();
        });
        let opens: Vec<Record> = (1..=taken + 1).map(|serial| open_at(serial, 8080)).collect();
        assert_eq!(effects(&rig.turn(&opens, |_| ())), [(Reset, taken + 1, 0, 0)]);
    }
}

#[test]
fn flows_are_limited_to_the_last_one() {
    let mut config = config();
    config.max_flows = 2;
    let mut rig = Rig::new(config);
    let first = rig.flow(1);
    assert_eq!(effects(&rig.turn(&[open(2), open(3)], |_| ())), [(Reset, 3, 0, 0)]);
    rig.turn(&[support::shutdown(1)], |kernel| kernel.close(first).unwrap());
    assert_eq!(effects(&rig.turn(&[open(4), open(5)], |_| ())), [(Reset, 5, 0, 0)], "a flow that is over makes room");
}

#[test]
fn descriptors_are_limited_to_the_last_one_whatever_they_are() {
    fn open_file(kernel: &mut Kernel) -> Result<u32, Errno> {
        let (follow, flags) = (Follow::Yes, OpenFlags::CREATE);
        let (path, rights) = (&b"never-made"[..], u64::MAX);
        kernel.open_path(&OpenRequest { dir: ROOT_DIR, path, follow, flags, fd_flags: 0, rights })
    }
    let mut config = config();
    config.max_descriptors = 7;
    let mut rig = Rig::new(config);
    rig.turn(&[open(1)], |kernel| {
        assert_eq!(kernel.socket(false, false), Ok(5));
        assert_eq!(kernel.socket(false, false), Ok(6));
        assert_eq!(kernel.socket(false, false), Err(Errno::Mfile));
        assert_eq!(kernel.accept(LISTENER, 0), Err(Stop::Errno(Errno::Mfile)));
        assert_eq!(open_file(kernel), Err(Errno::Mfile));
        let made = kernel.stat_path(ROOT_DIR, b"never-made", Follow::Yes);
        assert_eq!(made, Err(Errno::Noent), "a call that fails has changed nothing");
        kernel.close(5).unwrap();
        assert_eq!(kernel.accept(LISTENER, 0), Ok(5), "the lowest number, and the connection still waits");
    });
}

#[test]
fn inodes_are_limited_to_the_last_one_also_for_what_was_decoded_and_what_takes_over() {
    let mut config = config();
    config.max_inodes = 2;
    let mut rig = Rig::new(config.clone());
    let make = |kernel: &mut Kernel, name: &[u8]| {
        kernel.change_names(ROOT_DIR, 0, |fs, dir, now_ns| fs.mkdir(dir, name, now_ns).map(|_| ()))
    };
    rig.turn(&[], |kernel| {
        assert_eq!((make(kernel, b"one"), make(kernel, b"two")), (Ok(()), Ok(())));
        assert_eq!(make(kernel, b"three"), Err(Errno::Nospc));
    });
    let mut again = Kernel::decode(&rig.kernel.encode(), config.clone(), &bundle()).unwrap();
    assert_eq!(make(&mut again, b"three"), Err(Errno::Nospc));
    let successor = |max_inodes| {
        let (position, time) = (Position(9), Time::from_micros(9_000_000));
        let input = TurnInput { position, time, shard: &[], records: &RecordWriter::default().take() };
        rig.kernel.successor(GuestConfig { max_inodes, ..config.clone() }, &bundle(), &input)
    };
    assert!(successor(2).is_ok());
    assert_eq!(successor(1).err(), Some(SuccessionError::Inodes { made: 2, limit: 1 }));
}

#[test]
fn a_window_holds_to_the_last_byte_and_a_proxy_that_goes_beyond_loses_the_flow() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    assert_eq!(effects(&rig.turn(&[data(1, &[1; 999]), data(1, &[1; 1])], |_| ())), []);
    let end = rig.turn(&[data(1, &[1; 1])], |kernel| {
        assert_eq!(recv(kernel, fd, 1), Err(Stop::Errno(Errno::Connreset)));
    });
    assert_eq!(effects(&end), [(Reset, 1, 0, 0)]);
}

#[test]
fn a_client_that_does_not_read_stops_its_own_writer_at_the_buffer() {
    let mut rig = Rig::new(config());
    let (one, two) = (rig.flow(1), rig.flow(2));
    let end = rig.turn(&[], |kernel| {
        assert_eq!(kernel.send(one, &[1; 999]), Ok(999));
        assert_eq!(kernel.send(one, &[1; 2]), Ok(1));
        assert_eq!(kernel.send(one, &[1; 1]), Err(Stop::Block));
        kernel.descriptor_mut(one).unwrap().flags = 4;
        assert_eq!(kernel.send(one, &[1; 1]), Err(AGAIN));
        assert_eq!(kernel.send(two, &[2; 5]), Ok(5), "its neighbour goes on");
    });
    assert_eq!(effects(&end), [(Bytes, 1, 0, 1000), (Bytes, 2, 0, 5)]);
    rig.turn(&[credit(1, 1)], |kernel| {
        assert_eq!(kernel.send(one, &[1; 2]), Ok(1));
        assert_eq!(kernel.send(one, &[1; 1]), Err(AGAIN));
    });
}

#[test]
fn a_credit_counts_no_more_than_was_sent() {
    let mut rig = Rig::new(config());
    let fd = rig.flow(1);
    rig.turn(&[], |kernel| assert_eq!(kernel.send(fd, &[1; 10]), Ok(10)));
    rig.turn(&[credit(1, u64::MAX)], |kernel| assert_eq!(kernel.send(fd, &[1; 2000]), Ok(1000)));
    rig.turn(&[credit(1, u64::MAX), credit(1, 1)], |kernel| assert_eq!(kernel.send(fd, &[1; 2000]), Ok(1000)));
}

#[test]
fn all_send_buffers_together_are_limited_to_the_last_byte() {
    let mut config = config();
    config.socket_buffers_bytes = 1500;
    (config.max_flows, config.max_outward) = (3, 0);
    let mut rig = Rig::new(config);
    let (one, two, last) = (rig.flow(1), rig.flow(2), rig.flow(3));
    rig.turn(&[], |kernel| {
        assert_eq!(kernel.send(one, &[1; 2000]), Ok(1000));
        assert_eq!(kernel.send(two, &[1; 2000]), Ok(375), "what is left but for the last one's share");
        assert_eq!(kernel.send(two, &[1; 1]), Err(Stop::Block));
        assert_eq!(kernel.send(last, &[1; 2000]), Ok(125), "1500 in all");
        assert_eq!(kernel.send(last, &[1; 1]), Err(Stop::Block));
    });
    rig.turn(&[support::reset(1)], |kernel| assert_eq!(kernel.send(two, &[1; 2000]), Ok(625), "the flow's own limit"));
    rig.turn(&[support::reset(3)], |_| ());
    let end = rig.turn(&[credit(2, 1000)], |kernel| kernel.close(two).unwrap());
    assert_eq!(effects(&end).len(), 1);
    let three = rig.flow(4);
    rig.turn(&[], |kernel| assert_eq!(kernel.send(three, &[1; 2000]), Ok(1000), "nothing was lost from the count"));
}

#[test]
fn what_a_turn_writes_is_limited_to_the_last_byte_and_the_rest_waits_for_the_next() {
    let mut config = config();
    (config.socket_buffer_bytes, config.socket_buffers_bytes) = (2 * MAX_TURN_BYTES, 4 * MAX_TURN_BYTES);
    let mut rig = Rig::new(config);
    let (one, two) = (rig.flow(1), rig.flow(2));
    let bytes = vec![7; MAX_TURN_BYTES as usize];
    let left = 1000;
    let end = rig.turn(&[], |kernel| {
        let first = bytes.len() - EFFECT_OVERHEAD_BYTES as usize - left;
        assert_eq!(kernel.send(one, &bytes[..first]), Ok(first));
        assert_eq!(kernel.send(one, &bytes), Ok(left), "an effect that goes on takes nothing besides");
        kernel.descriptor_mut(two).unwrap().flags = 4;
        assert_eq!(kernel.send(two, b"x"), Err(Stop::Block));
    });
    assert_eq!(end.wants, Some(Time::from_micros(rig.micros)), "at once");
    rig.turn(&[], |kernel| assert_eq!(kernel.send(two, b"x"), Ok(1)));
}

#[test]
fn a_flow_is_writable_when_half_its_buffer_is_free_even_if_all_have_less_than_one() {
    let mut config = config();
    config.socket_buffers_bytes = 100;
    let mut rig = Rig::new(config);
    let fd = rig.flow(1);
    let wanted = [Subscription { userdata: 1, interest: Interest::Write(fd) }];
    rig.turn(&[], |kernel| {
        assert_eq!(kernel.send(fd, &[1; 51]), Ok(51));
        assert_eq!(kernel.poll(&wanted, true), Err(Stop::Block));
    });
    rig.turn(&[credit(1, 1)], |kernel| assert_eq!(kernel.poll(&wanted, true).unwrap()[0].bytes, 50));
}

#[test]
fn what_is_looked_at_is_charged() {
    let mut config = config();
    config.max_descriptors = 1000;
    config.socket_buffer_bytes = 100_000;
    let mut rig = Rig::new(config);
    let fd = rig.flow(1);
    rig.turn(&[data(1, &[1; 80_000])], |kernel| {
        kernel.take_work();
        assert_eq!(kernel.recv(fd, &mut [0; 80_000], true), Ok(80_000));
        assert_eq!(kernel.take_work(), 10_000, "what was peeked at");
        assert_eq!(recv(kernel, fd, 8).map(|bytes| bytes.len()), Ok(8));
        assert_eq!(kernel.send(fd, &[1; 800]), Ok(800));
        assert_eq!(kernel.take_work(), 1 + 100);
        assert_eq!(kernel.read(fd, &mut [0; 800]), Ok(800));
        assert_eq!(kernel.write(fd, &[1; 800]), Ok(800));
        assert_eq!(kernel.take_work(), 100 + 100, "once, whatever the call is named");
        kernel.write(1, b"\n\n\n").unwrap();
        assert_eq!(kernel.take_work(), 3 * 64);
        for _ in 0..100 {
            let fd = kernel.socket(false, true).unwrap();
            kernel.bind(fd, 0).unwrap();
        }
        assert!(kernel.take_work() >= 8 * 99 * 100 / 2, "the ports that are taken");
        assert_eq!(kernel.allocate(fd, 0, 1), Err(Errno::Spipe));
        let (follow, flags) = (Follow::Yes, OpenFlags::CREATE);
        let (path, rights) = (&b"file"[..], u64::MAX);
        let file = kernel.open_path(&OpenRequest { dir: ROOT_DIR, path, follow, flags, fd_flags: 0, rights }).unwrap();
        assert_eq!(kernel.take_work(), 104);
        assert_eq!(kernel.allocate(file, 0, i64::MAX as u64), Err(Errno::Nospc));
        assert_eq!(kernel.take_work(), 16, "the chunks that may be there");
    });
}
