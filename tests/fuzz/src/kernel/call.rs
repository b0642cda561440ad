//! One call of a guest out of choices. Descriptors, lengths and paths are mostly such that something comes of them.

use std::net::SocketAddr;

use refrain_kernel::files::{OpenRequest, Whence};
use refrain_kernel::fs::{Follow, OpenFlags, TimeChange};
use refrain_kernel::poll::Interest;
use refrain_kernel::socket::Shutdown;
use refrain_kernel::{Kernel, Subscription};

use crate::input::Input;

/// The most bytes of a buffer.
const MAX_BUFFER: usize = 1500;
/// What paths are made of.
const PARTS: [&str; 12] = ["a", "b", "..", ".", "", "etc", "motd", "srv/a/b", "c", "link", "/", "a\0"];

/// A call: which, and everything that any of them may need.
#[derive(Debug)]
pub(super) struct Call {
    kind: u8,
    fd: u32,
    other: u32,
    flags: u8,
    length: usize,
    numbers: [u64; 2],
    path: Vec<u8>,
    second: Vec<u8>,
}

/// An address by its last number.
pub(super) fn peer(last: u8) -> SocketAddr {
    match last {
        0..=199 => SocketAddr::from(([192, 0, 2, last], 9)),
        200..=229 => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)], 9)),
        _ => SocketAddr::from(([127, 0, 0, last], 9)),
    }
}

fn path(input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.byte();
    if shape >= 250 {
        return vec![b'x'; 250 + usize::from(input.byte())];
    }
    let parts: Vec<&str> = (0..=shape % 3).map(|_| PARTS[input.below(PARTS.len())]).collect();
    parts.join("/").into_bytes()
}

impl Call {
    pub(super) fn of(input: &mut Input<'_>) -> Self {
        let kind = input.byte() % 44;
        let [fd, other] = [input.byte(), input.byte()].map(|byte| u32::from(byte % 26));
        let (flags, length) = (input.byte(), usize::from(input.byte()) * 6);
        let numbers = if matches!(kind, 0..=13) { [0; 2] } else { [input.number(), input.number()] };
        let (path, second) = if kind >= 30 { (path(input), path(input)) } else { Default::default() };
        Self { kind, fd, other, flags, length: length.min(MAX_BUFFER), numbers, path, second }
    }

    fn has(&self, bit: u8) -> bool {
        self.flags & 1 << bit != 0
    }

    fn follow(&self) -> Follow {
        if self.has(0) { Follow::Yes } else { Follow::No }
    }

    fn filled(&self) -> Vec<u8> {
        let mut bytes = vec![self.flags; self.length];
        bytes.iter_mut().step_by(7).for_each(|byte| *byte = b'\n');
        bytes
    }

    fn times(&self) -> TimeChange {
        let [atime, mtime] = self.numbers;
        TimeChange { atime_ns: self.has(1).then_some(atime), mtime_ns: self.has(2).then_some(mtime) }
    }
}

/// Makes the call; its answer in words.
pub(super) fn perform(kernel: &mut Kernel, call: &Call) -> String {
    match call.kind {
        0..=13 => on_sockets(kernel, call),
        14..=29 => on_descriptors(kernel, call),
        _ => on_paths(kernel, call),
    }
}

fn on_sockets(kernel: &mut Kernel, call: &Call) -> String {
    let (fd, mut buffer) = (call.fd, vec![0; call.length]);
    match call.kind {
        0 => format!("{:?}", kernel.socket(call.has(0), call.has(1))),
        1 => format!("{:?}", kernel.bind(fd, [0, 80, 53, 8080][usize::from(call.flags % 4)])),
        2 => format!("{:?}", kernel.listen(fd, u32::from(call.flags))),
        3 => format!("{:?}", kernel.accept([3, fd][usize::from(call.flags & 1)], u16::from(call.flags & 6))),
        4 => format!("{:?} {buffer:?}", kernel.recv(fd, &mut buffer, call.has(0))),
        5 => format!("{:?}", kernel.send(fd, &call.filled())),
        6 => format!("{:?}", kernel.shutdown(fd, Shutdown { read: call.has(0), write: call.has(1) })),
        7 => format!("{:?}", kernel.connect(fd, peer(call.flags), call.has(0))),
        8 => format!("{:?}", kernel.take_socket_error(fd)),
        9 => {
            let names = [&b"here.example"[..], b"HERE.example.", b"elsewhere", b"192.0.2.1", b"localhost", b"\xff"];
            format!("{:?}", kernel.resolve(names[usize::from(call.flags % 6)], call.has(7)))
        }
        10 => format!("{:?}", kernel.send_to(fd, &call.filled(), call.has(0).then(|| peer(call.flags)))),
        11 => format!("{:?} {buffer:?}", kernel.recv_from(fd, &mut buffer, call.has(0))),
        12 => format!("{:?} {:?}", kernel.local_address(fd), kernel.peer_address(fd)),
        _ => format!("{:?}", kernel.socket_kind(fd)),
    }
}

