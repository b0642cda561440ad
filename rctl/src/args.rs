//! The command line's arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use refrain_service::{Name, parse_duration};

use crate::new::Language;
use crate::output::Format;
use crate::replay::Replay;
use crate::sequencer::Of;

const EXAMPLES: &str = "\
Examples:
  rctl status
  rctl status --json
  rctl new --lang rust my-service
  rctl check image-server.wasm
  rctl service init my-service
  rctl service kill-replica image-server --seat 1
  rctl trace kv-server

The server is found by --server and --token-file, else by --data-dir, else by
./refrain-data/admin.json, else by the file that a server of the same user left
in $XDG_RUNTIME_DIR/refrain or /tmp/refrain-<uid>.

Exit codes: 0 done, 1 failed or cannot run, 2 wrong usage.";

const TIMEOUT: Duration = Duration::from_secs(30);
const COMPILE_TIMEOUT: Duration = Duration::from_secs(600);

/// Look at and act on a Refrain server.
#[derive(Debug, Parser)]
#[command(name = "rctl", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The same as -o json
    #[arg(long, global = true)]
    json: bool,
    /// Address and port of the server's admin API
    #[arg(long, global = true, env = "REFRAIN_SERVER", value_name = "ADDRESS", value_parser = address)]
    pub server: Option<String>,
    /// File with the server's token, or its admin.json
    #[arg(long, global = true, env = "REFRAIN_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Data folder of the server
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How long an answer may take
    ///
    /// [default: 30s; 10m for `service deploy` and `service dev`, which have a component compiled first]
    #[arg(long, global = true, value_parser = duration, value_name = "TIME")]
    timeout: Option<Duration>,
}

impl Options {
    /// How results are printed.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }

