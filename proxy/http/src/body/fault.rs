//! What a client's body did, told to the one who answers the client: whether it moves, and what it did wrong. The
//! upstream sees only that the body ended.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::BodyError;
use crate::answer::Fault;

/// Written by the body, read by the task that answers.
#[derive(Debug, Default)]
pub(crate) struct FaultCell {
    fault: AtomicU8,
    frames: AtomicU32,
    bytes: AtomicU64,
}

const TOO_LARGE: u8 = 1;
const SLOW: u8 = 2;
const BROKEN: u8 = 3;

impl FaultCell {
    /// Notes the first error; later ones change nothing.
    pub(crate) fn note(&self, error: &BodyError) {
        let code = match error {
            BodyError::TooLarge { .. } => TOO_LARGE,
            BodyError::Idle { .. } | BodyError::Total { .. } => SLOW,
            BodyError::Broken(_) | BodyError::Failed(_) => BROKEN,
        };
        let _ = self.fault.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Bytes of data that came.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes that a frame came with so many bytes, or the end.
    pub(crate) fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// Differs from an earlier value if the body moved in between.
    pub(crate) fn frames(&self) -> u32 {
        self.frames.load(Ordering::Relaxed)
    }

    /// What to answer, if the client's body is to blame.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self.fault.load(Ordering::Relaxed) {
            TOO_LARGE => Some(Fault::BodyTooLarge),
            SLOW => Some(Fault::BodySlow),
            BROKEN => Some(Fault::BodyBroken),
            _ => None,
        }
    }
}
