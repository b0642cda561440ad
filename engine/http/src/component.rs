//! From a component's bytes to what instances are made of: checks with clear errors, code, imports.

use std::sync::Arc;

use wasmparser::{Encoding, Parser, Payload};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::{p2, p3};

use crate::guest::Guest;
use crate::host;
use crate::limits::Limits;
use crate::needs::{self, MOST_SLOTS, Needs};
use crate::platform::{Flavour, TABLE_ELEMENTS};

const HANDLER_P2: &str = "wasi:http/incoming-handler@0.2.";
const HANDLER_P3: &str = "wasi:http/handler@0.3.";

/// Why a component cannot be run as an HTTP service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are a core module: a program, or a component before it was made one.
    #[error("this is a core module, and an http service must be a component")]
    Module,
    /// The bytes are not WebAssembly.
    #[error("this is no WebAssembly component: {} bytes that begin otherwise", .0)]
    NotWasm(usize),
    /// Nothing in it handles requests.
    #[error("the component exports neither wasi:http/incoming-handler@0.2 nor wasi:http/handler@0.3, but {}", listed(.0))]
    NoHandler(Vec<String>),
    /// wasmtime cannot be set up, mostly for lack of address space.
    #[error("wasmtime cannot be set up for {slots} slots")]
    Engine {
        /// The setting.
        slots: u32,
        /// wasmtime's error.
        #[source]
        cause: wasmtime::Error,
    },
    /// It is not valid, or uses what this engine does not support.
    #[error("the component cannot be compiled")]
    Compile(#[source] wasmtime::Error),
    /// It imports what no http service is given.
    #[error("the component imports what is not provided: {0}")]
    Import(String),
    /// Its handler has another type than `wasi:http` says.
    #[error("the component's handler cannot be used")]
    Handler(#[source] wasmtime::Error),
    /// What an instance needs depends on modules that the component imports.
    #[error("the component imports core modules, so that the size of its instances is not known")]
    Unbounded,
    /// An instance takes too much of the pool.
    #[error(
        "an instance needs {slots} slots of the pool ({core_instances} core instances, {memories} memories, {tables} tables), more than {limit}"
    )]
    Slots {
        /// What it needs.
        slots: u32,
        /// Core instances that it has.
        core_instances: u32,
        /// Memories that it has.
        memories: u32,
        /// Tables that it has.
        tables: u32,
        /// What it may need.
        limit: u32,
    },
    /// It begins with more memory than its limit.
    #[error("the component begins with a memory of {bytes} bytes, more than its limit of {limit}")]
    Memory {
        /// What it begins with.
        bytes: u64,
        /// What it may have.
        limit: u64,
    },
    /// It begins with a larger table than its limit.
    #[error("the component begins with a table of {elements} elements, more than its limit of {limit}")]
    Table {
        /// What it begins with.
        elements: u64,
        /// What it may have.
        limit: u64,
    },
}

/// A component with its imports resolved.
pub(crate) struct Loaded {
    pub(crate) pre: Pre,
    pub(crate) needs: Needs,
}

/// What instances are made of, by the version of their handler.
pub(crate) enum Pre {
    P2(p2::bindings::ProxyPre<Guest>),
    P3(p3::bindings::ServicePre<Guest>),
}

/// An instance.
pub(crate) enum Instance {
    P2(p2::bindings::Proxy),
    P3(p3::bindings::Service),
}

impl Pre {
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::P2(pre) => pre.engine(),
            Self::P3(pre) => pre.engine(),
        }
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Instance> {
        Ok(match self {
            Self::P2(pre) => Instance::P2(pre.instantiate_async(store).await?),
            Self::P3(pre) => Instance::P3(pre.instantiate_async(store).await?),
        })
    }
}

pub(crate) fn load(host: &Arc<host::Inner>, bytes: &[u8], limits: &Limits) -> Result<Loaded, LoadError> {
    let outline = Outline::read(bytes)?;
    let handler = outline.handler()?;
    let platform = host.platforms.get(outline.flavour());
    let platform = platform.map_err(|cause| LoadError::Engine { slots: host.platforms.slots(), cause })?;
    let component = host.cache.compile(&platform.engine, bytes).map_err(LoadError::Compile)?;
    let needs = check_needs(&component, bytes, limits)?;
    let pre = platform.linker.instantiate_pre(&component).map_err(|error| LoadError::Import(format!("{error:#}")))?;
    let pre = bind(pre, handler).map_err(LoadError::Handler)?;
    Ok(Loaded { pre, needs })
}

/// Everything that components may import.
pub(crate) fn linker(engine: &Engine, flavour: Flavour) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    p2::add_only_http_to_linker_async(&mut linker)?;
    if flavour == Flavour::Concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

#[derive(Clone, Copy)]
enum Handler {
    P2,
    P3,
}

fn bind(pre: InstancePre<Guest>, handler: Handler) -> wasmtime::Result<Pre> {
    Ok(match handler {
        Handler::P2 => Pre::P2(p2::bindings::ProxyPre::new(pre)?),
        Handler::P3 => Pre::P3(p3::bindings::ServicePre::new(pre)?),
    })
}

fn check_needs(component: &Component, bytes: &[u8], limits: &Limits) -> Result<Needs, LoadError> {
    let needs = Needs::of(component, bytes).ok_or(LoadError::Unbounded)?;
    let slots = needs.slots();
    if slots > MOST_SLOTS {
        let Needs { core_instances, memories, tables, .. } = needs;
        return Err(LoadError::Slots { slots, core_instances, memories, tables, limit: MOST_SLOTS });
    }
    let memory_limit = limits.memory_bytes as u64;
    if needs.memory_bytes > memory_limit {
        return Err(LoadError::Memory { bytes: needs.memory_bytes, limit: memory_limit });
    }
    let table_limit = limits.table_elements.min(TABLE_ELEMENTS) as u64;
    if needs.table_elements > table_limit {
        return Err(LoadError::Table { elements: needs.table_elements, limit: table_limit });
    }
    Ok(needs)
}

/// The names that a component imports and exports.
struct Outline {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Outline {
    /// Reads names alone: whether the component is valid is found when it is compiled.
    fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        match needs::encoding(bytes) {
            Some(Encoding::Component) => {}
            Some(Encoding::Module) => return Err(LoadError::Module),
            None => return Err(LoadError::NotWasm(bytes.len())),
        }
        let mut outline = Self { imports: Vec::new(), exports: Vec::new() };
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            let Ok(payload) = payload else { break };
            match payload {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 1 => {
                    outline.imports.extend(section.into_iter().flatten().map(|import| import.name.name.to_owned()));
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    outline.exports.extend(section.into_iter().flatten().map(|export| export.name.name.to_owned()));
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    fn handler(&self) -> Result<Handler, LoadError> {
        let has = |prefix: &str| self.exports.iter().any(|name| name.starts_with(prefix));
        match (has(HANDLER_P3), has(HANDLER_P2)) {
            (true, _) => Ok(Handler::P3),
            (false, true) => Ok(Handler::P2),
            (false, false) => Err(LoadError::NoHandler(self.exports.clone())),
        }
    }

    fn flavour(&self) -> Flavour {
        let mut names = self.imports.iter().chain(&self.exports);
        if names.any(|name| name.contains("@0.3.")) { Flavour::Concurrent } else { Flavour::Plain }
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