    /// The same of a command that has something compiled first: tens of seconds for a component with an engine in it, or
    /// minutes on a busy machine.
    pub fn patient(mut self) -> Self {
        self.timeout = self.timeout.or(Some(COMPILE_TIMEOUT));
        self
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the server, its services and their seats
    #[command(after_help = "Examples:\n  rctl status\n  rctl status --json | jq '.services[].position'")]
    Status,
    /// Make a project of an HTTP service: sources that greet, echo and build, and a service.toml
    #[command(
        after_help = "Examples:\n  rctl new --lang rust hello\n  rctl new --lang c hello --dir services/hello\n  \
        rctl new --lang rust hello --sdk ../refrain/sdk/rust\n\n\
        Then, in the folder: `rctl service build`, `refrain up .`, `curl http://127.0.0.1:8000/`. Nothing is \
        fetched and nothing is overwritten: the folder must be empty or not there. A project in Rust has a \
        copy of refrain-sdk in it and depends on published crates beside it; with --sdk it uses the SDK in \
        that folder."
    )]
    New {
        /// What it is written in
        #[arg(long, value_enum)]
        lang: Language,
        /// Name of the service
        name: Name,
        /// Folder of the project; the name when it is absent
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Folder of refrain-sdk that a project in Rust uses, in place of a copy
        #[arg(long, value_name = "DIR")]
        sdk: Option<PathBuf>,
    },
    /// Tell whether a module can run, what it needs, what is missing and why, and what its manifest does not allow
    #[command(after_help = "Examples:\n  rctl check image-server.wasm\n  rctl check image-server\n  \
        rctl check image-server --json\n\n\
        A folder is checked as a service: the module that its service.toml names, and what the manifest allows \
        of what the module needs. Needs no server. Exit code 1 when the module cannot run; warnings alone are \
        no failure.")]
    Check {
        /// The Wasm module, or the folder of a service
        #[arg(value_name = "MODULE|FOLDER")]
        module: PathBuf,
    },
    /// Write a service's manifest, or act on a running service
    #[command(after_help = "Examples:\n  rctl service init my-service\n  rctl service show image-server\n  \
        rctl service dev ./hello\n\nReplicated services have replicas, seats and an agreement; stateless ones have versions and weights.")]
    Service {
        #[command(subcommand)]
        command: ServiceCommand,
    },
    /// Show and change the members of the log, of each shard's where there are several
    #[command(after_help = "Examples:\n  rctl sequencer list\n  rctl sequencer add 2 127.0.0.1:7102")]
    Sequencer {
        #[command(subcommand)]
        command: SequencerCommand,
    },
    /// Replay a service's log from a data folder that no node uses: turn by turn, or to where another one differs
    #[command(after_help = "Examples:\n  rctl replay kv-server --data-dir data1 --to 1200 --print-from 1190\n  \
        rctl replay kv-server --data-dir data1 --from newest --json\n  \
        rctl replay kv-server --data-dir data1 --until-differs data2\n\n\
        Needs no server, and its program `refrain` to do it. Exit code 1 when something differs.")]
    Replay(Replay),
    /// Show what a node kept of replicas that diverged
    #[command(after_help = "Examples:\n  rctl forensics list --data-dir data1\n  \
        rctl forensics show kv-server/1200-seat2 --data-dir data1")]
    Forensics {
        #[command(subcommand)]
        command: ForensicsCommand,
    },
    /// Show the newest batches that the server traced or found slow, with what each stage took
    #[command(after_help = "Examples:\n  rctl trace\n  rctl trace kv-server --last 3\n  \
        rctl trace f9cdfd195e1e0a1a710c470f667e35f4\n  rctl trace --json | jq '.traces[].spans[].name'\n\n\
        A node shows its own spans; ask the others (--data-dir) for theirs, under the same trace id.")]
    Trace {
        /// A service (namespace/name, or the name alone when it is unique), or the id of a trace
        #[arg(value_name = "SERVICE|TRACE_ID")]
        of: Option<String>,
        /// How many batches; the newest
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=4096))]
        last: u32,
    },
    /// Print a completion script
    #[command(after_help = "Examples:\n  rctl completion bash > ~/.local/share/bash-completion/completions/rctl\n  \
        rctl completion zsh > ~/.zfunc/_rctl          with fpath=(~/.zfunc $fpath) before compinit\n  \
        rctl completion fish > ~/.config/fish/completions/rctl.fish")]
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub enum ForensicsCommand {
    /// List the forensic bundles of a data folder, oldest first
    #[command(after_help = "Example:\n  rctl forensics list --data-dir data1\n\nNeeds no server.")]
    List,
    /// Show one
    #[command(after_help = "Example:\n  rctl forensics show kv-server/1200-seat2 --data-dir data1\n\nNeeds no server.")]
    Show {
        /// The bundle, as `list` names it; the namespace may be left out
        bundle: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum SequencerCommand {
    /// List the members, and who leads
    #[command(after_help = "Examples:\n  rctl sequencer list\n  rctl sequencer list --shard 1")]
    List {
        /// The shard whose log is meant, or `all` [default: all]
        #[arg(long, value_name = "N|all")]
        shard: Option<Of>,
    },
    /// Make a node a member; it runs with `--join` and learns the log before it votes
    #[command(
        after_help = "Examples:\n  rctl sequencer add 2 127.0.0.1:7102\n  rctl sequencer add 2 127.0.0.1:7102 --shard all"
    )]
    Add {
        /// Number of the node; one that was never used
        node: u64,
        /// Where the others reach it
        #[arg(value_parser = address)]
        address: String,
        /// The shard whose log is meant, or `all`; needed where there are several
        #[arg(long, value_name = "N|all")]
        shard: Option<Of>,
    },
    /// End a node's membership; its number must not be used again
    #[command(after_help = "Example:\n  rctl sequencer remove 2")]
    Remove {
        /// Number of the node
        node: u64,
        /// The shard whose log is meant, or `all`; needed where there are several
        #[arg(long, value_name = "N|all")]
        shard: Option<Of>,
    },
    /// Have a member lead, without an interruption
    #[command(after_help = "Examples:\n  rctl sequencer transfer 2\n  rctl sequencer transfer 2 --shard 1")]
    Transfer {
        /// Number of the node
        node: u64,
        /// The shard whose log is meant, or `all`; needed where there are several
        #[arg(long, value_name = "N|all")]
        shard: Option<Of>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Write a commented service.toml with every key and its default
    #[command(after_help = "Examples:\n  rctl service init\n  rctl service init shop --name web-shop\n\n\
        Nothing is overwritten.")]
    Init {
        /// Folder of the service; made when it does not exist
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Name of the service; the folder's name when it is absent
        #[arg(long)]
        name: Option<Name>,
    },
    /// Build a service's module and make its guests savable in checkpoints, with binaryen's wasm-opt
    #[command(after_help = "Examples:\n  rctl service build my-service\n  rctl service build my-service --check\n  \
        rctl service build my-service --wasm-opt /opt/binaryen/bin/wasm-opt\n\n\
        Runs build.command of service.toml, if there is one, and instruments what it makes. wasm-opt is looked \
        for in PATH and in folders node_modules from the service's upwards. Exit code 1 when the module cannot \
        run, or is not instrumented for want of wasm-opt.")]
    Build {
        /// Folder of the service
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Build and change nothing; only tell how the module is
        #[arg(long)]
        check: bool,
        /// The program wasm-opt
        #[arg(long, value_name = "PATH", env = "REFRAIN_WASM_OPT")]
        wasm_opt: Option<PathBuf>,
    },
    /// Show everything about one service: bundle, ports, seats, readiness, limits and what is used of them
    #[command(after_help = "Examples:\n  rctl service show image-server\n  rctl service show image-server --json")]
    Show {
        /// The service: namespace/name, or the name alone when it is unique
        name: String,
    },
    /// Show the lines that a service's guest wrote, as this node's proxy released them since it started
    #[command(
        after_help = "Examples:\n  rctl service logs image-server\n  rctl service logs image-server --lines 20 --follow\n  \
        rctl service logs image-server --follow --json | jq .line\n\n\
        The lines are agreed, so all seats have the same ones. A node keeps the newest 10,000 of each service, \
        at most 1 MiB. With --follow and --json each line is an object of its own."
    )]
    Logs {
        /// The service: namespace/name, or the name alone when it is unique
        name: String,
        /// How many; the newest
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
        lines: u32,
        /// Go on with those that come, until interrupted
        #[arg(long, short)]
        follow: bool,
    },
    /// End one replica as a crash would; it is started again and replays
    #[command(after_help = "Example:\n  rctl service kill-replica examples/image-server --seat 1")]
    KillReplica {
        #[command(flatten)]
        target: Target,
    },
    /// Flip a bit in one replica's memory and append an audit (`refrain up --allow-fault-injection`)
    #[command(after_help = "Examples:\n  rctl service corrupt-replica image-server --seat 2\n  \
        rctl service corrupt-replica image-server --seat 2 --address 0x1000 --bit 3")]
    CorruptReplica {
        #[command(flatten)]
        target: Target,
        /// Byte of the guest's memory, decimal or 0x...; the server chooses one when it is absent
        #[arg(long, value_parser = memory_address)]
        address: Option<u64>,
        /// Bit of that byte
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=7))]
        bit: Option<u8>,
    },
    /// Compare the whole state of all replicas at the next position
    #[command(after_help = "Example:\n  rctl service audit image-server")]
    Audit {
        /// The service: namespace/name, or the name alone when it is unique
        name: String,
    },
    /// End a halt: the only way out of it
    #[command(after_help = "Example:\n  rctl service resume image-server")]
    Resume {
        /// The service: namespace/name, or the name alone when it is unique
        name: String,
    },
    /// Give a service another number of replicas, while it runs
    #[command(after_help = "Examples:\n  rctl service scale image-server --replicas 5\n  \
        rctl service scale image-server --replicas 1")]
    Scale {
        /// The service: namespace/name, or the name alone when it is unique
        name: String,
        /// How many; odd, 1 to 7
        #[arg(long)]
        replicas: u8,
    },
    /// Run another version of a service: all replicas switch at one position, files stay, connections are reset
    #[command(after_help = "Example:\n  rctl service upgrade image-server ./image-server-2\n\n\
        Every engine fetches and compiles the module first. A module that does not start (it ends, or waits \
        before it listens on its ports) is rolled back on all replicas, and the former version goes on. Exit \
        code 1 then.")]
    Upgrade {
        /// The service: namespace/name, or the name alone when it is unique
        name: String,
        /// Folder with the service.toml of the other version
        dir: PathBuf,
    },
    /// Run a version of a stateless service beside the others, or instead of the one of its number
    #[command(after_help = "Examples:\n  rctl service deploy ./hello\n  rctl service deploy ./hello-2 --weight 10\n\n\
        It is compiled first; requests that are under way end with the version that they began with.")]
    Deploy {
        /// Folder with the service.toml
        dir: PathBuf,
        /// Its share of the service's requests [default: all for the only version, that of the one it takes the place
        /// of, else none]
        #[arg(long)]
        weight: Option<u16>,
    },
    /// Build a stateless service and run it, again whenever its files change; requests under way are not dropped
    #[command(after_help = "Example:\n  refrain up &\n  rctl service dev ./hello\n\n\
        Not looked at are hidden files, what the build makes by service.toml, and folders called target, out, \
        dist, build, node_modules or __pycache__: a build that writes elsewhere is built again for ever.")]
    Dev {
        /// Folder with the service.toml
        dir: PathBuf,
        /// The `wasm-opt` to instrument modules with
        #[arg(long, value_name = "FILE", env = "REFRAIN_WASM_OPT")]
        wasm_opt: Option<PathBuf>,
    },
    /// Send one request to a service through the HTTP front end; exit code 1 for a status of 400 and more
    #[command(
        after_help = "Examples:\n  rctl service invoke hello\n  rctl service invoke hello /echo --data 'good day'\n  \
        rctl service invoke hello /env --service-version ^1.0 -H 'accept: text/plain'"
    )]
    Invoke {
        #[command(flatten)]
        invocation: Invocation,
    },
    /// Shift requests between versions of a stateless service
    #[command(after_help = "Example:\n  rctl service weights hello 1.0.0=90 1.1.0=10")]
    Weights {
        /// The service: namespace/name, or the name alone when it is unique
        name: String,
        /// Versions with their shares
        #[arg(required = true, value_name = "VERSION=WEIGHT", value_parser = crate::deploy::share)]
        weights: Vec<(String, u16)>,
    },
    /// End a version of a stateless service; requests that are under way end first
    #[command(after_help = "Example:\n  rctl service remove hello 1.0.0")]
    Remove {
        /// The service: namespace/name, or the name alone when it is unique
        name: String,
        /// The version
        version: String,
    },
    /// Drop one replica and rebuild it from the log
    #[command(after_help = "Example:\n  rctl service rebuild image-server --seat 2")]
    Rebuild {
        #[command(flatten)]
        target: Target,
    },
}

