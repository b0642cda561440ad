//! The hosts of a run: turmoil's simulation, the machines of those with a disk, and the faults of the plan.
//!
//! What processes run on the hosts is the scenario's affair; faults that only a scenario knows are passed on to it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::dice::Dice;
use crate::machine::{DiskMutant, NodeClock, NodeDisk, Pace, SimTime};
use crate::net::gates::{Gates, Host};
use crate::plan::{Fault, Plan};
use crate::trace::Trace;

/// A process that ended by itself is started again after this.
const RESTART: Duration = Duration::from_millis(150);

/// A machine with a disk, from outside.
struct Machine {
    disk: NodeDisk,
    pace: Pace,
    clock: NodeClock,
    /// It is to stay down until somebody starts it.
    down: bool,
    /// When it is started again after it ended by itself.
    restart_at: Option<Duration>,
    /// The number of changes of the disk at which it dies.
    stop_at: Option<u64>,
    /// Its disk was damaged for good: it may refuse to start.
    damaged: bool,
}

/// All hosts of a run.
pub struct Hosts {
    sim: turmoil::Sim<'static>,
    gates: Gates,
    time: SimTime,
    trace: Trace,
    machines: BTreeMap<Host, Machine>,
    /// Hosts without a disk.
    others: Vec<Host>,
    plan: Plan,
    dice: Dice,
}

/// What a process on a machine uses of it; clones share it.
#[derive(Clone)]
pub struct Parts {
    /// Its disk.
    pub disk: NodeDisk,
    /// How fast the disk is.
    pub pace: Pace,
    /// Its clocks.
    pub clock: NodeClock,
}

impl Hosts {
    /// No hosts yet. The run may take `duration`, by the simulation's clock.
    #[must_use]
    pub fn new(dice: &Dice, trace: Trace, plan: Plan, duration: Duration) -> Self {
        let sim = turmoil::Builder::new()
            .rng_seed(dice.named("turmoil").roll())
            .epoch(SystemTime::UNIX_EPOCH)
            .simulation_duration(duration)
            .min_message_latency(Duration::from_millis(0))
            .max_message_latency(Duration::from_millis(2))
            .tcp_capacity(1024)
            .enable_random_order()
            .build();
        Self {
            sim,
            gates: Gates::default(),
            time: SimTime::default(),
            trace,
            machines: BTreeMap::new(),
            others: Vec::new(),
            plan,
            dice: dice.named("faults"),
        }
    }

    /// The gates between the hosts.
    #[must_use]
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// The time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// A machine with a disk for `host`; its process comes with [`Hosts::add_process`].
    pub fn add_machine(&mut self, host: Host, mutant: DiskMutant, pace: Dice) -> Parts {
        let parts =
            Parts { disk: NodeDisk::new(mutant), pace: Pace::new(pace), clock: NodeClock::new(self.time.clone()) };
        let Parts { disk, pace, clock } = parts.clone();
        let machine = Machine { disk, pace, clock, down: false, restart_at: None, stop_at: None, damaged: false };
        self.machines.insert(host, machine);
        parts
    }

