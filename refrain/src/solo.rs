//! One program by itself, under the deterministic kernel: no log, no replicas, no proxy.
//!
//! The program is a replica whose batches are made here: a turn begins when input, a connection's bytes or a timer that it
//! waits for are there. Standard streams are passed through, folders are read in before it starts and what changed in
//! them is written back when it has ended.
//!
//! - `folders`: host folders in; `save`: their changes out
//! - `streams`: standard input and output
//! - `connections`: listeners and their connections, as records and effects
//! - `clock`: what time a turn has
//!
//! Guarantees: with a fixed time, a fixed seed, [`Program::fast`] and equal input, equal runs. The thread that calls
//! [`run`] runs the guest; others only wait for the outside and hand over, through one bounded channel.

mod clock;
mod connections;
mod folders;
mod save;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use refrain_engine::replica::{Blueprint, RunLimits};
use refrain_engine::{LoadError, Platform, Replica, ReplicaId, TurnBatch};
use refrain_kernel::config::{GuestConfig, GuestPort, RestartPolicy};
use refrain_kernel::fs::BundleFiles;
use refrain_kernel::process::GuestEnd;
use refrain_kernel::solo::Solo;
use refrain_kernel::{Kernel, Outbound, ShardEvent};
use refrain_wire::{Epoch, GroupId, Incarnation, Position, Record, RecordWriter, Seat, Time};

use clock::Clock;
use connections::Connections;
pub use folders::Folder;
use folders::Mounted;
use streams::{Input, Output};

/// Events that wait to be taken; whoever brings more waits.
const EVENTS: usize = 64;
/// The most events that one turn takes: their data fits into a batch.
const EVENTS_A_TURN: usize = 12;
/// Bytes of a connection, each way, that may be under way.
const WINDOW_BYTES: u64 = 1 << 20;
/// Connections at a time.
const MAX_CONNECTIONS: u32 = 1_000;
const MAX_DESCRIPTORS: u32 = 65_536;
/// How long clients may take to take what was sent, once the program has ended.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// The only epoch there is.
const EPOCH: Epoch = Epoch(1);
const GROUP: GroupId = GroupId(1);

/// A port that the program serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where connections are accepted.
    pub address: SocketAddr,
    /// The port as the program sees it.
    pub port: u16,
}

/// What is run.
#[derive(Debug, Clone)]
pub struct Program {
    /// The module.
    pub module: Vec<u8>,
    /// Its name and arguments.
    pub args: Vec<Vec<u8>>,
    /// Its environment, as `KEY=value`.
    pub env: Vec<Vec<u8>>,
    /// The folders that it is given.
    pub folders: Vec<Folder>,
    /// What its randomness follows from.
    pub seed: [u8; 32],
    /// The time that it starts at.
    pub time: Time,
    /// Nothing is waited for but input: the clock jumps to the next timer, and stands still otherwise.
    pub fast: bool,
    /// The ports that it serves.
    pub listen: Vec<Listen>,
    /// Fuel of the whole run.
    pub fuel: Option<u64>,
    /// The most linear memory, in bytes.
    pub memory_bytes: u64,
    /// The most bytes of files, read in and added.
    pub files_bytes: u64,
}

