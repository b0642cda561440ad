//! Invariant 1 (same batches, same state), on random sessions: two kernels that are fed the same stay equal in every
//! effect and every byte of their encoding, also when one of them is encoded and decoded between any two turns.

mod support;

use std::net::SocketAddr;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use refrain_kernel::config::RestartPolicy;
use refrain_kernel::files::{OpenRequest, Whence};
use refrain_kernel::fs::{Follow, OpenFlags};
use refrain_kernel::outbound::{Host, IpRange, PortRange, Rule};
use refrain_kernel::poll::Interest;
use refrain_kernel::process::GuestEnd;
use refrain_kernel::socket::Shutdown;
use refrain_kernel::{Kernel, Outbound, ShardEvent, Subscription};
use refrain_wire::outward::{FIRST_OUTWARD_SERIAL, Owner};
use refrain_wire::{CallFailure, Control, Epoch, Position, Protocol, ProxyId, Record, Serial};
use support::{ROOT_DIR, Rig, bundle, config, credit, data, open_at, reset, shutdown};

#[derive(Debug, Clone)]
enum Call {
    Socket(bool, bool),
    Connect(u32, bool, bool),
    SocketError(u32),
    Resolve(u8, bool),
    SendTo(u32, usize, Option<u8>),
    ReceiveFrom(u32, usize, bool),
    Bind(u32, u16),
    Listen(u32, u32),
    Accept(u32, u16),
    Recv(u32, usize, bool),
    Send(u32, usize),
    Shutdown(u32, u8),
    Close(u32),
    Renumber(u32, u32),
    Open(u8, bool, bool),
    Mkdir(u8),
    Unlink(u8),
    Rename(u8, u8),
    Write(u32, usize),
    WriteAt(u32, u64, usize),
    Read(u32, usize),
    Seek(u32, i64),
    SetSize(u32, u64),
    Allocate(u32, u64, u64),
    Stat(u32),
    List(u64),
    Poll(u32, u64),
    Clock,
    Random(usize),
    End(bool),
}

#[derive(Debug, Clone)]
struct Turn {
    millis: u64,
    event: Option<ShardEvent>,
    records: Vec<Record>,
    calls: Vec<Call>,
    reload: bool,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..5000u64, 1 => any::<u64>(), 1 => (0..3u64).prop_map(|below| u64::MAX - below)]
}

fn record() -> impl Strategy<Value = Record> {
    let serial = 1..6u32;
    prop_oneof![
        4 => answer(),
        4 => (serial.clone(), prop_oneof![4 => Just(80u16), 1 => Just(8080)]).prop_map(|(serial, port)| open_at(serial, port)),
        4 => (serial.clone(), 1..600usize).prop_map(|(serial, len)| data(serial, &vec![serial as u8; len])),
        2 => (serial.clone(), number()).prop_map(|(serial, more)| credit(serial, more)),
        1 => serial.clone().prop_map(shutdown),
        1 => serial.prop_map(reset),
        1 => prop_oneof![
            6 => Just(Control::Audit),
            1 => Just(Control::Halt { position: Position(1) }),
            4 => Just(Control::Resume),
        ].prop_map(Record::Control),
        1 => (1..3u32).prop_map(|epoch| Record::Origin(Epoch(epoch))),
    ]
}

/// An address; the one with number 1 may be reached, and so may what the allowed name leads to, number 2.
fn peer(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 9))
}

/// What comes back for outward calls, and datagrams.
fn answer() -> impl Strategy<Value = Record> {
    let outward = (FIRST_OUTWARD_SERIAL.0..FIRST_OUTWARD_SERIAL.0 + 4).prop_map(Serial);
    let failures = prop_oneof![Just(CallFailure::Refused), Just(CallFailure::NotFound)];
    prop_oneof![
        3 => outward.clone().prop_map(|serial| Record::Connected { serial, local: peer(100) }),
        1 => (outward.clone(), failures).prop_map(|(serial, failure)| Record::Failed { serial, failure }),
        2 => outward.clone().prop_map(|serial| Record::Resolved { serial, addresses: vec![peer(2).ip()] }),
        1 => outward.clone().prop_map(|serial| reset(serial.0)),
        1 => outward.clone().prop_map(|serial| data(serial.0, b"from outside")),
        2 => (outward, 0..600usize).prop_map(|(serial, len)| datagram(serial, 0, 1, len)),
        2 => (1..6u32, 0..600usize).prop_map(|(serial, len)| datagram(Serial(serial), 8080, serial as u8, len)),
    ]
}

