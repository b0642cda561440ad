//! The leader of three nodes is killed while clients of the other two write: how long nothing is answered, and whether
//! every answered write is there, once.
//!
//! Each client adds one to a number of its own, again and again: an answer other than one more than the last is a write
//! that was lost or done twice, and so is a number that is another one at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::Rows;
use super::filled::KV;
use crate::cluster::{ALL, Cluster, Layout};
use crate::latency::Latencies;
use crate::pause::pause;
use crate::report::{Aim, Row, Side, Unit};
use crate::resp::Resp;
use crate::setup::Setup;

const ROUNDS: u64 = 7;
const CLIENTS_A_NODE: u64 = 8;
const BEFORE: Duration = Duration::from_secs(1);
/// How long answers are watched after the leader is killed.
const AFTER: Duration = Duration::from_secs(3);
const LIMIT_MS: f64 = 1000.0;

/// What became of the writes.
#[derive(Default)]
struct Faults {
    answered: u64,
    lost: u64,
    doubled: u64,
    /// Connections that broke: whether their last write was done is not known.
    broken: u64,
}

/// What one client saw.
struct Written {
    key: String,
    last: u64,
    /// The last write was not answered.
    open: bool,
    answers: Vec<Instant>,
    faults: Faults,
}

/// Measures.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let settings = [("election-timeout", "\"150ms\""), ("heartbeat-interval", "\"30ms\"")];
    let mut cluster = setup.cluster(&Layout { services: &[KV], nodes: &[ALL; 3], settings: &settings })?;
    cluster.start(&[1, 2, 3])?;
    let (mut gaps, mut all) = (Latencies::default(), Faults::default());
    for round in 0..if setup.quick { 1 } else { ROUNDS } {
        cluster.until_active(KV)?;
        gaps.push(one_round(&mut cluster, round, &mut all)?);
    }
    let mut gap = Row::new("leader killed, 150 to 300 ms elections: until an answer", Side::Refrain);
    gap.latency = gaps.summary();
    let longest = gap.latency.context("nothing was measured")?.max_ms;
    gap.aims.push(Aim::at_most(format!("max <= {LIMIT_MS} ms"), LIMIT_MS, longest));
    rows.push(gap);
    let counts = [("answered", all.answered), ("broken off", all.broken), ("lost", all.lost), ("doubled", all.doubled)];
    for (what, count) in counts {
        let mut row = Row::new(format!("leader killed: {what}"), Side::Refrain);
        row.figure = Some(Unit::Writes.of(count as f64));
        if what != "answered" {
            row.aims.push(Aim::at_most("none", 0.0, count as f64));
        }
        rows.push(row);
    }
    Ok(())
}

/// How long after the leader's death the longest silence ended.
fn one_round(cluster: &mut Cluster, round: u64, all: &mut Faults) -> Result<Duration> {
    let leader = cluster.leader()?;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients: Vec<JoinHandle<Result<Written>>> = Vec::new();
    for number in 0..CLIENTS_A_NODE * others.len() as u64 {
        let node = others[number as usize % others.len()];
        let (address, key, stop) = (cluster.address(node, KV)?, format!("count:{round}:{number}"), Arc::clone(&stop));
        clients.push(thread::spawn(move || write(address, key, &stop)));
    }
    pause(BEFORE);
    let killed = Instant::now();
    cluster.kill(leader)?;
    pause(AFTER);
    stop.store(true, Ordering::Relaxed);
    let mut answers = vec![killed];
    for client in clients {
        let written = client.join().map_err(|_| anyhow!("a client panicked"))??;
        answers.extend(written.answers.iter().filter(|at| **at > killed));
        all.add(&written.faults);
        for node in &others {
            let found = Resp::connect(cluster.address(*node, KV)?)?.number(&written.key)?;
            let most = written.last + u64::from(written.open);
            all.lost += u64::from(found < written.last);
            all.doubled += u64::from(found > most);
        }
    }
    cluster.start(&[leader])?;
    answers.sort_unstable();
    let silence = answers.windows(2).max_by_key(|pair| pair[1] - pair[0]);
    Ok(silence.context("nothing was answered after the leader was killed")?[1] - killed)
}

impl Faults {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.broken += other.broken;
    }
}

/// Writes until it is told to stop. Nothing is sent again: a connection that breaks is counted, and another one made.
fn write(address: SocketAddr, key: String, stop: &AtomicBool) -> Result<Written> {
    let mut written = Written { key, last: 0, open: false, answers: Vec::new(), faults: Faults::default() };
    let mut client = Resp::connect(address)?;
    while !stop.load(Ordering::Relaxed) {
        match client.increment(&written.key) {
            Ok(number) => written.answered(number),
            Err(_) => {
                written.faults.broken += 1;
                written.open = true;
                client = Resp::connect(address)?;
            }
        }
    }
    Ok(written)
}

impl Written {
    fn answered(&mut self, number: u64) {
        self.answers.push(Instant::now());
        self.faults.answered += 1;
        let most = self.last + 1 + u64::from(self.open);
        self.faults.lost += u64::from(number <= self.last);
        self.faults.doubled += u64::from(number > most);
        (self.last, self.open) = (number, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(answers: &[u64], open_before: usize) -> (u64, u64) {
        let faults = Faults::default();
        let mut written = Written { key: "k".into(), last: 0, open: false, answers: Vec::new(), faults };
        for (index, number) in answers.iter().enumerate() {
            written.open = index == open_before;
            written.answered(*number);
        }
        (written.faults.lost, written.faults.doubled)
    }

    #[test]
    fn each_write_is_to_add_one() {
        assert_eq!(faults(&[1, 2, 3], 9), (0, 0));
        assert_eq!(faults(&[1, 1, 2], 9), (1, 0), "one was lost");
        assert_eq!(faults(&[1, 3, 4], 9), (0, 1), "one was done twice");
    }

    #[test]
    fn a_write_without_an_answer_may_have_been_done() {
        assert_eq!(faults(&[1, 3, 4], 1), (0, 0));
        assert_eq!(faults(&[1, 2, 3], 1), (0, 0));
        assert_eq!(faults(&[1, 4, 5], 1), (0, 1));
    }
}
