//! The front end on real sockets, with a scripted guest behind it.

mod epochs;
mod guest;
mod nodes;
mod outward;
mod proxy_protocol;
mod udp;
mod unix;

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex, RwLock};
use std::time::Duration;

use refrain_proxy::core::GroupConfig;
use refrain_proxy::nat::{GroupLimits, Limits};
use refrain_proxy::tcp::{FrontEnd, ListenOptions};
use refrain_wire::control::Agreement;
use refrain_wire::{Epoch, Incarnation, Position, Record, ResetReason, Seat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;

use guest::{EPOCH, FLOOD_BYTES, GROUP, Guest, SEATS, flood_byte, port};

const WINDOW: u64 = 256 * 1024;

struct Stage {
    guest: Rc<Guest>,
    front_end: FrontEnd,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let guest = Rc::new(Guest::default());
        guest.window.set(WINDOW);
        let front_end = FrontEnd::new(limits, guest.clone());
        let config = GroupConfig {
            service: "test/guest".to_owned(),
            seats: SEATS,
            agreement: Agreement::Majority,
            limits: GroupLimits { window_bytes: WINDOW, ..GroupLimits::default() },
            released: Position(0),
        };
        front_end.add_group(GROUP, config);
        for seat in 0..SEATS {
            front_end.take_seat(GROUP, Seat(seat), Incarnation(1), Position(2));
        }
        guest.attach(&front_end);
        Self { guest, front_end }
    }

    fn begun(limits: Limits) -> Self {
        let stage = Self::new(limits);
        stage.front_end.begin_epoch(EPOCH, Position(1));
        stage
    }

    fn listen(&self, port: u16) -> SocketAddr {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.front_end.listen(any, GROUP, port, &ListenOptions::default()).expect("loopback has a free port")
    }

    async fn client(&self, port: u16) -> TcpStream {
        connect(self.listen(port)).await
    }

    async fn is_empty(&self) {
        while self.front_end.stats().connections > 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.expect("the proxy listens")
}

/// Held for writing by the test that measures this process's memory.
static MEMORY: RwLock<()> = RwLock::new(());

/// Runs a test on a loop thread as the server does; one that hangs fails.
fn on_loop(test: impl Future<Output = ()>) {
    let _others_may_run = MEMORY.read();
    run(test);
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let local = LocalSet::new();
    let guarded = local.run_until(async { timeout(Duration::from_secs(60), test).await.expect("the test hangs") });
    runtime.expect("a runtime").block_on(guarded);
}

fn some_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

async fn echoes(client: &mut TcpStream, bytes: &[u8]) {
    let mut back = vec![0; bytes.len()];
    let (mut read, mut write) = client.split();
    let (sent, got) = tokio::join!(write.write_all(bytes), read.read_exact(&mut back));
    sent.expect("the proxy takes it");
    got.expect("the proxy answers");
    assert_eq!(back, bytes);
}

/// Reads until the connection was reset.
async fn is_reset(client: &mut TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match client.read(&mut buffer).await {
            Ok(0) => panic!("the connection ended instead of being reset"),
            Ok(_) => {}
            Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn what_a_client_sends_comes_back_byte_for_byte() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"hello").await;
        echoes(&mut client, &some_bytes(3_000_000)).await;
        assert_eq!(stage.front_end.stats().bytes_out, 3_000_005);
    });
}

#[test]
fn a_client_that_half_closes_still_gets_its_answer() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        client.write_all(b"last words").await.expect("the proxy takes it");
        client.shutdown().await.expect("the write side is open");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("it ends, it is not reset");
        assert_eq!(answer, b"last words");
        stage.is_empty().await;
        let ordered = stage.guest.ordered.borrow();
        assert!(!ordered.iter().any(|record| matches!(record, Record::Reset { .. })));
    });
}

