//! The command line of the server.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use refrain::config::{Config, Durability, LogFormat, Role, Settings};

use crate::{exit, logging};
use http::HttpArgs;

mod http;
mod replay;
mod run;

/// Runs ordinary Wasm servers as replicated state machines behind a transparent proxy.
#[derive(Debug, Parser)]
#[command(name = "refrain", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  refrain up examples/image-server          one service, three replicas, data in ./refrain-data
  refrain up                                what the data folder already has
  refrain up a b --data-dir /srv/refrain    two services, another data folder
  refrain run program.wasm                  one program by itself
  refrain node --config node.toml           one node of a cluster
  rctl status                               what runs, from another terminal";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every role in one process: proxy, sequencer with a durable log, engines.
    #[command(after_help = UP_EXAMPLES)]
    Up(Box<UpArgs>),
    /// Runs one node of a cluster, with the roles that its files give it.
    #[command(after_help = NODE_EXAMPLES)]
    Node(Box<NodeArgs>),
    /// Runs a node as a proxy alone: clients connect to it.
    #[command(after_help = PROXY_EXAMPLES)]
    Proxy(Box<NodeArgs>),
    /// Runs a node as a member of the log alone.
    #[command(after_help = SEQUENCER_EXAMPLES)]
    Sequencer(Box<NodeArgs>),
    /// Runs a node as an engine alone: replicas run on it.
    #[command(after_help = ENGINE_EXAMPLES)]
    Engine(Box<NodeArgs>),
    /// Runs one program by itself, without log and replicas: a module of WASI preview 1, or a
    /// component of `wasi:cli/command`, under the deterministic kernel.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<run::RunArgs>),
    /// Replays a service's log from a data folder that no node uses (`rctl replay` calls it).
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Box<replay::ReplayArgs>),
    /// Prints a completion script for a shell.
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

const UP_EXAMPLES: &str = "\
Examples:
  refrain up examples/image-server
  refrain up examples/kv-server --replicas 5 --durability none
  refrain up examples/echo --listen examples/echo/echo=127.0.0.1:9000
  refrain up examples/echo examples/kv-server --shards 2 --place examples/kv-server=1
  refrain up examples/hello-rust --http 127.0.0.1:8080 --https 127.0.0.1:8443
  refrain up examples/echo --print-config

Flags win over the environment (REFRAIN_*), that over the file of --config, that over defaults.
Ctrl-C or SIGTERM drains: no new connections, open ones get --drain-timeout to end; a second one \
ends at once.";

const NODE_EXAMPLES: &str = "\
Examples:
  refrain node --config node.toml
  refrain node --config node.toml --node 2 --data-dir /srv/refrain
  refrain node --config node.toml --join          a member that was added to a running cluster

