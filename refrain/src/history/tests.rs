//! Histories in files: the turns are those of the log, whatever was cut from it, torn, damaged or copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_engine::BatchSource as _;
use refrain_sequencer::disk::Disk;
use refrain_sequencer::shard::{Recorded, ShardState};
use refrain_sequencer::sim::SimDisk;
use refrain_wire::control::Agreement;
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::{
    Control, Digest, Entry, Epoch, GroupId, Position, ProxyId, Record, RecordWriter, ShardControl, Time,
};

use super::file::HistoryFile;
use super::{EntrySource, Histories, History, HistoryError, SourceError, recorded};
use crate::shard::note;

const ONE: GroupId = GroupId(1);
const TWO: GroupId = GroupId(2);

/// A log in memory that may be cut.
#[derive(Default)]
struct Log(Mutex<BTreeMap<Position, Bytes>>);

impl EntrySource for Log {
    fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<(Position, Bytes)>, SourceError> {
        let log = self.0.lock();
        let first = log.first_key_value().map_or(Position(1), |(first, _)| *first);
        if from < first {
            return Err(SourceError::Purged { first });
        }
        let mut bytes = 0;
        let fits = |(nth, (_, entry)): &(usize, (&Position, &Bytes))| {
            bytes += entry.len();
            *nth == 0 || bytes <= max_bytes
        };
        let entries = log.range(from..).enumerate().take_while(fits);
        Ok(entries.map(|(_, (position, entry))| (*position, entry.clone())).collect())
    }
}

/// A member: its log, the state of the shard, and what replicas read.
struct Member {
    log: Arc<Log>,
    shard: ShardState,
    history: History,
    disk: SimDisk,
}

fn batch(group: GroupId, records: &[Record]) -> GroupRecords {
    let mut writer = RecordWriter::default();
    records.iter().for_each(|record| writer.push(record));
    GroupRecords { group, records: writer.take() }
}

fn control(group: GroupId, control: Control) -> GroupRecords {
    batch(group, &[Record::Control(control)])
}

fn create(group: GroupId) -> GroupRecords {
    let (service, bundle, engine) = (format!("a/{group}"), [1; 32], Digest::of(b"engine"));
    control(group, Control::Create { service, bundle, engine, seats: 1, agreement: Agreement::All })
}

fn term(term: u64) -> GroupRecords {
    control(GroupId::SHARD, Control::Shard(ShardControl::Term { term, entropy: [term as u8; 32] }))
}

fn tick(group: GroupId, micros: u64) -> GroupRecords {
    batch(group, &[Record::Tick(Time::from_micros(micros))])
}

impl Member {
    fn on(disk: SimDisk) -> Self {
        let (log, history) = (Arc::new(Log::default()), History::default());
        history.attach(Arc::clone(&log) as Arc<dyn EntrySource>);
        history.attach_kept(Arc::new(Histories::open(Arc::new(disk.clone()), None).unwrap()));
        Self { log, shard: ShardState::new(), history, disk }
    }

    fn new() -> Self {
        Self::on(SimDisk::new())
    }

    fn commit(&mut self, batches: &[GroupRecords]) {
        let position = self.shard.position().next();
        let time = Time::from_micros(position.0 * 1000);
        let bytes = Draft { time, submissions: Vec::new(), batches: batches.to_vec() }.encode(position);
        note(&self.history, &self.shard.apply(&Entry::decode(position, &bytes).unwrap()).unwrap());
        self.log.0.lock().insert(position, bytes);
    }

    /// Two groups, terms, epochs, turns of the one, the other, or both.
    fn live(&mut self) {
        let open = |proxy| {
            Control::Shard(ShardControl::OpenEpoch { proxy: ProxyId(proxy), nonce: proxy.into(), outward: false })
        };
        self.commit(&[term(1)]);
        self.commit(&[control(GroupId::SHARD, open(1)), create(ONE)]);
        self.commit(&[tick(ONE, 1)]);
        self.commit(&[create(TWO)]);
        for at in 0..100 {
            match at % 7 {
                0 => self.commit(&[tick(ONE, at), tick(TWO, at)]),
                1 => self.commit(&[tick(TWO, at)]),
                5 => self.commit(&[term(2 + at)]),
                _ => self.commit(&[tick(ONE, at)]),
            }
        }
        self.commit(&[control(GroupId::SHARD, Control::Shard(ShardControl::EndEpoch(Epoch(1)))), tick(ONE, 0)]);
    }

