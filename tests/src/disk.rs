//! A small disk of a test's own, to be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::tools::output_of;

/// A disk in memory. It is unmounted on drop.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of this size, like `100m`, at a folder. It takes root.
    pub fn mount(folder: &Path, size: &str) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let options = format!("size={size},mode=700");
        output_of(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "refrain-test"]).arg(folder))?;
        Ok(Self(folder.to_owned()))
    }

    /// Gives it another size.
    pub fn resize(&self, size: &str) -> Result<()> {
        output_of(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0)).map(drop)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left is the machine's to clean.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
