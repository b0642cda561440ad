//! What other threads ask of the loop thread, and how it is done.

use std::time::Duration;

use refrain_api::{Appended, ErrorBody, ErrorCode, GuestLines, Members, ServiceDetail, Status, UpgradeStatus};
use refrain_engine::replica::Flip;
use refrain_wire::message::uplink::MemberChange;
use refrain_wire::stream::{Hello, HelloAnswer};
use refrain_wire::{Control, GroupId, Incarnation, NodeId, Position, Seat, ShardControl};
use tokio::sync::{mpsc, oneshot};

use super::group::SeatState;
use super::{Inner, Served, failure};

/// Where a command's answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, ErrorBody>>;
/// Where commands go.
pub type Commands = mpsc::Sender<Command>;

/// What other threads ask of the loop thread.
pub enum Command {
    /// Describe everything.
    Status(Reply<Status>),
    /// Say why this node does not take part, if it does not.
    Missing(oneshot::Sender<Option<String>>),
    /// Describe one service.
    Show {
        /// `namespace/name`.
        service: String,
        /// The answer.
        reply: Reply<ServiceDetail>,
    },
    /// Give lines that a service's guest wrote.
    Lines {
        /// `namespace/name`.
        service: String,
        /// The number after which they come; the newest when it is absent.
        after: Option<u64>,
        /// How many, at most.
        count: usize,
        /// The answer.
        reply: Reply<GuestLines>,
    },
    /// Drop a seat's replica and build another from the log.
    Replace {
        /// `namespace/name`.
        service: String,
        /// Whose replica.
        seat: Seat,
        /// The answer.
        reply: Reply<Appended>,
    },
    /// Flip a bit in a replica's guest memory.
    Corrupt {
        /// `namespace/name`.
        service: String,
        /// Whose replica.
        seat: Seat,
        /// Which bit.
        flip: Flip,
        /// Whether an audit follows at once; without one the bit is found when it reaches an effect.
        audit: bool,
        /// The answer.
        reply: Reply<Appended>,
    },
    /// Audit now.
    Audit {
        /// `namespace/name`.
        service: String,
        /// The answer.
        reply: Reply<Appended>,
    },
    /// Let a halted service go on.
    Resume {
        /// `namespace/name`.
        service: String,
        /// The answer.
        reply: Reply<Appended>,
    },
    /// Give a service another number of replicas.
    Scale {
        /// `namespace/name`.
        service: String,
        /// How many.
        replicas: u8,
        /// The answer.
        reply: Reply<Appended>,
    },
    /// Have a service run another bundle, which is in the data folder.
    Upgrade {
        /// `namespace/name`.
        service: String,
        /// The digest of the bundle.
        bundle: [u8; 32],
        /// The answer, when that is on its way.
        reply: Reply<UpgradeStatus>,
    },
    /// Describe the last upgrade of a service.
    UpgradeStatus {
        /// `namespace/name`.
        service: String,
        /// The answer.
        reply: Reply<UpgradeStatus>,
    },
    /// Bring the metrics up to date.
    Measure(Reply<()>),
    /// Describe the members of the log.
    Members(Reply<Members>),
    /// Change the members of the log, or who leads.
    ChangeMembers {
        /// The change.
        change: MemberChange,
        /// The answer.
        reply: Reply<Appended>,
    },
    /// Change a stateless service.
    Deploy {
        /// The record.
        change: ShardControl,
        /// The answer.
        reply: Reply<Appended>,
    },
    /// See to it that a bundle is in the data folder.
    Obtain {
        /// Its digest.
        digest: [u8; 32],
        /// The answer, or why not, in words.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Say what a node is answered that opens a stream for the HTTP front end.
    Greet(Hello, oneshot::Sender<HelloAnswer>),
    /// Say how this node greets others for its HTTP front end, and where they are.
    Nodes(oneshot::Sender<Nodes>),
    /// Answer when a leader is known, the proxy has an epoch, and every given service is in the log.
    Joined(oneshot::Sender<()>),
    /// Answer with what is served when every service listens or has ended.
    Settled(oneshot::Sender<Vec<Served>>),
    /// Answer with what is served now.
    Served(oneshot::Sender<Vec<Served>>),
    /// Let connections end, then end.
    Drain {
        /// How long connections may go on.
        deadline: Duration,
        /// Told at the end.
        done: oneshot::Sender<()>,
    },
}

/// The other nodes of a cluster, as one of them sees them.
#[derive(Debug, Clone)]
pub struct Nodes {
    /// What this node says to them.
    pub hello: Hello,
    /// Each with its address; of one that is known by its number alone there is none.
    pub others: Vec<(NodeId, String)>,
}

impl Inner {
    pub(super) fn command(&self, command: Command) {
        match command {
            Command::Status(reply) => drop(reply.send(Ok(self.status()))),
            Command::Missing(reply) => drop(reply.send(self.missing_for_readiness())),
            Command::Show { service, reply } => drop(reply.send(self.detail(&service))),
            Command::Lines { service, after, count, reply } => {
                let lines = self.find(&service).map(|id| self.lines.borrow().read(&id, after, count, self.node.0));
                drop(reply.send(lines));
            }
            Command::Replace { service, seat, reply } => self.replace(&service, seat, reply),
            Command::Corrupt { service, seat, flip, audit, reply } => self.corrupt(&service, seat, flip, audit, reply),
            Command::Audit { service, reply } => self.on_group(&service, false, Control::Audit, reply),
            Command::Resume { service, reply } => self.on_group(&service, true, Control::Resume, reply),
            Command::Scale { service, replicas, reply } => {
                self.on_group(&service, false, Control::Resize { seats: replicas }, reply);
            }
            Command::Upgrade { service, bundle, reply } => self.upgrade(&service, bundle, reply),
            Command::UpgradeStatus { service, reply } => drop(reply.send(self.upgrade_status(&service))),
            Command::Measure(reply) => {
                self.measure();
                drop(reply.send(Ok(())));
            }
            Command::Members(reply) => drop(reply.send(Ok(self.members()))),
            Command::ChangeMembers { change, reply } => self.change_members(change, reply),
            Command::Deploy { change, reply } => self.deploy(change, reply),
            Command::Obtain { digest, reply } => self.obtain(digest, reply),
            Command::Greet(hello, reply) => drop(reply.send(self.greeted(&hello))),
            Command::Nodes(reply) => drop(reply.send(self.nodes())),
            Command::Joined(reply) => {
                self.joining.borrow_mut().push(reply);
                self.tell_joined();
            }
            Command::Settled(reply) => {
                self.settling.borrow_mut().push(reply);
                self.after_reports();
            }
            Command::Served(reply) => drop(reply.send(self.served())),
            // The command loop handles it, as it takes time.
            Command::Drain { .. } => {}
        }
    }

