//! The rules of `service.toml`: defaults, every limit at and above, all faults at once, and the golden texts.

use std::time::Duration;

use refrain_service::{
    Agreement, ByteSize, FuelPerTurn, HostPath, IdleLimit, Keepalive, Kind, Manifest, Mode, Name, Protocol, ReadyWhen,
    RestartPolicy, bounds, reference, template,
};

const LEAST: &str = "name = \"a\"\nversion = \"1.0.0\"\nmodule = \"a.wasm\"\n";

fn with(lines: &str) -> Result<Manifest, String> {
    Manifest::parse(&format!("{LEAST}{lines}")).map_err(|faults| faults.to_string())
}

fn fault(lines: &str) -> String {
    let told = with(lines).expect_err(lines);
    let told = told.strip_prefix("1 fault\n  ");
    told.expect("one fault").to_owned()
}

#[test]
fn the_least_manifest_has_the_documented_defaults() {
    let manifest = with("").unwrap();
    assert_eq!(manifest.id.to_string(), "default/a@1.0.0");
    assert_eq!(manifest.replicas.get(), 3);
    assert_eq!(manifest.agreement, Agreement::Majority);
    assert_eq!(manifest.limits.memory, ByteSize::mib(256));
    assert_eq!(manifest.limits.files, ByteSize::mib(256));
    assert_eq!(manifest.limits.fuel_per_turn, FuelPerTurn::Limit(10_000_000_000));
    assert_eq!((manifest.limits.flows, manifest.limits.flows_per_client), (20_000, 20_000));
    assert_eq!(manifest.limits.descriptors, 24_000);
    assert_eq!(manifest.limits.socket_buffer, ByteSize::mib(1));
    assert_eq!(manifest.limits.socket_buffers, ByteSize::mib(256));
    assert_eq!(manifest.limits.idle, IdleLimit::After(Duration::from_secs(600)));
    assert_eq!(manifest.limits.log_lines_per_second, 1_000);
    assert_eq!(manifest.limits.history, ByteSize::gib(1));
    assert_eq!(manifest.restart.policy, RestartPolicy::Always);
    assert_eq!(manifest.restart.backoff, Duration::from_millis(100));
    assert_eq!(manifest.restart.backoff_max, Duration::from_secs(10));
    assert_eq!((manifest.limits.outward, manifest.limits.tables, manifest.limits.inodes), (1_024, 1_000_000, 100_000));
    assert_eq!((&manifest.ready.when, manifest.ready.timeout), (&ReadyWhen::Listen, Duration::from_secs(30)));
    assert!(manifest.outbound.is_empty(), "nothing may be reached");
    assert!(manifest.ports.is_empty() && manifest.env.is_empty() && manifest.files.is_empty());
}