/// One request.
#[derive(Debug, Args)]
pub struct Invocation {
    /// The service: namespace/name, or the name alone
    pub name: String,
    /// The path below the service's first route, with its query
    #[arg(default_value = "/")]
    pub path: String,
    /// The method [default: GET, or POST with --data]
    #[arg(long, short = 'X')]
    pub method: Option<String>,
    /// A header; may be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = crate::invoke::header)]
    pub headers: Vec<(String, String)>,
    /// The body: a text, or @FILE
    #[arg(long, short = 'd')]
    pub data: Option<String>,
    /// The version that is to answer: exactly this one, or a range such as ^1.0
    #[arg(long, value_name = "VERSION")]
    pub service_version: Option<String>,
}

/// One seat of one service.
#[derive(Debug, Args)]
pub struct Target {
    /// The service: namespace/name, or the name alone when it is unique
    pub name: String,
    /// The seat, from 0
    #[arg(long)]
    pub seat: u8,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() {
        return Err("must be more than nothing".to_owned());
    }
    Ok(duration)
}

fn address(text: &str) -> Result<String, String> {
    if text.starts_with("https://") {
        return Err("the admin API speaks plain http on a trusted network; leave out https://".to_owned());
    }
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let plain = !address.contains(['/', '@', '?', '#', ' ']);
    match port {
        Some(1..) if plain => Ok(address.to_owned()),
        _ => Err("expected an address and a port, such as 127.0.0.1:7070".to_owned()),
    }
}

