//! What a guest is given and may use: fixed by its manifest, the same for every replica, not part of its state.

use std::time::Duration;

use crate::outbound::Outbound;

/// When a guest that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Always, whatever it ended with.
    Always,
    /// After a trap or an exit code other than 0.
    OnFailure,
    /// Never.
    Never,
}

/// A port that clients of the service can connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestPort {
    /// The port as the guest sees it.
    pub port: u16,
    /// Whether datagrams come there, rather than connections.
    pub datagram: bool,
    /// Whether the listener is passed in as a descriptor (`LISTEN_FDS`) instead of being made by the guest.
    pub pass: bool,
}

/// Everything fixed about a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestConfig {
    /// The program's name and arguments.
    pub args: Vec<Vec<u8>>,
    /// The environment, as `KEY=value`, in byte order.
    pub env: Vec<Vec<u8>>,
    /// The ports that clients reach.
    pub ports: Vec<GuestPort>,
    /// The most open descriptors; not below what a guest begins with, its passed listeners included.
    pub max_descriptors: u32,
    /// The most connections and associations of clients, accepted or waiting to be.
    pub max_flows: u32,
    /// Socket buffer of one flow in one direction, in bytes.
    pub socket_buffer_bytes: u64,
    /// Send buffers of all flows together, in bytes; as much again may wait in the queues of datagram sockets.
    pub socket_buffers_bytes: u64,
    /// Quota of the writable file layer, in bytes.
    pub files_bytes: u64,
    /// Files, directories and symbolic links that it may make besides those of its bundle.
    pub max_inodes: u64,
    /// What it may look up and call outside; nothing by default.
    pub outbound: Outbound,
    /// The most connections, associations and look-ups outward that are under way at one time.
    pub max_outward: u32,
    /// Lines to standard output and error in one second of log time; more are counted and dropped.
    pub log_lines_per_second: u32,
    /// When to start again.
    pub restart: RestartPolicy,
    /// The wait before the first restart; doubles with each.
    pub backoff: Duration,
    /// The longest wait before a restart; a run that lasts longer than it starts the series anew.
    pub backoff_max: Duration,
}

impl GuestConfig {
    /// What every flow may keep in its send buffer whatever the others do: all flows' shares are a quarter of the
    /// whole, so that clients that never read cannot take everything.
    pub(crate) fn own_send_bytes(&self) -> u64 {
        self.socket_buffers_bytes / 4 / self.shares()
    }

    /// What flows may keep beyond their own shares, together.
    pub(crate) fn shared_send_bytes(&self) -> u64 {
        self.socket_buffers_bytes - self.own_send_bytes() * self.shares()
    }

    fn shares(&self) -> u64 {
        (u64::from(self.max_flows) + u64::from(self.max_outward)).max(1)
    }

    /// The environment with `LISTEN_FDS` where listeners are passed in.
    #[must_use]
    pub fn environment(&self) -> Vec<Vec<u8>> {
        let mut env = self.env.clone();
        let passed = self.ports.iter().filter(|port| port.pass).count();
        if passed > 0 {
            env.push(format!("LISTEN_FDS={passed}").into_bytes());
            env.sort();
        }
        env
    }
}
