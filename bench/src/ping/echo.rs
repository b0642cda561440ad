//! What is said to an echo server: 64 bytes, which come back.

use anyhow::{Result, bail};

use super::Exchange;

/// Bytes of one request and of its answer.
pub const MESSAGE_BYTES: usize = 64;

/// The exchange.
pub struct Echo;

impl Exchange for Echo {
    /// Different for every connection and request, so that an answer to another one is noticed.
    fn request(&self, connection: usize, sequence: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&(connection as u64).to_le_bytes());
        request.extend_from_slice(&(sequence as u64).to_le_bytes());
        request.resize(MESSAGE_BYTES, 0x2e);
    }

    fn is_answer(&self, request: &[u8], got: &[u8]) -> Result<bool> {
        if got.len() < request.len() {
            return Ok(false);
        }
        if request != got {
            bail!("the echo is not what was sent");
        }
        Ok(true)
    }
}
