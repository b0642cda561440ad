//! The histories that a member keeps: one file for each group that lives on its history alone.
//!
//! What they have to come to at the position at which the log was cut says the state of the shard that stands there. A
//! file that does not come to that is not read, but completed from other members, or made anew. Turns behind that
//! position are in the log. A history that begins with a newer checkpoint is another file: until the log is cut there,
//! the one before is what the log goes on from.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use refrain_sequencer::disk::Disk;
use refrain_sequencer::shard::{Recorded, RecordedTurn, ShardState};
use refrain_wire::{GroupId, Position};

use super::file::HistoryFile;

const SUFFIX: &str = ".history";
const PART: &str = ".part";

/// What the histories have to come to where the log was cut.
#[derive(Debug, Default)]
struct Cut {
    position: Position,
    groups: BTreeMap<GroupId, Recorded>,
}

impl Cut {
    fn at(shard: &ShardState) -> Self {
        let groups = shard.groups().iter().filter_map(|(id, group)| Some((*id, group.history?)));
        Self { position: shard.position(), groups: groups.collect() }
    }
}

/// A file, and the position up to which it is known to come to what the log says.
#[derive(Clone)]
struct Kept {
    file: Arc<HistoryFile>,
    whole_to: Position,
}

/// Why a history is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The shard's state is of an earlier version, which knew no histories.
    #[error("what it comes to is not known")]
    Unknown,
    /// The disk.
    #[error("its file cannot be written")]
    Disk(#[from] io::Error),
    /// The turns could not be had.
    #[error("its turns cannot be had: {0}")]
    Turns(String),
    /// The turns are others than the log says.
    #[error("its turns up to position {position} come to {found} bytes, or others, and the log says {wanted}")]
    Others {
        /// Up to where.
        position: Position,
        /// What there is.
        found: u64,
        /// What there should be.
        wanted: u64,
    },
}

/// The histories of a member.
pub(crate) struct Histories {
    disk: Arc<dyn Disk>,
    cut: RwLock<Cut>,
    files: RwLock<BTreeMap<GroupId, Kept>>,
    /// Files that others took the place of, until the log is cut.
    replaced: parking_lot::Mutex<Vec<String>>,
    /// One at a time changes files.
    writing: parking_lot::Mutex<()>,
}

fn name_of(group: GroupId, after: Position) -> String {
    format!("{group}-{after}{SUFFIX}")
}

/// Whose turns after which position a file has.
fn parsed(name: &str) -> Option<(GroupId, Position)> {
    let (group, after) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((GroupId(group.parse().ok()?), Position(after.parse().ok()?)))
}

