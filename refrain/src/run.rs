//! A server process from start to drain, whatever its roles.

use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use refrain::admin::{self, Admin};
use refrain::config::{Config, Durability};
use refrain::http::Http;
use refrain::service::Service;
use refrain::shard::Served;
use refrain::shards::{Running, Shards, check_number, start_telemetry};
use refrain_api::Token;
use refrain_api::discovery::{self, AdminFile};
use refrain_engine::Platform;
use refrain_service::{Bundle, LoadError, MANIFEST_FILE, Manifest, Mode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::data_dir;

/// How long the start waits for guests to listen before it says that they do not.
const SETTLE: Duration = Duration::from_secs(10);
/// How long it waits for a leader of the log before it says that there is none.
const JOIN_NOTICE: Duration = Duration::from_secs(3);
/// Between two looks at which ports the front end can send requests to.
const FOLLOW: Duration = Duration::from_secs(1);
/// How long all that follows the end of connections may take: the lead goes to another member, the log is closed.
const END_GRACE: Duration = Duration::from_secs(15);
/// How long the last spans may take to be exported at the end.
const EXPORT_GRACE: Duration = Duration::from_secs(2);
/// Open files wanted: two for each of many connections, and some.
const OPEN_FILES: u64 = 1 << 20;

/// Runs until a signal.
pub(crate) fn run(config: &Config, print: bool) -> anyhow::Result<()> {
    if print {
        print!("{}", config.printed());
        return Ok(());
    }
    let traced = refrain_telemetry::Config::from_environment()?;
    raise_open_files();
    // Threads that write to the folder may be there until the process is gone; until then nobody else has it.
    let _lock = ManuallyDrop::new(data_dir::take(&config.data_dir)?);
    check_number(config)?;
    let (stateless, replicated) = load_bundles(config)?;
    check_listen(config, &replicated)?;
    let platform = Platform::new(Some(config.data_dir.join("code")))?;
    let http = Arc::new(Http::new(config));
    let not_loaded = http.load(stateless, replicated.iter().map(|bundle| bundle.manifest.clone()))?;
    let prepare = |bundle| Arc::new(Service::prepare(bundle, &platform, config.replicas));
    let services: Vec<_> = replicated.into_iter().map(prepare).collect();
    let telemetry = start_telemetry(config, &traced)?;
    let cold = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("cold")
        .enable_all()
        .build()
        .context("cannot start the cold runtime")?;
    let ended = cold.block_on(async {
        let mut running = Running::start(config, &platform, &services, telemetry.clone(), &http).await?;
        running.refused.extend(not_loaded);
        http.begin(running.shards.first().commands.clone())?;
        serve(config, running, http).await
    });
    let until = Instant::now() + EXPORT_GRACE;
    let left = || until.saturating_duration_since(Instant::now());
    let lost: usize = telemetry.iter().map(|telemetry| telemetry.shutdown(left()).lost).sum();
    if lost > 0 {
        tracing::warn!(spans = lost, "the collector did not take the last spans in time");
    }
    // What is under way beside the loops, as a program that is compiled, is of use to nobody now.
    cold.shutdown_background();
    hurry_threads();
    ended
}

/// Gives threads of the background their priority back, where that is allowed: the process is gone, and its locks with
/// it, when the last of them had a moment to end, which on a busy machine those at nice 19 wait long for.
fn hurry_threads() {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return };
    let numbers = threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    for thread in numbers.filter_map(rustix::process::Pid::from_raw) {
        // Without the right to do so it only takes longer.
        let _ = rustix::process::setpriority_process(Some(thread), 0);
    }
}

