//! The records of one group that wait to be submitted, in order, cut so that each piece fits into a batch.

use std::collections::VecDeque;

use bytes::Bytes;
use refrain_wire::limits::{MAX_RECORD_BYTES, MAX_SUBMISSION_BATCH_BYTES};
use refrain_wire::outward::MAX_RESOLVED;
use refrain_wire::record::RECORD_HEADER_BYTES;
use refrain_wire::{Record, RecordWriter, Serial};

/// The most bytes of a piece.
pub(super) const PIECE_BYTES: usize = MAX_SUBMISSION_BATCH_BYTES;
/// Header and the longest delivered count of a data record.
const DATA_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + 10;
/// Every record but data and those that [`room_for`] names is shorter than this.
const SMALL_RECORD_BYTES: usize = RECORD_HEADER_BYTES + 32;
/// A data record is cut at the end of a piece only if this much of it still fits.
const LEAST_CUT_BYTES: usize = 4096;

/// Which piece a record went into; pieces leave in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticket(u64);

/// A queue of pieces.
#[derive(Debug)]
pub(super) struct Outbox {
    sealed: VecDeque<Bytes>,
    sealed_bytes: usize,
    open: RecordWriter,
    popped: u64,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { sealed: VecDeque::new(), sealed_bytes: 0, open: RecordWriter::default(), popped: 0 }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.sealed_bytes + self.open.len()
    }

    /// Whether the piece with that ticket has left.
    pub(super) fn has_left(&self, ticket: Ticket) -> bool {
        ticket.0 < self.popped
    }

    /// Writes a record other than data.
    pub(super) fn push(&mut self, record: &Record) -> Ticket {
        self.make_room(room_for(record));
        self.open.push(record);
        self.ticket()
    }

    /// Writes data, as several records where it must be cut.
    pub(super) fn data(&mut self, serial: Serial, mut delivered: u64, mut bytes: &[u8]) -> Ticket {
        while !bytes.is_empty() {
            self.make_room(DATA_OVERHEAD_BYTES + bytes.len().min(LEAST_CUT_BYTES));
            let room = PIECE_BYTES - self.open.len() - DATA_OVERHEAD_BYTES;
            let (now, later) = bytes.split_at(bytes.len().min(room).min(MAX_RECORD_BYTES));
            self.open.data(serial, delivered, now);
            delivered = 0;
            bytes = later;
        }
        self.ticket()
    }

    /// Length of the piece that [`Outbox::pop`] would return.
    pub(super) fn front_len(&self) -> usize {
        self.sealed.front().map_or(self.open.len(), Bytes::len)
    }

    /// Takes the first piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let piece = match self.sealed.pop_front() {
            Some(piece) => {
                self.sealed_bytes -= piece.len();
                piece
            }
            None if self.open.is_empty() => return None,
            None => self.open.take(),
        };
        self.popped += 1;
        Some(piece)
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.popped + self.sealed.len() as u64)
    }

    fn make_room(&mut self, bytes: usize) {
        if !self.open.is_empty() && self.open.len() + bytes > PIECE_BYTES {
            let piece = self.open.take();
            self.sealed_bytes += piece.len();
            self.sealed.push_back(piece);
        }
    }
}

/// The most bytes that the record, other than data, takes.
fn room_for(record: &Record) -> usize {
    match record {
        Record::Resolved { .. } => SMALL_RECORD_BYTES + MAX_RESOLVED * 17,
        Record::Datagram { bytes, .. } => SMALL_RECORD_BYTES + bytes.len(),
        _ => SMALL_RECORD_BYTES,
    }
}
