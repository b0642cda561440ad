//! `refrain run`: one program under the deterministic kernel, with standard streams and exit code passed through.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser};
use refrain::solo::{self, Ended, Folder, Listen, Program};
use refrain_inspect::{Handler, inspect_component, is_component};
use refrain_kernel::process::GuestEnd;
use refrain_service::ByteSize;
use refrain_wire::Time;

use crate::exit;

mod time;

/// The exit code of a wrong command line.
const USAGE: u8 = 2;

/// Flags of `run`, before the module or directly behind it.
#[derive(Debug, Default, Args)]
struct Flags {
    /// A folder for the program, read in before it starts; what changed is written back when it has ended. GUEST is the
    /// program's name for it [default: as HOST]; with `::ro` it cannot be changed. May be given several times.
    #[arg(long, value_name = "HOST[::GUEST[::ro]]", value_parser = folder)]
    dir: Vec<Folder>,
    /// A variable of the environment; without a value it is that of this process. May be given several times.
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = OsStringValueParser::new().try_map(variable))]
    env: Vec<OsString>,
    /// What the program's randomness follows from [default: random].
    #[arg(long, value_name = "N", value_parser = super::whole::<u64>)]
    seed: Option<u64>,
    /// The time that it starts at, like 2026-01-31T12:00:00Z or seconds since 1970 [default: now].
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    time: Option<Time>,
    /// Waits for nothing but input: the clock jumps to the next timer and otherwise stands still.
    #[arg(long)]
    fast: bool,
    /// Accepts TCP connections and hands them to the program on GUESTPORT [default: the same port], as a listener in
    /// descriptor 3 and up (LISTEN_FDS) and to a socket that it binds itself. May be given several times.
    #[arg(long, value_name = "ADDR[:GUESTPORT]", value_parser = listen)]
    listen: Vec<Listen>,
    /// What the program may compute, in units of about one instruction [default: without limit].
    #[arg(long, value_name = "N", value_parser = super::whole::<u64>)]
    fuel: Option<u64>,
    /// The most linear memory [default: 4GiB].
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// The most bytes of files, those of --dir and what is added, each [default: 4GiB].
    #[arg(long, value_name = "SIZE")]
    files: Option<ByteSize>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    flags: Flags,
    /// Tells the seed, the time and where it listens, and at the end the fuel that was used.
    #[arg(short, long)]
    verbose: bool,
    /// The module (.wasm, or .wat as text), and what the program is given. A `--` directly behind the module is left out.
    #[arg(value_name = "MODULE [ARGS]", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    module: Vec<OsString>,
}

/// The flags alone.
#[derive(Debug, Parser)]
#[command(name = "refrain run", no_binary_name = true)]
struct FlagsBehind {
    #[command(flatten)]
    flags: Flags,
}

const FOUR_GIB: u64 = 4 << 30;

/// Runs the program; its exit code is that of this process.
pub(crate) fn run(args: RunArgs) -> ExitCode {
    let RunArgs { flags, verbose, module } = args;
    let (module, behind, arguments) = split(module);
    // The parser takes everything from the first word on that it does not know.
    if module.as_bytes().starts_with(b"-") {
        eprintln!("error: unexpected argument '{}' found\n\nFor more information, try '--help'.", module.display());
        return ExitCode::from(USAGE);
    }
    let behind = match FlagsBehind::try_parse_from(behind) {
        Ok(behind) => behind.flags,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(USAGE);
        }
    };
    let flags = merge(flags, behind);
    if let Some((one, other)) = same_name(&flags.dir) {
        let (name, one, other) = (String::from_utf8_lossy(&other.guest), one.host.display(), other.host.display());
        eprintln!("error: --dir gives the program {name:?} twice, for {one} and for {other}: a name is for one folder");
        return ExitCode::from(USAGE);
    }
    match run_with(flags, verbose, Path::new(&module), &arguments) {
        Ok(ended) => code(&ended),
        Err(error) => exit::of(Err(error)),
    }
}

/// The module, the flags directly behind it, and the program's arguments.
fn split(mut words: Vec<OsString>) -> (OsString, Vec<OsString>, Vec<OsString>) {
    const WITH_VALUE: [&str; 8] = ["--dir", "--env", "--seed", "--time", "--listen", "--fuel", "--memory", "--files"];
    let module = words.remove(0);
    let mut flags = 0;
    while let Some(word) = words.get(flags).and_then(|word| word.to_str()) {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        match (WITH_VALUE.contains(&name), name == word) {
            (true, true) => flags += 2,
            (true, false) => flags += 1,
            (false, _) if word == "--fast" => flags += 1,
            (false, _) => break,
        }
    }
    let mut arguments = words.split_off(flags.min(words.len()));
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0);
    }
    (module, words, arguments)
}

