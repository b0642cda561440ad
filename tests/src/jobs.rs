//! A scenario for the job queue: jobs go to one worker each, the most urgent first, and come back when theirs fails.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::dialogue::Dialogue;
use crate::transcript::Transcript;

/// A client of the queue.
#[derive(Debug)]
pub struct JobClient(Dialogue);

impl JobClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(Dialogue::connect(address)?))
    }

    /// The first line of the answer to a command.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        self.0.ask(command)
    }

    /// Sends a command and does not wait.
    pub fn say(&mut self, command: &str) -> Result<()> {
        self.0.say(format!("{command}\r\n"))
    }

    /// Puts a job of priority 10; its number.
    pub fn put(&mut self, body: &str) -> Result<u64> {
        let answer = self.ask(&format!("put 10 0 60 {}\r\n{body}", body.len()))?;
        let number = answer.strip_prefix("INSERTED ").with_context(|| format!("a put was answered by {answer}"))?;
        Ok(number.parse()?)
    }

    /// The answer to a command that gives a job: its number and what it is.
    pub fn job(&mut self) -> Result<(u64, String)> {
        let line = self.0.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        let ["RESERVED" | "FOUND", number, bytes] = words[..] else { anyhow::bail!("no job but {line}") };
        let body = self.0.bytes(bytes.parse::<usize>()? + 2)?;
        let body = String::from_utf8(body)?;
        Ok((number.parse()?, body.trim_end_matches("\r\n").to_owned()))
    }

    /// Asks for a job and waits for it.
    pub fn reserve(&mut self) -> Result<(u64, String)> {
        self.say("reserve")?;
        self.job()
    }

    /// Everything of the listing that a command is answered by.
    pub fn listing(&mut self, command: &str) -> Result<String> {
        let line = self.ask(command)?;
        let bytes = line.strip_prefix("OK ").with_context(|| format!("{command} was answered by {line}"))?;
        Ok(String::from_utf8(self.0.bytes(bytes.parse::<usize>()? + 2)?)?)
    }

    /// What comes until the server ends the connection.
    pub fn ended(self) -> Result<Vec<u8>> {
        self.0.ended()
    }
}

/// Runs the scenario on a queue that has no jobs and leaves none; what was received.
pub fn job_queue_scenario(address: SocketAddr) -> Result<Vec<u8>> {
    let mut transcript = Transcript::default();
    urgent_jobs_go_first(address)?;
    a_job_of_a_worker_that_dies_goes_to_another(address)?;
    delays_and_limits_run_out(address)?;
    waiting_workers_take_turns(address)?;
    buried_jobs_are_kicked(address, &mut transcript)?;
    faults_have_words(address, &mut transcript)?;
    Ok(transcript.into_bytes())
}

fn urgent_jobs_go_first(address: SocketAddr) -> Result<()> {
    let mut client = JobClient::connect(address)?;
    for (priority, body) in [(5, "later"), (1, "now"), (5, "last"), (u32::MAX, "never")] {
        let answer = client.ask(&format!("put {priority} 0 60 {}\r\n{body}", body.len()))?;
        ensure!(answer.starts_with("INSERTED "), "{answer}");
    }
    for expected in ["now", "later", "last", "never"] {
        let (number, body) = client.reserve()?;
        ensure!(body == expected, "{body} came instead of {expected}");
        ensure!(client.ask(&format!("delete {number}"))? == "DELETED");
    }
    ensure!(client.ask("reserve-with-timeout 0")? == "TIMED_OUT");
    Ok(())
}

fn a_job_of_a_worker_that_dies_goes_to_another(address: SocketAddr) -> Result<()> {
    let (mut worker, mut other) = (JobClient::connect(address)?, JobClient::connect(address)?);
    let number = other.put("risky")?;
    ensure!(worker.reserve()? == (number, "risky".to_owned()));
    ensure!(other.ask(&format!("delete {number}"))? == "NOT_FOUND", "it is another worker's");
    other.say("reserve")?;
    drop(worker);
    ensure!(other.job()? == (number, "risky".to_owned()));
    ensure!(other.ask(&format!("release {number} 3 0"))? == "RELEASED");
    ensure!(other.reserve()? == (number, "risky".to_owned()));
    ensure!(other.ask(&format!("delete {number}"))? == "DELETED");
    Ok(())
}

