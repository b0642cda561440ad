//! How wasmtime is set up: one configuration for all replicas, so that they run byte-identical code.
//!
//! The rules are those of section 7 of the design: no threads (that feature is not even compiled in), deterministic relaxed SIMD, pinned target and ISA
//! flags, fixed stack, growth by the manifest's limits alone, fuel as the only bound that a guest can notice. Modules that
//! throw exceptions have a configuration of their own, which differs in that alone, and so have components of WASI 0.3,
//! whose calls run beside each other.

use std::path::PathBuf;
use std::sync::Arc;

use refrain_inspect::Feature;
use refrain_wire::Digest;
use wasmtime::{Config, Engine, Linker, component};

use crate::checkpoint::dirty::Tracker;
use crate::host::Host;
use crate::links::Links;
use crate::meter;
use crate::preview1;
use crate::preview2;
use crate::preview3;
use crate::sockets;

/// Stack of a guest, in bytes. Part of the compatibility key, as the depth at which a guest overflows it is visible.
const WASM_STACK_BYTES: usize = 1024 * 1024;
const FIBER_STACK_BYTES: usize = WASM_STACK_BYTES + 512 * 1024;

/// Why the platform could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// wasmtime refused the configuration, mostly because the processor lacks what the pinned code needs.
    #[error("this machine cannot run the pinned code")]
    Engine(#[source] wasmtime::Error),
}

/// wasmtime, configured, with everything a guest may import.
#[derive(Clone)]
pub struct Platform {
    pub(crate) engine: Engine,
    pub(crate) linker: Arc<Linker<Host>>,
    /// What components may import.
    pub(crate) component_linker: Arc<component::Linker<Host>>,
    pub(crate) cache: Option<PathBuf>,
    /// Tells what guests wrote since their last checkpoint, where the kernel can.
    pub(crate) tracker: Option<Arc<Tracker>>,
    key: Digest,
    /// The same for modules that throw; none in that one itself.
    throwing: Option<Arc<Platform>>,
    /// The same for components of WASI 0.3; none in that one itself.
    concurrent: Option<Arc<Platform>>,
}

/// What code needs that no other should pay for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavour {
    /// Nothing.
    Plain,
    /// It may throw. Exceptions are objects of a heap of wasmtime's.
    Throwing,
    /// It is a component whose calls run beside each other, each of which wasmtime keeps a record of. It may throw too.
    Concurrent,
}

impl Platform {
    /// Sets wasmtime up. Compiled code is kept in the folder `cache`, if one is given.
    pub fn new(cache: Option<PathBuf>) -> Result<Self, PlatformError> {
        let flavours = [Flavour::Plain, Flavour::Throwing, Flavour::Concurrent];
        let [plain, throwing, concurrent] = flavours.map(|flavour| engine(flavour).map(|engine| (engine, flavour)));
        let (plain, throwing, concurrent) = (plain?, throwing?, concurrent?);
        let key = compatibility_key(&[&plain.0, &throwing.0, &concurrent.0]);
        let one = |(engine, flavour): (Engine, Flavour)| {
            let linker = linker(&engine, false)?;
            let component_linker = component_linker(&engine, flavour, false)?;
            let (tracker, throwing, concurrent) = (None, None, None);
            Ok(Self { engine, linker, component_linker, cache: cache.clone(), tracker, key, throwing, concurrent })
        };
        let (mut throwing, concurrent) = (one(throwing)?, one(concurrent)?);
        throwing.tracker = tracker();
        let tracker = throwing.tracker.clone();
        let (throwing, concurrent) = (Some(Arc::new(throwing)), Some(Arc::new(concurrent)));
        Ok(Self { tracker, throwing, concurrent, ..one(plain)? })
    }

    /// The platform that code with these features is compiled for and runs on.
    pub(crate) fn for_features(&self, features: &[Feature]) -> &Self {
        match &self.throwing {
            Some(throwing) if features.contains(&Feature::Exceptions) => throwing,
            _ => self,
        }
    }

    /// The platform that components of WASI 0.3 are compiled for and run on.
    pub(crate) fn concurrent(&self) -> &Self {
        self.concurrent.as_deref().unwrap_or(self)
    }

    /// The same, for guests whose replicas can tell the calls that they make ([`crate::Replica::tell_calls`]). Their
    /// turns have the same digests.
    ///
    /// # Errors
    /// When wasmtime refuses it.
    pub fn traced(&self) -> Result<Self, PlatformError> {
        let traced = |platform: &Option<Arc<Self>>, flavour| {
            platform.as_ref().map(|platform| platform.traced_as(flavour).map(Arc::new)).transpose()
        };
        let throwing = traced(&self.throwing, Flavour::Throwing)?;
        let concurrent = traced(&self.concurrent, Flavour::Concurrent)?;
        Ok(Self { throwing, concurrent, ..self.traced_as(Flavour::Plain)? })
    }

