//! How far an engine is with a bundle that a group is to run.

use bytes::BufMut;

use crate::DecodeError;
use crate::limits::MAX_TEXT_BYTES;
use crate::reader::{Reader, put_text};

const FETCHING: u8 = 1;
const COMPILING: u8 = 2;
const READY: u8 = 3;
const FAILED: u8 = 4;

/// How far an engine is with a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparation {
    /// It looks for it, at home and at other nodes.
    Fetching,
    /// It has it and compiles the module.
    Compiling,
    /// Replicas can run it.
    Ready,
    /// It cannot be run there; why, in words. What is above 512 bytes is cut.
    Failed(String),
}

impl Preparation {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Fetching => out.put_u8(FETCHING),
            Self::Compiling => out.put_u8(COMPILING),
            Self::Ready => out.put_u8(READY),
            Self::Failed(why) => {
                out.put_u8(FAILED);
                put_text(out, why, MAX_TEXT_BYTES);
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8("preparation")? {
            FETCHING => Self::Fetching,
            COMPILING => Self::Compiling,
            READY => Self::Ready,
            FAILED => Self::Failed(reader.text("reason of a failed preparation", MAX_TEXT_BYTES)?),
            other => return Err(DecodeError::Unknown { what: "preparation", value: u64::from(other) }),
        })
    }
}