fn merge(mut first: Flags, second: Flags) -> Flags {
    first.dir.extend(second.dir);
    first.env.extend(second.env);
    first.listen.extend(second.listen);
    Flags {
        seed: second.seed.or(first.seed),
        time: second.time.or(first.time),
        fast: first.fast || second.fast,
        fuel: second.fuel.or(first.fuel),
        memory: second.memory.or(first.memory),
        files: second.files.or(first.files),
        ..first
    }
}

fn run_with(flags: Flags, verbose: bool, module: &Path, arguments: &[OsString]) -> anyhow::Result<Ended> {
    let seed = match flags.seed {
        Some(seed) => seed,
        None => random().context("there is no randomness for a seed")?,
    };
    let time = flags.time.unwrap_or_else(now);
    if verbose {
        eprintln!("refrain: seed {seed}, time {time}");
    }
    let name = module.file_name().unwrap_or(module.as_os_str()).as_bytes().to_vec();
    let program = Program {
        module: load(module)?,
        args: std::iter::once(name).chain(arguments.iter().map(|argument| argument.as_bytes().to_vec())).collect(),
        env: environment(flags.env),
        folders: flags.dir,
        seed: *blake3::hash(&seed.to_le_bytes()).as_bytes(),
        time,
        fast: flags.fast,
        listen: flags.listen,
        fuel: flags.fuel,
        memory_bytes: flags.memory.map_or(FOUR_GIB, ByteSize::get),
        files_bytes: flags.files.map_or(FOUR_GIB, ByteSize::get),
    };
    let ended = solo::run(&program, |addresses| tell(&program.listen, addresses, verbose));
    let ended = ended.with_context(|| format!("cannot run {}", module.display()))?;
    if verbose {
        eprintln!("refrain: used {} of fuel", ended.fuel);
    }
    Ok(ended)
}

/// Says where it listens, where the command line does not.
fn tell(listen: &[Listen], addresses: &[SocketAddr], verbose: bool) {
    for (Listen { address: asked, port }, address) in listen.iter().zip(addresses) {
        if verbose || asked.port() == 0 {
            eprintln!("refrain: listening on {address} for port {port} of the program");
        }
    }
}

