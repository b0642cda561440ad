//! The target `http_head` of `tests/fuzz` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::front::http_head(data));
