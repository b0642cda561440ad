//! What a log is found to be when it is opened.
//!
//! A torn tail is cut; damage is an error that names file, offset and index, and nothing is changed. The two are
//! told apart so: the first frame that does not check stands where entry `d` should be. Every frame says below
//! which index all entries were durable when it was written (its index minus its ordinal). If a valid frame after
//! the bad one says that `d` was, `d` is lost: damage. If none does, `d` was never acknowledged, because its
//! acknowledgement follows the sync of its own write: a torn tail, even where the drive wrote later pages of that
//! write and not earlier ones. In a segment that has a successor everything was synced before the successor
//! began, so there every bad frame is damage. What the meta file knows to be committed was durable as well.
//! Not told apart: damage in the very last write before a crash, with nothing known after it.
//!
//! A frame counts only with the right index and a leader not older than that before it. After a torn tail the log
//! goes on in a new segment, so stale bytes never stand behind new ones.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::frame::{END_OF_INDEXES, EntryId, FRAME_BYTES, FrameHeader, decode_frame, u64_at};
use crate::index::Segment;
use crate::segment::{BadHeader, HEADER_BYTES, NEW_SUFFIX, SegmentHeader, VERSION, segment_name, segment_sequence};

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused an operation.
    #[error("{path}: cannot {action}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// Acknowledged entries are damaged. They must come from another member or from a backup.
    #[error("{path}: entry {index} at offset {offset} is damaged; entries after it were acknowledged")]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the entry's frame begins.
        offset: u64,
        /// The index of the entry.
        index: u64,
    },
    /// A file's header or content does not check.
    #[error("{path}: the {what} is damaged or of an unknown version")]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// The part.
        what: &'static str,
    },
    /// The log was written by a version of this program that kept other records.
    #[error("{path}: the segment has format version {found}, this program reads version {known}")]
    OtherVersion {
        /// The segment.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read.
        known: u32,
    },
    /// A file of the log says that it has gone on for longer than any log can.
    #[error("{path}: the {what} has the number {number}, the end is {END_OF_INDEXES}")]
    BeyondEnd {
        /// The file.
        path: PathBuf,
        /// What has the number.
        what: &'static str,
        /// The number.
        number: u64,
    },
    /// Files of the log are gone.
    #[error("{path}: the log lacks entry {index}: a segment is missing")]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The first entry that is not there.
        index: u64,
    },
    /// There are segments but no meta file: without its vote the member could break the log's promises.
    #[error("{path}: the file is missing, but segments are there")]
    MissingMeta {
        /// The meta file.
        path: PathBuf,
    },
}

/// The log as it was found. Nothing was changed on disk.
pub(crate) struct Recovered {
    /// The segments that hold entries, oldest first.
    pub(crate) segments: Vec<Segment>,
    /// The id of the last entry.
    pub(crate) last: Option<EntryId>,
    /// The index that the next entry gets.
    pub(crate) next: u64,
    /// Whether the last segment can take more entries.
    pub(crate) writable: bool,
    /// Bytes of a torn tail that are not taken.
    pub(crate) torn_bytes: u64,
    /// Files that hold nothing any more.
    pub(crate) stale: Vec<String>,
    /// The number for the next segment.
    pub(crate) next_sequence: u64,
}

struct Found {
    name: String,
    file: Arc<dyn DiskFile>,
    header: SegmentHeader,
}