#[test]
fn a_guest_that_finishes_still_gets_what_the_client_sends() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::GREET).await;
        let mut greeting = Vec::new();
        client.read_to_end(&mut greeting).await.expect("it ends, it is not reset");
        assert_eq!(greeting, b"goodbye");
        client.write_all(b"wait").await.expect("the other half is open");
        stage.guest.has_ordered(|record| matches!(record, Record::Data { bytes, .. } if bytes == "wait")).await;
        drop(client);
        stage.guest.has_ordered(|record| matches!(record, Record::Shutdown(_))).await;
        stage.is_empty().await;
    });
}

#[test]
fn a_clients_reset_is_told_as_a_reset_and_not_as_an_end() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"x").await;
        client.set_zero_linger().expect("the socket is open");
        drop(client);
        let reset = |record: &Record| matches!(record, Record::Reset { reason: ResetReason::Client, .. });
        stage.guest.has_ordered(reset).await;
        let ordered = stage.guest.ordered.borrow();
        assert!(!ordered.iter().any(|record| matches!(record, Record::Shutdown(_))));
    });
}

#[test]
fn a_guests_reset_reaches_the_client_as_a_reset() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::RESET).await;
        client.write_all(b"x").await.expect("the proxy takes it");
        is_reset(&mut client).await;
        stage.is_empty().await;
    });
}

#[test]
fn a_refused_upload_gets_its_answer_before_the_close() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::REFUSE).await;
        let upload = some_bytes(2_000_000);
        let (mut read, mut write) = client.split();
        let mut answer = Vec::new();
        let (sent, got) = tokio::join!(write.write_all(&upload), read.read_to_end(&mut answer));
        sent.expect("what is not wanted is still taken");
        got.expect("it ends, it is not reset");
        assert_eq!(answer, b"too large");
        drop(client);
        stage.is_empty().await;
    });
}

#[test]
fn a_never_reading_client_costs_its_window_and_delays_nobody() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut slow = stage.client(port::FLOOD).await;
        let mut other = stage.client(port::ECHO).await;
        while stage.front_end.stats().queued_bytes == 0 {
            echoes(&mut other, b"tick").await;
        }
        for _ in 0..200 {
            echoes(&mut other, b"still here").await;
            assert!(stage.front_end.stats().queued_bytes as u64 <= WINDOW);
        }
        let mut got = Vec::new();
        slow.read_to_end(&mut got).await.expect("it ends, it is not reset");
        assert_eq!(got.len() as u64, FLOOD_BYTES);
        assert!(got.iter().zip(0..).all(|(byte, offset)| *byte == flood_byte(offset)));
        assert_eq!(stage.front_end.stats().queued_bytes, 0);
    });
}

#[test]
fn a_finish_waits_for_the_bytes_before_it() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.guest.window.set(FLOOD_BYTES);
        let mut client = stage.client(port::FLOOD).await;
        while stage.front_end.stats().queued_bytes == 0 {
            tokio::task::yield_now().await;
        }
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.expect("it ends, it is not reset");
        assert_eq!(got.len() as u64, FLOOD_BYTES);
    });
}

#[test]
fn a_guest_that_takes_nothing_stops_the_reading_at_its_window() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::SINK).await;
        let mut other = stage.client(port::ECHO).await;
        let upload = some_bytes(16 * 1024 * 1024);
        let sending = client.write_all(&upload);
        let watching = async {
            while stage.front_end.stats().bytes_in < WINDOW {
                tokio::task::yield_now().await;
            }
            for _ in 0..200 {
                echoes(&mut other, b"ping").await;
            }
            assert_eq!(stage.front_end.stats().bytes_in, WINDOW + 800);
        };
        tokio::select! {
            _ = sending => panic!("no socket buffer holds that much"),
            () = watching => {}
        }
    });
}

