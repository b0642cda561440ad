//! Records, events, effects and differences in words.

use std::collections::BTreeMap;

use refrain_engine::TurnBatch;
use refrain_engine::checkpoint::manifest::Difference;
use refrain_engine::checkpoint::{CHUNK_BYTES, ChunkId};
use refrain_kernel::ShardEvent;
use refrain_wire::effect::{DATAGRAM_PORT, UPGRADE_DONE};
use refrain_wire::record::{ResetReason, records};
use refrain_wire::turn::Effect;
use refrain_wire::{Control, EffectKind, Epoch, FlowId, Protocol, ProxyHeader, Record, Serial, Target, Time};

/// Bytes of a text that are shown.
const SHOWN_BYTES: usize = 48;
/// Bytes of a page that are named one by one.
const SHOWN_DIFFERENCES: usize = 8;

/// The first bytes as a text in quotes, and how many there are.
#[must_use]
pub fn preview(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN_BYTES { "..." } else { "" };
    format!("{} bytes \"{}{more}\"", bytes.len(), bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
}

/// What a batch brings, a line each.
#[must_use]
pub fn batch(batch: &TurnBatch) -> Vec<String> {
    let mut lines: Vec<String> = batch.shard.iter().map(event).collect();
    let mut epoch = Epoch::default();
    for record in records(&batch.records) {
        match record {
            Ok(Record::Origin(origin)) => epoch = origin,
            Ok(other) => lines.push(self::record(epoch, &other)),
            Err(error) => lines.push(format!("a record that cannot be decoded: {error}")),
        }
    }
    lines
}

fn event(event: &ShardEvent) -> String {
    match event {
        ShardEvent::Term(_) => "fresh randomness of a leader's term".to_owned(),
        ShardEvent::EpochOpened(owner) => {
            format!("epoch {} of proxy {} opened: it may be given calls outward", owner.epoch, owner.proxy)
        }
        ShardEvent::EpochEnded(epoch) => format!("epoch {epoch} ended: its flows are reset"),
    }
}

fn record(epoch: Epoch, record: &Record) -> String {
    let flow = |serial: &Serial| format!("flow {}", FlowId { epoch, serial: *serial });
    match record {
        Record::Origin(epoch) => format!("of epoch {epoch}"),
        Record::Open { serial, port, peer } => format!("{}: opened by {peer} to port {port}", flow(serial)),
        Record::Data { serial, delivered, bytes } => {
            let taken = if *delivered > 0 { format!(", its client took {delivered} more") } else { String::new() };
            format!("{}: {}{taken}", flow(serial), preview(bytes))
        }
        Record::Shutdown(serial) => format!("{}: its client will send nothing more", flow(serial)),
        Record::Reset { serial, reason } => format!("{}: reset, {}", flow(serial), why(*reason)),
        Record::Credit { serial, delivered } => format!("{}: its client took {delivered} more bytes", flow(serial)),
        Record::Connected { serial, local } => format!("{}: connected, from {local}", flow(serial)),
        Record::Failed { serial, failure } => format!("{}: {failure}", flow(serial)),
        Record::Resolved { serial, addresses } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{}: the name is {}", flow(serial), addresses.join(", "))
        }
        Record::Datagram { serial, port, peer, bytes } => {
            let port = if *port == 0 { String::new() } else { format!(" to port {port}") };
            format!("{}: a datagram of {peer}{port}, {}", flow(serial), preview(bytes))
        }
        Record::Tick(time) => format!("tick for {}", self::time(*time)),
        Record::Control(control) => format!("control: {}", self::control(control)),
    }
}

fn why(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::Client => "by its client or because the connection broke",
        ResetReason::Idle => "as it was idle for too long",
        ResetReason::Drain => "as its proxy was drained",
        ResetReason::Operator => "by an operator",
    }
}

/// A control in words.
#[must_use]
pub fn control(control: &Control) -> String {
    match control {
        Control::Create { service, seats, .. } => format!("{service} is created with {seats} seats"),
        Control::TakeSeat { seat, incarnation, node, from } => {
            format!("seat {seat} is taken by incarnation {incarnation} on node {node}, from position {from}")
        }
        Control::Audit => "audit".to_owned(),
        Control::Quarantine { seat, incarnation, position, .. } => {
            format!("seat {seat} (incarnation {incarnation}) is out: it diverged at position {position}")
        }
        Control::Halt { position } => format!("halt: the votes split at position {position}"),
        Control::Resume => "resume".to_owned(),
        Control::Resize { seats } => format!("from now on {seats} seats"),
        Control::Upgrade { bundle, .. } => format!("upgrade to bundle {}", blake3::Hash::from_bytes(*bundle)),
        Control::Checkpoint => "checkpoint".to_owned(),
        Control::Rooted { position, root } => {
            format!("the checkpoint at position {position} is agreed: {}", blake3::Hash::from_bytes(*root))
        }
        Control::Shard(_) => "a control of the shard".to_owned(),
    }
}