#[test]
fn every_key_is_read() {
    let manifest = Manifest::parse(include_str!("full.toml")).unwrap();
    assert_eq!(manifest.id.to_string(), "examples/image-server@0.1.0");
    assert_eq!(manifest.module.as_str(), "image-server.wasm");
    assert_eq!((manifest.replicas.get(), manifest.agreement), (5, Agreement::All));
    assert_eq!(manifest.args, ["--port", "8080"]);
    assert_eq!(manifest.ports.len(), 3);
    let (http, admin, names) = (&manifest.ports[0], &manifest.ports[1], &manifest.ports[2]);
    assert_eq!(http.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!((http.protocol, http.nodelay, &http.unix), (Protocol::Tcp, true, &None));
    assert_eq!((http.keepalive, http.proxy_protocol.len()), (Keepalive::After(Duration::from_secs(60)), 0));
    assert_eq!((admin.guest.get(), admin.pass, admin.nodelay), (9090, true, false));
    assert_eq!(admin.listen, ["127.0.0.1:9090".parse().unwrap(), "[::1]:9090".parse().unwrap()]);
    assert_eq!(admin.unix.as_deref(), Some(std::path::Path::new("/run/image-server.sock")));
    assert_eq!(admin.keepalive, Keepalive::Off);
    assert_eq!(admin.proxy_protocol, ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
    assert_eq!((names.guest.get(), names.protocol), (9090, Protocol::Udp));
    let outbound: Vec<String> = manifest.outbound.iter().map(ToString::to_string).collect();
    assert_eq!(
        outbound,
        [
            "api.example.com:443",
            "*.internal:5432",
            "10.0.0.0/8:5432",
            "[fd00::/8]:53/udp",
            "db.internal:8000-8010 with a PROXY v2 header"
        ]
    );
    let ReadyWhen::Probe(probe) = &manifest.ready.when else { panic!("{:?}", manifest.ready) };
    assert_eq!((probe.port.as_str(), probe.expect.as_str()), ("http", "200"));
    assert_eq!(probe.send, "GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(manifest.ready.timeout, Duration::from_secs(5));
    assert_eq!((manifest.limits.outward, manifest.limits.tables, manifest.limits.inodes), (12, 5_000, 77));
    assert_eq!(manifest.env["KEY"], "value");
    let (guest, host) = manifest.files.first_key_value().unwrap();
    assert_eq!((guest.as_str(), host.as_str()), ("/guest/path", "host/path"));
    assert_eq!(manifest.limits.memory, ByteSize::mib(64));
    assert_eq!(manifest.limits.files, ByteSize::bytes(10_000_000));
    assert_eq!(manifest.limits.fuel_per_turn, FuelPerTurn::Off);
    assert_eq!((manifest.limits.flows, manifest.limits.flows_per_client), (100, 10));
    assert_eq!(manifest.limits.descriptors, 256);
    assert_eq!(manifest.limits.socket_buffer, ByteSize::kib(64));
    assert_eq!(manifest.limits.socket_buffers, ByteSize::bytes(1_048_576));
    assert_eq!(manifest.limits.idle, IdleLimit::Off);
    assert_eq!(manifest.limits.log_lines_per_second, 10);
    assert_eq!(manifest.limits.history, ByteSize::gib(2));
    assert_eq!(manifest.restart.policy, RestartPolicy::OnFailure);
    assert_eq!(manifest.restart.backoff, Duration::from_millis(250));
    assert_eq!(manifest.restart.backoff_max, Duration::from_secs(2));
    assert_eq!(manifest.build.command.as_deref(), Some("make image-server.wasm"));
    assert_eq!(manifest.build.output.as_ref().map(HostPath::as_str), Some("out/plain.wasm"));
}

#[test]
fn how_a_module_is_built_is_empty_when_it_is_not_said_and_stays_in_the_folder() {
    for lines in ["", "[build]\n", "[build]\ncommand = \"\"\noutput = \"\"\n"] {
        assert_eq!(with(lines).unwrap().build, refrain_service::Build::default(), "{lines}");
    }
    let outside = fault("[build]\noutput = \"../a.wasm\"\n");
    assert!(outside.contains("build.output") && outside.contains("must not leave"), "{outside}");
}

#[test]
fn a_manifest_of_nothing_but_faults_is_answered_at_once_with_the_first_thousand() {
    let most = bounds::MANIFEST_BYTES_MAX as usize - LEAST.len() - 32;
    let numbers: String = (0..most / 9).map(|n| format!("{n:06}=1\n")).collect();
    let ports = "[[ports]]\n".repeat(most / 10);
    let mut long = "y".repeat(most);
    long.push_str(" = 1\n");
    for (text, count) in [
        (numbers.clone(), bounds::FAULTS_MAX + 1),
        (format!("[env]\n{numbers}"), bounds::FAULTS_MAX + 1),
        // Each of those that are looked at lacks three keys; and there are too many.
        (ports, 1 + 3 * bounds::PORTS_MAX),
        (long, 1),
    ] {
        let faults = Manifest::parse(&format!("{LEAST}{text}")).unwrap_err();
        assert_eq!(faults.all().len(), count);
        let last = faults.all().last().expect("there is one").to_string();
        assert_eq!(last == "more than 1000 faults; the others are not told", count > bounds::FAULTS_MAX, "{last}");
    }
}

#[test]
fn all_faults_are_told_at_once_with_line_value_and_what_is_allowed() {
    let faults = Manifest::parse(include_str!("faulty.toml")).unwrap_err();
    assert_eq!(format!("{faults}\n"), include_str!("faulty.txt"));
}

#[test]
fn what_is_no_toml_is_told_with_its_lines() {
    let faults = Manifest::parse("name = \"a\"\nversion = \nmodule 3\n").unwrap_err();
    let lines: Vec<_> = faults.all().iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [Some(2), Some(3)], "{faults}");
    assert!(faults.to_string().contains("not TOML"), "{faults}");
}

const STATELESS: &str = "kind = \"http\"\nmode = \"stateless\"\n";

#[test]
fn a_component_is_stateless_and_has_nothing_of_what_is_replicated() {
    assert_eq!(
        fault("kind = \"http\""),
        "line 1: mode: a service of kind http is stateless: write mode = \"stateless\""
    );
    assert!(fault("mode = \"stateless\"").ends_with("only services of kind http are stateless"));
    assert!(fault("[http]").ends_with("only services of kind http have it"));
    for (key, text) in [
        ("replicas", "replicas = 3"),
        ("agreement", "agreement = \"all\""),
        ("args", "args = []"),
        ("outbound", "outbound = []"),
        ("ports", "[[ports]]\nname = \"a\"\nguest = 1\nlisten = \"127.0.0.1:0\""),
        ("files", "[files]"),
        ("restart", "[restart]"),
        ("ready", "[ready]"),
    ] {
        let told = fault(&format!("{STATELESS}{text}"));
        assert!(told.contains(key) && told.ends_with("a stateless service has none"), "{told}");
    }
}

#[test]
fn a_limit_that_does_nothing_for_a_component_is_refused() {
    let limits = |key: &str, value: &str| with(&format!("{STATELESS}[limits]\n{key} = {value}\n"));
    for (key, value) in [
        ("files", "\"1MiB\""),
        ("inodes", "7"),
        ("fuel_per_turn", "\"off\""),
        ("flows", "30000"),
        ("flows_per_client", "7"),
        ("descriptors", "100"),
        ("socket_buffer", "\"1MiB\""),
        ("socket_buffers", "\"256MiB\""),
        ("idle", "\"off\""),
        ("log_lines_per_second", "7"),
        ("history", "\"1MiB\""),
    ] {
        let told = limits(key, value).expect_err(key);
        assert!(
            told.contains(&format!("limits.{key}")) && told.contains("does nothing for a stateless service"),
            "{told}"
        );
    }
    for (key, value) in [("memory", "\"64MiB\""), ("tables", "7"), ("outward", "7")] {
        assert!(limits(key, value).is_ok(), "{key}");
    }
}

#[test]
fn a_component_says_what_it_may_use_and_which_requests_are_its() {
    let silent = with(STATELESS).unwrap();
    let http = &silent.http;
    assert_eq!((silent.kind, silent.mode), (Kind::Http, Mode::Stateless));
    assert_eq!((http.instances, http.reuse, http.cpu, http.deadline), (1200, (1, 1), None, Duration::from_secs(30)));
    assert_eq!(http.health, None);
    let told = with(&format!(
        "{STATELESS}[[routes]]\nhost = \"*.example.com\"\npath = \"/api/...\"\nmethods = [\"GET\", \"PURGE\"]\n\
         rewrite = \"/v1\"\nheaders = {{ x-beta = \"1\" }}\n[[routes]]\n[http]\nreuse = \"64-128\"\ncpu = \"2ms\"\n\
         instances = 2048\nqueue = 0\nhealth = \"/__health\"\nrequest_body = \"1TiB\"\noutgoing = [\"GET https://api.example.com\"]\n"
    ))
    .unwrap();
    let first = &told.routes[0];
    assert_eq!((first.host.as_str(), first.path.as_str()), ("*.example.com", "/api/..."));
    assert_eq!((first.methods.join(" "), first.rewrite.as_deref()), ("GET PURGE".to_owned(), Some("/v1")));
    assert_eq!(first.headers, [("x-beta".to_owned(), "1".to_owned())]);
    assert_eq!((told.routes[1].host.as_str(), told.routes[1].path.as_str()), ("*", "/..."));
    assert_eq!((told.http.reuse, told.http.cpu), ((64, 128), Some(Duration::from_millis(2))));
    assert_eq!(told.http.outgoing, ["GET https://api.example.com"]);
    assert_eq!(told.http.health.as_deref(), Some("/__health"));
}

#[test]
fn a_route_to_sockets_names_a_port_of_tcp_and_one_to_a_component_none() {
    let port = "[[ports]]\nname = \"web\"\nguest = 80\nlisten = \"127.0.0.1:0\"\n\
                [[ports]]\nname = \"names\"\nguest = 53\nprotocol = \"udp\"\nlisten = \"127.0.0.1:0\"\n";
    let route = |text: &str| format!("{port}[[routes]]\n{text}\n");
    let web: Name = "web".parse().unwrap();
    assert_eq!(with(&route("port = \"web\"")).unwrap().routes[0].port, Some(web));
    assert!(fault(&route("path = \"/\"")).ends_with("port: missing, and has no default"));
    assert!(fault(&route("port = \"names\"")).ends_with("no port of tcp has this name"));
    assert!(fault(&format!("{STATELESS}[[routes]]\nport = \"web\"")).ends_with("a service of kind http has no ports"));
}

#[test]
fn what_a_component_may_use_is_bounded_at_both_ends() {
    for (good, bad) in [
        ("instances = 1", "instances = 0"),
        ("instances = 2048", "instances = 2049"),
        ("concurrency = 1024", "concurrency = 1025"),
        ("queue = 65536", "queue = 65537"),
        ("queue_wait = \"5m\"", "queue_wait = \"301s\""),
        ("deadline = \"1h\"", "deadline = \"3601s\""),
        ("lifetime = \"168h\"", "lifetime = \"169h\""),
        ("cpu = \"1h\"", "cpu = \"1ms\""),
        ("cpu = \"off\"", "cpu = \"never\""),
        ("response_body = \"1TiB\"", "response_body = \"1025GiB\""),
        ("reuse = 1000000", "reuse = 1000001"),
        ("reuse = \"1-1\"", "reuse = \"2-1\""),
        ("reuse = \"5-5\"", "reuse = \"5\""),
        ("health = \"/\"", "health = \"healthy\""),
        ("health = \"\"", "health = \"/a?b\""),
        ("health = \"/a.b/c\"", "health = \"/a b\""),
        ("health = \"/-._~!$&'()*+,;=:@\"", "health = \"/<\""),
        ("health = \"/...\"", "health = \"/a/../b\""),
        ("health = \"/a/\"", "health = \"/`\""),
    ] {
        assert!(with(&format!("{STATELESS}[http]\n{good}")).is_ok(), "{good}");
        assert!(with(&format!("{STATELESS}[http]\n{bad}")).is_err(), "{bad}");
    }
    let many = |count: usize| format!("{STATELESS}{}", "[[routes]]\n".repeat(count));
    assert!(with(&many(bounds::ROUTES_MAX)).is_ok() && with(&many(bounds::ROUTES_MAX + 1)).is_err());
    let path = |bytes: usize| format!("{STATELESS}[[routes]]\npath = \"/{}\"", "x".repeat(bytes - 1));
    let limit = bounds::ROUTE_TEXT_BYTES_MAX;
    assert!(with(&path(limit)).is_ok() && with(&path(limit + 1)).is_err());
    assert!(fault(&format!("{STATELESS}[[routes]]\nmethods = [\"G T\"]")).contains("not a method"));
}

#[test]
fn counts_are_allowed_at_their_bounds_and_not_beyond() {
    for (key, bound) in [
        ("fuel_per_turn", bounds::FUEL_PER_TURN),
        ("flows", bounds::FLOWS),
        ("flows_per_client", bounds::FLOWS_PER_CLIENT),
        ("descriptors", bounds::DESCRIPTORS),
        ("outward", bounds::OUTWARD),
        ("tables", bounds::TABLES),
        ("inodes", bounds::INODES),
        ("log_lines_per_second", bounds::LOG_LINES_PER_SECOND),
    ] {
        let neighbour = if key == "flows_per_client" { "flows = 1000000\n" } else { "" };
        let limits = |value: u64| with(&format!("[limits]\n{neighbour}{key} = {value}\n"));
        for good in [bound.min, bound.max] {
            assert!(limits(good).is_ok(), "{key} = {good}");
        }
        for bad in bound.min.checked_sub(1).into_iter().chain([bound.max + 1]) {
            let told = limits(bad).expect_err(key);
            let allowed = format!("{key} = {bad}: allowed: {} to {}", bound.min, bound.max);
            assert!(told.contains(&allowed), "{told}");
        }
    }
}

#[test]
fn sizes_are_allowed_at_their_bounds_and_not_beyond() {
    for (key, bound) in [
        ("memory", bounds::MEMORY),
        ("files", bounds::FILES),
        ("socket_buffer", bounds::SOCKET_BUFFER),
        ("socket_buffers", bounds::SOCKET_BUFFERS),
        ("history", bounds::HISTORY),
    ] {
        let neighbour = if key == "socket_buffers" { "socket_buffer = \"16KiB\"\n" } else { "" };
        let limits = |value: u64| with(&format!("[limits]\n{neighbour}{key} = {value}\n"));
        for good in [bound.min.get(), bound.max.get()] {
            assert!(limits(good).is_ok(), "{key} = {good}");
        }
        let below = bound.min.get().checked_sub(1);
        for bad in below.into_iter().chain([bound.max.get() + 1]) {
            let told = limits(bad).expect_err(key);
            let allowed = format!("{key} = {bad}: allowed: {} to {}", bound.min, bound.max);
            assert!(told.contains(&allowed), "{told}");
        }
    }
}

#[test]
fn times_are_allowed_at_their_bounds_and_not_beyond() {
    for (table, key, good, bad) in [
        ("limits", "idle", ["1s", "168h"], ["999ms", "604801s"]),
        ("restart", "backoff_max", ["100ms", "24h"], ["0ms", "86401s"]),
        ("ready", "timeout", ["1s", "1h"], ["999ms", "3601s"]),
    ] {
        for value in good {
            assert!(with(&format!("[{table}]\n{key} = \"{value}\"")).is_ok(), "{key} {value}");
        }
        for value in bad {
            assert!(with(&format!("[{table}]\n{key} = \"{value}\"")).is_err(), "{key} {value}");
        }
    }
    let backoff = |value: &str| with(&format!("[restart]\nbackoff_max = \"24h\"\nbackoff = \"{value}\""));
    assert!(backoff("1ms").is_ok() && backoff("1h").is_ok());
    assert!(backoff("0ms").is_err() && backoff("3601s").is_err());
}

#[test]
fn replicas_are_odd_and_at_most_seven() {
    for good in [1, 3, 5, 7] {
        assert!(with(&format!("replicas = {good}")).is_ok());
    }
    for bad in [0, 2, 8, 9, 257] {
        let told = fault(&format!("replicas = {bad}"));
        assert!(told.contains("allowed: an odd number from 1 to 7"), "{told}");
    }
}

#[test]
fn lists_and_tables_are_allowed_at_their_limits_and_not_beyond() {
    let args = |count: usize| with(&format!("args = [{}]", "\"a\",".repeat(count)));
    assert!(args(bounds::ARGS_MAX).is_ok() && args(bounds::ARGS_MAX + 1).is_err());
    // The argument and its NUL share the limit with a variable, its equals sign and its NUL.
    let rest = bounds::ARGS_AND_ENV_BYTES_MAX - 100 - "\0V=\0".len();
    let bytes = |variable: usize| {
        let (arg, value) = ("a".repeat(100), "a".repeat(variable));
        with(&format!("args = [\"{arg}\"]\n[env]\nV = \"{value}\""))
    };
    assert!(bytes(rest).is_ok());
    let told = bytes(rest + 1).unwrap_err();
    assert!(told.contains("args and env take 262145 bytes together, the limit is 262144"), "{told}");
    let env = |count: usize| {
        let lines: String = (0..count).map(|n| format!("V{n} = \"\"\n")).collect();
        with(&format!("[env]\n{lines}"))
    };
    assert!(env(bounds::ENV_MAX).is_ok() && env(bounds::ENV_MAX + 1).is_err());
    let files = |count: usize| {
        let lines: String = (0..count).map(|n| format!("\"/f{n}\" = \"f\"\n")).collect();
        with(&format!("[files]\n{lines}"))
    };
    assert!(files(bounds::FILES_ENTRIES_MAX).is_ok() && files(bounds::FILES_ENTRIES_MAX + 1).is_err());
    let ports = |count: usize| {
        let port = |n| format!("[[ports]]\nname = \"p{n}\"\nguest = {n}\nlisten = \"127.0.0.1:0\"\n");
        with(&(1..=count).map(port).collect::<String>())
    };
    assert!(ports(bounds::PORTS_MAX).is_ok() && ports(bounds::PORTS_MAX + 1).is_err());
    let outbound = |count: usize| with(&format!("outbound = [{}]", "\"a.b:1\",".repeat(count)));
    assert!(outbound(bounds::OUTBOUND_MAX).is_ok());
    let told = outbound(bounds::OUTBOUND_MAX + 1).unwrap_err();
    assert!(told.ends_with("257 entries, the limit is 256"), "{told}");
}

const PORT: &str = "[[ports]]\nname = \"p\"\nguest = 80\n";

#[test]
fn what_a_port_may_say_is_allowed_at_its_limits_and_not_beyond() {
    let at = "listen = \"127.0.0.1:0\"";
    let port = |lines: &str| with(&format!("{PORT}{lines}\n"));
    let listens = |count: usize| port(&format!("listen = [{}]", "\"127.0.0.1:0\",".repeat(count)));
    assert!(listens(bounds::LISTEN_MAX).is_ok() && listens(bounds::LISTEN_MAX + 1).is_err() && listens(0).is_err());
    let from = |count: usize| port(&format!("{at}\nproxy_protocol.from = [{}]", "\"::1\",".repeat(count)));
    let most = bounds::PROXY_PROTOCOL_FROM_MAX;
    assert!(from(0).is_ok() && from(most).is_ok() && from(most + 1).is_err());
    let unix = |bytes: usize| port(&format!("unix = \"/{}\"", "u".repeat(bytes - 1)));
    let most = bounds::UNIX_PATH_BYTES_MAX;
    assert!(unix(2).is_ok() && unix(most).is_ok() && unix(most + 1).is_err());
    let keepalive = |value: &str| port(&format!("{at}\nkeepalive = \"{value}\""));
    assert!(["1s", "2h", "off"].iter().all(|value| keepalive(value).is_ok()));
    assert!(["999ms", "7201s", "on", ""].iter().all(|value| keepalive(value).is_err()));
}

#[test]
fn a_port_has_an_address_or_a_unix_socket_and_shares_neither() {
    assert!(with(&format!("{PORT}unix = \"/run/p\"")).unwrap().ports[0].listen.is_empty());
    for lines in ["", "unix = \"\""] {
        let told = fault(&format!("{PORT}{lines}"));
        assert!(told.contains("ports[0].listen: missing"), "{told}");
    }
    for path in ["run/p", "/run/", "/run/\\u0000"] {
        let told = fault(&format!("{PORT}unix = \"{path}\""));
        assert!(told.contains("ports[0].unix"), "{told}");
    }
    let twice = fault(&format!("{PORT}listen = [\"[::1]:80\", \"127.0.0.1:80\", \"[::1]:80\"]"));
    assert!(twice.ends_with("[::1]:80 is listened on already"), "{twice}");
    let other = PORT.replace("\"p\"", "\"q\"").replace("80", "81");
    let shared = fault(&format!("{PORT}unix = \"/run/p\"\n{other}unix = \"/run/p\""));
    assert!(shared.contains("ports[1].unix") && shared.contains("another port listens there"), "{shared}");
}

#[test]
fn tcp_and_udp_may_have_one_number_and_one_address_each() {
    let at = "listen = \"127.0.0.1:53\"\n";
    let other = PORT.replace("\"p\"", "\"q\"");
    assert_eq!(with(&format!("{PORT}{at}{other}{at}protocol = \"udp\"")).unwrap().ports.len(), 2);
    let told = with(&format!("{PORT}{at}{other}{at}")).unwrap_err();
    assert!(told.contains("another port has this number") && told.contains("another port listens there"), "{told}");
}

#[test]
fn what_concerns_connections_is_no_key_of_a_udp_port() {
    for line in
        ["pass = false", "unix = \"/run/p\"", "nodelay = true", "keepalive = \"60s\"", "proxy_protocol.from = []"]
    {
        let told = fault(&format!("{PORT}protocol = \"udp\"\nlisten = \"127.0.0.1:0\"\n{line}"));
        assert!(told.ends_with("a port of udp has none; it is of tcp alone"), "{told}");
    }
    let told = fault(&format!("{PORT}protocol = \"sctp\"\nlisten = \"127.0.0.1:0\""));
    assert!(told.ends_with("allowed: tcp, udp"), "{told}");
}

#[test]
fn every_wrong_entry_of_outbound_is_told() {
    let told = fault("outbound = [\"a.b:1\", \"a.b\", 3, \"a.b:0\"]");
    for part in ["entry 2: expected a host and a port", "entry 3: expected a string", "entry 4: `0` are no ports"] {
        assert!(told.contains(part), "{told}");
    }
    for (table, part) in [
        ("{}", "entry 1: a table needs `to`"),
        ("{ to = \"a.b\" }", "entry 1: expected a host and a port"),
        ("{ to = \"a.b:1\", proxy = \"v1\" }", "entry 1: unknown key `proxy`; allowed here: to, proxy_protocol"),
        ("{ to = \"a.b:1\", proxy_protocol = \"v3\" }", "entry 1: proxy_protocol: allowed: v1, v2"),
        ("{ to = \"a.b:1/udp\", proxy_protocol = \"v1\" }", "entry 1: proxy_protocol is of tcp alone"),
    ] {
        let told = fault(&format!("outbound = [{table}]"));
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_probe_is_allowed_at_its_limits_and_not_beyond() {
    let http = format!("{PORT}listen = \"127.0.0.1:0\"\n");
    let probe = |send: usize, expect: usize| {
        let (send, expect) = ("s".repeat(send), "e".repeat(expect));
        let probe = format!("probe = {{ port = \"p\", send = \"{send}\", expect = \"{expect}\" }}");
        with(&format!("{http}[ready]\nwhen = \"probe\"\n{probe}"))
    };
    let (send, expect) = (bounds::PROBE_SEND_BYTES_MAX, bounds::PROBE_EXPECT_BYTES_MAX);
    assert!(probe(0, 1).is_ok() && probe(send, expect).is_ok());
    assert!(probe(0, 0).is_err() && probe(send + 1, 1).is_err() && probe(0, expect + 1).is_err());
}

#[test]
fn a_probe_that_could_not_be_made_is_told() {
    let http = format!("{PORT}listen = \"127.0.0.1:0\"\n");
    let udp = http.replace("\"p\"", "\"u\"") + "protocol = \"udp\"\n";
    let ready = |when: &str, probe: &str| fault(&format!("{http}{udp}[ready]\nwhen = \"{when}\"\n{probe}"));
    for (when, probe, part) in [
        ("probe", "", "ready.probe: missing, and ready.when is \"probe\""),
        ("probe", "probe = { expect = \"x\" }", "ready.probe.port: missing"),
        ("probe", "probe = { port = \"p\" }", "ready.probe.expect: allowed: 1 to 1024 bytes"),
        ("probe", "probe = { port = \"q\", expect = \"x\" }", "ready.probe.port = \"q\": allowed: p"),
        ("probe", "probe = { port = \"u\", expect = \"x\" }", "ready.probe.port = \"u\": allowed: p"),
        ("probe", "probe = { port = \"p\", expect = \"x\", wait = 1 }", "ready.probe.wait: unknown key"),
        ("listen", "probe = { port = \"p\" }", "nobody uses it: ready.when is not \"probe\""),
        ("export", "", "ready.when = \"export\": allowed: listen, probe"),
        ("listen", "port = \"p\"", "ready.port: unknown key here; `port` belongs to [ready.probe]"),
    ] {
        let told = ready(when, probe);
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_manifest_has_at_most_a_mebibyte() {
    let padded = |bytes: usize| with(&format!("#{}", "x".repeat(bytes - LEAST.len() - 1)));
    assert!(padded(1 << 20).is_ok());
    assert_eq!(padded((1 << 20) + 1).unwrap_err(), "1 fault\n  1048577 bytes, the limit is 1048576");
}

#[test]
fn limits_that_contradict_each_other_are_told() {
    assert!(fault("[limits]\nflows = 10\nflows_per_client = 11").ends_with("more than limits.flows, which is 10"));
    // A default gives way instead of being a fault that nobody wrote.
    assert_eq!(with("[limits]\nflows = 10").unwrap().limits.flows_per_client, 10);
    let at = "[limits]\nsocket_buffer = \"1MiB\"\nsocket_buffers = \"2MiB\"";
    assert!(with(at).is_ok());
    let below = "[limits]\nsocket_buffer = \"1MiB\"\nsocket_buffers = 2097151";
    assert!(fault(below).contains("twice limits.socket_buffer, 2MiB"));
    let passed = |ports: usize, descriptors: u32| {
        let port =
            |number| format!("[[ports]]\nname = \"p{number}\"\nguest = {}\nlisten = \"127.0.0.1:0\"\n", number + 1);
        let ports: String = (0..ports).map(|number| port(number) + "pass = true\n").collect();
        format!("{ports}[limits]\ndescriptors = {descriptors}\n")
    };
    assert!(with(&passed(11, 16)).is_ok() && with(&passed(64, 69)).is_ok());
    let told = fault(&passed(12, 16));
    assert!(
        told.ends_with("the guest begins with 16, 12 of them for ports that are passed in, and needs more"),
        "{told}"
    );
    assert!(fault("[restart]\nbackoff = \"11s\"").contains("less than restart.backoff, which is 11s"));
}

#[test]
fn a_text_that_is_no_toml_is_told_with_its_place() {
    assert_eq!(fault("name = \"b\"\n"), "line 4: not TOML: duplicate key, at `name`");
    assert!(fault("replicas = three\n").starts_with("line 4: not TOML: "), "{}", fault("replicas = three\n"));
}

#[test]
fn the_listener_variables_belong_to_the_engine() {
    assert!(fault("[env]\nLISTEN_FDS = \"1\"").contains("reserved"));
}

#[test]
fn the_template_is_golden_valid_and_shows_the_defaults() {
    let text = template(&"my-service".parse::<Name>().unwrap());
    assert_eq!(text, include_str!("template.toml"));
    let manifest = Manifest::parse(&text).unwrap();
    // The manifest of another kind of service has `[http]`.
    let (before, after) = (text.find("\n#[http]").unwrap(), text.find("\n[build]").unwrap());
    let uncommented: String = [&text[..before], &text[after..]]
        .into_iter()
        .flat_map(str::lines)
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let mut explicit = Manifest::parse(&uncommented).unwrap();
    assert_eq!((explicit.env.len(), explicit.files.len(), explicit.routes.len()), (1, 1, 1));
    explicit.routes.clear();
    explicit.env.clear();
    explicit.files.clear();
    assert_eq!(explicit, manifest);
}

#[test]
fn every_key_of_the_reference_says_what_it_is_and_what_is_allowed() {
    for key in reference() {
        assert!(!key.what.is_empty() && !key.unit.is_empty() && !key.allowed.is_empty(), "{}", key.path);
    }
}