impl Histories {
    /// Opens a folder for a log that was cut at a state, if it was. Files of no use are removed.
    ///
    /// # Errors
    /// When the folder cannot be read or changed, or a file is of another version.
    pub(crate) fn open(disk: Arc<dyn Disk>, cut: Option<&ShardState>) -> io::Result<Self> {
        let cut = cut.map(Cut::at).unwrap_or_default();
        let mut files = BTreeMap::new();
        for name in disk.list()? {
            let known = parsed(&name).and_then(|(group, after)| Some((group, after, *cut.groups.get(&group)?)));
            let Some((group, _, wanted)) = known.filter(|(_, after, wanted)| *after == wanted.after) else {
                disk.remove(&name)?;
                continue;
            };
            match HistoryFile::open(&*disk, &name, group, wanted.after, cut.position) {
                Ok(file) if could_become(&file, &wanted) => {
                    let whole_to = if file.recorded() == wanted { cut.position } else { Position(0) };
                    files.insert(group, Kept { file: Arc::new(file), whole_to });
                }
                Ok(_) => tracing::error!(name, "a history does not come to what the log says: it is of no use"),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::error!(name, %error, "a history is damaged: it is of no use");
                }
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", disk.path(&name).display())));
                }
            }
        }
        let (cut, files, replaced) = (RwLock::new(cut), RwLock::new(files), parking_lot::Mutex::default());
        Ok(Self { disk, cut, files, replaced, writing: parking_lot::Mutex::default() })
    }

    /// The log goes on from a state in place of entries.
    pub(crate) fn restored(&self, shard: &ShardState) {
        *self.cut.write() = Cut::at(shard);
    }

    /// Where the log was cut, and what the group's history comes to there; none when the group was not there or that
    /// is not known.
    pub(crate) fn wanted(&self, group: GroupId) -> Option<(Position, Recorded)> {
        let cut = self.cut.read();
        Some((cut.position, *cut.groups.get(&group)?))
    }

    fn kept(&self, group: GroupId) -> Option<Kept> {
        self.files.read().get(&group).cloned()
    }

    /// The file of a group, if it has everything up to the cut.
    fn whole(&self, group: GroupId) -> Option<Kept> {
        let (position, _) = self.wanted(group)?;
        self.kept(group).filter(|kept| kept.whole_to >= position)
    }

    /// Whether everything up to the cut is here.
    pub(crate) fn is_whole(&self, group: GroupId) -> bool {
        self.whole(group).is_some()
    }

    /// Whether the history of a group is whole and goes back to its first turn.
    pub(crate) fn begins_before(&self, group: GroupId, first: Position) -> bool {
        self.whole(group).is_some_and(|kept| kept.file.recorded().after < first)
    }

    /// Turns of a group after a position; empty when there are none, at least up to another one. None when they are not
    /// here: the history begins later, or is not whole up to there.
    pub(crate) fn read(
        &self,
        group: GroupId,
        after: Position,
        up_to: Position,
        max_bytes: usize,
    ) -> Option<io::Result<Vec<RecordedTurn>>> {
        let kept = self.kept(group).filter(|kept| kept.whole_to >= up_to && kept.file.recorded().after <= after)?;
        let turns = kept.file.read(after, max_bytes);
        Some(turns.map(|turns| turns.into_iter().take_while(|turn| turn.position <= kept.whole_to).collect()))
    }

    /// Completes the history of a group with turns from elsewhere, as far as the cut. `next` gives turns after a
    /// position, up to that of the cut, and none when there are no more.
    ///
    /// # Errors
    /// When `next` fails, the disk does, or what came is not what the log says. Then nothing of it is used.
    pub(crate) fn complete(
        &self,
        group: GroupId,
        mut next: impl FnMut(Position, Position) -> Result<Vec<RecordedTurn>, String>,
    ) -> Result<(), HistoryError> {
        let _one_at_a_time = self.writing.lock();
        let Some((position, wanted)) = self.wanted(group).filter(|_| !self.is_whole(group)) else { return Ok(()) };
        let written = self.write(group, position, &wanted, |after| next(after, position));
        if matches!(written, Err(HistoryError::Others { .. })) {
            // Some of it may have been wrong before.
            self.forget(group);
        }
        written
    }

    /// Sees to it that the histories of groups are here up to a position at which the log is to be cut, whose state is
    /// given; `next` gives turns of a group after a position, up to there, and none when there are no more. Returns the
    /// first group whose history is not.
    pub(crate) fn extend(
        &self,
        shard: &ShardState,
        groups: &[GroupId],
        mut next: impl FnMut(GroupId, Position) -> Result<Vec<RecordedTurn>, String>,
    ) -> Result<(), (GroupId, HistoryError)> {
        let _one_at_a_time = self.writing.lock();
        for id in groups {
            let wanted = shard.groups().get(id).and_then(|group| group.history);
            let written = match wanted {
                Some(wanted) => self.write(*id, shard.position(), &wanted, |after| next(*id, after)),
                None => Err(HistoryError::Unknown),
            };
            written.map_err(|error| (*id, error))?;
        }
        Ok(())
    }

    fn write(
        &self,
        group: GroupId,
        position: Position,
        wanted: &Recorded,
        mut next: impl FnMut(Position) -> Result<Vec<RecordedTurn>, String>,
    ) -> Result<(), HistoryError> {
        let known = self.kept(group).map(|kept| kept.file).filter(|file| could_become(file, wanted));
        let name = name_of(group, wanted.after);
        let part = format!("{name}{PART}");
        let file = match &known {
            Some(file) => Arc::clone(file),
            None => Arc::new(HistoryFile::create(&*self.disk, &part, group, wanted.after)?),
        };
        let mark = file.mark();
        while file.recorded() != *wanted {
            let turns = next(file.last()).map_err(HistoryError::Turns)?;
            let too_many = turns.last().is_some_and(|turn| turn.position > position);
            if turns.is_empty() || too_many {
                break;
            }
            file.append(&turns)?;
        }
        if file.recorded() != *wanted {
            let found = file.recorded().bytes;
            file.back_to(mark)?;
            return Err(HistoryError::Others { position, found, wanted: wanted.bytes });
        }
        if known.is_none() {
            file.sync()?;
            self.disk.rename(&part, &name)?;
            self.disk.sync_folder()?;
        }
        let before = self.files.write().insert(group, Kept { file, whole_to: position });
        let before = before.map(|kept| name_of(group, kept.file.recorded().after));
        self.replaced.lock().extend(before.filter(|before| *before != name));
        Ok(())
    }

    /// The log was cut at a state: the histories of other groups than these are of no use any more.
    pub(crate) fn cut(&self, shard: &ShardState, kept: &[GroupId]) {
        *self.cut.write() = Cut::at(shard);
        let known: Vec<GroupId> = self.files.read().keys().copied().collect();
        for group in known.into_iter().filter(|group| !kept.contains(group)) {
            tracing::info!(%group, "a history is removed: a checkpoint stands for it");
            self.forget(group);
        }
        let replaced = std::mem::take(&mut *self.replaced.lock());
        replaced.iter().for_each(|name| self.remove(name));
    }

    fn forget(&self, group: GroupId) {
        if let Some(kept) = self.files.write().remove(&group) {
            self.remove(&name_of(group, kept.file.recorded().after));
        }
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.disk.remove(name) {
            tracing::warn!(name, %error, "a history is not removed");
        }
    }
}

/// Whether a file is, or can be continued to, what the log says.
fn could_become(file: &HistoryFile, wanted: &Recorded) -> bool {
    let found = file.recorded();
    found.after == wanted.after && (found.bytes < wanted.bytes || found == *wanted)
}
