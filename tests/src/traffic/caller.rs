//! Clients of the guest that calls other servers (`tests/guests/caller`).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::pulse::Pulse;
use super::{Client, End};
use crate::outside::Outside;
use crate::wait;

/// Between two calls: the machine has something else to do.
const BETWEEN: Duration = Duration::from_millis(10);
/// One call in so many is a datagram.
const DATAGRAM_EVERY: u64 = 4;
/// What the guest may have been told of a call that nobody can say of whether it was made.
const UNKNOWN: [&str; 5] = ["connect: ", "send: ", "recv after ", "sendto: ", "recvfrom: "];

/// A connection to the guest: one line there, one back.
#[derive(Debug)]
pub struct Caller(BufReader<TcpStream>);

impl Caller {
    /// To where the guest is served.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(wait::PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) -> Result<()> {
        Ok(self.0.get_mut().write_all(format!("{line}\n").as_bytes())?)
    }

    /// Waits for a line.
    pub fn heard(&mut self) -> Result<String> {
        let mut answer = String::new();
        ensure!(self.0.read_line(&mut answer)? > 0, "the guest closed the connection");
        ensure!(answer.ends_with('\n'), "the connection ended within {answer:?}");
        Ok(answer.trim_end().to_owned())
    }

    /// The answer to a line.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.say(line)?;
        self.heard()
    }
}

/// Has the guest call one server after another, each time with an id that is never used again, and remembers which calls
/// were answered.
#[derive(Debug)]
pub struct Calls {
    service: &'static str,
    echo: Arc<Outside>,
    datagrams: Arc<Outside>,
    begun: u64,
    answered: BTreeSet<String>,
}

impl Calls {
    /// Calls of a service to a server that echoes and to one that answers datagrams.
    pub fn new(service: &'static str, echo: &Arc<Outside>, datagrams: &Arc<Outside>) -> Self {
        let (echo, datagrams) = (Arc::clone(echo), Arc::clone(datagrams));
        Self { service, echo, datagrams, begun: 0, answered: BTreeSet::new() }
    }

    /// One call with a new id; whether it was answered. An answer of another call is an error, as is anything that does not
    /// mean that it may have happened.
    fn call(&mut self, caller: &mut Caller) -> Result<Result<bool>> {
        self.begun += 1;
        let id = format!("{}-{}", self.service, self.begun);
        let (verb, outside, wanted) = match self.begun % DATAGRAM_EVERY {
            0 => ("udp", &self.datagrams, id.to_uppercase()),
            _ => ("tcp", &self.echo, format!("{id}.")),
        };
        let (address, port) = (outside.address().ip(), outside.address().port());
        let answer = match caller.ask(&format!("{verb} {address} {port} {id}")) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        if answer.starts_with("ok ") {
            ensure!(answer.split(' ').next_back() == Some(&wanted), "{id} was answered by {answer:?}");
            self.answered.insert(id);
            return Ok(Ok(true));
        }
        ensure!(answer == "nothing" || UNKNOWN.iter().any(|start| answer.starts_with(start)), "{id}: {answer:?}");
        Ok(Ok(false))
    }

    /// The ids of this client that the servers were sent, as often as they were.
    fn served(&self) -> Vec<String> {
        let own = |line: &String| line.rsplit_once('-').is_some_and(|(service, _)| service == self.service);
        let mut served: Vec<String> = self.echo.lines().into_iter().chain(self.datagrams.lines()).filter(own).collect();
        served.sort_unstable();
        served
    }

    /// What the servers were sent against what was begun and answered.
    fn compare(&self) -> Result<()> {
        let served = self.served();
        if let Some(twice) = served.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("{} was served twice", twice[0]);
        }
        let served: BTreeSet<String> = served.into_iter().collect();
        let begun: BTreeSet<String> = (1..=self.begun).map(|number| format!("{}-{number}", self.service)).collect();
        let missing: Vec<_> = self.answered.difference(&served).collect();
        let strange: Vec<_> = served.difference(&begun).collect();
        ensure!(missing.is_empty() && strange.is_empty(), "answered and not served: {missing:?}; made up: {strange:?}");
        Ok(())
    }
}

impl Client for Calls {
    fn service(&self) -> &'static str {
        self.service
    }

    fn go_on(&mut self, address: SocketAddr, pulse: &Pulse) -> Result<End> {
        let mut caller = match Caller::connect(address) {
            Ok(caller) => caller,
            Err(error) => return Ok(End::Broken(format!("{error:#}"))),
        };
        while !pulse.is_stopped() {
            match self.call(&mut caller)? {
                Ok(answered) => pulse.beat(u64::from(answered)),
                Err(error) => return Ok(End::Broken(format!("{error:#}"))),
            }
            wait::pause(BETWEEN);
        }
        Ok(End::Asked)
    }

    /// No id was served twice, each answered one was served, and none that nobody began; a further call is answered. How
    /// many were answered.
    fn check(&mut self, address: SocketAddr) -> Result<u64> {
        let mut caller = Caller::connect(address)?;
        // Of each kind one; the lease of a proxy that was killed may have to end first.
        let mut in_a_row = 0;
        wait::until("calls are answered again", || {
            in_a_row = if self.call(&mut caller)?? { in_a_row + 1 } else { 0 };
            Ok((in_a_row == DATAGRAM_EVERY).then_some(()))
        })?;
        self.compare()?;
        Ok(self.answered.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::Manner;

    /// What is said of these calls, of which three were begun and the first was answered.
    fn compared(served: &[&str]) -> Result<()> {
        let (echo, datagrams) = (Arc::new(Outside::start(Manner::Echo)?), Arc::new(Outside::datagrams()?));
        for line in served {
            Caller::connect(echo.address())?.ask(line)?;
        }
        let calls = Calls::new("lake", &echo, &datagrams);
        Calls { begun: 3, answered: ["lake-1".to_owned()].into(), ..calls }.compare()
    }

    #[test]
    fn a_call_may_be_served_without_an_answer_and_none_twice() {
        compared(&["lake-1", "lake-3", "hill-1", "hill-1"]).unwrap();
        for (served, told) in [
            (&["lake-1", "lake-2", "lake-2"][..], "lake-2 was served twice"),
            (&["lake-2"], "answered and not served: [\"lake-1\"]"),
            (&["lake-1", "lake-4"], "made up: [\"lake-4\"]"),
        ] {
            let error = compared(served).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
