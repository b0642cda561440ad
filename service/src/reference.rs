//! The list of every key of `service.toml`: what it is, its unit, default and bound, and what raising it costs.
//!
//! The validation takes the known keys from here, `rctl service init` its commented template, the documentation its
//! table; so none of them can name a key that another does not.

use std::fmt::Display;
use std::time::Duration;

use crate::bounds::{self, Bound};
use crate::names::Name;
use crate::quantity::{ByteSize, format_duration};

/// One key of `service.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its path: `name`, `limits.memory`, `ports[].guest`, `env.*`.
    pub path: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The unit of its value.
    pub unit: &'static str,
    /// What holds when it is absent, as TOML; `None` when it must be there.
    pub default: Option<String>,
    /// What its value may be.
    pub allowed: String,
    /// What raising or changing it does; empty when there is nothing to say.
    pub effect: &'static str,
    /// How the template writes it when there is no default.
    sample: &'static str,
}

impl Key {
    /// The key without its table.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The table that it belongs to, as the file writes it.
    pub(crate) fn place(&self) -> String {
        match self.path.rsplit_once('.') {
            None => "the top of the file, before the first table".to_owned(),
            Some((table, _)) => match table.strip_suffix("[]") {
                Some(array) => format!("[[{array}]]"),
                None => format!("[{}]", table.replace("[]", "")),
            },
        }
    }

    /// Its name, or that of the table around it, when it may be written in this table; the root's is the empty text.
    pub(crate) fn name_in(&self, schema: &str) -> Option<&'static str> {
        let below = if schema.is_empty() { self.path } else { self.path.strip_prefix(schema)?.strip_prefix('.')? };
        below.split('.').next().map(|name| name.trim_end_matches("[]"))
    }
}

fn key(path: &'static str, what: &'static str, unit: &'static str) -> Key {
    Key { path, what, unit, default: None, allowed: String::new(), effect: "", sample: "" }
}

impl Key {
    fn default(mut self, default: impl Into<String>) -> Self {
        self.default = Some(default.into());
        self
    }

    fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = allowed.into();
        self
    }

    fn effect(mut self, effect: &'static str) -> Self {
        self.effect = effect;
        self
    }

    fn sample(mut self, sample: &'static str) -> Self {
        self.sample = sample;
        self
    }

    fn count(self, bound: Bound<u64>) -> Self {
        self.default(bound.default.to_string()).range(bound.min, bound.max)
    }

    fn size(self, bound: Bound<ByteSize>) -> Self {
        self.default(quoted(bound.default)).range(bound.min, bound.max)
    }

    fn time(self, bound: Bound<Duration>) -> Self {
        self.default(quoted(format_duration(bound.default)))
            .range(format_duration(bound.min), format_duration(bound.max))
    }

    fn range(self, min: impl Display, max: impl Display) -> Self {
        self.allowed(format!("{min} to {max}"))
    }
}

/// What is said of a key that concerns how a node serves, and not the guest.
const FREE: &str = "not part of the bundle's digest: it can change without a new version";

fn quoted(value: impl Display) -> String {
    format!("\"{value}\"")
}

/// Every key, in the order in which the template writes them.
pub fn reference() -> Vec<Key> {
    let mut keys = top();
    keys.extend(ports());
    keys.extend(surroundings());
    keys.extend(limits());
    keys.extend(restart());
    keys.extend(ready());
    keys.extend(routes());
    keys.extend(http());
    keys.extend(build());
    keys
}