    /// Every turn of a group, a few at a time.
    fn turns(&self, group: GroupId) -> Result<Vec<String>, String> {
        let (mut after, mut told) = (Position(0), Vec::new());
        loop {
            let turns = self.history.read(group, after, 100)?;
            let Some(last) = turns.last() else { return Ok(told) };
            after = last.position;
            told.extend(turns.iter().map(|turn| format!("{turn:?}")));
        }
    }

    fn kept(&self) -> Arc<Histories> {
        self.history.kept().unwrap()
    }

    /// Cuts the log at a state, as a member does.
    fn cut(&self, at: &ShardState, groups: &[GroupId]) -> Result<(), HistoryError> {
        self.history.keep(at, groups).map_err(|(_, error)| error)?;
        self.log.0.lock().retain(|position, _| *position > at.position());
        Ok(())
    }

    /// What follows once the cut is known.
    fn forget(&self, at: &ShardState, groups: &[GroupId]) {
        self.history.forget(at.position());
        self.kept().cut(at, groups);
    }

    /// The same member after a restart: the log begins with a state.
    fn restarted(self, begins: &ShardState) -> Self {
        let (log, history) = (self.log, History::default());
        history.attach(Arc::clone(&log) as Arc<dyn EntrySource>);
        history.restore(begins.position(), begins.groups());
        history.attach_kept(Arc::new(Histories::open(Arc::new(self.disk.clone()), Some(begins)).unwrap()));
        let mut shard = begins.clone();
        for (position, bytes) in &*log.0.lock() {
            note(&history, &shard.apply(&Entry::decode(*position, bytes).unwrap()).unwrap());
        }
        Self { log, shard, history, disk: self.disk }
    }
}

#[test]
fn turns_of_a_history_and_the_log_behind_it_are_those_of_the_whole_log() {
    let mut member = Member::new();
    member.live();
    let first = member.shard.clone();
    member.live();
    let second = member.shard.clone();
    member.live();
    let [one, two] = [ONE, TWO].map(|group| member.turns(group).unwrap());
    assert!(one.len() > 200 && two.len() > 50, "{} {}", one.len(), two.len());
    for at in [&first, &second] {
        member.cut(at, &[ONE, TWO]).unwrap();
        assert_eq!(member.turns(ONE).unwrap(), one, "cut, and nobody was told yet");
        member.forget(at, &[ONE, TWO]);
        assert_eq!([ONE, TWO].map(|group| member.turns(group).unwrap()), [one.clone(), two.clone()]);
    }
    let member = member.restarted(&second);
    assert_eq!([ONE, TWO].map(|group| member.turns(group).unwrap()), [one, two]);
    assert!(member.history.has_beginning_of(ONE));
}

#[test]
fn a_history_that_is_of_no_use_any_more_is_removed() {
    let mut member = Member::new();
    member.live();
    let first = member.shard.clone();
    member.cut(&first, &[ONE, TWO]).unwrap();
    member.forget(&first, &[ONE, TWO]);
    assert_eq!(member.disk.list().unwrap().len(), 2);
    member.live();
    let second = member.shard.clone();
    member.cut(&second, &[TWO]).unwrap();
    member.forget(&second, &[TWO]);
    assert_eq!(member.disk.list().unwrap(), ["2-3.history"]);
    assert!(member.turns(ONE).unwrap_err().contains("the log was cut behind position"));
    assert!(member.turns(TWO).is_ok());
    let disk = member.disk.clone();
    for name in ["1-1.history.part", "2-9.history", "3-9.history", "other"] {
        disk.create(name).unwrap();
    }
    let member = member.restarted(&second);
    assert_eq!(disk.list().unwrap(), ["2-3.history"]);
    drop(member);
}

