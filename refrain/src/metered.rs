//! A net between nodes that counts: open streams, and bytes both ways.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use refrain_sequencer::net::{BoxFuture, BoxStream, Listener, Net};
use refrain_telemetry::metrics::StreamMetrics;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Another net, counted.
pub(crate) struct Metered {
    net: Arc<dyn Net>,
    metrics: StreamMetrics,
}

impl Metered {
    pub(crate) fn over(net: Arc<dyn Net>, metrics: StreamMetrics) -> Arc<dyn Net> {
        Arc::new(Self { net, metrics })
    }
}

impl Net for Metered {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move { Ok(Counted::around(self.net.connect(address).await?, &self.metrics)) })
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (listener, metrics) = (self.net.bind(address).await?, self.metrics.clone());
            Ok(Box::new(MeteredListener { listener, metrics }) as Box<dyn Listener>)
        })
    }
}

struct MeteredListener {
    listener: Box<dyn Listener>,
    metrics: StreamMetrics,
}

impl Listener for MeteredListener {
    fn local_address(&self) -> io::Result<String> {
        self.listener.local_address()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            Ok((Counted::around(stream, &self.metrics), peer))
        })
    }
}

struct Counted {
    stream: BoxStream,
    metrics: StreamMetrics,
}

impl Counted {
    fn around(stream: BoxStream, metrics: &StreamMetrics) -> BoxStream {
        metrics.open.inc();
        Box::new(Self { stream, metrics: metrics.clone() })
    }

    fn sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &written {
            self.metrics.sent_bytes.inc_by(*count as u64);
        }
        written
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.open.dec();
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.metrics.received_bytes.inc_by((buf.filled().len() - before) as u64);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use refrain_sequencer::net::Tcp;
    use refrain_telemetry::{Identity, Telemetry};
    use refrain_wire::{ClusterId, NodeId};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn streams_and_their_bytes_are_counted_at_both_ends() {
        let identity = Identity { cluster: ClusterId([1; 16]), node: NodeId(1), version: "0" };
        let metrics = Telemetry::off(&identity).metrics().streams.clone();
        let net = Metered::over(Arc::new(Tcp), metrics.clone());
        let mut listener = net.bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().unwrap();
        let (near, far) = tokio::join!(net.connect(&address), listener.accept());
        let (mut near, (mut far, _)) = (near.unwrap(), far.unwrap());
        assert_eq!(metrics.open.get(), 2);
        near.write_all(&[7; 1000]).await.unwrap();
        far.read_exact(&mut [0; 1000]).await.unwrap();
        assert_eq!((metrics.sent_bytes.get(), metrics.received_bytes.get()), (1000, 1000));
        drop((near, far));
        assert_eq!(metrics.open.get(), 0);
    }
}
