//! The histories that a member keeps: one file for each group that lives on its history alone.
//!
//! What they have to come to at the position at which the log was cut says the state of the shard that stands there. A
//! file that does not come to that is not read, but completed from other members, or made anew; one that is damaged is
//! put aside under another name, for an operator to look at. Turns behind that position are in the log. A history that begins with a newer checkpoint is another file: until the log is cut there,
//! the one before is what the log goes on from.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use refrain_sequencer::disk::Disk;
use refrain_sequencer::shard::{Recorded, RecordedTurn, ShardState};
use refrain_wire::{GroupId, Position};
use tokio::sync::Notify;

use super::file::HistoryFile;
use super::filling::{HistoryError, could_become, fill};

const SUFFIX: &str = ".history";
const PART: &str = ".part";
const DAMAGED: &str = ".damaged";
/// Tries without a new turn, nobody having one, after which all turns are got anew. Those that are missing may be missing
/// because one that came was wrong, which is seen at the end only.
const TRIES_IN_VAIN: u32 = 8;

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

/// A file, and how far it is known to come to what the log says.
#[derive(Clone)]
struct Kept {
    file: Arc<HistoryFile>,
    whole_to: Position,
    /// The bytes of its turns up to there.
    whole_bytes: u64,
}

/// Between two tries to get a group's turns.
#[derive(Default)]
struct Unfinished {
    /// A new file with what came, if there is not one already that is continued.
    part: Option<Arc<HistoryFile>>,
    /// What the last try left, and how many left the same.
    bytes: u64,
    in_vain: u32,
}

/// The histories of a member.
pub(crate) struct Histories {
    disk: Arc<dyn Disk>,
    cut: RwLock<Cut>,
    files: RwLock<BTreeMap<GroupId, Kept>>,
    /// Files that others took the place of, until the log is cut.
    replaced: parking_lot::Mutex<Vec<String>>,
    /// What was begun and came to no end yet.
    unfinished: parking_lot::Mutex<BTreeMap<GroupId, Unfinished>>,
    /// One at a time changes files.
    writing: parking_lot::Mutex<()>,
    /// Told when a file was put aside that is needed.
    damaged: Notify,
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
    /// Opens a folder for a log that was cut at a state, if it was. Files of no use are removed, damaged ones put aside.
    ///
    /// # Errors
    /// When the folder cannot be read or changed, or a file is of another version.
    pub(crate) fn open(disk: Arc<dyn Disk>, cut: Option<&ShardState>) -> io::Result<Self> {
        let cut = cut.map(Cut::at).unwrap_or_default();
        let mut files = BTreeMap::new();
        for name in disk.list()? {
            let file = disk.path(&name);
            if name.ends_with(DAMAGED) {
                tracing::warn!(file = %file.display(), "a damaged history is still here: it can be removed");
                continue;
            }
            let known = parsed(&name).and_then(|(group, after)| Some((group, after, *cut.groups.get(&group)?)));
            let Some((group, _, wanted)) = known.filter(|(_, after, wanted)| *after == wanted.after) else {
                disk.remove(&name)?;
                continue;
            };
            let (position, wanted_bytes) = (cut.position.0, wanted.bytes);
            match HistoryFile::open(&*disk, &name, group, &wanted, cut.position) {
                Ok(found) => {
                    let (whole, bytes) = (found.recorded() == wanted, found.recorded().bytes);
                    if !whole {
                        let last = found.last().0;
                        tracing::error!(
                            file = %file.display(), position, bytes, wanted_bytes, last,
                            "a history is shorter than the log says: other members are asked for the rest"
                        );
                    }
                    let (whole_to, whole_bytes) = if whole { (cut.position, bytes) } else { (Position(0), 0) };
                    files.insert(group, Kept { file: Arc::new(found), whole_to, whole_bytes });
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::error!(
                        file = %file.display(), position, wanted_bytes, %error,
                        "a history is damaged: it is put aside, and other members are asked for it"
                    );
                    disk.rename(&name, &format!("{name}{DAMAGED}"))?;
                    disk.sync_folder()?;
                }
                Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
            }
        }
        let (cut, files, replaced) = (RwLock::new(cut), RwLock::new(files), parking_lot::Mutex::default());
        let (unfinished, writing) = (parking_lot::Mutex::default(), parking_lot::Mutex::default());
        Ok(Self { disk, cut, files, replaced, unfinished, writing, damaged: Notify::new() })
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
    /// here: the history begins later, is not whole up to there, or turns out to be damaged and is put aside.
    pub(crate) fn read(
        &self,
        group: GroupId,
        after: Position,
        up_to: Position,
        max_bytes: usize,
    ) -> Option<Vec<RecordedTurn>> {
        let kept = self.kept(group).filter(|kept| kept.whole_to >= up_to && kept.file.recorded().after <= after)?;
        match kept.file.read(after, kept.whole_bytes, max_bytes) {
            Ok(turns) => Some(turns),
            Err(error) => {
                self.put_aside(group, &kept, &error);
                None
            }
        }
    }

    /// A file cannot be read: it is as if there were none.
    fn put_aside(&self, group: GroupId, damaged: &Kept, error: &io::Error) {
        let mut files = self.files.write();
        if !files.get(&group).is_some_and(|kept| Arc::ptr_eq(&kept.file, &damaged.file)) {
            // Another one has its place, or somebody else saw it first.
            return;
        }
        files.remove(&group);
        let name = name_of(group, damaged.file.recorded().after);
        tracing::error!(
            file = %self.disk.path(&name).display(), position = damaged.whole_to.0, wanted_bytes = damaged.whole_bytes, %error,
            "a history cannot be read: it is put aside, and other members are asked for it"
        );
        if let Err(error) = self.disk.rename(&name, &format!("{name}{DAMAGED}")) {
            tracing::warn!(name, %error, "a damaged history is not put aside");
        }
        drop(files);
        self.damaged.notify_one();
    }

    /// Waits until a file was put aside that is needed.
    pub(crate) async fn until_damaged(&self) {
        self.damaged.notified().await;
    }

    /// Completes the history of a group with turns from elsewhere, as far as the cut. `next` gives turns after a
    /// position, and none when nobody has more.
    ///
    /// # Errors
    /// When `next` fails or has too few, the disk fails, or what came is not what the log says. Then nothing of it is
    /// used; but in the last case it is kept, and the next try goes on from it.
    pub(crate) fn complete(
        &self,
        group: GroupId,
        next: impl FnMut(Position) -> Result<Vec<RecordedTurn>, String>,
    ) -> Result<(), HistoryError> {
        let _one_at_a_time = self.writing.lock();
        let Some((position, wanted)) = self.wanted(group).filter(|_| !self.is_whole(group)) else { return Ok(()) };
        let written = self.write(group, position, &wanted, next);
        let in_vain = match &written {
            Err(HistoryError::Short { found, .. }) => self.is_in_vain(group, *found),
            _ => false,
        };
        if in_vain || matches!(written, Err(HistoryError::Others { .. })) {
            // Some of it may have been wrong before.
            self.forget(group);
        }
        written
    }

    /// Sees to it that the histories of groups are here up to a position at which the log is to be cut, whose state is
    /// given; `next` gives turns of a group after a position, and none when there are no more. Returns the first group
    /// whose history is not.
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
        next: impl FnMut(Position) -> Result<Vec<RecordedTurn>, String>,
    ) -> Result<(), HistoryError> {
        let known = self.kept(group).map(|kept| kept.file).filter(|file| could_become(file, wanted));
        let name = name_of(group, wanted.after);
        let part = format!("{name}{PART}");
        let file = match &known {
            Some(file) => Arc::clone(file),
            None => self.part(group, &part, wanted)?,
        };
        let mark = file.mark();
        if let Err(error) = fill(&file, position, wanted, next) {
            match (&known, &error) {
                (Some(file), HistoryError::Others { .. }) => file.back_to(mark)?,
                (None, HistoryError::Others { .. }) => self.remove(&part),
                (None, _) => self.unfinished.lock().entry(group).or_default().part = Some(file),
                (Some(_), _) => {}
            }
            return Err(error);
        }
        if known.is_none() {
            file.sync()?;
            self.disk.rename(&part, &name)?;
            self.disk.sync_folder()?;
        }
        let mut files = self.files.write();
        let still = |known: &Arc<HistoryFile>| files.get(&group).is_some_and(|kept| Arc::ptr_eq(&kept.file, known));
        if known.is_some_and(|known| !still(&known)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it was put aside meanwhile").into());
        }
        let before = files.insert(group, Kept { file, whole_to: position, whole_bytes: wanted.bytes });
        drop(files);
        self.forget_unfinished(group);
        let before = before.map(|kept| name_of(group, kept.file.recorded().after));
        self.replaced.lock().extend(before.filter(|before| *before != name));
        Ok(())
    }

