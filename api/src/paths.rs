//! The paths of the API, as templates for the server's router and filled in for the client.

/// `GET`: [`crate::Status`].
pub const STATUS: &str = "/v1/status";
/// `POST` [`crate::KillReplica`]: ends one replica as a crash would.
pub const KILL_REPLICA: &str = "/v1/services/{namespace}/{name}/kill-replica";
/// `POST` [`crate::CorruptReplica`]: flips a bit in one replica's guest memory and appends an audit.
pub const CORRUPT_REPLICA: &str = "/v1/services/{namespace}/{name}/corrupt-replica";
/// `POST`, no body: appends an audit.
pub const AUDIT: &str = "/v1/services/{namespace}/{name}/audit";
/// `POST`, no body: ends a halt.
pub const RESUME: &str = "/v1/services/{namespace}/{name}/resume";
/// `POST` [`crate::RebuildReplica`]: drops one replica and rebuilds it from the log.
pub const REBUILD: &str = "/v1/services/{namespace}/{name}/rebuild";

/// `POST` [`crate::Scale`]: gives a service another number of replicas.
pub const SCALE: &str = "/v1/services/{namespace}/{name}/scale";
/// `PUT` a packed bundle: [`crate::StoredBundle`]. The bundle is kept for upgrades.
pub const BUNDLE: &str = "/v1/bundles/{digest}";
/// `POST` [`crate::Upgrade`]: has a service run another bundle. Answers [`crate::UpgradeStatus`] when that is on its
/// way. `GET`: [`crate::UpgradeStatus`] of the last upgrade that the server knows of.
pub const UPGRADE: &str = "/v1/services/{namespace}/{name}/upgrade";
/// `GET` with `shard`, the first one when it is absent: [`crate::Members`].
pub const MEMBERS: &str = "/v1/sequencer";
/// `POST` [`crate::AddMember`]: makes a node a member of the log.
pub const ADD_MEMBER: &str = "/v1/sequencer/add";
/// `POST` [`crate::NameMember`]: ends a membership.
pub const REMOVE_MEMBER: &str = "/v1/sequencer/remove";
/// `POST` [`crate::NameMember`]: has a member lead.
pub const TRANSFER: &str = "/v1/sequencer/transfer";

/// `GET` with `service` (namespace/name), `trace` (an id) and `last` (how many), each of which may be absent:
/// [`crate::Traces`].
pub const TRACES: &str = "/v1/traces";
/// `GET`, without a token: the metrics in the Prometheus text format.
pub const METRICS: &str = "/metrics";

/// A template with the service's names filled in. Names need no escaping: they are lower case letters, digits and
/// hyphens.
pub fn of_service(template: &str, namespace: &str, name: &str) -> String {
    template.replace("{namespace}", namespace).replace("{name}", name)
}

/// The path of the members of a shard's log.
pub fn of_members(shard: u16) -> String {
    format!("{MEMBERS}?shard={shard}")
}

/// The path of a bundle.
pub fn of_bundle(digest: &str) -> String {
    BUNDLE.replace("{digest}", digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let path = of_service(KILL_REPLICA, "examples", "kv-server");
        assert_eq!(path, "/v1/services/examples/kv-server/kill-replica");
    }
}
