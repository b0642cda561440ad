//! The services of a run. They are compiled once a process; runs share the code and nothing else.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use refrain::service::Service;
use refrain_engine::Platform;
use refrain_service::{Agreement, Bundle, FuelPerTurn};

/// Fuel of a turn: a guest whose memory was damaged may spin, and a run has a second.
const FUEL_PER_TURN: u64 = 50_000_000;
/// Small enough that echoed bytes fill it.
const SOCKET_BUFFER: &str = "16KiB";

/// The services, prepared.
#[derive(Clone)]
pub struct Guests {
    /// What they run on.
    pub platform: Platform,
    /// `examples/kv-server`.
    pub store: Arc<Service>,
    /// `examples/echo`.
    pub echo: Arc<Service>,
    rule: Agreement,
    impostor: Arc<OnceLock<Arc<Service>>>,
}

impl Guests {
    /// Those of this process; `rule` is what releases an answer.
    #[must_use]
    pub fn with(rule: Agreement) -> Self {
        static MAJORITY: OnceLock<Guests> = OnceLock::new();
        static ALL: OnceLock<Guests> = OnceLock::new();
        static NONE: OnceLock<Guests> = OnceLock::new();
        let prepared = match rule {
            Agreement::Majority => &MAJORITY,
            Agreement::All => &ALL,
            Agreement::None => &NONE,
        };
        prepared.get_or_init(|| Self::prepare(rule)).clone()
    }

    fn prepare(rule: Agreement) -> Self {
        let platform = Platform::new(None).expect("this machine runs x86-64-v2 code");
        let service = |name: &str| Arc::new(Service::prepare(bundle(name, rule), &platform, None));
        Self { store: service("kv-server"), echo: service("echo"), rule, impostor: Arc::default(), platform }
    }

    /// The same for a node whose key-value server answers some commands in other words, under the same name and digest.
    #[must_use]
    pub fn of_impostor(&self) -> Self {
        let store = self.impostor.get_or_init(|| {
            let mut bundle = bundle("kv-server", self.rule);
            replace(&mut bundle.module, b"ERR unknown command", b"ERR unheard command");
            Arc::new(Service::prepare(bundle, &self.platform, None))
        });
        Self { store: Arc::clone(store), ..self.clone() }
    }
}

fn bundle(name: &str, rule: Agreement) -> Bundle {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let mut bundle = Bundle::load(&folder).expect("the examples are whole");
    bundle.manifest.agreement = rule;
    bundle.manifest.limits.fuel_per_turn = FuelPerTurn::Limit(FUEL_PER_TURN);
    bundle.manifest.limits.socket_buffer = SOCKET_BUFFER.parse().expect("it is a size");
    bundle
}

/// Puts `other` where `text` is, which has the same length.
fn replace(module: &mut [u8], text: &[u8], other: &[u8]) {
    let at = module.windows(text.len()).position(|window| window == text).expect("the module has the text");
    module[at..at + text.len()].copy_from_slice(other);
}