fn delays_and_limits_run_out(address: SocketAddr) -> Result<()> {
    let mut client = JobClient::connect(address)?;
    let begin = Instant::now();
    ensure!(client.ask("put 0 1 1 5\r\nlater")?.starts_with("INSERTED "));
    ensure!(client.ask("reserve-with-timeout 0")? == "TIMED_OUT", "its time has not come");
    let (number, _) = client.reserve()?;
    ensure!(begin.elapsed() >= Duration::from_millis(900), "it came after {:?}", begin.elapsed());
    // Its worker has a second. Then it is there for anybody, this worker too.
    let mut other = JobClient::connect(address)?;
    other.say("reserve")?;
    ensure!(other.job()?.0 == number);
    ensure!(begin.elapsed() >= Duration::from_millis(1800), "it was given back after {:?}", begin.elapsed());
    ensure!(client.ask(&format!("touch {number}"))? == "NOT_FOUND", "it is not the first worker's any more");
    ensure!(other.ask(&format!("touch {number}"))? == "TOUCHED");
    ensure!(other.ask(&format!("delete {number}"))? == "DELETED");
    ensure!(client.ask("reserve-with-timeout 1")? == "TIMED_OUT");
    Ok(())
}

fn waiting_workers_take_turns(address: SocketAddr) -> Result<()> {
    let mut boss = JobClient::connect(address)?;
    let mut workers = Vec::new();
    for _ in 0..20 {
        let mut worker = JobClient::connect(address)?;
        // The answer to the first command says that the second is not overtaken by another worker's.
        ensure!(worker.ask("use work")? == "USING work");
        ensure!(worker.ask("watch work")? == "WATCHING 2");
        worker.say("reserve")?;
        workers.push(worker);
    }
    ensure!(boss.ask("use work")? == "USING work");
    let numbers: Vec<u64> = (0..20).map(|at| boss.put(&format!("job {at}"))).collect::<Result<_>>()?;
    let mut given = Vec::new();
    for worker in &mut workers {
        let (number, _) = worker.job()?;
        ensure!(worker.ask(&format!("delete {number}"))? == "DELETED");
        given.push(number);
    }
    given.sort_unstable();
    ensure!(given == numbers, "every job goes to one worker: {given:?}");
    Ok(())
}

fn buried_jobs_are_kicked(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = JobClient::connect(address)?;
    ensure!(client.ask("use graves")? == "USING graves");
    ensure!(client.ask("watch graves")? == "WATCHING 2");
    ensure!(client.ask("ignore default")? == "WATCHING 1");
    ensure!(client.ask("ignore graves")? == "NOT_IGNORED", "the last one stays");
    for body in ["one", "two", "three"] {
        client.put(body)?;
        let (number, _) = client.reserve()?;
        ensure!(client.ask(&format!("bury {number} 7"))? == "BURIED");
    }
    transcript.record("three are buried", client.listing("stats-tube graves")?.as_bytes());
    ensure!(client.ask("reserve-with-timeout 0")? == "TIMED_OUT");
    ensure!(client.ask("kick 2")? == "KICKED 2");
    transcript.record("one is buried", client.listing("stats-tube graves")?.as_bytes());
    ensure!(client.ask("kick 10")? == "KICKED 1");
    for expected in ["one", "two", "three"] {
        let (number, body) = client.reserve()?;
        ensure!(body == expected, "{body} came instead of {expected}");
        client.say(&format!("peek {number}"))?;
        ensure!(client.job()? == (number, body));
        ensure!(client.ask(&format!("delete {number}"))? == "DELETED");
    }
    transcript.record("tubes", client.listing("list-tubes")?.as_bytes());
    Ok(())
}

fn faults_have_words(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = JobClient::connect(address)?;
    let long = "t".repeat(201);
    for command in [
        "fly",
        "",
        "put 1 2 3",
        "put 4294967296 0 1 0",
        "use -dash",
        &format!("use {long}"),
        &format!("use {}", "t".repeat(200)),
        "delete 18446744073709551616",
        "delete 18446744073709551615",
        "reserve now",
        "kick",
        "stats-tube nothing",
        "put 0 0 1 3\r\nabcdef",
    ] {
        let answer = client.ask(command)?;
        transcript.record(command, answer.as_bytes());
    }
    // What came behind the three bytes was no end of line, and then no command.
    let mut client = JobClient::connect(address)?;
    let (at, above) = ("j".repeat(65_535), "j".repeat(65_536));
    let number = client.put(&at)?;
    ensure!(client.ask(&format!("put 0 0 1 65536\r\n{above}"))? == "JOB_TOO_BIG");
    ensure!(client.ask(&format!("delete {number}"))? == "DELETED", "the session goes on");
    client.say(&"x".repeat(300))?;
    ensure!(client.ended()? == b"BAD_FORMAT\r\n");
    Ok(())
}
