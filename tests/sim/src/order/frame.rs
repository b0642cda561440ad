//! What proxies and members say to each other: frames of one size.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::check::acked::Write;

/// Bytes of a frame.
const FRAME_BYTES: usize = 25;
/// Frames that were read and not yet taken.
const MAX_UNREAD_FRAMES: usize = 64;

/// One message, either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Frame {
    /// A proxy wants an epoch; `nonce` names its wish.
    OpenEpoch { proxy: u64, nonce: u64 },
    /// A proxy asks how far its epoch is.
    Sync { epoch: u64 },
    /// A submission of `count` writes from `first` on.
    Submit { epoch: u64, number: u64, first: u64, count: u8 },
    /// The member leads and knows everything committed before.
    Leads { term: u64 },
    /// It does not lead; who does, or 0.
    NotLeader { leader: u64 },
    /// The epoch of a wish.
    Opened { nonce: u64, epoch: u64 },
    /// The epoch's submissions up to `last` are committed.
    Applied { epoch: u64, last: u64 },
    /// The epoch is over, or never was.
    Ended { epoch: u64 },
    /// Something of the epoch was not taken or not ordered: ask how far it is and submit again.
    Again { epoch: u64 },
}

impl Frame {
    fn fields(self) -> (u8, [u64; 3]) {
        match self {
            Self::OpenEpoch { proxy, nonce } => (1, [proxy, nonce, 0]),
            Self::Sync { epoch } => (2, [epoch, 0, 0]),
            Self::Submit { epoch, number, first, count } => (3, [epoch << 8 | u64::from(count), number, first]),
            Self::Leads { term } => (4, [term, 0, 0]),
            Self::NotLeader { leader } => (5, [leader, 0, 0]),
            Self::Opened { nonce, epoch } => (6, [nonce, epoch, 0]),
            Self::Applied { epoch, last } => (7, [epoch, last, 0]),
            Self::Ended { epoch } => (8, [epoch, 0, 0]),
            Self::Again { epoch } => (9, [epoch, 0, 0]),
        }
    }

    fn of(kind: u8, [a, b, c]: [u64; 3]) -> io::Result<Self> {
        Ok(match kind {
            1 => Self::OpenEpoch { proxy: a, nonce: b },
            2 => Self::Sync { epoch: a },
            3 => Self::Submit { epoch: a >> 8, number: b, first: c, count: (a & 0xff) as u8 },
            4 => Self::Leads { term: a },
            5 => Self::NotLeader { leader: a },
            6 => Self::Opened { nonce: a, epoch: b },
            7 => Self::Applied { epoch: a, last: b },
            8 => Self::Ended { epoch: a },
            9 => Self::Again { epoch: a },
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }

    /// Sends it.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn write(self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let (kind, fields) = self.fields();
        let mut bytes = [kind; FRAME_BYTES];
        for (into, field) in bytes[1..].chunks_exact_mut(8).zip(fields) {
            into.copy_from_slice(&field.to_le_bytes());
        }
        to.write_all(&bytes).await
    }

    /// Receives one.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut bytes = [0; FRAME_BYTES];
        from.read_exact(&mut bytes).await?;
        let mut fields = [0; 3];
        for (field, bytes) in fields.iter_mut().zip(bytes[1..].chunks_exact(8)) {
            *field = u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"));
        }
        Self::of(bytes[0], fields)
    }
}

/// Frames as they come in. A task of its own reads them, so that waiting for one with a deadline loses nothing; it
/// ends with this.
pub struct Frames {
    frames: mpsc::Receiver<io::Result<Frame>>,
    reader: AbortHandle,
}

impl Frames {
    /// Reads from `stream`, on the local task set.
    pub fn of(mut stream: impl AsyncRead + Unpin + 'static) -> Self {
        let (sender, frames) = mpsc::channel(MAX_UNREAD_FRAMES);
        let reader = tokio::task::spawn_local(async move {
            loop {
                let frame = Frame::read(&mut stream).await;
                let last = frame.is_err();
                if sender.send(frame).await.is_err() || last {
                    return;
                }
            }
        });
        Self { frames, reader: reader.abort_handle() }
    }

    /// The next one. Cancellation-safe.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn next(&mut self) -> io::Result<Frame> {
        self.frames.recv().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A write as the payload of a record.
#[must_use]
pub fn encode_write(write: Write) -> Vec<u8> {
    [&write.writer.to_le_bytes()[..], &write.number.to_le_bytes()[..]].concat()
}

/// The write in the payload of a record.
#[must_use]
pub fn decode_write(bytes: &[u8]) -> Option<Write> {
    let (writer, number) = bytes.split_at_checked(4)?;
    Some(Write {
        writer: u32::from_le_bytes(writer.try_into().ok()?),
        number: u64::from_le_bytes(number.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_writes_come_back_as_they_were() {
        let frames = [
            Frame::OpenEpoch { proxy: 1, nonce: u64::MAX },
            Frame::Sync { epoch: 2 },
            Frame::Submit { epoch: 3, number: 4, first: 5, count: 6 },
            Frame::Leads { term: 7 },
            Frame::NotLeader { leader: 8 },
            Frame::Opened { nonce: 9, epoch: 10 },
            Frame::Applied { epoch: 11, last: 12 },
            Frame::Ended { epoch: 13 },
            Frame::Again { epoch: 14 },
        ];
        for frame in frames {
            let (kind, fields) = frame.fields();
            assert_eq!(Frame::of(kind, fields).unwrap(), frame);
        }
        assert!(Frame::of(0, [0; 3]).is_err());
        let write = Write { writer: 3, number: 1 << 40 };
        assert_eq!(decode_write(&encode_write(write)), Some(write));
        assert_eq!(decode_write(&[1]), None);
    }
}
