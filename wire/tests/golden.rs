//! The bytes of every format, fixed. A change here is a change of format and needs a decision record.

use std::net::SocketAddr;

use bytes::Bytes;
use refrain_wire::batch::{decode_batch, put_batch};
use refrain_wire::control::{Agreement, Release};
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::record::records;
use refrain_wire::{
    Batch, CallFailure, Control, Digest, EffectEntry, EffectKind, Entry, Epoch, FlowId, GroupId, Incarnation, NodeId,
    Position, Protocol, ProxyHeader, ProxyId, Record, RecordWriter, ResetReason, Seat, Serial, ShardControl, ShardId,
    SubmissionId, Target, Time, Vote,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn every_record() -> Vec<(Record, &'static str)> {
    let v4: SocketAddr = "192.0.2.7:4660".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:4660".parse().unwrap();
    let serial = Serial(5);
    vec![
        (Record::Origin(Epoch(9)), "0100000009000000"),
        (Record::Open { serial, port: 80, peer: v4 }, "0208000005000000 5000 3412 c0000207"),
        (Record::Open { serial, port: 80, peer: v6 }, "0214000005000000 5000 3412 20010db8000000000000000000000001"),
        (Record::Data { serial, delivered: 300, bytes: Bytes::from_static(b"hi") }, "0304000005000000 ac02 6869"),
        (Record::Shutdown(serial), "0400000005000000"),
        (Record::Reset { serial, reason: ResetReason::Idle }, "0501000005000000 02"),
        (Record::Credit { serial, delivered: 1 }, "0601000005000000 01"),
        (Record::Tick(Time::from_micros(0x0102)), "0707000000000000 02010000000000"),
        (
            Record::Control(Control::Create {
                service: "a/b".into(),
                bundle: [7; 32],
                engine: Digest([8; 16]),
                seats: 3,
                agreement: Agreement::Majority,
            }),
            "0838000000000000 01 03 01 0707070707070707070707070707070707070707070707070707070707070707 08080808080808080808080808080808 0300 612f62",
        ),
        (
            Record::Control(Control::TakeSeat {
                seat: Seat(2),
                incarnation: Incarnation(4),
                node: NodeId(5),
                from: Position(6),
            }),
            "0816000000000000 02 02 04000000 0500000000000000 0600000000000000",
        ),
        (Record::Control(Control::Audit), "0801000000000000 03"),
        (
            Record::Control(Control::Quarantine {
                seat: Seat(1),
                incarnation: Incarnation(1),
                position: Position(6),
                voted: Digest([1; 16]),
                agreed: Digest([2; 16]),
            }),
            "082e000000000000 04 01 01000000 0600000000000000 01010101010101010101010101010101 02020202020202020202020202020202",
        ),
        (Record::Control(Control::Halt { position: Position(6) }), "0809000000000000 05 0600000000000000"),
        (Record::Control(Control::Resume), "0801000000000000 06"),
        (Record::Control(Control::Resize { seats: 5 }), "0802000000000000 07 05"),
        (
            Record::Control(Control::Upgrade { bundle: [7; 32], engine: Digest([8; 16]) }),
            "0831000000000000 08 0707070707070707070707070707070707070707070707070707070707070707 08080808080808080808080808080808",
        ),
        (Record::Control(Control::Checkpoint), "0801000000000000 09"),
        (
            Record::Control(Control::Rooted { position: Position(6), root: [9; 32] }),
            "0829000000000000 0a 0600000000000000 0909090909090909090909090909090909090909090909090909090909090909",
        ),
        (
            Record::Control(Control::Shard(ShardControl::Term { term: 3, entropy: [9; 32] })),
            "0829000000000000 20 0300000000000000 0909090909090909090909090909090909090909090909090909090909090909",
        ),
        (
            Record::Control(Control::Shard(ShardControl::OpenEpoch { proxy: ProxyId(1), nonce: 2, outward: false })),
            "080b000000000000 21 0100 0200000000000000",
        ),
        (
            Record::Control(Control::Shard(ShardControl::OpenEpoch { proxy: ProxyId(1), nonce: 2, outward: true })),
            "080b000000000000 24 0100 0200000000000000",
        ),
        (Record::Control(Control::Shard(ShardControl::EndEpoch(Epoch(8)))), "0805000000000000 22 08000000"),
        (
            Record::Control(Control::Shard(ShardControl::Place { service: "a/b".into(), shard: ShardId(258) })),
            "0808000000000000 23 0201 0300 612f62",
        ),
        (
            Record::Control(Control::Shard(ShardControl::Deploy {
                service: "a/b".into(),
                after: Position(258),
                releases: vec![Release { version: "1.0.0".into(), bundle: [7; 32], weight: 100 }],
            })),
            "0838000000000000 25 0201000000000000 01 \
             0707070707070707070707070707070707070707070707070707070707070707 6400 0500 312e302e30 0300 612f62",
        ),
        (Record::Connected { serial, local: v4 }, "0906000005000000 3412 c0000207"),
        (Record::Failed { serial, failure: CallFailure::TimedOut }, "0a01000005000000 02"),
        (
            Record::Resolved { serial, addresses: vec![v4.ip(), v6.ip()] },
            "0b17000005000000 02 04 c0000207 10 20010db8000000000000000000000001",
        ),
        (
            Record::Datagram { serial, port: 53, peer: v4, bytes: Bytes::from_static(b"hi") },
            "0c0b000005000000 3500 06 3412 c0000207 6869",
        ),
        (
            Record::Datagram { serial, port: 0, peer: v6, bytes: Bytes::new() },
            "0c15000005000000 0000 12 3412 20010db8000000000000000000000001",
        ),
    ]
}

#[test]
fn a_target_has_its_golden_bytes_and_comes_back() {
    let target =
        Target { protocol: Protocol::Udp, header: ProxyHeader::None, address: "192.0.2.7:4660".parse().unwrap() };
    assert_eq!(hex(&target.encode()), "110034 12c0000207".replace(' ', ""));
    let other = Target { protocol: Protocol::Tcp, header: ProxyHeader::V2, address: "[::1]:80".parse().unwrap() };
    for target in [target, other] {
        assert_eq!(Target::decode(&target.encode()), Ok(target));
        let bytes = target.encode();
        assert!(Target::decode(&bytes.slice(..bytes.len() - 1)).is_err());
    }
}

#[test]
fn every_record_has_its_golden_bytes_and_comes_back() {
    for (record, golden) in every_record() {
        let mut writer = RecordWriter::default();
        writer.push(&record);
        let bytes = writer.take();
        assert_eq!(hex(&bytes), golden.replace(' ', ""), "{record:?}");
        let back: Vec<_> = records(&bytes).collect();
        assert_eq!(back, [Ok(record)]);
    }
}

#[test]
fn a_batch_is_framed_in_27_bytes() {
    let mut out = Vec::new();
    put_batch(&mut out, GroupId(2), Position(3), Time::from_micros(4), b"xyz");
    assert_eq!(out.len(), 27 + 3);
    assert_eq!(hex(&out), "030000004813cafd02000000030000000000000004000000000000".to_owned() + "78797a");
    let batch = decode_batch(&Bytes::from(out)).unwrap();
    let records = Bytes::from_static(b"xyz");
    assert_eq!(batch, Batch { group: GroupId(2), position: Position(3), time: Time::from_micros(4), records });
}

#[test]
fn a_vote_is_27_bytes() {
    let vote = Vote { channel: 0x0102, position_low: 0x0a0b_0c0d, digest: Digest([0xee; 16]) };
    let bytes = vote.encode();
    assert_eq!(bytes.len(), 27);
    assert_eq!(hex(&bytes), "0102010d0c0b0aeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeea85e4d13");
    assert_eq!(Vote::decode(&Bytes::copy_from_slice(&bytes)), Ok(vote));
}

#[test]
fn a_vote_finds_its_full_position_across_the_32_bit_boundary() {
    let near = Position(0x1_0000_0002);
    let vote = |low| Vote { channel: 0, position_low: low, digest: Digest::default() };
    assert_eq!(vote(0xffff_fffe).position(near), Position(0xffff_fffe));
    assert_eq!(vote(5).position(near), Position(0x1_0000_0005));
}

#[test]
fn an_effect_entry_is_37_bytes() {
    let entry = EffectEntry {
        kind: EffectKind::Bytes,
        flow: Some(FlowId { epoch: Epoch(1), serial: Serial(2) }),
        offset: 3,
        length: 4,
        digest: Digest([5; 16]),
    };
    let mut out = [0; 37];
    entry.put(&mut out);
    assert_eq!(hex(&out), "01010000000200000003000000000000000400000005050505050505050505050505050505");
    assert_eq!(EffectEntry::decode(&Bytes::copy_from_slice(&out)), Ok(entry));
}

#[test]
fn the_kinds_of_effects_have_their_numbers() {
    let numbers =
        [(EffectKind::Reset, 3), (EffectKind::Audit, 11), (EffectKind::Upgrade, 12), (EffectKind::Connect, 13)];
    let numbers = numbers.into_iter().chain([(EffectKind::Resolve, 14), (EffectKind::Datagram, 15)]);
    for (kind, number) in numbers {
        let entry = EffectEntry { kind, flow: None, offset: 1, length: 0, digest: Digest::default() };
        let mut out = [0; 37];
        entry.put(&mut out);
        assert_eq!(out[0], number, "{kind:?}");
        assert_eq!(EffectEntry::decode(&Bytes::copy_from_slice(&out)), Ok(entry));
        out[0] = 16;
        assert!(EffectEntry::decode(&Bytes::copy_from_slice(&out)).is_err(), "one above the last kind");
    }
}

#[test]
fn an_entry_has_its_golden_bytes_and_comes_back() {
    let draft = Draft {
        time: Time::from_micros(7),
        submissions: vec![SubmissionId { epoch: Epoch(1), number: 2 }],
        batches: vec![GroupRecords { group: GroupId(3), records: Bytes::from_static(b"r") }],
    };
    let bytes = draft.encode(Position(4));
    assert_eq!(
        hex(&bytes),
        "0100010000000200000000000000".to_owned() + "01000000ecc3ff490300000004000000000000000700000000000072"
    );
    let entry = Entry::decode(Position(4), &bytes).unwrap();
    assert_eq!(entry.submissions, draft.submissions);
    assert_eq!(entry.batches[0].records, draft.batches[0].records);
    assert!(Entry::decode(Position(5), &bytes).is_err(), "a batch of another position is refused");
}

#[test]
fn order_and_one_vote_cost_54_bytes_and_a_2_mb_file_under_a_thousandth() {
    let file = 2_000_000usize;
    let records = file.div_ceil(256 * 1024);
    let batches = file.div_ceil(1024 * 1024 - records * 16);
    let framing = batches * (27 + 27) + records * (8 + 4);
    assert!(framing * 1000 <= file, "{framing} bytes of framing for {file}");
}
