//! The target `module` of `tests/fuzz` under libFuzzer, which besides its own mutations is given modules that wasm-smith
//! makes of its bytes: those it would hardly ever hit upon.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use wasm_smith::{Config, Module};

fuzz_target!(|data: &[u8]| refrain_fuzz::module::module(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    match seed % 4 {
        0 => made_of(&data[..size], seed).filter(|module| module.len() <= max_size).map_or(size, |module| {
            data[..module.len()].copy_from_slice(&module);
            module.len()
        }),
        _ => size,
    }
});

/// A valid module that these bytes stand for.
fn made_of(bytes: &[u8], seed: u32) -> Option<Vec<u8>> {
    // Bytes of modules alone would be poor choices.
    let choices: Vec<u8> = bytes.iter().zip(seed.to_le_bytes().iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let config = Config {
        max_imports: 20,
        max_memories: 4,
        bulk_memory_enabled: true,
        exceptions_enabled: seed.is_multiple_of(8),
        gc_enabled: seed % 16 == 4,
        memory64_enabled: seed % 16 == 8,
        multi_value_enabled: true,
        reference_types_enabled: true,
        simd_enabled: true,
        threads_enabled: seed % 16 == 12,
        ..Config::default()
    };
    Module::new(config, &mut Unstructured::new(&choices)).ok().map(|module| module.to_bytes())
}
