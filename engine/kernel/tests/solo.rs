//! What a program that runs by itself sees besides: input that comes, output as bytes, its own directories.

mod support;

use refrain_kernel::files::OpenRequest;
use refrain_kernel::fs::{Follow, Loaded, OpenFlags, ROOT, Times};
use refrain_kernel::poll::Interest;
use refrain_kernel::solo::{MAX_OUTPUT_BYTES, Preopen, Solo};
use refrain_kernel::stdio::OutputStream;
use refrain_kernel::{Errno, Kernel, Stop, Subscription, rights};
use refrain_wire::EffectKind;
use support::{AGAIN, LISTENER, Rig, config, open};

const TIMES: Times = Times { atime_ns: 1, mtime_ns: 2, ctime_ns: 3 };

/// A program with two directories, the second read-only, and a file `f` in each.
fn rig() -> Rig {
    let mut rig = Rig::unstarted(config());
    let mut preopens = Vec::new();
    for (name, read_only) in [("desk", false), ("data", true)] {
        let dir = rig.kernel.fs_mut().load(ROOT, name.as_bytes(), Loaded::Directory, TIMES);
        rig.kernel.fs_mut().load(dir, b"f", Loaded::File("text".into()), TIMES);
        preopens.push(Preopen { name: name.into(), inode: dir, read_only });
    }
    rig.kernel.fs_mut().end_loading();
    rig.kernel.run_solo(Solo::new(preopens, [false; 3]));
    rig.turn(&[], |_| ());
    rig
}

fn solo(kernel: &mut Kernel) -> &mut Solo {
    kernel.solo().expect("it runs by itself")
}

fn poll(kernel: &mut Kernel, interest: Interest) -> Result<(u64, bool), Stop> {
    let events = kernel.poll(&[Subscription { userdata: 1, interest }], true)?;
    Ok((events[0].bytes, events[0].hangup))
}

fn path(dir: u32, path: &[u8], create: bool, rights: u64) -> OpenRequest<'_> {
    let flags = OpenFlags { create, ..OpenFlags::NONE };
    OpenRequest { dir, path, follow: Follow::No, flags, fd_flags: 0, rights }
}

const DESK: u32 = 4;
const DATA: u32 = 5;

#[test]
fn input_is_waited_for_and_wanted_only_when_it_is_looked_for() {
    let mut rig = rig();
    let mut buffer = [0; 3];
    rig.turn(&[], |kernel| {
        assert!(!solo(kernel).wants_input());
        assert_eq!(kernel.read(0, &mut buffer), Err(Stop::Block));
        assert!(solo(kernel).wants_input());
        solo(kernel).give_input(b"abcde");
        assert!(!solo(kernel).wants_input());
        assert_eq!(poll(kernel, Interest::Read(0)), Ok((5, false)));
        assert_eq!(kernel.read(0, &mut buffer), Ok(3));
        assert_eq!(kernel.read(0, &mut buffer), Ok(2));
        assert_eq!(&buffer, b"dec");
        assert_eq!(poll(kernel, Interest::Read(0)), Err(Stop::Block));
        assert!(solo(kernel).wants_input(), "a poll looks for it, too");
        kernel.set_flags(0, 4).unwrap();
        assert_eq!(kernel.read(0, &mut buffer), Err(AGAIN));
        solo(kernel).end_input();
        assert!(!solo(kernel).wants_input());
        assert_eq!(kernel.read(0, &mut buffer), Ok(0));
        assert_eq!(poll(kernel, Interest::Read(0)), Ok((0, true)));
    });
}

#[test]
fn output_is_bytes_as_written_and_waits_at_its_limit() {
    let mut rig = rig();
    let end = rig.turn(&[], |kernel| {
        assert_eq!(kernel.write(1, b"no line"), Ok(7));
        assert_eq!(kernel.write(2, b"error"), Ok(5));
        assert_eq!(kernel.write(1, b"\0\n"), Ok(2));
        let taken = solo(kernel).take_output();
        let (out, err) = (OutputStream::Out, OutputStream::Err);
        assert_eq!(taken, [(out, b"no line".to_vec()), (err, b"error".to_vec()), (out, b"\0\n".to_vec())]);
        let large = vec![7; MAX_OUTPUT_BYTES];
        assert_eq!(kernel.write(1, &large[1..]), Ok(MAX_OUTPUT_BYTES - 1));
        assert_eq!(kernel.write(2, b"ab"), Ok(1), "what still fits is taken");
        assert_eq!(kernel.write(2, b"b"), Err(Stop::Block));
    });
    assert!(end.wants.is_some(), "it goes on at once");
    assert!(end.effects.iter().all(|effect| effect.payload.is_empty()), "nothing is told as a line");
    rig.turn(&[], |kernel| {
        solo(kernel).take_output();
        assert_eq!(kernel.write(2, b"b"), Ok(1));
        solo(kernel).close_output(OutputStream::Out);
        assert_eq!(kernel.write(1, b"x"), Err(Stop::Errno(Errno::Pipe)));
        assert_eq!(kernel.write(2, b"x"), Ok(1));
    });
}

