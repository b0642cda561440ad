//! nginx and the front end side by side, each before an upstream of its own, and one connection's worth of bytes to both.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use refrain_front::{
    Endpoint, Front, Listen, ListenAt, Plan, Release, ReleaseLimits, Route, Service, Settings,
    Upstream as UpstreamOfPlan,
};

use crate::upstream::{PATIENCE, Seen, Upstream};

/// How long both wait for the rest of a message that has none. Only inputs that are no whole messages wait.
const WAIT_MS: u64 = 300;
/// Shows that everything before it has been accepted.
const FENCE: &str = "GET /fence HTTP/1.1\r\nHost: fence\r\nConnection: close\r\n\r\n";

/// What came of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The statuses that the client got, but for 100.
    pub statuses: Vec<u16>,
    /// How many of the answers are an upstream's, as `method length` of the request.
    pub answered: Vec<String>,
    /// The last answer says that the connection ends with it.
    pub says_close: bool,
    pub seen: Vec<Seen>,
}

impl Told {
    /// The requests that came whole.
    pub fn whole(&self) -> Vec<&Seen> {
        self.seen.iter().filter(|seen| seen.is_whole).collect()
    }

    /// By answer: the request that was passed on, none for one that was refused.
    pub fn by_answer(&self) -> Vec<Option<&Seen>> {
        let mut whole = self.whole().into_iter();
        self.statuses.iter().map(|status| if *status == 200 { whole.next() } else { None }).collect()
    }
}

/// One server with its upstream.
struct Side {
    socket: PathBuf,
    upstream: Upstream,
}

impl Side {
    fn ask(&self, bytes: &[u8]) -> Told {
        let text = String::from_utf8_lossy(&self.exchange(bytes)).into_owned();
        let heads: Vec<&str> = text.split("HTTP/1.").skip(1).filter(|head| head.get(2..5) != Some("100")).collect();
        let statuses = heads.iter().map(|head| head.get(2..5).and_then(|text| text.parse().ok()).unwrap_or(0));
        let answered = heads.iter().flat_map(|head| head.lines()).filter_map(|line| line.split_once(": "));
        let answered = answered.filter(|(name, _)| name.eq_ignore_ascii_case("x-seen")).map(|(_, value)| value.into());
        let (statuses, answered) = (statuses.collect(), answered.collect());
        let last = heads.last().map(|head| head.to_ascii_lowercase());
        let says_close = last.is_some_and(|head| head.contains("\r\nconnection: close\r\n"));
        assert!(self.exchange(FENCE.as_bytes()).starts_with(b"HTTP/1.1 200"), "{} answers", self.socket.display());
        let mut seen = self.upstream.take();
        let fence = seen.iter().rposition(|seen| seen.host == "fence").expect("the fence came through");
        seen.remove(fence);
        Told { statuses, answered, says_close, seen }
    }

    fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        // What comes after a refusal may meet a connection that is closed already.
        let _ = stream.write_all(bytes);
        let mut answers = Vec::new();
        match stream.read_to_end(&mut answers) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?} of {:?}", answers.escape_ascii(), bytes.escape_ascii()),
        }
        answers
    }
}

pub struct Lane {
    front: Side,
    nginx: Side,
    _running: (Front, Nginx),
    _folder: tempfile::TempDir,
}

impl Lane {
    /// None, with a line that says so, where nginx is not installed.
    pub fn start() -> Option<Self> {
        let program = find_nginx()?;
        let folder = tempfile::tempdir().unwrap();
        let side = |name: &str| Side { socket: folder.path().join(name), upstream: Upstream::start() };
        let (front, nginx) = (side("front"), side("nginx"));
        let running = (start_front(&front), Nginx::start(&program, folder.path(), &nginx));
        Some(Self { front, nginx, _running: running, _folder: folder })
    }

    /// What comes of the bytes: at the front end, at nginx.
    pub fn ask(&self, bytes: &[u8]) -> (Told, Told) {
        std::thread::scope(|scope| {
            let front = scope.spawn(|| self.front.ask(bytes));
            let nginx = self.nginx.ask(bytes);
            (front.join().expect("it does not panic"), nginx)
        })
    }
}

fn find_nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("nginx")).find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "nginx is not installed");
        println!("skipped: nginx is not installed");
    }
    found
}

fn start_front(side: &Side) -> Front {
    let at = ListenAt::Unix(side.socket.clone());
    let mut settings = Settings { listeners: vec![Listen { at, is_tls: false }], threads: 1, ..Settings::default() };
    let wait = Duration::from_millis(WAIT_MS);
    (settings.connection.head, settings.connection.idle) = (wait, wait);
    let limits = ReleaseLimits { body_idle: wait, ..ReleaseLimits::default() };
    let release = Release {
        version: "1.0.0".parse().unwrap(),
        upstreams: vec![UpstreamOfPlan::new("one", Endpoint::Tcp(side.upstream.address))],
        limits,
        health: None,
    };
    let service = Service { name: "test/one".into(), releases: vec![release] };
    let plan =
        Plan { routes: vec![Route::to("/...", "test/one").unwrap()], services: vec![service], ..Plan::default() };
    Front::start(&settings, plan).unwrap()
}

/// Ended when this is dropped.
struct Nginx(Child);

impl Nginx {
    /// With the paths that its locations see: escapes undone, dots resolved, slashes as they are.
    fn start(program: &Path, folder: &Path, side: &Side) -> Self {
        let (own, socket, upstream) = (folder.display(), side.socket.display(), side.upstream.address);
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {own}/{name};")).join(" ");
        let configuration = format!(
            "daemon off; master_process off; pid {own}/pid; error_log stderr crit;
            events {{ worker_connections 256; }}
            http {{
                access_log off; {temporary}
                client_header_timeout {WAIT_MS}ms; client_body_timeout {WAIT_MS}ms; keepalive_timeout {WAIT_MS}ms;
                lingering_timeout {WAIT_MS}ms; client_max_body_size 0; large_client_header_buffers 8 64k;
                merge_slashes off; underscores_in_headers on;
                proxy_http_version 1.1; proxy_request_buffering off; proxy_set_header Host $host;
                server {{ listen unix:{socket}; location / {{ proxy_pass http://{upstream}/; }} }}
            }}"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(program).args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(&file).spawn();
        let mut own = Self(child.unwrap());
        let began = Instant::now();
        while UnixStream::connect(&side.socket).is_err() {
            assert!(own.0.try_wait().unwrap().is_none(), "nginx does not start");
            assert!(began.elapsed() < PATIENCE, "nginx does not listen");
            std::thread::yield_now();
        }
        own
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
