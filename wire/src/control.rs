//! Control records: changes to a group or to the shard, in force from the next position.
//!
//! `kind u8 | fields`. Those of the shard travel in batches of [`crate::GroupId::SHARD`].

use crate::limits::{MAX_RELEASES, MAX_SEATS, MAX_SERVICE_NAME_BYTES, MAX_VERSION_BYTES};
use crate::reader::{DecodeError, Reader, bounded};
use crate::{Digest, Epoch, Incarnation, NodeId, Position, ProxyId, Seat, ShardId};

/// The rule by which votes release effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Agreement {
    /// More than half of all seats voted the same.
    Majority = 1,
    /// Every seat voted the same.
    All = 2,
    /// The first vote counts; nothing is checked.
    None = 3,
}

impl Agreement {
    /// How many equal votes of `seats` release effects.
    #[must_use]
    pub fn quorum(self, seats: u8) -> u8 {
        match self {
            Self::Majority => seats / 2 + 1,
            Self::All => seats,
            Self::None => 1,
        }
    }
}

/// A change to one group, or to the shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// The group begins: its first record.
    Create {
        /// `namespace/name`.
        service: String,
        /// The BLAKE3 digest of the bundle that it runs.
        bundle: [u8; 32],
        /// The compatibility key of the engine that made it: only engines with the same key replay it alike.
        engine: Digest,
        /// How many seats it has.
        seats: u8,
        /// The rule that releases its effects.
        agreement: Agreement,
    },
    /// A new replica takes a seat.
    TakeSeat {
        /// The seat.
        seat: Seat,
        /// Its new holder's number.
        incarnation: Incarnation,
        /// The engine that runs it.
        node: NodeId,
        /// The position of the agreed checkpoint that it begins with; 0 when it begins with the group.
        from: Position,
    },
    /// Every replica adds the digest of its whole state to its vote for this turn.
    Audit,
    /// A seat voted against an agreed digest: it does not count until it is taken anew.
    Quarantine {
        /// The seat.
        seat: Seat,
        /// The holder that diverged.
        incarnation: Incarnation,
        /// Where it diverged.
        position: Position,
        /// What it voted.
        voted: Digest,
        /// What the others agreed on.
        agreed: Digest,
    },
    /// No quorum can come about at a position: the group stops and its flows are reset.
    Halt {
        /// Where the votes split.
        position: Position,
    },
    /// An operator lets a halted group go on from its log.
    Resume,
    /// The group has another number of seats: new ones are vacant, the highest ones are given up.
    Resize {
        /// How many seats it has from the next position.
        seats: u8,
    },
    /// The group runs another bundle, or by another engine, from this position on.
    Upgrade {
        /// The BLAKE3 digest of the bundle.
        bundle: [u8; 32],
        /// The compatibility key of the engines that replay it from here on.
        engine: Digest,
    },
    /// Every replica captures its state here, or at its first later turn at which the guest can be captured.
    Checkpoint,
    /// A majority of seats captured the same state: what lies before it need not be replayed.
    Rooted {
        /// Where they captured it.
        position: Position,
        /// The root digest of the checkpoint.
        root: [u8; 32],
    },
    /// A change to the shard.
    Shard(ShardControl),
}

/// A change to the shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardControl {
    /// A leader took office.
    Term {
        /// Its term.
        term: u64,
        /// Fresh secret randomness that keys the generators of all groups.
        entropy: [u8; 32],
    },
    /// A proxy started: it gets the next epoch, and its earlier ones end.
    OpenEpoch {
        /// The proxy.
        proxy: ProxyId,
        /// Random, so that the proxy knows its own record when it is committed.
        nonce: u64,
        /// Whether guests' outward calls may be given to it.
        outward: bool,
    },
    /// An epoch is over: its flows are reset and their effects dropped.
    EndEpoch(Epoch),
    /// A service is given to another shard than this one, the first, for good.
    Place {
        /// `namespace/name`.
        service: String,
        /// The shard that has it.
        shard: ShardId,
    },
    /// The versions of a stateless service, all of them, from here on: in the log of the first shard.
    Deploy {
        /// `namespace/name`.
        service: String,
        /// The position of the service's record that this one follows; 0 when it has no versions.
        after: Position,
        /// Sorted by version, each once. None: the service is no more.
        releases: Vec<Release>,
    },
}

