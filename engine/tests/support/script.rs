//! A guest written as a list of calls and what they must return; the first that does not ends it.

use refrain_engine::TurnOutcome;
use refrain_kernel::Outbound;
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_kernel::outbound::{Host, IpRange, PortRange, Rule};
use refrain_wire::{Protocol, Record};

use super::pieces::store;
use super::{LIMITS, agree, command, config, exit_reason, platform};

/// The port that the guests listen on.
pub const PORT: u16 = 80;
/// The address that they may reach.
pub const OUTSIDE: &str = "192.0.2.9:5432";

/// A guest that opens its listeners itself, and may reach [`OUTSIDE`] and the name `db.example`.
pub fn guest() -> GuestConfig {
    let address = OUTSIDE.parse::<std::net::SocketAddr>().unwrap();
    let rule = |host, protocol| Rule { host, ports: PortRange::one(address.port()), protocol, proxy_header: None };
    let range = || Host::Range(IpRange::one(address.ip()));
    let rules = vec![
        rule(range(), Protocol::Tcp),
        rule(range(), Protocol::Udp),
        rule(Host::name("db.example").unwrap(), Protocol::Tcp),
    ];
    let port = |port, datagram| GuestPort { port, datagram, pass: false };
    GuestConfig { ports: vec![port(PORT, false), port(53, true)], outbound: Outbound::new(rules), ..config() }
}

/// The calls.
#[derive(Default)]
pub struct Script {
    body: String,
    checks: Vec<String>,
}

impl Script {
    /// Puts a number into the guest's memory.
    pub fn word(&mut self, at: u32, value: u32) -> &mut Self {
        self.body += &format!("(i32.store (i32.const {at}) (i32.const {}))\n", value.cast_signed());
        self
    }

    /// Puts bytes into the guest's memory.
    pub fn bytes(&mut self, at: u32, bytes: &[u8]) -> &mut Self {
        self.body += &store(at, bytes);
        self
    }

    /// Puts an address and its length there, as an `iovec` and WasmEdge's addresses have them.
    pub fn buffer(&mut self, at: u32, buffer: u32, len: u32) -> &mut Self {
        self.word(at, buffer).word(at + 4, len)
    }

    /// Puts the descriptor that is at 0 there too.
    pub fn copy_descriptor(&mut self, at: u32) -> &mut Self {
        self.body += &format!("(i32.store (i32.const {at}) (i32.load (i32.const 0)))\n");
        self
    }

    /// Calls a function that must return this. Arguments: numbers, and `@N` for the number in memory at N.
    pub fn call(&mut self, function: &str, arguments: &str, returns: u16) -> &mut Self {
        let arguments: String = arguments.split_whitespace().map(argument).collect();
        self.check(&format!("(call ${function} {arguments})"), u32::from(returns))
    }

    /// A number in memory must be this.
    pub fn expect(&mut self, at: u32, value: u32) -> &mut Self {
        self.check(&format!("(i32.load (i32.const {at}))"), value)
    }

    /// Bytes in memory must be these.
    pub fn expect_bytes(&mut self, at: u32, bytes: &[u8]) -> &mut Self {
        for (index, byte) in (at..).zip(bytes) {
            self.check(&format!("(i32.load8_u (i32.const {index}))"), u32::from(*byte));
        }
        self
    }

    fn check(&mut self, expression: &str, value: u32) -> &mut Self {
        self.checks.push(format!("{expression} is not {value}"));
        self.body += &format!(
            "(local.set $found {expression})
             (if (i32.ne (local.get $found) (i32.const {}))
               (then (i32.store (i32.const 65532) (local.get $found)) (call $proc_exit (i32.const {}))))\n",
            value.cast_signed(),
            self.checks.len()
        );
        self
    }

    /// The module.
    pub fn module(&self) -> Vec<u8> {
        let mut imports: Vec<&str> =
            self.body.split("(call $").skip(1).filter_map(|rest| rest.split([' ', ')']).next()).collect();
        imports.extend(["proc_exit", "wasix.thread_sleep"]);
        imports.sort_unstable();
        imports.dedup();
        // The proxy can be asked from the second turn on, and what a guest sends in the turn in which it ends is not
        // sent: it sleeps at both ends.
        let sleep = "(drop (call $wasix.thread_sleep (i64.const 1000)))";
        command(&imports.join(" "), &format!("(local $found i32) {sleep}{}{sleep}", self.body))
    }

    /// Runs it on two replicas through these turns, with one before and one after; it must be through in the last of
    /// these, and end well. Returns their outcomes.
    pub fn run(&self, config: GuestConfig, turns: &[Vec<Record>]) -> Vec<TurnOutcome> {
        let turns = [&[vec![]], turns, &[vec![]]].concat();
        let mut outcomes = agree(&platform(), &self.module(), config, LIMITS, &turns);
        for (index, outcome) in outcomes.iter().enumerate() {
            let Some(reason) = exit_reason(outcome) else { continue };
            let code = reason.strip_prefix("exited with code ").and_then(|code| code.parse::<usize>().ok());
            let failed = code.and_then(|code| self.checks.get(code.wrapping_sub(1)));
            assert_eq!(failed, None, "in turn {index}");
            assert_eq!((reason.as_str(), index + 1), ("exited with code 0", turns.len()));
            outcomes.remove(0);
            return outcomes;
        }
        panic!("it still waits after {} turns", turns.len());
    }

    /// The same for one that never waits.
    pub fn run_at_once(&self) -> Vec<TurnOutcome> {
        self.run(guest(), &[vec![]])
    }
}

fn argument(word: &str) -> String {
    match (word.strip_prefix('@'), word.strip_suffix('L')) {
        (Some(at), _) => format!("(i32.load (i32.const {at}))"),
        (_, Some(wide)) => format!("(i64.const {wide})"),
        _ => format!("(i32.const {word})"),
    }
}