    fn traced_as(&self, flavour: Flavour) -> Result<Self, PlatformError> {
        let (linker, component_linker) = (linker(&self.engine, true)?, component_linker(&self.engine, flavour, true)?);
        Ok(Self { linker, component_linker, ..self.clone() })
    }

    /// Only engines with equal keys run equal turns: wasmtime's version, settings and target, and what
    /// this engine does for guests.
    #[must_use]
    pub fn key(&self) -> Digest {
        self.key
    }

    /// The names and types of every function that is linked: `(module, name, parameters, results)`, with the modules
    /// that `refrain_inspect::link_names` leads imports to, and types in the text format's words.
    #[must_use]
    pub fn imports(&self) -> Vec<(String, String, Vec<String>, Vec<String>)> {
        let mut store = wasmtime::Store::new(&self.engine, Host::detached());
        let words = |types: &mut dyn Iterator<Item = wasmtime::ValType>| types.map(|ty| ty.to_string()).collect();
        let mut out = Vec::new();
        for (module, name, item) in self.linker.iter(&mut store) {
            if let wasmtime::Extern::Func(_) = item {
                out.push((module.to_owned(), name.to_owned(), item));
            }
        }
        out.into_iter()
            .map(|(module, name, item)| {
                let ty = item.into_func().expect("only functions were kept").ty(&store);
                (module, name, words(&mut ty.params()), words(&mut ty.results()))
            })
            .collect()
    }
}

fn linker(engine: &Engine, traced: bool) -> Result<Arc<Linker<Host>>, PlatformError> {
    let mut linker = Linker::new(engine);
    let links = &mut Links::new(&mut linker, traced);
    preview1::add_to(links).and_then(|()| sockets::add_to(links)).map_err(PlatformError::Engine)?;
    Ok(Arc::new(linker))
}

fn component_linker(
    engine: &Engine,
    flavour: Flavour,
    traced: bool,
) -> Result<Arc<component::Linker<Host>>, PlatformError> {
    let mut linker = component::Linker::new(engine);
    preview2::add_to(&mut linker, traced).map_err(PlatformError::Engine)?;
    if flavour == Flavour::Concurrent {
        preview3::add_to(&mut linker, traced).map_err(PlatformError::Engine)?;
    }
    Ok(Arc::new(linker))
}

fn tracker() -> Option<Arc<Tracker>> {
    let tracker = Tracker::open().inspect_err(|error| {
        tracing::info!(%error, "this kernel does not tell what guests wrote: checkpoints copy all of their memory");
    });
    tracker.ok().map(Arc::new)
}

fn engine(flavour: Flavour) -> Result<Engine, PlatformError> {
    config(flavour).and_then(|config| Engine::new(&config)).map_err(PlatformError::Engine)
}

fn config(flavour: Flavour) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(flavour != Flavour::Plain)
        .relaxed_simd_deterministic(true)
        .concurrency_support(flavour == Flavour::Concurrent)
        .memory_may_move(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES);
    pin_target(&mut config)?;
    Ok(config)
}

/// Pins target and ISA flags to x86-64-v2, whatever more the processor has.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn pin_target(config: &mut Config) -> wasmtime::Result<()> {
    config.target("x86_64-unknown-linux-gnu")?;
    for flag in ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_cmpxchg16b"] {
        // SAFETY: these flags only choose instructions, and `Engine::new` checks that the processor has them.
        unsafe { config.cranelift_flag_enable(flag) };
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn pin_target(config: &mut Config) -> wasmtime::Result<()> {
    config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
    Ok(())
}

fn compatibility_key(engines: &[&Engine]) -> Digest {
    use std::hash::{Hash, Hasher};
    struct Collect(blake3::Hasher);
    impl Hasher for Collect {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut collect = Collect(blake3::Hasher::new());
    collect.0.update(&refrain_kernel::BEHAVIOUR.to_le_bytes());
    collect.0.update(&preview2::BEHAVIOUR.to_le_bytes());
    collect.0.update(&preview3::BEHAVIOUR.to_le_bytes());
    for number in meter::BEHAVIOUR {
        collect.0.update(&number.to_le_bytes());
    }
    engines.iter().for_each(|engine| engine.precompile_compatibility_hash().hash(&mut collect));
    Digest::from_hash(&collect.0.finalize())
}
