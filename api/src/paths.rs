//! The paths of the API, as templates for the server's router and filled in for the client.

/// `GET`, without a token: `ok`, or 503 with what does not answer.
pub const HEALTHY: &str = "/healthz";
/// `GET`, without a token: `ok`, or 503 with why the node is not ready.
pub const READY: &str = "/readyz";
/// `GET`: [`crate::Status`].
pub const STATUS: &str = "/v1/status";
/// `GET`: [`crate::ServiceDetail`].
pub const SERVICE: &str = "/v1/services/{namespace}/{name}";
/// `GET` with `after` (a number: the lines that follow it; the newest when it is absent) and `lines` (how many at most):
/// [`crate::GuestLines`].
pub const SERVICE_LOGS: &str = "/v1/services/{namespace}/{name}/logs";
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
/// `POST` [`crate::Deploy`]: runs a version of a stateless service on this node. Answers [`crate::HttpStatus`].
pub const DEPLOY: &str = "/v1/http/deploy";
/// `GET`: [`crate::HttpDetail`].
pub const HTTP_SERVICE: &str = "/v1/http/services/{namespace}/{name}";
/// `POST` [`crate::Weights`]: shifts requests between versions. Answers [`crate::HttpStatus`].
pub const WEIGHTS: &str = "/v1/http/services/{namespace}/{name}/weights";
/// `DELETE`: sends a version no more requests and ends it. Answers [`crate::HttpStatus`].
pub const RELEASE: &str = "/v1/http/services/{namespace}/{name}/versions/{version}";
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

/// The path of one version of a stateless service.
pub fn of_release(namespace: &str, name: &str, version: &str) -> String {
    // A version has `+` before its build, which a path may have as it is.
    of_service(RELEASE, namespace, name).replace("{version}", version)
}

/// The path of a service's lines: at most so many, of those after a number or of the newest.
pub fn of_logs(namespace: &str, name: &str, after: Option<u64>, lines: usize) -> String {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    format!("{}?lines={lines}{after}", of_service(SERVICE_LOGS, namespace, name))
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
        assert_eq!(of_logs("a", "b", None, 5), "/v1/services/a/b/logs?lines=5");
        assert_eq!(of_logs("a", "b", Some(9), 5), "/v1/services/a/b/logs?lines=5&after=9");
    }
}
