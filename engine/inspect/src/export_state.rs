//! The same module with all of its state exported, so that a host can read it: memories, tables, mutable globals.
//!
//! Only the export section changes; every other byte stays as it is. The reserved names are `refrain:memory:N`,
//! `refrain:table:N` and `refrain:global:N`, N being the index in the module's own index space, imports included.
//! What the module exports under its own names stays exported under them too.

use std::ops::Range;

use wasm_encoder::{Encode, ExportKind};
use wasmparser::{BinaryReaderError, Parser, Payload, Validator};

use crate::module::{InspectError, inspect, told_apart};

/// What the reserved export names begin with.
pub const RESERVED_PREFIX: &str = "refrain:";

const EXPORT_SECTION: u8 = 7;
/// Sections that come after the exports: start, elements, data count, code, data.
const AFTER_EXPORTS: [u8; 5] = [8, 9, 10, 11, 12];

/// Why the state of a module could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportStateError {
    /// It is no valid module.
    #[error(transparent)]
    Module(#[from] InspectError),
    /// It exports a reserved name itself.
    #[error("the module exports `{name}`: names that begin with `{RESERVED_PREFIX}` are reserved")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The result breaks a limit of the format.
    #[error("with its state exported the module is not valid: {message}")]
    Result {
        /// Which rule it breaks.
        message: String,
    },
}

impl From<BinaryReaderError> for ExportStateError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Module(error.into())
    }
}

/// Returns the module with its state exported. The result is valid.
pub fn export_state(bytes: &[u8]) -> Result<Vec<u8>, ExportStateError> {
    inspect(bytes)?;
    let layout = Layout::of(bytes)?;
    let new = new_exports(bytes)?;
    let (count, old) = layout.exports.clone().unwrap_or((0, 0..0));
    let mut section = Vec::with_capacity(old.len() + 32 * new.len());
    (count as usize + new.len()).encode(&mut section);
    section.extend_from_slice(&bytes[old]);
    for (name, kind, index) in &new {
        name.as_str().encode(&mut section);
        kind.encode(&mut section);
        index.encode(&mut section);
    }
    let mut out = Vec::with_capacity(bytes.len() + section.len());
    out.extend_from_slice(&bytes[..layout.replaced.start]);
    out.push(EXPORT_SECTION);
    section.encode(&mut out);
    out.extend_from_slice(&bytes[layout.replaced.end..]);
    inspect(&out).map_err(|error| ExportStateError::Result { message: error.to_string() })?;
    Ok(out)
}

/// Where the export section is, or would be.
struct Layout {
    /// Count of the module's exports and the bytes of their entries; `None` without an export section.
    exports: Option<(u32, Range<usize>)>,
    /// The bytes that the new section replaces; empty without an export section.
    replaced: Range<usize>,
}

impl Layout {
    fn of(bytes: &[u8]) -> Result<Self, ExportStateError> {
        let (mut end, mut before_later) = (8, None);
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            let Some((id, range)) = payload.as_section() else {
                continue;
            };
            let start = std::mem::replace(&mut end, range.end);
            if let Payload::ExportSection(reader) = payload {
                let entries = reader.original_position()..range.end;
                let exports = Some((reader.count(), entries));
                for export in reader {
                    let name = export?.name;
                    if name.starts_with(RESERVED_PREFIX) {
                        return Err(ExportStateError::Reserved { name: name.to_owned() });
                    }
                }
                return Ok(Self { exports, replaced: start..range.end });
            }
            if AFTER_EXPORTS.contains(&id) && before_later.is_none() {
                before_later = Some(start);
            }
        }
        let place = before_later.unwrap_or(bytes.len());
        Ok(Self { exports: None, replaced: place..place })
    }
}

fn new_exports(bytes: &[u8]) -> Result<Vec<(String, ExportKind, u32)>, ExportStateError> {
    let types = Validator::new_with_features(told_apart()).validate_all(bytes)?;
    let types = types.as_ref();
    let memories = (0..types.memory_count()).map(|index| ("memory", ExportKind::Memory, index));
    let tables = (0..types.table_count()).map(|index| ("table", ExportKind::Table, index));
    let mutable = (0..types.global_count()).filter(|index| types.global_at(*index).mutable);
    let globals = mutable.map(|index| ("global", ExportKind::Global, index));
    let all = memories.chain(tables).chain(globals);
    Ok(all.map(|(what, kind, index)| (format!("{RESERVED_PREFIX}{what}:{index}"), kind, index)).collect())
}
