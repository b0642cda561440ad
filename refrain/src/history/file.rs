//! One group's history as a file: its turns one after another, each with the beginning of the chain up to it.
//!
//! Guarantees: what [`HistoryFile::append`] wrote is on the disk when it returns; a file that is opened holds what the
//! shard's state says up to where the log was cut, or the beginning of it, never other turns. What follows, or was torn
//! at its end, is cut off, and nothing else ever: a file that is damaged before is refused as it is. Each turn that is
//! read is checked against the chain.
//!
//! One writer; readers may read meanwhile. `docs/formats.md` draws the file.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use refrain_sequencer::disk::{Disk, DiskFile};
use refrain_sequencer::shard::{HISTORY_FRAME_BYTES, MAX_TURN_BYTES, Recorded, RecordedTurn};
use refrain_wire::{GroupId, Position};

const MAGIC: &[u8; 8] = b"RFRNHIST";
const VERSION: u32 = 1;
/// Bytes before the first turn.
const HEADER_BYTES: u64 = 28;
/// Bytes of the chain that stand before each turn.
const CHAIN_BYTES: usize = 8;
/// A turn's place is remembered after so many bytes.
const INDEX_BYTES: u64 = 256 * 1024;
/// What is read of a file at a time.
const READ_BYTES: usize = 1024 * 1024;

/// What is known of a file's turns.
#[derive(Debug, Clone)]
struct Extent {
    recorded: Recorded,
    /// The last turn; the position before all turns when there is none.
    last: Position,
    /// Some turns.
    index: Vec<Place>,
}

/// Where a turn begins.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The position before it.
    before: Position,
    at: u64,
    /// What the chain comes to there.
    chain: [u8; 32],
}

impl Extent {
    fn new(after: Position) -> Self {
        let recorded = Recorded::since(after);
        let first = Place { before: after, at: HEADER_BYTES, chain: recorded.chain };
        Self { recorded, last: after, index: vec![first] }
    }

    fn end(&self) -> u64 {
        HEADER_BYTES + self.recorded.bytes
    }

    /// Takes in the next turn.
    fn add(&mut self, position: Position, turn: &[&[u8]]) {
        let place = Place { before: self.last, at: self.end(), chain: self.recorded.chain };
        if place.at - self.index.last().map_or(0, |last| last.at) >= INDEX_BYTES {
            self.index.push(place);
        }
        self.recorded.add(turn);
        self.last = position;
    }

    /// Where to begin to look for the turn after a position.
    fn before(&self, after: Position) -> Place {
        let count = self.index.partition_point(|place| place.before <= after);
        self.index[count.saturating_sub(1)]
    }
}

/// The history of a group.
pub(crate) struct HistoryFile {
    file: Arc<dyn DiskFile>,
    extent: RwLock<Extent>,
}

/// What a file held at some moment.
pub(super) struct Mark(Extent);

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

fn header(group: GroupId, after: Position) -> [u8; HEADER_BYTES as usize] {
    let mut out = [0; HEADER_BYTES as usize];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&group.0.to_le_bytes());
    out[16..24].copy_from_slice(&after.0.to_le_bytes());
    let check = blake3::hash(&out[..24]);
    out[24..].copy_from_slice(&check.as_bytes()[..4]);
    out
}

