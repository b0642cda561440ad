//! The loop thread of a shard: proxy, sequencer, delivery of commits and counting of votes, by plain calls.
//!
//! One tokio current-thread runtime with a `LocalSet`; engine workers, the flush thread and other nodes wake it,
//! nothing else does. Every node runs this loop, whatever its roles: what is committed is applied to the same pure state
//! everywhere, and what follows from it is done here as far as it concerns this node.
//!
//! This module is the loop's state; `command` is what other threads ask; `start` brings it up, `services` adopts groups, `listening` opens their ports, `commit` acts on
//! what is committed, `report` on what replicas say, `upstream` on what the proxy says. `catalog` has the bundles,
//! `placement` knows which shard has which service, `deployed` which stateless ones there are, `upgrade` changes what groups run. `member` is this node's member of the log. `uplink` tells the leader, `waiting` has who waits for it, `leader` is what the leader's node does, `epoch` keeps
//! the proxy's epoch and lease. `peers` connects nodes, `follow`
//! carries entries to nodes without a member, `fetch` older ones, `voting` the votes. `checkpoints` cuts the log behind
//! checkpoints, `histories` keeps what stands for it where there are none, `join` begins replicas with them, `restored` goes on from a state. `status` describes it all, `traces`
//! tells what happens to batches, `lines` keeps what guests wrote, `ready` and `show` say more of a service, `drain` ends it; `forensics` keeps what a replica was that diverged.

mod catalog;
mod checkpoints;
mod command;
mod commit;
mod deployed;
mod drain;
mod epoch;
mod fetch;
mod follow;
mod forensics;
mod group;
mod histories;
mod join;
mod leader;
mod lease;
mod listening;
mod member;
mod peers;
mod placement;
mod ready;
mod report;
mod restored;
mod services;
mod show;
mod start;
mod status;
mod traces;
mod turns;
mod upgrade;
mod uplink;
mod upstream;
mod view;
mod voting;
mod waiting;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use refrain_api::{ErrorBody, ErrorCode};
use refrain_engine::Workers;
use refrain_engine::replica::ReplicaId;
use refrain_proxy::tcp::FrontEnd;
use refrain_sequencer::watch;
use refrain_wire::{ClusterId, Control, Digest, Epoch, GroupId, Incarnation, NodeId, Position, Seat};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::config::Config;
use crate::feed::Older;
use crate::history::History;
use crate::lines::Lines;
use catalog::Catalog;
use checkpoints::Checkpoints;
pub use command::{Command, Commands, Nodes, Reply};
pub use deployed::{Deployed, Said};
use group::Group;
use leader::Leader;
use lease::Lease;
pub use member::Removals;
pub use placement::Places;
use ready::Watches;
pub(crate) use start::note;
pub use start::{Options, Seams, Served, Started, run_here, start};
use traces::Traces;
pub use turns::Turns;
use upgrade::Upgrades;
use uplink::Link;
use view::View;
use voting::Voting;
use waiting::Waiting;

fn failure(code: ErrorCode, message: impl Into<String>) -> ErrorBody {
    ErrorBody { code, message: message.into() }
}

/// This node's engine, as the leader knows it.
struct Engine {
    workers: OnceCell<Workers>,
    session: u64,
    key: Digest,
}

/// The state of the loop thread.
struct Inner {
    me: Weak<Inner>,
    config: Config,
    seams: Seams,
    node: NodeId,
    cluster: ClusterId,
    view: View,
    history: Arc<History>,
    catalog: Catalog,
    /// Where the services of all shards are.
    places: Places,
    /// Which stateless services the first shard's log has.
    deployed: Deployed,
    checkpoints: Checkpoints,
    front: OnceCell<FrontEnd>,
    /// None when this node is no engine.
    engine: Option<Engine>,
    groups: RefCell<BTreeMap<GroupId, Group>>,
    /// Replicas whose seats were given up: each goes on until its turn at that position, which it still decides.
    leaving: RefCell<BTreeMap<ReplicaId, Position>>,
    link: RefCell<Link>,
    leader: RefCell<Option<Leader>>,
    epoch: Cell<Epoch>,
    /// What the epoch that this proxy wants, or has, is known by.
    nonce: Cell<u64>,
    lease: Lease,
    voting: Voting,
    waiting: RefCell<Vec<Waiting>>,
    requests: Cell<u64>,
    /// The number of the last session of another node with the leader here.
    sessions: Cell<u64>,
    /// When this member last passed the lead on because its disk was full.
    passed_on: Cell<Option<Duration>>,
    /// It is passing the lead on.
    asking_another: Cell<bool>,
    upgrades: Upgrades,
    /// Controls that are said again until they are in the log.
    insisted: RefCell<Vec<(GroupId, Control)>>,
    joining: RefCell<Vec<oneshot::Sender<()>>>,
    settling: RefCell<Vec<oneshot::Sender<Vec<Served>>>>,
    /// What the leader does may be due.
    office_due: Notify,
    /// Votes have come.
    voted: Notify,
    /// The last entry that was acted on.
    applied: watch::Sender<Position>,
    started: tokio::time::Instant,
    /// The last entry that was there at the start.
    started_at: Cell<Position>,
    /// A submission was refused because its group is busy; it goes again when replicas have caught up.
    stalled: Cell<bool>,
    draining: Cell<bool>,
    /// Of all shards of the process.
    removals: Removals,
    /// Questions of replicas for old entries and turns that are not here.
    questions: RefCell<Option<mpsc::Receiver<Older>>>,
    /// What is told of batches.
    traces: Traces,
    /// What guests wrote last.
    lines: RefCell<Lines<GroupId>>,
    /// Which services are ready.
    ready: RefCell<Watches>,
    /// Why the sequencer ended, if it failed.
    failure: RefCell<Option<String>>,
    /// Whether the sequencer has ended.
    ended: watch::Sender<bool>,
    /// The loop is to begin anew: the log goes on from a state, and nothing here follows from that.
    again: Cell<bool>,
}

