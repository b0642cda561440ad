//! A client of the key-value server: writes values under keys of its own, and counts.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::pulse::Pulse;
use super::slots::{Slot, Slots, Version};
use super::{Client, End};
use crate::resp::{RespClient, command};

/// The service.
pub const SERVICE: &str = "kv-server";
/// Keys of one writer. The server keeps everything in memory.
const KEYS: usize = 2000;
/// Most bytes that a value has more than it needs to tell what it is.
const MAX_PADDING: u64 = 100;
/// Keys that are read at once.
const READ_AT_ONCE: usize = 100;

/// The client.
#[derive(Clone, Debug)]
pub struct Writer {
    number: u64,
    slots: Slots,
    /// What the counter was when it was answered last; at least so much is there.
    counted: u64,
    /// Increments that were sent; at most so much is there.
    sent: u64,
}

impl Writer {
    /// One that has written nothing; `number` makes its keys its own.
    pub fn new(number: u64) -> Self {
        Self { number, slots: Slots::new(KEYS), counted: 0, sent: 0 }
    }

    fn key(&self, slot: usize) -> String {
        format!("w{}:{slot}", self.number)
    }

    fn counter(&self) -> String {
        format!("c{}", self.number)
    }

    fn value(&self, slot: usize, version: Version) -> String {
        let padding = ".".repeat((version % MAX_PADDING) as usize);
        format!("{}:{slot}:{version}:{padding}", self.number)
    }

    /// One value and one increment, on their way together.
    fn write(&mut self, client: &mut RespClient, pulse: &Pulse) -> Result<Result<()>> {
        let (slot, version) = self.slots.begin().context("every key has an unanswered write")?;
        self.sent += 1;
        let mut commands = command(&["SET", &self.key(slot), &self.value(slot, version)]);
        commands.extend(command(&["INCR", &self.counter()]));
        let replies = client.send(&commands).and_then(|()| client.reply());
        let reply = match replies {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(error)),
        };
        ensure!(reply == b"+OK\r\n", "SET: {:?}", String::from_utf8_lossy(&reply));
        self.slots.answered(slot);
        pulse.beat(1);
        let reply = match client.reply() {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(error)),
        };
        let count = integer(&reply).with_context(|| format!("INCR: {:?}", String::from_utf8_lossy(&reply)))?;
        let lawful = self.counted < count && count <= self.sent;
        ensure!(lawful, "INCR: {count} after {}, {} were sent", self.counted, self.sent);
        self.counted = count;
        pulse.beat(1);
        Ok(Ok(()))
    }

    fn check_slots(&mut self, client: &mut RespClient) -> Result<u64> {
        let mut there = 0;
        let written: Vec<(usize, Slot)> = self.slots.written().collect();
        for some in written.chunks(READ_AT_ONCE) {
            let commands: Vec<u8> = some.iter().flat_map(|(slot, _)| command(&["GET", &self.key(*slot)])).collect();
            client.send(&commands)?;
            for (slot, known) in some {
                let reply = client.reply()?;
                let is = |version: &Version| reply == bulk(&self.value(*slot, *version));
                let found = [known.answered, known.open].into_iter().flatten().find(is);
                let none = reply == b"$-1\r\n";
                let said = String::from_utf8_lossy(&reply);
                ensure!(found.is_some() || none, "{}: {said:?} is no value of {known:?}", self.key(*slot));
                there += u64::from(found.is_some());
                let key = self.key(*slot);
                self.slots.settle(*slot, found).with_context(|| key)?;
            }
        }
        Ok(there)
    }

    fn check_counter(&mut self, client: &mut RespClient) -> Result<u64> {
        let reply = client.words(&format!("GET {}", self.counter()))?;
        let text = String::from_utf8_lossy(&reply);
        let count: u64 = text.split("\r\n").nth(1).and_then(|value| value.parse().ok()).unwrap_or(0);
        let lawful = self.counted <= count && count <= self.sent;
        ensure!(lawful, "{}: {count} is there, {} was answered, {} were sent", self.counter(), self.counted, self.sent);
        (self.counted, self.sent) = (count, count);
        Ok(u64::from(count > 0))
    }
}

impl Client for Writer {
    fn service(&self) -> &'static str {
        SERVICE
    }

    fn go_on(&mut self, address: SocketAddr, pulse: &Pulse) -> Result<End> {
        let mut client = match RespClient::connect(address) {
            Ok(client) => client,
            Err(error) => return Ok(End::Broken(format!("{error:#}"))),
        };
        while !pulse.is_stopped() {
            if let Err(error) = self.write(&mut client, pulse)? {
                return Ok(End::Broken(format!("{error:#}")));
            }
        }
        Ok(End::Asked)
    }

    fn check(&mut self, address: SocketAddr) -> Result<u64> {
        let mut client = RespClient::connect(address)?;
        Ok(self.check_slots(&mut client)? + self.check_counter(&mut client)?)
    }
}

fn integer(reply: &[u8]) -> Option<u64> {
    std::str::from_utf8(reply).ok()?.strip_prefix(':')?.strip_suffix("\r\n")?.parse().ok()
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::Doors;
    use crate::native::{Example, NativeServer};
    use crate::traffic::run_until;

    #[test]
    fn everything_answered_is_found_and_a_loss_a_double_and_a_phantom_too() {
        let server = NativeServer::start(Example::KvServer).unwrap();
        let address = server.address();
        let mut outcome = run_until(Writer::new(7), address, 5000).unwrap();
        assert!(outcome.answered >= 5000 && outcome.breaks.is_empty());
        let doors = Doors::default();
        doors.open(1, [(SERVICE.to_owned(), address)].into());
        outcome.check(&doors, 1).unwrap();
        let mut client = RespClient::connect(address).unwrap();
        let mut fails_with = |words: &str, back: &str, expected: &str| {
            client.words(words).unwrap();
            let error = format!("{:#}", outcome.check(&doors, 1).unwrap_err());
            assert!(error.contains(expected), "{error}");
            client.words(back).unwrap();
        };
        fails_with("SET phantom 1", "DEL phantom", "DBSIZE");
        fails_with("INCR c7", "DECR c7", "were sent");
        fails_with("SET w7:3 other", "DEL w7:3", "is no value");
        assert!(outcome.check(&doors, 1).is_err(), "the deleted key is missed");
    }
}