fn check_header(found: &[u8], wanted: [u8; HEADER_BYTES as usize]) -> io::Result<()> {
    if let Some(version) =
        found.get(8..12).filter(|version| found.starts_with(MAGIC) && *version != VERSION.to_le_bytes())
    {
        let version = u32::from_le_bytes(version.try_into().expect("it has four bytes"));
        let text = format!("it has version {version}, this program reads version {VERSION}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    if found == wanted { Ok(()) } else { Err(invalid("its header is damaged")) }
}

impl HistoryFile {
    /// An empty file for the turns of a group after a position; its name is on the disk when the folder is synced.
    pub(super) fn create(disk: &dyn Disk, name: &str, group: GroupId, after: Position) -> io::Result<Self> {
        let file = disk.create(name)?;
        file.write_at(0, &[IoSlice::new(&header(group, after))])?;
        Ok(Self { file, extent: RwLock::new(Extent::new(after)) })
    }

    /// Opens the file of a group's turns that are to come to what is wanted at a position, at which the log was cut, and
    /// reads it up to there. What follows is cut off, and so is half a turn at the end of a file that is shorter.
    ///
    /// # Errors
    /// `InvalidData` when the file is damaged, which is then left as it is, `Unsupported` when it is of another version,
    /// else when the file cannot be read.
    pub(super) fn open(
        disk: &dyn Disk,
        name: &str,
        group: GroupId,
        wanted: &Recorded,
        cut: Position,
    ) -> io::Result<Self> {
        let file = disk.open(name)?;
        let mut bytes = [0; HEADER_BYTES as usize];
        let count = file.read_at(0, &mut bytes)?;
        check_header(&bytes[..count], header(group, wanted.after))?;
        let size = file.size()?;
        let mut extent = Extent::new(wanted.after);
        let mut reader = Reader::new(&*file, HEADER_BYTES, size);
        let torn = loop {
            let (check, turn) = match reader.next()? {
                Frame::Turn(check, turn) => (check, turn),
                Frame::End => break true,
                Frame::Incomplete => break size < HEADER_BYTES + wanted.bytes,
                Frame::Impossible => break false,
            };
            let Ok(decoded) = RecordedTurn::decode(&turn) else { break false };
            let mut next = extent.recorded;
            next.add(&[&turn]);
            if next.chain[..CHAIN_BYTES] != check || decoded.position <= extent.last || decoded.position > cut {
                break false;
            }
            extent.add(decoded.position, &[&turn]);
        };
        let found = extent.recorded;
        // What lies below the cut was on the disk before the log was cut: nothing can have torn it.
        if found != *wanted && (!torn || found.bytes >= wanted.bytes) {
            let (bytes, last, wanted) = (found.bytes, extent.last, wanted.bytes);
            return Err(invalid(format!(
                "of the {wanted} bytes of turns that it should have it has {bytes} that are whole, up to position {last}"
            )));
        }
        if size > extent.end() {
            file.set_len(extent.end())?;
            file.sync()?;
        }
        Ok(Self { file, extent: RwLock::new(extent) })
    }

    /// What the turns come to.
    pub(crate) fn recorded(&self) -> Recorded {
        self.extent.read().recorded
    }

    /// The last turn; the position before all of them when there is none.
    pub(crate) fn last(&self) -> Position {
        self.extent.read().last
    }

    /// What is in the file now, to go back to.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.extent.read().clone())
    }

    /// Gives up what was appended since.
    pub(super) fn back_to(&self, mark: Mark) -> io::Result<()> {
        let end = mark.0.end();
        *self.extent.write() = mark.0;
        self.file.set_len(end)?;
        self.file.sync()
    }

    /// Appends turns, and makes them durable. After an error the file counts as holding what it held before.
    pub(super) fn append(&self, turns: &[RecordedTurn]) -> io::Result<()> {
        let mut extent = self.extent.read().clone();
        let begin = extent.end();
        let mut frames = Vec::with_capacity(turns.len());
        for turn in turns {
            if turn.position <= extent.last {
                return Err(invalid(format!("turn {} comes after turn {}", turn.position, extent.last)));
            }
            let head = turn.head();
            extent.add(turn.position, &[&head, &turn.records]);
            let mut frame = ((head.len() + turn.records.len()) as u32).to_le_bytes().to_vec();
            frame.extend_from_slice(&extent.recorded.chain[..CHAIN_BYTES]);
            frame.extend_from_slice(&head);
            frames.push(frame);
        }
        let parts: Vec<IoSlice<'_>> = (frames.iter().zip(turns))
            .flat_map(|(frame, turn)| [IoSlice::new(frame), IoSlice::new(&turn.records)])
            .collect();
        self.file.write_at(begin, &parts)?;
        self.file.sync()?;
        *self.extent.write() = extent;
        Ok(())
    }

    /// Makes the file durable, also when nothing was appended.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Turns after a position, in order, of so many bytes at the file's beginning: at most so many bytes of them, but
    /// one when there is one.
    ///
    /// # Errors
    /// `InvalidData` when the turns are not those that were written.
    pub(super) fn read(&self, after: Position, of_bytes: u64, max_bytes: usize) -> io::Result<Vec<RecordedTurn>> {
        let place = self.extent.read().before(after);
        let end = HEADER_BYTES + of_bytes;
        let mut reader = Reader::new(&*self.file, place.at, end);
        let mut chain = Recorded { after, bytes: place.at - HEADER_BYTES, chain: place.chain };
        let (mut turns, mut bytes) = (Vec::new(), 0);
        while HEADER_BYTES + chain.bytes < end {
            let damaged = || invalid(format!("it is damaged behind byte {}", HEADER_BYTES + chain.bytes));
            let Frame::Turn(check, turn) = reader.next()? else { return Err(damaged()) };
            let mut next = chain;
            next.add(&[&turn]);
            if next.chain[..CHAIN_BYTES] != check {
                return Err(damaged());
            }
            let decoded = RecordedTurn::decode(&turn).map_err(|_| damaged())?;
            chain = next;
            if decoded.position <= after {
                continue;
            }
            bytes += turn.len();
            if bytes > max_bytes && !turns.is_empty() {
                break;
            }
            turns.push(decoded);
        }
        Ok(turns)
    }
}

/// What stands next in a file.
enum Frame {
    /// The beginning of the chain, and the turn.
    Turn([u8; CHAIN_BYTES], Bytes),
    /// Nothing.
    End,
    /// Less than a frame.
    Incomplete,
    /// No frame has such a length.
    Impossible,
}

/// Reads frames one after another, in large pieces.
struct Reader<'a> {
    file: &'a dyn DiskFile,
    /// Where the next piece begins, and where the last one ends.
    at: u64,
    end: u64,
    piece: Bytes,
}

