//! The memory that a process has for itself, from `/proc/PID/smaps_rollup` (proc_pid_smaps(5)).

use std::fs;

use anyhow::{Context, Result};

/// Resident bytes; of pages that several processes share, this one's part.
pub fn bytes(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    proportional_set_bytes(&text).with_context(|| format!("cannot understand {path}"))
}

fn proportional_set_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportional_set_is_found_beside_its_parts() {
        let rollup = "56159a98c000-7ffd69b28000 ---p 00000000 00:00 0    [rollup]\nRss:   133628 kB\nPss:    \
                      130893 kB\nPss_Dirty:   109435 kB\n";
        assert_eq!(proportional_set_bytes(rollup), Some(130_893 * 1024));
        assert_eq!(proportional_set_bytes("Pss_Dirty: 1 kB\n"), None);
    }

    #[test]
    fn this_process_can_be_asked() {
        assert!(bytes(std::process::id()).is_ok_and(|bytes| bytes > 0));
    }
}
