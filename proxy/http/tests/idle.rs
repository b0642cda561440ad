//! What connections cost that wait for their next request. Alone in its process, whose memory it looks at.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::{Request, Response};
use refrain_front::{
    Answering, Body, Endpoint, Front, Handler, Listen, ListenAt, Plan, Release, ReleaseLimits, Route, Service,
    Settings, Upstream,
};

/// Each is two descriptors of this process, which may have no more than 1,024.
const CONNECTIONS: usize = 480;
const MOST_BYTES: usize = 20 * 1024;
/// Reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(30);

struct Hello;

impl Handler for Hello {
    fn call(&self, _: Request<Body>) -> Answering {
        Box::pin(std::future::ready(Ok(Response::new(Body::from("hello")))))
    }
}

fn start() -> Front {
    let at = ListenAt::Tcp("127.0.0.1:0".parse().unwrap());
    let settings = Settings { listeners: vec![Listen { at, is_tls: false }], threads: 2, ..Settings::default() };
    let release = Release {
        version: "1.0.0".parse().unwrap(),
        upstreams: vec![Upstream::new("one", Endpoint::Handler(std::sync::Arc::new(Hello)))],
        limits: ReleaseLimits::default(),
        health: None,
    };
    let service = Service { name: "test/one".into(), releases: vec![release] };
    let plan =
        Plan { routes: vec![Route::to("/...", "test/one").unwrap()], services: vec![service], ..Plan::default() };
    Front::start(&settings, plan).unwrap()
}

/// A connection that had its answer.
fn ask(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        let mut chunk = [0; 512];
        let read = stream.read(&mut chunk).unwrap();
        assert_ne!(read, 0, "{}", answer.escape_ascii());
        answer.extend_from_slice(&chunk[..read]);
    }
    stream
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn a_connection_that_waits_costs_no_more_than_20_kib() {
    let front = start();
    let ListenAt::Tcp(at) = front.addresses()[0] else { panic!("it listens at an address") };
    // What is allocated once is there.
    drop((0..16).map(|_| ask(at)).collect::<Vec<_>>());
    let began = Instant::now();
    while front.metrics().connections > 0 {
        assert!(began.elapsed() < PATIENCE, "connections do not end");
        std::thread::yield_now();
    }
    let before = resident();
    let clients: Vec<TcpStream> = (0..CONNECTIONS).map(|_| ask(at)).collect();
    let each = resident().saturating_sub(before) / clients.len();
    println!("{each} bytes a connection");
    assert!(each <= MOST_BYTES, "{each} bytes a connection");
}
