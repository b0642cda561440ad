//! How a stream begins: a hello, and a welcome or a refusal.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use refrain_wire::stream::{Hello, HelloAnswer, RefusalCode};
use refrain_wire::{DecodeError, Generation, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::BoxStream;
use super::framed::Framed;

/// How long a greeting may take.
pub const GREETING_TIME: Duration = Duration::from_secs(5);

/// Why a stream did not begin.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// The stream broke.
    #[error("the stream broke during the greeting")]
    Io(#[from] io::Error),
    /// What was read is no greeting.
    #[error("no greeting")]
    Bad(#[from] DecodeError),
    /// The greeting took too long.
    #[error("no greeting within {GREETING_TIME:?}")]
    Slow,
    /// The other node does not want the stream.
    #[error("refused ({code:?}): {reason}")]
    Refused {
        /// Why.
        code: RefusalCode,
        /// Why, in words.
        reason: String,
    },
}

/// A stream that was welcomed.
pub struct Outgoing {
    /// The node that answered.
    pub node: NodeId,
    /// The history that it knows; all zero when it knows none yet.
    pub generation: Generation,
    /// The stream.
    pub framed: Framed,
}

/// Greets on a stream that was just opened.
///
/// # Errors
/// When the other end refuses or does not answer.
pub async fn greet(mut stream: BoxStream, hello: &Hello) -> Result<Outgoing, GreetingError> {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    let answered = async {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        read(&mut stream, HelloAnswer::decode).await
    };
    let (answer, buffer) = tokio::time::timeout(GREETING_TIME, answered).await.map_err(|_| GreetingError::Slow)??;
    match answer {
        HelloAnswer::Welcome { node, generation } => {
            Ok(Outgoing { node, generation, framed: Framed { stream, buffer, role: hello.role } })
        }
        HelloAnswer::Refused { code, reason } => Err(GreetingError::Refused { code, reason }),
    }
}

/// A stream that somebody opened, not answered yet.
pub struct Incoming {
    /// What the caller said.
    pub hello: Hello,
    stream: BoxStream,
    buffer: BytesMut,
}

impl Incoming {
    /// Reads the hello of a stream that was just accepted. What is no hello is refused.
    ///
    /// # Errors
    /// When there is no hello in time.
    pub async fn read(mut stream: BoxStream) -> Result<Self, GreetingError> {
        let hello = tokio::time::timeout(GREETING_TIME, read(&mut stream, Hello::decode));
        match hello.await.map_err(|_| GreetingError::Slow)? {
            Ok((hello, buffer)) => Ok(Self { hello, stream, buffer }),
            Err(error) => {
                if let GreetingError::Bad(bad) = &error {
                    let code = match bad {
                        DecodeError::Unknown { what: "hello version", .. } => RefusalCode::Version,
                        _ => RefusalCode::Malformed,
                    };
                    answer(&mut stream, &HelloAnswer::Refused { code, reason: bad.to_string() }).await;
                }
                Err(error)
            }
        }
    }

    /// Refuses the stream and closes it.
    pub async fn refuse(mut self, code: RefusalCode, reason: String) {
        answer(&mut self.stream, &HelloAnswer::Refused { code, reason }).await;
    }

    /// Welcomes the caller. `generation` is the history that `node` knows, all zero when it knows none yet.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn welcome(mut self, node: NodeId, generation: Generation) -> io::Result<Framed> {
        let mut bytes = Vec::new();
        HelloAnswer::Welcome { node, generation }.encode(&mut bytes);
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        Ok(Framed { stream: self.stream, buffer: self.buffer, role: self.hello.role })
    }
}

async fn read<T>(
    stream: &mut BoxStream,
    decode: impl Fn(&mut BytesMut) -> Result<Option<T>, DecodeError>,
) -> Result<(T, BytesMut), GreetingError> {
    let mut buffer = BytesMut::with_capacity(1024);
    loop {
        if let Some(value) = decode(&mut buffer)? {
            return Ok((value, buffer));
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// Says it to whoever still listens; the stream is closed either way.
async fn answer(stream: &mut BoxStream, answer: &HelloAnswer) {
    let mut bytes = Vec::new();
    answer.encode(&mut bytes);
    let said = tokio::time::timeout(GREETING_TIME, async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    });
    if let Ok(Err(error)) = said.await {
        tracing::debug!(%error, "a refusal could not be sent");
    }
}
