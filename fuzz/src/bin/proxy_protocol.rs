//! The target `proxy_protocol` of `tests/fuzz` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::proxy::proxy_protocol(data));