fn top() -> Vec<Key> {
    let name = format!(
        "a lower case letter, then lower case letters, digits and hyphens; at most {} characters",
        bounds::NAME_CHARS_MAX
    );
    vec![
        key("name", "name of the service", "text").allowed(name.clone()),
        key("namespace", "namespace that the name is unique in", "text").default(quoted("default")).allowed(name),
        key("version", "version of the service", "text")
            .allowed(format!("a semantic version of at most {} bytes", bounds::VERSION_BYTES_MAX))
            .sample("\"0.1.0\""),
        key("module", "the Wasm module", "path relative to this file")
            .allowed(format!("within this folder; at most {} bytes", bounds::MODULE_BYTES_MAX)),
        key("kind", "what sort of program it is: tcp listens on sockets, http is a component of wasi:http", "word")
            .default(quoted("tcp"))
            .allowed("tcp, http"),
        key(
            "mode",
            "how it is run: replicated has an ordered log, replicas, agreement; stateless has instances alone",
            "word",
        )
        .default(quoted("replicated"))
        .allowed("replicated for kind tcp, stateless for kind http"),
        key("replicas", "seats; a majority of them must live for the service to answer", "count")
            .default(bounds::REPLICAS.default.to_string())
            .allowed(format!("an odd number, {} to {}", bounds::REPLICAS.min, bounds::REPLICAS.max))
            .effect("each seat costs the memory and the CPU time of one whole guest"),
        key("agreement", "which votes release an answer", "word")
            .default(quoted("majority"))
            .allowed("majority, all, none")
            .effect("all stops at the first dead seat; none sends the first reply, not checked"),
        key("args", "arguments of the guest, after the program's name", "list of texts").default("[]").allowed(
            format!(
                "at most {} arguments; with env at most {} bytes",
                bounds::ARGS_MAX,
                bounds::ARGS_AND_ENV_BYTES_MAX
            ),
        ),
        key("outbound", "what the guest may look up and call outside", "list of `host:ports` or `host:ports/udp`")
            .default("[]")
            .allowed(format!(
                "at most {} entries; a host is a name, *.suffix, * (all that is public), an IP address or a range such \
                 as 10.0.0.0/8 or [fd00::/8]; ports are a number, a range such as 8000-8010, or *; where a connection \
                 begins with a header of the PROXY protocol, {{ to = \"host:ports\", proxy_protocol = \"v1\" }} or v2",
                bounds::OUTBOUND_MAX
            ))
            .effect(
                "private addresses need an entry with the address or a range around it, whatever names lead to them",
            ),
    ]
}

fn ports() -> Vec<Key> {
    vec![
        key("ports[].name", "name of the port, unique in the service", "text")
            .allowed("as the service's name; a table for each port, at most 64")
            .sample("\"main\""),
        key("ports[].guest", "port that the guest listens on, unique in the service for its protocol", "port")
            .allowed("1 to 65535")
            .sample("8080"),
        key("ports[].protocol", "what clients speak", "word").default(quoted("tcp")).allowed("tcp, udp"),
        key(
            "ports[].listen",
            "where the proxy listens for it; port 0 lets the system choose",
            "address, or list of them",
        )
        .allowed(format!(
            "an IP address and a port, at most {}; may be left out where unix is given",
            bounds::LISTEN_MAX
        ))
        .effect(FREE)
        .sample("\"127.0.0.1:8080\""),
        key("ports[].unix", "Unix socket where the proxy listens for clients of its own machine", "absolute path")
            .default(quoted(""))
            .allowed(format!("at most {} bytes; empty is none; tcp alone", bounds::UNIX_PATH_BYTES_MAX))
            .effect(FREE),
        key("ports[].pass", "pass the listener in as a descriptor 3.. with LISTEN_FDS", "true or false")
            .default("false")
            .allowed("true, false; tcp alone"),
        key("ports[].nodelay", "send small answers at once (TCP_NODELAY)", "true or false")
            .default("true")
            .allowed("true, false; tcp alone")
            .effect(FREE),
        key(
            "ports[].keepalive",
            "when TCP asks a silent client whether it is still there",
            "time, or \"off\"; tcp alone",
        )
        .time(bounds::KEEPALIVE)
        .effect(FREE),
        key(
            "ports[].proxy_protocol.from",
            "where connections begin with a header of the PROXY protocol, version 1 or 2, and must",
            "list of IP addresses and ranges; tcp alone",
        )
        .default("[]")
        .allowed(format!(
            "at most {}; clients from elsewhere are ordinary ones; those of a Unix socket count as 127.0.0.1",
            bounds::PROXY_PROTOCOL_FROM_MAX
        ))
        .effect(FREE),
    ]
}

fn surroundings() -> Vec<Key> {
    vec![
        key("env.*", "a variable of the guest's environment", "text")
            .allowed(format!("at most {} variables; none are inherited from the host", bounds::ENV_MAX))
            .sample("#NAME = \"value\""),
        key(
            "files.*",
            "a file or folder that the guest sees, read-only below its writable layer",
            "path relative to this file",
        )
        .allowed(format!(
            "at most {} entries, {} files, {} bytes",
            bounds::FILES_ENTRIES_MAX,
            bounds::BUNDLE_FILES_MAX,
            bounds::BUNDLE_FILES_BYTES_MAX
        ))
        .sample("#\"/etc/app.conf\" = \"app.conf\""),
    ]
}

