//! Services whose guests cannot be saved in checkpoints, in whole servers: their histories stand for what is cut from
//! the log, beside services that can be saved, and have a limit that concerns nobody else.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use refrain_sequencer::net::framed::write_queue;
use refrain_sequencer::net::greeting::greet;
use refrain_sequencer::net::{Net as _, Tcp};
use refrain_tests::cluster::Cluster;
use refrain_tests::http::{HttpClient, request};
use refrain_tests::native::Example;
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site};
use refrain_tests::services::Services;
use refrain_tests::three::KV;
use refrain_tests::wait;
use refrain_wire::message::Message as _;
use refrain_wire::message::fetch::{Answer, Get};
use refrain_wire::stream::{FrameQueue, Hello, Role, is_alive};
use refrain_wire::{ClusterId, Generation, GroupId, NodeId, Position};
use serde_json::Value;

/// The service that cannot be saved.
const PLAIN: &str = "plain";
/// Checkpoints and cuts so often that a test sees many.
const OFTEN: [(&str, &str); 2] = [("checkpoint-interval", "200ms"), ("log-cut-interval", "200ms")];
const BATCHES: i64 = 50;

/// The keys' server without what makes its guests savable: an export has another name.
fn unsavable() -> Result<Vec<u8>> {
    let mut module = savable()?;
    let name: &[u8] = b"asyncify_start_unwind";
    let at = module.windows(name.len()).position(|window| window == name).context("it is not instrumented")?;
    module[at + name.len() - 1] = b'_';
    Ok(module)
}

fn savable() -> Result<Vec<u8>> {
    Ok(std::fs::read(Example::KvServer.folder().join("kv-server.wasm"))?)
}

fn manifest(version: &str, history: &str) -> String {
    format!(
        "name = \"{PLAIN}\"\nnamespace = \"tests\"\nversion = \"{version}\"\nmodule = \"{PLAIN}.wasm\"\nreplicas = 3\n\
         args = [\"--port\", \"6379\"]\n[[ports]]\nname = \"resp\"\nguest = 6379\nlisten = \"127.0.0.1:0\"\n\
         [limits]\nhistory = \"{history}\"\n"
    )
}

/// A server with both services.
fn site(purpose: &str, history: &str) -> Result<Site> {
    let mut site = Site::of(purpose, &[Example::KvServer])?;
    site.service(&manifest("1.0.0", history), &unsavable()?)?;
    for (key, value) in OFTEN {
        site.argument(&format!("--{key}={value}"));
    }
    site.argument(&format!("--checkpoint-batches={BATCHES}"));
    Ok(site)
}

fn first_position(server: &Server) -> Result<u64> {
    server.rctl_json(&["status"])?["log"]["first_position"].as_u64().context("the log has no first position")
}

/// Keys of both services that were answered.
#[derive(Default)]
struct Keys {
    count: u64,
}

impl Keys {
    /// Writes keys to both services until the log begins after a position.
    fn until_cut(&mut self, server: &Server, position: u64) -> Result<u64> {
        let mut clients = [KV, PLAIN].map(|service| RespClient::connect(server.address(service)));
        wait::until(&format!("the log is cut behind position {position}"), || {
            for client in &mut clients {
                let client = client.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                let reply = client.words(&format!("SET key{0} value{0}", self.count))?;
                ensure!(reply == b"+OK\r\n", "{:?}", String::from_utf8_lossy(&reply));
            }
            self.count += 1;
            let first = if self.count.is_multiple_of(50) { first_position(server)? } else { 0 };
            Ok((first > position).then_some(first))
        })
    }

    /// Whether both have every key.
    fn are_at(&self, server: &Server) -> Result<()> {
        for service in [KV, PLAIN] {
            let mut client = RespClient::connect(server.address(service))?;
            let count = String::from_utf8(client.words("DBSIZE")?)?;
            ensure!(count == format!(":{}\r\n", self.count), "{service} has {count}, and {} were written", self.count);
            let last = format!("value{}", self.count - 1);
            let reply = client.words(&format!("GET key{}", self.count - 1))?;
            ensure!(reply == format!("${}\r\n{last}\r\n", last.len()).into_bytes());
        }
        Ok(())
    }
}

