//! A kernel and the batches to feed it; the guest is the test.
#![allow(dead_code)]

use std::time::Duration;

use bytes::Bytes;
use refrain_kernel::config::{GuestConfig, GuestPort, RestartPolicy};
use refrain_kernel::fs::BundleFiles;
use refrain_kernel::process::GuestEnd;
use refrain_kernel::{Errno, Kernel, Outbound, ShardEvent, Stop, TurnEnd, TurnInput};
use refrain_wire::record::ResetReason;
use refrain_wire::{EffectKind, Epoch, FlowId, GroupId, Position, Record, RecordWriter, Serial, Time};

pub const EPOCH: Epoch = Epoch(1);
pub const PORT: u16 = 80;
/// The descriptor of the passed-in listener: the first after the three streams.
pub const LISTENER: u32 = 3;
/// The preopened root.
pub const ROOT_DIR: u32 = 4;

pub const AGAIN: Stop = Stop::Errno(Errno::Again);

pub fn config() -> GuestConfig {
    GuestConfig {
        args: vec![b"test".to_vec()],
        env: vec![b"A=1".to_vec()],
        ports: vec![GuestPort { port: PORT, datagram: false, pass: true }],
        max_descriptors: 100,
        max_flows: 100,
        socket_buffer_bytes: 1000,
        socket_buffers_bytes: 10_000,
        files_bytes: 1 << 20,
        max_inodes: 10_000,
        outbound: Outbound::default(),
        max_outward: 100,
        log_lines_per_second: 100,
        restart: RestartPolicy::Never,
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_secs(1),
    }
}

pub fn bundle() -> BundleFiles {
    BundleFiles::new(vec![("/etc/motd".into(), Bytes::from_static(b"hello"))]).expect("a good path")
}

pub struct Rig {
    pub kernel: Kernel,
    pub config: GuestConfig,
    pub position: u64,
    pub micros: u64,
    pub started: bool,
}

impl Rig {
    /// A guest that has been started by an empty first turn.
    pub fn new(config: GuestConfig) -> Self {
        let mut rig = Self::unstarted(config);
        rig.turn(&[], |_| ());
        rig
    }

    pub fn unstarted(config: GuestConfig) -> Self {
        let kernel = Kernel::new(GroupId(1), config.clone(), &bundle());
        Self { kernel, config, position: 0, micros: 1_000_000, started: false }
    }

    /// One turn, a millisecond after the last, in which the guest does `guest`.
    pub fn turn(&mut self, records: &[Record], guest: impl FnOnce(&mut Kernel)) -> TurnEnd {
        self.events(&[], records, guest)
    }

    /// A turn at this log time.
    pub fn at(&mut self, micros: u64, guest: impl FnOnce(&mut Kernel)) -> TurnEnd {
        self.micros = micros - 1000;
        self.turn(&[], guest)
    }

    pub fn events(&mut self, shard: &[ShardEvent], records: &[Record], guest: impl FnOnce(&mut Kernel)) -> TurnEnd {
        self.micros += 1000;
        self.position += 1;
        let mut writer = RecordWriter::default();
        writer.push(&Record::Origin(EPOCH));
        records.iter().for_each(|record| writer.push(record));
        let first = [ShardEvent::Term([7; 32])];
        let shard = if self.position == 1 { &first[..] } else { shard };
        let input = TurnInput {
            position: Position(self.position),
            time: Time::from_micros(self.micros),
            shard,
            records: &writer.take(),
        };
        self.kernel.begin_turn(&input);
        self.started = self.kernel.start_if_due();
        if self.kernel.runs() {
            guest(&mut self.kernel);
        }
        self.kernel.end_turn(None)
    }

    /// Opens and accepts a flow; returns its descriptor.
    pub fn flow(&mut self, serial: u32) -> u32 {
        let mut fd = 0;
        self.turn(&[open(serial)], |kernel| fd = kernel.accept(LISTENER, 0).expect("a connection waits"));
        fd
    }

    /// Ends the guest in a turn of its own.
    pub fn end_guest(&mut self, end: GuestEnd) -> TurnEnd {
        self.turn(&[], |kernel| kernel.guest_ended(end))
    }

    pub fn encoded(&self) -> Vec<u8> {
        self.kernel.encode()
    }
}

pub fn id(serial: u32) -> FlowId {
    FlowId { epoch: EPOCH, serial: Serial(serial) }
}

pub fn open(serial: u32) -> Record {
    open_at(serial, PORT)
}

pub fn open_at(serial: u32, port: u16) -> Record {
    Record::Open { serial: Serial(serial), port, peer: "192.0.2.1:1000".parse().unwrap() }
}

pub fn data(serial: u32, bytes: &[u8]) -> Record {
    Record::Data { serial: Serial(serial), delivered: 0, bytes: Bytes::copy_from_slice(bytes) }
}

pub fn credit(serial: u32, delivered: u64) -> Record {
    Record::Credit { serial: Serial(serial), delivered }
}

pub fn shutdown(serial: u32) -> Record {
    Record::Shutdown(Serial(serial))
}

pub fn reset(serial: u32) -> Record {
    Record::Reset { serial: Serial(serial), reason: ResetReason::Client }
}

/// The effects in short: kind, serial of the flow (0 for the group), offset, length.
pub fn effects(end: &TurnEnd) -> Vec<(EffectKind, u32, u64, u32)> {
    let short = |effect: &refrain_wire::turn::Effect| {
        let entry = &effect.entry;
        (entry.kind, entry.flow.map_or(0, |flow| flow.serial.0), entry.offset, entry.length)
    };
    end.effects.iter().map(short).collect()
}

pub fn recv(kernel: &mut Kernel, fd: u32, len: usize) -> Result<Vec<u8>, Stop> {
    let mut out = vec![0; len];
    let read = kernel.recv(fd, &mut out, false)?;
    out.truncate(read);
    Ok(out)
}