#[test]
fn it_has_the_directories_that_it_was_given_and_reads_alone_what_is_read_only() {
    let mut rig = rig();
    rig.turn(&[], |kernel| {
        assert!(kernel.descriptor(DATA + 1).is_err());
        for dir in [DESK, DATA] {
            let file = kernel.open_path(&path(dir, b"f", false, rights::FD_READ)).unwrap();
            let mut buffer = [0; 8];
            assert_eq!(kernel.read(file, &mut buffer), Ok(4));
            assert_eq!(kernel.open_path(&path(dir, b"../desk/f", false, 0)), Err(Errno::Perm));
        }
        kernel.open_path(&path(DESK, b"new", true, rights::FD_WRITE)).unwrap();
        let refused = Err(Errno::Rofs);
        assert_eq!(kernel.open_path(&path(DATA, b"new", true, rights::FD_READ)), refused);
        assert_eq!(kernel.open_path(&path(DATA, b"f", false, rights::FD_WRITE)), refused);
        let removed = kernel.change_names(DATA, rights::PATH_UNLINK_FILE, |fs, dir, now| fs.unlink(dir, b"f", now));
        assert_eq!(removed, Err(Errno::Rofs));
        let within = kernel.open_path(&path(DATA, b".", false, !rights::FD_WRITE)).unwrap();
        assert_eq!(kernel.open_path(&path(within, b"new", true, 0)), refused, "nor through what is opened in it");
        let fewer = rights::read_only().0 & !rights::FD_READDIR;
        kernel.set_rights(DATA, fewer, rights::read_only().1).unwrap();
        let write = rights::FD_READ | rights::FD_WRITE;
        assert_eq!(kernel.open_path(&path(DATA, b"f", false, write)), refused, "nor with fewer rights");
    });
}

#[test]
fn a_port_that_was_passed_in_can_be_bound_as_well() {
    let mut rig = rig();
    rig.turn(&[open(1), open(2)], |kernel| {
        let socket = kernel.socket(false, false).unwrap();
        kernel.bind(socket, support::PORT).unwrap();
        kernel.listen(socket, 8).unwrap();
        assert!(kernel.accept(LISTENER, 0).is_ok() && kernel.accept(socket, 0).is_ok());
        let another = kernel.socket(false, false).unwrap();
        kernel.bind(another, support::PORT + 1).unwrap();
        kernel.listen(another, 8).unwrap();
        let third = kernel.socket(false, false).unwrap();
        assert_eq!(kernel.bind(third, support::PORT + 1), Err(Errno::Addrinuse));
    });
}

/// A socket that listens on this port.
fn listener(kernel: &mut Kernel, port: u16) -> u32 {
    let socket = kernel.socket(false, false).unwrap();
    kernel.bind(socket, port).unwrap();
    kernel.listen(socket, 1).unwrap();
    socket
}

#[test]
fn a_port_that_was_passed_in_is_listened_on_until_its_last_descriptor_is_closed() {
    let mut rig = rig();
    let end = rig.turn(&[open(1), open(2)], |kernel| {
        let socket = listener(kernel, support::PORT);
        kernel.close(LISTENER).unwrap();
        assert!(kernel.accept(socket, 0).is_ok());
        assert_eq!(kernel.listening().collect::<Vec<_>>(), [support::PORT]);
        kernel.close(socket).unwrap();
        assert_eq!(kernel.listening().count(), 0);
    });
    assert!(end.effects.iter().any(|effect| effect.entry.kind == EffectKind::Reset), "the second is turned away");
}

