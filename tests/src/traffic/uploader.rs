//! A client of the image server: puts images over one another, and looks whether they are there, whole.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::pulse::Pulse;
use super::slots::{Slots, Version};
use super::{Client, End};
use crate::http::{HttpClient, put, request};
use crate::transcript::noise;

/// The service.
pub const SERVICE: &str = "image-server";
/// Names of one client.
const NAMES: usize = 8;

/// The client.
#[derive(Clone, Debug)]
pub struct Uploader {
    number: u64,
    image_bytes: usize,
    slots: Slots,
}

impl Uploader {
    /// One that has put nothing; `number` makes its names its own.
    pub fn new(number: u64, image_bytes: usize) -> Self {
        Self { number, image_bytes, slots: Slots::new(NAMES) }
    }

    fn name(&self, slot: usize) -> String {
        format!("/u{}-{slot}.jpg", self.number)
    }

    fn image(&self, version: Version) -> Vec<u8> {
        noise(self.number << 32 | version, self.image_bytes)
    }
}

impl Client for Uploader {
    fn service(&self) -> &'static str {
        SERVICE
    }

    fn go_on(&mut self, address: SocketAddr, pulse: &Pulse) -> Result<End> {
        let mut client = match HttpClient::connect(address) {
            Ok(client) => client,
            Err(error) => return Ok(End::Broken(format!("{error:#}"))),
        };
        while !pulse.is_stopped() {
            let (slot, version) = self.slots.begin().context("every name has an unanswered upload")?;
            match client.exchange(put(&self.name(slot), &self.image(version))) {
                Ok(reply) => ensure!(matches!(reply.status, 201 | 204), "PUT was answered with {}", reply.status),
                Err(error) => return Ok(End::Broken(format!("{error:#}"))),
            }
            self.slots.answered(slot);
            pulse.beat(1);
        }
        Ok(End::Asked)
    }

    fn check(&mut self, address: SocketAddr) -> Result<u64> {
        let mut client = HttpClient::connect(address)?;
        let mut there = 0;
        for (slot, known) in self.slots.written().collect::<Vec<_>>() {
            let name = self.name(slot);
            let reply = client.exchange(request(&format!("GET {name}"), "", b""))?;
            let is = |version: &Version| reply.status == 200 && reply.body() == self.image(*version);
            let found = [known.answered, known.open].into_iter().flatten().find(is);
            ensure!(found.is_some() || reply.status == 404, "{name}: the bytes are of no image of {known:?}");
            there += u64::from(found.is_some());
            self.slots.settle(slot, found).context(name)?;
        }
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::{Example, NativeServer};
    use crate::traffic::run_until;

    #[test]
    fn every_image_is_found_and_one_that_is_lost_or_changed_too() {
        let server = NativeServer::start(Example::ImageServer).unwrap();
        let mut outcome = run_until(Uploader::new(2, 300_000), server.address(), 20).unwrap();
        let mut uploader = outcome.clients.remove(0);
        assert_eq!(uploader.check(server.address()).unwrap(), NAMES as u64);
        let mut client = HttpClient::connect(server.address()).unwrap();
        client.exchange(put("/u2-1.jpg", b"other")).unwrap();
        assert!(uploader.check(server.address()).unwrap_err().to_string().contains("of no image"));
        client.exchange(request("DELETE /u2-1.jpg", "", b"")).unwrap();
        assert!(uploader.check(server.address()).is_err());
    }
}
