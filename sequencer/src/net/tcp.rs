//! TCP by tokio, without Nagle's delay.

use std::io;

use tokio::net::{TcpListener, TcpStream};

use super::{BoxFuture, BoxStream, Listener, Net};

/// The network of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Net for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move { boxed(TcpStream::connect(address).await?) })
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(TcpListener::bind(address).await?) as Box<dyn Listener>) })
    }
}

fn boxed(stream: TcpStream) -> io::Result<BoxStream> {
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

impl Listener for TcpListener {
    fn local_address(&self) -> io::Result<String> {
        Ok(self.local_addr()?.to_string())
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let (stream, peer) = TcpListener::accept(self).await?;
            Ok((boxed(stream)?, peer.to_string()))
        })
    }
}
