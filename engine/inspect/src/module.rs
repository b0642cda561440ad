//! From bytes to a [`Report`], or to the reason why they are no module.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::types::{EntityType, Types, TypesRef};
use wasmparser::{
    BinaryReaderError, Chunk, CompositeInnerType, Data, DataKind, Operator, Parser, Payload, TypeRef, Validator,
    WasmFeatures,
};

use crate::component::MAX_PARTS;
use crate::feature::{self, Feature};
use crate::import::{Import, ImportKind};
use crate::loops::{self, MAX_LOOP_DEPTH};
use crate::report::{Memory, Report, StartExport, Table};
use crate::sentences::Cut;
use crate::signature::Signature;

const MAGIC: &[u8; 4] = b"\0asm";
/// Magic, version 1, layer 0.
const MODULE_HEADER: &[u8; 8] = b"\0asm\x01\0\0\0";
/// The layer of components, in the upper half of the version word.
const COMPONENT_LAYER: [u8; 2] = [1, 0];

/// Why bytes are no module that could be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There are none.
    #[error("the file is empty")]
    Empty,
    /// They begin with something else.
    #[error("not a WebAssembly module: begins with {first}, expected \\0asm")]
    NotAModule {
        /// The first bytes, printable ones as they are.
        first: String,
    },
    /// They end too early.
    #[error("truncated: the module ends after {have} bytes, in the middle of {inside}")]
    Truncated {
        /// How many there are.
        have: usize,
        /// What is cut.
        inside: &'static str,
    },
    /// A component.
    #[error("a component, not a module")]
    Component,
    /// A version of the format that is not known.
    #[error("WebAssembly version {version:#x} is not known, expected 0x1")]
    Version {
        /// The version word.
        version: u32,
    },
    /// A function whose loops stand too deep within one another.
    #[error(
        "the function at byte {offset:#x} has more than {MAX_LOOP_DEPTH} loops within one another, which is the limit: \
         it would take too long to compile"
    )]
    LoopsTooDeep {
        /// Where its code begins, from the beginning of the file.
        offset: u64,
    },
    /// A component that becomes too much when it is instantiated.
    #[error(
        "{count} instances and functions, those of components within it counted as often as they are instantiated; the \
         limit is {MAX_PARTS}"
    )]
    TooManyParts {
        /// How many there are.
        count: u64,
    },
    /// A component is imported, or taken from an instance, so that nobody knows how often it is instantiated.
    #[error("components within it are handed from one to another, and how often they are instantiated is not known")]
    ComponentHanded,
    /// It breaks a rule of the format.
    #[error("invalid at byte {offset:#x}: {message}")]
    Invalid {
        /// Where, from the beginning of the file.
        offset: u64,
        /// Which rule.
        message: String,
    },
}

impl From<BinaryReaderError> for InspectError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Invalid { offset: error.offset() as u64, message: Cut(error.message()).to_string() }
    }
}

/// Inspects a module. Never panics on any input; takes time and memory in proportion to its size.
pub fn inspect(bytes: &[u8]) -> Result<Report, InspectError> {
    check_header(bytes)?;
    let Walked { mut features, functions, data_ends } = walk(bytes)?;
    let types = validate(bytes, &mut features)?;
    let types = types.as_ref();
    let imports = imports(bytes, types)?;
    let memories = memories(types, &imports, &data_ends, &mut features);
    let exports: Vec<(&str, EntityType)> = types.core_exports().into_iter().flatten().collect();
    let is_memory = |(name, ty): &(&str, EntityType)| *name == "memory" && matches!(ty, EntityType::Memory(_));
    Ok(Report {
        bytes: bytes.len() as u64,
        start: start(types, &exports),
        exports_memory: exports.iter().any(is_memory),
        exports: exports.iter().map(|(name, _)| (*name).to_owned()).collect(),
        imports,
        memories,
        tables: tables(types),
        features: features.into_iter().collect(),
        functions,
    })
}

/// What validation accepts: more than the engine runs, so that a module is told which feature is in its way and not
/// that it is invalid.
pub(crate) fn told_apart() -> WasmFeatures {
    WasmFeatures::default()
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::CUSTOM_PAGE_SIZES
        | WasmFeatures::STACK_SWITCHING
        | WasmFeatures::WIDE_ARITHMETIC
}

/// Features that types alone may use, so that no instruction tells.
const IN_TYPES: [(WasmFeatures, Feature); 3] = [
    (WasmFeatures::EXCEPTIONS, Feature::Exceptions),
    (WasmFeatures::GC, Feature::Gc),
    (WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES), Feature::FunctionReferences),
];

/// Validates a module, and adds the features without which it is not valid. Most need none of them, and are looked at once.
fn validate(bytes: &[u8], features: &mut BTreeSet<Feature>) -> Result<Types, BinaryReaderError> {
    let with = |known| Validator::new_with_features(known).validate_all(bytes);
    let all = IN_TYPES.iter().fold(WasmFeatures::empty(), |all, (used, _)| all | *used);
    if let Ok(types) = with(told_apart() - all) {
        return Ok(types);
    }
    let types = with(told_apart())?;
    for (used, feature) in IN_TYPES {
        // What needs objects on a heap needs references to functions too.
        if !features.contains(&Feature::Gc) && with(told_apart() - used).is_err() {
            features.insert(feature);
        }
    }
    Ok(types)
}

