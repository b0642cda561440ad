//! Clients that go on while servers come and go, and remember what they were answered: afterwards every answered write
//! must be there, and nothing that nobody sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::pulse::Pulse;
use crate::doors::Doors;
use crate::resp::RespClient;
use crate::wait;

pub mod caller;
pub mod flow;
pub mod pulse;
mod slots;
pub mod uploader;
pub mod writer;

/// Between two looks for a door, and before a client tries the next one.
const BEFORE_NEXT: Duration = Duration::from_millis(10);

/// Clients of a crowd.
const WRITERS: u64 = 9;
const FLOWS: u64 = 3;
const UPLOADERS: u64 = 2;
const IMAGE_BYTES: usize = 1_000_000;

/// A client of one service.
pub trait Client: Send {
    /// The service.
    fn service(&self) -> &'static str;

    /// Makes requests over a new connection until it is asked to stop or the connection ends. Every answer beats the
    /// pulse. A wrong answer is an error.
    fn go_on(&mut self, address: SocketAddr, pulse: &Pulse) -> Result<End>;

    /// Checks what is there against what was answered, and takes it over as the truth. How many things of this client
    /// there are.
    fn check(&mut self, address: SocketAddr) -> Result<u64>;
}

/// Why a client stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Asked,
    /// The connection ended: why.
    Broken(String),
}

/// A connection that ended under a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The node that it was to.
    pub node: u64,
    /// Why.
    pub why: String,
}

/// Clients at work, each on a thread.
pub struct Traffic {
    pulse: Arc<Pulse>,
    threads: Vec<JoinHandle<Done>>,
}

struct Done {
    client: Box<dyn Client>,
    breaks: Vec<Break>,
    result: Result<()>,
}

/// What clients know when they have stopped.
pub struct Outcome {
    /// The clients, for another run.
    pub clients: Vec<Box<dyn Client>>,
    /// All connections that ended under them.
    pub breaks: Vec<Break>,
    /// How many requests were answered.
    pub answered: u64,
    /// The longest time without any answer.
    pub longest_gap: Duration,
}

impl Traffic {
    /// Starts clients. Each begins at the node named beside it, and goes to the next one when its connection ends.
    pub fn start(doors: &Doors, clients: impl IntoIterator<Item = (u64, Box<dyn Client>)>) -> Self {
        let pulse = Arc::new(Pulse::default());
        let start = |(node, client)| {
            let (doors, pulse) = (doors.clone(), Arc::clone(&pulse));
            std::thread::spawn(move || play(client, node, &doors, &pulse))
        };
        Self { threads: clients.into_iter().map(start).collect(), pulse }
    }

    /// What the clients share.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Waits until so many more requests are answered than now.
    pub fn until_more(&self, more: u64) -> Result<()> {
        let enough = self.pulse.answered() + more;
        wait::until(&format!("{more} more answers"), || {
            // A client that fails stops all.
            let (answered, stopped) = (self.pulse.answered(), self.pulse.is_stopped());
            Ok((answered >= enough || stopped).then_some(()))
        })
    }

    /// Lets the clients go on for a while; how many requests a second were answered.
    pub fn rate_over(&self, span: Duration) -> f64 {
        let (answered, start) = (self.pulse.answered(), Instant::now());
        wait::pause(span);
        (self.pulse.answered() - answered) as f64 / start.elapsed().as_secs_f64()
    }

    /// Stops all clients; the first wrong answer is an error.
    pub fn stop(self) -> Result<Outcome> {
        self.pulse.stop();
        let (answered, longest_gap) = (self.pulse.answered(), self.pulse.longest_gap());
        let mut outcome = Outcome { clients: Vec::new(), breaks: Vec::new(), answered, longest_gap };
        let mut result = Ok(());
        for thread in self.threads {
            let done = thread.join().expect("a client does not panic");
            outcome.clients.push(done.client);
            outcome.breaks.extend(done.breaks);
            result = result.and(done.result);
        }
        result.map(|()| outcome)
    }
}

