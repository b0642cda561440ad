//! One member's process: the real log on the simulated disk, the real driver on top, and the proxies that talk to it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use refrain_sequencer::batcher::{Limits, Refused, Submission};
use refrain_sequencer::log::{CommitSink, Delivery, LocalSink, OrderedLog, local_sink};
use refrain_sequencer::raft::RaftLog;
use refrain_sequencer::sequencer::{Event, Seams, Sequencer};
use refrain_sequencer::shard::{Applied, ShardState};
use refrain_sequencer::sim::sim_entropy;
use refrain_wire::control::Agreement;
use refrain_wire::entry::GroupRecords;
use refrain_wire::{
    Control, Digest, Entry, Epoch, GroupId, NodeId, Position, ProxyId, Record, RecordWriter, Serial, ShardControl,
    SubmissionId,
};
use tokio::sync::mpsc;

use super::frame::{Frame, Frames, encode_write};
use super::observed::{Observed, given};
use super::{GROUP, PROXY_PORT, RAFT_PORT};
use crate::check::acked::Write;
use crate::dice::Dice;
use crate::machine::{NodeClock, NodeDisk, Pace};
use crate::net::gates::Host;
use crate::net::{SimNet, SimStream};
use crate::plan::Wish;

/// How often a member looks whether it leads.
const LOOK: Duration = Duration::from_millis(5);
/// The most frames that wait for one proxy; who reads less is cut off.
const MAX_WAITING: usize = 4096;

/// A way in which a member could be wrong, put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberMutant {
    /// As it should be.
    #[default]
    None,
    /// Submissions that do not count are given to the replicas all the same.
    DropDedup,
    /// Two entries that follow each other change places before they are applied, now and then.
    OutOfOrder,
    /// Submissions are answered as committed when they are taken.
    AckEarly,
    /// The log is cut behind a state that does not stand for everything before.
    TrimEarly,
}

/// What a member's process needs.
#[derive(Clone)]
pub struct Member {
    /// Its machine.
    pub host: Host,
    /// All members of the log in the beginning.
    pub members: Vec<Host>,
    /// What an operator wants of whoever leads.
    pub wishes: Wishes,
    /// After how many positions it cuts its log.
    pub cut_every: Option<u64>,
    /// Its disk.
    pub disk: NodeDisk,
    /// How fast the disk is.
    pub pace: Pace,
    /// Its clocks.
    pub clock: NodeClock,
    /// Its network.
    pub net: Arc<SimNet>,
    /// The seed of this run of the process.
    pub seed: u64,
    /// The notes.
    pub observed: Observed,
    /// What is wrong with it.
    pub mutant: MemberMutant,
}

/// What an operator wants and nobody has begun.
pub type Wishes = Rc<RefCell<VecDeque<Wish>>>;

type Log = Sequencer<Arc<RaftLog>>;
type Senders = RefCell<BTreeMap<u64, mpsc::Sender<Frame>>>;

/// What the tasks of a member share.
struct Shared {
    member: Member,
    proxies: Senders,
    next_proxy: Cell<u64>,
    /// The entry that is being applied.
    entry: RefCell<Option<(Position, Bytes)>>,
    /// The term in which it said last that it leads.
    in_office: Cell<Option<u64>>,
    guard: RefCell<Option<LocalSink>>,
    /// Where the log was cut last, and the state there.
    last_cut: RefCell<(Position, Bytes)>,
    cutting: Cell<bool>,
}

impl Member {
    /// Runs until the log fails.
    ///
    /// # Errors
    /// Never: what ends the process is noted.
    pub async fn run(self) -> turmoil::Result {
        self.observed.started(self.host);
        let host = self.host;
        let shared = Rc::new(Shared {
            member: self,
            proxies: RefCell::default(),
            next_proxy: Cell::new(0),
            entry: RefCell::default(),
            in_office: Cell::new(None),
            guard: RefCell::default(),
            last_cut: RefCell::default(),
            cutting: Cell::new(false),
        });
        let ended = shared.clone().work().await;
        shared.member.observed.trace().note(host, format_args!("ends: {ended}"));
        Ok(())
    }
}