#[test]
fn one_client_address_over_its_limit_is_reset_and_the_others_go_on() {
    on_loop(async {
        let limits = Limits { connections_per_client: 2, ..Limits::default() };
        let stage = Stage::begun(limits);
        let addr = stage.listen(port::ECHO);
        let (mut first, second) = (connect(addr).await, connect(addr).await);
        echoes(&mut first, b"x").await;
        let mut third = connect(addr).await;
        is_reset(&mut third).await;
        assert_eq!(stage.front_end.stats().refused, 1);
        drop(second);
        while stage.front_end.stats().connections > 1 {
            echoes(&mut first, b"y").await;
        }
        echoes(&mut connect(addr).await, b"there is a place again").await;
    });
}

#[test]
fn a_connection_over_the_limit_of_all_is_reset() {
    on_loop(async {
        let limits = Limits { connections: 1, ..Limits::default() };
        let stage = Stage::begun(limits);
        let addr = stage.listen(port::ECHO);
        let mut first = connect(addr).await;
        echoes(&mut first, b"x").await;
        is_reset(&mut connect(addr).await).await;
        echoes(&mut first, b"y").await;
    });
}

#[test]
fn an_idle_client_is_reset_by_a_record() {
    on_loop(async {
        let limits = Limits { idle: Duration::from_millis(40), ..Limits::default() };
        let stage = Stage::begun(limits);
        let mut client = stage.client(port::ECHO).await;
        is_reset(&mut client).await;
        let idle = |record: &Record| matches!(record, Record::Reset { reason: ResetReason::Idle, .. });
        stage.guest.has_ordered(idle).await;
        stage.is_empty().await;
    });
}

#[test]
fn garbage_and_rude_clients_leave_others_served() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let (echo, sink) = (stage.listen(port::ECHO), stage.listen(port::SINK));
        let mut polite = connect(echo).await;
        for round in 0..100 {
            let mut rude = connect(if round % 3 == 0 { sink } else { echo }).await;
            rude.write_all(&some_bytes(round * 97)).await.expect("the proxy takes it");
            if round % 2 == 0 {
                rude.set_zero_linger().expect("the socket is open");
            }
            drop(rude);
            echoes(&mut polite, &some_bytes(500 + round)).await;
        }
        drop(polite);
        stage.is_empty().await;
    });
}

#[test]
fn two_thousand_idle_connections_cost_little_and_are_accepted_quickly() {
    let _nobody_else_runs = MEMORY.write();
    run(async {
        raise_descriptor_limit();
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen(port::ECHO);
        let before = resident_bytes();
        let mut idle = Vec::new();
        for _ in 0..2_000 {
            idle.push(connect(addr).await);
        }
        while stage.front_end.stats().connections < 2_000 {
            tokio::task::yield_now().await;
        }
        let each = resident_bytes().saturating_sub(before) / 2_000;
        assert!(each < 8 * 1024, "{each} bytes a connection, both ends in this process");
        echoes(&mut idle[1_000], b"the middle one").await;
    });
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised to the hard one");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it names resident memory");
    let kilobytes = line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kB");
    kilobytes * 1024
}

#[test]
fn one_submission_is_on_its_way_at_a_time_and_the_next_carries_what_came_meanwhile() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen(port::ECHO);
        let mut clients = vec![connect(addr).await];
        echoes(&mut clients[0], b"x").await;
        stage.guest.stopped.set(true);
        let before = stage.guest.submitted.get();
        clients[0].write_all(b"first").await.expect("the proxy takes it");
        stage.guest.has_submissions(before + 1).await;
        for _ in 0..20 {
            let mut client = connect(addr).await;
            client.write_all(b"meanwhile").await.expect("the proxy takes it");
            clients.push(client);
        }
        while stage.front_end.stats().bytes_in < 1 + 5 + 20 * 9 {
            tokio::task::yield_now().await;
        }
        assert_eq!(stage.guest.submitted.get(), before + 1);
        stage.guest.go_on();
        for client in &mut clients[1..] {
            let mut back = [0; 9];
            client.read_exact(&mut back).await.expect("the proxy answers");
        }
        assert_eq!(stage.guest.submitted.get(), before + 2);
    });
}