/// Reads all segments. `purged` is the number of entries given up at the front, `durable` the number known from
/// elsewhere to have been durable.
pub(crate) fn recover(disk: &dyn Disk, purged: u64, durable: u64) -> Result<Recovered, OpenError> {
    let mut recovered = Recovered {
        segments: Vec::new(),
        last: None,
        next: purged,
        writable: false,
        torn_bytes: 0,
        stale: Vec::new(),
        next_sequence: 1,
    };
    let found = find(disk, &mut recovered)?;
    let live = drop_superseded(found, purged, &mut recovered.stale);
    if let Some((first, _)) = live.first()
        && first.header.first > purged
    {
        return Err(missing(disk, purged));
    }
    for (found, limit) in live {
        recover_segment(disk, found, limit, durable, &mut recovered)?;
    }
    if recovered.next < purged {
        recovered.stale.extend(recovered.segments.drain(..).map(|segment| segment.name));
        recovered.next = purged;
        recovered.last = None;
        recovered.writable = false;
    }
    if recovered.next < durable {
        return Err(missing(disk, recovered.next));
    }
    Ok(recovered)
}

/// Checks a number that one is to be added to.
pub(crate) fn within(disk: &dyn Disk, name: &str, what: &'static str, number: u64) -> Result<(), OpenError> {
    if number < END_OF_INDEXES {
        return Ok(());
    }
    Err(OpenError::BeyondEnd { path: disk.path(name), what, number })
}

fn missing(disk: &dyn Disk, index: u64) -> OpenError {
    OpenError::Missing { path: disk.path(""), index }
}

pub(crate) fn io_error(disk: &dyn Disk, name: &str, action: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    let path = disk.path(name);
    move |source| OpenError::Io { path, action, source }
}

fn find(disk: &dyn Disk, recovered: &mut Recovered) -> Result<Vec<Found>, OpenError> {
    let mut found = Vec::new();
    for name in disk.list().map_err(io_error(disk, "", "list files"))? {
        if let Some(in_use) = name.strip_suffix(NEW_SUFFIX) {
            let sequence = segment_sequence(in_use).filter(|sequence| *sequence < END_OF_INDEXES);
            recovered.next_sequence = recovered.next_sequence.max(sequence.unwrap_or(0) + 1);
            recovered.stale.push(name);
            continue;
        }
        let Some(sequence) = segment_sequence(&name) else { continue };
        let file = disk.open(&name).map_err(io_error(disk, &name, "open"))?;
        let mut bytes = [0; HEADER_BYTES];
        file.read_at(0, &mut bytes).map_err(io_error(disk, &name, "read"))?;
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) if header.sequence == sequence => header,
            Ok(_) | Err(BadHeader::Damaged) => {
                return Err(OpenError::DamagedFile { path: disk.path(&name), what: "segment's header" });
            }
            Err(BadHeader::Version(found)) => {
                return Err(OpenError::OtherVersion { path: disk.path(&name), found, known: VERSION });
            }
        };
        within(disk, &name, "segment", sequence)?;
        // A log that is full to its end has an empty segment there.
        if header.first != END_OF_INDEXES {
            within(disk, &name, "first entry of the segment", header.first)?;
        }
        recovered.next_sequence = recovered.next_sequence.max(sequence + 1);
        found.push(Found { name, file, header });
    }
    found.sort_by_key(|found| found.header.sequence);
    Ok(found)
}

/// Keeps the segments that still hold entries, each with the index at which a later one takes over.
fn drop_superseded(found: Vec<Found>, purged: u64, stale: &mut Vec<String>) -> Vec<(Found, Option<u64>)> {
    let mut limit: Option<u64> = None;
    let mut live = Vec::new();
    for found in found.into_iter().rev() {
        let first = found.header.first;
        if limit.is_some_and(|limit| first >= limit || limit <= purged) {
            stale.push(found.name);
            continue;
        }
        live.push((found, limit));
        limit = Some(first);
    }
    live.reverse();
    live
}

