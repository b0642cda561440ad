//! A client of the key-value server: reads and writes keys that others read and write too, and appends to a list that
//! all append to.

use tokio::time::{sleep, timeout};

use super::STORE_PORT;
use super::life::Client;
use super::observed::{Ask, text_of};
use super::resp::{Reply, command, take_reply};
use crate::check::acked::Write;
use crate::check::linear::key_value::Step;
use crate::net::socket::Socket;
use refrain_proxy::net::Stream as _;

/// Keys that all clients share.
const KEYS: u32 = 6;
/// Where all append to.
const LIST: &str = "list";
/// Of a hundred connections so many end after each round.
const LEAVES_PERCENT: u64 = 4;

/// The client's process.
pub struct Store {
    client: Client,
    /// The most commands that are on their way at once.
    pipelined: u64,
    /// The longest pause between rounds, in milliseconds.
    pause: u64,
}

/// Why a connection was left.
struct Left(String);

fn words_of(ask: &Ask) -> Vec<u8> {
    let key = |key: u32| format!("key{key}");
    match ask {
        Ask::Key(name, Step::Get(_)) => command(&["GET", &key(*name)]),
        Ask::Key(name, Step::Set(value)) => command(&["SET", &key(*name), &value.to_string()]),
        Ask::Key(name, Step::Delete(_)) => command(&["DEL", &key(*name)]),
        Ask::Key(name, Step::Increment(_)) => command(&["INCR", &key(*name)]),
        Ask::Append(write) => command(&["APPEND", LIST, &text_of(*write)]),
    }
}

impl Store {
    /// A client.
    #[must_use]
    pub fn new(mut client: Client) -> Self {
        let (pipelined, pause) = (client.dice.between(1, 4), client.dice.between(0, 30));
        Self { client, pipelined, pause }
    }

    /// Runs for ever.
    ///
    /// # Errors
    /// Never.
    pub async fn run(mut self) -> turmoil::Result {
        loop {
            self.client.life.until_wanted().await;
            let Some(socket) = self.client.connect(STORE_PORT).await else { continue };
            let served =
                if self.client.life.goes_on() { self.session(&socket).await } else { self.look(&socket).await };
            if let Err(Left(why)) = served {
                // What is still on its way is given up; whether it happens is not known.
                let _ = socket.reset_on_close();
                self.client.note(format_args!("leaves: {why}"));
            }
        }
    }

    async fn session(&mut self, socket: &Socket) -> Result<(), Left> {
        let writer = self.client.observed.new_writer();
        let (mut input, mut number) = (Vec::new(), 0);
        while self.client.life.goes_on() && !self.client.dice.percent(LEAVES_PERCENT) {
            let count = self.client.dice.between(1, self.pipelined);
            let asks: Vec<Ask> = (0..count).map(|_| self.draw(writer, &mut number)).collect();
            self.round(socket, &mut input, asks).await?;
            sleep(self.client.dice.millis(0, self.pause)).await;
        }
        Ok(())
    }

    /// Sends commands at once and waits for all answers.
    async fn round(&self, socket: &Socket, input: &mut Vec<u8>, asks: Vec<Ask>) -> Result<(), Left> {
        let bytes: Vec<u8> = asks.iter().flat_map(words_of).collect();
        let calls: Vec<usize> = asks.into_iter().map(|ask| self.client.observed.called(ask)).collect();
        socket.write_all(&bytes).await.map_err(|error| Left(error.kind().to_string()))?;
        for call in calls {
            let reply = self.reply(socket, input).await?;
            self.client.observed.returned(call, &reply);
            self.client.life.did();
        }
        Ok(())
    }

    async fn reply(&self, socket: &Socket, input: &mut Vec<u8>) -> Result<Reply, Left> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(reply) = take_reply(input).map_err(Left)? {
                return Ok(reply);
            }
            let read = timeout(self.client.patience, socket.read(&mut buffer)).await;
            match read.map_err(|_| Left("no answer".to_owned()))? {
                Ok(0) => return Err(Left("the server closed the connection".to_owned())),
                Ok(count) => input.extend(&buffer[..count]),
                Err(error) => return Err(Left(error.kind().to_string())),
            }
        }
    }

    fn draw(&mut self, writer: u32, number: &mut u64) -> Ask {
        let dice = &mut self.client.dice;
        let key = self.client.observed.key(dice.below(u64::from(KEYS)) as u32);
        match dice.below(100) {
            0..25 => Ask::Key(key, Step::Get(None)),
            25..45 => Ask::Key(key, Step::Set(dice.between(1, 1_000_000_000))),
            45..60 => Ask::Key(key, Step::Increment(None)),
            60..68 => Ask::Key(key, Step::Delete(None)),
            _ => {
                *number += 1;
                Ask::Append(Write { writer, number: *number })
            }
        }
    }

    /// Reads everything that there is.
    async fn look(&mut self, socket: &Socket) -> Result<(), Left> {
        let mut input = Vec::new();
        let keys = (0..KEYS).map(|key| Ask::Key(self.client.observed.key(key), Step::Get(None))).collect();
        self.round(socket, &mut input, keys).await?;
        socket.write_all(&command(&["GET", LIST])).await.map_err(|error| Left(error.kind().to_string()))?;
        let Reply::Bulk(list) = self.reply(socket, &mut input).await? else {
            return Err(Left("the list is no list".to_owned()));
        };
        self.client.observed.read_all_writes(&list.unwrap_or_default());
        self.client.life.last_look_done();
        Ok(())
    }
}
