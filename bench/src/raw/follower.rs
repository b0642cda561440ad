//! A follower: writes what the leader sends, and says so.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

use crate::journal::Journal;

/// Before each batch: its number and its length.
pub const HEAD_BYTES: usize = 12;
/// The number of the last batch that is on the disk.
pub const ACK_BYTES: usize = 8;
/// As much as all clients can have under way, and more.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// The head of a batch.
pub fn head(number: u64, batch: &[u8]) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..].copy_from_slice(&(batch.len() as u32).to_le_bytes());
    head
}

/// Follows until the leader closes the connection.
pub fn follow(mut leader: TcpStream, mut journal: Journal) -> Result<()> {
    let (mut head, mut batch) = ([0; HEAD_BYTES], Vec::new());
    loop {
        match leader.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error).context("cannot read a batch"),
        }
        let (number, len) = head.split_at(ACK_BYTES);
        let len = len.iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte));
        ensure!(len <= MAX_BATCH_BYTES, "a batch has {len} bytes, the limit is {MAX_BATCH_BYTES}");
        batch.resize(len, 0);
        leader.read_exact(&mut batch).context("cannot read a batch")?;
        journal.append(&batch)?;
        leader.write_all(number).context("cannot acknowledge a batch")?;
    }
}