#[test]
fn a_crash_at_any_operation_keeps_what_stands_for_the_cut_and_cuts_off_what_is_torn() {
    let mut operations = 0;
    for stop in 0.. {
        let mut member = Member::new();
        member.live();
        let first = member.shard.clone();
        member.cut(&first, &[ONE, TWO]).unwrap();
        member.forget(&first, &[ONE, TWO]);
        member.live();
        let second = member.shard.clone();
        let whole = member.turns(ONE).unwrap();
        let before = member.disk.operations();
        member.disk.stop_after(before + stop);
        let log = member.log.0.lock().clone();
        let kept = member.cut(&second, &[ONE, TWO]);
        operations = operations.max(member.disk.operations() - before);
        member.disk.crash(stop);
        // The cut is made after that; where it was not, the log still has everything since the one before.
        let begins = if kept.is_ok() { &second } else { &first };
        if kept.is_err() {
            *member.log.0.lock() = log;
        }
        let member = member.restarted(begins);
        assert_eq!(member.turns(ONE).unwrap(), whole, "stopped after {stop} operations");
        if kept.is_ok() {
            break;
        }
    }
    assert!(operations >= 4, "writes and syncs of two files: {operations}");
}

#[test]
fn a_damaged_history_is_noticed_and_copied_from_another_member() {
    let mut member = Member::new();
    member.live();
    let begins = member.shard.clone();
    let whole = member.turns(ONE).unwrap();
    let turns = member.history.turns(ONE, Position(0), usize::MAX).unwrap();
    member.cut(&begins, &[ONE]).unwrap();
    member.disk.flip_bit("1-1.history", 700, 3);
    let member = member.restarted(&begins);
    let error = member.turns(ONE).unwrap_err();
    assert!(error.contains("no other node can be asked"), "{error}");
    assert!(!member.kept().is_whole(ONE));
    let from = |wrong: Option<usize>| {
        let all: Vec<_> = turns.iter().map(recorded).collect();
        move |after: Position| {
            let next = all.iter().filter(|turn| turn.position > after).take(10).cloned();
            let mut next: Vec<_> = next.collect();
            if let Some(turn) = wrong.and_then(|nth| next.get_mut(nth)) {
                turn.time = Time::from_micros(turn.time.micros() + 1);
            }
            Ok(next)
        }
    };
    let refused = member.kept().complete(ONE, from(Some(7)));
    assert!(matches!(refused, Err(HistoryError::Others { .. })), "{refused:?}");
    assert!(member.turns(ONE).is_err(), "what is not what the log says is not used");
    let broken = member.kept().complete(ONE, |_| Err("no".to_owned()));
    assert!(matches!(broken, Err(HistoryError::Turns(_))), "{broken:?}");
    member.kept().complete(ONE, from(None)).unwrap();
    assert_eq!(member.turns(ONE).unwrap(), whole);
    let member = member.restarted(&begins);
    assert_eq!(member.turns(ONE).unwrap(), whole, "it is on the disk");
}

#[test]
fn a_history_begins_anew_with_a_checkpoint() {
    let mut member = Member::new();
    member.live();
    let first = member.shard.clone();
    member.cut(&first, &[ONE]).unwrap();
    member.forget(&first, &[ONE]);
    member.commit(&[control(ONE, Control::Checkpoint)]);
    let asked = member.shard.position();
    member.commit(&[tick(ONE, 1)]);
    let second = member.shard.clone();
    member.cut(&second, &[ONE]).unwrap();
    member.forget(&second, &[ONE]);
    member.commit(&[control(ONE, Control::Rooted { position: asked, root: [1; 32] })]);
    member.commit(&[tick(ONE, 2)]);
    let third = member.shard.clone();
    let history = third.groups()[&ONE].history.unwrap();
    assert_eq!(history.after, asked);
    // It ends before the log is cut: the log still goes on from the history before.
    let whole = member.turns(ONE).unwrap();
    member.history.keep(&third, &[ONE]).unwrap();
    let member = member.restarted(&second);
    assert_eq!(member.turns(ONE).unwrap(), whole);
    member.cut(&third, &[ONE]).unwrap();
    member.forget(&third, &[ONE]);
    let turns = member.history.read(ONE, asked, usize::MAX).unwrap();
    assert_eq!(turns.len(), 3, "some from the file before, some from the log");
    assert!(member.history.read(ONE, Position(0), usize::MAX).is_err(), "what lies before is gone");
    assert_eq!(member.kept().wanted(ONE), Some((third.position(), history)));
    assert_eq!(member.disk.list().unwrap(), [format!("1-{asked}.history")]);
}