fn check_header(bytes: &[u8]) -> Result<(), InspectError> {
    if bytes.is_empty() {
        return Err(InspectError::Empty);
    }
    let magic = &bytes[..bytes.len().min(4)];
    if !MAGIC.starts_with(magic) {
        let first = bytes[..bytes.len().min(8)].escape_ascii().to_string();
        return Err(InspectError::NotAModule { first: format!("\"{first}\"") });
    }
    let Some(header) = bytes.first_chunk::<8>() else {
        return Err(InspectError::Truncated { have: bytes.len(), inside: "its header" });
    };
    if header[6..] == COMPONENT_LAYER {
        return Err(InspectError::Component);
    }
    if header != MODULE_HEADER {
        let version = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        return Err(InspectError::Version { version });
    }
    Ok(())
}

/// What one pass over the sections tells.
#[derive(Default)]
struct Walked {
    features: BTreeSet<Feature>,
    functions: u32,
    /// Where the data ends that is put into a memory.
    data_ends: BTreeMap<u32, u64>,
}

impl Walked {
    /// A piece of data that is put at an offset which stands in the module; others are known when it runs.
    fn note_data(&mut self, data: &Data<'_>) -> Result<(), InspectError> {
        let DataKind::Active { memory_index, offset_expr } = &data.kind else { return Ok(()) };
        let mut operators = offset_expr.get_operators_reader();
        let offset = match (operators.read()?, operators.read()?) {
            (Operator::I32Const { value }, Operator::End) => u64::from(value as u32),
            (Operator::I64Const { value }, Operator::End) => value as u64,
            _ => return Ok(()),
        };
        let end = self.data_ends.entry(*memory_index).or_default();
        *end = (*end).max(offset.saturating_add(data.data.len() as u64));
        Ok(())
    }
}

/// One pass over the sections: is it whole, what do its types and instructions use, how many functions has it, where
/// does its data go.
fn walk(bytes: &[u8]) -> Result<Walked, InspectError> {
    let mut walked = Walked::default();
    let (mut parser, mut at) = (Parser::new(0), 0);
    while at < bytes.len() {
        let (consumed, payload) = match parser.parse(&bytes[at..], false)? {
            Chunk::NeedMoreData(_) => {
                let inside = if walked.functions > 0 { "its code or what follows" } else { "a section" };
                return Err(InspectError::Truncated { have: bytes.len(), inside });
            }
            Chunk::Parsed { consumed, payload } => (consumed, payload),
        };
        at += consumed;
        match payload {
            Payload::TypeSection(types) => feature::of_types(types, &mut walked.features)?,
            Payload::CodeSectionStart { count, .. } => walked.functions = count,
            Payload::CodeSectionEntry(body) => {
                loops::check(&body)?;
                feature::of_body(&body, &mut walked.features)?;
            }
            Payload::DataSection(pieces) => pieces.into_iter().try_for_each(|piece| walked.note_data(&piece?))?,
            _ => {}
        }
    }
    Ok(walked)
}

fn tables(types: TypesRef<'_>) -> Vec<Table> {
    let tables = (0..types.table_count()).map(|index| types.table_at(index));
    tables.map(|ty| Table { min: ty.initial, max: ty.maximum }).collect()
}

/// The imports in the order of the section: two may have one name.
fn imports(bytes: &[u8], types: TypesRef<'_>) -> Result<Vec<Import>, InspectError> {
    let (mut list, mut functions) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(bytes) {
        let Payload::ImportSection(section) = payload? else { continue };
        for import in section.into_imports() {
            let import = import?;
            let kind = match import.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                    functions += 1;
                    kind(types, EntityType::Func(types.core_function_at(functions - 1)))
                }
                TypeRef::Table(_) => ImportKind::Table,
                TypeRef::Memory(_) => ImportKind::Memory,
                TypeRef::Global(_) => ImportKind::Global,
                TypeRef::Tag(_) => ImportKind::Tag,
            };
            list.push((import.module, import.name, kind));
        }
    }
    let replicode = list.iter().any(|(module, name, kind)| Import::marks_replicode(module, name, kind));
    let imports = list.into_iter();
    Ok(imports.map(|(module, name, kind)| Import::new(module, name, kind, replicode)).collect())
}

fn kind(types: TypesRef<'_>, ty: EntityType) -> ImportKind {
    match ty {
        EntityType::Func(id) | EntityType::FuncExact(id) => match &types[id].composite_type.inner {
            CompositeInnerType::Func(ty) => ImportKind::Function(Signature::of(ty)),
            _ => unreachable!("validation has seen that a function has a function's type"),
        },
        EntityType::Table(_) => ImportKind::Table,
        EntityType::Memory(_) => ImportKind::Memory,
        EntityType::Global(_) => ImportKind::Global,
        EntityType::Tag(_) => ImportKind::Tag,
    }
}

fn memories(
    types: TypesRef<'_>,
    imports: &[Import],
    data_ends: &BTreeMap<u32, u64>,
    features: &mut BTreeSet<Feature>,
) -> Vec<Memory> {
    let imported = imports.iter().filter(|import| import.kind == ImportKind::Memory).count();
    let mut memories = Vec::new();
    for index in 0..types.memory_count() {
        let ty = types.memory_at(index);
        feature::of_memory(&ty, features);
        if index > 0 {
            features.insert(Feature::MultiMemory);
        }
        memories.push(Memory {
            min_pages: ty.initial,
            max_pages: ty.maximum,
            shared: ty.shared,
            imported: (index as usize) < imported,
            data_end: data_ends.get(&index).copied().unwrap_or_default(),
        });
    }
    memories
}

fn start(types: TypesRef<'_>, exports: &[(&str, EntityType)]) -> StartExport {
    let Some((_, ty)) = exports.iter().find(|(name, _)| *name == "_start") else {
        return StartExport::Absent;
    };
    match kind(types, *ty) {
        ImportKind::Function(ty) if ty.params.is_empty() && ty.results.is_empty() => StartExport::Command,
        ImportKind::Function(ty) => StartExport::Wrong { signature: Some(ty) },
        _ => StartExport::Wrong { signature: None },
    }
}
