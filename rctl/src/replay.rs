//! `rctl replay ...`: has the server's own program replay a log, since a replay is what that build of the engine does.
//! Another build is asked with `--refrain`.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::args::Options;
use crate::error::RctlError;
use crate::output::Format;

/// The environment variable that names the server's program.
const PROGRAM_VARIABLE: &str = "REFRAIN_PROGRAM";
const PROGRAM: &str = "refrain";

/// What is replayed.
#[derive(Debug, Args)]
pub struct Replay {
    /// The service: namespace/name, or the name alone when it is unique
    service: String,
    /// Begin with a checkpoint of the folder: its position, the beginning of its root, or `newest`
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<String>,
    /// The last position; the end of the log when it is absent
    #[arg(long, value_name = "POSITION")]
    to: Option<u64>,
    /// Print no turns before this position
    #[arg(long, value_name = "POSITION")]
    print_from: Option<u64>,
    /// Print no turns, and find where another data folder, or a forensic bundle, differs
    #[arg(long, value_name = "DATA_DIR")]
    until_differs: Option<PathBuf>,
    /// The server's program whose engine replays; the one beside rctl, or in PATH, when it is absent
    #[arg(long, value_name = "FILE", env = PROGRAM_VARIABLE)]
    refrain: Option<PathBuf>,
}

impl Replay {
    /// Becomes the server's program. Returns only when that cannot be started.
    pub fn run(&self, options: &Options) -> RctlError {
        let program = self.refrain.clone().unwrap_or_else(beside);
        let mut command = Command::new(&program);
        command.arg("replay").arg(&self.service);
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        };
        flag("--from", self.from.clone());
        flag("--to", self.to.map(|to| to.to_string()));
        flag("--print-from", self.print_from.map(|from| from.to_string()));
        let json = options.format() == Format::Json;
        flag("--output", json.then(|| "json".to_owned()));
        let folders = [("--data-dir", &options.data_dir), ("--until-differs", &self.until_differs)];
        for (name, path) in folders {
            if let Some(path) = path {
                command.arg(name).arg(path);
            }
        }
        RctlError::NoProgram { path: program, source: command.exec() }
    }
}

/// The server's program in the folder of this one; by its name alone, for PATH, where it is not there.
fn beside() -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|folder| folder.join(PROGRAM));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into())
}