#[test]
fn a_file_of_another_version_or_group_is_refused_in_words() {
    let disk = SimDisk::new();
    HistoryFile::create(&disk, "1.history", ONE, Position(4)).unwrap().sync().unwrap();
    let wanted = Recorded::since(Position(4));
    let opened = |group| HistoryFile::open(&disk, "1.history", group, &wanted, Position(9));
    assert_eq!(opened(ONE).unwrap().recorded(), Recorded::since(Position(4)));
    assert_eq!(opened(TWO).err().unwrap().to_string(), "its header is damaged");
    disk.flip_bit("1.history", 8, 1);
    assert_eq!(opened(ONE).err().unwrap().to_string(), "it has version 3, this program reads version 1");
}

#[test]
fn the_bytes_of_a_history_are_fixed() {
    let disk = SimDisk::new();
    let file = HistoryFile::create(&disk, "1.history", ONE, Position(4)).unwrap();
    let turn = super::RecordedTurn {
        position: Position(5),
        time: Time::from_micros(6),
        terms: vec![[7; 32]],
        ended: vec![Epoch(8)],
        opened: Vec::new(),
        records: Bytes::from_static(b"records"),
    };
    file.append(std::slice::from_ref(&turn)).unwrap();
    let handle = disk.open("1.history").unwrap();
    let mut bytes = vec![0; handle.size().unwrap() as usize];
    handle.read_at(0, &mut bytes).unwrap();
    let body =
        [&5u64.to_le_bytes()[..], &6u64.to_le_bytes(), &[1], &1u32.to_le_bytes(), &[7; 32], &[8, 0, 0, 0]].concat();
    let body = [&body[..], b"records"].concat();
    let chain = blake3::hash(&[&[0; 32][..], &body].concat());
    let header = [b"RFRNHIST", &[1, 0, 0, 0, 1, 0, 0, 0][..], &4u64.to_le_bytes()].concat();
    let check = blake3::hash(&header);
    let length = (body.len() as u32).to_le_bytes();
    let golden = [&header[..], &check.as_bytes()[..4], &length, &chain.as_bytes()[..8], &body].concat();
    assert_eq!(bytes, golden);
    assert_eq!(
        file.recorded(),
        Recorded { after: Position(4), bytes: 12 + body.len() as u64, chain: *chain.as_bytes() }
    );
    assert_eq!(file.read(Position(4), file.recorded().bytes, 1).unwrap(), [turn]);
}

/// A member whose log was cut behind two groups with a history, and the bytes that the history of the first has.
fn cut_member() -> (Member, ShardState, u64) {
    let mut member = Member::new();
    member.live();
    let begins = member.shard.clone();
    member.cut(&begins, &[ONE, TWO]).unwrap();
    member.forget(&begins, &[ONE, TWO]);
    member.live();
    let bytes = begins.groups()[&ONE].history.unwrap().bytes;
    (member, begins, bytes)
}

/// Where the frame of the turn stands which a byte of a file's turns is in.
fn frame_at(disk: &SimDisk, name: &str, byte: u64) -> u64 {
    let file = disk.open(name).unwrap();
    let (mut at, mut length) = (28, [0; 4]);
    loop {
        file.read_at(at, &mut length).unwrap();
        let next = at + 12 + u64::from(u32::from_le_bytes(length));
        if next > byte {
            return at;
        }
        at = next;
    }
}

fn size_of(disk: &SimDisk, name: &str) -> u64 {
    disk.open(name).unwrap().size().unwrap()
}

const NAME: &str = "1-1.history";
const DAMAGED: &str = "1-1.history.damaged";