impl Outcome {
    /// Checks all clients through the nodes of `doors`, from the given one on. Nothing else may have written to the
    /// key-value server.
    pub fn check(&mut self, doors: &Doors, node: u64) -> Result<()> {
        let mut keys = 0;
        for client in &mut self.clients {
            let service = client.service();
            let (node, address) = doors.next(node, service).with_context(|| format!("nobody serves {service}"))?;
            let found = client.check(address).with_context(|| format!("{service} at node {node}"))?;
            keys += if service == writer::SERVICE { found } else { 0 };
        }
        let Some((_, address)) = doors.next(node, writer::SERVICE) else { return Ok(()) };
        let reply = RespClient::connect(address)?.words("DBSIZE")?;
        let expected = format!(":{keys}\r\n");
        ensure!(
            reply == expected.as_bytes(),
            "{keys} keys were found, DBSIZE is {:?}",
            String::from_utf8_lossy(&reply)
        );
        Ok(())
    }

    /// The clients, to be started again at these nodes.
    pub fn again(self, nodes: &[u64]) -> Vec<(u64, Box<dyn Client>)> {
        spread(self.clients, nodes)
    }

    /// Fails when a connection to a node that is not among `ended` was broken.
    pub fn unbroken_but_at(&self, ended: &[u64]) -> Result<()> {
        match self.breaks.iter().find(|broken| !ended.contains(&broken.node)) {
            Some(Break { node, why }) => bail!("a connection to node {node}, which lived on, ended: {why}"),
            None => Ok(()),
        }
    }
}

/// Clients of all three examples, spread over these nodes.
pub fn crowd(nodes: &[u64]) -> Vec<(u64, Box<dyn Client>)> {
    let flows = (0..FLOWS).map(|number| Box::new(flow::Flow::new(number)) as Box<dyn Client>);
    let uploaders =
        (0..UPLOADERS).map(|number| Box::new(uploader::Uploader::new(number, IMAGE_BYTES)) as Box<dyn Client>);
    let mut crowd = writers(WRITERS, nodes);
    crowd.extend(spread(flows.chain(uploaders), nodes));
    crowd
}

/// Writers alone, spread over these nodes.
pub fn writers(count: u64, nodes: &[u64]) -> Vec<(u64, Box<dyn Client>)> {
    spread((0..count).map(|number| Box::new(writer::Writer::new(number)) as Box<dyn Client>), nodes)
}

/// Gives each client a node to begin at, in turns.
fn spread(clients: impl IntoIterator<Item = Box<dyn Client>>, nodes: &[u64]) -> Vec<(u64, Box<dyn Client>)> {
    nodes.iter().copied().cycle().zip(clients).collect()
}

fn play(mut client: Box<dyn Client>, mut node: u64, doors: &Doors, pulse: &Pulse) -> Done {
    let (mut breaks, mut result) = (Vec::new(), Ok(()));
    while !pulse.is_stopped() {
        let Some((at, address)) = doors.next(node, client.service()) else {
            wait::pause(BEFORE_NEXT);
            continue;
        };
        match client.go_on(address, pulse) {
            Ok(End::Asked) => break,
            Ok(End::Broken(why)) => {
                breaks.push(Break { node: at, why });
                node = at + 1;
                wait::pause(BEFORE_NEXT);
            }
            Err(error) => {
                result = Err(error.context(format!("{} at node {at}", client.service())));
                pulse.stop();
            }
        }
    }
    Done { client, breaks, result }
}

/// One run of a client against one server, for the tests of clients.
#[cfg(test)]
fn run_until(client: impl Client + 'static, address: SocketAddr, answers: u64) -> Result<Outcome> {
    let doors = Doors::default();
    doors.open(1, [(client.service().to_owned(), address)].into());
    let traffic = Traffic::start(&doors, [(1, Box::new(client) as Box<dyn Client>)]);
    traffic.until_more(answers)?;
    traffic.stop()
}