fn limits() -> Vec<Key> {
    let fuel = bounds::FUEL_PER_TURN;
    let idle = key(
        "limits.idle",
        "how long a client may neither send nor take anything before its connection is reset",
        "time, or \"off\"",
    );
    vec![
        key(
            "limits.memory",
            "the guest's linear memories together; growing beyond it fails in the guest; a service of kind http has memory, tables and outward alone of these",
            "bytes",
        )
        .size(bounds::MEMORY)
        .effect("reserved on every replica"),
        key("limits.tables", "elements of all tables of the guest; growing beyond it fails in the guest", "count")
            .count(bounds::TABLES)
            .effect("16 bytes of memory an element on every replica"),
        key("limits.files", "the guest's writable files", "bytes")
            .size(bounds::FILES)
            .effect("held in memory on every replica"),
        key("limits.inodes", "files, folders and symbolic links that the guest makes", "count").count(bounds::INODES),
        key(
            "limits.fuel_per_turn",
            "work of one turn, about one a Wasm instruction; more is a trap",
            "fuel, or \"off\"",
        )
        .count(fuel)
        .effect("with \"off\" a turn that never ends holds its replicas for ever"),
        key("limits.flows", "open connections", "count").count(bounds::FLOWS),
        key("limits.flows_per_client", "open connections from one client address; at most limits.flows", "count")
            .count(bounds::FLOWS_PER_CLIENT),
        key(
            "limits.outward",
            "connections, associations and look-ups outward that are under way; of kind http requests, of all instances on a node together, and at most 64 of one; more of those wait",
            "count",
        )
        .count(bounds::OUTWARD),
        key(
            "limits.descriptors",
            "open descriptors of the guest, sockets included; more than 4 and one a passed port",
            "count",
        )
        .count(bounds::DESCRIPTORS),
        key("limits.socket_buffer", "kept bytes of one direction of one connection", "bytes")
            .size(bounds::SOCKET_BUFFER)
            .effect("more throughput over long distances, more memory on every replica"),
        key("limits.socket_buffers", "kept bytes of all connections; at least twice limits.socket_buffer", "bytes")
            .size(bounds::SOCKET_BUFFERS)
            .effect("memory on every replica"),
        idle.time(bounds::IDLE),
        key(
            "limits.log_lines_per_second",
            "lines of standard output and error, per second of log time; more are counted and dropped",
            "count",
        )
        .count(bounds::LOG_LINES_PER_SECOND),
        key(
            "limits.history",
            "the history of a service whose guests cannot be saved in checkpoints; at the limit it takes no new work",
            "bytes",
        )
        .size(bounds::HISTORY)
        .effect("on the disk of every member, and longer replays"),
    ]
}

fn restart() -> Vec<Key> {
    vec![
        key("restart.policy", "when a guest that has ended is started again", "word")
            .default(quoted("always"))
            .allowed("always, on-failure, never"),
        key("restart.backoff", "first pause before a restart, in log time; doubles each time", "time")
            .time(bounds::BACKOFF),
        key("restart.backoff_max", "longest pause before a restart; at least restart.backoff", "time")
            .time(bounds::BACKOFF_MAX),
    ]
}

fn ready() -> Vec<Key> {
    vec![
        key(
            "ready.when",
            "when the service counts as ready: listen is when the guest listens on every port, probe when it also \
             answers as [ready.probe] says",
            "word",
        )
        .default(quoted("listen"))
        .allowed("listen, probe")
        .effect(FREE),
        key("ready.timeout", "how long that may take from the start of the guest", "time")
            .time(bounds::READY_TIMEOUT)
            .effect("later it counts as failed, and is still tried"),
        key("ready.probe.port", "name of the port that the node connects to", "text")
            .default(quoted(""))
            .allowed("a port of the manifest, of tcp"),
        key("ready.probe.send", "what it sends", "text")
            .default(quoted(""))
            .allowed(format!("at most {} bytes", bounds::PROBE_SEND_BYTES_MAX)),
        key("ready.probe.expect", "what the answer must have in it", "text")
            .default(quoted(""))
            .allowed(format!("1 to {} bytes", bounds::PROBE_EXPECT_BYTES_MAX)),
    ]
}

fn routes() -> Vec<Key> {
    let text = format!("at most {} bytes", bounds::ROUTE_TEXT_BYTES_MAX);
    vec![
        key("routes[].host", "which hosts of the front end's requests come to the service", "name, *.suffix, or *")
            .default(quoted("*"))
            .allowed(format!("{text}; at most {} routes", bounds::ROUTES_MAX))
            .effect(FREE),
        key("routes[].path", "which paths: /exactly, /items/{id}, or /below/...", "pattern")
            .default(quoted("/..."))
            .allowed(text.clone())
            .effect("the most specific route that matches counts, of whatever service"),
        key("routes[].methods", "which methods; none is all", "list of texts")
            .default("[]")
            .allowed(format!("at most {}", bounds::ROUTE_METHODS_MAX)),
        key("routes[].rewrite", "takes the place of what the path has before ...", "path")
            .default(quoted(""))
            .allowed(format!("{text}; empty leaves the path as it is")),
        key("routes[].port", "name of the port that speaks HTTP; of kind tcp alone", "text")
            .allowed("a port of the manifest, of tcp")
            .sample("\"main\""),
        key("routes[].headers.*", "a header that must be there with exactly this value", "text")
            .allowed(format!("at most {} headers", bounds::ROUTE_HEADERS_MAX))
            .sample("#x-beta = \"1\""),
    ]
}

