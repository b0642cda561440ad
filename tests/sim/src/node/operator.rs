//! An operator who looks at all nodes, loses and damages replicas on request, and repairs what nobody else may: a
//! service that is halted, a seat whose replica was put out.

use std::collections::{BTreeMap, BTreeSet};

use refrain::shard::{Command, Reply};
use refrain_api::{ErrorBody, SeatState, SeatStatus, ServiceState, ServiceStatus, Status};
use refrain_engine::replica::Flip;
use refrain_wire::message::uplink::MemberChange;
use refrain_wire::{NodeId, Seat};
use tokio::sync::oneshot;

use super::host::Door;
use super::observed::Observed;
use crate::check::Finding;
use crate::net::gates::Host;

/// What of a guest's memory is mostly in use.
const HEAP_BYTES: u64 = 128 * 1024;

/// The key-value server's name.
const STORE: &str = "examples/kv-server";

/// A replica: group, seat, incarnation.
type Holder = (u32, u8, u64);

/// The operator of a run.
pub struct Operator {
    doors: BTreeMap<Host, Door>,
    /// The node whose key-value server is another program.
    impostor: Option<Host>,
    observed: Observed,
    /// Questions that are not answered, with the start of the process that they were put to.
    asked: BTreeMap<Host, (u64, oneshot::Receiver<Result<Status, ErrorBody>>)>,
    /// What nodes said last of the present process.
    seen: BTreeMap<Host, (u64, Status)>,
    /// The digest of each group's replicas at each position where one was seen, and who was seen there first.
    digests: BTreeMap<(u32, u64), (String, Host)>,
    /// Replicas whose memory was changed.
    damaged: BTreeSet<Holder>,
}

/// A service's name without its version, as commands want it.
fn name_of(full_name: &str) -> String {
    full_name.split('@').next().unwrap_or_default().to_owned()
}

/// Where an answer goes that nobody waits for.
fn ignored<T>() -> Reply<T> {
    oneshot::channel().0
}

impl Operator {
    /// An operator who can reach these.
    #[must_use]
    pub fn new(doors: BTreeMap<Host, Door>, impostor: Option<Host>, observed: Observed) -> Self {
        Self {
            doors,
            impostor,
            observed,
            asked: BTreeMap::new(),
            seen: BTreeMap::new(),
            digests: BTreeMap::new(),
            damaged: BTreeSet::new(),
        }
    }

    /// Takes in what nodes answered, and asks them again.
    pub fn look(&mut self) {
        for (host, door) in &self.doors {
            let starts = door.starts();
            if self.seen.get(host).is_some_and(|(of, _)| *of != starts) || door.commands().is_none() {
                self.seen.remove(host);
            }
            if let Some((of, answer)) = self.asked.get_mut(host) {
                let answered = answer.try_recv();
                if matches!(answered, Err(oneshot::error::TryRecvError::Empty)) && *of == starts {
                    continue;
                }
                if let (Ok(Ok(status)), true) = (answered, *of == starts) {
                    self.seen.insert(*host, (starts, status));
                }
                self.asked.remove(host);
            }
            if let Some(commands) = door.commands() {
                let (reply, answer) = oneshot::channel();
                if commands.try_send(Command::Status(reply)).is_ok() {
                    self.asked.insert(*host, (starts, answer));
                }
            }
        }
        self.compare();
    }

    /// Replicas at one position must have one digest.
    fn compare(&mut self) {
        let mut findings = Vec::new();
        for (host, status) in self.statuses() {
            for service in &status.services {
                for seat in service.seats.iter().filter(|seat| is_of(host, seat) && !seat.digest.is_empty()) {
                    let holder = (service.group, seat.seat, seat.incarnation);
                    if self.damaged.contains(&holder) || self.is_false(host, service) {
                        continue;
                    }
                    let known = self.digests.get(&(service.group, seat.position));
                    if let Some((digest, first)) = known.filter(|(digest, _)| *digest != seat.digest) {
                        let seen = format!(
                            "{} at position {}: {} on {host}, {digest} on {first}",
                            service.name, seat.position, seat.digest
                        );
                        findings.push(Finding::new("replicas at one position have one digest", seen));
                    }
                }
            }
        }
        let new: Vec<_> = self.statuses().flat_map(|(host, status)| self.digests_of(host, status)).collect();
        for (at, digest, host) in new {
            self.digests.entry(at).or_insert((digest, host));
        }
        findings.into_iter().for_each(|finding| self.observed.find(finding));
    }