async fn serve(config: &Config, mut running: Running, http: Arc<Http>) -> anyhow::Result<()> {
    let listener = admin::bind(config.admin_listen).await?;
    let address = listener.local_addr().context("the admin API has no address")?;
    let file = AdminFile { address: address.to_string(), token: Token::of(random()?) };
    let (ending, is_ending) = watch::channel(false);
    let admin = Admin {
        shards: running.shards.clone(),
        token: file.token.clone(),
        allow_fault_injection: config.allow_fault_injection,
        bundles: config.data_dir.join("bundles"),
        http: Arc::clone(&http),
        node: config.cluster.node,
        data_dir: config.data_dir.clone(),
        ending: is_ending,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let api = tokio::spawn(admin::serve(listener, admin, async move { drop(stopped.await) }));
    let runtime = publish(&config.data_dir, &file)?;
    let mut signals = Signals::new()?;
    let announcing = announce(config, running.shards.clone(), running.refused.clone(), &http, &file);
    let ended = match until_stopped(&mut running, &mut signals, announcing).await {
        Ok(()) => {
            ending.send_replace(true);
            drain(config, running, http, &mut signals).await
        }
        failed => failed,
    };
    let _ = stop.send(());
    // A request that is under way may end; the process does not wait long for it.
    let _ = tokio::time::timeout(Duration::from_secs(2), api).await;
    let _ = discovery::remove_own(&config.data_dir, &file);
    if let Some(runtime) = runtime {
        let _ = discovery::remove_own(&runtime, &file);
    }
    ended
}

/// Says what is served and where, once this node takes part and guests listen.
async fn announce(
    config: &Config,
    shards: Shards,
    refused: Vec<(String, String)>,
    http: &Http,
    admin: &AdminFile,
) -> anyhow::Result<()> {
    let waits = |shard| eprintln!("no leader of the log{} yet: waiting for the other nodes", shards.named(shard));
    shards.joined(JOIN_NOTICE, waits).await;
    let settled = tokio::time::timeout(SETTLE, shards.settled()).await;
    let is_settled = settled.is_ok();
    let served = match settled {
        Ok(served) => served,
        Err(_) => shards.served().await,
    };
    http.follow(&served);
    tell(config, &served, &refused, &http.lines(), is_settled, admin)?;
    follow(&shards, http).await
}

/// Sends requests of the front end to ports of replicated services as these come and go.
async fn follow(shards: &Shards, http: &Http) -> anyhow::Result<()> {
    let mut look = tokio::time::interval(FOLLOW);
    loop {
        look.tick().await;
        http.follow(&shards.served().await);
    }
}

fn tell(
    config: &Config,
    served: &[Served],
    refused: &[(String, String)],
    over_http: &[String],
    is_settled: bool,
    admin: &AdminFile,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for Served { manifest, port, seats, at } in served {
        let service = &manifest.id;
        match at {
            Ok(at) => writeln!(out, "serving {service} ({port}, {seats} replicas) on {at}")?,
            Err(reason) => writeln!(out, "not serving {service} ({port}): {reason}")?,
        }
    }
    for (service, reason) in refused {
        writeln!(out, "not serving {service}: {reason}")?;
    }
    for line in over_http {
        writeln!(out, "{line}")?;
    }
    if served.is_empty() && over_http.is_empty() && config.cluster.roles.proxy {
        writeln!(
            out,
            "serving nothing: give folders with a service.toml each, like `refrain up examples/image-server`"
        )?;
    }
    if !is_settled {
        writeln!(out, "some services do not listen yet; `rctl status` tells which")?;
    }
    if let Some(listen) = config.cluster.listen {
        writeln!(
            out,
            "node {} of cluster {:?}, other nodes reach it at {listen}",
            config.cluster.node, config.cluster.name
        )?;
    }
    let shards = config.cluster.shards.count;
    if shards > 1 {
        writeln!(out, "{shards} shards; `rctl status` tells which has which service")?;
    }
    let durability = match config.durability {
        Durability::Fsync => "fsync",
        Durability::None => "none (answers do not wait for the disk)",
    };
    writeln!(out, "data in {}, durability {durability}", config.data_dir.display())?;
    writeln!(out, "admin API at http://{}, try `rctl status`", admin.address)?;
    writeln!(out, "ready")?;
    Ok(out.flush()?)
}

/// Waits for a signal, or for something to fail.
async fn until_stopped(
    running: &mut Running,
    signals: &mut Signals,
    announcing: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::select! {
        () = signals.one() => Ok(()),
        told = announcing => told,
        ended = running.one_ended() => bail!(ended.unwrap_or_else(|| "a loop thread ended by itself".to_owned())),
    }
}

/// Lets everything end that is under way.
async fn drain(config: &Config, running: Running, http: Arc<Http>, signals: &mut Signals) -> anyhow::Result<()> {
    let limit = config.drain_timeout;
    eprintln!("draining: open connections have {} to end", refrain_service::format_duration(limit));
    // Requests of the front end may be on their way to replicated services: those stay until it has drained.
    let until = Instant::now() + limit;
    let front = tokio::task::spawn_blocking(move || http.drain(limit));
    let drained = async {
        let _ = front.await;
        running.shards.drain(until.saturating_duration_since(Instant::now())).await;
        running.all_ended().await
    };
    tokio::select! {
        failure = drained => match failure {
            Some(failure) => bail!(failure),
            None => Ok(()),
        },
        () = signals.one() => bail!("ended before the drain was over"),
        () = tokio::time::sleep(limit + END_GRACE) => bail!("the drain was not over {END_GRACE:?} after its time limit"),
    }
}

/// What ends the process.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Loads and stores every bundle, the stateless ones and the others; tells all faults of all of them.
fn load_bundles(config: &Config) -> anyhow::Result<(Vec<Bundle>, Vec<Bundle>)> {
    let mut faults = Vec::new();
    let mut bundles: Vec<Bundle> = Vec::new();
    let store = config.data_dir.join("bundles");
    for dir in &config.services {
        match Bundle::load_to_run(dir, &store) {
            Ok(bundle) => bundles.push(bundle),
            Err(error) => {
                let hint = hint(&error);
                faults.push(format!("{}: {:#}{hint}", dir.display(), anyhow::Error::new(error)));
            }
        }
    }
    for (index, bundle) in bundles.iter().enumerate() {
        if bundles[..index].iter().any(|other| is_twice(&other.manifest, &bundle.manifest)) {
            let id = &bundle.manifest.id;
            faults.push(format!("{}/{} is given twice", id.namespace, id.name));
        }
    }
    if !faults.is_empty() {
        bail!("{} service(s) cannot be used:\n{}", faults.len(), faults.join("\n"));
    }
    for bundle in &bundles {
        bundle.store(&store)?;
    }
    Ok(bundles.into_iter().partition(|bundle| bundle.manifest.mode == Mode::Stateless))
}

/// What makes a file that is not there yet.
fn hint(error: &LoadError) -> &'static str {
    match error {
        LoadError::Read { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            if path.extension().is_some_and(|extension| extension == "wasm") {
                return "; `rctl service build` makes it";
            }
            if path.ends_with(MANIFEST_FILE) {
                return "; a service is a folder with one, which `rctl new` and `rctl service init` make";
            }
            ""
        }
        _ => "",
    }
}