fn on_descriptors(kernel: &mut Kernel, call: &Call) -> String {
    let (fd, mut buffer, [first, second]) = (call.fd, vec![0; call.length], call.numbers);
    match call.kind {
        14 => format!("{:?} {buffer:?}", kernel.read(fd, &mut buffer)),
        15 | 16 => format!("{:?}", kernel.write(fd, &call.filled())),
        17 => format!("{:?} {buffer:?}", kernel.read_at(fd, first, &mut buffer)),
        18 => format!("{:?}", kernel.write_at(fd, first, &call.filled())),
        19 => {
            let whence = [Whence::Start, Whence::Current, Whence::End][usize::from(call.flags % 3)];
            format!("{:?}", kernel.seek(fd, first as i64, whence))
        }
        20 => format!("{:?}", kernel.set_size(fd, first)),
        21 => format!("{:?}", kernel.allocate(fd, first, second)),
        22 => format!("{:?} {:?}", kernel.sync(fd, first), kernel.advise(fd, first, second)),
        23 => format!("{:?} {:?}", kernel.stat(fd), kernel.set_times(fd, call.times())),
        24 => format!("{:?}", kernel.set_flags(fd, u16::from(call.flags))),
        25 => format!("{:?}", kernel.set_rights(fd, !first, !second)),
        26 => format!("{:?}", kernel.close(fd)),
        27 => format!("{:?}", kernel.renumber(fd, call.other)),
        28 => poll(kernel, call),
        _ => {
            kernel.fill_random(&mut buffer[..call.length.min(64)]);
            format!("{:?} {buffer:?}", kernel.read_clock())
        }
    }
}

fn poll(kernel: &mut Kernel, call: &Call) -> String {
    let until = if call.has(0) { kernel.poll_base_ns().saturating_add(call.numbers[0]) } else { call.numbers[1] };
    let interests = [Interest::Read(call.fd), Interest::Write(call.other), Interest::Until(until)];
    let subscriptions = interests.map(|interest| Subscription { userdata: 1, interest });
    format!("{:?}", kernel.poll(&subscriptions[usize::from(call.flags % 3)..], call.has(7)))
}

fn on_paths(kernel: &mut Kernel, call: &Call) -> String {
    // The root's descriptor follows the three streams and the listener.
    let dir = if call.has(6) { call.fd } else { 4 };
    let (path, second) = (&call.path[..], &call.second[..]);
    match call.kind {
        30..=33 => {
            let bits = if call.kind > 31 { call.flags | 8 } else { call.flags };
            let has = |bit: u8| bits & 1 << bit != 0;
            let flags = OpenFlags { create: has(3), exclusive: has(4), truncate: has(5), directory: bits > 240 };
            let fd_flags = u16::from(call.flags & 5);
            let rights = if call.has(7) { call.numbers[0] } else { u64::MAX };
            let request = OpenRequest { dir, path, follow: call.follow(), flags, fd_flags, rights };
            format!("{:?}", kernel.open_path(&request))
        }
        34 => format!("{:?}", kernel.change_names(dir, 0, |fs, dir, now| fs.mkdir(dir, path, now))),
        35 => format!("{:?}", kernel.change_names(dir, 0, |fs, dir, now| fs.rmdir(dir, path, now))),
        36 => format!("{:?}", kernel.change_names(dir, 0, |fs, dir, now| fs.unlink(dir, path, now))),
        37 | 38 => format!("{:?}", kernel.change_names(dir, 0, |fs, dir, now| fs.rename(dir, path, dir, second, now))),
        39 => {
            let link = kernel.change_names(dir, 0, |fs, dir, now| fs.link(dir, path, call.follow(), dir, second, now));
            format!("{link:?}")
        }
        40 => format!("{:?}", kernel.change_names(dir, 0, |fs, dir, now| fs.symlink(path, dir, second, now))),
        41 => {
            let read = kernel.change_names(dir, 0, |fs, dir, _| fs.readlink(dir, path).map(<[u8]>::to_vec));
            format!("{read:?} {:?}", kernel.stat_path(dir, path, call.follow()))
        }
        42 => format!("{:?}", kernel.set_times_path(dir, path, call.follow(), call.times())),
        _ => match kernel.read_directory(dir, call.numbers[0]) {
            Ok(entries) => entries.map(|entry| format!("{entry:?}")).collect(),
            Err(errno) => errno.to_string(),
        },
    }
}
