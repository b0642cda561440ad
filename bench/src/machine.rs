//! Where and when a run took place. Figures of different machines, or of a busy and a quiet one, do not compare.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::folder;

/// Where and when.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Version of the kernel.
    pub kernel: String,
    /// Runnable processes on average over the last minute, at the start.
    pub load: String,
    /// File system of the data folder.
    pub file_system: String,
    /// Seconds since 1970, at the start.
    pub started: u64,
}

impl Machine {
    /// This machine, now.
    pub fn observe(data: &Path) -> Self {
        Self {
            cores: available_parallelism().map_or(1, usize::from),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            load: first_word("/proc/loadavg"),
            file_system: folder::file_system(data),
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }
}

fn first_word(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}