    fn digests_of(&self, host: Host, status: &Status) -> Vec<((u32, u64), String, Host)> {
        let mut digests = Vec::new();
        for service in status.services.iter().filter(|service| !self.is_false(host, service)) {
            let sound = |seat: &&SeatStatus| {
                is_of(host, seat)
                    && !seat.digest.is_empty()
                    && !self.damaged.contains(&(service.group, seat.seat, seat.incarnation))
            };
            let seats = service.seats.iter().filter(sound);
            digests.extend(seats.map(|seat| ((service.group, seat.position), seat.digest.clone(), host)));
        }
        digests
    }

    fn statuses(&self) -> impl Iterator<Item = (Host, &Status)> {
        self.seen.iter().map(|(host, (_, status))| (*host, status))
    }

    fn tell(&self, host: Host, command: Command) {
        if let Some(commands) = self.doors.get(&host).and_then(Door::commands) {
            // One that has no room is told another time.
            let _ = commands.try_send(command);
        }
    }

    /// The active replicas of a node: service, group and seat.
    fn replicas(&self, host: Host) -> Vec<(String, u32, SeatStatus)> {
        let Some((_, status)) = self.seen.get(&host) else { return Vec::new() };
        let mut replicas = Vec::new();
        for service in &status.services {
            let active = service.seats.iter().filter(|seat| is_of(host, seat) && seat.state == SeatState::Active);
            replicas.extend(active.map(|seat| (name_of(&service.name), service.group, seat.clone())));
        }
        replicas
    }

    /// An engine loses one of its replicas.
    pub fn lose(&self, host: Host, pick: u64) {
        let replicas = self.replicas(host);
        if replicas.is_empty() {
            return;
        }
        let (service, _, seat) = replicas[(pick % replicas.len() as u64) as usize].clone();
        self.observed.trace().note(host, format_args!("loses seat {} of {service}", seat.seat));
        self.tell(host, Command::Replace { service, seat: Seat(seat.seat), reply: ignored() });
    }

    /// A bit of a replica's memory changes: of one seat of a group at most in a run, or the damaged might agree.
    pub fn damage(&mut self, host: Host, pick: u64, bit: u64) {
        let replicas: Vec<_> =
            self.replicas(host).into_iter().filter(|(_, group, _)| !self.is_damaged(*group)).collect();
        if replicas.is_empty() {
            return;
        }
        let (service, group, seat) = replicas[(pick % replicas.len() as u64) as usize].clone();
        // Mostly in the heap, which lies last: what is there is used.
        let memory = seat.memory_bytes.max(1);
        let reach = if bit & 24 == 0 { memory } else { memory.min(HEAP_BYTES) };
        let flip = Flip { address: memory - 1 - (bit >> 6) % reach, bit: (bit & 7) as u8 };
        let audit = bit & 32 == 0;
        self.observed.trace().note(host, format_args!("{flip:?} in seat {} of {service}", seat.seat));
        self.damaged.insert((group, seat.seat, seat.incarnation));
        self.tell(host, Command::Corrupt { service, seat: Seat(seat.seat), flip, audit, reply: ignored() });
    }

    /// Whether a node's replicas of a service are of another program than all others.
    fn is_false(&self, host: Host, service: &ServiceStatus) -> bool {
        self.impostor == Some(host) && name_of(&service.name) == STORE
    }

    fn is_damaged(&self, group: u32) -> bool {
        self.damaged.iter().any(|(of, ..)| *of == group)
    }

    /// Another member is to lead.
    pub fn transfer(&self, to: Host) {
        let change = || MemberChange::Transfer(NodeId(u64::from(to.0)));
        for host in self.doors.keys() {
            self.tell(*host, Command::ChangeMembers { change: change(), reply: ignored() });
        }
    }

