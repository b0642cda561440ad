//! Load for servers: seeded choices, clients that note what was answered, and the time that round trips take.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::echo::connect;
use crate::http::{HttpClient, put, request};
use crate::resp::{RespClient, command};
use crate::transcript::noise;
use crate::wait;

/// Numbers that look random and are the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What clients of one run share: when to stop, and how much was answered.
#[derive(Debug, Default)]
pub struct Progress {
    stop: AtomicBool,
    answered: AtomicU64,
}

impl Progress {
    /// Asks the clients to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How many writes were answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many were answered, or fails after `patience`.
    pub fn until(&self, answered: u64, patience: Duration) -> Result<()> {
        wait::within(patience, &format!("{answered} writes are answered"), || {
            Ok((self.answered() >= answered).then_some(()))
        })
    }
}

/// What a key may hold: the value answered last, and the one that was under way when the connection broke.
#[derive(Clone, Debug, Default)]
struct Expected {
    answered: Option<u64>,
    open: Option<u64>,
}

/// What one writer has been told. It survives the server.
#[derive(Clone, Debug)]
pub struct Ledger {
    writer: u64,
    dice: Dice,
    next: u64,
    keys: BTreeMap<u64, Expected>,
    /// Answered and sent increments.
    counted: (u64, u64),
}

/// Keys of one writer.
const KEYS: u64 = 64;
/// Images of one writer.
const IMAGES: u64 = 8;
/// Most SETs on their way at once.
const MAX_PIPELINED: u64 = 16;
/// Most bytes of an image.
const MAX_IMAGE: u64 = 200_000;

impl Ledger {
    /// An empty one; `writer` makes keys and choices its own.
    pub fn new(writer: u64) -> Self {
        Self { writer, dice: Dice::new(writer + 1), next: 1, keys: BTreeMap::new(), counted: (0, 0) }
    }

    fn begin(&mut self, key: u64) -> u64 {
        let value = self.next;
        self.next += 1;
        self.keys.entry(key).or_default().open = Some(value);
        value
    }