fn history(service: &Value) -> Result<(u64, u64)> {
    let history = &service["history"];
    let number = |key: &str| history[key].as_u64().with_context(|| format!("{key} is missing: {service:#}"));
    Ok((number("bytes")?, number("max_bytes")?))
}

/// The only history of a data folder, if there is one.
fn history_file(data: &Path) -> Result<Option<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data.join("history"))? {
        found.extend(Some(entry?.path()).filter(|path| path.extension().is_some_and(|name| name == "history")));
    }
    ensure!(found.len() < 2, "{found:?}");
    Ok(found.pop())
}

#[test]
fn a_killed_server_comes_back_with_what_its_history_has_and_cuts_off_what_is_torn() -> Result<()> {
    let site = site("history", "1GiB")?;
    let mut keys = Keys::default();
    let mut last = 1;
    for _ in 0..3 {
        let server = site.start()?;
        last = keys.until_cut(&server, last + 100)?;
        let (bytes, max_bytes) = history(&server.service(PLAIN)?)?;
        ensure!(bytes > 0 && max_bytes == 1 << 30, "{bytes} of {max_bytes}");
        ensure!(server.service(KV)?["history"].is_null());
        server.kill()?;
        // As if it had died while it wrote: half a turn that was never synced.
        let file = history_file(&site.data_dir())?.context("there is no history")?;
        let torn = [[200u8, 0, 0, 0].as_slice(), &[7; 60]].concat();
        std::fs::OpenOptions::new().append(true).open(&file)?.write_all(&torn)?;
        let server = site.start()?;
        ensure!(first_position(&server)? >= last, "the log begins earlier again");
        keys.are_at(&server)?;
        for service in [KV, PLAIN] {
            server.rctl_json(&["service", "audit", service])?;
            server.until_equal(service)?;
        }
        server.rctl_json(&["service", "rebuild", PLAIN, "--seat", "1"])?;
        server.until_equal(PLAIN)?;
        server.terminate()?;
    }
    Ok(())
}

