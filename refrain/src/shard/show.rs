//! Everything about one service, for `rctl service show`.

use refrain_api::{CheckpointStatus, ErrorBody, ErrorCode, LimitStatus, ServiceDetail};
use refrain_engine::Usage;
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
            let limits = limits(&service.manifest.limits, &Used::default());
            self.detail_with(service, status::refused(service), limits)
        });
        detail.ok_or_else(|| failure(ErrorCode::ServiceNotFound, format!("no service is named {name}")))
    }

    fn detail_of(&self, group: &Group) -> ServiceDetail {
        let used = Used {
            replica: group.best(),
            of_one_client: u64::try_from(self.front().most_of_one_client(group.id)).ok(),
            history: self.history_of(group).map(|used| used.bytes),
        };
        let limits = limits(&group.service.manifest.limits, &used);
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

/// What is known of a service's use of its limits.
#[derive(Default)]
struct Used<'a> {
    /// The replica of this node that is farthest.
    replica: Option<&'a SeatRuntime>,
    /// Connections to this node of the client that has the most.
    of_one_client: Option<u64>,
    /// Bytes of the history that is kept.
    history: Option<u64>,
}

/// Every limit in the order of the manifest, with what is used of it. What nobody counts: the fullest of the connections'
/// buffers, all of them together, and for how long a client has been idle.
fn limits(limits: &Limits, known: &Used<'_>) -> Vec<LimitStatus> {
    let used = |of: fn(&Usage) -> u64| known.replica.map(|replica| of(&replica.usage));
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
        ("memory", "bytes", Some(limits.memory.get()), used(|usage| usage.memory_bytes)),
        ("tables", "count", count(limits.tables), used(|usage| usage.table_elements)),
        ("files", "bytes", Some(limits.files.get()), used(|usage| usage.files_bytes)),
        ("inodes", "count", count(limits.inodes), used(|usage| usage.inodes)),
        ("fuel_per_turn", "fuel", fuel, known.replica.map(|replica| replica.fuel)),
        ("flows", "count", count(limits.flows), used(|usage| u64::from(usage.flows))),
        ("flows_per_client", "count", count(limits.flows_per_client), known.of_one_client),
        ("outward", "count", count(limits.outward), used(|usage| u64::from(usage.outward))),
        ("descriptors", "count", count(limits.descriptors), used(|usage| u64::from(usage.descriptors))),
        ("socket_buffer", "bytes", Some(limits.socket_buffer.get()), None),
        ("socket_buffers", "bytes", Some(limits.socket_buffers.get()), None),
        ("idle", "milliseconds", idle, None),
        ("log_lines_per_second", "count", count(limits.log_lines_per_second), used(|usage| u64::from(usage.log_lines))),
        ("history", "bytes", Some(limits.history.get()), known.history),
    ];
    all.into_iter().map(LimitStatus::from).collect()
}