    /// What runs on `host`, which has no disk if it was given no machine.
    pub fn add_process<F>(&mut self, host: Host, process: impl Fn() -> F + 'static)
    where
        F: Future<Output = turmoil::Result> + 'static,
    {
        if !self.machines.contains_key(&host) {
            self.others.push(host);
        }
        self.sim.host(host.to_string(), process);
    }

    /// Whether the disk of `host` was damaged for good.
    #[must_use]
    pub fn is_damaged(&self, host: Host) -> bool {
        self.machines.get(&host).is_none_or(|machine| machine.damaged)
    }

    /// Inflicts what is due, and lets everybody run for a tick. Faults of the scenario's own go to `inflict`.
    ///
    /// # Errors
    /// A process that ended with an error.
    pub fn step(&mut self, inflict: impl FnMut(&Fault)) -> turmoil::Result {
        let now = self.sim.elapsed();
        self.time.set(now);
        self.trace.set_now(now);
        let mut inflict = inflict;
        for fault in self.plan.due(now) {
            self.inflict(&fault, &mut inflict);
        }
        self.look_after(now);
        self.sim.step().map(drop)
    }

    /// Kills those whose disk has stopped, and starts those that ended by themselves.
    fn look_after(&mut self, now: Duration) {
        let hosts: Vec<Host> = self.machines.keys().copied().collect();
        for host in hosts {
            let running = self.sim.is_host_running(host.to_string());
            let machine = self.machines.get_mut(&host).expect("it was just found");
            if machine.stop_at.is_some_and(|at| machine.disk.sim().operations() >= at) {
                machine.stop_at = None;
                self.power_off(host);
            } else if !running && !machine.down {
                let (ended, at) = (machine.restart_at.is_none(), *machine.restart_at.get_or_insert(now + RESTART));
                if ended {
                    self.tell_peers(host);
                } else if now >= at {
                    self.start(host);
                }
            }
        }
    }

    /// Everything works again, and everybody runs.
    pub fn end_faults(&mut self, mut inflict: impl FnMut(&Fault)) {
        self.trace.note("run", "all faults are over");
        self.gates.open_all();
        let hosts: Vec<Host> = self.machines.keys().copied().collect();
        for host in &hosts {
            for fault in [Fault::FreeDisk(*host), Fault::SlowDisk(*host, 0, 0), Fault::Clock(*host, 0)] {
                self.inflict(&fault, &mut inflict);
            }
            for other in hosts.iter().chain(&self.others.clone()).filter(|other| *other != host) {
                self.inflict(&Fault::Latency(*host, *other, 2), &mut inflict);
            }
            let machine = self.machines.get_mut(host).expect("it was just found");
            if machine.stop_at.take().is_some() {
                self.power_off(*host);
            }
        }
        for host in hosts.into_iter().chain(self.others.clone()) {
            self.inflict(&Fault::Start(host), &mut inflict);
        }
    }

    fn inflict(&mut self, fault: &Fault, others: &mut impl FnMut(&Fault)) {
        self.trace.note("fault", fault);
        match *fault {
            Fault::Cut(from, to) => self.gates.cut(from, to),
            Fault::Heal(from, to) => self.gates.heal(from, to),
            Fault::Reset(a, b) => self.gates.reset(a, b),
            Fault::Pause(host) => self.gates.pause(host),
            Fault::Resume(host) => self.gates.resume(host),
            Fault::Kill(host) => self.kill(host),
            Fault::PowerOff(host) => self.power_off(host),
            Fault::Start(host) => self.start(host),
            Fault::Orphans(percent) => self.gates.set_orphan_percent(percent),
            Fault::Latency(a, b, most) => {
                let most = Duration::from_millis(most);
                self.sim.set_link_max_message_latency(a.to_string(), b.to_string(), most);
            }
            Fault::StopDisk(host, changes) => self.machine(host, |machine| {
                let at = machine.disk.sim().operations() + changes;
                machine.disk.sim().stop_after(at);
                machine.stop_at = Some(at);
            }),
            Fault::FailSync(host) => self.machine(host, |machine| machine.disk.sim().fail_sync(1)),
            Fault::FillDisk(host) => self.machine(host, |machine| {
                machine.disk.sim().set_capacity(Some(machine.disk.sim().used()));
            }),
            Fault::FreeDisk(host) => self.machine(host, |machine| machine.disk.sim().set_capacity(None)),
            Fault::SlowDisk(host, least, most) => self.machine(host, |machine| machine.pace.set(least, most)),
            Fault::Clock(host, millis) => self.machine(host, |machine| machine.clock.set_wall_offset(millis * 1000)),
            Fault::FlipBit(host) => {
                let mut dice = self.dice.named("flip");
                self.machine(host, |machine| machine.damaged |= machine.disk.flip_somewhere(&mut dice));
            }
            _ => others(fault),
        }
    }

    fn machine(&mut self, host: Host, change: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.machines.get_mut(&host) {
            change(machine);
        }
    }

    /// The process is killed: its peers are told by the system.
    fn kill(&mut self, host: Host) {
        self.end(host);
        self.tell_peers(host);
    }

    /// The machine loses its power: nobody is told.
    fn power_off(&mut self, host: Host) {
        self.end(host);
        let seed = self.dice.roll();
        self.machine(host, |machine| machine.disk.sim().crash(seed));
    }

    fn end(&mut self, host: Host) {
        // What the process would still write on its way out is not written.
        self.machine(host, |machine| {
            machine.disk.sim().stop_after(0);
            machine.down = true;
            machine.restart_at = None;
            machine.stop_at = None;
        });
        self.in_silence(host, |sim| sim.crash(host.to_string()));
        self.gates.resume(host);
    }

    fn all_but(&self, host: Host) -> Vec<Host> {
        self.machines.keys().chain(&self.others).copied().filter(|other| *other != host).collect()
    }

    /// Does something that ends the tasks of `host`, without anything that they would send: tokio drops tasks in an
    /// order that depends on how many there were before in the whole process.
    fn in_silence(&mut self, host: Host, end: impl FnOnce(&mut turmoil::Sim<'static>)) {
        let others = self.all_but(host);
        others.iter().for_each(|other| self.sim.partition(host.to_string(), other.to_string()));
        end(&mut self.sim);
        others.iter().for_each(|other| self.sim.repair(host.to_string(), other.to_string()));
    }

    fn tell_peers(&self, host: Host) {
        self.all_but(host).into_iter().for_each(|other| self.gates.reset(host, other));
    }

    fn start(&mut self, host: Host) {
        if self.sim.is_host_running(host.to_string()) {
            return;
        }
        self.machine(host, |machine| {
            machine.disk.sim().restart();
            machine.down = false;
            machine.restart_at = None;
        });
        self.in_silence(host, |sim| sim.bounce(host.to_string()));
    }
}