#[test]
fn a_program_reaches_its_own_sockets_and_nobody_outside_is_told() {
    let mut rig = rig();
    let end = rig.turn(&[], |kernel| {
        let listener = listener(kernel, 8080);
        let (near, other) = (kernel.socket(false, false).unwrap(), kernel.socket(false, false).unwrap());
        let address = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(kernel.connect(other, "127.0.0.1:8081".parse().unwrap(), true), Err(Errno::Connrefused.into()));
        assert_eq!(kernel.connect(near, address, true), Ok(()));
        assert_eq!(kernel.connect(other, address, true), Err(Errno::Connrefused.into()), "one may wait");
        let far = kernel.accept(listener, 0).unwrap();
        assert_eq!(kernel.peer_address(near), Ok(address));
        assert_eq!(kernel.peer_address(far), kernel.local_address(near));
        let mut buffer = [0; 8];
        assert_eq!(kernel.recv(far, &mut buffer, false), Err(Stop::Block));
        assert_eq!(kernel.send(near, b"there"), Ok(5));
        assert_eq!(kernel.readable_bytes(far), 5);
        assert_eq!((kernel.recv(far, &mut buffer, false), &buffer[..5]), (Ok(5), &b"there"[..]));
        assert_eq!(kernel.send(far, b"back"), Ok(4));
        assert_eq!((kernel.recv(near, &mut buffer, false), &buffer[..4]), (Ok(4), &b"back"[..]));
        let window = kernel.config().socket_buffer_bytes;
        assert_eq!(kernel.writable_bytes(near), Ok(window));
        assert_eq!(kernel.send(near, &vec![7; window as usize + 1]), Ok(window as usize));
        assert_eq!(kernel.send(near, b"x"), Err(Stop::Block), "as much waits as may");
        kernel.close(near).unwrap();
        let mut all = vec![0; window as usize];
        assert_eq!(kernel.recv(far, &mut all, false), Ok(window as usize));
        assert_eq!(kernel.recv(far, &mut buffer, false), Ok(0));
        assert_eq!(kernel.send(far, b"x"), Err(Errno::Pipe.into()));
        kernel.close(far).unwrap();
    });
    assert!(end.effects.iter().all(|effect| effect.entry.flow.is_none()), "{:?}", end.effects);
    rig.turn(&[], |kernel| assert_eq!(kernel.flow_count(), 0));
}

#[test]
fn a_listener_that_is_closed_ends_what_waits_there() {
    let mut rig = rig();
    let end = rig.turn(&[], |kernel| {
        let listener = listener(kernel, 8080);
        let near = kernel.socket(false, false).unwrap();
        kernel.connect(near, "127.0.0.1:8080".parse().unwrap(), true).unwrap();
        kernel.close(listener).unwrap();
        assert_eq!(kernel.recv(near, &mut [0; 8], false), Ok(0));
        assert_eq!(kernel.send(near, b"x"), Err(Errno::Pipe.into()));
        kernel.close(near).unwrap();
    });
    assert!(end.effects.iter().all(|effect| effect.entry.flow.is_none()), "{:?}", end.effects);
}

#[test]
fn datagrams_reach_the_program_s_own_sockets() {
    let mut rig = rig();
    rig.turn(&[], |kernel| {
        let (one, two) = (kernel.socket(false, true).unwrap(), kernel.socket(false, true).unwrap());
        kernel.bind(one, 9000).unwrap();
        assert_eq!(kernel.send_to(two, b"hello", Some("127.0.0.1:9000".parse().unwrap())), Ok(5));
        assert_eq!(kernel.send_to(two, b"nobody", Some("127.0.0.1:9001".parse().unwrap())), Ok(6));
        let mut buffer = [0; 8];
        let received = kernel.recv_from(one, &mut buffer, false).unwrap();
        assert_eq!(&buffer[..received.length], b"hello");
        kernel.connect(one, received.peer, true).unwrap();
        assert_eq!(kernel.send(one, b"back"), Ok(4));
        assert_eq!(kernel.recv(two, &mut buffer, false), Ok(4));
        kernel.disconnect_datagrams(one).unwrap();
        assert_eq!(kernel.send(one, b"back"), Err(Errno::Destaddrreq.into()));
        kernel.connect(two, "127.0.0.1:9001".parse().unwrap(), true).unwrap();
        assert_eq!(kernel.send(two, b"nobody"), Ok(6));
        assert_eq!(poll(kernel, Interest::Read(two)), Ok((1, false)));
        assert_eq!(kernel.recv(two, &mut buffer, false), Err(Errno::Connrefused.into()), "whom it is connected to");
        assert_eq!(poll(kernel, Interest::Read(two)), Err(Stop::Block), "told once");
    });
}

#[test]
fn nobody_else_has_a_name() {
    rig().turn(&[], |kernel| {
        assert!(kernel.resolve(b"localhost", true).is_ok());
        assert_eq!(kernel.resolve(b"example.com", true), Err(Errno::Noent.into()));
    });
}