/// Log time as microseconds since 1970.
#[must_use]
pub fn time(time: Time) -> String {
    format!("{}.{:06}", time.micros() / 1_000_000, time.micros() % 1_000_000)
}

/// An effect in words.
#[must_use]
pub fn effect(effect: &Effect) -> String {
    let entry = &effect.entry;
    let number = entry.offset;
    let words = match entry.kind {
        EffectKind::Bytes => format!("{} at offset {number}", preview(&effect.payload)),
        EffectKind::Finish => format!("sends nothing more, after {number} bytes"),
        EffectKind::Reset => "reset".to_owned(),
        EffectKind::Consumed => format!("has taken {number} bytes"),
        EffectKind::Listen => format!("listens on {}", port(number)),
        EffectKind::Unlisten => format!("no longer listens on {}", port(number)),
        EffectKind::Log => {
            let stream = if number == 2 { "standard error" } else { "standard output" };
            format!("{stream}: {}", preview(&effect.payload))
        }
        EffectKind::Timer if number == 0 => "wants no turn by itself".to_owned(),
        EffectKind::Timer => format!("wants a turn at {}", time(Time::from_micros(number))),
        EffectKind::Exit => format!("ended with code {number}: {}", String::from_utf8_lossy(&effect.payload)),
        EffectKind::Start => format!("started for the {number}. time"),
        EffectKind::Audit => format!("state digest {}", entry.digest),
        EffectKind::Connect => match Target::decode(&effect.payload) {
            Ok(Target { protocol: Protocol::Tcp, address, header }) => format!("connects to {address}{}", with(header)),
            Ok(target) => format!("sends datagrams to {}", target.address),
            Err(error) => format!("opens what cannot be decoded: {error}"),
        },
        EffectKind::Resolve => format!("looks up {:?}", String::from_utf8_lossy(&effect.payload)),
        EffectKind::Datagram => format!("datagram {number}, {}", preview(&effect.payload)),
        EffectKind::Upgrade if number == UPGRADE_DONE => "runs the new bundle".to_owned(),
        EffectKind::Upgrade => format!("stays with its bundle: {}", String::from_utf8_lossy(&effect.payload)),
    };
    match entry.flow {
        Some(flow) => format!("flow {flow}: {words}"),
        None => words,
    }
}

/// A port as effects name it.
fn port(number: u64) -> String {
    match number.checked_sub(u64::from(DATAGRAM_PORT)) {
        Some(number) => format!("UDP port {number}"),
        None => format!("port {number}"),
    }
}

fn with(header: ProxyHeader) -> &'static str {
    match header {
        ProxyHeader::None => "",
        ProxyHeader::V1 => ", with a PROXY header of version 1",
        ProxyHeader::V2 => ", with a PROXY header of version 2",
    }
}

/// What is not the same in two states, one in a line; where the bytes of two pages are known, they are named.
#[must_use]
pub fn differences(all: &[Difference], chunks: &BTreeMap<ChunkId, Vec<u8>>) -> Vec<String> {
    all.iter().map(|difference| self::difference(difference, chunks)).collect()
}

