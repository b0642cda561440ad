//! What the arguments of each function are called. A word an argument: `-` says nothing to anybody outside the guest,
//! `#name` are flags, `@name` is a text and takes its length with it, `%name` is an address of WasmEdge's and takes its
//! port with it, `^name` is one of WASIX's, `>name` is where a u32 result goes, `>>name` where a u64 goes.

mod words;

use std::net::SocketAddr;

use refrain_kernel::Errno;

use super::{CallValue, Function};
use crate::{preview1, sockets};

/// The most bytes of a text that are told.
const MAX_TEXT_BYTES: u32 = 256;

fn words(function: Function) -> impl Iterator<Item = &'static str> {
    let spec = words::of(function.family).iter().find(|(known, _)| *known == function.name);
    spec.map_or("", |(_, spec)| spec).split(' ').filter(|word| !word.is_empty())
}

/// How many arguments a word stands for.
fn places(word: &str) -> usize {
    if word.starts_with(['@', '%']) { 2 } else { 1 }
}

/// Each word with the place of its argument.
fn placed(function: Function) -> impl Iterator<Item = (usize, &'static str)> {
    words(function).scan(0, |next, word| {
        let at = *next;
        *next += places(word);
        Some((at, word))
    })
}

/// The arguments that mean something, by name, as far as they are kept.
pub(super) fn arguments(function: Function, given: &[u64], memory: &[u8]) -> Vec<(&'static str, CallValue)> {
    let told = placed(function).filter(|(at, _)| *at < given.len()).filter_map(|(at, word)| {
        let (value, next) = (given[at], given.get(at + 1).copied().unwrap_or_default());
        Some(match word.split_at(1) {
            ("-" | ">", _) => return None,
            ("#", name) => (name, CallValue::Flags(value)),
            ("@", name) => (name, CallValue::Text(text(memory, value, next))),
            ("%", name) => (name, address(sockets::wasmedge_address(memory, value as u32, next as u32))),
            ("^", name) => (name, address(sockets::wasix_address(memory, value as u32))),
            _ => (word, CallValue::Number(value)),
        })
    });
    told.collect()
}

fn text(memory: &[u8], at: u64, len: u64) -> String {
    let len = (len as u32).min(MAX_TEXT_BYTES);
    let bytes = preview1::slice(memory, at as u32, len).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn address(read: Result<SocketAddr, Errno>) -> CallValue {
    CallValue::Address(read.ok())
}

/// The results of a call that succeeded, from where it wrote them.
pub(super) fn results(function: Function, given: &[u64], memory: &[u8]) -> Vec<(&'static str, u64)> {
    let told = placed(function).filter(|(at, _)| *at < given.len()).filter_map(|(at, word)| {
        let at = given[at] as u32;
        if let Some(name) = word.strip_prefix(">>") {
            let bytes = preview1::slice(memory, at, 8).ok()?;
            return Some((name, u64::from_le_bytes(bytes.try_into().expect("eight bytes"))));
        }
        let name = word.strip_prefix('>')?;
        let bytes = preview1::slice(memory, at, 4).ok()?;
        Some((name, u64::from(u32::from_le_bytes(bytes.try_into().expect("four bytes")))))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use refrain_inspect::abi::{self, Family};

    use super::*;
    use crate::Platform;

    #[test]
    fn every_function_has_a_word_for_each_argument() {
        let imports = Platform::new(None).expect("this machine runs x86-64-v2 code").imports();
        let families: BTreeSet<Family> = abi::all().map(|function| function.family).collect();
        for family in families {
            for function in family.functions().iter().filter(|function| function.is_linked()) {
                let name = function.name;
                let count: usize = words(Function { family, name }).map(places).sum();
                assert_eq!(count, function.params.len(), "{family}: {name}");
            }
            let linked = |name: &str| imports.iter().any(|(module, n, ..)| module == family.link_module() && n == name);
            let gone: Vec<_> = words::of(family).iter().filter(|(name, _)| !linked(name)).collect();
            assert_eq!(gone, Vec::<&(&str, &str)>::new(), "{family}");
        }
    }
}