fn recover_segment(
    disk: &dyn Disk,
    found: Found,
    limit: Option<u64>,
    durable: u64,
    recovered: &mut Recovered,
) -> Result<(), OpenError> {
    let Found { name, file, header } = found;
    let len = file.size().map_err(io_error(disk, &name, "read the size of"))?;
    let mut bytes = vec![0; len as usize];
    let read = file.read_at(0, &mut bytes).map_err(io_error(disk, &name, "read"))?;
    bytes.truncate(read);
    let scan = scan(&bytes, &header, recovered.last, limit, durable).map_err(|damage| OpenError::Damaged {
        path: disk.path(&name),
        offset: damage.offset,
        index: damage.index,
    })?;
    recovered.next = header.first + scan.offsets.len() as u64;
    recovered.last = scan.last.or(recovered.last);
    recovered.writable = scan.tail == Tail::Clean;
    recovered.torn_bytes = match scan.tail {
        Tail::Torn => len - scan.end,
        Tail::Clean | Tail::Superseded => 0,
    };
    recovered.segments.push(Segment {
        name: segment_name(header.sequence),
        file,
        seed: header.seed(),
        first: header.first,
        offsets: scan.offsets,
        end: scan.end,
        capacity: len,
    });
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Tail {
    /// The next segment takes over.
    Superseded,
    /// Nothing but zeros follows.
    Clean,
    /// Something follows that was never acknowledged.
    Torn,
}

#[derive(Debug)]
struct Scan {
    offsets: Vec<u32>,
    end: u64,
    last: Option<EntryId>,
    tail: Tail,
}

#[derive(Debug, PartialEq, Eq)]
struct Damage {
    offset: u64,
    index: u64,
}

fn scan(
    bytes: &[u8],
    header: &SegmentHeader,
    before: Option<EntryId>,
    limit: Option<u64>,
    durable: u64,
) -> Result<Scan, Damage> {
    let mut scan = Scan { offsets: Vec::new(), end: HEADER_BYTES as u64, last: None, tail: Tail::Superseded };
    loop {
        let next = header.first + scan.offsets.len() as u64;
        if limit == Some(next) {
            return Ok(scan);
        }
        let at = scan.end as usize;
        match valid_frame(&bytes[at.min(bytes.len())..], header, next, scan.last.or(before)) {
            Some(frame) => {
                scan.offsets.push(at as u32);
                scan.end += frame.frame_len() as u64;
                scan.last = Some(frame.id);
            }
            None => {
                let damage = Damage { offset: scan.end, index: next };
                let rest = &bytes[at.min(bytes.len())..];
                if limit.is_some() || next < durable || proves_durable(rest, header, next) {
                    return Err(damage);
                }
                scan.tail = if used_bytes(rest) == 0 { Tail::Clean } else { Tail::Torn };
                return Ok(scan);
            }
        }
    }
}

fn valid_frame(bytes: &[u8], header: &SegmentHeader, index: u64, before: Option<EntryId>) -> Option<FrameHeader> {
    let frame = decode_frame(header.seed(), bytes)?;
    let leader = |id: EntryId| (id.term, id.node);
    let in_order = before.is_none_or(|before| leader(frame.id) >= leader(before));
    (frame.id.index == index && index < END_OF_INDEXES && in_order).then_some(frame)
}

/// How many bytes there are up to the last page that is not all zero: most of a segment is reserved space.
fn used_bytes(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let zeros = bytes.rchunks(ZEROS.len()).take_while(|page| **page == ZEROS[..page.len()]);
    bytes.len() - zeros.map(<[u8]>::len).sum::<usize>()
}

/// Whether any valid frame in `bytes`, at whatever offset, proves that entry `index` was durable.
fn proves_durable(bytes: &[u8], header: &SegmentHeader, index: u64) -> bool {
    let most = index + (bytes.len() / FRAME_BYTES) as u64 + 1;
    // A frame begins in the used part; its payload may end with zeros beyond.
    let used = used_bytes(bytes);
    let mut at = 1;
    while at < used && at + FRAME_BYTES <= bytes.len() {
        let plausible = (index + 1..=most).contains(&u64_at(bytes, at + 24));
        match plausible.then(|| decode_frame(header.seed(), &bytes[at..])).flatten() {
            Some(frame) if frame.durable_before() > index => return true,
            Some(frame) => at += frame.frame_len(),
            None => at += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests;
