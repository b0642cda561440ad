//! One simulated proxy: it keeps a few submissions on their way, and knows of each write whether it was acknowledged.
//!
//! It does what design section 4 asks of a proxy: numbers without gaps within an epoch, and after every change of the
//! leader the numbers above the last that was applied, again and in order.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::WriteHalf;
use tokio::time::{Instant, timeout};

use super::PROXY_PORT;
use super::frame::{Frame, Frames};
use super::observed::Observed;
use crate::dice::Dice;
use crate::net::gates::Host;
use crate::net::{SimNet, SimStream};

/// How long a member has to answer before another one is asked.
const PATIENCE: Duration = Duration::from_millis(600);
/// How long after a refusal it is tried again.
const PAUSE: Duration = Duration::from_millis(20);
/// The most submissions on their way.
const WINDOW: usize = 4;

/// What a proxy is to do, changed while it runs.
#[derive(Debug, Clone, Default)]
pub struct Orders(Rc<Cell<u64>>);

impl Orders {
    /// It goes on until this many writes are acknowledged; then it only finishes what is on its way.
    pub fn until(&self, writes: u64) {
        self.0.set(writes);
    }
}

#[derive(Debug, Clone, Copy)]
struct Submitted {
    number: u64,
    first: u64,
    count: u8,
}

/// A proxy's process.
pub struct Proxy {
    /// Its machine.
    pub host: Host,
    /// Its network.
    pub net: SimNet,
    /// The members.
    pub members: Vec<Host>,
    /// What it is to do.
    pub orders: Orders,
    /// The notes.
    pub observed: Observed,
    /// Its randomness.
    pub dice: Dice,
}

/// One connection to a member that leads.
struct Upstream {
    from: Frames,
    to: WriteHalf<SimStream>,
}

/// Why a connection was left.
enum Left {
    Io(io::Error),
    EpochEnded,
    Silent,
}

impl From<io::Error> for Left {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Default)]
struct Run {
    epoch: Option<u64>,
    next_number: u64,
    pending: VecDeque<Submitted>,
    next_member: usize,
}

impl Proxy {
    /// Runs for ever.
    ///
    /// # Errors
    /// Never.
    pub async fn run(mut self) -> turmoil::Result {
        let mut run = Run { next_member: self.dice.below(self.members.len() as u64) as usize, ..Run::default() };
        loop {
            let Some(mut upstream) = self.find_leader(&mut run).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let left = self.serve(&mut run, &mut upstream).await;
            let why = match left {
                Left::Io(error) => error.kind().to_string(),
                Left::Silent => "nothing came back".to_owned(),
                Left::EpochEnded => {
                    run.epoch = None;
                    run.pending.clear();
                    "the epoch has ended".to_owned()
                }
            };
            self.observed.trace().note(self.host, format_args!("leaves its member: {why}"));
        }
    }

    async fn find_leader(&mut self, run: &mut Run) -> Option<Upstream> {
        let member = self.members[run.next_member % self.members.len()];
        let answer = timeout(PATIENCE, async {
            let stream = self.net.connect(&member.address(PROXY_PORT)).await?;
            let (from, to) = tokio::io::split(stream);
            let mut from = Frames::of(from);
            let hello = from.next().await?;
            Ok::<_, io::Error>((hello, Upstream { from, to }))
        });
        let hint = match answer.await {
            Ok(Ok((Frame::Leads { .. }, upstream))) => return Some(upstream),
            Ok(Ok((Frame::NotLeader { leader }, _))) => {
                self.members.iter().position(|member| u64::from(member.0) == leader && self.dice.percent(80))
            }
            _ => None,
        };
        run.next_member = hint.unwrap_or(run.next_member + 1);
        None
    }

    async fn serve(&mut self, run: &mut Run, upstream: &mut Upstream) -> Left {
        let Err(left) = self.try_serve(run, upstream).await;
        left
    }

    async fn try_serve(&mut self, run: &mut Run, upstream: &mut Upstream) -> Result<std::convert::Infallible, Left> {
        if run.epoch.is_none() {
            self.open_epoch(run, upstream).await?;
        }
        let epoch = run.epoch.ok_or(Left::EpochEnded)?;
        Frame::Sync { epoch }.write(&mut upstream.to).await?;
        let mut synced = false;
        let mut heard = Instant::now();
        loop {
            if synced {
                self.submit_more(run, upstream, epoch).await?;
            }
            let wait = self.dice.millis(2, 12);
            match timeout(wait, upstream.from.next()).await {
                Ok(frame) => {
                    heard = Instant::now();
                    match frame? {
                        Frame::Applied { epoch: of, last } if of == epoch => {
                            self.applied(run, last);
                            if !std::mem::replace(&mut synced, true) {
                                self.submit_again(run, upstream, epoch).await?;
                            }
                        }
                        Frame::Ended { epoch: of } if of == epoch => return Err(Left::EpochEnded),
                        Frame::Again { epoch: of } if of == epoch => {
                            tokio::time::sleep(PAUSE).await;
                            synced = false;
                            Frame::Sync { epoch }.write(&mut upstream.to).await?;
                        }
                        Frame::NotLeader { .. } => return Err(Left::Silent),
                        _ => {}
                    }
                }
                Err(_) if heard.elapsed() > PATIENCE && (!synced || !run.pending.is_empty()) => {
                    return Err(Left::Silent);
                }
                Err(_) => {}
            }
        }
    }

    async fn open_epoch(&mut self, run: &mut Run, upstream: &mut Upstream) -> Result<(), Left> {
        let nonce = self.dice.roll();
        Frame::OpenEpoch { proxy: u64::from(self.host.0), nonce }.write(&mut upstream.to).await?;
        let opened = async {
            loop {
                match upstream.from.next().await? {
                    Frame::Opened { nonce: of, epoch } if of == nonce => return Ok(epoch),
                    Frame::NotLeader { .. } => return Err(Left::Silent),
                    _ => {}
                }
            }
        };
        let epoch = timeout(PATIENCE, opened).await.map_err(|_| Left::Silent)??;
        self.observed.trace().note(self.host, format_args!("has epoch {epoch}"));
        *run = Run { epoch: Some(epoch), next_number: 1, pending: VecDeque::new(), next_member: run.next_member };
        Ok(())
    }

    fn applied(&self, run: &mut Run, last: u64) {
        while let Some(done) = run.pending.pop_front_if(|first| first.number <= last) {
            self.observed.acknowledged(u32::from(self.host.0), done.first, u64::from(done.count));
        }
    }

    async fn submit_again(&mut self, run: &mut Run, upstream: &mut Upstream, epoch: u64) -> io::Result<()> {
        for Submitted { number, first, count } in run.pending.iter().copied() {
            Frame::Submit { epoch, number, first, count }.write(&mut upstream.to).await?;
        }
        Ok(())
    }

    async fn submit_more(&mut self, run: &mut Run, upstream: &mut Upstream, epoch: u64) -> io::Result<()> {
        let writer = u32::from(self.host.0);
        let wanted = self.orders.0.get() > self.observed.count_acknowledged(writer);
        if !wanted || run.pending.len() >= WINDOW || self.dice.percent(30) {
            return Ok(());
        }
        let count = self.dice.between(1, 3) as u8;
        let first = self.observed.new_writes(writer, u64::from(count));
        let number = run.next_number;
        run.next_number += 1;
        run.pending.push_back(Submitted { number, first, count });
        Frame::Submit { epoch, number, first, count }.write(&mut upstream.to).await
    }
}