impl Shared {
    async fn work(self: Rc<Self>) -> String {
        let (watcher, receiver) = (self.clone(), self.clone());
        let seams = Seams {
            clock: Box::new(self.member.clock.clone()),
            entropy: sim_entropy(self.member.seed ^ 1),
            limits: Limits::default(),
        };
        let open_log = |sink| async move {
            let sink = watcher.watched(sink);
            super::run::open_log(&watcher.member, sink).await
        };
        let opened = Sequencer::open(seams, move |event| receiver.event(event), open_log).await;
        let sequencer = match opened {
            Ok(opened) => Rc::new(opened),
            Err(error) => return format!("cannot open its log: {error}"),
        };
        self.note("has opened its log");
        let listening = tokio::task::spawn_local(self.clone().listen(sequencer.clone()));
        let looking = tokio::task::spawn_local(self.clone().look(sequencer.clone()));
        let ended = tokio::select! {
            biased;
            ended = sequencer.run() => ended.map_or_else(|error| format!("{error}"), |()| "it was stopped".to_owned()),
            error = self.join(&sequencer) => error,
        };
        listening.abort();
        looking.abort();
        ended
    }

    /// Serves the other members, and takes part in their log; says why it cannot.
    async fn join(&self, sequencer: &Log) -> String {
        let listener = match self.member.net.bind(&self.member.host.address(RAFT_PORT)).await {
            Ok(listener) => listener,
            Err(error) => return format!("cannot listen: {error}"),
        };
        let (log, server) = (sequencer.log(), sequencer.log().server());
        let begun = async {
            match log.begin().await {
                Ok(()) => std::future::pending().await,
                Err(error) => format!("does not begin: {error}"),
            }
        };
        tokio::select! {
            biased;
            error = begun => error,
            () = server.listen(Box::new(listener)) => "listens no more".to_owned(),
        }
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.member.observed.trace().note(self.member.host, what);
    }

    /// A sink that notes every entry before it passes it on.
    fn watched(self: &Rc<Self>, sink: CommitSink) -> CommitSink {
        let this = self.clone();
        let held = RefCell::new(None);
        let mut dice = Dice::new(self.member.seed ^ 2);
        let swaps = RefCell::new(move || dice.percent(10));
        let (watched, guard) = local_sink(move |delivery| {
            let (position, entry) = match delivery {
                Delivery::Entry { position, bytes } => (position, bytes),
                Delivery::Snapshot { position, state } => {
                    this.member.observed.restored(this.member.host, position, state);
                    return sink(delivery);
                }
            };
            if this.member.mutant == MemberMutant::OutOfOrder && held.borrow().is_none() && swaps.borrow_mut()() {
                *held.borrow_mut() = Some((position, entry.clone()));
                return;
            }
            this.pass_on(&sink, position, entry);
            if let Some((position, entry)) = held.take() {
                this.pass_on(&sink, position, &entry);
            }
        });
        *self.guard.borrow_mut() = Some(guard);
        watched
    }

    fn pass_on(&self, sink: &CommitSink, position: Position, entry: &Bytes) {
        self.member.observed.delivered(self.member.host, position, entry);
        *self.entry.borrow_mut() = Some((position, entry.clone()));
        sink(Delivery::Entry { position, bytes: entry });
    }

    fn event(&self, event: Event) {
        match event {
            Event::Committed(applied) => self.committed(&applied),
            Event::Restored(position) => self.note(format_args!("has its state from a snapshot at {position}")),
            Event::Failed { submissions, error, .. } => {
                self.note(format_args!("could not order {} submissions: {error}", submissions.len()));
                let epochs: BTreeSet<Epoch> = submissions.iter().map(|id| id.epoch).collect();
                for epoch in epochs {
                    self.tell_all(Frame::Again { epoch: u64::from(epoch.0) });
                }
            }
        }
    }

