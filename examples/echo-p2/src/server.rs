//! The loop: waits for the listener and for every client, and serves whoever is ready.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;

use crate::client::Client;
use crate::poll::{self, Polled};

/// Connections at a time; further ones wait in the backlog.
const MAX_CLIENTS: usize = 1024;

/// Serves for ever.
pub fn run(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let is_full = clients.len() >= MAX_CLIENTS;
        let mut polled: Vec<Polled> = clients.iter().map(Client::polled).collect();
        if !is_full {
            polled.push(Polled::readable(listener.as_raw_fd()));
        }
        poll::wait(&mut polled)?;
        let mut ready = polled.iter();
        clients.retain_mut(|client| {
            let happened = ready.next().is_some_and(|polled| polled.happened());
            !happened || client.serve()
        });
        if ready.next().is_some_and(|polled| polled.happened()) {
            accept(listener, &mut clients)?;
        }
    }
}

fn accept(listener: &TcpListener, clients: &mut Vec<Client>) -> io::Result<()> {
    while clients.len() < MAX_CLIENTS {
        match listener.accept() {
            Ok((stream, _)) => clients.push(Client::new(stream)?),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // That of one client, which has left again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
