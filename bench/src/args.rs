//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// The most connections of one measurement: every one is a descriptor here and one in the server.
const MAX_CONNECTIONS: i64 = 400;

/// Measures Refrain beside the floor of the machine and the same servers built natively.
#[derive(Debug, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES)]
pub struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub what: What,
    /// How to print the result.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Measure the floor and the native servers alone; no Refrain is needed.
    #[arg(long, global = true)]
    pub native_only: bool,
    /// The server's binary. Default: built by cargo if this runs under cargo, and taken from beside this program.
    #[arg(long, global = true, value_name = "PATH")]
    pub refrain: Option<PathBuf>,
    /// The front end alone, `front` of the examples of `refrain-front`. Default: built by cargo if this runs under cargo,
    /// and taken from `examples` beside this program.
    #[arg(long, global = true, value_name = "PATH")]
    pub front: Option<PathBuf>,
    /// wasmtime's command line, for `wasmtime serve`. Default: the one on PATH.
    #[arg(long, global = true, value_name = "PATH")]
    pub wasmtime: Option<PathBuf>,
    /// The folder of the examples.
    #[arg(long, global = true, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))]
    pub examples: PathBuf,
    /// Where the servers keep their data; has to be on a real disk. Default: bench-data in the target folder.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A tenth of the work or less: shows that everything runs, its figures are rough.
    #[arg(long, global = true)]
    pub quick: bool,
}

/// One measurement, or all.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum What {
    /// Every measurement of one server, one after the other.
    All,
    /// Everything about three nodes, side by side: floor, etcd, Redis.
    Cluster,
    /// What the machine can do: fdatasync, a loopback round trip, a wake.
    Floor,
    /// 64 bytes there and back on kept connections, with durability fsync and none.
    Echo {
        /// Connections at the same time.
        #[arg(long, default_value_t = 1, value_parser = connections())]
        connections: u16,
    },
    /// The same over many connections: requests a second.
    Load {
        /// Connections at the same time.
        #[arg(long, default_value_t = 64, value_parser = connections())]
        connections: u16,
    },
    /// redis-benchmark: SET over 50 connections, 16 in a pipeline.
    Redis,
    /// Images of 10 MB, uploaded and downloaded again.
    Images,
    /// What an idle server writes and costs.
    Idle,
    /// Bytes in the log for an upload of 2 MB.
    Framing,
    /// Echo with 1 % of the batches traced and exported, in turns with a base: what traces and metrics cost.
    Telemetry {
        /// Another build of the server as the base. Default: the same one with OTEL_SDK_DISABLED.
        #[arg(long, value_name = "PATH")]
        base: Option<PathBuf>,
        /// Rounds; each is a few seconds.
        #[arg(long, default_value_t = 15)]
        rounds: usize,
    },
    /// Raw replication with fdatasync, three members: the floor of everything replicated.
    ClusterFloor,
    /// PUT to three members of etcd, beside that floor.
    Etcd,
    /// SET to a Redis that syncs every write, beside that floor.
    RedisAof,
    /// 64 bytes there and back through three nodes, beside that floor.
    ClusterEcho,
    /// SET to the kv-server on three nodes, beside that floor, etcd and Redis.
    ClusterSet,
    /// The leader is killed under load: how long nothing is answered, and what is lost.
    Failover,
    /// A replica of 64 MiB joins under load, from a checkpoint, behind a long history.
    Join {
        /// Entries of the log before the first join.
        #[arg(long, default_value_t = 100_000)]
        history: u64,
    },
    /// SETs with checkpoints five times a second and without.
    CheckpointPause,
    /// The examples as committed and without what makes their guests savable in checkpoints: size and speed.
    Asyncify,
    /// The examples with and without counting fuel: speed.
    Fuel,
    /// From the start of a process to a service that listens, with compiled code at hand.
    Start,
    /// What a hundred idle services cost.
    IdleServices,
    /// 1,000 inserts in one transaction of SQLite, replicated, and the same source built natively.
    Sqlite,
    /// Everything about HTTP, side by side: wasmtime serve, nginx, HAProxy.
    Http,
    /// Components that greet, the proxy included, beside `wasmtime serve`: processor time and latency of a request.
    HttpHello,
    /// The front end alone before a server at an address, beside nginx and HAProxy: processor time and latency.
    HttpFront,
    /// What 10,000 idle connections take of the server's memory.
    HttpIdle,
    /// A component beside four that spin: how long its answers take.
    HttpNeighbours,
    /// From the deployment of a component, its compiled code at hand, to its first answer.
    HttpStart,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

const EXAMPLES: &str = "Examples:
  bench all                     everything about one server, one table
  bench cluster                 three nodes beside etcd and the floor
  bench echo --native-only      without Refrain
  bench load --connections 16
  bench telemetry --base ../other/target/release/refrain
  bench join --history 10000    with a shorter history
  bench http --wasmtime /opt/wasmtime/bin/wasmtime
  bench all -o json >figures.json";

fn connections() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn connections_of(count: &str) -> Option<u16> {
        match Args::try_parse_from(["bench", "load", "--connections", count]).ok()?.what {
            What::Load { connections } => Some(connections),
            _ => None,
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn connections_are_limited() {
        assert_eq!(connections_of("0"), None);
        assert_eq!(connections_of("400"), Some(400));
        assert_eq!(connections_of("401"), None);
    }
}