/// Why a program was not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// This machine cannot run guests.
    #[error("guests cannot be run here")]
    Platform(#[from] refrain_engine::platform::PlatformError),
    /// The module cannot run.
    #[error("the module cannot be run")]
    Load(#[from] LoadError),
    /// A folder cannot be read in.
    #[error("a folder cannot be given to the program")]
    Folder(#[from] folders::FolderError),
    /// Something that is needed from the system is not to be had.
    #[error("{what}")]
    System {
        /// What.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// This host failed the guest.
    #[error("the host failed: {0}")]
    Host(String),
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// How the program ended; none when a signal ended the run.
    pub guest: Option<GuestEnd>,
    /// The signal that ended the run.
    pub signal: Option<i32>,
    /// What could not be written back, in words.
    pub unsaved: Vec<String>,
    /// Fuel that it used.
    pub fuel: u64,
}

/// What comes from outside.
enum Event {
    /// Bytes of standard input; none at its end.
    Input(Vec<u8>),
    /// Something about a connection.
    Connection(connections::News),
    /// A signal that is to end the run.
    Signal(i32),
}

/// Runs a program to its end. `listening` is told the addresses that are listened on before it starts.
///
/// # Errors
/// When it was not started, or this host failed it.
pub fn run(program: &Program, listening: impl FnOnce(&[SocketAddr])) -> Result<Ended, RunError> {
    let platform = Platform::new(None)?;
    let compiled = Arc::new(platform.load(&program.module)?);
    let limits = RunLimits { memory_bytes: program.memory_bytes, fuel_per_turn: program.fuel };
    let bundle = BundleFiles::new([]).expect("no file has a bad path");
    let (config, digest) = (config(program), compiled.digest);
    let blueprint = Arc::new(Blueprint { group: GROUP, digest, compiled, config, bundle, limits });
    let id = ReplicaId { group: GROUP, seat: Seat(0), incarnation: Incarnation(1) };
    let mut replica = Replica::new(id, blueprint);
    replica.keep_fuel();
    let mounted = replica.with_kernel(|kernel| mount(kernel, program))?;
    let (events, incoming) = sync_channel(EVENTS);
    let stop = Arc::new(AtomicBool::new(false));
    streams::watch_signals(events.clone(), Arc::clone(&stop))?;
    let connections = Connections::listen(&program.listen, &events)?;
    listening(connections.addresses());
    let mut run = Run {
        replica,
        incoming,
        stop,
        clock: Clock::new(program.time, program.fast),
        input: Input::new(events),
        output: Output::default(),
        connections,
        position: 0,
        seed: program.seed,
    };
    let (guest, signal, fuel) = run.until_ended()?;
    let unsaved = run.replica.with_kernel(|kernel| save::save(&mounted, kernel.fs()));
    Ok(Ended { guest, signal, unsaved, fuel })
}

fn config(program: &Program) -> GuestConfig {
    GuestConfig {
        args: program.args.clone(),
        env: program.env.clone(),
        ports: program
            .listen
            .iter()
            .map(|listen| GuestPort { port: listen.port, datagram: false, pass: true })
            .collect(),
        max_descriptors: MAX_DESCRIPTORS,
        max_flows: MAX_CONNECTIONS,
        socket_buffer_bytes: WINDOW_BYTES,
        socket_buffers_bytes: 256 << 20,
        files_bytes: program.files_bytes,
        outbound: Outbound::default(),
        max_outward: 0,
        log_lines_per_second: 0,
        restart: RestartPolicy::Never,
        backoff: Duration::ZERO,
        backoff_max: Duration::ZERO,
    }
}

fn mount(kernel: &mut Kernel, program: &Program) -> Result<Mounted, RunError> {
    let (preopens, mounted) = folders::mount(kernel.fs_mut(), &program.folders, program.files_bytes)?;
    kernel.run_solo(Solo::new(preopens, streams::terminals()));
    Ok(mounted)
}

/// A program that runs.
struct Run {
    replica: Replica,
    incoming: Receiver<Event>,
    stop: Arc<AtomicBool>,
    clock: Clock,
    input: Input,
    output: Output,
    connections: Connections,
    position: u64,
    seed: [u8; 32],
}

impl Run {
    fn until_ended(&mut self) -> Result<(Option<GuestEnd>, Option<i32>, u64), RunError> {
        let mut records = Vec::new();
        loop {
            let batch = self.batch(&records);
            let (stop, output) = (&self.stop, &mut self.output);
            let turn = self.replica.turn_while(&batch, |kernel| {
                output.pass(kernel);
                !stop.load(Ordering::Relaxed)
            });
            let outcome = turn.map_err(RunError::Host)?;
            let end = self.replica.with_kernel(|kernel| {
                self.output.pass(kernel);
                kernel.process().last_end.clone()
            });
            let Some(outcome) = outcome else { return Ok((None, self.signal(), 0)) };
            self.connections.apply(&outcome.effects);
            if end.is_some() {
                self.end_connections();
                return Ok((end, None, outcome.fuel));
            }
            records = match self.wait(outcome.wants) {
                Ok(records) => records,
                Err(signal) => return Ok((None, Some(signal), outcome.fuel)),
            };
        }
    }

    /// Has everything that the program sent written, as a host does for a process that has ended.
    fn end_connections(&mut self) {
        let until = Instant::now() + LAST_WRITES;
        while self.connections.are_open() {
            match self.incoming.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Connection(news)) => self.connections.last(&news),
                Ok(Event::Input(_)) => {}
                Ok(Event::Signal(_)) | Err(_) => return,
            }
        }
    }

    /// The signal that stopped a turn.
    fn signal(&self) -> Option<i32> {
        self.incoming.iter().find_map(|event| match event {
            Event::Signal(signal) => Some(signal),
            _ => None,
        })
    }

    fn batch(&mut self, records: &[Record]) -> TurnBatch {
        let mut writer = RecordWriter::default();
        writer.push(&Record::Origin(EPOCH));
        records.iter().for_each(|record| writer.push(record));
        let previous = Position(self.position);
        self.position += 1;
        TurnBatch {
            group: GROUP,
            position: Position(self.position),
            previous,
            time: self.clock.now(),
            shard: if self.position == 1 { vec![ShardEvent::Term(self.seed)] } else { Vec::new() },
            records: writer.take(),
            epochs: Arc::from([]),
        }
    }

    /// Waits until there is something for the next turn, and takes it. The signal, when one came.
    fn wait(&mut self, wants: Option<Time>) -> Result<Vec<Record>, i32> {
        if self.replica.with_kernel(|kernel| kernel.solo().is_some_and(|solo| solo.wants_input())) {
            self.input.ask();
        }
        let mut records = Vec::new();
        let mut next = match self.clock.until(wants, self.input.is_asked()) {
            Some(Duration::ZERO) => self.incoming.try_recv(),
            Some(left) => self.incoming.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            }),
            None => self.incoming.recv().map_err(|_| TryRecvError::Disconnected),
        };
        for taken in 1..=EVENTS_A_TURN {
            match next {
                Ok(Event::Signal(signal)) => return Err(signal),
                Ok(Event::Input(bytes)) => self.take_input(&bytes),
                Ok(Event::Connection(news)) => records.extend(self.connections.record(news)),
                Err(_) => break,
            }
            if taken == EVENTS_A_TURN {
                break;
            }
            next = self.incoming.try_recv();
        }
        Ok(records)
    }

    fn take_input(&mut self, bytes: &[u8]) {
        self.input.came();
        self.replica.with_kernel(|kernel| match kernel.solo() {
            Some(solo) if bytes.is_empty() => solo.end_input(),
            Some(solo) => solo.give_input(bytes),
            None => {}
        });
    }
}

fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RunError {
    let what = what.into();
    |source| RunError::System { what, source }
}

/// A thread that waits for the outside. It ends with the process.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(system("cannot start a thread"))
}

type Events = SyncSender<Event>;
