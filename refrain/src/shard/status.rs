//! The state of everything, as the admin API shows it.

use refrain_api::{
    Durability, ExitKind, ExitReason, HistoryStatus, LogStatus, Member, Members, PortStatus, ProxyStatus, Readiness,
    SeatState as ApiSeatState, SeatStatus, ServiceState, ServiceStatus, Status,
};
use refrain_engine::LoadError;
use refrain_inspect::InspectError;
use refrain_sequencer::log::OrderedLog as _;
use refrain_sequencer::shard::ShardState;
use refrain_wire::control::Agreement;
use refrain_wire::{Digest, ShardId};

use super::Inner;
use super::group::{Group, SeatRuntime, SeatState};
use crate::config::Endpoint;
use crate::service::{Refused, Service};

impl Inner {
    pub(super) fn status(&self) -> Status {
        let mut services: Vec<ServiceStatus> = self.groups.borrow().values().map(|group| self.service(group)).collect();
        // Each shard was given all of them; the first one tells of those that cannot run.
        let refused_here = self.catalog.refused.iter().filter(|_| self.shard() == ShardId::FIRST);
        services.extend(refused_here.map(|service| refused(service)));
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            node: self.node.0,
            data_dir: self.config.data_dir.display().to_string(),
            durability: match self.config.durability {
                crate::config::Durability::Fsync => Durability::Fsync,
                crate::config::Durability::None => Durability::None,
            },
            problems: Vec::new(),
            log: self.log_status(),
            proxy: ProxyStatus { epoch: u64::from(self.epoch.get().0), flows: self.front().stats().connections as u64 },
            shards: Vec::new(),
            services,
            http: None,
        }
    }

    /// The members of the log, as far as this node knows.
    pub(super) fn members(&self) -> Members {
        let log = self.log_status();
        let members = match self.view.member() {
            Some(member) => {
                let members = member.log().members().into_iter();
                members.map(|m| Member { node: m.node.0, address: m.address, voter: m.voter }).collect()
            }
            None => {
                let listed = self.config.cluster.members();
                listed.map(|node| Member { node: node.id, address: node.address.to_string(), voter: true }).collect()
            }
        };
        let (shard, shards) = (self.shard().0, self.config.cluster.shards.count);
        Members { shard, shards, leader: log.leader, term: log.term, members }
    }

    /// Why this node does not take part, in words; none when it does.
    pub(super) fn missing_for_readiness(&self) -> Option<String> {
        let reason = if self.draining.get() {
            "connections are being ended"
        } else if self.is_unused() {
            return None;
        } else if self.removals.has(self.shard()) {
            "this node is no member of the log of this shard any more"
        } else if self.view.member().is_some_and(|member| member.log().stats().disk_full) {
            "the disk is full: this node takes no entries"
        } else if !self.link_is_up() {
            "no leader of the log can be reached"
        } else if !self.has_joined() {
            "this node does not follow the log yet, or lacks one of its services"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }

    fn log_status(&self) -> LogStatus {
        let Some(member) = self.view.member() else {
            let position = self.view.position().0;
            return LogStatus {
                generation: self.view.generation().map(|generation| generation.to_string()).unwrap_or_default(),
                first_position: 0,
                last_position: position,
                committed: position,
                bytes: 0,
                max_bytes: self.config.max_log_bytes,
                disk_full: false,
                term: self.view.with_shard(ShardState::term),
                leader: self.leader().map(|node| node.0),
                members: self.member_nodes().iter().map(|node| node.0).collect(),
            };
        };
        let log = member.log().stats();
        LogStatus {
            generation: log.generation.to_string(),
            first_position: log.first.0,
            last_position: log.committed.0,
            committed: log.committed.0,
            bytes: log.bytes,
            max_bytes: log.max_bytes.unwrap_or(u64::MAX),
            disk_full: log.disk_full,
            term: log.term,
            // Not the last one that the member heard of: there is a way to it.
            leader: self.leader().map(|node| node.0),
            members: log.members.iter().map(|node| node.0).collect(),
        }
    }

    pub(super) fn service(&self, group: &Group) -> ServiceStatus {
        let best = group.best();
        let guest = best.map(|seat| seat.guest.clone()).unwrap_or_default();
        let released = self.front().released(group.id);
        ServiceStatus {
            name: group.service.full_name.clone(),
            shard: self.shard().0,
            group: group.id.0,
            state: state(group),
            ready: self.readiness(group),
            exit_reason: guest.last_end.as_ref().map(|(code, reason, at)| exit_reason(*code, reason, at.0)),
            restarts: guest.starts.saturating_sub(1),
            agreement: agreement(group.service.agreement),
            ports: ports(group),
            position: released.0,
            seats: (group.seats.iter().enumerate())
                .map(|(index, seat)| seat_status(index as u8, seat, group))
                .collect(),
            flows: best.map_or(0, |seat| u64::from(seat.usage.flows)),
            files_bytes: best.map_or(0, |seat| seat.usage.files_bytes),
            memory_bytes: best.map_or(0, |seat| seat.usage.memory_bytes),
            history: self.history_of(group).map(|used| HistoryStatus {
                bytes: used.bytes,
                max_bytes: used.max_bytes,
                reasons: group.service.why_not_saved(),
            }),
        }
    }
}

