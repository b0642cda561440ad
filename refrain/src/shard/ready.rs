//! Whether services are ready, as this node sees them: what `rctl status` says, and what a start waits for.
//!
//! A guest is ready when it listens on every port of its manifest, as the farthest replica of this node tells, which
//! follows the log, with enough others for an agreement; when this node listens for its clients wherever it should; and
//! where the manifest has a probe, when a client of this node's own was answered as it says. Each run of the guest is
//! judged anew. The time limit changes only what is told: a service that was late may still become ready.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Weak;
use std::time::Duration;

use refrain_api::Readiness;
use refrain_service::{Probe, ReadyWhen, format_duration};
use refrain_wire::{Epoch, GroupId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::Inner;
use super::group::{Group, Guest, SeatState};
use crate::config::Endpoint;

/// How long one try of a probe may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The pause after the first try that failed; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What a probe reads of an answer.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Characters of the expected text that a reason repeats.
const EXPECT_SHOWN_CHARS: usize = 40;
/// A connection of the node itself, to a port that wants to be told whom connections come from.
const LOCAL_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// What is known of each group's run.
#[derive(Debug, Default)]
pub(super) struct Watches(BTreeMap<GroupId, Watch>);

/// One run of a guest.
#[derive(Debug)]
struct Watch {
    /// For the so manieth time it was started.
    run: u64,
    /// When this node learned of it.
    began: Instant,
    /// A task probes it.
    probing: bool,
    /// How the last try went.
    probed: Option<Result<(), String>>,
}

impl Watches {
    /// The watch of a group's run; it begins when the run is another one than before.
    fn of(&mut self, id: GroupId, run: u64) -> &mut Watch {
        let begin = || Watch { run, began: Instant::now(), probing: false, probed: None };
        let watch = self.0.entry(id).or_insert_with(begin);
        if watch.run != run {
            *watch = begin();
        }
        watch
    }
}

/// What a try needs.
struct Plan {
    at: Endpoint,
    probe: Probe,
    header: bool,
}

impl Inner {
    /// Something may have changed in a guest: a probe may be due.
    pub(super) fn look_at_readiness(&self, id: GroupId) {
        let due = {
            let groups = self.groups.borrow();
            let Some(group) = groups.get(&id) else { return };
            let Some(run) = group.best().map(|seat| seat.guest.starts) else { return };
            let mut watches = self.ready.borrow_mut();
            let watch = watches.of(id, run);
            let due = !watch.probing && !matches!(watch.probed, Some(Ok(()))) && self.probe_plan(group).is_some();
            watch.probing |= due;
            due.then_some(run)
        };
        if let Some(run) = due {
            tokio::task::spawn_local(probe(self.me.clone(), id, run));
        }
    }

    /// How a group is probed now; none when it has no probe, cannot be probed from here, or cannot answer yet.
    fn probe_plan(&self, group: &Group) -> Option<Plan> {
        let ReadyWhen::Probe(probe) = &group.service.manifest.ready.when else { return None };
        let best = group.best()?;
        let answers = best.guest.running && best.state == SeatState::Active && !group.halted;
        if !answers || group.not_listening(&best.guest).is_some() {
            return None;
        }
        let of_port = group.listeners.iter().filter(|listening| listening.port == probe.port.as_str());
        let (at, proxies) =
            of_port.filter_map(|listening| Some((listening.at.as_ref().ok()?, &listening.proxies))).next()?;
        let at = reached(at);
        let header = proxies.iter().any(|range| range.holds(source(&at)));
        Some(Plan { at, probe: probe.clone(), header })
    }

    /// The plan of a run that is still the group's.
    fn plan_of_run(&self, id: GroupId, run: u64) -> Option<Plan> {
        let groups = self.groups.borrow();
        let group = groups.get(&id)?;
        let is_current = group.best().is_some_and(|seat| seat.guest.starts == run);
        let plan = if is_current { self.probe_plan(group) } else { None };
        if plan.is_none()
            && let Some(watch) = self.ready.borrow_mut().0.get_mut(&id).filter(|watch| watch.run == run)
        {
            watch.probing = false;
        }
        plan
    }

    /// A try is over; whether it was the last of this run.
    fn probed(&self, id: GroupId, run: u64, result: Result<(), String>) -> bool {
        let over = {
            let mut watches = self.ready.borrow_mut();
            let Some(watch) = watches.0.get_mut(&id).filter(|watch| watch.run == run) else { return true };
            let over = result.is_ok();
            watch.probing = !over;
            watch.probed = Some(result);
            over
        };
        self.after_reports();
        over
    }

    /// Whether a group is ready, and if not, why.
    pub(super) fn readiness(&self, group: &Group) -> Readiness {
        match self.not_ready(group) {
            None => Readiness { ready: true, reason: None },
            Some(reason) => Readiness { ready: false, reason: Some(reason) },
        }
    }

    fn not_ready(&self, group: &Group) -> Option<String> {
        if group.halted {
            return Some("halted".to_owned());
        }
        if self.config.cluster.roles.proxy && self.epoch.get() == Epoch(0) {
            return Some("no leader of the log can be reached".to_owned());
        }
        let Some(best) = group.best() else {
            return Some("no replica of this node can tell".to_owned());
        };
        let reason = if let Some(reason) = group.not_listened() {
            reason.clone()
        } else if best.state != SeatState::Active {
            "its replica here does not follow the log yet".to_owned()
        } else if !group.has_quorum() {
            "too few replicas take part for an agreement".to_owned()
        } else {
            self.missing(group, &best.guest)?
        };
        let limit = group.service.manifest.ready.timeout;
        let mut watches = self.ready.borrow_mut();
        let over = watches.of(group.id, best.guest.starts).began.elapsed() > limit;
        Some(if over { format!("{reason}, time limit of {} over", format_duration(limit)) } else { reason })
    }

    /// What a guest has not done yet that a ready one has.
    fn missing(&self, group: &Group, guest: &Guest) -> Option<String> {
        if !guest.running {
            return Some(match &guest.last_end {
                Some((_, reason, _)) => format!("the guest does not run: it {reason}"),
                None => "the guest was not started yet".to_owned(),
            });
        }
        if let Some(port) = group.not_listening(guest) {
            return Some(format!("not listening on port {port} yet"));
        }
        let ReadyWhen::Probe(_) = &group.service.manifest.ready.when else { return None };
        if !self.config.cluster.roles.proxy {
            return Some("it listens; this node is no proxy and cannot probe it".to_owned());
        }
        match &self.ready.borrow_mut().of(group.id, guest.starts).probed {
            Some(Ok(())) => None,
            Some(Err(reason)) => Some(format!("probe failed: {reason}")),
            None => Some("not probed yet".to_owned()),
        }
    }

    /// Whether nobody has to wait for the group: it is ready, will not be, or had its time.
    pub(super) fn is_settled(&self, group: &Group) -> bool {
        if !group.is_settled() {
            return false;
        }
        let Some(best) = group.best() else { return true };
        let is_probed = matches!(group.service.manifest.ready.when, ReadyWhen::Probe(_));
        let is_probed = is_probed && self.config.cluster.roles.proxy && group.not_listened().is_none();
        if !is_probed || group.halted || !best.guest.running {
            return true;
        }
        let mut watches = self.ready.borrow_mut();
        let watch = watches.of(group.id, best.guest.starts);
        matches!(watch.probed, Some(Ok(()))) || watch.began.elapsed() > group.service.manifest.ready.timeout
    }
}

/// Where a listener is reached from its own machine.
fn reached(listener: &Endpoint) -> Endpoint {
    let Endpoint::Address(address) = listener else { return listener.clone() };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Endpoint::Address(SocketAddr::new(ip, address.port()))
}

/// Where a connection from this machine comes from, as the listener that is reached there sees it.
fn source(at: &Endpoint) -> IpAddr {
    match at {
        Endpoint::Address(address) => address.ip(),
        Endpoint::Path(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

/// Tries until the run is ready, or is another one.
async fn probe(inner: Weak<Inner>, id: GroupId, run: u64) {
    let mut pause = FIRST_PAUSE;
    loop {
        let plan = inner.upgrade().and_then(|inner| inner.plan_of_run(id, run));
        let Some(plan) = plan else { return };
        let result = match timeout(ATTEMPT, attempt(&plan)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no {} within {}", shown(&plan.probe.expect), format_duration(ATTEMPT))),
        };
        let Some(inner) = inner.upgrade() else { return };
        if inner.probed(id, run, result) {
            return;
        }
        drop(inner);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One try: connects, sends, and reads until the expected text was there.
async fn attempt(plan: &Plan) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot connect to {}: {error}", plan.at);
    match &plan.at {
        Endpoint::Address(address) => ask(TcpStream::connect(address).await.map_err(failed)?, plan).await,
        Endpoint::Path(path) => ask(UnixStream::connect(path).await.map_err(failed)?, plan).await,
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, plan: &Plan) -> Result<(), String> {
    let Plan { at, probe, header } = plan;
    let failed = |what: &str, error: std::io::Error| format!("{what} {at}: {error}");
    let mut request = if *header { LOCAL_HEADER.to_vec() } else { Vec::new() };
    request.extend_from_slice(probe.send.as_bytes());
    stream.write_all(&request).await.map_err(|error| failed("cannot send to", error))?;
    let mut answer = Vec::new();
    let expected = probe.expect.as_bytes();
    while answer.len() < MAX_ANSWER_BYTES {
        let read = stream.read_buf(&mut answer).await.map_err(|error| failed("cannot read from", error))?;
        if answer.windows(expected.len()).any(|part| part == expected) {
            return Ok(());
        }
        if read == 0 {
            return Err(format!("no {} in an answer of {} bytes", shown(&probe.expect), answer.len()));
        }
    }
    Err(format!("no {} in the first {MAX_ANSWER_BYTES} bytes of the answer", shown(&probe.expect)))
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(EXPECT_SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Probes a server that reads one request and answers with these pieces.
    async fn against(answers: Vec<Vec<u8>>, header: bool) -> (Result<(), String>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64];
            let read = stream.read(&mut request).await.unwrap();
            for answer in answers {
                // The probe may have seen enough.
                let _ = stream.write_all(&answer).await;
                tokio::task::yield_now().await;
            }
            request.truncate(read);
            request
        });
        let probe = Probe { port: "p".parse().unwrap(), send: "PING\r\n".into(), expect: "PONG".into() };
        let result = attempt(&Plan { at: Endpoint::Address(address), probe, header }).await;
        (result, server.await.unwrap())
    }

    #[tokio::test]
    async fn an_answer_with_the_expected_text_anywhere_is_enough() {
        for pieces in [vec![b"+PONG\r\n".to_vec()], vec![b"well: PO".to_vec(), b"NG and more".to_vec()]] {
            assert_eq!(against(pieces, false).await, (Ok(()), b"PING\r\n".to_vec()));
        }
    }

    #[tokio::test]
    async fn an_answer_without_it_is_told_with_its_length() {
        let (result, _) = against(vec![b"-ERR".to_vec()], false).await;
        assert_eq!(result, Err("no \"PONG\" in an answer of 4 bytes".to_owned()));
        let (result, _) = against(vec![vec![b'x'; 2 * MAX_ANSWER_BYTES]], false).await;
        assert_eq!(result, Err("no \"PONG\" in the first 65536 bytes of the answer".to_owned()));
    }

    #[tokio::test]
    async fn a_port_that_wants_a_header_is_told_of_a_local_connection() {
        let (result, request) = against(vec![b"PONG".to_vec()], true).await;
        assert_eq!((result, request), (Ok(()), b"PROXY UNKNOWN\r\nPING\r\n".to_vec()));
    }

    #[tokio::test]
    async fn a_port_that_refuses_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let probe = Probe { port: "p".parse().unwrap(), send: String::new(), expect: "x".into() };
        let at = Endpoint::Address(address);
        let told = attempt(&Plan { at, probe, header: false }).await.unwrap_err();
        assert!(told.starts_with(&format!("cannot connect to {address}: ")), "{told}");
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        let all = [
            ("0.0.0.0:1", "127.0.0.1:1", "127.0.0.1"),
            ("[::]:2", "[::1]:2", "::1"),
            ("10.0.0.1:3", "10.0.0.1:3", "10.0.0.1"),
            ("unix:/run/x", "unix:/run/x", "127.0.0.1"),
        ];
        for (listener, from_here, as_source) in all {
            let at = reached(&listener.parse().unwrap());
            assert_eq!((at.to_string().as_str(), source(&at).to_string().as_str()), (from_here, as_source));
        }
    }

    #[tokio::test]
    async fn a_port_at_a_path_is_probed_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"PONG").await.unwrap();
        });
        let probe = Probe { port: "p".parse().unwrap(), send: String::new(), expect: "PONG".into() };
        assert_eq!(attempt(&Plan { at: Endpoint::Path(path), probe, header: false }).await, Ok(()));
        server.await.unwrap();
    }

    #[tokio::test]
    async fn each_run_of_a_guest_is_judged_anew() {
        let mut watches = Watches::default();
        let first = watches.of(GroupId(1), 1);
        (first.probing, first.probed) = (true, Some(Ok(())));
        assert!(watches.of(GroupId(1), 1).probing);
        let second = watches.of(GroupId(1), 2);
        assert_eq!((second.run, second.probing, &second.probed), (2, false, &None));
    }
}
