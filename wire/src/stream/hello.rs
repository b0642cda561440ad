//! The greeting that a stream begins with: who calls, what for, and whether that is welcome.
//!
//! ```text
//! hello:   "RFRN" | version u16 | role u8 | cluster 16 | generation 16 | node u64 | crc32c u32
//! answer:  "RFRA" | code u8 | length u16 | crc32c u32 | body (length bytes)
//! ```
//!
//! The checksum covers everything else. Code 0 is a welcome and its body is `node u64 | generation 16`; any other
//! refuses, and its body is the reason in words. Magic and version of the hello, and the whole answer, are the same in
//! every version, so that nodes of different versions can tell each other so.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Role;
use crate::limits::MAX_TEXT_BYTES;
use crate::reader::{DecodeError, Reader, bounded, cut_text};
use crate::{ClusterId, Generation, NodeId};

/// The version of everything that streams carry.
pub const STREAM_VERSION: u16 = 2;
/// Bytes of a hello.
pub const HELLO_BYTES: usize = 51;

const HELLO_MAGIC: &[u8; 4] = b"RFRN";
const ANSWER_MAGIC: &[u8; 4] = b"RFRA";
const ANSWER_HEADER_BYTES: usize = 11;
const WELCOME_BYTES: usize = 24;
const WELCOME: u8 = 0;

/// The first bytes on a stream, from the node that opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// [`STREAM_VERSION`]; no other is decoded.
    pub version: u16,
    /// What the stream is for.
    pub role: Role,
    /// The cluster that the caller belongs to.
    pub cluster: ClusterId,
    /// The history that the caller knows; all zero when it knows none yet.
    pub generation: Generation,
    /// The caller.
    pub node: NodeId,
}

impl Hello {
    /// A hello in this version.
    #[must_use]
    pub fn new(role: Role, cluster: ClusterId, generation: Generation, node: NodeId) -> Self {
        Self { version: STREAM_VERSION, role, cluster, generation, node }
    }

    /// Appends the hello's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_slice(HELLO_MAGIC);
        out.put_u16_le(self.version);
        out.put_u8(self.role as u8);
        out.put_slice(&self.cluster.0);
        out.put_slice(&self.generation.0);
        out.put_u64_le(self.node.0);
        let crc = crc32c::crc32c(&out[start..]);
        out.put_u32_le(crc);
    }

    /// Takes the hello out of `buffer`; `None` when it is not there whole. What does not begin like one is refused at
    /// its first wrong byte.
    ///
    /// # Errors
    /// When it is no hello, or one of another version ("hello version").
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        magic("hello magic", buffer, HELLO_MAGIC)?;
        if let Some(version) = buffer.get(4..6) {
            let version = u16::from_le_bytes([version[0], version[1]]);
            if version != STREAM_VERSION {
                return Err(DecodeError::Unknown { what: "hello version", value: u64::from(version) });
            }
        }
        if buffer.len() < HELLO_BYTES {
            return Ok(None);
        }
        let bytes = buffer.split_to(HELLO_BYTES).freeze();
        let computed = crc32c::crc32c(&bytes[..HELLO_BYTES - 4]);
        let mut reader = Reader::new(&bytes);
        reader.array::<4>("hello magic")?;
        let version = reader.u16("hello version")?;
        let role = reader.u8("stream role")?;
        let cluster = ClusterId(reader.array("hello cluster")?);
        let generation = Generation(reader.array("hello generation")?);
        let node = NodeId(reader.u64("hello node")?);
        checksum("hello", reader.u32("hello checksum")?, computed)?;
        Ok(Some(Self { version, role: Role::from_u8(role)?, cluster, generation, node }))
    }
}

/// Why a stream was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RefusalCode {
    /// The hello cannot be read.
    Malformed = 1,
    /// The hello is of another version.
    Version = 2,
    /// The caller belongs to another cluster.
    Cluster = 3,
    /// The caller knows another history.
    Generation = 4,
    /// The node does not do what the stream is for.
    Role = 5,
    /// The caller is not a node of the cluster, or was removed.
    Node = 6,
    /// Too many streams are open; try again later.
    Busy = 7,
    /// The node is starting or stopping; try again later.
    Closed = 8,
}

