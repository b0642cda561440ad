//! Replays of folders that are made here: a log by hand, checkpoints by real replicas.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use refrain_engine::Platform;
use refrain_engine::checkpoint::{Captured, CheckpointStore};
use refrain_engine::replica::Flip;
use refrain_sequencer::disk::RealDisk;
use refrain_sequencer::flush::FlushThread;
use refrain_sequencer::log::OrderedLog as _;
use refrain_sequencer::raft::{RaftLog, RaftOptions};
use refrain_service::Bundle;
use refrain_wire::control::Agreement;
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::{
    Control, Epoch, GroupId, Position, ProxyId, Record, RecordWriter, Serial, ShardControl, SubmissionId, Time,
};

use super::{Comparison, Folder, Player, Start, Survey, Verifier, compare};

const SERVICE: &str = "examples/echo";
const GROUP: GroupId = GroupId(1);
const ALL: Position = Position(u64::MAX);

/// A data folder, written by one member.
struct Data {
    temp: tempfile::TempDir,
    platform: Platform,
    submissions: u64,
    micros: u64,
}

impl Data {
    /// With the echo server, a client that is connected, and a few bytes of its.
    fn new() -> Self {
        let (temp, platform) = (tempfile::tempdir().unwrap(), Platform::new(None).unwrap().traced().unwrap());
        let bundle = Bundle::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/echo")).unwrap();
        bundle.store(&temp.path().join("bundles")).unwrap();
        let mut data = Self { temp, platform, submissions: 0, micros: 0 };
        let create = Control::Create {
            service: SERVICE.into(),
            bundle: *bundle.digest.as_bytes(),
            engine: data.platform.key(),
            seats: 3,
            agreement: Agreement::Majority,
        };
        let term = Control::Shard(ShardControl::Term { term: 1, entropy: [7; 32] });
        let epoch = Control::Shard(ShardControl::OpenEpoch { proxy: ProxyId(1), nonce: 1, outward: false });
        let open = Record::Open { serial: Serial(1), port: 7, peer: "192.0.2.1:1000".parse().unwrap() };
        data.append(vec![
            Entry::Controls(GroupId::SHARD, vec![term, epoch]),
            Entry::Controls(GROUP, vec![create]),
            Entry::Flow(open),
            Entry::Flow(bytes(b"hello")),
        ]);
        data
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }

    fn copy(&self) -> Self {
        let temp = tempfile::tempdir().unwrap();
        for folder in ["log", "bundles", "checkpoints"] {
            if self.path().join(folder).is_dir() {
                copy(&self.path().join(folder), &temp.path().join(folder));
            }
        }
        Self { temp, platform: self.platform.clone(), submissions: self.submissions, micros: self.micros }
    }

    /// Runs the member for a moment; returns where the last entry stands.
    fn append(&mut self, entries: Vec<Entry>) -> Position {
        self.with_log(async |data, log| {
            let mut last = Position(0);
            for entry in entries {
                last = log.append(data.draft(entry)).await.unwrap();
            }
            last
        })
    }