/// A version of a stateless service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The version.
    pub version: String,
    /// The BLAKE3 digest of its bundle.
    pub bundle: [u8; 32],
    /// Its share of the service's requests.
    pub weight: u16,
}

impl Release {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bundle);
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.extend_from_slice(&(self.version.len() as u16).to_le_bytes());
        out.extend_from_slice(self.version.as_bytes());
    }
}

const CREATE: u8 = 1;
const TAKE_SEAT: u8 = 2;
const AUDIT: u8 = 3;
const QUARANTINE: u8 = 4;
const HALT: u8 = 5;
const RESUME: u8 = 6;
const RESIZE: u8 = 7;
const UPGRADE: u8 = 8;
const CHECKPOINT: u8 = 9;
const ROOTED: u8 = 10;
const TERM: u8 = 32;
const OPEN_EPOCH: u8 = 33;
const END_EPOCH: u8 = 34;
const PLACE: u8 = 35;
const OPEN_OUTWARD_EPOCH: u8 = 36;
const DEPLOY: u8 = 37;

impl Control {
    /// Appends the control's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create { service, bundle, engine, seats, agreement } => {
                out.extend_from_slice(&[CREATE, *seats, *agreement as u8]);
                out.extend_from_slice(bundle);
                out.extend_from_slice(&engine.0);
                out.extend_from_slice(&(service.len() as u16).to_le_bytes());
                out.extend_from_slice(service.as_bytes());
            }
            Self::TakeSeat { seat, incarnation, node, from } => {
                out.extend_from_slice(&[TAKE_SEAT, seat.0]);
                out.extend_from_slice(&incarnation.0.to_le_bytes());
                out.extend_from_slice(&node.0.to_le_bytes());
                out.extend_from_slice(&from.0.to_le_bytes());
            }
            Self::Audit => out.push(AUDIT),
            Self::Quarantine { seat, incarnation, position, voted, agreed } => {
                out.extend_from_slice(&[QUARANTINE, seat.0]);
                out.extend_from_slice(&incarnation.0.to_le_bytes());
                out.extend_from_slice(&position.0.to_le_bytes());
                out.extend_from_slice(&voted.0);
                out.extend_from_slice(&agreed.0);
            }
            Self::Halt { position } => {
                out.push(HALT);
                out.extend_from_slice(&position.0.to_le_bytes());
            }
            Self::Resume => out.push(RESUME),
            Self::Resize { seats } => out.extend_from_slice(&[RESIZE, *seats]),
            Self::Upgrade { bundle, engine } => {
                out.push(UPGRADE);
                out.extend_from_slice(bundle);
                out.extend_from_slice(&engine.0);
            }
            Self::Checkpoint => out.push(CHECKPOINT),
            Self::Rooted { position, root } => {
                out.push(ROOTED);
                out.extend_from_slice(&position.0.to_le_bytes());
                out.extend_from_slice(root);
            }
            Self::Shard(control) => control.encode(out),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8("control kind")? {
            CREATE => decode_create(reader)?,
            TAKE_SEAT => Self::TakeSeat {
                seat: decode_seat(reader)?,
                incarnation: Incarnation(reader.u32("incarnation")?),
                node: NodeId(reader.u64("node")?),
                from: Position(reader.u64("checkpoint position")?),
            },
            AUDIT => Self::Audit,
            QUARANTINE => Self::Quarantine {
                seat: decode_seat(reader)?,
                incarnation: Incarnation(reader.u32("incarnation")?),
                position: Position(reader.u64("position")?),
                voted: Digest(reader.array("digest")?),
                agreed: Digest(reader.array("digest")?),
            },
            HALT => Self::Halt { position: Position(reader.u64("position")?) },
            RESUME => Self::Resume,
            RESIZE => Self::Resize { seats: decode_seats(reader)? },
            UPGRADE => {
                Self::Upgrade { bundle: reader.array("bundle digest")?, engine: Digest(reader.array("engine key")?) }
            }
            CHECKPOINT => Self::Checkpoint,
            ROOTED => Self::Rooted {
                position: Position(reader.u64("checkpoint position")?),
                root: reader.array("root digest")?,
            },
            kind => Self::Shard(ShardControl::decode(kind, reader)?),
        })
    }
}