#[test]
fn at_its_limit_one_service_is_refused_and_its_neighbour_is_served() -> Result<()> {
    let site = site("history-full", "64KiB")?;
    let server = site.start()?;
    let value = "x".repeat(1000);
    let mut client = RespClient::connect(server.address(PLAIN))?;
    let mut taken = 0;
    while client.words(&format!("SET key{taken} {value}")).is_ok_and(|reply| reply == b"+OK\r\n") {
        taken += 1;
        ensure!(taken < 200, "64 KiB were never full");
    }
    ensure!(taken > 20, "only {taken} keys of 1000 bytes were taken");
    let refused = || {
        let reply = RespClient::connect(server.address(PLAIN)).and_then(|mut client| client.words("PING"));
        reply.is_err()
    };
    ensure!(refused(), "a new connection was served");
    server.log().until("an operator is told", |line| line.contains("the history is full"))?;
    let (bytes, max_bytes) = history(&server.service(PLAIN)?)?;
    ensure!(bytes >= max_bytes && max_bytes == 64 << 10, "{bytes} of {max_bytes}");
    let shown = String::from_utf8(server.rctl(&["status"])?.stdout)?;
    ensure!(shown.contains("full, requests are refused") && shown.contains("REPLAY-ONLY"), "{shown}");
    let metrics = metrics_of(&server)?;
    ensure!(metrics.contains("refrain_history_bytes{"), "{metrics}");
    // The neighbour goes on, and so does the cutting of the log.
    let begin = first_position(&server)?;
    let mut neighbour = RespClient::connect(server.address(KV))?;
    let mut key = 0;
    wait::until("the log is cut", || {
        ensure!(neighbour.words(&format!("SET key{key} 1"))? == b"+OK\r\n");
        key += 1;
        Ok((key % 50 == 0 && first_position(&server)? > begin + 100).then_some(()))
    })?;
    let full = history(&server.service(PLAIN)?)?.0;
    ensure!(full < bytes + (16 << 10), "{full} bytes, {bytes} when it was full");
    // It is still full after a restart.
    server.kill()?;
    let server = site.start()?;
    server.until_equal(PLAIN)?;
    ensure!(RespClient::connect(server.address(PLAIN)).and_then(|mut client| client.words("PING")).is_err());
    // Another limit, and then a module that can be saved.
    let upgrade = |version: &str, limit: &str, module: &[u8]| -> Result<()> {
        let mut services = Services::new(&site.scratch().join(version));
        services.add(&manifest(version, limit), module)?;
        let folder = services.folders()[0].display().to_string();
        let status = server.rctl_json(&["service", "upgrade", PLAIN, &folder, "--timeout", "60s"])?;
        ensure!(status["state"] == "done", "{status:#}");
        Ok(())
    };
    let served = |key: &str| {
        wait::until("it is served again", || {
            let reply =
                RespClient::connect(server.address(PLAIN)).and_then(|mut client| client.words(&format!("SET {key} 1")));
            Ok(reply.is_ok_and(|reply| reply == b"+OK\r\n").then_some(()))
        })
    };
    upgrade("1.1.0", "1MiB", &unsavable()?)?;
    served("more")?;
    upgrade("1.2.0", "1MiB", &savable()?)?;
    served("saved")?;
    let mut client = RespClient::connect(server.address(PLAIN))?;
    wait::until("the history is gone", || {
        ensure!(client.words("SET saved 2")? == b"+OK\r\n" && neighbour_writes(&server)?);
        Ok(history_file(&site.data_dir())?.is_none().then_some(()))
    })?;
    ensure!(server.service(PLAIN)?["history"].is_null());
    server.until_equal(PLAIN)?;
    // And back: its history begins with the checkpoint.
    upgrade("1.3.0", "1MiB", &unsavable()?)?;
    served("again")?;
    let begin = first_position(&server)?;
    let mut client = RespClient::connect(server.address(PLAIN))?;
    wait::until("the log is cut behind it", || {
        ensure!(client.words("SET again 2")? == b"+OK\r\n" && neighbour_writes(&server)?);
        Ok((first_position(&server)? > begin + 200 && history_file(&site.data_dir())?.is_some()).then_some(()))
    })?;
    server.kill()?;
    let server = site.start()?;
    server.until_equal(PLAIN)?;
    let mut client = RespClient::connect(server.address(PLAIN))?;
    ensure!(client.words("GET again")? == b"$1\r\n2\r\n");
    Ok(())
}

fn neighbour_writes(server: &Server) -> Result<bool> {
    Ok(RespClient::connect(server.address(KV))?.words("SET neighbour 1")? == b"+OK\r\n")
}

/// What `/metrics` shows.
fn metrics_of(server: &Server) -> Result<String> {
    let reply = HttpClient::connect(server.admin_address()?)?.exchange(request("GET /metrics", "", b""))?;
    Ok(String::from_utf8_lossy(reply.body()).into_owned())
}

/// Nodes that serve both, and do not run yet.
fn cluster(purpose: &str, nodes: u64) -> Result<Cluster> {
    let mut cluster = Cluster::new(purpose, nodes)?;
    cluster.example(Example::KvServer, |_| {})?;
    cluster.service(&manifest("1.0.0", "1GiB"), &unsavable()?)?;
    for (key, value) in OFTEN {
        cluster.set(key, value);
    }
    cluster.set("checkpoint-batches", BATCHES);
    Ok(cluster)
}

#[test]
fn new_members_copy_the_history_and_have_everything_when_the_first_machine_is_lost() -> Result<()> {
    let mut cluster = cluster("history-joins", 3)?;
    cluster.embedded(1).set_on(2, "join", true).set_on(3, "join", true);
    cluster.start_node(1)?;
    let mut keys = Keys::default();
    let begin = keys.until_cut(cluster.server(1), 100)?;
    for id in [2, 3] {
        cluster.join(id, 1)?;
        ensure!(history_file(cluster.data_dir(id))?.is_some(), "node {id} is a member without the history");
    }
    keys.until_cut(cluster.server(1), begin + 500)?;
    for id in [2, 3] {
        wait::until(&format!("node {id} has cut its log"), || {
            Ok((first_position(cluster.server(id))? > begin + 100).then_some(()))
        })?;
    }
    cluster.kill(1)?;
    for id in [2, 3] {
        wait::until(&format!("node {id} has everything"), || Ok(keys.are_at(cluster.server(id)).ok()))?;
    }
    // All seats of the lost machine are given to the others, and replay the history.
    keys.until_cut(cluster.server(2), begin + 1000)?;
    keys.are_at(cluster.server(3))
}