#[test]
fn a_submission_that_was_not_taken_is_sent_again() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.guest.refuse.set(true);
        let mut client = stage.client(port::ECHO).await;
        stage.guest.has_submissions(1).await;
        stage.guest.refuse.set(false);
        stage.front_end.resend_after(0);
        echoes(&mut client, b"once").await;
        let ordered = stage.guest.ordered.borrow();
        let opens = ordered.iter().filter(|record| matches!(record, Record::Open { .. }));
        assert_eq!(opens.count(), 1);
    });
}

#[test]
fn while_held_a_group_is_not_read_and_goes_on_when_released() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"before").await;
        stage.front_end.hold(GROUP);
        let mut late = stage.client(port::ECHO).await;
        let submitted = stage.guest.submitted.get();
        late.write_all(b"late").await.expect("the kernel takes it");
        client.write_all(b"held").await.expect("the kernel takes it");
        while stage.front_end.stats().connections < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(stage.guest.submitted.get(), submitted);
        stage.front_end.release(GROUP);
        for (client, expected) in [(&mut client, b"held"), (&mut late, b"late")] {
            let mut back = [0; 4];
            client.read_exact(&mut back).await.expect("the proxy answers");
            assert_eq!(&back, expected);
        }
    });
}

#[test]
fn a_halt_resets_the_groups_connections() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"x").await;
        stage.front_end.halt(GROUP, Position(500));
        is_reset(&mut client).await;
        let mut refused = stage.client(port::ECHO).await;
        is_reset(&mut refused).await;
    });
}

#[test]
fn a_drain_lets_flows_end_and_resets_the_rest_by_record() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen(port::ECHO);
        let (mut ends, mut stays) = (connect(addr).await, connect(addr).await);
        echoes(&mut ends, b"x").await;
        echoes(&mut stays, b"y").await;
        let client = async {
            while TcpStream::connect(addr).await.is_ok() {
                tokio::task::yield_now().await;
            }
            echoes(&mut ends, b"still served").await;
            drop(ends);
            is_reset(&mut stays).await;
        };
        let (drained, ()) = tokio::join!(stage.front_end.drain(Duration::from_millis(300)), client);
        assert!(drained.committed);
        assert_eq!(drained.reset, 1);
        let drain = |record: &Record| matches!(record, Record::Reset { reason: ResetReason::Drain, .. });
        stage.guest.has_ordered(drain).await;
    });
}

#[test]
fn the_access_log_has_one_event_a_closed_connection() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"hello").await;
        client.set_zero_linger().expect("the socket is open");
        drop(client);
        stage.is_empty().await;
    });
    let line = lines.of_access();
    assert_eq!(line.len(), 1, "{line:?}");
    for field in [
        "flow=2.1",
        "service=\"test/guest\"",
        "group=3",
        "peer=127.0.0.1",
        "bytes_in=5",
        "bytes_out=5",
        "ending=\"client-reset\"",
    ] {
        assert!(line[0].contains(field), "{field} is not in {}", line[0]);
    }
}

/// Keeps what a subscriber writes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

/// While there is one subscriber alone, whether an event is wanted is asked of the thread that comes to it first, which
/// may be that of another test, and kept for all. With a second one all are asked.
static NEVER_ALONE: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing_subscriber::fmt().with_writer(std::io::sink).finish().into());

/// What this thread logs is kept for as long as the guard lives.
fn logged() -> (Lines, tracing::subscriber::DefaultGuard) {
    LazyLock::force(&NEVER_ALONE);
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

impl Lines {
    fn warnings(&self) -> usize {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panics")).matches(" WARN ").count()
    }

    /// The lines of the access log.
    fn of_access(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("no writer panics").clone()).expect("the log is text");
        text.lines().filter(|line| line.contains("refrain::access")).map(str::to_owned).collect()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
