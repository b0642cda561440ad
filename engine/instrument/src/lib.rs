//! Makes a module's guests savable in checkpoints, with binaryen's `wasm-opt`.
//!
//! Guarantees: what comes back is valid, does what the module did, and passes
//! [`refrain_inspect::asyncify::checkpointable`]; the same module and the same `wasm-opt` give the same bytes. Nothing
//! else in Refrain needs `wasm-opt`: it is a tool of whoever builds services. A crate of its own, as the inspection is
//! pure and this runs a program.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use refrain_inspect::asyncify::{self, Reason};
use refrain_inspect::{InspectError, inspect};

/// The environment variable that names `wasm-opt`.
pub const WASM_OPT_VARIABLE: &str = "REFRAIN_WASM_OPT";
/// The version that modules are instrumented with; others may do as well, and give other bytes.
pub const WASM_OPT_VERSION: &str = "132";
/// Where npm puts the programs of its packages, from a folder upwards.
const NPM_PLACE: &str = "node_modules/.bin/wasm-opt";
/// The most bytes of what `wasm-opt` says that are told on.
const MAX_SAID: usize = 2000;

/// Why a module was not instrumented.
#[derive(Debug, thiserror::Error)]
pub enum InstrumentError {
    /// There is no `wasm-opt` here.
    #[error(
        "wasm-opt was not found: install binaryen {WASM_OPT_VERSION} (npm install binaryen@{WASM_OPT_VERSION}.0.0, or \
         your system's package binaryen), or name the program in {WASM_OPT_VARIABLE}"
    )]
    NoWasmOpt,
    /// It could not be started, or its files could not be written or read.
    #[error("{path} could not be run")]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It refused the module.
    #[error("{path} failed: {said}")]
    Refused {
        /// The program.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// It is no module.
    #[error("not a module that can be instrumented")]
    Module(#[from] InspectError),
    /// It is instrumented already.
    #[error("the module is instrumented already")]
    Already,
    /// It is instrumented, and still cannot be saved.
    #[error("guests of this module cannot be saved in checkpoints: {}", words(.0))]
    Reasons(Vec<Reason>),
}

fn words(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The program `wasm-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmOpt {
    path: PathBuf,
}

impl WasmOpt {
    /// This very program.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Looks for it: `named` (the value of [`WASM_OPT_VARIABLE`] or of a flag), the folders of `search_path` (the value
    /// of `PATH`), and npm's folders from `folder` upwards.
    ///
    /// # Errors
    /// [`InstrumentError::NoWasmOpt`], which says how to get it.
    pub fn find(
        named: Option<OsString>,
        search_path: Option<OsString>,
        folder: &Path,
    ) -> Result<Self, InstrumentError> {
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            return Ok(Self::at(named.into()));
        }
        let search_path = search_path.unwrap_or_default();
        let in_path = std::env::split_paths(&search_path).map(|folder| folder.join("wasm-opt"));
        let in_npm = folder.ancestors().map(|folder| folder.join(NPM_PLACE));
        let found = in_path.chain(in_npm).find(|path| path.is_file());
        found.map(Self::at).ok_or(InstrumentError::NoWasmOpt)
    }

    /// Its version, as it says it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn version(&self) -> Result<String, InstrumentError> {
        let said = self.run(&["--version".into()])?;
        Ok(said.trim().trim_start_matches("wasm-opt version ").to_owned())
    }

    /// The same module, with guests that can be saved wherever they may wait.
    ///
    /// # Errors
    /// When it is no module, is instrumented already, or cannot be saved for another reason.
    pub fn instrument(&self, module: &[u8]) -> Result<Vec<u8>, InstrumentError> {
        inspect(module)?;
        if asyncify::layout(module).is_some() {
            return Err(InstrumentError::Already);
        }
        let io = |source| InstrumentError::Run { path: self.path.clone(), source };
        let folder = tempfile::tempdir().map_err(io)?;
        let (from, to) = (folder.path().join("in.wasm"), folder.path().join("out.wasm"));
        std::fs::File::create(&from).and_then(|mut file| file.write_all(module)).map_err(io)?;
        let mut args: Vec<OsString> = vec![from.into_os_string()];
        args.extend(asyncify::wasm_opt_args().map(OsString::from));
        args.extend(["-o".into(), to.clone().into_os_string()]);
        self.run(&args)?;
        let instrumented = std::fs::read(&to).map_err(io)?;
        inspect(&instrumented)?;
        asyncify::checkpointable(&instrumented).map_err(InstrumentError::Reasons)?;
        Ok(instrumented)
    }

    fn run(&self, args: &[OsString]) -> Result<String, InstrumentError> {
        let io = |source| InstrumentError::Run { path: self.path.clone(), source };
        let output = Command::new(&self.path).args(args).output().map_err(io)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if said.is_empty() {
            said = output.status.to_string();
        }
        let end = said.floor_char_boundary(MAX_SAID.min(said.len()));
        said.truncate(end);
        Err(InstrumentError::Refused { path: self.path.clone(), said })
    }
}