    fn on_group(&self, service: &str, halted: bool, control: Control, reply: Reply<Appended>) {
        match self.find(service).and_then(|id| self.check_halted(id, halted).map(|()| id)) {
            Ok(id) => self.append(id, control, reply),
            Err(failure) => drop(reply.send(Err(failure))),
        }
    }

    fn replace(&self, service: &str, seat: Seat, reply: Reply<Appended>) {
        let checked = self.find(service).and_then(|id| {
            self.check_seat(id, seat)?;
            self.check_halted(id, false)?;
            Ok(id)
        });
        let id = match checked {
            Ok(id) => id,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        self.drop_replica(id, seat);
        match self.next_holder(id, seat) {
            Some(control) => self.append(id, control, reply),
            None => {
                let text = format!("no engine has seat {seat} of {service} now; it is filled when there is one");
                drop(reply.send(Err(failure(ErrorCode::ReplicaNotRunning, text))));
            }
        }
    }

    /// Ends a replica that runs here at once, as a crash of its engine would.
    fn drop_replica(&self, id: GroupId, seat: Seat) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        let Some(replica) = group.local_replica(seat) else { return };
        if let Some(holder) = group.seat_mut(seat).filter(|holder| holder.counts()) {
            holder.state = SeatState::Dead("killed".into());
        }
        drop(groups);
        self.remove_replica(replica);
    }

    /// The record by which another replica takes a seat, on the node that has it.
    fn next_holder(&self, id: GroupId, seat: Seat) -> Option<Control> {
        self.view.with_shard(|shard| {
            let state = shard.groups().get(&id)?.seats.get(usize::from(seat.0))?;
            let (incarnation, node) = (Incarnation(state.incarnation.0 + 1), state.node?);
            // The leader knows the checkpoint that it is to begin with.
            Some(Control::TakeSeat { seat, incarnation, node, from: Position(0) })
        })
    }

    fn corrupt(&self, service: &str, seat: Seat, flip: Flip, audit: bool, reply: Reply<Appended>) {
        let checked = self.find(service).and_then(|id| {
            self.check_seat(id, seat)?;
            self.check_halted(id, false)?;
            let groups = self.groups.borrow();
            let holder = &groups[&id].seats[usize::from(seat.0)];
            if holder.node != self.node && holder.counts() {
                let text = format!("seat {seat} of {service} is on node {}: ask that node", holder.node);
                return Err(failure(ErrorCode::ReplicaNotRunning, text));
            }
            let active = holder.state == SeatState::Active;
            let replica = groups[&id].local_replica(seat).filter(|_| active);
            let text = || format!("seat {seat} of {service} has no active replica");
            replica.ok_or_else(|| failure(ErrorCode::ReplicaNotRunning, text()))
        });
        match checked {
            Ok(replica) => {
                if let Some(workers) = self.workers() {
                    workers.inject(replica, flip);
                }
                if audit {
                    self.append(replica.group, Control::Audit, reply);
                } else {
                    let _ = reply.send(Ok(Appended { position: self.view.position().0 }));
                }
            }
            Err(failure) => drop(reply.send(Err(failure))),
        }
    }
}