    /// A new file, or what an earlier try has of it.
    fn part(&self, group: GroupId, name: &str, wanted: &Recorded) -> io::Result<Arc<HistoryFile>> {
        let begun = self.unfinished.lock().get_mut(&group).and_then(|begun| begun.part.take());
        if let Some(file) = begun {
            if could_become(&file, wanted) {
                return Ok(file);
            }
            self.remove(&format!("{}{PART}", name_of(group, file.recorded().after)));
        }
        Ok(Arc::new(HistoryFile::create(&*self.disk, name, group, wanted.after)?))
    }

    /// Notes a try that found nobody who has more; whether that is so for long.
    fn is_in_vain(&self, group: GroupId, bytes: u64) -> bool {
        let mut unfinished = self.unfinished.lock();
        let begun = unfinished.entry(group).or_default();
        begun.in_vain = if begun.bytes == bytes { begun.in_vain + 1 } else { 1 };
        begun.bytes = bytes;
        begun.in_vain >= TRIES_IN_VAIN
    }

    /// The log was cut at a state: the histories of other groups than these are of no use any more.
    pub(crate) fn cut(&self, shard: &ShardState, kept: &[GroupId]) {
        *self.cut.write() = Cut::at(shard);
        let known: Vec<GroupId> = self.files.read().keys().copied().collect();
        let begun: Vec<GroupId> = self.unfinished.lock().keys().copied().collect();
        begun.into_iter().filter(|group| !kept.contains(group)).for_each(|group| self.forget_unfinished(group));
        for group in known.into_iter().filter(|group| !kept.contains(group)) {
            tracing::info!(%group, "a history is removed: a checkpoint stands for it");
            self.forget(group);
        }
        let replaced = std::mem::take(&mut *self.replaced.lock());
        replaced.iter().for_each(|name| self.remove(name));
    }

    fn forget_unfinished(&self, group: GroupId) {
        if let Some(file) = self.unfinished.lock().remove(&group).and_then(|begun| begun.part) {
            self.remove(&format!("{}{PART}", name_of(group, file.recorded().after)));
        }
    }

    fn forget(&self, group: GroupId) {
        self.forget_unfinished(group);
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