#[test]
fn damage_while_a_history_is_read_is_noticed_and_never_taken_for_its_end() {
    // A byte of a turn; the chain before it; its length, which then is impossible, beyond the end, or short.
    for (offset, bit) in [(20, 1), (5, 0), (3, 7), (2, 6), (0, 0)] {
        let (member, _, bytes) = cut_member();
        let whole = member.turns(ONE).unwrap();
        member.disk.flip_bit(NAME, frame_at(&member.disk, NAME, bytes / 2) + offset, bit);
        let error = member.turns(ONE).expect_err("turns were skipped");
        assert!(error.contains("no other node can be asked"), "{error}");
        assert!(!member.kept().is_whole(ONE), "it is to be copied");
        let names = member.disk.list().unwrap();
        assert!(names.contains(&DAMAGED.to_owned()) && !names.contains(&NAME.to_owned()), "{names:?}");
        assert!(member.turns(TWO).is_ok(), "another group's is read");
        let other = cut_member().0;
        member.kept().complete(ONE, |after| given(&other, after)).unwrap();
        assert_eq!(member.turns(ONE).unwrap(), whole);
    }
}

#[test]
fn a_file_that_became_shorter_while_it_is_read_is_noticed() {
    let (member, _, bytes) = cut_member();
    member.disk.open(NAME).unwrap().set_len(28 + bytes / 2).unwrap();
    assert!(member.turns(ONE).is_err());
    let (member, _, bytes) = cut_member();
    let frame = frame_at(&member.disk, NAME, bytes / 2);
    member.disk.open(NAME).unwrap().set_len(frame).unwrap();
    assert!(member.turns(ONE).is_err(), "it ends with a whole turn");
}

#[test]
fn damage_before_the_cut_is_put_aside_and_nothing_of_it_is_cut_off() {
    for (offset, bit) in [(20, 1), (5, 0), (3, 7), (2, 6), (0, 0)] {
        let (member, begins, bytes) = cut_member();
        member.disk.flip_bit(NAME, frame_at(&member.disk, NAME, bytes / 2) + offset, bit);
        let size = size_of(&member.disk, NAME);
        let member = member.restarted(&begins);
        assert_eq!(size_of(&member.disk, DAMAGED), size, "it is there as it was");
        assert!(member.turns(ONE).is_err() && member.turns(TWO).is_ok());
        let member = member.restarted(&begins);
        assert_eq!(size_of(&member.disk, DAMAGED), size, "the next start keeps it too");
    }
    let (member, begins, _) = cut_member();
    member.disk.flip_bit(NAME, 20, 1);
    let member = member.restarted(&begins);
    assert!(member.disk.list().unwrap().contains(&DAMAGED.to_owned()), "with a damaged header");
}

#[test]
fn what_lies_behind_the_cut_and_half_a_turn_at_the_end_are_cut_off() {
    let (member, begins, bytes) = cut_member();
    let whole = member.turns(ONE).unwrap();
    let file = member.disk.open(NAME).unwrap();
    file.write_at(28 + bytes, &[std::io::IoSlice::new(&[7; 60])]).unwrap();
    let member = member.restarted(&begins);
    assert_eq!((size_of(&member.disk, NAME), member.turns(ONE).unwrap()), (28 + bytes, whole));
    // A copy that was not finished.
    let frame = frame_at(&member.disk, NAME, bytes / 2);
    member.disk.open(NAME).unwrap().set_len(frame + 15).unwrap();
    let member = member.restarted(&begins);
    assert_eq!(size_of(&member.disk, NAME), frame);
    assert!(!member.kept().is_whole(ONE) && member.turns(ONE).is_err());
}

#[test]
fn a_question_with_any_number_is_answered() {
    let (member, ..) = cut_member();
    let most = u64::from(u32::MAX) as usize;
    for (group, after, max_bytes) in
        [(ONE, Position(u64::MAX), most), (ONE, Position(u64::MAX), 0), (ONE, Position(u64::MAX - 1), most)]
    {
        assert!(member.history.turns(group, after, max_bytes).unwrap().is_empty(), "after {after}");
    }
    assert!(member.history.turns(GroupId(u32::MAX), Position(0), most).unwrap_err().contains("is not in the log"));
    assert_eq!(member.history.turns(ONE, Position(0), 0).unwrap().len(), 1, "one when there is one");
    assert!(!member.history.turns(ONE, Position(0), most).unwrap().is_empty());
}

