//! HTTP/2 by its frames (RFC 9113), for what no client library sends.

use std::io::{Read, Write};

use refrain_front::Front;

use crate::support::Raw;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x01;
pub const END_HEADERS: u8 = 0x04;
pub const PADDED: u8 = 0x08;
/// A head that is all of its request.
pub const END: u8 = END_STREAM | END_HEADERS;

/// Errors that streams and connections end with.
pub const PROTOCOL: u32 = 1;
pub const FLOW: u32 = 3;
pub const SIZE: u32 = 6;
pub const REFUSED: u32 = 7;
pub const CANCEL: u32 = 8;
pub const CALM: u32 = 11;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers as literals that enter no table.
pub fn fields(lines: &[(&[u8], &[u8])]) -> Vec<u8> {
    lines.iter().flat_map(|(name, value)| [&[0], &text(name)[..], &text(value)].concat()).collect()
}

fn text(text: &[u8]) -> Vec<u8> {
    [&number(text.len(), 7), text].concat()
}

/// A number in HPACK, with so many bits in its first byte (RFC 7541, section 5.1).
pub fn number(value: usize, bits: u32) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![u8::try_from(value).unwrap()];
    }
    let (mut bytes, mut rest) = (vec![u8::try_from(most).unwrap()], value - most);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// A request's head with more lines.
pub fn head(method: &[u8], more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let plain: [(&[u8], &[u8]); 4] =
        [(b":method", method), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")];
    [fields(&plain), fields(more)].concat()
}

/// A whole request without a body.
pub fn asks(stream: u32) -> Vec<u8> {
    frame(HEADERS, END, stream, &head(b"GET", &[]))
}

pub fn connect(front: &Front) -> Raw {
    connect_with(front, &[])
}

/// With these settings.
pub fn connect_with(front: &Front, settings: &[u8]) -> Raw {
    let mut client = Raw::to(front);
    client.send(PREFACE).send(frame(SETTINGS, 0, 0, settings));
    client
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Came {
    /// The error of a frame that ends a stream or the connection.
    pub fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// The next frame; none once the connection has ended.
pub fn next(client: &mut impl Read) -> Option<Came> {
    let mut head = [0; 9];
    client.read_exact(&mut head).ok()?;
    let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
    client.read_exact(&mut payload).ok()?;
    let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
    Some(Came { kind: head[3], flags: head[4], stream, payload })
}

/// The next frame of this kind, which has to come.
pub fn next_of(client: &mut Raw, kind: u8) -> Came {
    loop {
        let came = next(&mut client.0).expect("the connection goes on");
        if came.kind == kind {
            return came;
        }
    }
}

/// Everything before is read by the other side: it answers a ping. What it sent meanwhile is returned.
pub fn ping(client: &mut Raw) -> Vec<Came> {
    client.send(frame(PING, 0, 0, b"is there"));
    let mut all = Vec::new();
    loop {
        let came = next(&mut client.0).expect("the connection goes on");
        if came.kind == PING && came.payload == b"is there" {
            return all;
        }
        all.push(came);
    }
}

/// The error with which the connection ends, which it has to.
pub fn goaway(client: &mut Raw) -> Option<u32> {
    let mut last = None;
    while let Some(came) = next(&mut client.0) {
        if came.kind == GOAWAY {
            last = Some(came.error());
        }
    }
    last
}

/// Sends this until the other side ends the connection, at most so often, and reads meanwhile; the error of the end.
pub fn flood(front: &Front, limit: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> Option<u32> {
    let client = connect(front);
    let mut reading = Raw(client.0.try_clone().unwrap());
    let reading = std::thread::spawn(move || goaway(&mut reading));
    let mut writing = client.0;
    for number in 0..limit {
        if reading.is_finished() || writing.write_all(&next(number)).is_err() {
            break;
        }
    }
    let _ = writing.shutdown(std::net::Shutdown::Write);
    reading.join().unwrap()
}
