//! What measurements of checkpoints share: a kv-server with a memory of about 64 MiB, half of it random and half zero,
//! and what it can do.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::ping::set::Set;
use crate::ping::{self, Plan};
use crate::resp::Resp;
use crate::setup::Setup;

/// The example.
pub const KV: &str = "kv-server";
/// The part of the capacity at which traffic comes.
pub const SHARE: f64 = 0.25;

const VALUE_BYTES: usize = 1 << 20;
/// Values of random bytes, and of zeros.
const RANDOM: usize = 31;
const ZERO: usize = 27;
/// Connections and requests that show the capacity. Every key is written once before anything is measured.
const CONNECTIONS: u16 = 64;
const WARM_UP: usize = 10_000;
const REQUESTS: usize = 100_000;
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// SETs a second that 64 connections reach.
pub fn capacity(setup: &Setup, address: SocketAddr) -> Result<f64> {
    let (connections, requests) = (CONNECTIONS, setup.scaled(REQUESTS));
    Ok(ping::run(address, &Set, &Plan { connections, warm_up: WARM_UP, requests, time: TIME_LIMIT })?.rate())
}

/// Fills the memory; its bytes then.
pub fn fill(cluster: &Cluster, address: SocketAddr) -> Result<u64> {
    let mut client = Resp::connect(address)?;
    let mut value = vec![0; VALUE_BYTES];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..RANDOM {
        for bytes in value.chunks_exact_mut(8) {
            bytes.copy_from_slice(&random(&mut state).to_le_bytes());
        }
        client.set(&format!("random:{number}"), &value)?;
    }
    value.fill(0);
    for number in 0..ZERO {
        client.set(&format!("zero:{number}"), &value)?;
    }
    Ok(cluster.until_active(KV)?.memory_bytes)
}

/// The next number of a generator that passes for random (xorshift64*).
fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_do_not_come_again() {
        let mut state = 1;
        let seen: std::collections::BTreeSet<u64> = (0..1000).map(|_| random(&mut state)).collect();
        assert_eq!(seen.len(), 1000);
    }
}
