//! Traces and metrics of whole servers, seen as an operator sees them: by a collector, a scrape, `rctl trace`.

mod collector;
mod exposition;
mod metrics;
mod shown;
mod traces;

use anyhow::{Result, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::native::Example;
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site};

const KV: &str = "kv-server";

/// What has everything traced and soon exported.
const ALL: [(&str, &str); 3] =
    [("OTEL_TRACES_SAMPLER", "always_on"), ("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_SERVICE_NAME", "lake")];

/// One server of keys, with variables of its environment.
fn site(purpose: &str, variables: &[(&str, &str)]) -> Result<Site> {
    let mut site = Site::of(purpose, &[Example::KvServer])?;
    for (name, value) in variables {
        site.variable(name, value);
    }
    Ok(site)
}

/// Three nodes that serve keys; the seats are active.
fn three(purpose: &str, variables: &[(&str, &str)]) -> Result<Cluster> {
    let mut cluster = Cluster::new(purpose, 3)?;
    cluster.example(Example::KvServer, |_| {})?;
    for (name, value) in variables {
        cluster.variable(name, value);
    }
    cluster.start()?;
    cluster.until_equal(KV)?;
    Ok(cluster)
}

/// So many writes, one after the other.
fn write_keys(server: &Server, count: usize) -> Result<()> {
    let mut client = RespClient::connect(server.address(KV))?;
    for key in 0..count {
        ensure!(client.words(&format!("SET {key} value"))? == b"+OK\r\n", "key {key}");
    }
    Ok(())
}