#[test]
fn members_and_others_that_were_away_get_what_was_cut_meanwhile() -> Result<()> {
    let mut cluster = cluster("history-away", 4)?;
    // Node 2 runs no replicas and keeps histories; node 4 keeps none, and its replicas read those of members.
    cluster.roles(2, &["proxy", "sequencer"]).roles(4, &["proxy", "engine"]);
    cluster.start()?;
    cluster.until_equal(PLAIN)?;
    let mut keys = Keys::default();
    let mut last = keys.until_cut(cluster.server(1), 100)?;
    for away in [4, 3] {
        cluster.kill(away)?;
        last = keys.until_cut(cluster.server(1), last + 300)?;
        cluster.start_node(away)?;
        cluster.until_equal(PLAIN)?;
        keys.are_at(cluster.server(away))?;
    }
    for id in [1, 2, 3] {
        ensure!(history_file(cluster.data_dir(id))?.is_some(), "node {id} keeps no history");
    }
    ensure!(!cluster.data_dir(4).join("history").is_dir() || history_file(cluster.data_dir(4))?.is_none());
    cluster.until_equal(KV)?;
    // What a disk spoiled comes from the others, and is still there to look at.
    cluster.kill(3)?;
    let file = history_file(cluster.data_dir(3))?.context("node 3 keeps no history")?;
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes)?;
    cluster.start_node(3)?;
    wait::until("node 3 has a copy", || Ok(file.exists().then_some(())))?;
    ensure!(std::fs::read(file.with_extension("history.damaged"))? == bytes, "what was damaged was changed");
    cluster.until_equal(PLAIN)?;
    keys.are_at(cluster.server(3))
}

/// What comes back for one question.
async fn answer_to(address: &str, question: Get) -> Result<Answer> {
    let hello = Hello::new(Role::Fetch, cluster_id(), Generation([0; 16]), NodeId(9));
    let (mut reader, mut writer) = greet(Tcp.connect(address).await?, &hello).await?.framed.split();
    let mut frames = FrameQueue::default();
    question.encode(&mut frames);
    write_queue(&mut writer, &mut frames).await?;
    loop {
        let frame = reader.next().await?.with_context(|| format!("the node is gone after {question:?}"))?;
        if !is_alive(&frame)? {
            return Ok(Answer::decode(frame.kind, &frame.payload)?);
        }
    }
}

/// That of a cluster without a name of its own.
fn cluster_id() -> ClusterId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(b"refrain cluster default").as_bytes()[..16]);
    ClusterId(id)
}

#[test]
fn a_node_answers_questions_with_any_numbers() -> Result<()> {
    let mut cluster = cluster("history-numbers", 1)?;
    cluster.start()?;
    let mut keys = Keys::default();
    keys.until_cut(cluster.server(1), 100)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = cluster.peer_address(1).to_string();
    let ask = |question| runtime.block_on(answer_to(&address, question));
    for position in [0, 1, u64::MAX - 1, u64::MAX].map(Position) {
        for max_bytes in [0, u32::MAX] {
            ask(Get::Entries { from: position, max_bytes })?;
            for group in [0, 1, 2, u32::MAX].map(GroupId) {
                let answer = ask(Get::Turns { group, after: position, max_bytes })?;
                let none = answer == Answer::Entries(Vec::new());
                let known = (1..=2).contains(&group.0) && position > Position(1);
                ensure!(none == known, "{group}, after {position}: {answer:?}");
            }
        }
    }
    keys.are_at(cluster.server(1))
}
