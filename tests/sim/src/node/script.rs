//! A client of the key-value server that uses keys of its own alone, so that what it must be answered, byte for byte,
//! is what one single server answers to the same commands.

use refrain_proxy::net::Stream as _;
use tokio::time::sleep;

use super::STORE_PORT;
use super::guests::Guests;
use super::life::Client;
use super::reference;
use super::resp::command;
use crate::check::flow::End;
use crate::dice::Dice;
use crate::net::socket::Socket;

/// The port as the guest sees it.
const GUEST_PORT: u16 = 6379;
const MAX_COMMANDS: u64 = 30;

/// The client's process.
pub struct Script {
    client: Client,
    guests: Guests,
}

impl Script {
    /// A client.
    #[must_use]
    pub fn new(client: Client, guests: Guests) -> Self {
        Self { client, guests }
    }

    /// Runs for ever.
    ///
    /// # Errors
    /// Never.
    pub async fn run(mut self) -> turmoil::Result {
        loop {
            self.client.life.until_wanted().await;
            let Some(socket) = self.client.connect(STORE_PORT).await else { continue };
            self.flow(&socket).await;
        }
    }

    async fn flow(&mut self, socket: &Socket) {
        let number = self.client.observed.new_writer();
        let bytes = script(&mut self.client.dice, number);
        let mut dice = self.client.dice.named("pieces");
        self.client.dice.roll();
        let mut sent = 0;
        while sent < bytes.len() {
            let piece = dice.between(1, 400).min((bytes.len() - sent) as u64) as usize;
            let written = self.client.within(socket.write_all(&bytes[sent..sent + piece])).await;
            sent += piece;
            if !matches!(written, Some(Ok(()))) {
                break;
            }
            sleep(dice.millis(0, 5)).await;
        }
        let (mut got, mut buffer) = (Vec::new(), vec![0; 4096]);
        let end = loop {
            match self.client.within(socket.read(&mut buffer)).await {
                Some(Ok(0)) => break End::Orderly,
                Some(Ok(count)) => got.extend(&buffer[..count]),
                Some(Err(_)) | None => break End::Cut,
            }
        };
        if end == End::Cut {
            let _ = socket.reset_on_close();
        }
        let expected = reference::answers(&self.guests.store, GUEST_PORT, &bytes);
        let name = format!("{} script {number}", self.client.host);
        self.client.observed.flow(&name, &expected, &got, end);
        if end == End::Orderly {
            self.client.life.did();
        }
    }
}

/// Commands on keys that are this script's alone, the last of which ends the connection.
fn script(dice: &mut Dice, number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..dice.between(1, MAX_COMMANDS) {
        let key = format!("script{number}.{}", dice.below(4));
        let long = "x".repeat(dice.between(1, 900) as usize);
        let value = dice.between(1, 10_000).to_string();
        out.extend(match dice.below(12) {
            0 | 1 => command(&["SET", &key, &value]),
            2 => command(&["SET", &key, &long]),
            3 | 4 => command(&["GET", &key]),
            5 => command(&["INCRBY", &key, &value]),
            6 => command(&["APPEND", &key, &long]),
            7 => command(&["STRLEN", &key]),
            8 => command(&["DEL", &key]),
            9 => command(&["GETSET", &key, &value]),
            10 => command(&["ECHO", &long]),
            _ => command(&["NOSUCH", &value]),
        });
    }
    out.extend(command(&["QUIT"]));
    out
}