fn difference(difference: &Difference, known: &BTreeMap<ChunkId, Vec<u8>>) -> String {
    let Difference::Page { memory, page, chunks: (one, other) } = difference else { return difference.to_string() };
    let zeros = vec![0; CHUNK_BYTES];
    let bytes = |id: &Option<ChunkId>| match id {
        None => Some(&zeros),
        Some(id) => known.get(id),
    };
    let (Some(one), Some(other)) = (bytes(one), bytes(other)) else { return difference.to_string() };
    let base = u64::from(*page) * CHUNK_BYTES as u64;
    let differ: Vec<usize> = (0..one.len().min(other.len())).filter(|at| one[*at] != other[*at]).collect();
    let shown = differ.iter().take(SHOWN_DIFFERENCES);
    let shown = shown.map(|at| format!("byte {:#x} is {:02x}, not {:02x}", base + *at as u64, other[*at], one[*at]));
    let more = differ.len().saturating_sub(SHOWN_DIFFERENCES);
    let more = if more > 0 { format!(", and {more} more bytes") } else { String::new() };
    format!("memory {memory}, page {page}: {}{more}", shown.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use refrain_wire::{CallFailure, Digest, EffectEntry};

    use super::*;

    #[test]
    fn a_flipped_byte_of_a_page_is_named_by_its_address() {
        let (one, mut other) = (vec![7; CHUNK_BYTES], vec![7; CHUNK_BYTES]);
        other[0x10] = 3;
        let ids = [ChunkId::of(&one), ChunkId::of(&other)];
        let page = |chunks| Difference::Page { memory: 0, page: 2, chunks };
        let known = BTreeMap::from([(ids[0], one), (ids[1], other)]);
        let words = differences(&[page((Some(ids[0]), Some(ids[1]))), page((None, Some(ids[0])))], &known);
        assert_eq!(words[0], "memory 0, page 2: byte 0x20010 is 03, not 07");
        assert!(words[1].starts_with("memory 0, page 2: byte 0x20000 is 07, not 00, byte 0x20001"), "{}", words[1]);
        assert!(words[1].ends_with("and 65528 more bytes"), "{}", words[1]);
    }

    #[test]
    fn outward_calls_and_their_answers_are_named() {
        let said = |kind, offset, payload: Bytes| {
            let entry = EffectEntry {
                kind,
                flow: Some(FlowId { epoch: Epoch(2), serial: Serial(7) }),
                offset,
                length: payload.len() as u32,
                digest: Digest::of(&payload),
            };
            effect(&Effect { entry, payload }).split_once(": ").expect("a flow is named").1.to_owned()
        };
        let target = |protocol, header| {
            let address = "192.0.2.9:443".parse().expect("an address");
            Target { protocol, header, address }.encode()
        };
        let tcp = target(Protocol::Tcp, ProxyHeader::V2);
        let connects = "connects to 192.0.2.9:443, with a PROXY header of version 2";
        assert_eq!(said(EffectKind::Connect, 0, tcp), connects);
        let udp = target(Protocol::Udp, ProxyHeader::None);
        assert_eq!(said(EffectKind::Connect, 0, udp), "sends datagrams to 192.0.2.9:443");
        assert_eq!(said(EffectKind::Resolve, 0, Bytes::from("db.example")), "looks up \"db.example\"");
        assert_eq!(said(EffectKind::Datagram, 3, Bytes::from("ping")), "datagram 3, 4 bytes \"ping\"");
        let serial = Serial(7);
        let peer = "192.0.2.9:53".parse().expect("an address");
        let came = |answer: Record| record(Epoch(2), &answer).split_once(": ").expect("a flow is named").1.to_owned();
        assert_eq!(came(Record::Connected { serial, local: peer }), "connected, from 192.0.2.9:53");
        assert_eq!(came(Record::Failed { serial, failure: CallFailure::Refused }), "connection refused");
        let addresses = vec!["192.0.2.7".parse().expect("an address"), "::1".parse().expect("an address")];
        assert_eq!(came(Record::Resolved { serial, addresses }), "the name is 192.0.2.7, ::1");
        let bytes = Bytes::from("hi");
        let datagram = Record::Datagram { serial, port: 53, peer, bytes };
        assert_eq!(came(datagram), "a datagram of 192.0.2.9:53 to port 53, 2 bytes \"hi\"");
    }

    #[test]
    fn ports_for_datagrams_are_told_apart() {
        let said = |kind, offset| {
            let entry = EffectEntry { kind, flow: None, offset, length: 0, digest: Digest::default() };
            effect(&Effect { entry, payload: Bytes::new() })
        };
        assert_eq!(said(EffectKind::Listen, 7000), "listens on port 7000");
        let udp = u64::from(DATAGRAM_PORT) + 7000;
        assert_eq!(said(EffectKind::Listen, udp), "listens on UDP port 7000");
        assert_eq!(said(EffectKind::Unlisten, udp), "no longer listens on UDP port 7000");
        assert_eq!(said(EffectKind::Unlisten, 65_535), "no longer listens on port 65535");
    }

    #[test]
    fn bytes_are_shown_with_their_length_and_cut() {
        assert_eq!(preview(b"a\r\n"), "3 bytes \"a\\r\\n\"");
        assert!(preview(&[b'x'; 100]).ends_with("x...\""));
    }
}
