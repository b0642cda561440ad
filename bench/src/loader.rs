//! Who loads a server of HTTP/1.1: wrk where it is installed, else the client of this program. Both use one thread and
//! keep one request under way on each connection.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::latency::Summary;
use crate::ping::get::Get;
use crate::ping::{self, Plan};
use crate::program;
use crate::wrk::Wrk;

/// One of both.
pub enum Loader {
    /// wrk.
    Wrk(Wrk),
    /// [`ping`].
    Own,
}

/// What came of one round.
#[derive(Debug)]
pub struct Played {
    /// How many were answered.
    pub requests: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Their times.
    pub latency: Summary,
}

impl Played {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

impl Loader {
    /// Looks for wrk, whose script is written into `folder`.
    pub fn find(folder: &Path) -> Result<Self> {
        match program::find("wrk") {
            Some(program) => Ok(Self::Wrk(Wrk::new(program, folder)?)),
            None => {
                eprintln!("bench: wrk is not installed (apt-get install -y wrk): loading with this program's client");
                Ok(Self::Own)
            }
        }
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Wrk(_) => "wrk",
            Self::Own => "own client",
        }
    }

    /// Loads the server for about `time`. An answer other than 200 is an error.
    pub fn play(&self, address: SocketAddr, path: &str, connections: u16, time: Duration) -> Result<Played> {
        match self {
            Self::Wrk(wrk) => wrk.play(address, path, connections, time),
            Self::Own => {
                let plan = Plan { connections, warm_up: 0, requests: usize::MAX, time };
                let round = ping::run(address, &Get::new(address, path), &plan)?;
                let latency = round.latencies.summary().context("nothing was answered")?;
                Ok(Played { requests: latency.samples, elapsed: round.elapsed, latency })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Upstream;

    #[test]
    fn a_round_of_the_own_client_counts_every_answer() {
        let upstream = Upstream::start().unwrap();
        let played = Loader::Own.play(upstream.address(), "/", 4, Duration::from_millis(1)).unwrap();
        assert!(played.requests > 0 && played.rate() > 0.0);
        assert_eq!(played.latency.samples, played.requests);
    }
}
