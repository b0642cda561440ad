//! The same module with each import under the name that the engine links its function by.
//!
//! Two families have functions of one name, and one module may import two of them; a linker knows a name once. So the
//! import section is written anew, with the name of each function that its type asks for
//! ([`crate::abi::HostFunction::link`]). Types and the order stay, and with them every index.

use std::ops::Range;

use wasm_encoder::{Encode, EntityType, ImportSection, Section};
use wasmparser::{Parser, Payload, TypeRef};

use crate::export_state::ExportStateError;
use crate::module::inspect;

/// Leads the imports of a module to the engine's functions. Bytes of a module that has nothing to lead stay as they
/// are.
///
/// # Errors
/// For bytes that are no module. What cannot be satisfied keeps its name: the report tells it.
pub fn link_names(bytes: &[u8]) -> Result<Vec<u8>, ExportStateError> {
    let report = inspect(bytes)?;
    if report.imports.iter().all(|import| import.link() == (&*import.module, &*import.name)) {
        return Ok(bytes.to_vec());
    }
    let Some((section, types)) = import_section(bytes)? else { return Ok(bytes.to_vec()) };
    let mut imports = ImportSection::new();
    for (import, ty) in report.imports.iter().zip(types) {
        // Only functions can be imported; a module with anything else is refused before it is linked.
        let Some(ty) = ty else { return Ok(bytes.to_vec()) };
        let (module, name) = import.link();
        imports.import(module, name, EntityType::Function(ty));
    }
    let mut out = Vec::with_capacity(bytes.len() + 64 * report.imports.len());
    out.extend_from_slice(&bytes[..section.start]);
    out.push(imports.id());
    imports.encode(&mut out);
    out.extend_from_slice(&bytes[section.end..]);
    Ok(out)
}

/// Where the import section is, its head included, and the type of each imported function.
type Imports = (Range<usize>, Vec<Option<u32>>);

fn import_section(bytes: &[u8]) -> Result<Option<Imports>, ExportStateError> {
    let mut end = 8;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        let Some((_, range)) = payload.as_section() else { continue };
        let start = std::mem::replace(&mut end, range.end);
        let Payload::ImportSection(reader) = payload else { continue };
        let types = reader.into_imports().map(|import| {
            Ok(match import?.ty {
                TypeRef::Func(index) => Some(index),
                _ => None,
            })
        });
        return Ok(Some((start..range.end, types.collect::<Result<_, ExportStateError>>()?)));
    }
    Ok(None)
}