    fn answered(&mut self, key: u64, progress: &Progress) {
        let expected = self.keys.entry(key).or_default();
        expected.answered = expected.open.take();
        progress.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends SETs, several at once, and increments, until the connection breaks or it is asked to stop. A wrong
    /// reply is an error.
    pub fn write_keys(&mut self, address: SocketAddr, progress: &Progress) -> Result<()> {
        let Ok(mut client) = RespClient::connect(address) else { return Ok(()) };
        while !progress.stop.load(Ordering::Relaxed) {
            let first = self.dice.below(KEYS);
            let keys: Vec<u64> = (0..=self.dice.below(MAX_PIPELINED)).map(|n| (first + n) % KEYS).collect();
            let mut sent = Vec::new();
            for key in &keys {
                let value = self.begin(*key);
                sent.extend(command(&["SET", &self.key(*key), &value.to_string()]));
            }
            self.counted.1 += 1;
            sent.extend(command(&["INCR", &format!("count:{}", self.writer)]));
            if client.send(&sent).is_err() {
                return Ok(());
            }
            for key in keys {
                let Ok(reply) = client.reply() else { return Ok(()) };
                ensure!(reply == b"+OK\r\n", "SET: {:?}", String::from_utf8_lossy(&reply));
                self.answered(key, progress);
            }
            let Ok(reply) = client.reply() else { return Ok(()) };
            let expected = format!(":{}\r\n", self.counted.0 + 1);
            ensure!(
                reply == expected.as_bytes(),
                "INCR: expected {expected:?}, got {:?}",
                String::from_utf8_lossy(&reply)
            );
            self.counted.0 += 1;
        }
        Ok(())
    }

    fn key(&self, key: u64) -> String {
        format!("w{}:{key}", self.writer)
    }

    /// Checks that every answered SET and increment is there, and takes over what is there as the truth.
    pub fn check_keys(&mut self, address: SocketAddr) -> Result<()> {
        let mut client = RespClient::connect(address)?;
        for key in self.keys.keys().copied().collect::<Vec<_>>() {
            let reply = client.words(&format!("GET {}", self.key(key)))?;
            let text = String::from_utf8_lossy(&reply);
            let found: Option<u64> = text.split("\r\n").nth(1).and_then(|value| value.parse().ok());
            self.settle(key, found)?;
        }
        let reply = client.words(&format!("GET count:{}", self.writer))?;
        let text = String::from_utf8_lossy(&reply);
        let count: u64 = text.split("\r\n").nth(1).and_then(|value| value.parse().ok()).unwrap_or(0);
        let (answered, sent) = self.counted;
        ensure!(
            answered <= count && count <= sent,
            "writer {}: {answered} increments answered, {sent} sent, {count} there",
            self.writer
        );
        self.counted = (count, count);
        Ok(())
    }

    fn settle(&mut self, key: u64, found: Option<u64>) -> Result<()> {
        let writer = self.writer;
        let expected = self.keys.entry(key).or_default();
        let lawful = found == expected.answered || (found.is_some() && found == expected.open);
        ensure!(lawful, "writer {writer}, key {key}: {found:?} is there, expected {expected:?}");
        *expected = Expected { answered: found, open: None };
        Ok(())
    }

    fn image(&self, value: u64) -> Vec<u8> {
        let seed = self.writer << 32 | value;
        noise(seed, 1 + Dice::new(seed).below(MAX_IMAGE) as usize)
    }

    fn name(&self, key: u64) -> String {
        format!("/w{}-{key}.jpg", self.writer)
    }

    /// Puts images over one another until the connection breaks or it is asked to stop.
    pub fn write_images(&mut self, address: SocketAddr, progress: &Progress) -> Result<()> {
        let Ok(mut client) = HttpClient::connect(address) else { return Ok(()) };
        while !progress.stop.load(Ordering::Relaxed) {
            let key = self.dice.below(IMAGES);
            let value = self.begin(key);
            let Ok(reply) = client.exchange(put(&self.name(key), &self.image(value))) else { return Ok(()) };
            ensure!(matches!(reply.status, 201 | 204), "PUT was answered with {}", reply.status);
            self.answered(key, progress);
        }
        Ok(())
    }

    /// Checks that every answered image is there, whole.
    pub fn check_images(&mut self, address: SocketAddr) -> Result<()> {
        let mut client = HttpClient::connect(address)?;
        for (key, expected) in self.keys.clone() {
            let reply = client.exchange(request(&format!("GET {}", self.name(key)), "", b""))?;
            let candidates = [expected.answered, expected.open];
            let is = |value: &u64| reply.status == 200 && reply.body() == self.image(*value);
            let found = candidates.into_iter().flatten().find(is);
            ensure!(found.is_some() || reply.status == 404, "{}: the bytes are of no image", self.name(key));
            self.settle(key, found)?;
        }
        Ok(())
    }
}

/// Times of round trips.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// The time that a share of all round trips, in percent, stayed within.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// Sends 64 bytes to an echo server so many times on one connection and checks what comes back.
pub fn echo_round_trips(address: SocketAddr, count: u64) -> Result<Latencies> {
    let mut stream = connect(address)?;
    let mut times = Vec::new();
    for number in 0..count {
        let sent = noise(number, 64);
        let start = Instant::now();
        stream.write_all(&sent)?;
        let mut received = [0; 64];
        stream.read_exact(&mut received)?;
        times.push(start.elapsed());
        ensure!(received == sent[..], "round trip {number} came back changed");
    }
    Ok(Latencies(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let latencies = Latencies((1..=200).rev().map(Duration::from_micros).collect());
        assert_eq!(latencies.percentile(50), Duration::from_micros(100));
        assert_eq!(latencies.percentile(99), Duration::from_micros(198));
        assert_eq!(latencies.percentile(100), Duration::from_micros(200));
        assert_eq!(Latencies::default().percentile(99), Duration::ZERO);
    }

    #[test]
    fn a_value_that_was_never_sent_or_lost_is_found() {
        let mut ledger = Ledger::new(1);
        let progress = Progress::default();
        assert!(ledger.settle(0, None).is_ok());
        let first = ledger.begin(0);
        ledger.answered(0, &progress);
        assert!(ledger.clone().settle(0, None).is_err(), "an answered value is lost");
        assert!(ledger.clone().settle(0, Some(first + 1)).is_err(), "a value that nobody sent");
        let second = ledger.begin(0);
        assert!(ledger.clone().settle(0, Some(first)).is_ok());
        assert!(ledger.settle(0, Some(second)).is_ok());
        assert!(ledger.settle(0, Some(first)).is_err(), "an old value came back");
        assert_eq!(progress.answered(), 1);
    }
}
