//! Records: the events that a group is given, in order. Each has a header of eight bytes.
//!
//! `kind u8 | length u24 | word u32 | payload (length bytes)`. The word is a flow's serial where the record
//! concerns a flow, and an epoch in `origin`, which says whose flows the records after it mean.

mod answer;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::control::Control;
use crate::limits::{MAX_BATCH_BYTES, MAX_RECORD_BYTES};
use crate::outward::{put_address, read_address};
use crate::reader::{DecodeError, Reader, bounded, put_varint};
use crate::{CallFailure, Epoch, Serial, Time};

/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 8;

const ORIGIN: u8 = 1;
const OPEN: u8 = 2;
const DATA: u8 = 3;
const SHUTDOWN: u8 = 4;
const RESET: u8 = 5;
const CREDIT: u8 = 6;
const TICK: u8 = 7;
const CONTROL: u8 = 8;
const CONNECTED: u8 = 9;
const FAILED: u8 = 10;
const RESOLVED: u8 = 11;
const DATAGRAM: u8 = 12;

/// Why a flow was reset from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetReason {
    /// The client reset its connection, or it broke.
    Client = 1,
    /// The client neither sent nor took anything for the idle limit.
    Idle = 2,
    /// The proxy is shutting down and its drain deadline is over.
    Drain = 3,
    /// An operator asked for it.
    Operator = 4,
}

impl ResetReason {
    fn decode(value: u8) -> Result<Self, DecodeError> {
        [Self::Client, Self::Idle, Self::Drain, Self::Operator]
            .into_iter()
            .find(|reason| *reason as u8 == value)
            .ok_or(DecodeError::Unknown { what: "reset reason", value: u64::from(value) })
    }
}

/// One event for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The records that follow concern flows of this epoch.
    Origin(Epoch),
    /// A client connected.
    Open {
        /// The new flow.
        serial: Serial,
        /// The guest's port that the client reaches.
        port: u16,
        /// The client's address.
        peer: SocketAddr,
    },
    /// The client sent bytes.
    Data {
        /// The flow.
        serial: Serial,
        /// How many more bytes than last told the client has taken.
        delivered: u64,
        /// What the client sent; not empty, at most 256 KiB.
        bytes: Bytes,
    },
    /// The client will send nothing more.
    Shutdown(Serial),
    /// The flow is over.
    Reset {
        /// The flow.
        serial: Serial,
        /// Why.
        reason: ResetReason,
    },
    /// The client has taken bytes.
    Credit {
        /// The flow.
        serial: Serial,
        /// How many more bytes than last told.
        delivered: u64,
    },
    /// A replica wanted a turn at this time, and it has come.
    Tick(Time),
    /// A change to the group itself.
    Control(Control),
    /// An outward flow is there.
    Connected {
        /// The flow.
        serial: Serial,
        /// The proxy's own address of it.
        local: SocketAddr,
    },
    /// An outward call came to nothing: its flow is over.
    Failed {
        /// The flow.
        serial: Serial,
        /// Why.
        failure: CallFailure,
    },
    /// The answer to a look-up, whose flow is over.
    Resolved {
        /// The flow.
        serial: Serial,
        /// 1 to 16 addresses, in the order in which they are to be tried.
        addresses: Vec<IpAddr>,
    },
    /// A datagram came. The first with its serial makes the association.
    Datagram {
        /// The association.
        serial: Serial,
        /// The guest's port that the client sent to; 0 on an outward association.
        port: u16,
        /// Who sent it.
        peer: SocketAddr,
        /// What: at most [`crate::outward::MAX_DATAGRAM_BYTES`], and possibly nothing.
        bytes: Bytes,
    },
}

/// Appends encoded records to one buffer.
#[derive(Debug, Default)]
pub struct RecordWriter {
    out: Vec<u8>,
}

