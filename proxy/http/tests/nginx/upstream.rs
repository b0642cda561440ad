//! An upstream that writes down every request that it gets, whole or not, and whatever comes after it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Long enough for anything that should happen; reached only by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of a head.
const HEAD_BYTES: usize = 1 << 20;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// The name alone, in small letters.
    pub host: String,
    pub body: Vec<u8>,
    /// Its end came too.
    pub is_whole: bool,
}

#[derive(Default)]
struct State {
    /// Connections that were accepted and have not ended.
    open: usize,
    seen: Vec<Seen>,
}

#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Upstream {
    /// It answers each request with 200 and ends the connection, so that each connection should bring one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let accepting = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                accepting.state.0.lock().unwrap().open += 1;
                let own = accepting.clone();
                std::thread::spawn(move || own.serve(stream.unwrap()));
            }
        });
        upstream
    }

    fn serve(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        if let Some(seen) = read_request(&mut stream, &mut rest) {
            let (is_whole, method, bytes) = (seen.is_whole, seen.method.clone(), seen.body.len());
            self.state.0.lock().unwrap().seen.push(seen);
            if is_whole {
                let head = format!("X-Seen: {method} {bytes}\r\nConnection: close\r\nContent-Length: 0");
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut rest);
            }
            if !rest.is_empty() {
                let body = rest;
                let (method, target, host) = ("after the request".into(), String::new(), String::new());
                self.state.0.lock().unwrap().seen.push(Seen { method, target, host, body, is_whole: true });
            }
        }
        self.state.0.lock().unwrap().open -= 1;
        self.state.1.notify_all();
    }

    /// Everything that came since the last time. What is under way ends first: the caller has seen that nothing more is
    /// sent and that no connection waits to be accepted.
    pub fn take(&self) -> Vec<Seen> {
        let state = self.state.0.lock().unwrap();
        let (mut state, waited) = self.state.1.wait_timeout_while(state, PATIENCE, |state| state.open > 0).unwrap();
        assert!(!waited.timed_out(), "a connection to the upstream does not end");
        std::mem::take(&mut state.seen)
    }
}

/// Reads a request by the strict grammar; `rest` is what was read beyond its end. None if not a byte came.
fn read_request(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES {
        match next(stream) {
            Some(byte) => head.push(byte),
            None => break,
        }
    }
    if head.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.lines().next().unwrap_or("").split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let host = field("host").unwrap_or_default().to_ascii_lowercase();
    let end = host.find(']').map_or_else(|| host.find(':'), |end| Some(end + 1)).unwrap_or(host.len());
    let host = host[..end].trim_end_matches('.').to_owned();
    let mut seen = Seen { method, target, host, body: Vec::new(), is_whole: false };
    seen.is_whole = head.ends_with(b"\r\n\r\n")
        && match (field("transfer-encoding"), field("content-length")) {
            (Some(_), None) => read_chunks(stream, &mut seen.body),
            (None, Some(length)) => read_length(stream, length.parse().unwrap(), &mut seen.body),
            (None, None) => true,
            (Some(_), Some(_)) => panic!("an upstream never gets both: {text}"),
        };
    rest.clear();
    Some(seen)
}

fn next(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    matches!(stream.read(&mut byte), Ok(1)).then_some(byte[0])
}

fn read_length(stream: &mut TcpStream, length: u64, body: &mut Vec<u8>) -> bool {
    let read = Read::take(stream, length).read_to_end(body);
    read.is_ok_and(|read| read as u64 == length)
}

fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(next(stream)?);
    }
    line.truncate(line.len() - 2);
    Some(String::from_utf8(line).expect("what is sent on is plain text"))
}

fn read_chunks(stream: &mut TcpStream, body: &mut Vec<u8>) -> bool {
    loop {
        let Some(line) = read_line(stream) else { return false };
        let length = u64::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("a size that is sent on is {line:?}"));
        if length == 0 {
            break;
        }
        if !read_length(stream, length, body) || read_line(stream).as_deref() != Some("") {
            return false;
        }
    }
    // Trailers, and the empty line.
    loop {
        match read_line(stream).as_deref() {
            Some("") => return true,
            Some(_) => {}
            None => return false,
        }
    }
}