fn memory_address(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    /// A command with all that is below it.
    fn with_all_below(command: &clap::Command) -> Vec<clap::Command> {
        let below = command.get_subcommands().filter(|of| of.get_name() != "help");
        std::iter::once(command.clone()).chain(below.flat_map(with_all_below)).collect()
    }

    #[test]
    fn every_help_has_an_example_and_no_line_that_is_wider_than_100_columns() {
        let mut root = Arguments::command();
        root.build();
        for mut command in with_all_below(&root) {
            let (name, after) = (command.get_name().to_owned(), command.get_after_help().map(ToString::to_string));
            let after = after.unwrap_or_else(|| panic!("{name} has no example"));
            assert!(after.contains("Example") && after.contains("  rctl "), "{name}: {after}");
            let help = command.render_long_help().to_string();
            // Paragraphs are broken where the terminal ends; examples would be torn.
            for line in help.lines().chain(after.lines().filter(|line| line.starts_with("  "))) {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
        }
    }

    #[test]
    fn an_address_has_a_port_and_no_path() {
        for (text, address_found) in [
            ("127.0.0.1:7070", Some("127.0.0.1:7070")),
            ("http://localhost:1/", Some("localhost:1")),
            ("[::1]:7070", Some("[::1]:7070")),
            ("https://localhost:1", None),
            ("localhost", None),
            ("localhost:0", None),
            ("localhost:65536", None),
            ("user@host:1", None),
            ("host/path:1", None),
        ] {
            assert_eq!(address(text).ok().as_deref(), address_found, "{text}");
        }
    }

    #[test]
    fn a_memory_address_is_decimal_or_hexadecimal() {
        assert_eq!((memory_address("0x1000"), memory_address("4096")), (Ok(4096), Ok(4096)));
        assert!(memory_address("x").is_err() && memory_address("0x").is_err());
    }
}