    fn with_log<T>(&mut self, act: impl AsyncFnOnce(&mut Self, &RaftLog) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tokio::task::LocalSet::new().run_until(async {
            let disk = Arc::new(RealDisk::open(self.path().join("log")).unwrap());
            let log = RaftLog::open(disk, &FlushThread, RaftOptions::default(), Arc::new(|_| {})).await.unwrap();
            let done = act(self, &log).await;
            log.close().await.unwrap();
            done
        }))
    }

    fn draft(&mut self, entry: Entry) -> Draft {
        self.micros += 1000;
        let (mut writer, mut submissions) = (RecordWriter::default(), Vec::new());
        let group = match entry {
            Entry::Controls(group, controls) => {
                controls.into_iter().for_each(|control| writer.push(&Record::Control(control)));
                group
            }
            Entry::Flow(record) => {
                self.submissions += 1;
                submissions.push(SubmissionId { epoch: Epoch(1), number: self.submissions });
                writer.push(&Record::Origin(Epoch(1)));
                writer.push(&record);
                GROUP
            }
        };
        let batches = vec![GroupRecords { group, records: writer.take() }];
        Draft { time: Time::from_micros(self.micros), submissions, batches }
    }

    /// Asks for a checkpoint and keeps the one that a replica captures there; `flip` damages that replica before.
    fn checkpoint(&mut self, flip: Option<Flip>) -> (Position, [u8; 32]) {
        let at = self.append(vec![Entry::Controls(GROUP, vec![Control::Checkpoint])]);
        let captured = self.capture_at(at, flip);
        let store = CheckpointStore::open(&self.path().join("checkpoints")).unwrap();
        (at, store.save(&captured).unwrap().root().0)
    }

    fn capture_at(&self, at: Position, flip: Option<Flip>) -> Arc<Captured> {
        let folder = Folder::open(self.path()).unwrap();
        let survey = Survey::of(&folder, SERVICE, ALL).unwrap();
        let mut player = Player::begin(&folder, &survey, &self.platform, Start::Beginning).unwrap();
        loop {
            if let Some(flip) = flip.filter(|_| player.peek().unwrap() == Some(at)) {
                player.replica().inject(flip);
            }
            let turn = player.play().unwrap().expect("the turn is there");
            if turn.batch.position == at {
                return turn.outcome.captured.expect("the example is instrumented");
            }
        }
    }

    /// Replays all; returns the running digest, and what was found of the evidence.
    fn replay(&self, start: Start) -> (String, Verifier) {
        let folder = Folder::open(self.path()).unwrap();
        let survey = Survey::of(&folder, "echo", ALL).unwrap();
        let mut verifier = Verifier::of(&folder, &survey).unwrap();
        let mut player = Player::begin(&folder, &survey, &self.platform, start).unwrap();
        while let Some(turn) = player.play().unwrap() {
            verifier.check(&mut player, &turn).unwrap();
        }
        (format!("{:?}", player.replica().running_digest()), verifier)
    }

    fn compared(&self, other: &Self) -> Comparison {
        let folders = (Folder::open(self.path()).unwrap(), Folder::open(other.path()).unwrap());
        let surveys = [&folders.0, &folders.1].map(|folder| Survey::of(folder, SERVICE, ALL).unwrap());
        let (one, other) = ((&folders.0, &surveys[0]), (&folders.1, &surveys[1]));
        compare(one, other, &self.platform, Start::Beginning, ALL).unwrap()
    }
}

enum Entry {
    Controls(GroupId, Vec<Control>),
    Flow(Record),
}