fn state(group: &Group) -> ServiceState {
    if group.halted {
        return ServiceState::Halted;
    }
    match group.best().map(|seat| &seat.guest) {
        Some(guest) if guest.running => ServiceState::Running,
        Some(guest) if guest.starts > 0 && group.wants().is_some() => ServiceState::Backoff,
        Some(guest) if guest.starts > 0 => ServiceState::Exited,
        _ => ServiceState::Starting,
    }
}

fn agreement(rule: Agreement) -> refrain_api::Agreement {
    match rule {
        Agreement::Majority => refrain_api::Agreement::Majority,
        Agreement::All => refrain_api::Agreement::All,
        Agreement::None => refrain_api::Agreement::None,
    }
}

fn ports(group: &Group) -> Vec<PortStatus> {
    let ports = group.service.ports.iter().map(|port| {
        // A node that is no proxy shows where others listen by the manifest.
        let by_manifest = || {
            let paths = port.unix.iter().cloned().map(Endpoint::Path);
            port.listen.iter().copied().map(Endpoint::Address).chain(paths).collect()
        };
        let open: Vec<Endpoint> = group.endpoints_of(&port.name).cloned().collect();
        let places = if group.listeners.is_empty() { by_manifest() } else { open };
        let mut listen = places.iter().map(ToString::to_string);
        PortStatus {
            name: port.name.clone(),
            guest: port.guest,
            protocol: port.protocol.to_string(),
            listen: listen.next().unwrap_or_default(),
            also: listen.collect(),
        }
    });
    ports.collect()
}

fn seat_status(index: u8, seat: &SeatRuntime, group: &Group) -> SeatStatus {
    let earlier = seat.last_reason.as_ref().map(|reason| format!("rebuilt; its predecessor {reason}"));
    let (state, reason) = match &seat.state {
        SeatState::Active => (ApiSeatState::Active, earlier),
        SeatState::Replaying => (ApiSeatState::Replaying, earlier),
        SeatState::Quarantined(reason) => (ApiSeatState::Quarantined, Some(reason.clone())),
        SeatState::Dead(reason) => (ApiSeatState::Dead, Some(reason.clone())),
    };
    SeatStatus {
        seat: index,
        node: seat.node.0,
        incarnation: u64::from(seat.incarnation.0),
        state,
        position: seat.position.0,
        lag: group.last_turn.0.saturating_sub(seat.position.0),
        // That of a replica of another node is known there alone.
        digest: if seat.digest == Digest::default() { String::new() } else { seat.digest.to_string() },
        reason,
        since_position: seat.since.0,
        memory_bytes: seat.usage.memory_bytes,
        last_turn_fuel: Some(seat.fuel),
    }
}

fn exit_reason(code: u64, reason: &str, position: u64) -> ExitReason {
    let kind = match reason {
        reason if reason.contains("memory limit") => ExitKind::Memory,
        reason if reason.contains("fuel") => ExitKind::Fuel,
        reason if reason.starts_with("exited") => ExitKind::Exit,
        _ if code == 134 => ExitKind::Trap,
        _ => ExitKind::Exit,
    };
    ExitReason { kind, message: reason.to_owned(), position }
}

/// A service that cannot run: it has no group.
pub(super) fn refused(service: &Service) -> ServiceStatus {
    let module = match service.parts.code.as_ref().err() {
        Some(Refused::Module(error)) => Some(error),
        Some(Refused::Files(_) | Refused::Passed(_)) | None => None,
    };
    let kind = match module {
        Some(LoadError::Inspect(InspectError::Empty | InspectError::NotAModule { .. } | InspectError::Component)) => {
            ExitKind::NotAModule
        }
        Some(LoadError::Inspect(InspectError::Truncated { .. })) => ExitKind::Truncated,
        Some(LoadError::Problems(problems)) if problems.iter().any(|problem| problem.contains("_start")) => {
            ExitKind::NoStart
        }
        Some(LoadError::Component(problems)) if problems.iter().any(|problem| problem.contains("wasi:cli/run")) => {
            ExitKind::NoStart
        }
        Some(LoadError::Problems(_) | LoadError::Component(_)) => ExitKind::Import,
        _ => ExitKind::InvalidModule,
    };
    let message = service.why_refused();
    ServiceStatus {
        name: service.full_name.clone(),
        shard: 0,
        group: 0,
        state: ServiceState::Exited,
        ready: Readiness { ready: false, reason: Some("it cannot run".to_owned()) },
        exit_reason: Some(ExitReason { kind, message, position: 0 }),
        restarts: 0,
        agreement: agreement(service.agreement),
        ports: Vec::new(),
        position: 0,
        seats: Vec::new(),
        flows: 0,
        files_bytes: 0,
        memory_bytes: 0,
        history: None,
    }
}
