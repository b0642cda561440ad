//! Gives a module a `_start` that runs its exports `run0`, `run1` and so on, and then sleeps for ever, by its first import. What is new comes
//! last in its section, so no index changes.

use wasm_encoder::{BlockType, Encode, Function};

const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const EXPORTS: u8 = 7;
const CODE: u8 = 10;
/// Nanoseconds of one sleep.
const SLEEP_NS: i64 = 1_000_000;

/// Takes a number of LEB128, which may be longer than it needs to be.
fn number(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The section with one entry more.
fn longer(content: &[u8], entry: &[u8]) -> Option<Vec<u8>> {
    let mut rest = content;
    let count = number(&mut rest)?;
    let mut out = Vec::new();
    (count + 1).encode(&mut out);
    out.extend_from_slice(rest);
    out.extend_from_slice(entry);
    Some(out)
}

/// The functions that are exported as `run` and a number.
fn runs_of(exports: &[u8]) -> Option<Vec<u32>> {
    let (mut rest, mut runs) = (exports, Vec::new());
    for _ in 0..number(&mut rest)? {
        let length = number(&mut rest)? as usize;
        let (name, after) = rest.split_at_checked(length)?;
        rest = after.split_at_checked(1)?.1;
        let index = number(&mut rest)?;
        if name.starts_with(b"run") {
            runs.push(index);
        }
    }
    Some(runs)
}

fn start(runs: &[u32]) -> Vec<u8> {
    let mut body = Function::new([]);
    let mut code = body.instructions();
    for run in runs {
        code.call(*run);
    }
    code.loop_(BlockType::Empty).i64_const(SLEEP_NS).call(0).drop().br(0).end().end();
    let mut entry = Vec::new();
    body.encode(&mut entry);
    entry
}

/// The module with its new `_start`; none when it is not as it was asked for.
pub fn sleeps_at_its_end(module: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = module.split_at_checked(8)?;
    let mut sections = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        rest = after;
        let length = number(&mut rest)? as usize;
        let (content, after) = rest.split_at_checked(length)?;
        rest = after;
        sections.push((*id, content));
    }
    let content = |wanted| sections.iter().find(|(id, _)| *id == wanted).map(|(_, content)| *content);
    let count = |wanted| number(&mut content(wanted)?);
    let (types, imported, defined) = (count(TYPES)?, count(IMPORTS)?, count(FUNCTIONS)?);
    let runs = runs_of(content(EXPORTS)?)?;
    let mut index = Vec::new();
    types.encode(&mut index);
    let mut export = Vec::new();
    "_start".encode(&mut export);
    export.push(0);
    (imported + defined).encode(&mut export);
    let mut out = header.to_vec();
    for (id, content) in sections {
        let content = match id {
            TYPES => longer(content, &[0x60, 0, 0])?,
            FUNCTIONS => longer(content, &index)?,
            EXPORTS => longer(content, &export)?,
            CODE => longer(content, &start(&runs))?,
            _ => content.to_vec(),
        };
        out.push(id);
        content.encode(&mut out);
    }
    Some(out)
}
