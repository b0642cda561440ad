//! The command line of the server.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Durability, LogFormat};
use crate::{exit, logging, up};

/// Runs ordinary Wasm servers as replicated state machines behind a transparent proxy.
#[derive(Debug, Parser)]
#[command(name = "refrain", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  refrain up examples/image-server          one service, three replicas, data in ./refrain-data
  refrain up                                what the data folder already has
  refrain up a b --data-dir /srv/refrain    two services, another data folder
  rctl status                               what runs, from another terminal";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every role in one process: proxy, sequencer with a durable log, engines.
    #[command(after_help = UP_EXAMPLES)]
    Up(Box<UpArgs>),
    /// Prints a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

const UP_EXAMPLES: &str = "\
Examples:
  refrain up examples/image-server
  refrain up examples/kv-server --replicas 5 --durability none
  refrain up examples/echo --print-config

Flags win over the environment (REFRAIN_*), that over the file of --config, that over defaults.
Ctrl-C or SIGTERM drains: no new connections, open ones get --drain-timeout to end; a second one ends at once.";

/// Flags of `up`; those left out come from the configuration file or are defaults.
#[derive(Debug, Default, Args)]
pub(crate) struct UpArgs {
    /// Folders with a `service.toml` each; services that the data folder already has run too.
    #[arg(value_name = "SERVICE_DIR")]
    pub(crate) services: Vec<PathBuf>,
    /// Replicas of each new service, instead of what its manifest says (odd, 1 to 7).
    #[arg(long, value_name = "N", env = "REFRAIN_REPLICAS")]
    pub(crate) replicas: Option<u8>,
    /// Where log, bundles and compiled code are kept [default: refrain-data].
    #[arg(long, value_name = "DIR", env = "REFRAIN_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Whether an answer waits until its request is on the disk [default: fsync].
    #[arg(long, value_name = "HOW", env = "REFRAIN_DURABILITY")]
    pub(crate) durability: Option<Durability>,
    /// Where the admin API listens; loopback only [default: 127.0.0.1:7070, or a free port when that is taken].
    #[arg(long, value_name = "ADDR", env = "REFRAIN_ADMIN_LISTEN")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Lets `rctl service corrupt-replica` damage replicas.
    #[arg(long, env = "REFRAIN_ALLOW_FAULT_INJECTION")]
    pub(crate) allow_fault_injection: bool,
    /// The most bytes of log on disk, like 16GiB; requests are refused when it is full [default: 16GiB].
    #[arg(long, value_name = "SIZE", env = "REFRAIN_MAX_LOG_BYTES")]
    pub(crate) max_log_bytes: Option<String>,
    /// Threads that run guests [default: one a core].
    #[arg(long, value_name = "N", env = "REFRAIN_ENGINE_WORKERS")]
    pub(crate) engine_workers: Option<usize>,
    /// The most client connections of all services together [default: 20000].
    #[arg(long, value_name = "N", env = "REFRAIN_MAX_CONNECTIONS")]
    pub(crate) max_connections: Option<u32>,
    /// How long open connections may go on at the end, like 10s [default: 10s].
    #[arg(long, value_name = "TIME", env = "REFRAIN_DRAIN_TIMEOUT")]
    pub(crate) drain_timeout: Option<String>,
    /// A configuration file (TOML); its keys are the flags' names.
    #[arg(long, value_name = "FILE", env = "REFRAIN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Prints the configuration as it results, and ends.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// How log lines look [default: text].
    #[arg(long, value_name = "FORMAT", env = "REFRAIN_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => {
            logging::start(args.log_format.unwrap_or_default());
            exit::of(up::run(*args))
        }
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "refrain", &mut io::stdout());
            ExitCode::SUCCESS
        }
    }
}
