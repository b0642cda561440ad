//! The example servers in two replicas, driven as a proxy would: windows, credits, and equal digests all along.

mod support;

use bytes::Bytes;
use refrain_engine::TurnOutcome;
use refrain_engine::replica::RunLimits;
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_wire::{Control, EffectKind, Record, Serial};
use support::{Rig, blueprint, exit_reason, lines, open, platform};

const KV: &[u8] = include_bytes!("../../examples/kv-server/kv-server.wasm");
const IMAGES: &[u8] = include_bytes!("../../examples/image-server/image-server.wasm");
const LIMITS: RunLimits =
    RunLimits { memory_bytes: 256 << 20, table_elements: 1_000_000, fuel_per_turn: Some(10_000_000_000) };
const WINDOW: u64 = 1 << 20;
const RECORD: usize = 256 * 1024;
/// Records of data in one batch, so that it stays below 1 MiB.
const RECORDS: usize = 3;

fn config(program: &str, port: u16) -> GuestConfig {
    GuestConfig {
        args: vec![program.into(), b"--port".to_vec(), port.to_string().into_bytes()],
        ports: vec![GuestPort { port, datagram: false, pass: false }],
        max_descriptors: 24_000,
        max_flows: 20_000,
        files_bytes: 256 << 20,
        ..support::config()
    }
}

/// One client at two replicas that must agree.
struct Client {
    rigs: [Rig; 2],
    serial: u32,
    port: u16,
    /// Bytes of the client's stream so far, and how many of them the guest has said to have taken.
    sent: u64,
    consumed: u64,
    /// Bytes of the guest's stream so far, and how many of them the guest knows to be delivered.
    received: Vec<u8>,
    told: u64,
    finished: bool,
}

impl Client {
    fn new(module: &[u8], program: &str, port: u16) -> Self {
        let platform = platform();
        let blueprint = blueprint(&platform, module, config(program, port), LIMITS);
        let rigs = [0, 1].map(|seat| Rig::new(blueprint.clone(), seat));
        let (received, serial) = (Vec::new(), 0);
        let mut client = Self { rigs, serial, port, sent: 0, consumed: 0, received, told: 0, finished: false };
        let outcome = client.turn(&[]);
        let listens = outcome.effects.effects.iter().find(|effect| effect.entry.kind == EffectKind::Listen);
        assert_eq!(listens.map(|effect| effect.entry.offset), Some(u64::from(port)), "{:?}", lines(&outcome));
        client
    }

    fn connect(&mut self) {
        self.serial += 1;
        (self.sent, self.consumed, self.told, self.finished) = (0, 0, 0, false);
        self.received.clear();
        self.turn(&[open(self.serial, self.port)]);
    }

    fn turn(&mut self, records: &[Record]) -> TurnOutcome {
        let [one, two] = &mut self.rigs;
        let (outcome, other) = (one.turn(records), two.turn(records));
        assert_eq!(outcome.effects, other.effects);
        assert_eq!((&outcome.votes, outcome.after), (&other.votes, other.after));
        assert_eq!(exit_reason(&outcome), None, "{:?}", lines(&outcome));
        for effect in &outcome.effects.effects {
            match effect.entry.kind {
                EffectKind::Bytes => {
                    assert_eq!(effect.entry.offset, self.received.len() as u64, "each byte once, in order");
                    self.received.extend_from_slice(&effect.payload);
                }
                EffectKind::Consumed => {
                    assert!(effect.entry.offset > self.consumed && effect.entry.offset <= self.sent);
                    self.consumed = effect.entry.offset;
                }
                EffectKind::Finish => self.finished = true,
                EffectKind::Reset => panic!("the flow was reset"),
                _ => {}
            }
        }
        outcome
    }

    /// Sends all of `bytes`, never beyond the window, taking what comes back.
    fn send(&mut self, mut bytes: &[u8]) {
        let mut idle = 0;
        while !bytes.is_empty() {
            let mut records = Vec::new();
            for _ in 0..RECORDS {
                let room = usize::try_from(self.consumed + WINDOW - self.sent).unwrap();
                let (now, later) = bytes.split_at(bytes.len().min(RECORD).min(room));
                if now.is_empty() {
                    break;
                }
                let delivered = self.received.len() as u64 - self.told;
                self.told += delivered;
                self.sent += now.len() as u64;
                bytes = later;
                records.push(Record::Data {
                    serial: Serial(self.serial),
                    delivered,
                    bytes: Bytes::copy_from_slice(now),
                });
            }
            idle = if records.is_empty() { idle + 1 } else { 0 };
            assert!(idle < 10, "the window stays shut at {} of {}", self.consumed, self.sent);
            self.turn(&records);
        }
    }

