//! An etcd cluster of three members on this machine, with its own defaults: a replicated and durable store.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::http::Client;
use crate::pause::pause;
use crate::ports;
use crate::process::Process;

const MEMBERS: usize = 3;
const START_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a cluster that elects its leader.
const STEP: Duration = Duration::from_millis(50);
const MAX_STATUS_BYTES: usize = 64 * 1024;

/// The running members; ended when dropped.
pub struct Etcd {
    _members: Vec<Process>,
    leader: SocketAddr,
}

impl Etcd {
    /// Starts three times `program` on free ports, with the data in `run`; returns when they have a leader.
    pub fn start(program: &Path, run: &Path) -> Result<Self> {
        let addresses = ports::free(2 * MEMBERS)?;
        let (clients, peers) = addresses.split_at(MEMBERS);
        let names: Vec<String> = (1..=MEMBERS).map(|number| format!("etcd-{number}")).collect();
        let cluster: Vec<String> =
            names.iter().zip(peers).map(|(name, peer)| format!("{name}=http://{peer}")).collect();
        let mut members = Vec::new();
        for (name, (client, peer)) in names.iter().zip(clients.iter().zip(peers)) {
            let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
            let mut command = Command::new(program);
            command.arg("--data-dir").arg(run.join(name)).args(["--name", name, "--logger", "zap"]);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"]);
            for (variable, _) in std::env::vars_os() {
                if variable.to_str().is_some_and(|variable| variable.starts_with("ETCD")) {
                    command.env_remove(variable);
                }
            }
            members.push(Process::start(name, &mut command, run)?);
        }
        match leader(clients) {
            Ok(leader) => Ok(Self { _members: members, leader }),
            Err(error) => Err(error.context(members[0].errors())),
        }
    }

    /// Where the member that leads takes requests.
    pub fn leader(&self) -> SocketAddr {
        self.leader
    }
}

/// Waits until one of them leads.
fn leader(clients: &[SocketAddr]) -> Result<SocketAddr> {
    let start = Instant::now();
    loop {
        for client in clients {
            match leads(*client) {
                Ok(true) => return Ok(*client),
                Ok(false) => {}
                // It does not listen yet.
                Err(error) if start.elapsed() < START_LIMIT => drop(error),
                Err(error) => return Err(error).context("etcd is not ready"),
            }
        }
        if start.elapsed() >= START_LIMIT {
            bail!("etcd has no leader after {} s", START_LIMIT.as_secs());
        }
        pause(STEP);
    }
}

fn leads(member: SocketAddr) -> Result<bool> {
    let mut client = Client::connect(member)?;
    let head = format!("POST /v3/maintenance/status HTTP/1.1\r\nHost: {member}\r\nContent-Length: 2\r\n\r\n");
    client.send(head.as_bytes(), b"{}")?;
    let mut body = Vec::new();
    let status = client.receive(&mut body, MAX_STATUS_BYTES)?;
    if status != 200 {
        bail!("etcd answers {status}: {}", String::from_utf8_lossy(&body));
    }
    is_leader(&serde_json::from_slice(&body).context("etcd's status is no JSON")?)
}

/// Whether a member's status names itself as the leader. It names nobody while there is none.
fn is_leader(status: &Value) -> Result<bool> {
    let own = status["header"]["member_id"].as_str().context("etcd's status has no member id")?;
    Ok(status["leader"].as_str() == Some(own))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_leader_is_the_member_that_names_itself() {
        let status = |leader: &str| json!({ "header": { "member_id": "7" }, "leader": leader });
        assert!(is_leader(&status("7")).unwrap());
        assert!(!is_leader(&status("8")).unwrap());
        assert!(!is_leader(&json!({ "header": { "member_id": "7" } })).unwrap());
        assert!(is_leader(&json!({})).is_err());
    }
}