#[test]
fn an_entry_of_another_node_with_any_number_is_taken_for_the_last() {
    struct Last;
    impl EntrySource for Last {
        fn read(&self, _: Position, _: usize) -> Result<Vec<(Position, Bytes)>, SourceError> {
            Ok(vec![(Position(u64::MAX), Bytes::new())])
        }
    }
    let (member, ..) = cut_member();
    member.history.attach(Arc::new(Last));
    let last = member.shard.position();
    assert!(member.history.turns(ONE, Position(last.0 - 1), 1).unwrap().is_empty());
}

/// Turns of a member, as another one gets them.
fn given(member: &Member, after: Position) -> Result<Vec<super::RecordedTurn>, String> {
    Ok(member.history.turns(ONE, after, 200)?.iter().map(recorded).collect())
}

#[test]
fn turns_that_came_before_nobody_had_more_are_not_asked_for_again() {
    let (other, ..) = cut_member();
    // Nothing is here, or half of it.
    for half in [false, true] {
        let (member, begins, bytes) = cut_member();
        let frame = frame_at(&member.disk, NAME, bytes / 2);
        match half {
            true => member.disk.open(NAME).unwrap().set_len(frame).unwrap(),
            false => member.disk.remove(NAME).unwrap(),
        }
        let member = member.restarted(&begins);
        let mut asked = Vec::new();
        for stop in [1, 0, 2, 1] {
            let mut left = stop;
            let got = member.kept().complete(ONE, |after| {
                asked.push(after);
                left -= 1;
                if left < 0 { Ok(Vec::new()) } else { given(&other, after) }
            });
            assert!(matches!(got, Err(HistoryError::Short { .. })), "{got:?}");
        }
        let broken = member.kept().complete(ONE, |after| {
            asked.push(after);
            Err("no".to_owned())
        });
        assert!(matches!(broken, Err(HistoryError::Turns(_))));
        assert!(member.turns(ONE).is_err(), "nothing of it is used");
        member
            .kept()
            .complete(ONE, |after| {
                asked.push(after);
                given(&other, after)
            })
            .unwrap();
        assert!(asked.is_sorted(), "{asked:?}");
        assert_eq!(member.turns(ONE).unwrap(), other.turns(ONE).unwrap());
        assert!(!member.disk.list().unwrap().iter().any(|name| name.ends_with(".part")));
        assert_eq!(member.restarted(&begins).turns(ONE).unwrap(), other.turns(ONE).unwrap(), "it is on the disk");
    }
}

#[test]
fn turns_that_lead_to_no_end_are_given_up_at_last() {
    let (other, ..) = cut_member();
    let (member, begins, _) = cut_member();
    member.disk.remove(NAME).unwrap();
    let member = member.restarted(&begins);
    // One of them lacks its records, so the bytes never come to what they should; and nobody has a turn behind.
    let wrong = |after| {
        let mut turns = given(&other, after)?;
        turns.retain(|turn| turn.position <= begins.position());
        turns.iter_mut().filter(|turn| turn.position == Position(3)).for_each(|turn| turn.records = Bytes::new());
        Ok(turns)
    };
    assert!(matches!(member.kept().complete(ONE, wrong), Err(HistoryError::Short { .. })));
    let mut tries = 1;
    while member.kept().complete(ONE, |after| given(&other, after).map(|turns| before(&begins, turns))).is_err() {
        tries += 1;
        assert!(tries < 20, "it never begins anew");
    }
    assert!(tries > 3, "it begins anew after {tries}");
    assert_eq!(member.turns(ONE).unwrap(), other.turns(ONE).unwrap());
    // Where somebody has turns behind the cut, and not enough before, they are wrong at once.
    let (member, begins, _) = cut_member();
    member.disk.remove(NAME).unwrap();
    let member = member.restarted(&begins);
    let fewer = |after| Ok(given(&other, after)?.into_iter().filter(|turn| turn.position != Position(3)).collect());
    assert!(matches!(member.kept().complete(ONE, fewer), Err(HistoryError::Others { .. })));
    assert!(!member.disk.list().unwrap().iter().any(|name| name.ends_with(".part")));
    member.kept().complete(ONE, |after| given(&other, after)).unwrap();
}

fn before(cut: &ShardState, turns: Vec<super::RecordedTurn>) -> Vec<super::RecordedTurn> {
    turns.into_iter().filter(|turn| turn.position <= cut.position()).collect()
}