    /// Has services go on that were halted, and replicas rebuilt that were put out.
    pub fn repair(&self) {
        for (host, status) in self.statuses() {
            for service in &status.services {
                let name = name_of(&service.name);
                if service.state == ServiceState::Halted {
                    self.tell(host, Command::Resume { service: name, reply: ignored() });
                    continue;
                }
                for seat in service.seats.iter().filter(|seat| is_of(host, seat)) {
                    if matches!(seat.state, SeatState::Quarantined) {
                        let (service, seat) = (name.clone(), Seat(seat.seat));
                        self.tell(host, Command::Replace { service, seat, reply: ignored() });
                    }
                }
            }
        }
    }

    /// Has every replica vote on its whole memory.
    pub fn audit(&self) {
        let services: BTreeSet<String> = self
            .statuses()
            .flat_map(|(_, status)| status.services.iter().map(|service| name_of(&service.name)))
            .collect();
        for service in services {
            for host in self.doors.keys() {
                self.tell(*host, Command::Audit { service: service.clone(), reply: ignored() });
            }
        }
    }

    /// What is not yet as it must be: every seat of every service has a replica that follows, and all are equal. Seats
    /// of nodes that may never start again are left out.
    #[must_use]
    pub fn unequal(&self, services: usize, lost: &dyn Fn(Host) -> bool) -> Vec<Finding> {
        const EQUAL: &str = "every replica follows when the faults are over";
        let mut findings = Vec::new();
        for host in self.doors.keys().filter(|host| !lost(**host)) {
            let Some((_, status)) = self.seen.get(host) else {
                findings.push(Finding::new(EQUAL, format!("{host} does not answer")));
                continue;
            };
            if status.services.len() != services {
                findings.push(Finding::new(EQUAL, format!("{host} has {} services", status.services.len())));
            }
        }
        let mut groups: BTreeMap<u32, Seats> = BTreeMap::new();
        for (host, status) in self.statuses().filter(|(host, _)| !lost(*host)) {
            for service in &status.services {
                let seats = groups.entry(service.group).or_default();
                seats.note(host, service, self.is_false(host, service), lost);
            }
        }
        for (group, seats) in groups {
            findings.extend(seats.faults(group).into_iter().map(|seen| Finding::new(EQUAL, seen)));
        }
        findings
    }
}

/// The seats of a group, as the nodes that have them say.
#[derive(Default)]
struct Seats {
    /// Who follows, where it is, and its digest there.
    follow: BTreeMap<u8, (u64, String)>,
    /// Seats of nodes that may never start again.
    lost: BTreeSet<u8>,
    count: usize,
    faults: Vec<String>,
}

impl Seats {
    fn note(&mut self, host: Host, service: &ServiceStatus, is_false: bool, lost: &dyn Fn(Host) -> bool) {
        self.count = self.count.max(service.seats.len());
        if service.state == ServiceState::Halted {
            self.faults.push(format!("{} is halted on {host}", service.name));
        }
        for seat in &service.seats {
            if is_of(host, seat) && is_false {
                self.lost.insert(seat.seat);
            } else if is_of(host, seat) && seat.state == SeatState::Active {
                self.follow.insert(seat.seat, (seat.position, seat.digest.clone()));
            } else if is_of(host, seat) {
                let (name, number, reason) = (&service.name, seat.seat, &seat.reason);
                self.faults.push(format!("{name} seat {number} is {:?} on {host}: {reason:?}", seat.state));
            } else if seat.node != 0 && lost(Host(seat.node as u16)) {
                self.lost.insert(seat.seat);
            }
        }
    }

    fn faults(self, group: u32) -> Vec<String> {
        let mut faults = self.faults;
        let missing = (0..self.count as u8).filter(|seat| !self.follow.contains_key(seat) && !self.lost.contains(seat));
        faults.extend(missing.map(|seat| format!("nobody has seat {seat} of group {group}")));
        if self.follow.values().collect::<BTreeSet<_>>().len() > 1 {
            faults.push(format!("replicas of group {group} are at {:?}", self.follow));
        }
        faults
    }
}

/// Whether the seat's replica runs on that node, which alone knows it well.
fn is_of(host: Host, seat: &SeatStatus) -> bool {
    seat.node == u64::from(host.0)
}