fn datagram(serial: Serial, port: u16, from: u8, len: usize) -> Record {
    Record::Datagram { serial, port, peer: peer(from), bytes: vec![3; len].into() }
}

fn call() -> impl Strategy<Value = Call> {
    let (fd, len, name) = (0..12u32, 0..1500usize, 0..4u8);
    let sockets = prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(v6, datagram)| Call::Socket(v6, datagram)),
        (fd.clone(), prop_oneof![Just(0u16), Just(8080), any::<u16>()]).prop_map(|(fd, port)| Call::Bind(fd, port)),
        (fd.clone(), 0..4u32).prop_map(|(fd, backlog)| Call::Listen(fd, backlog)),
        (3..6u32, prop_oneof![Just(0u16), Just(4)]).prop_map(|(fd, flags)| Call::Accept(fd, flags)),
        (fd.clone(), len.clone(), any::<bool>()).prop_map(|(fd, len, peek)| Call::Recv(fd, len, peek)),
        (fd.clone(), len.clone()).prop_map(|(fd, len)| Call::Send(fd, len)),
        (fd.clone(), 0..4u8).prop_map(|(fd, how)| Call::Shutdown(fd, how)),
        fd.clone().prop_map(Call::Close),
        (fd.clone(), fd.clone()).prop_map(|(from, to)| Call::Renumber(from, to)),
    ];
    let outward = prop_oneof![
        4 => (fd.clone(), any::<bool>(), any::<bool>()).prop_map(|(fd, allowed, first)| Call::Connect(fd, allowed, first)),
        1 => fd.clone().prop_map(Call::SocketError),
        2 => (0..3u8, any::<bool>()).prop_map(|(name, first)| Call::Resolve(name, first)),
        2 => (fd.clone(), len.clone(), proptest::option::of(0..3u8)).prop_map(|(fd, len, to)| Call::SendTo(fd, len, to)),
        2 => (fd.clone(), len.clone(), any::<bool>()).prop_map(|(fd, len, peek)| Call::ReceiveFrom(fd, len, peek)),
    ];
    let files = prop_oneof![
        (name.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(name, create, append)| Call::Open(name, create, append)),
        name.clone().prop_map(Call::Mkdir),
        name.clone().prop_map(Call::Unlink),
        (name.clone(), name).prop_map(|(from, to)| Call::Rename(from, to)),
        (fd.clone(), len.clone()).prop_map(|(fd, len)| Call::Write(fd, len)),
        (fd.clone(), number(), len.clone()).prop_map(|(fd, at, len)| Call::WriteAt(fd, at, len)),
        (fd.clone(), len).prop_map(|(fd, len)| Call::Read(fd, len)),
        (fd.clone(), any::<i64>()).prop_map(|(fd, by)| Call::Seek(fd, by)),
        (fd.clone(), number()).prop_map(|(fd, size)| Call::SetSize(fd, size)),
        (fd.clone(), number(), number()).prop_map(|(fd, at, len)| Call::Allocate(fd, at, len)),
        fd.clone().prop_map(Call::Stat),
        number().prop_map(Call::List),
    ];
    let rest = prop_oneof![
        4 => (fd, number()).prop_map(|(fd, at)| Call::Poll(fd, at)),
        4 => Just(Call::Clock),
        4 => (0..70usize).prop_map(Call::Random),
        1 => any::<bool>().prop_map(Call::End),
    ];
    prop_oneof![4 => sockets, 3 => outward, 4 => files, 2 => rest]
}