fn http() -> Vec<Key> {
    vec![
        key("http.instances", "instances that serve requests at once; of kind http alone, as all of [http]", "count")
            .count(bounds::HTTP_INSTANCES)
            .effect("memory, up to limits.memory each"),
        key("http.concurrency", "requests that one instance of a 0.3 component serves at once", "count")
            .count(bounds::HTTP_CONCURRENCY),
        key("http.queue", "requests that wait for an instance; one more gets 503", "count").count(bounds::HTTP_QUEUE),
        key("http.queue_wait", "how long one waits before it gets 503", "time").time(bounds::HTTP_QUEUE_WAIT),
        key(
            "http.reuse",
            "requests that an instance serves before it is dropped; of a range each instance draws its own number",
            "count, or \"least-most\"",
        )
        .count(bounds::HTTP_REUSE)
        .effect("faster, and what a request leaves behind is there for the next one"),
        key("http.deadline", "from the request to the head of its answer; then 504", "time")
            .time(bounds::HTTP_DEADLINE),
        key("http.lifetime", "from the request to the end of its answer; then it breaks off", "time")
            .time(bounds::HTTP_LIFETIME),
        key("http.cpu", "processor time of a request", "time, or \"off\"")
            .time(bounds::HTTP_CPU)
            .default(quoted("off")),
        key("http.request_body", "bytes of a request's body; more gets 413", "bytes").size(bounds::HTTP_REQUEST_BODY),
        key("http.response_body", "bytes of an answer's body; then it breaks off", "bytes")
            .size(bounds::HTTP_RESPONSE_BODY),
        key("http.health", "path that is asked every 2 s, by GET, whether the component takes requests", "path")
            .default(quoted(""))
            .allowed("a path without a query, such as /__health; empty: it takes them as soon as it is loaded")
            .effect("it gets no requests until the answer is 2xx, nor after one that is not, or takes over 1 s"),
        key("http.outgoing", "where requests may go", "list of `[METHOD,...] [SCHEME://]HOST[:PORT]`")
            .default("[]")
            .allowed(format!(
                "at most {} entries; a host is a name, *.suffix, *, or an IP address; a port is a number or *",
                bounds::OUTBOUND_MAX
            ))
            .effect("private addresses need the whole name or address, local ones the address or localhost"),
    ]
}

fn build() -> Vec<Key> {
    vec![
        key("build.command", "what `rctl service build` runs in this folder to make the module", "line for the shell")
            .default(quoted(""))
            .allowed("any; empty runs nothing")
            .effect("not part of the bundle's digest"),
        key(
            "build.output",
            "the module as the command leaves it, before it is instrumented",
            "path relative to this file",
        )
        .default(quoted(""))
        .allowed("within this folder; empty is the module itself")
        .effect("not part of the bundle's digest"),
    ]
}

/// A `service.toml` with every key. What has a default is commented out and shows it (`#key = value`); the rest is
/// filled in for a service of this name with one port.
pub fn template(name: &Name) -> String {
    let mut text =
        "# A Refrain service. Every key is listed; one that is commented out shows its default.\n".to_owned();
    let mut table = String::new();
    for key in reference() {
        let place = if key.path.contains('.') { key.place() } else { String::new() };
        // What a service with one port has no need of.
        let unused = if key.path.starts_with("routes") || key.path.starts_with("http") { "#" } else { "" };
        if place != table {
            text.push_str(&format!("\n{unused}{place}\n"));
            table = place;
        } else if table.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("# {} ({}).\n", capital(key.what), key.unit));
        text.push_str(&format!("# Allowed: {}.\n", key.allowed));
        if !key.effect.is_empty() {
            text.push_str(&format!("# {}.\n", capital(key.effect)));
        }
        let line = match (&key.default, key.path) {
            (Some(default), _) => format!("#{} = {default}\n", key.name()),
            (None, "name") => format!("name = \"{name}\"\n"),
            (None, "module") => format!("module = \"{name}.wasm\"\n"),
            (None, _) if key.name() == "*" => format!("{}\n", key.sample),
            (None, _) => format!("{unused}{} = {}\n", key.name(), key.sample),
        };
        text.push_str(&line);
    }
    text
}

fn capital(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}
