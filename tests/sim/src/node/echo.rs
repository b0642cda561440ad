//! A client of the echo server: sends bytes in pieces, half-closes, and must get exactly these bytes back.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use refrain_proxy::net::Stream as _;
use tokio::time::sleep;

use super::ECHO_PORT;
use super::life::Client;
use crate::check::flow::End;
use crate::dice::Dice;
use crate::net::socket::Socket;

/// The most bytes of a flow; several times what windows and buffers hold.
const MAX_BYTES: u64 = 80 * 1024;
const MAX_PIECE_BYTES: u64 = 6 * 1024;

/// The client's process.
pub struct Echo {
    client: Client,
}

impl Echo {
    /// A client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Runs for ever.
    ///
    /// # Errors
    /// Never.
    pub async fn run(mut self) -> turmoil::Result {
        loop {
            self.client.life.until_wanted().await;
            let Some(socket) = self.client.connect(ECHO_PORT).await else { continue };
            self.flow(&socket).await;
        }
    }

    async fn flow(&mut self, socket: &Socket) {
        let name = format!("{} echo {}", self.client.host, self.client.observed.new_writer());
        // Most flows are short, some fill every buffer.
        let most = if self.client.dice.percent(25) { MAX_BYTES } else { 600 };
        let bytes = self.client.dice.between(1, most);
        let (sent, got) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let moved = Cell::new(0_u64);
        let (writes, reads) = (self.client.dice.named("writes"), self.client.dice.named("reads"));
        self.client.dice.roll();
        let both = async {
            let (written, end) = tokio::join!(
                biased;
                send(socket, writes, bytes, &sent, &moved),
                receive(socket, reads, &got, &moved)
            );
            written.and(end)
        };
        let end = tokio::select! {
            biased;
            end = both => end,
            () = stands_still(self.client.patience, &moved) => None,
        };
        if end.is_none() {
            let _ = socket.reset_on_close();
        }
        self.client.observed.flow(&name, &sent.borrow(), &got.borrow(), end.map_or(End::Cut, |()| End::Orderly));
        if end.is_some() {
            self.client.life.did();
        }
    }
}

/// Sends so many bytes and ends; `None` when the connection broke.
async fn send(socket: &Socket, mut dice: Dice, bytes: u64, sent: &RefCell<Vec<u8>>, moved: &Cell<u64>) -> Option<()> {
    let pause = dice.between(0, 8);
    let mut left = bytes;
    while left > 0 {
        let count = dice.between(1, left.min(MAX_PIECE_BYTES));
        let piece: Vec<u8> = (0..count).map(|_| dice.roll() as u8).collect();
        sent.borrow_mut().extend(&piece);
        socket.write_all(&piece).await.ok()?;
        moved.set(moved.get() + 1);
        left -= count;
        sleep(dice.millis(0, pause)).await;
    }
    socket.shutdown_write().ok()
}

/// Takes what comes until the end; `None` when the connection broke.
async fn receive(socket: &Socket, mut dice: Dice, got: &RefCell<Vec<u8>>, moved: &Cell<u64>) -> Option<()> {
    let pause = if dice.percent(30) { dice.between(0, 10) } else { 0 };
    let mut buffer = vec![0; 4096];
    loop {
        match socket.read(&mut buffer).await.ok()? {
            0 => return Some(()),
            count => got.borrow_mut().extend(&buffer[..count]),
        }
        moved.set(moved.get() + 1);
        sleep(dice.millis(0, pause)).await;
    }
}

/// Returns when nothing has moved for so long.
async fn stands_still(patience: Duration, moved: &Cell<u64>) {
    loop {
        let before = moved.get();
        sleep(patience).await;
        if moved.get() == before {
            return;
        }
    }
}
