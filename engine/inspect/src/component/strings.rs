//! Whether components within a component can hand strings to each other. The code that copies them from one memory to another
//! is the engine's own: a guest pays nothing for it, whatever their length, while lists are copied by code that it pays for.

use std::collections::BTreeMap;

use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentFuncType, ComponentValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{CanonicalFunction, Parser, Payload, PrimitiveValType, Validator};

use super::features;
use crate::module::InspectError;

/// Functions of one component, by what they do with strings.
#[derive(Clone, Copy, Default)]
struct Level {
    gives: bool,
    takes: bool,
}

/// Whether a function of one component that has to do with strings can be called by another: one is lifted in one component
/// and one is lowered in another, or in one that may be there twice. Which ones meet is not looked at.
pub(super) fn exchanged(bytes: &[u8]) -> Result<bool, InspectError> {
    let mut validator = Validator::new_with_features(features());
    let (mut open, mut ended): (Vec<Level>, Vec<(usize, Level)>) = (Vec::new(), Vec::new());
    let mut known = BTreeMap::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        // The bodies of functions are validated elsewhere.
        validator.payload(&payload)?;
        match payload {
            Payload::Version { .. } => open.push(Level::default()),
            Payload::End(_) => ended.extend(open.pop().map(|level| (open.len(), level))),
            Payload::ComponentCanonicalSection(section) => {
                let (Some(level), Some(types)) = (open.last_mut(), validator.types(0)) else { continue };
                for function in section {
                    match function? {
                        CanonicalFunction::Lift { type_index, .. } => {
                            let ComponentAnyTypeId::Func(id) = types.component_any_type_at(type_index) else {
                                continue;
                            };
                            level.gives |= has_strings(types, &types[id], &mut known);
                        }
                        CanonicalFunction::Lower { func_index, .. } => {
                            let id = types.component_function_at(func_index);
                            level.takes |= has_strings(types, &types[id], &mut known);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let mut levels = ended.iter().enumerate();
    Ok(levels.any(|(at, (_, giver))| {
        let meets = |(other, (depth, taker)): (usize, &(usize, Level))| taker.takes && (other != at || *depth > 0);
        giver.gives && ended.iter().enumerate().any(meets)
    }))
}

type Known = BTreeMap<ComponentDefinedTypeId, bool>;

fn has_strings(types: TypesRef<'_>, function: &ComponentFuncType, known: &mut Known) -> bool {
    let params = function.params.iter().map(|(_, ty)| ty);
    params.chain(&function.result).any(|ty| in_value(types, ty, known))
}

fn in_value(types: TypesRef<'_>, ty: &ComponentValType, known: &mut Known) -> bool {
    let id = match ty {
        ComponentValType::Primitive(primitive) => return is_string(*primitive),
        ComponentValType::Type(id) => *id,
    };
    if let Some(known) = known.get(&id) {
        return *known;
    }
    let found = in_defined(types, &types[id], known);
    known.insert(id, found);
    found
}

fn in_defined(types: TypesRef<'_>, ty: &ComponentDefinedType, known: &mut Known) -> bool {
    let mut has = |ty: &ComponentValType| in_value(types, ty, known);
    match ty {
        ComponentDefinedType::Primitive(primitive) => is_string(*primitive),
        ComponentDefinedType::Record(record) => record.fields.values().any(has),
        ComponentDefinedType::Variant(variant) => variant.cases.values().filter_map(|case| case.ty.as_ref()).any(has),
        ComponentDefinedType::List { element, .. } | ComponentDefinedType::FixedLengthList { element, .. } => {
            has(element)
        }
        ComponentDefinedType::Map { key, value, .. } => has(key) || has(value),
        ComponentDefinedType::Tuple(tuple) => tuple.types.iter().any(has),
        ComponentDefinedType::Option { ty, .. } => has(ty),
        ComponentDefinedType::Result { ok, err, .. } => ok.iter().chain(err).any(has),
        ComponentDefinedType::Future { ty, .. } | ComponentDefinedType::Stream { ty, .. } => ty.iter().any(has),
        ComponentDefinedType::Flags(_)
        | ComponentDefinedType::Enum(_)
        | ComponentDefinedType::Own(_)
        | ComponentDefinedType::Borrow(_) => false,
    }
}

fn is_string(primitive: PrimitiveValType) -> bool {
    matches!(primitive, PrimitiveValType::String | PrimitiveValType::ErrorContext)
}
