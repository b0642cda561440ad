//! One single server to compare with: the same guest, alone, given a flow's bytes in one piece.

use std::sync::Arc;

use bytes::Bytes;
use refrain::service::Service;
use refrain_engine::{Replica, ReplicaId, TurnBatch};
use refrain_kernel::ShardEvent;
use refrain_wire::{EffectKind, Epoch, GroupId, Incarnation, Position, Record, RecordWriter, Seat, Serial, Time};

const EPOCH: Epoch = Epoch(1);
const FLOW: Serial = Serial(1);

/// What a server that nobody else uses answers to `bytes` on one flow.
///
/// # Panics
/// When the guest cannot be run.
#[must_use]
pub fn answers(service: &Service, port: u16, bytes: &[u8]) -> Vec<u8> {
    let blueprint = service.blueprint(GroupId(1)).expect("the service can run");
    let id = ReplicaId { group: GroupId(1), seat: Seat(0), incarnation: Incarnation(1) };
    let mut server = Server { replica: Replica::new(id, blueprint), position: 0, delivered: 0 };
    server.turn(&[]);
    server.turn(&[Record::Open { serial: FLOW, port, peer: "192.0.2.1:1000".parse().expect("it is an address") }]);
    let mut got = Vec::new();
    // No more than fits the guest's buffer at a time, and what it answers is taken at once.
    for piece in bytes.chunks(8 * 1024) {
        let data = Record::Data { serial: FLOW, delivered: server.delivered, bytes: Bytes::copy_from_slice(piece) };
        got.extend(server.turn(&[data]));
        loop {
            let credit = Record::Credit { serial: FLOW, delivered: server.delivered };
            let more = server.turn(&[credit]);
            if more.is_empty() {
                break;
            }
            got.extend(more);
        }
    }
    got
}

struct Server {
    replica: Replica,
    position: u64,
    delivered: u64,
}

impl Server {
    /// One turn with these records; returns what the guest sent.
    fn turn(&mut self, records: &[Record]) -> Vec<u8> {
        let mut writer = RecordWriter::default();
        writer.push(&Record::Origin(EPOCH));
        records.iter().for_each(|record| writer.push(record));
        let previous = Position(self.position);
        self.position += 1;
        let batch = TurnBatch {
            group: GroupId(1),
            position: Position(self.position),
            previous,
            time: Time::from_micros(1_000_000 + self.position * 1000),
            shard: if self.position == 1 { vec![ShardEvent::Term([7; 32])] } else { Vec::new() },
            records: writer.take(),
            epochs: Arc::from([EPOCH]),
        };
        let outcome = self.replica.turn(&batch).expect("the host is well");
        let bytes = outcome.effects.effects.iter().filter(|effect| effect.entry.kind == EffectKind::Bytes);
        let sent: Vec<u8> = bytes.flat_map(|effect| effect.payload.to_vec()).collect();
        self.delivered += sent.len() as u64;
        sent
    }
}