impl RefusalCode {
    fn from_u8(value: u8) -> Result<Self, DecodeError> {
        use RefusalCode as R;
        [R::Malformed, R::Version, R::Cluster, R::Generation, R::Role, R::Node, R::Busy, R::Closed]
            .into_iter()
            .find(|code| *code as u8 == value)
            .ok_or(DecodeError::Unknown { what: "answer code", value: u64::from(value) })
    }
}

/// What the other node says to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelloAnswer {
    /// Frames may follow.
    Welcome {
        /// The node that answers.
        node: NodeId,
        /// The history that it knows; all zero when it knows none yet.
        generation: Generation,
    },
    /// The stream is closed after this.
    Refused {
        /// Why.
        code: RefusalCode,
        /// Why, in words; what is above 512 bytes is cut.
        reason: String,
    },
}

impl HelloAnswer {
    /// Appends the answer's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Welcome { node, generation } => {
                let mut body = [0; WELCOME_BYTES];
                body[..8].copy_from_slice(&node.0.to_le_bytes());
                body[8..].copy_from_slice(&generation.0);
                put_answer(out, WELCOME, &body);
            }
            Self::Refused { code, reason } => put_answer(out, *code as u8, cut_text(reason, MAX_TEXT_BYTES).as_bytes()),
        }
    }

    /// Takes the answer out of `buffer`; `None` when it is not there whole.
    ///
    /// # Errors
    /// When it is no answer.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        magic("answer magic", buffer, ANSWER_MAGIC)?;
        if buffer.len() < ANSWER_HEADER_BYTES {
            return Ok(None);
        }
        let code = buffer[4];
        let length = usize::from(u16::from_le_bytes([buffer[5], buffer[6]]));
        bounded("answer length", length, MAX_TEXT_BYTES)?;
        if buffer.len() < ANSWER_HEADER_BYTES + length {
            return Ok(None);
        }
        let found = u32::from_le_bytes([buffer[7], buffer[8], buffer[9], buffer[10]]);
        let before = crc32c::crc32c(&buffer[..7]);
        buffer.advance(ANSWER_HEADER_BYTES);
        let body = buffer.split_to(length).freeze();
        checksum("answer", found, crc32c::crc32c_append(before, &body))?;
        Self::decode_body(code, &body).map(Some)
    }

    fn decode_body(code: u8, body: &Bytes) -> Result<Self, DecodeError> {
        if code == WELCOME {
            let mut reader = Reader::new(body);
            let node = NodeId(reader.u64("answer node")?);
            let generation = Generation(reader.array("answer generation")?);
            reader.end("answer")?;
            return Ok(Self::Welcome { node, generation });
        }
        let reason = String::from_utf8(body.to_vec()).map_err(|_| DecodeError::NotText { what: "answer reason" })?;
        Ok(Self::Refused { code: RefusalCode::from_u8(code)?, reason })
    }
}

fn put_answer(out: &mut Vec<u8>, code: u8, body: &[u8]) {
    let start = out.len();
    out.put_slice(ANSWER_MAGIC);
    out.put_u8(code);
    out.put_u16_le(body.len() as u16);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), body);
    out.put_u32_le(crc);
    out.put_slice(body);
}

/// Checks as much of the magic as is there.
fn magic(what: &'static str, buffer: &[u8], magic: &[u8; 4]) -> Result<(), DecodeError> {
    let there = buffer.len().min(magic.len());
    if buffer[..there] == magic[..there] {
        return Ok(());
    }
    let mut wide = [0; 8];
    wide[..there].copy_from_slice(&buffer[..there]);
    Err(DecodeError::Unknown { what, value: u64::from_le_bytes(wide) })
}

fn checksum(what: &'static str, found: u32, computed: u32) -> Result<(), DecodeError> {
    if computed != found {
        return Err(DecodeError::Checksum { what, found, computed });
    }
    Ok(())
}