    /// Gives credit for half a window at a time until `done`.
    fn receive(&mut self, done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        while !done(&self.received) {
            let delivered = self.received.len() as u64 - self.told;
            assert!(delivered >= WINDOW / 2, "stuck after {} bytes: {:?}", self.received.len(), self.finished);
            self.told += delivered;
            self.turn(&[Record::Credit { serial: Serial(self.serial), delivered }]);
        }
        std::mem::take(&mut self.received)
    }

    /// One request on a connection of its own.
    fn request(&mut self, head: &str, body: &[u8]) -> (String, Vec<u8>) {
        self.connect();
        self.send(head.as_bytes());
        self.send(body);
        let whole = |bytes: &[u8]| head_of(bytes).is_some_and(|(_, length, at)| bytes.len() >= at + length);
        let answer = self.receive(whole);
        let (head, _, at) = head_of(&answer).expect("it is whole");
        (head, answer[at..].to_vec())
    }

    fn audit(&mut self) {
        let outcome = self.turn(&[Record::Control(Control::Audit)]);
        assert!(outcome.effects.effects.iter().any(|effect| effect.entry.kind == EffectKind::Audit));
    }
}

/// The head of an HTTP response, the length of its body and where that begins.
fn head_of(bytes: &[u8]) -> Option<(String, usize, usize)> {
    let at = bytes.windows(4).take(4096).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..at].to_vec()).ok()?;
    let length = head.to_lowercase().split("content-length: ").nth(1).map_or(0, |rest| {
        rest.split("\r\n").next().and_then(|number| number.parse().ok()).expect("a length is a number")
    });
    Some((head, length, at))
}

#[test]
fn the_kv_server_keeps_what_it_is_given() {
    let mut client = Client::new(KV, "kv-server", 6379);
    client.connect();
    let mut ask = |command: &[u8], answer: &[u8]| {
        client.received.clear();
        let delivered = 0;
        let bytes = Bytes::copy_from_slice(command);
        // The answers are short: they stay below the buffer without any credit.
        let start = client.sent;
        client.sent += command.len() as u64;
        let [one, two] = &mut client.rigs;
        let record = [Record::Data { serial: Serial(client.serial), delivered, bytes }];
        let (a, b) = (one.turn(&record), two.turn(&record));
        assert_eq!((&a.effects, a.after), (&b.effects, b.after));
        let sent = support::sent(&a);
        assert_eq!(String::from_utf8_lossy(&sent), String::from_utf8_lossy(answer), "after {start} bytes");
    };
    ask(b"PING\r\n", b"+PONG\r\n");
    ask(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n", b"+OK\r\n");
    ask(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$5\r\nvalue\r\n");
    ask(b"*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n", b"$-1\r\n");
    ask(
        b"INCR n\r\nINCR n\r\nINCR k\r\nGET n\r\n",
        &[&b":1\r\n:2\r\n"[..], b"-ERR value is not an integer or out of range\r\n", b"$1\r\n2\r\n"].concat(),
    );
    ask(b"*2\r\n$3\r\nGE", b"");
    ask(b"T\r\n$1\r\nn\r\n", b"$1\r\n2\r\n");
    ask(b"SET gone x EX 1\r\nTTL gone\r\n", b"+OK\r\n:1\r\n");
    client.audit();
    client.rigs.iter_mut().for_each(|rig| rig.micros += 2_000_000);
    let outcome = client.turn(&[]);
    assert!(support::sent(&outcome).is_empty());
    client.received.clear();
    let expired = Record::Data { serial: Serial(1), delivered: 0, bytes: Bytes::from_static(b"GET gone\r\n") };
    let [one, two] = &mut client.rigs;
    let (a, b) = (one.turn(std::slice::from_ref(&expired)), two.turn(&[expired]));
    assert_eq!((support::sent(&a), a.after), (b"$-1\r\n".to_vec(), b.after), "it expired in log time");
}

#[test]
fn the_image_server_takes_and_gives_ten_megabytes() {
    let mut client = Client::new(IMAGES, "image-server", 8080);
    let image: Vec<u8> = (0..10_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let put = format!("PUT /lake.jpg HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", image.len());
    let (head, _) = client.request(&put, &image);
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    client.audit();
    let (head, body) = client.request("GET /lake.jpg HTTP/1.1\r\nHost: a\r\n\r\n", b"");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body == image, "byte for byte");
    client.audit();
    let (head, body) = client.request("GET /lake.jpg HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9\r\n\r\n", b"");
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!(body, image[5..10]);
}
