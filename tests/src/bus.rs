//! A scenario for the message bus: what is published reaches those who subscribed, once and in order.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::dialogue::Dialogue;
use crate::transcript::{Transcript, noise};

/// A client that has read the greeting.
#[derive(Debug)]
pub struct BusClient(Dialogue);

impl BusClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let mut dialogue = Dialogue::connect(address)?;
        let greeting = dialogue.line()?;
        ensure!(greeting.starts_with("INFO {") && greeting.contains("\"max_payload\":65536"), "{greeting}");
        Ok(Self(dialogue))
    }

    /// Sends lines as they are.
    pub fn say(&mut self, text: &str) -> Result<()> {
        self.0.say(format!("{text}\r\n"))
    }

    /// Publishes.
    pub fn publish(&mut self, subject: &str, payload: &str) -> Result<()> {
        self.say(&format!("PUB {subject} {}\r\n{payload}", payload.len()))
    }

    /// Waits until the server has done everything that was said.
    pub fn settle(&mut self) -> Result<()> {
        let answer = self.0.ask("PING")?;
        ensure!(answer == "PONG", "{answer} instead of PONG");
        Ok(())
    }

    /// The next message: its line after `MSG`, and its payload.
    pub fn message(&mut self) -> Result<(String, String)> {
        let line = self.0.line()?;
        let bytes = line.rsplit(' ').next().unwrap_or_default().parse::<usize>();
        let (Some(rest), Ok(bytes)) = (line.strip_prefix("MSG "), bytes) else {
            anyhow::bail!("no message but {line}")
        };
        let payload = String::from_utf8(self.0.bytes(bytes + 2)?)?;
        Ok((rest.to_owned(), payload.trim_end_matches("\r\n").to_owned()))
    }

    /// The next line.
    pub fn line(&mut self) -> Result<String> {
        self.0.line()
    }

    /// What comes until the server ends the connection.
    pub fn ended(self) -> Result<Vec<u8>> {
        self.0.ended()
    }
}

/// Runs the scenario; what was received.
pub fn message_bus_scenario(address: SocketAddr) -> Result<Vec<u8>> {
    let mut transcript = Transcript::default();
    patterns_choose(address, &mut transcript)?;
    members_of_a_group_take_turns(address)?;
    subscriptions_end(address)?;
    many_readers_get_everything_in_order(address)?;
    faults_have_words(address, &mut transcript)?;
    Ok(transcript.into_bytes())
}

fn patterns_choose(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let (mut reader, mut writer) = (BusClient::connect(address)?, BusClient::connect(address)?);
    for (sid, pattern) in ["lake.level", "lake.*", "lake.>", "*.level", ">", "lake.level.now"].iter().enumerate() {
        reader.say(&format!("SUB {pattern} {sid}"))?;
    }
    reader.settle()?;
    writer.say("CONNECT {\"verbose\": true}")?;
    ensure!(writer.line()? == "+OK");
    for subject in ["lake.level", "lake.depth", "lake.level.now", "hill.level", "sky"] {
        writer.publish(subject, "")?;
        ensure!(writer.line()? == "+OK");
    }
    writer.say("PUB lake.level answer.here 3\r\n1.5")?;
    ensure!(writer.line()? == "+OK");
    for _ in 0..5 + 3 + 3 + 2 + 1 + 5 {
        let (line, payload) = reader.message()?;
        transcript.record(&line, payload.as_bytes());
    }
    reader.settle()
}

fn members_of_a_group_take_turns(address: SocketAddr) -> Result<()> {
    let mut members: Vec<BusClient> = (0..3).map(|_| BusClient::connect(address)).collect::<Result<_>>()?;
    for member in &mut members {
        member.say("SUB work crew 1")?;
        member.settle()?;
    }
    let mut writer = BusClient::connect(address)?;
    for number in 0..9 {
        writer.publish("work", &number.to_string())?;
    }
    writer.settle()?;
    let mut seen = Vec::new();
    for member in &mut members {
        for _ in 0..3 {
            seen.push(member.message()?.1.parse::<u32>()?);
        }
        member.settle()?;
    }
    seen.sort_unstable();
    ensure!(seen == (0..9).collect::<Vec<_>>(), "each goes to one member: {seen:?}");
    Ok(())
}

fn subscriptions_end(address: SocketAddr) -> Result<()> {
    let mut client = BusClient::connect(address)?;
    client.say("SUB own 1\r\nUNSUB 1 2\r\nSUB own 2\r\nUNSUB 2")?;
    for payload in ["a", "b", "c"] {
        client.publish("own", payload)?;
    }
    ensure!(client.message()? == ("own 1 1".to_owned(), "a".to_owned()));
    ensure!(client.message()? == ("own 1 1".to_owned(), "b".to_owned()));
    client.settle()?;
    client.say("CONNECT {\"echo\":false}\r\nSUB own 3")?;
    client.publish("own", "unheard")?;
    client.settle()
}

fn many_readers_get_everything_in_order(address: SocketAddr) -> Result<()> {
    let mut readers: Vec<BusClient> = (0..50).map(|_| BusClient::connect(address)).collect::<Result<_>>()?;
    for (sid, reader) in readers.iter_mut().enumerate() {
        reader.say(&format!("SUB news {sid}"))?;
        reader.settle()?;
    }
    let mut writer = BusClient::connect(address)?;
    let payloads: Vec<String> = (0..100)
        .map(|at| noise(at, 1 + at as usize * 37).iter().map(|byte| char::from(b'a' + byte % 26)).collect())
        .collect();
    for payload in &payloads {
        writer.publish("news", payload)?;
    }
    for (sid, reader) in readers.iter_mut().enumerate() {
        for payload in &payloads {
            let (line, got) = reader.message()?;
            ensure!(line == format!("news {sid} {}", payload.len()) && got == *payload, "{line}");
        }
    }
    Ok(())
}

fn faults_have_words(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = BusClient::connect(address)?;
    for line in ["SUB a..b 1", "SUB >.a 1", "PUB a.* 0\r\n"] {
        client.say(line)?;
        transcript.record(line, client.line()?.as_bytes());
    }
    client.say("SUB lake 1")?;
    client.publish("lake", &"l".repeat(65_536))?;
    ensure!(client.message()?.1.len() == 65_536, "a payload at the limit is taken");
    let long = format!("SUB {} 1", "s".repeat(4096));
    for line in ["FLY", "PUB a", "PUB a 65537", "PUB a 1\r\nlonger", &long] {
        let mut client = BusClient::connect(address)?;
        client.say(line)?;
        transcript.record(&line[..line.len().min(20)], &client.ended()?);
    }
    let mut client = BusClient::connect(address)?;
    for sid in 0..=256 {
        client.say(&format!("SUB many {sid}"))?;
    }
    transcript.record("257 subscriptions", client.line()?.as_bytes());
    client.settle()
}
