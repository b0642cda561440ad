//! `wasi:random`: all of it is the kernel's generator, as nothing else may reach a guest.

use super::links::{Call, Links};
use super::resources::fault;

/// The most bytes of one call.
const MAX_BYTES: u64 = 64 << 20;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut secure = links.interface("wasi:random/random")?;
    secure.define("get-random-bytes", |call, (len,): (u64,)| bytes(call, len))?;
    secure.define("get-random-u64", |call, (): ()| Ok(number(call)))?;
    let mut insecure = links.interface("wasi:random/insecure")?;
    insecure.define("get-insecure-random-bytes", |call, (len,): (u64,)| bytes(call, len))?;
    insecure.define("get-insecure-random-u64", |call, (): ()| Ok(number(call)))?;
    links.interface("wasi:random/insecure-seed")?.define("insecure-seed", |call, (): ()| Ok(seed(call)))
}

/// The same whenever it is asked for: a program may take it anew for each of its tables.
pub(crate) fn seed(call: &mut Call<'_>) -> (u64, u64) {
    let seed = call.resources.insecure_seed.unwrap_or_else(|| (number(call), number(call)));
    call.resources.insecure_seed = Some(seed);
    seed
}

pub(crate) fn bytes(call: &mut Call<'_>, len: u64) -> wasmtime::Result<Vec<u8>> {
    if len > MAX_BYTES {
        return Err(fault(format!("asks for {len} random bytes, and one call gives {MAX_BYTES} at most")));
    }
    let mut bytes = vec![0; len as usize];
    call.kernel.fill_random(&mut bytes);
    Ok(bytes)
}

pub(crate) fn number(call: &mut Call<'_>) -> u64 {
    let mut bytes = [0; 8];
    call.kernel.fill_random(&mut bytes);
    u64::from_le_bytes(bytes)
}