impl<'a> Reader<'a> {
    fn new(file: &'a dyn DiskFile, at: u64, end: u64) -> Self {
        Self { file, at, end, piece: Bytes::new() }
    }

    /// Sees to it that so many bytes are there; false when the file ends before.
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        if self.piece.len() >= needed {
            return Ok(true);
        }
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let more = left.min(READ_BYTES.max(needed - self.piece.len()));
        let mut bytes = vec![0; self.piece.len() + more];
        bytes[..self.piece.len()].copy_from_slice(&self.piece);
        let read = self.file.read_at(self.at, &mut bytes[self.piece.len()..])?;
        bytes.truncate(self.piece.len() + read);
        self.at += read as u64;
        self.piece = Bytes::from(bytes);
        Ok(self.piece.len() >= needed)
    }

    fn next(&mut self) -> io::Result<Frame> {
        if !self.fill(HISTORY_FRAME_BYTES)? {
            return Ok(if self.piece.is_empty() { Frame::End } else { Frame::Incomplete });
        }
        let length = u32::from_le_bytes(self.piece[..4].try_into().expect("it has four bytes")) as usize;
        if length > MAX_TURN_BYTES {
            return Ok(Frame::Impossible);
        }
        if !self.fill(HISTORY_FRAME_BYTES + length)? {
            return Ok(Frame::Incomplete);
        }
        let frame = self.piece.split_to(HISTORY_FRAME_BYTES + length);
        let check = frame[4..HISTORY_FRAME_BYTES].try_into().expect("it has eight bytes");
        Ok(Frame::Turn(check, frame.slice(HISTORY_FRAME_BYTES..)))
    }
}
