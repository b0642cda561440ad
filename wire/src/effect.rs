//! Effects: what a turn wants done outside, as the fixed-size entries that replicas vote on.
//!
//! `kind u8 | epoch u32 | serial u32 | offset u64 | length u32 | digest 16 bytes` = 37 bytes an entry.

use bytes::Bytes;

use crate::reader::{DecodeError, Reader};
use crate::{Digest, Epoch, FlowId, Serial};

/// Bytes of an encoded effect entry.
pub const EFFECT_ENTRY_BYTES: usize = 37;

/// What an effect does. The fields of [`EffectEntry`] that a kind does not name are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EffectKind {
    /// `length` bytes of the flow's stream from `offset`; `digest` is theirs.
    Bytes = 1,
    /// The guest will send nothing more on the flow; `offset` is the stream's length.
    Finish = 2,
    /// The flow is over at once, in both directions.
    Reset = 3,
    /// The guest has taken the client's stream up to `offset`; the proxy may read more.
    Consumed = 4,
    /// The guest listens on port `offset`; on one for datagrams [`DATAGRAM_PORT`] is added.
    Listen = 5,
    /// The guest no longer listens on port `offset`.
    Unlisten = 6,
    /// A line on standard output (`offset` 1) or error (`offset` 2); `digest` is of the line.
    Log = 7,
    /// The replica wants a turn at log time `offset` (microseconds); 0 takes the wish back.
    Timer = 8,
    /// The guest ended; `offset` is its exit code, `digest` that of the reason in words.
    Exit = 9,
    /// The guest was started, for the `offset`th time.
    Start = 10,
    /// The answer to an audit: `digest` is that of memory, globals and kernel.
    Audit = 11,
    /// What came of an upgrade: with `offset` [`UPGRADE_DONE`] the group runs the bundle whose digest is the payload;
    /// with [`UPGRADE_ROLLED_BACK`] it did not start and what ran before goes on, the payload is the reason in words.
    Upgrade = 12,
    /// The guest opens this outward flow; the payload is a [`crate::Target`].
    Connect = 13,
    /// The guest looks up a name; the payload is the name, the answer ends the flow.
    Resolve = 14,
    /// A datagram on an association; `offset` counts them from 0, the payload is the datagram.
    Datagram = 15,
}

/// Added to the port in `Listen` and `Unlisten` of a port for datagrams.
pub const DATAGRAM_PORT: u32 = 1 << 16;
/// The `offset` of an upgrade after which the group runs the new bundle.
pub const UPGRADE_DONE: u64 = 1;
/// The `offset` of an upgrade that did not start.
pub const UPGRADE_ROLLED_BACK: u64 = 0;

impl EffectKind {
    fn from_u8(value: u8) -> Option<Self> {
        use EffectKind as K;
        [
            K::Bytes,
            K::Finish,
            K::Reset,
            K::Consumed,
            K::Listen,
            K::Unlisten,
            K::Log,
            K::Timer,
            K::Exit,
            K::Start,
            K::Audit,
            K::Upgrade,
            K::Connect,
            K::Resolve,
            K::Datagram,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == value)
    }
}

/// One effect as it is voted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectEntry {
    /// What it does.
    pub kind: EffectKind,
    /// The flow that it concerns; none for effects of the whole group.
    pub flow: Option<FlowId>,
    /// A byte offset, or what the kind says.
    pub offset: u64,
    /// Bytes of payload.
    pub length: u32,
    /// The digest of the payload.
    pub digest: Digest,
}

impl EffectEntry {
    /// Writes the entry's bytes.
    pub fn put(&self, out: &mut [u8; EFFECT_ENTRY_BYTES]) {
        let (epoch, serial) = self.flow.map_or((0, 0), |flow| (flow.epoch.0, flow.serial.0));
        out[0] = self.kind as u8;
        out[1..5].copy_from_slice(&epoch.to_le_bytes());
        out[5..9].copy_from_slice(&serial.to_le_bytes());
        out[9..17].copy_from_slice(&self.offset.to_le_bytes());
        out[17..21].copy_from_slice(&self.length.to_le_bytes());
        out[21..].copy_from_slice(&self.digest.0);
    }

    /// Decodes exactly one entry. Epoch 0 is never given out, so it stands for "no flow".
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8("effect kind")?;
        let kind =
            EffectKind::from_u8(kind).ok_or(DecodeError::Unknown { what: "effect kind", value: u64::from(kind) })?;
        let epoch = Epoch(reader.u32("effect epoch")?);
        let serial = Serial(reader.u32("effect serial")?);
        if epoch.0 == 0 && serial.0 != 0 {
            return Err(DecodeError::Unknown { what: "effect serial without epoch", value: u64::from(serial.0) });
        }
        let entry = Self {
            kind,
            flow: (epoch.0 != 0).then_some(FlowId { epoch, serial }),
            offset: reader.u64("effect offset")?,
            length: reader.u32("effect length")?,
            digest: Digest(reader.array("effect digest")?),
        };
        reader.end("effect")?;
        Ok(entry)
    }
}