fn bytes(text: &[u8]) -> Record {
    Record::Data { serial: Serial(1), delivered: 0, bytes: Bytes::copy_from_slice(text) }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn checkpoints_and_agreed_roots_are_held_against_the_replay() {
    let mut data = Data::new();
    let (position, root) = data.checkpoint(None);
    data.append(vec![Entry::Controls(GROUP, vec![Control::Rooted { position, root }]), Entry::Flow(bytes(b"more"))]);
    let (_, verifier) = data.replay(Start::Beginning);
    let sources: Vec<&str> = verifier.findings.iter().map(|finding| finding.source.as_str()).collect();
    assert_eq!(sources, ["the agreed root in the log", "a checkpoint that is kept"]);
    assert!(verifier.findings.iter().all(|finding| finding.agrees), "{:?}", verifier.findings);
    // A wrong root in the log is told.
    let (position, _) = data.checkpoint(None);
    data.append(vec![Entry::Controls(GROUP, vec![Control::Rooted { position, root: [9; 32] }])]);
    let (_, verifier) = data.replay(Start::Beginning);
    let wrong: Vec<u64> = verifier.findings.iter().filter(|finding| !finding.agrees).map(|f| f.position).collect();
    assert_eq!(wrong, [position.0]);
}

#[test]
fn a_replay_that_begins_with_a_checkpoint_ends_as_one_from_the_beginning() {
    let mut data = Data::new();
    let (first, root) = data.checkpoint(None);
    data.append(vec![
        Entry::Controls(GROUP, vec![Control::Rooted { position: first, root }]),
        Entry::Flow(bytes(b"between")),
    ]);
    let (second, _) = data.checkpoint(None);
    data.append(vec![Entry::Flow(bytes(b"after"))]);
    let (expected, _) = data.replay(Start::Beginning);
    for start in [Start::At(first), Start::At(second), Start::Newest(ALL), Start::Newest(first)] {
        assert_eq!(data.replay(start).0, expected, "{start:?}");
    }
    // The log is cut behind the first one: it begins there by itself, and nothing before is missed.
    let state = {
        let folder = Folder::open(data.path()).unwrap();
        let mut track = super::Track::open(&folder, SERVICE).unwrap();
        while track.shard().position() < first {
            track.advance().unwrap().expect("it is there");
        }
        track.shard().encode()
    };
    data.with_log(async |_, log| log.cut(first, state).await.unwrap());
    let (digest, verifier) = data.replay(Start::Beginning);
    assert_eq!(digest, expected);
    assert!(verifier.findings.iter().all(|finding| finding.agrees), "{:?}", verifier.findings);
    // Without a checkpoint that the log goes on from, there is nothing to begin with.
    std::fs::remove_dir_all(data.path().join("checkpoints")).unwrap();
    let folder = Folder::open(data.path()).unwrap();
    let survey = Survey::of(&folder, SERVICE, ALL).unwrap();
    let refused = Player::begin(&folder, &survey, &data.platform, Start::Beginning).err().unwrap().to_string();
    assert!(refused.contains("begins after position") && refused.ends_with("there are: none"), "{refused}");
}

#[test]
fn two_folders_with_equal_logs_and_one_damaged_checkpoint_differ_in_its_page() {
    let mut data = Data::new();
    let mut other = data.copy();
    data.checkpoint(None);
    let (at, _) = other.checkpoint(Some(Flip { address: 0x8040, bit: 3 }));
    let found = data.compared(&other);
    assert_eq!((found.entries_differ_at, found.differs_at), (None, Some(at.0)), "{found:?}");
    assert!(found.findings.iter().all(|finding| finding.agrees) && found.findings.len() == 1, "{found:?}");
    assert!(found.differences.iter().any(|line| line == "memory 0, page 0: byte 0x8040 is 08, not 00"), "{found:?}");
    assert!(!found.is_equal() && data.compared(&data.copy()).is_equal());
}

#[test]
fn logs_that_part_are_told_by_entry_and_by_what_the_replicas_make_of_it() {
    let mut data = Data::new();
    let mut other = data.copy();
    let equal = data.append(vec![Entry::Flow(bytes(b"same"))]);
    assert_eq!(other.append(vec![Entry::Flow(bytes(b"same"))]), equal);
    let at = data.append(vec![Entry::Flow(bytes(b"one"))]);
    assert_eq!(other.append(vec![Entry::Flow(bytes(b"two"))]), at);
    let found = data.compared(&other);
    assert_eq!((found.equal_to, found.entries_differ_at, found.differs_at), (equal.0, Some(at.0), Some(at.0)));
    let told = found.differences.join("\n");
    for part in
        ["given: flow 1.1: 3 bytes \"one\", and flow 1.1: 3 bytes \"two\"", "effect: flow 1.1: 3 bytes", "memory 0"]
    {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    // One that ends earlier.
    let shorter = other.copy();
    other.append(vec![Entry::Flow(bytes(b"three"))]);
    let found = shorter.compared(&other);
    assert!(found.entries[0].contains("the first log has no more entries"), "{found:?}");
    assert!(found.differences[0].contains("the first folder has no turn from position"), "{found:?}");
}