node.toml:                               cluster.toml, the same on every node:
  node = 1                                 name = \"default\"
  cluster = \"cluster.toml\"                 shards = 1
  data-dir = \"/srv/refrain\"                [[node]]
  services = [\"examples/kv-server\"]        id = 1
                                           address = \"127.0.0.1:7101\"
                                           roles = [\"proxy\", \"sequencer\", \"engine\"]";

const PROXY_EXAMPLES: &str = "\
Example:
  refrain proxy --config node.toml

The same as `refrain node` with roles = [\"proxy\"] in node.toml; see `refrain node --help` for the files.";

const SEQUENCER_EXAMPLES: &str = "\
Example:
  refrain sequencer --config node.toml

The same as `refrain node` with roles = [\"sequencer\"] in node.toml; see `refrain node --help` for the \
files.";

const ENGINE_EXAMPLES: &str = "\
Example:
  refrain engine --config node.toml

The same as `refrain node` with roles = [\"engine\"] in node.toml; see `refrain node --help` for the files.";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  refrain completion bash > ~/.local/share/bash-completion/completions/refrain
  refrain completion zsh > ~/.zfunc/_refrain        with fpath=(~/.zfunc $fpath) before compinit
  refrain completion fish > ~/.config/fish/completions/refrain.fish";

const RUN_EXAMPLES: &str = "\
Examples:
  refrain run hello.wasm
  refrain run --dir data::/srv --env LANG=C tool.wasm --all /srv/list
  refrain run --dir . build.wasm -- --dir elsewhere       the second --dir is the program's
  refrain run --seed 7 --time 2026-01-31T12:00:00Z --fast game.wasm < moves
  refrain run --listen 127.0.0.1:8080 server.wasm

Flags come before MODULE or directly behind it. The exit code is the program's; 134 after a trap, 128 \
and its number after a signal, 2 for a wrong command line, 1 when the program could not be started.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  refrain replay kv-server --data-dir data1 --to 1200 --print-from 1190
  refrain replay kv-server --data-dir data1 --from newest
  refrain replay kv-server --data-dir data1 --until-differs data2
  refrain replay kv-server --data-dir d --until-differs d/forensics/examples/kv-server/1200-seat2

Nothing is written. Exit code 1 when something differs from what was recorded, or from the other \
folder.";

/// What every server process is given; what is left out comes from the configuration file or is a default.
#[derive(Debug, Default, Args)]
struct ProcessArgs {
    /// Where log, bundles and compiled code are kept [default: refrain-data].
    #[arg(long, value_name = "DIR", env = "REFRAIN_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Whether an answer waits until its request is on the disk [default: fsync].
    #[arg(long, value_name = "HOW", env = "REFRAIN_DURABILITY")]
    durability: Option<Durability>,
    /// Where the admin API listens; loopback only [default: 127.0.0.1:7070, or a free port when that is taken].
    #[arg(long, value_name = "ADDR", env = "REFRAIN_ADMIN_LISTEN")]
    admin_listen: Option<SocketAddr>,
    /// Lets `rctl service corrupt-replica` damage replicas.
    #[arg(long, env = "REFRAIN_ALLOW_FAULT_INJECTION")]
    allow_fault_injection: bool,
    /// The most bytes of each log on disk, like 16GiB; requests are refused when it is full [default: 16GiB].
    #[arg(long, value_name = "SIZE", env = "REFRAIN_MAX_LOG_BYTES")]
    max_log_bytes: Option<String>,
    /// Threads that run guests; shards have equal parts of them, one at least [default: one a core].
    #[arg(long, value_name = "N", env = "REFRAIN_ENGINE_WORKERS", value_parser = whole::<usize>)]
    engine_workers: Option<usize>,
    /// The most client connections of all services of a shard together [default: 20000].
    #[arg(long, value_name = "N", env = "REFRAIN_MAX_CONNECTIONS", value_parser = whole::<u32>)]
    max_connections: Option<u32>,
    /// How long open connections may go on at the end, like 10s [default: 10s].
    #[arg(long, value_name = "TIME", env = "REFRAIN_DRAIN_TIMEOUT")]
    drain_timeout: Option<String>,
    /// Where a port of a service listens, instead of what its manifest says: an address, or unix:/path; may be given
    /// several times.
    #[arg(long, value_name = "NAMESPACE/NAME/PORT=ADDR")]
    listen: Vec<String>,
    #[command(flatten)]
    http: HttpArgs,
    /// Lets nodes listen for each other on addresses that are not loopback, unencrypted.
    #[arg(long, env = "REFRAIN_INSECURE")]
    insecure: bool,
    /// How long a member waits for its leader before it stands for election; random up to twice that [default: 500ms].
    #[arg(long, value_name = "TIME", env = "REFRAIN_ELECTION_TIMEOUT")]
    election_timeout: Option<String>,
    /// How often a leader shows that it lives [default: 100ms].
    #[arg(long, value_name = "TIME", env = "REFRAIN_HEARTBEAT_INTERVAL")]
    heartbeat_interval: Option<String>,
    /// How long another node may be silent before streams to it are given up [default: six election timeouts, at most
    /// two fifths of the lease].
    #[arg(long, value_name = "TIME", env = "REFRAIN_PEER_TIMEOUT")]
    peer_timeout: Option<String>,
    /// How long a proxy's connections live on without word from the leader [default: 5s].
    #[arg(long, value_name = "TIME", env = "REFRAIN_LEASE")]
    lease: Option<String>,
    /// A service's batches after which a checkpoint of it is taken [default: 500].
    #[arg(long, value_name = "N", env = "REFRAIN_CHECKPOINT_BATCHES", value_parser = whole::<u64>)]
    checkpoint_batches: Option<u64>,
    /// The bytes of a service's batches after which a checkpoint of it is taken [default: 8MiB].
    #[arg(long, value_name = "SIZE", env = "REFRAIN_CHECKPOINT_BYTES")]
    checkpoint_bytes: Option<String>,
    /// The least time between two checkpoints of a service [default: 10s].
    #[arg(long, value_name = "TIME", env = "REFRAIN_CHECKPOINT_INTERVAL")]
    checkpoint_interval: Option<String>,
    /// How often the log is cut behind checkpoints [default: 10s].
    #[arg(long, value_name = "TIME", env = "REFRAIN_LOG_CUT_INTERVAL")]
    log_cut_interval: Option<String>,
    /// Whether a replica that diverged is rebuilt by itself, once an hour [default: true].
    #[arg(long, value_name = "BOOL", env = "REFRAIN_REBUILD")]
    rebuild: Option<bool>,
    /// Whether services' calls outward, which their manifests allow, may be made by this node [default: true].
    #[arg(long, value_name = "BOOL", env = "REFRAIN_OUTWARD")]
    outward: Option<bool>,
    /// A configuration file (TOML); its keys are the flags' names.
    #[arg(long, value_name = "FILE", env = "REFRAIN_CONFIG")]
    config: Option<PathBuf>,
    /// Prints the configuration as it results, and ends.
    #[arg(long)]
    print_config: bool,
    /// How log lines look [default: text].
    #[arg(long, value_name = "FORMAT", env = "REFRAIN_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

/// Flags of `up`.
#[derive(Debug, Default, Args)]
struct UpArgs {
    /// Folders with a `service.toml` each; services that the data folder already has run too.
    #[arg(value_name = "SERVICE_DIR")]
    services: Vec<PathBuf>,
    /// Replicas of each new service, instead of what its manifest says (odd, 1 to 7).
    #[arg(long, value_name = "N", env = "REFRAIN_REPLICAS", value_parser = whole::<u8>)]
    replicas: Option<u8>,
    /// Where other nodes reach this one, so that it can grow into a cluster.
    #[arg(long, value_name = "ADDR", env = "REFRAIN_PEER_LISTEN")]
    peer_listen: Option<SocketAddr>,
    /// Independent logs, 1 to 64, each with a loop thread of its own; may grow, never shrink [default: 1].
    #[arg(long, value_name = "N", env = "REFRAIN_SHARDS", value_parser = whole::<u16>)]
    shards: Option<u16>,
    /// The shard of a service that is new, instead of the one that its name chooses; may be given several times.
    #[arg(long, value_name = "NAMESPACE/NAME=SHARD")]
    place: Vec<String>,
    #[command(flatten)]
    process: ProcessArgs,
}

/// Flags of a node.
#[derive(Debug, Default, Args)]
struct NodeArgs {
    /// This node's number in the cluster file.
    #[arg(long, value_name = "N", env = "REFRAIN_NODE", value_parser = whole::<u64>)]
    node: Option<u64>,
    /// The cluster file.
    #[arg(long, value_name = "FILE", env = "REFRAIN_CLUSTER")]
    cluster: Option<PathBuf>,
    /// The cluster runs already, and this node was added to it.
    #[arg(long, env = "REFRAIN_JOIN")]
    join: bool,
    /// Folders of services, besides those of the configuration file.
    #[arg(value_name = "SERVICE_DIR")]
    services: Vec<PathBuf>,
    #[command(flatten)]
    process: ProcessArgs,
}

impl ProcessArgs {
    fn settings(self) -> Settings {
        Settings {
            data_dir: self.data_dir,
            durability: self.durability,
            admin_listen: self.admin_listen,
            allow_fault_injection: self.allow_fault_injection.then_some(true),
            max_log_bytes: self.max_log_bytes,
            engine_workers: self.engine_workers,
            max_connections: self.max_connections,
            drain_timeout: self.drain_timeout,
            listen: self.listen,
            http: self.http.settings(),
            insecure: self.insecure.then_some(true),
            election_timeout: self.election_timeout,
            heartbeat_interval: self.heartbeat_interval,
            peer_timeout: self.peer_timeout,
            lease: self.lease,
            checkpoint_batches: self.checkpoint_batches,
            checkpoint_bytes: self.checkpoint_bytes,
            checkpoint_interval: self.checkpoint_interval,
            log_cut_interval: self.log_cut_interval,
            rebuild: self.rebuild,
            outward: self.outward,
            config: self.config,
            ..Settings::default()
        }
    }
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => {
            let UpArgs { services, replicas, peer_listen, shards, place, process } = *args;
            start(process, |settings| {
                Config::of_up(Settings { services, replicas, peer_listen, shards, place, ..settings })
            })
        }
        Command::Node(args) => node(*args, None),
        Command::Proxy(args) => node(*args, Some(Role::Proxy)),
        Command::Sequencer(args) => node(*args, Some(Role::Sequencer)),
        Command::Engine(args) => node(*args, Some(Role::Engine)),
        Command::Run(args) => {
            logging::start_quiet();
            run::run(*args)
        }
        Command::Replay(args) => {
            logging::start_quiet();
            replay::run(&args)
        }
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "refrain", &mut io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// A number; its bounds are checked with everything else.
fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let number: u64 = text.parse().map_err(|_| "expected a whole number".to_owned())?;
    let most = u64::MAX >> (u64::BITS - 8 * u32::try_from(size_of::<T>()).unwrap_or(8));
    T::try_from(number).map_err(|_| format!("expected a whole number, at most {most}"))
}

fn node(args: NodeArgs, role: Option<Role>) -> ExitCode {
    let NodeArgs { node, cluster, join, services, process } = args;
    start(process, |settings| {
        let roles = role.map(|role| vec![role]);
        let join = join.then_some(true);
        Config::of_node(Settings { node, cluster, join, services, roles, ..settings })
    })
}

fn start(
    process: ProcessArgs,
    resolve: impl FnOnce(Settings) -> Result<Config, refrain::config::ConfigError>,
) -> ExitCode {
    logging::start(process.log_format.unwrap_or_default());
    let print = process.print_config;
    exit::of(resolve(process.settings()).map_err(Into::into).and_then(|config| crate::run::run(&config, print)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command with all that is below it.
    fn with_all_below(command: &clap::Command) -> Vec<clap::Command> {
        let below = command.get_subcommands().filter(|of| of.get_name() != "help");
        std::iter::once(command.clone()).chain(below.flat_map(with_all_below)).collect()
    }

    #[test]
    fn a_number_that_is_none_or_too_large_is_told_with_what_is_allowed() {
        assert_eq!((whole::<u8>("255"), whole::<u64>("18446744073709551615")), (Ok(255), Ok(u64::MAX)));
        assert_eq!(whole::<u16>("x"), Err("expected a whole number".to_owned()));
        assert_eq!(whole::<u8>("256"), Err("expected a whole number, at most 255".to_owned()));
        assert_eq!(whole::<u16>("65536"), Err("expected a whole number, at most 65535".to_owned()));
    }

    #[test]
    fn bash_completes_commands_options_and_their_values() {
        let mut script = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "refrain", &mut script);
        let script = String::from_utf8(script).expect("a script is text");
        for (before, word, offered) in [
            ("refrain", "seq", "sequencer"),
            ("refrain up", "--dur", "--durability"),
            ("refrain up --durability", "fs", "fsync"),
            ("refrain run", "--fa", "--fast"),
        ] {
            let (at, previous) = (before.split(' ').count(), before.split(' ').next_back().unwrap_or_default());
            let asked = format!(
                "{script}\nCOMP_WORDS=({before} {word}) COMP_CWORD={at}\n_refrain refrain '{word}' '{previous}'\n\
                 printf '%s ' \"${{COMPREPLY[@]}}\""
            );
            let bash =
                std::process::Command::new("bash").args(["--norc", "-c", &asked]).output().expect("there is bash");
            assert_eq!(
                String::from_utf8_lossy(&bash.stdout).trim(),
                offered,
                "{}",
                String::from_utf8_lossy(&bash.stderr)
            );
        }
    }

    #[test]
    fn every_help_has_an_example_and_no_line_that_is_wider_than_100_columns() {
        let mut root = Cli::command();
        root.build();
        for mut command in with_all_below(&root) {
            let (name, after) = (command.get_name().to_owned(), command.get_after_help().map(ToString::to_string));
            let after = after.unwrap_or_else(|| panic!("{name} has no example"));
            assert!(after.contains("Example") && after.contains("  refrain "), "{name}: {after}");
            let help = command.render_long_help().to_string();
            // Paragraphs are broken where the terminal ends; examples would be torn.
            for line in help.lines().chain(after.lines().filter(|line| line.starts_with("  "))) {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
        }
    }
}