fn turn() -> impl Strategy<Value = Turn> {
    let event = prop_oneof![
        12 => Just(None),
        1 => any::<[u8; 32]>().prop_map(|entropy| Some(ShardEvent::Term(entropy))),
        1 => (1..3u32).prop_map(|epoch| Some(ShardEvent::EpochEnded(Epoch(epoch)))),
        2 => (1..3u32).prop_map(|epoch| Some(ShardEvent::EpochOpened(Owner { proxy: ProxyId(1), epoch: Epoch(epoch) }))),
    ];
    let (records, calls) = (proptest::collection::vec(record(), 0..6), proptest::collection::vec(call(), 0..12));
    (0..300u64, event, records, calls, any::<bool>()).prop_map(|(millis, event, records, calls, reload)| Turn {
        millis,
        event,
        records,
        calls,
        reload,
    })
}

/// What a call answered, in words; panics and overflows are what the test looks for.
fn perform(kernel: &mut Kernel, call: &Call) -> String {
    let name = |name: u8| [b'a' + name];
    match *call {
        Call::Socket(v6, datagram) => format!("{:?}", kernel.socket(v6, datagram)),
        Call::Connect(fd, allowed, first) => {
            format!("{:?}", kernel.connect(fd, peer(u8::from(allowed)), first))
        }
        Call::SocketError(fd) => format!("{:?}", kernel.take_socket_error(fd)),
        Call::Resolve(name, first) => {
            format!(
                "{:?}",
                kernel.resolve([&b"here.example"[..], b"elsewhere", b"192.0.2.1"][usize::from(name)], first)
            )
        }
        Call::SendTo(fd, len, to) => format!("{:?}", kernel.send_to(fd, &vec![5; len], to.map(peer))),
        Call::ReceiveFrom(fd, len, peek) => {
            let mut out = vec![0; len];
            format!("{:?} {out:?}", kernel.recv_from(fd, &mut out, peek))
        }
        Call::Bind(fd, port) => format!("{:?}", kernel.bind(fd, port)),
        Call::Listen(fd, backlog) => format!("{:?}", kernel.listen(fd, backlog)),
        Call::Accept(fd, flags) => format!("{:?}", kernel.accept(fd, flags)),
        Call::Recv(fd, len, peek) => {
            let mut out = vec![0; len];
            format!("{:?} {out:?}", kernel.recv(fd, &mut out, peek))
        }
        Call::Send(fd, len) => format!("{:?}", kernel.send(fd, &vec![7; len])),
        Call::Shutdown(fd, how) => {
            format!("{:?}", kernel.shutdown(fd, Shutdown { read: how & 1 != 0, write: how & 2 != 0 }))
        }
        Call::Close(fd) => format!("{:?}", kernel.close(fd)),
        Call::Renumber(from, to) => format!("{:?}", kernel.renumber(from, to)),
        Call::Open(path, create, append) => {
            let (path, flags) = (name(path), OpenFlags { create, ..OpenFlags::NONE });
            let request = OpenRequest {
                dir: ROOT_DIR,
                path: &path,
                follow: Follow::Yes,
                flags,
                fd_flags: u16::from(append),
                rights: u64::MAX,
            };
            format!("{:?}", kernel.open_path(&request))
        }
        Call::Mkdir(path) => {
            format!("{:?}", kernel.change_names(ROOT_DIR, 0, |fs, dir, now| fs.mkdir(dir, &name(path), now)))
        }
        Call::Unlink(path) => {
            format!("{:?}", kernel.change_names(ROOT_DIR, 0, |fs, dir, now| fs.unlink(dir, &name(path), now)))
        }
        Call::Rename(from, to) => {
            let rename =
                kernel.change_names(ROOT_DIR, 0, |fs, dir, now| fs.rename(dir, &name(from), dir, &name(to), now));
            format!("{rename:?}")
        }
        Call::Write(fd, len) => format!("{:?}", kernel.write(fd, &b"line\n".repeat(len / 5))),
        Call::WriteAt(fd, at, len) => format!("{:?}", kernel.write_at(fd, at, &vec![9; len])),
        Call::Read(fd, len) => {
            let mut out = vec![0; len];
            format!("{:?} {out:?}", kernel.read(fd, &mut out))
        }
        Call::Seek(fd, by) => format!("{:?}", kernel.seek(fd, by, Whence::Current)),
        Call::SetSize(fd, size) => format!("{:?}", kernel.set_size(fd, size)),
        Call::Allocate(fd, at, len) => format!("{:?}", kernel.allocate(fd, at, len)),
        Call::Stat(fd) => format!("{:?}", kernel.stat(fd)),
        Call::List(cookie) => match kernel.read_directory(ROOT_DIR, cookie) {
            Ok(entries) => entries.map(|entry| format!("{entry:?}")).collect(),
            Err(errno) => errno.to_string(),
        },
        Call::Poll(fd, at_ns) => {
            let interests = [Interest::Read(fd), Interest::Write(fd), Interest::Until(at_ns)];
            format!("{:?}", kernel.poll(&interests.map(|interest| Subscription { userdata: 1, interest }), true))
        }
        Call::Clock => format!("{:?}", kernel.read_clock()),
        Call::Random(len) => {
            let mut out = vec![0; len];
            kernel.fill_random(&mut out);
            format!("{out:?}")
        }
        Call::End(trap) => {
            kernel.guest_ended(if trap { GuestEnd::Trap("trapped".into()) } else { GuestEnd::Exit(0) });
            String::new()
        }
    }
}