/// Tells what `listen` says of ports that there are not. Of a service that is not among those given, the log may know.
fn check_listen(config: &Config, replicated: &[Bundle]) -> anyhow::Result<()> {
    for entry in &config.listen {
        let named = |bundle: &&Bundle| {
            let id = &bundle.manifest.id;
            entry.service == format!("{}/{}", id.namespace, id.name)
        };
        let Some(bundle) = replicated.iter().find(named) else {
            tracing::warn!(service = entry.service, "listen names a service that is not given to this start");
            continue;
        };
        let ports: Vec<&str> = bundle.manifest.ports.iter().map(|port| port.name.as_str()).collect();
        if !ports.contains(&entry.port.as_str()) {
            let there =
                if ports.is_empty() { "it has none".to_owned() } else { format!("there are: {}", ports.join(", ")) };
            bail!("listen: {} has no port {:?}; {there}", entry.service, entry.port);
        }
    }
    Ok(())
}

/// Versions of a stateless service run beside each other; of a replicated one there is one at a time.
fn is_twice(one: &Manifest, other: &Manifest) -> bool {
    let same_name = (&one.id.namespace, &one.id.name) == (&other.id.namespace, &other.id.name);
    let both_stateless = one.mode == Mode::Stateless && other.mode == Mode::Stateless;
    same_name && (!both_stateless || one.id.version == other.id.version)
}

/// Writes the files by which `rctl` finds this server. Returns the runtime folder, if that could be used.
fn publish(data_dir: &Path, file: &AdminFile) -> anyhow::Result<Option<std::path::PathBuf>> {
    discovery::write(data_dir, file)?;
    let runtime = discovery::runtime_dir(std::env::var("XDG_RUNTIME_DIR").ok().as_deref());
    match discovery::write_runtime(&runtime, file) {
        Ok(_) => Ok(Some(runtime)),
        Err(error) => {
            tracing::warn!(%error, "rctl will need --data-dir to find this server");
            Ok(None)
        }
    }
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    refrain_sequencer::disk::os_entropy()(&mut bytes).context("there is no randomness")?;
    Ok(bytes)
}

/// Raises the limit on open files as far as the system allows.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit on open files stays at {:?}", limit.current);
        }
    }
}