    fn committed(&self, applied: &Applied) {
        let Some((position, bytes)) = self.entry.borrow_mut().take() else { return };
        if let Ok(entry) = Entry::decode(position, &bytes) {
            let given = given(applied, &entry, self.member.mutant == MemberMutant::DropDedup);
            self.member.observed.applied(self.member.host, applied, &entry, &given);
        }
        // What was dropped will be wanted again: by the driver it was given up with all that waited behind it.
        let dropped: BTreeSet<Epoch> = applied.dropped.iter().map(|id| id.epoch).collect();
        for epoch in dropped {
            self.tell_all(Frame::Again { epoch: u64::from(epoch.0) });
        }
        let mut last: BTreeMap<Epoch, u64> = BTreeMap::new();
        for id in &applied.accepted {
            last.insert(id.epoch, id.number);
        }
        for (epoch, last) in last {
            self.tell_all(Frame::Applied { epoch: u64::from(epoch.0), last });
        }
        for opened in &applied.opened {
            self.tell_all(Frame::Opened { nonce: opened.nonce, epoch: u64::from(opened.epoch.0) });
        }
        for epoch in &applied.ended {
            self.tell_all(Frame::Ended { epoch: u64::from(epoch.0) });
        }
    }

    fn tell_all(&self, frame: Frame) {
        self.proxies.borrow_mut().retain(|_, sender| sender.try_send(frame).is_ok());
    }

    /// Looks whether the member leads, sees to it that the driver notices, and tells the proxies.
    async fn look(self: Rc<Self>, sequencer: Rc<Log>) {
        let mut seen = None;
        loop {
            let leading = sequencer.log().leading();
            if leading != seen {
                seen = leading;
                if let Some(term) = leading {
                    self.member.observed.leads(self.member.host, term);
                }
            }
            if leading.is_some() && self.in_office.get() != leading {
                // The driver announces its term with the first thing that is pending, and after a full disk again.
                sequencer.tick(GROUP, sequencer.now());
            }
            let known = leading.filter(|term| sequencer.with_shard(ShardState::term) == *term);
            if known.is_some() && sequencer.with_shard(|shard| !shard.groups().contains_key(&GROUP)) {
                // Refused when it is pending already.
                drop(sequencer.control(GROUP, create()));
            }
            if known != self.in_office.replace(known) {
                match known {
                    Some(term) => self.note(format_args!("is in office for term {term}")),
                    None => self.tell_all(Frame::NotLeader { leader: 0 }),
                }
            }
            if let Some(term) = known {
                self.preside(&sequencer, term);
            }
            self.cut_when_due(&sequencer);
            sequencer.executed(GROUP, sequencer.log().committed());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tells who votes, and begins what an operator wants.
    fn preside(self: &Rc<Self>, sequencer: &Rc<Log>, term: u64) {
        let voters = sequencer.log().members().into_iter().filter(|member| member.voter);
        self.member.observed.voters(term, voters.map(|member| Host(member.node.0 as u16)).collect());
        let Some(wish) = self.member.wishes.borrow_mut().pop_front() else { return };
        let (this, sequencer) = (self.clone(), sequencer.clone());
        tokio::task::spawn_local(async move {
            let log = sequencer.log();
            let node = |host: Host| NodeId(u64::from(host.0));
            let done = match wish {
                Wish::Add(host) => log.add_member(node(host), &host.address(RAFT_PORT)).await,
                Wish::Remove(host) => log.remove_member(node(host)).await,
                Wish::Transfer(host) => log.transfer_leader(node(host)).await,
            };
            match done {
                Ok(()) => this.note(format_args!("has done {wish:?}")),
                Err(error) => this.note(format_args!("could not do {wish:?}: {error}")),
            }
        });
    }

    fn cut_when_due(self: &Rc<Self>, sequencer: &Rc<Log>) {
        let Some(every) = self.member.cut_every.filter(|_| !self.cutting.get()) else { return };
        let (position, state) = sequencer.with_shard(|shard| (shard.position(), shard.clone()));
        if position.0 < self.last_cut.borrow().0.0 + every {
            return;
        }
        let state = state.encode();
        self.member.observed.cuts(self.member.host, position, &state);
        let before = self.last_cut.replace((position, state.clone())).1;
        let state = if self.member.mutant == MemberMutant::TrimEarly && !before.is_empty() { before } else { state };
        self.cutting.set(true);
        let (this, sequencer) = (self.clone(), sequencer.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = sequencer.log().cut(position, state).await {
                this.note(format_args!("could not cut behind {position}: {error}"));
            }
            this.cutting.set(false);
        });
    }

    async fn listen(self: Rc<Self>, sequencer: Rc<Log>) {
        let Ok(mut listener) = self.member.net.bind(&self.member.host.address(PROXY_PORT)).await else { return };
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(self.clone().serve(sequencer.clone(), stream));
        }
    }