/// What the guest may reach: an address, and a name.
fn outbound() -> Outbound {
    let rule = |host, protocol| Rule { host, ports: PortRange::ALL, protocol, proxy_header: None };
    let (name, address) = (Host::name("here.example").unwrap(), Host::Range(IpRange::one(peer(1).ip())));
    Outbound::new(vec![rule(name, Protocol::Tcp), rule(address.clone(), Protocol::Tcp), rule(address, Protocol::Udp)])
}

fn run(rig: &mut Rig, turn: &Turn) -> (String, String) {
    let mut answers = String::new();
    rig.micros += turn.millis * 1000;
    let end = rig.events(turn.event.as_slice(), &turn.records, |kernel| {
        for call in &turn.calls {
            if kernel.runs() {
                answers += &perform(kernel, call);
            }
        }
    });
    (answers, format!("{end:?}"))
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn equal_batches_leave_equal_kernels_also_through_their_encoding(
        turns in proptest::collection::vec(turn(), 1..25)
    ) {
        let mut config = config();
        config.restart = RestartPolicy::OnFailure;
        config.outbound = outbound();
        let (mut steady, mut reloaded) = (Rig::new(config.clone()), Rig::new(config.clone()));
        for turn in &turns {
            if turn.reload {
                let bytes = reloaded.encoded();
                reloaded.kernel = Kernel::decode(&bytes, config.clone(), &bundle()).expect("its own bytes");
                assert_eq!(reloaded.encoded(), bytes, "decoding and encoding again changes nothing");
            }
            assert_eq!(run(&mut steady, turn), run(&mut reloaded, turn));
            assert_eq!(steady.encoded(), reloaded.encoded());
            assert_eq!(steady.kernel.state_digest([0; 32]), reloaded.kernel.state_digest([0; 32]));
        }
    }
}

#[test]
fn bytes_that_are_cut_or_too_long_are_no_kernel() {
    let mut rig = Rig::new(config());
    rig.flow(1);
    let bytes = rig.encoded();
    for len in 0..bytes.len() {
        assert!(Kernel::decode(&bytes[..len], config(), &bundle()).is_err(), "cut to {len} bytes");
    }
    let tables = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let mut longer = (tables + 1).to_le_bytes().to_vec();
    longer.extend_from_slice(&bytes[8..8 + tables as usize]);
    longer.push(0);
    longer.extend_from_slice(&bytes[8 + tables as usize..]);
    assert!(Kernel::decode(&longer, config(), &bundle()).is_err(), "a byte after the tables");
}
