//! The target `http_framing` of `tests/fuzz` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::front::http_framing(data));
