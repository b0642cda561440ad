//! From a module's bytes to code that can be instantiated: checks with clear errors, compilation, cache.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use refrain_inspect::asyncify::{self, Layout, Reason};
use refrain_wire::Digest;
use wasmtime::{InstancePre, Module};

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
    pub(crate) pre: InstancePre<Host>,
    /// Whether the code came from the cache.
    pub cached: bool,
    /// The BLAKE3 digest of the module.
    pub digest: [u8; 32],
    /// Where the guest's stack can be stored, or why its state cannot be saved while it runs: then its replicas are
    /// rebuilt from the log alone.
    pub checkpointable: Result<Layout, Vec<Reason>>,
}

impl Platform {
    /// Checks and compiles a module, or takes its code from the cache.
    pub fn load(&self, bytes: &[u8]) -> Result<Compiled, LoadError> {
        let report = refrain_inspect::inspect(bytes)?;
        let problems = report.problems();
        if !problems.is_empty() {
            return Err(LoadError::Problems(refrain_inspect::sentences(&problems)));
        }
        let prepared = refrain_inspect::export_state(&refrain_inspect::link_names(bytes)?)?;
        let platform = self.for_features(&report.features);
        let (module, cached) = platform.compile(&prepared).map_err(LoadError::Compile)?;
        let pre = platform.linker.instantiate_pre(&module).map_err(LoadError::Compile)?;
        let digest = *blake3::hash(bytes).as_bytes();
        Ok(Compiled {
            platform: platform.clone(),
            pre,
            cached,
            digest,
            checkpointable: asyncify::checkpointable(bytes),
        })
    }

    fn compile(&self, bytes: &[u8]) -> wasmtime::Result<(Module, bool)> {
        let Some(cache) = &self.cache else {
            return Ok((Module::new(&self.engine, bytes)?, false));
        };
        let path = cache_path(cache, bytes, self.key());
        if let Some(module) = self.take_cached(&path) {
            return Ok((module, true));
        }
        let module = Module::new(&self.engine, bytes)?;
        let code = module.serialize()?;
        if let Err(error) = keep(&path, &code) {
            tracing::warn!(path = %path.display(), %error, "compiled code could not be cached");
        }
        Ok((module, false))
    }

    /// Code from the cache, if it is there and whole. A damaged file is compiled over.
    #[allow(unsafe_code)]
    fn take_cached(&self, path: &Path) -> Option<Module> {
        let kept = std::fs::read(path).ok()?;
        let (digest, code) = kept.split_first_chunk::<32>()?;
        if blake3::hash(code).as_bytes() != digest {
            tracing::warn!(path = %path.display(), "damaged compiled code in the cache; compiling again");
            return None;
        }
        // SAFETY: the file's name and digest say that this program wrote it with this very configuration; the data
        // folder is as trusted as the program itself.
        unsafe { Module::deserialize(&self.engine, code) }.ok()
    }
}

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
