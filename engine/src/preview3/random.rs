//! `wasi:random`: all of it is the kernel's generator, as nothing else may reach a guest.

use crate::preview2::links::Links;
use crate::preview2::random::{bytes, number, seed};

/// The most bytes of one call: who wants more calls again.
const MAX_BYTES: u64 = 64 << 10;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut secure = links.interface("wasi:random/random")?;
    secure.define("get-random-bytes", |call, (most,): (u64,)| bytes(call, most.min(MAX_BYTES)))?;
    secure.define("get-random-u64", |call, (): ()| Ok(number(call)))?;
    let mut insecure = links.interface("wasi:random/insecure")?;
    insecure.define("get-insecure-random-bytes", |call, (most,): (u64,)| bytes(call, most.min(MAX_BYTES)))?;
    insecure.define("get-insecure-random-u64", |call, (): ()| Ok(number(call)))?;
    links.interface("wasi:random/insecure-seed")?.define("get-insecure-seed", |call, (): ()| Ok(seed(call)))
}
