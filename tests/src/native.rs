//! Examples built with the machine's own compilers and run as ordinary processes.
//!
//! The transcripts of these are what the same sources, built for Wasm and run behind the proxy, are compared with.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};

/// The examples that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Example {
    /// `examples/echo`
    Echo,
    /// `examples/echo-p2`, a component in Rust
    EchoP2,
    /// `examples/echo-c-p2`, a component in C
    EchoCP2,
    /// `examples/image-server`
    ImageServer,
    /// `examples/kv-server`
    KvServer,
    /// `examples/job-queue`, in C++
    JobQueue,
    /// `examples/message-bus`, in Rust
    MessageBus,
    /// `examples/wiki`, in Go
    Wiki,
}

impl Example {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Echo,
        Self::EchoP2,
        Self::EchoCP2,
        Self::ImageServer,
        Self::KvServer,
        Self::JobQueue,
        Self::MessageBus,
        Self::Wiki,
    ];

    /// The folder's name, which is also the program's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::EchoP2 => "echo-p2",
            Self::EchoCP2 => "echo-c-p2",
            Self::ImageServer => "image-server",
            Self::KvServer => "kv-server",
            Self::JobQueue => "job-queue",
            Self::MessageBus => "message-bus",
            Self::Wiki => "wiki",
        }
    }

    /// The example's folder.
    pub fn folder(self) -> PathBuf {
        examples_folder().join(self.name())
    }

    /// Whether its module is in the repository. Go's are too large for that.
    pub fn is_committed(self) -> bool {
        self != Self::Wiki
    }

    /// Whether it is a component.
    pub fn is_component(self) -> bool {
        matches!(self, Self::EchoP2 | Self::EchoCP2)
    }

    /// Its module: the one in the repository, or else built now.
    pub fn module(self) -> Result<Vec<u8>> {
        let file = format!("{}.wasm", self.name());
        if self.is_committed() {
            return Ok(std::fs::read(self.folder().join(file))?);
        }
        let folder = ScratchFolder::new(self.name())?;
        run_build(&["--plain"], folder.path(), self)?;
        Ok(std::fs::read(folder.path().join(file))?)
    }

    /// Whether this machine has what its tests need. Where everything is to be there, that it has not is an error.
    pub fn is_possible(self) -> Result<bool> {
        if self != Self::Wiki {
            return Ok(true);
        }
        let folder = ScratchFolder::new("possible")?;
        let missing = match run_build(&["--native"], folder.path(), self) {
            Ok(()) => return Ok(true),
            Err(error) if error.to_string().contains("no Go was found") => error,
            Err(error) => return Err(error),
        };
        ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{missing}");
        println!("skipped: {missing}");
        Ok(false)
    }
}

/// A native example on a free port of the loopback interface. It is ended, and its files are removed, on drop.
#[derive(Debug)]
pub struct NativeServer {
    process: Child,
    address: SocketAddr,
    files: ScratchFolder,
}

impl NativeServer {
    /// Builds the example, once in a process, and waits until it listens.
    pub fn start(example: Example) -> Result<Self> {
        Self::start_with(example, &[])
    }

    /// The same with further arguments.
    pub fn start_with(example: Example, arguments: &[&str]) -> Result<Self> {
        let program = build_native(example)?;
        let files = ScratchFolder::new(example.name())?;
        let mut command = Command::new(program);
        match example {
            Example::Echo => {
                command.arg("0").env_remove("LISTEN_FDS");
            }
            Example::ImageServer => {
                command.args(["--host", "127.0.0.1", "--port", "0", "--dir"]);
                command.arg(files.path().join("images"));
            }
            Example::EchoCP2 => {}
            Example::KvServer | Example::JobQueue => {
                command.args(["--host", "127.0.0.1", "--port", "0"]);
            }
            Example::EchoP2 | Example::MessageBus => {
                command.args(["--port", "0"]);
            }
            Example::Wiki => {
                command.args(["-listen", "127.0.0.1:0", "-dir"]).arg(files.path().join("pages"));
            }
        }
        let mut process = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", example.name()))?;
        match announced_address(&mut process) {
            Ok(address) => Ok(Self { process, address, files }),
            Err(error) => {
                // The process may have ended by itself already.
                let _ = process.kill();
                let _ = process.wait();
                Err(error.context(format!("{} did not start", example.name())))
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder that the server may write to.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Bytes of memory that the process holds now.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the process has no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for NativeServer {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the line "NAME: listening on ADDRESS..." that every example prints first.
fn announced_address(process: &mut Child) -> Result<SocketAddr> {
    let output = process.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let (_, rest) = line.split_once("listening on ").with_context(|| format!("expected the address, got {line:?}"))?;
    let address = rest.split([',', '\n']).next().unwrap_or_default();
    address.parse().with_context(|| format!("no address: {address:?}"))
}

/// Where the examples are.
pub fn examples_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn build_native(example: Example) -> Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<Example, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().expect("no build panics while it is recorded");
    if let Some(program) = built.get(&example) {
        return Ok(program.clone());
    }
    // Beside the test's own binary, so that `cargo clean` removes it.
    let folder = std::env::current_exe()?.with_file_name("native-examples");
    run_build(&["--native"], &folder, example)?;
    let program = folder.join(example.name());
    built.insert(example, program.clone());
    Ok(program)
}

/// What `examples/build` says when it has nothing to build with.
const NO_COMPILER: [&str; 5] = [
    // For wasm32-wasip2, too.
    "no C compiler for wasm32-wasi",
    "no C++ compiler for wasm32-wasi",
    "Rust has no target wasm32-wasip1",
    "Rust has no target wasm32-wasip2",
    "no Go was found",
];

/// Builds the example for Wasm into `folder`; false where the machine has no compiler for it.
pub fn build_wasm(example: Example, folder: &Path) -> Result<bool> {
    match run_build(&[], folder, example) {
        Ok(()) => Ok(true),
        Err(error) if NO_COMPILER.iter().any(|words| error.to_string().contains(words)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn run_build(options: &[&str], folder: &Path, example: Example) -> Result<()> {
    let output = Command::new(examples_folder().join("build"))
        .args(options)
        .arg("--out")
        .arg(folder)
        .arg(example.name())
        .output()
        .context("cannot run examples/build")?;
    if !output.status.success() {
        bail!("examples/build failed for {}: {}", example.name(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// A folder of its own under the system's temporary one, removed on drop.
#[derive(Debug)]
pub struct ScratchFolder(PathBuf);

impl ScratchFolder {
    /// Makes an empty one.
    pub fn new(purpose: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("refrain-{purpose}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        ensure!(!path.exists(), "{} exists already", path.display());
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // What is left is the operating system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