impl Inner {
    fn front(&self) -> &FrontEnd {
        self.front.get().expect("the front end is set before anything is committed or voted")
    }

    /// The engine's workers; none when this node is no engine.
    fn workers(&self) -> Option<&Workers> {
        self.engine.as_ref().and_then(|engine| engine.workers.get())
    }

    /// Where another node is: as the log's members say, or the cluster file.
    fn address_of(&self, node: NodeId) -> Option<String> {
        let members = self.view.member().map(|member| member.log().members()).unwrap_or_default();
        let member = members.into_iter().find(|member| member.node == node && !member.address.is_empty());
        let listed = || self.config.cluster.nodes.iter().find(|known| known.id == node.0);
        member.map(|member| member.address).or_else(|| listed().map(|node| node.address.to_string()))
    }

    /// Other nodes that are members of the log, as far as is known.
    fn member_nodes(&self) -> Vec<NodeId> {
        let known = self.view.member().map(|member| member.log().members()).unwrap_or_default();
        let known = known.into_iter().map(|member| member.node);
        let listed = self.config.cluster.members().map(|node| NodeId(node.id));
        let mut nodes: Vec<NodeId> = known.chain(listed).filter(|node| *node != self.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Waits until everything up to `position` was acted on here.
    async fn applied_up_to(&self, position: Position) {
        if *self.applied.borrow() < position {
            // The sender is this very object's.
            let _ = self.applied.subscribe().wait_for(|applied| *applied >= position).await;
        }
    }

    fn seats_of(&self, group: GroupId) -> u8 {
        self.groups.borrow().get(&group).map_or(0, |group| group.seats.len() as u8)
    }

    /// Who holds a seat, or held it until its replica was put out, by the records that were acted on.
    fn incarnation_of(&self, id: GroupId, seat: Seat) -> Option<Incarnation> {
        match self.groups.borrow().get(&id) {
            Some(group) => Some(group.seats.get(usize::from(seat.0))?.incarnation),
            // One that was not adopted is known to the proxy alone.
            None => self.front().holder(id, seat),
        }
    }

    /// The replicas that run here.
    fn local_replicas(&self) -> Vec<ReplicaId> {
        self.groups.borrow().values().flat_map(|group| group.local_replicas()).collect()
    }

    /// After a wake's reports: the leader may have something to do, and somebody may wait for services to listen.
    fn after_reports(&self) {
        self.office_due.notify_one();
        self.voted.notify_waiters();
        if !self.settling.borrow().is_empty() && self.all_settled() {
            for waiting in self.settling.take() {
                let _ = waiting.send(self.served());
            }
        }
    }

    fn all_settled(&self) -> bool {
        self.groups.borrow().values().all(|group| self.is_settled(group))
    }

    /// Whoever waits for this node to take part is told when it does.
    fn tell_joined(&self) {
        if self.joining.borrow().is_empty() || !self.has_joined() {
            return;
        }
        for waiting in self.joining.take() {
            let _ = waiting.send(());
        }
    }

    fn has_joined(&self) -> bool {
        if self.is_unused() {
            return true;
        }
        let epoch = !self.config.cluster.roles.proxy || self.epoch.get() != Epoch(0);
        // A member that the log does not know, or no longer takes, applies nothing.
        let follows = self.view.position() > Position(0);
        self.link_is_up() && follows && epoch && self.missing_services().is_empty() && self.all_adopted()
    }

    fn find(&self, service: &str) -> Result<GroupId, ErrorBody> {
        let groups = self.groups.borrow();
        let found = groups.values().find(|group| group.service.name == service).map(|group| group.id);
        found.ok_or_else(|| failure(ErrorCode::ServiceNotFound, format!("no service is named {service}")))
    }

    fn check_seat(&self, id: GroupId, seat: Seat) -> Result<(), ErrorBody> {
        let groups = self.groups.borrow();
        let group = &groups[&id];
        if usize::from(seat.0) < group.seats.len() {
            return Ok(());
        }
        let (name, count) = (&group.service.name, group.seats.len());
        let text = format!("{name} has {count} seats, numbered from 0; there is no {seat}");
        Err(failure(ErrorCode::SeatNotFound, text))
    }

    fn check_halted(&self, id: GroupId, wanted: bool) -> Result<(), ErrorBody> {
        let groups = self.groups.borrow();
        let group = &groups[&id];
        match (group.halted, wanted) {
            (true, false) => {
                Err(failure(ErrorCode::Halted, format!("{} is halted; resume it first", group.service.name)))
            }
            (false, true) => Err(failure(ErrorCode::NotHalted, format!("{} is not halted", group.service.name))),
            _ => Ok(()),
        }
    }
}