impl RecordWriter {
    /// The bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The records' bytes; the writer is empty afterwards.
    pub fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.out))
    }

    fn header(&mut self, kind: u8, length: usize, word: u32) {
        debug_assert!(length <= MAX_RECORD_BYTES + 10, "a record is cut before it is written");
        self.out.push(kind);
        self.out.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        self.out.extend_from_slice(&word.to_le_bytes());
    }

    /// Writes a `data` record from a borrowed payload of at most [`MAX_RECORD_BYTES`].
    pub fn data(&mut self, serial: Serial, delivered: u64, bytes: &[u8]) {
        let mut prefix = Vec::with_capacity(10);
        put_varint(&mut prefix, delivered);
        self.out.reserve(RECORD_HEADER_BYTES + prefix.len() + bytes.len());
        self.header(DATA, prefix.len() + bytes.len(), serial.0);
        self.out.extend_from_slice(&prefix);
        self.out.extend_from_slice(bytes);
    }

    /// Writes one record.
    pub fn push(&mut self, record: &Record) {
        match record {
            Record::Origin(epoch) => self.header(ORIGIN, 0, epoch.0),
            Record::Open { serial, port, peer } => self.payload(OPEN, serial.0, &encode_open(*port, *peer)),
            Record::Data { serial, delivered, bytes } => self.data(*serial, *delivered, bytes),
            Record::Shutdown(serial) => self.header(SHUTDOWN, 0, serial.0),
            Record::Reset { serial, reason } => self.payload(RESET, serial.0, &[*reason as u8]),
            Record::Credit { serial, delivered } => {
                let mut payload = Vec::with_capacity(10);
                put_varint(&mut payload, *delivered);
                self.payload(CREDIT, serial.0, &payload);
            }
            Record::Tick(time) => {
                let mut payload = Vec::with_capacity(7);
                time.put(&mut payload);
                self.payload(TICK, 0, &payload);
            }
            Record::Control(control) => {
                let mut payload = Vec::new();
                control.encode(&mut payload);
                self.payload(CONTROL, 0, &payload);
            }
            Record::Connected { serial, local } => {
                let mut payload = Vec::with_capacity(18);
                put_address(&mut payload, *local);
                self.payload(CONNECTED, serial.0, &payload);
            }
            Record::Failed { serial, failure } => self.payload(FAILED, serial.0, &[*failure as u8]),
            Record::Resolved { serial, addresses } => {
                self.payload(RESOLVED, serial.0, &answer::encode_resolved(addresses));
            }
            Record::Datagram { serial, port, peer, bytes } => {
                let head = answer::datagram_head(*port, *peer);
                self.header(DATAGRAM, head.len() + bytes.len(), serial.0);
                self.out.extend_from_slice(&head);
                self.out.extend_from_slice(bytes);
            }
        }
    }

    fn payload(&mut self, kind: u8, word: u32, payload: &[u8]) {
        self.header(kind, payload.len(), word);
        self.out.extend_from_slice(payload);
    }
}

fn encode_open(port: u16, peer: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    out.extend_from_slice(&port.to_le_bytes());
    put_address(&mut out, peer);
    out
}

fn decode_open(serial: Serial, mut reader: Reader<'_>) -> Result<Record, DecodeError> {
    let port = reader.u16("open port")?;
    let peer = read_address(&mut reader)?;
    reader.end("open")?;
    Ok(Record::Open { serial, port, peer })
}

/// Iterates over the records in `bytes`; stops after the first error.
pub fn records(bytes: &Bytes) -> Records<'_> {
    Records { reader: Reader::new(bytes), failed: false }
}

/// The iterator that [`records`] returns.
pub struct Records<'a> {
    reader: Reader<'a>,
    failed: bool,
}

impl Records<'_> {
    fn read(&mut self) -> Result<Record, DecodeError> {
        let reader = &mut self.reader;
        let kind = reader.u8("record kind")?;
        let length = reader.u24("record length")? as usize;
        bounded("record length", length, MAX_RECORD_BYTES + 10)?;
        let word = reader.u32("record word")?;
        let payload = reader.take("record", length)?;
        decode_record(kind, word, &payload)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.is_empty() {
            return None;
        }
        let record = self.read();
        self.failed = record.is_err();
        Some(record)
    }
}

fn decode_record(kind: u8, word: u32, payload: &Bytes) -> Result<Record, DecodeError> {
    let mut reader = Reader::new(payload);
    let serial = Serial(word);
    let record = match kind {
        ORIGIN => Record::Origin(Epoch(word)),
        OPEN => return decode_open(serial, reader),
        DATA => return decode_data(serial, reader),
        SHUTDOWN => Record::Shutdown(serial),
        RESET => Record::Reset { serial, reason: ResetReason::decode(reader.u8("reset reason")?)? },
        CREDIT => Record::Credit { serial, delivered: reader.varint("credit")? },
        TICK => Record::Tick(Time::from_micros(reader.u56("tick time")?)),
        CONTROL => Record::Control(Control::decode(&mut reader)?),
        CONNECTED => Record::Connected { serial, local: read_address(&mut reader)? },
        FAILED => Record::Failed { serial, failure: CallFailure::decode(reader.u8("call failure")?)? },
        RESOLVED => answer::decode_resolved(serial, &mut reader)?,
        DATAGRAM => answer::decode_datagram(serial, &mut reader)?,
        _ => {
            return Err(DecodeError::Unknown { what: "record kind", value: u64::from(kind) });
        }
    };
    reader.end("record")?;
    Ok(record)
}

fn decode_data(serial: Serial, mut reader: Reader<'_>) -> Result<Record, DecodeError> {
    let delivered = reader.varint("data delivered")?;
    let bytes = reader.rest();
    bounded("data length", bytes.len(), MAX_RECORD_BYTES)?;
    if bytes.is_empty() {
        return Err(DecodeError::Short { what: "data", needed: 1, left: 0 });
    }
    Ok(Record::Data { serial, delivered, bytes })
}

/// Checks that every record in `bytes` decodes and that they fit into a batch.
pub fn check_records(bytes: &Bytes) -> Result<(), DecodeError> {
    bounded("records", bytes.len(), MAX_BATCH_BYTES)?;
    records(bytes).try_for_each(|record| record.map(drop))
}
