//! `wasi:random`: all of it is the kernel's generator, as nothing else may reach a guest.

use crate::preview2::links::{Call, Links};
use crate::preview2::random::{bytes, number};

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

/// The same whenever it is asked for, as hash tables are to agree.
fn seed(call: &mut Call<'_>) -> (u64, u64) {
    let seed = call.resources.seed.unwrap_or_else(|| (number(call), number(call)));
    call.resources.seed = Some(seed);
    seed
}
