//! Everything about one service, for `rctl service show`.

use refrain_api::{CheckpointStatus, ErrorBody, ErrorCode, LimitStatus, ServiceDetail};
use refrain_service::{BundleDigest, FuelPerTurn, IdleLimit, Limits, Ready, ReadyWhen};

use super::Inner;
use super::group::{Group, SeatRuntime};
use super::{failure, status};
use crate::service::Service;

impl Inner {
    /// Describes a service, one whose module cannot run too.
    pub(super) fn detail(&self, name: &str) -> Result<ServiceDetail, ErrorBody> {
        let groups = self.groups.borrow();
        if let Some(group) = groups.values().find(|group| group.service.name == name) {
            return Ok(self.detail_of(group));
        }
        let refused = self.catalog.refused.iter().find(|service| service.name == name);
        let detail = refused.map(|service| {
            let limits = limits(&service.manifest.limits, None, None);
            self.detail_with(service, status::refused(service), limits)
        });
        detail.ok_or_else(|| failure(ErrorCode::ServiceNotFound, format!("no service is named {name}")))
    }

    fn detail_of(&self, group: &Group) -> ServiceDetail {
        let used = self.history_of(group).map(|used| used.bytes);
        let limits = limits(&group.service.manifest.limits, group.best(), used);
        let mut detail = self.detail_with(&group.service, self.service(group), limits);
        self.view.with_shard(|shard| {
            let Some(known) = shard.groups().get(&group.id) else { return };
            detail.quorum = u8::try_from(known.quorum()).unwrap_or(u8::MAX);
            detail.checkpoint = known.checkpoints().next().map(|newest| CheckpointStatus {
                position: newest.position.0,
                root: newest.root.iter().map(|byte| format!("{byte:02x}")).collect(),
            });
        });
        detail
    }

    fn detail_with(
        &self,
        service: &Service,
        status: refrain_api::ServiceStatus,
        limits: Vec<LimitStatus>,
    ) -> ServiceDetail {
        ServiceDetail {
            node: self.node.0,
            status,
            bundle: BundleDigest::new(service.bundle).to_string(),
            quorum: 0,
            ready_when: ready_when(&service.manifest.ready),
            outbound: service.manifest.outbound.iter().map(ToString::to_string).collect(),
            limits,
            checkpoint: None,
            unsavable: service.why_not_saved(),
        }
    }
}

fn ready_when(ready: &Ready) -> String {
    match &ready.when {
        ReadyWhen::Listen => "the guest listens on every port".to_owned(),
        ReadyWhen::Probe(probe) => format!("the guest listens, and port {} answers {:?}", probe.port, probe.expect),
    }
}

/// Every limit in the order of the manifest, with what a replica uses of it.
fn limits(limits: &Limits, replica: Option<&SeatRuntime>, history: Option<u64>) -> Vec<LimitStatus> {
    let used = |of: fn(&SeatRuntime) -> u64| replica.map(of);
    let fuel = match limits.fuel_per_turn {
        FuelPerTurn::Off => None,
        FuelPerTurn::Limit(fuel) => Some(fuel),
    };
    let idle = match limits.idle {
        IdleLimit::Off => None,
        IdleLimit::After(time) => Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    let count = |number: u32| Some(u64::from(number));
    let all = [
        ("memory", "bytes", Some(limits.memory.get()), used(|seat| seat.memory_bytes)),
        ("tables", "count", count(limits.tables), None),
        ("files", "bytes", Some(limits.files.get()), used(|seat| seat.files_bytes)),
        ("inodes", "count", count(limits.inodes), used(|seat| seat.inodes)),
        ("fuel_per_turn", "fuel", fuel, used(|seat| seat.fuel)),
        ("flows", "count", count(limits.flows), used(|seat| u64::from(seat.flows))),
        ("flows_per_client", "count", count(limits.flows_per_client), None),
        ("outward", "count", count(limits.outward), None),
        ("descriptors", "count", count(limits.descriptors), used(|seat| u64::from(seat.descriptors))),
        ("socket_buffer", "bytes", Some(limits.socket_buffer.get()), None),
        ("socket_buffers", "bytes", Some(limits.socket_buffers.get()), None),
        ("idle", "milliseconds", idle, None),
        ("log_lines_per_second", "count", count(limits.log_lines_per_second), None),
        ("history", "bytes", Some(limits.history.get()), history),
    ];
    all.into_iter().map(LimitStatus::from).collect()
}
