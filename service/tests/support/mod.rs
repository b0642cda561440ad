//! What the tests of bundles share.

use std::path::Path;

use refrain_service::Bundle;

/// An error with its causes, in one line.
pub fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}

/// Why a folder is not loaded.
pub fn load_error(dir: &Path) -> String {
    told(&Bundle::load(dir).unwrap_err())
}
