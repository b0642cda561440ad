//! What a fuzzer calls: one plain function for each format that Refrain reads, which takes any bytes and returns.
//!
//! Guarantees: a target panics when, and only when, something is wrong with what it calls: a panic or an overflow, a
//! value that is not written back as it was read, two kernels that differ. Bytes that are refused are no fault. Targets
//! keep nothing between two calls and touch neither disk nor network.
//!
//! `tests/fuzz/tests/corpus.rs` runs the committed corpus through them in every test run; `fuzz/` makes libFuzzer
//! binaries of them. Checksums that a mutation would break are put right here, so that what lies behind them is
//! reached.

pub mod api;
pub mod front;
mod input;
pub mod kernel;
pub mod log;
pub mod module;
pub mod proxy;
pub mod service;
pub mod wire;

/// What is run on bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder in `tests/fuzz/corpus` and of its binary in `fuzz/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("api_json", api::api_json),
    ("bundle", service::bundle),
    ("entry", wire::entry),
    ("frames", wire::frames),
    ("http_connection", front::http_connection),
    ("http_framing", front::http_framing),
    ("http_head", front::http_head),
    ("http_routes", front::http_routes),
    ("kernel_bytes", kernel::kernel_bytes),
    ("kernel_calls", kernel::kernel_calls),
    ("lists", wire::lists),
    ("manifest", service::manifest),
    ("messages", wire::messages),
    ("module", module::module),
    ("names", service::names),
    ("proxy_protocol", proxy::proxy_protocol),
    ("raft_messages", log::raft_messages),
    ("records", wire::records),
    ("segments", log::segments),
    ("shard_state", log::shard_state),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