fn code(ended: &Ended) -> ExitCode {
    for unsaved in &ended.unsaved {
        eprintln!("refrain: {unsaved}");
    }
    if let Some(signal) = ended.signal {
        return ExitCode::from(128 + signal as u8);
    }
    match &ended.guest {
        Some(end @ GuestEnd::Trap(reason)) => {
            eprintln!("refrain: {reason}");
            ExitCode::from(end.code() as u8)
        }
        // Those that do not fit are cut, as those of processes are.
        Some(GuestEnd::Exit(code)) if *code != 0 => ExitCode::from(*code as u8),
        _ if ended.unsaved.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn load(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.is_dir() {
        bail!(
            "{0} is a folder, and `refrain run` runs one module; a service is run by `refrain up {0}`",
            path.display()
        );
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.starts_with(b"\0asm") {
        refuse_handler(path, &bytes)?;
        return Ok(bytes);
    }
    let text = std::str::from_utf8(&bytes).ok().filter(|text| !text.trim().is_empty());
    let Some(text) = text else { bail!("{} is no module, neither binary nor text", path.display()) };
    let mut parsed = wat::parse_str(text);
    if let Err(error) = &mut parsed {
        error.set_path(path);
    }
    Ok(parsed?.to_vec())
}

/// What answers requests does not run by itself.
fn refuse_handler(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let component = if is_component(bytes) { inspect_component(bytes).ok() } else { None };
    let Some(component) = component.filter(|component| component.command().is_none()) else { return Ok(()) };
    let exported = match component.handler {
        None => return Ok(()),
        Some(Handler::P2) => "wasi:http/incoming-handler",
        Some(Handler::P3) => "wasi:http/handler",
    };
    bail!(
        "{} exports {exported}: it answers HTTP requests and does not run by itself; put it into a folder with a \
         service.toml of kind = \"http\" (`rctl new` makes one), and serve it by `refrain up FOLDER`",
        path.display()
    )
}

fn variable(given: OsString) -> Result<OsString, &'static str> {
    if given.is_empty() || given.as_bytes().starts_with(b"=") { Err("a variable has a name") } else { Ok(given) }
}

fn environment(given: Vec<OsString>) -> Vec<Vec<u8>> {
    let mut env = Vec::new();
    for variable in given {
        let mut bytes = variable.clone().into_vec();
        if !bytes.contains(&b'=') {
            // As a variable that is not set would be for a process.
            let Some(value) = std::env::var_os(&variable) else { continue };
            bytes.push(b'=');
            bytes.extend_from_slice(value.as_bytes());
        }
        // The last one counts.
        let name = |bytes: &[u8]| bytes.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
        env.retain(|known: &Vec<u8>| name(known) != name(&bytes));
        env.push(bytes);
    }
    env
}

/// Two folders under one name of the program's.
fn same_name(folders: &[Folder]) -> Option<(&Folder, &Folder)> {
    let name = |folder: &Folder| {
        let parts: Vec<Vec<u8>> = (folder.guest.split(|byte| *byte == b'/'))
            .filter(|part| !part.is_empty() && *part != b".")
            .map(<[u8]>::to_vec)
            .collect();
        (folder.guest.starts_with(b"/"), parts)
    };
    let is_before = |at: usize| folders[..at].iter().find(|one| name(one) == name(&folders[at]));
    (0..folders.len()).find_map(|at| Some((is_before(at)?, &folders[at])))
}

fn folder(text: &str) -> Result<Folder, String> {
    let parts: Vec<&str> = text.split("::").collect();
    let (host, guest, read_only) = match parts[..] {
        [host] => (host, host, false),
        [host, guest] => (host, guest, false),
        [host, guest, "ro"] => (host, guest, true),
        _ => return Err("is not like data, data::/srv or data::/srv::ro".to_owned()),
    };
    if host.is_empty() || guest.is_empty() {
        return Err("has an empty name".to_owned());
    }
    Ok(Folder { host: PathBuf::from(host), guest: guest.as_bytes().to_vec(), read_only })
}

fn listen(text: &str) -> Result<Listen, String> {
    let wrong = || "is not like 127.0.0.1:8080 or 127.0.0.1:8080:80".to_owned();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err("takes any port: name the program's, like 127.0.0.1:0:8080".to_owned()),
            port => Ok(Listen { address, port }),
        };
    }
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (address, port) = (address.parse().map_err(|_| wrong())?, port.parse().map_err(|_| wrong())?);
    if port == 0 { Err(wrong()) } else { Ok(Listen { address, port }) }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn random() -> std::io::Result<u64> {
    use std::io::Read as _;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn flags_may_follow_the_module_and_arguments_begin_behind_them() {
        for (given, flags, arguments) in [
            ("m", "", ""),
            ("m -- a --dir x", "", "a --dir x"),
            ("m a --flag -- b", "", "a --flag -- b"),
            ("m --dir a::b --fast -- --seed 1", "--dir a::b --fast", "--seed 1"),
            ("m --env=A=b --seed 1 c --fuel 2", "--env=A=b --seed 1", "c --fuel 2"),
            ("m --help", "", "--help"),
            ("m -- -- a", "", "-- a"),
            ("m --dir", "--dir", ""),
        ] {
            let split = split(words(given));
            assert_eq!(split, ("m".into(), words(flags), words(arguments)), "{given}");
        }
    }

    #[test]
    fn folders_and_ports_are_read_as_they_are_documented() {
        let of = |host: &str, guest: &str, read_only| Folder {
            host: host.into(),
            guest: guest.as_bytes().to_vec(),
            read_only,
        };
        assert_eq!(folder("."), Ok(of(".", ".", false)));
        assert_eq!(folder("a::/"), Ok(of("a", "/", false)));
        assert_eq!(folder("a::b::ro"), Ok(of("a", "b", true)));
        assert!(["", "a::", "::a", "a::b::rw", "a::b::ro::c"].iter().all(|text| folder(text).is_err()));
        let of = |address: &str, port| Listen { address: address.parse().unwrap(), port };
        assert_eq!(listen("127.0.0.1:80"), Ok(of("127.0.0.1:80", 80)));
        assert_eq!(listen("[::1]:0:80"), Ok(of("[::1]:0", 80)));
        assert!(["80", "127.0.0.1:0", "127.0.0.1:1:0", "localhost:1"].iter().all(|text| listen(text).is_err()));
    }

    #[test]
    fn the_last_of_two_variables_counts() {
        let env = environment(words("A=1 B=2 A=3=4 NO_SUCH_VARIABLE_HERE"));
        assert_eq!(env, [b"B=2".to_vec(), b"A=3=4".to_vec()]);
        assert!(variable("=1".into()).is_err() && variable("".into()).is_err() && variable("A".into()).is_ok());
    }

    #[test]
    fn a_name_of_the_programs_is_for_one_folder() {
        let all = |texts: &[&str]| texts.iter().map(|text| folder(text).unwrap()).collect::<Vec<_>>();
        for names in [["a::/srv", "b::/srv/"], ["a::x", "b::./x"], [".", "b::."], ["a::/", "b:://"]] {
            assert!(same_name(&all(&names)).is_some(), "{names:?}");
        }
        for names in [["a::/srv", "a::/data"], ["a::/x", "b::x"], ["a::/x", "b::/x/y"], ["a::/", "b::."]] {
            assert!(same_name(&all(&names)).is_none(), "{names:?}");
        }
    }
}
