//! From a module's or a component's bytes to code that can be instantiated: checks with clear errors, compilation, cache.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use refrain_inspect::asyncify::{self, Layout, Reason};
use refrain_wire::Digest;
use wasmtime::component::{self, Component};
use wasmtime::{Engine, InstancePre, Module};

use crate::host::Host;
use crate::platform::Platform;

/// Why a module cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no module that this engine takes.
    #[error("not a module that can run")]
    Inspect(#[from] refrain_inspect::InspectError),
    /// It needs what the engine does not provide, or lacks what the engine needs.
    #[error("the module cannot run: {}", .0.join("; "))]
    Problems(Vec<String>),
    /// The same of a component.
    #[error("the component cannot run: {}", .0.join("; "))]
    Component(Vec<String>),
    /// Its state cannot be exported.
    #[error("the module cannot be prepared")]
    Prepare(#[from] refrain_inspect::ExportStateError),
    /// wasmtime refused it.
    #[error("the module cannot be compiled")]
    Compile(#[source] wasmtime::Error),
}

/// Compiled code with its imports resolved, shared by all replicas of a service.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) platform: Platform,
    pub(crate) code: Code,
    /// Whether the code came from the cache.
    pub cached: bool,
    /// The BLAKE3 digest of the module.
    pub digest: [u8; 32],
    /// Where the guest's stack can be stored, or why its state cannot be saved while it runs: then its replicas are
    /// rebuilt from the log alone.
    pub checkpointable: Result<Layout, Vec<Reason>>,
}

/// What instances are made of.
#[derive(Clone)]
pub(crate) enum Code {
    /// A core module, which is a program of preview 1.
    Module(InstancePre<Host>),
    /// A component, which is a command of WASI 0.2, and the name of the interface by which it runs.
    Component(component::InstancePre<Host>, String),
    /// The same of WASI 0.3, which does several things at a time.
    Concurrent(component::InstancePre<Host>, String),
}

impl Compiled {
    /// Whether it is a component.
    #[must_use]
    pub fn is_component(&self) -> bool {
        matches!(self.code, Code::Component(..) | Code::Concurrent(..))
    }
}

impl Platform {
    /// Checks and compiles a module or a component, or takes its code from the cache.
    pub fn load(&self, bytes: &[u8]) -> Result<Compiled, LoadError> {
        if refrain_inspect::is_component(bytes) {
            return self.load_component(bytes);
        }
        let report = refrain_inspect::inspect(bytes)?;
        let problems = report.problems();
        if !problems.is_empty() {
            return Err(LoadError::Problems(refrain_inspect::sentences(&problems)));
        }
        let prepared = refrain_inspect::export_state(&refrain_inspect::link_names(bytes)?)?;
        let platform = self.for_features(&report.features);
        let (module, cached) = platform.compile::<Module>(&prepared).map_err(LoadError::Compile)?;
        let pre = platform.linker.instantiate_pre(&module).map_err(LoadError::Compile)?;
        let digest = *blake3::hash(bytes).as_bytes();
        Ok(Compiled {
            platform: platform.clone(),
            code: Code::Module(pre),
            cached,
            digest,
            checkpointable: asyncify::checkpointable(bytes),
        })
    }

    fn load_component(&self, bytes: &[u8]) -> Result<Compiled, LoadError> {
        let found = refrain_inspect::inspect_component(bytes)?;
        let (command, obstacles) = (found.command(), found.unrunnable());
        let Some(command) = command.filter(|_| obstacles.is_empty()) else {
            return Err(LoadError::Component(refrain_inspect::sentences(&obstacles)));
        };
        let (is_concurrent, command) = (found.is_concurrent(), command.to_string());
        let platform = if is_concurrent { self.concurrent() } else { self.for_features(&found.features) };
        let (component, cached) = platform.compile::<Component>(bytes).map_err(LoadError::Compile)?;
        let pre = platform.component_linker.instantiate_pre(&component).map_err(LoadError::Compile)?;
        Ok(Compiled {
            platform: platform.clone(),
            code: if is_concurrent { Code::Concurrent(pre, command) } else { Code::Component(pre, command) },
            cached,
            digest: *blake3::hash(bytes).as_bytes(),
            checkpointable: Err(vec![Reason::Component]),
        })
    }

    fn compile<C: Cached>(&self, bytes: &[u8]) -> wasmtime::Result<(C, bool)> {
        let Some(cache) = &self.cache else {
            return Ok((C::compile(&self.engine, bytes)?, false));
        };
        let path = cache_path(cache, bytes, self.key());
        if let Some(code) = self.take_cached(&path) {
            return Ok((code, true));
        }
        let compiled = C::compile(&self.engine, bytes)?;
        if let Err(error) = keep(&path, &compiled.to_bytes()?) {
            tracing::warn!(path = %path.display(), %error, "compiled code could not be cached");
        }
        Ok((compiled, false))
    }

    /// Code from the cache, if it is there and whole. A damaged file is compiled over.
    #[allow(unsafe_code)]
    fn take_cached<C: Cached>(&self, path: &Path) -> Option<C> {
        let kept = std::fs::read(path).ok()?;
        let (digest, code) = kept.split_first_chunk::<32>()?;
        if blake3::hash(code).as_bytes() != digest {
            tracing::warn!(path = %path.display(), "damaged compiled code in the cache; compiling again");
            return None;
        }
        // SAFETY: the file's name and digest say that this program wrote it with this very configuration; the data
        // folder is as trusted as the program itself.
        unsafe { C::from_bytes(&self.engine, code) }.ok()
    }
}

/// Code that is kept in files.
trait Cached: Sized {
    fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self>;
    fn to_bytes(&self) -> wasmtime::Result<Vec<u8>>;
    /// # Safety
    /// The bytes are those of `to_bytes` of the same engine's configuration.
    #[allow(unsafe_code)]
    unsafe fn from_bytes(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self>;
}

macro_rules! cached {
    ($($code:ty),*) => {$(
        impl Cached for $code {
            fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self> {
                Self::new(engine, bytes)
            }

            fn to_bytes(&self) -> wasmtime::Result<Vec<u8>> {
                self.serialize()
            }

            #[allow(unsafe_code)]
            unsafe fn from_bytes(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self> {
                // SAFETY: the caller's promise is that of `deserialize`.
                unsafe { Self::deserialize(engine, code) }
            }
        }
    )*};
}

cached!(Module, Component);

fn cache_path(cache: &Path, module: &[u8], key: Digest) -> PathBuf {
    let digest = blake3::Hasher::new().update(&key.0).update(module).finalize();
    cache.join(format!("{}.code", digest.to_hex()))
}

fn keep(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().expect("a cache path has a folder");
    std::fs::create_dir_all(folder)?;
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(blake3::hash(code).as_bytes())?;
    file.write_all(code)?;
    std::fs::rename(&temporary, path)
}