fn decode_create(reader: &mut Reader<'_>) -> Result<Control, DecodeError> {
    let seats = decode_seats(reader)?;
    let agreement = match reader.u8("agreement")? {
        1 => Agreement::Majority,
        2 => Agreement::All,
        3 => Agreement::None,
        other => {
            return Err(DecodeError::Unknown { what: "agreement", value: u64::from(other) });
        }
    };
    let bundle = reader.array("bundle digest")?;
    let engine = Digest(reader.array("engine key")?);
    let service = reader.text("service name", MAX_SERVICE_NAME_BYTES)?;
    Ok(Control::Create { service, bundle, engine, seats, agreement })
}

fn decode_seats(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let seats = reader.u8("seat count")?;
    bounded("seat count", usize::from(seats), usize::from(MAX_SEATS))?;
    if seats == 0 {
        return Err(DecodeError::Unknown { what: "seat count", value: 0 });
    }
    Ok(seats)
}

fn decode_seat(reader: &mut Reader<'_>) -> Result<Seat, DecodeError> {
    let seat = reader.u8("seat")?;
    bounded("seat", usize::from(seat), usize::from(MAX_SEATS) - 1)?;
    Ok(Seat(seat))
}

impl ShardControl {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Term { term, entropy } => {
                out.push(TERM);
                out.extend_from_slice(&term.to_le_bytes());
                out.extend_from_slice(entropy);
            }
            Self::OpenEpoch { proxy, nonce, outward } => {
                out.push(if *outward { OPEN_OUTWARD_EPOCH } else { OPEN_EPOCH });
                out.extend_from_slice(&proxy.0.to_le_bytes());
                out.extend_from_slice(&nonce.to_le_bytes());
            }
            Self::EndEpoch(epoch) => {
                out.push(END_EPOCH);
                out.extend_from_slice(&epoch.0.to_le_bytes());
            }
            Self::Place { service, shard } => {
                out.push(PLACE);
                out.extend_from_slice(&shard.0.to_le_bytes());
                out.extend_from_slice(&(service.len() as u16).to_le_bytes());
                out.extend_from_slice(service.as_bytes());
            }
            Self::Deploy { service, after, releases } => {
                out.push(DEPLOY);
                out.extend_from_slice(&after.0.to_le_bytes());
                out.push(releases.len() as u8);
                releases.iter().for_each(|release| release.encode(out));
                out.extend_from_slice(&(service.len() as u16).to_le_bytes());
                out.extend_from_slice(service.as_bytes());
            }
        }
    }

    fn decode(kind: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            TERM => Self::Term { term: reader.u64("term")?, entropy: reader.array("entropy")? },
            OPEN_EPOCH | OPEN_OUTWARD_EPOCH => Self::OpenEpoch {
                proxy: ProxyId(reader.u16("proxy")?),
                nonce: reader.u64("nonce")?,
                outward: kind == OPEN_OUTWARD_EPOCH,
            },
            END_EPOCH => Self::EndEpoch(Epoch(reader.u32("epoch")?)),
            PLACE => {
                let shard = ShardId(reader.u16("shard")?);
                Self::Place { service: reader.text("service name", MAX_SERVICE_NAME_BYTES)?, shard }
            }
            DEPLOY => {
                let after = Position(reader.u64("position")?);
                let count = usize::from(reader.u8("release count")?);
                bounded("release count", count, MAX_RELEASES)?;
                let releases = (0..count).map(|_| decode_release(reader)).collect::<Result<Vec<_>, _>>()?;
                if let Some(nth) = releases.windows(2).position(|two| two[0].version >= two[1].version) {
                    return Err(DecodeError::Unknown { what: "order of releases", value: nth as u64 });
                }
                Self::Deploy { service: reader.text("service name", MAX_SERVICE_NAME_BYTES)?, after, releases }
            }
            _ => {
                return Err(DecodeError::Unknown { what: "control kind", value: u64::from(kind) });
            }
        })
    }
}

fn decode_release(reader: &mut Reader<'_>) -> Result<Release, DecodeError> {
    let (bundle, weight) = (reader.array("bundle digest")?, reader.u16("weight")?);
    Ok(Release { version: reader.text("version", MAX_VERSION_BYTES)?, bundle, weight })
}