    async fn serve(self: Rc<Self>, sequencer: Rc<Log>, stream: SimStream) {
        let (from, mut to) = tokio::io::split(stream);
        let mut from = Frames::of(from);
        let id = self.next_proxy.replace(self.next_proxy.get() + 1);
        let (sender, mut receiver) = mpsc::channel(MAX_WAITING);
        let hello = match sequencer.log().leading() {
            Some(term) => Frame::Leads { term },
            None => Frame::NotLeader { leader: sequencer.log().stats().leader.unwrap_or_default().0 },
        };
        if hello.write(&mut to).await.is_err() {
            return;
        }
        self.proxies.borrow_mut().insert(id, sender.clone());
        let writing = async {
            while let Some(frame) = receiver.recv().await {
                frame.write(&mut to).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        let reading = async {
            loop {
                let answer = self.answer(&sequencer, from.next().await?);
                if let Some(answer) = answer {
                    sender.try_send(answer).map_err(std::io::Error::other)?;
                }
            }
        };
        let ended: std::io::Result<()> = tokio::select! {
            biased;
            ended = writing => ended,
            ended = reading => ended,
        };
        // Whatever ended it, the proxy comes again.
        drop(ended);
        self.proxies.borrow_mut().remove(&id);
    }

    fn answer(&self, sequencer: &Log, frame: Frame) -> Option<Frame> {
        if sequencer.log().leading().is_none() {
            return Some(Frame::NotLeader { leader: 0 });
        }
        match frame {
            Frame::OpenEpoch { proxy, nonce } => {
                let control = ShardControl::OpenEpoch { proxy: ProxyId(proxy as u16), nonce, outward: false };
                let wanted = sequencer.control(GroupId::SHARD, Control::Shard(control));
                wanted.is_err().then_some(Frame::NotLeader { leader: 0 })
            }
            Frame::Sync { epoch } => {
                let last =
                    sequencer.with_shard(|shard| shard.epochs().get(&Epoch(epoch as u32)).map(|state| state.last));
                Some(last.map_or(Frame::Ended { epoch }, |last| Frame::Applied { epoch, last }))
            }
            Frame::Submit { epoch, number, first, count } => self.submit(sequencer, epoch, number, first, count),
            _ => None,
        }
    }

    fn submit(&self, sequencer: &Log, epoch: u64, number: u64, first: u64, count: u8) -> Option<Frame> {
        let writer = sequencer.with_shard(|shard| shard.epochs().get(&Epoch(epoch as u32)).map(|state| state.proxy.0));
        let Some(writer) = writer else { return Some(Frame::Ended { epoch }) };
        match sequencer.submit(submission(epoch, number, u32::from(writer), first, count)) {
            Ok(()) if self.member.mutant == MemberMutant::AckEarly => Some(Frame::Applied { epoch, last: number }),
            // A number that was taken already is on its way, or its fate will be told.
            Ok(()) => None,
            Err(Refused::OutOfOrder { expected, found }) if found < expected => None,
            Err(refused) => {
                self.note(format_args!("refuses submission {number} of epoch {epoch}: {refused}"));
                Some(Frame::Again { epoch })
            }
        }
    }
}

fn create() -> Control {
    Control::Create {
        service: "sim/writes".into(),
        bundle: [1; 32],
        engine: Digest::of(b"engine"),
        seats: 3,
        agreement: Agreement::Majority,
    }
}

fn submission(epoch: u64, number: u64, writer: u32, first: u64, count: u8) -> Submission {
    let mut records = RecordWriter::default();
    for number in first..first + u64::from(count) {
        let bytes = Bytes::from(encode_write(Write { writer, number }));
        records.push(&Record::Data { serial: Serial(1), delivered: 0, bytes });
    }
    let id = SubmissionId { epoch: Epoch(epoch as u32), number };
    Submission { id, batches: vec![GroupRecords { group: GROUP, records: records.take() }] }
}
