//! Hosts of a test's own: network namespaces around a switch, whose links can be cut and whose packets can be dropped.
//!
//! The test's own thread, and all threads and processes that it starts from then on, are at the switch: nothing of the
//! machine's own network is touched.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tools::{installed, output_of};

/// Where the test itself is.
const SWITCH: u8 = 254;
const PROGRAMS: [&str; 3] = ["ip", "nft", "nsenter"];

/// Hosts 1 to some number. They are gone on drop.
#[derive(Debug)]
pub struct Hosts {
    /// What the names of their namespaces begin with.
    prefix: String,
    count: u8,
}

impl Hosts {
    /// So many hosts; none, with a line that says so, where they cannot be made. With `REFRAIN_REQUIRE_TOOLS` set that
    /// is an error.
    pub fn new(count: u8) -> Result<Option<Self>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for program in PROGRAMS {
            if installed(program)?.is_none() {
                return Ok(None);
            }
        }
        let prefix = format!("refrain-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let hosts = Self { prefix, count };
        if let Err(error) = hosts.add(SWITCH) {
            ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "no network namespaces: {error:#}");
            println!("skipped: network namespaces cannot be made here: {error:#}");
            return Ok(None);
        }
        hosts.build().map(|()| Some(hosts))
    }

    fn build(&self) -> Result<()> {
        self.at(SWITCH, "link add switch type bridge")?;
        self.address_at(SWITCH, "switch")?;
        for id in 1..=self.count {
            self.add(id)?;
            let there = self.name(id);
            self.at(SWITCH, &format!("link add port{id} type veth peer name eth0 netns {there}"))?;
            self.at(SWITCH, &format!("link set port{id} master switch up"))?;
            self.address_at(id, "eth0")?;
        }
        let switch = File::open(self.path(SWITCH))?;
        let moved = move_into_link_name_space(switch.as_fd(), Some(LinkNameSpaceType::Network));
        moved.context("cannot go to the switch")
    }

    fn name(&self, id: u8) -> String {
        format!("{}-{id}", self.prefix)
    }

    /// Its namespace, for [`on_host`].
    pub fn path(&self, id: u8) -> PathBuf {
        Path::new("/run/netns").join(self.name(id))
    }

    fn add(&self, id: u8) -> Result<()> {
        output_of(Command::new("ip").args(["netns", "add", &self.name(id)])).map(drop)
    }

    /// `ip` on a host.
    fn at(&self, id: u8, words: &str) -> Result<()> {
        output_of(Command::new("ip").args(["-n", &self.name(id)]).args(words.split(' '))).map(drop)
    }

    fn address_at(&self, id: u8, device: &str) -> Result<()> {
        self.at(id, &format!("addr add {}/24 dev {device}", self.address(id)))?;
        self.at(id, &format!("link set {device} up"))?;
        self.at(id, "link set lo up")
    }

    /// Where a host is.
    pub fn address(&self, id: u8) -> IpAddr {
        Ipv4Addr::new(10, 77, 0, id).into()
    }

    /// Pulls a host's cable: nobody reaches it and it reaches nobody, and no connection is told so.
    pub fn unplug(&self, id: u8) -> Result<()> {
        self.at(SWITCH, &format!("link set port{id} down"))
    }

    /// Puts the cable back.
    pub fn plug(&self, id: u8) -> Result<()> {
        self.at(SWITCH, &format!("link set port{id} up"))
    }

    /// Has a host take nothing that comes from another one.
    pub fn deafen(&self, id: u8, to: u8) -> Result<()> {
        let (to, rules) = (self.address(to), self.name(id));
        let rule = format!(
            "add table inet faults; add chain inet faults in {{ type filter hook input priority 0; }}; \
             add rule inet faults in ip saddr {to} drop"
        );
        output_of(Command::new("ip").args(["netns", "exec", &rules, "nft", &rule])).map(drop)
    }

    /// Cuts a host off from the other ones, both ways; the test still reaches it.
    pub fn isolate(&self, id: u8) -> Result<()> {
        (1..=self.count).filter(|other| *other != id).try_for_each(|other| {
            self.deafen(id, other)?;
            self.deafen(other, id)
        })
    }

    /// Takes everything again that was dropped.
    pub fn heal(&self) -> Result<()> {
        let flush = |id| output_of(Command::new("ip").args(["netns", "exec", &self.name(id), "nft", "flush ruleset"]));
        (1..=self.count).try_for_each(|id| flush(id).map(drop))
    }
}

/// A command that runs on a host; here, when none is named.
pub fn on_host(host: Option<&Path>, program: &Path) -> Command {
    let Some(host) = host else { return Command::new(program) };
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", host.display())).arg("--").arg(program);
    command
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for id in (1..=self.count).chain([SWITCH]) {
            // What is left is the machine's to clean.
            let _ = Command::new("ip").args(["netns", "delete", &self.name(id)]).output();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use super::*;

    /// Nothing listens there: a host that is reached says so at once.
    fn is_reached(hosts: &Hosts, id: u8) -> bool {
        let address = SocketAddr::new(hosts.address(id), 9);
        let error = TcpStream::connect_timeout(&address, Duration::from_millis(500)).unwrap_err();
        error.kind() == ErrorKind::ConnectionRefused
    }

    fn reaches(hosts: &Hosts, from: u8, to: u8) -> bool {
        let mut command = on_host(Some(&hosts.path(from)), Path::new("bash"));
        let script = format!("echo > /dev/tcp/{}/9", hosts.address(to));
        let output =
            command.env("LC_ALL", "C").args(["-c", &format!("timeout 1 bash -c '{script}'")]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).contains("refused")
    }

    #[test]
    fn links_are_cut_both_ways_and_one_way_and_mended() {
        let Some(hosts) = Hosts::new(2).unwrap() else { return };
        assert!(is_reached(&hosts, 1) && reaches(&hosts, 1, 2) && reaches(&hosts, 2, 1));
        hosts.unplug(1).unwrap();
        assert!(!is_reached(&hosts, 1) && is_reached(&hosts, 2) && !reaches(&hosts, 2, 1));
        hosts.plug(1).unwrap();
        crate::wait::until("host 1 is back", || Ok(is_reached(&hosts, 1).then_some(()))).unwrap();
        hosts.isolate(1).unwrap();
        assert!(is_reached(&hosts, 1) && !reaches(&hosts, 1, 2));
        hosts.heal().unwrap();
        assert!(reaches(&hosts, 1, 2));
        hosts.deafen(2, 1).unwrap();
        assert!(!reaches(&hosts, 1, 2), "what host 1 sends is not taken");
    }
}
