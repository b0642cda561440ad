//! The rules of `service.toml`: defaults, every limit at and above, all faults at once, and the golden texts.

use std::time::Duration;

use refrain_service::{
    Agreement, ByteSize, FuelPerTurn, HostPath, IdleLimit, Manifest, Name, RestartPolicy, bounds, reference, template,
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
    assert!(manifest.ports.is_empty() && manifest.env.is_empty() && manifest.files.is_empty());
}

#[test]
fn every_key_is_read() {
    let manifest = Manifest::parse(include_str!("full.toml")).unwrap();
    assert_eq!(manifest.id.to_string(), "examples/image-server@0.1.0");
    assert_eq!(manifest.module.as_str(), "image-server.wasm");
    assert_eq!((manifest.replicas.get(), manifest.agreement), (5, Agreement::All));
    assert_eq!(manifest.args, ["--port", "8080"]);
    assert_eq!(manifest.ports.len(), 2);
    assert_eq!(manifest.ports[0].listen.to_string(), "127.0.0.1:8080");
    assert_eq!((manifest.ports[1].guest.get(), manifest.ports[1].pass), (9090, true));
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

#[test]
fn http_and_stateless_come_later() {
    assert_eq!(fault("kind = \"http\""), "line 4: kind = \"http\": kind http is not supported by this version");
    assert_eq!(
        fault("mode = \"stateless\""),
        "line 4: mode = \"stateless\": mode stateless is not supported by this version"
    );
}

#[test]
fn counts_are_allowed_at_their_bounds_and_not_beyond() {
    for (key, bound) in [
        ("fuel_per_turn", bounds::FUEL_PER_TURN),
        ("flows", bounds::FLOWS),
        ("flows_per_client", bounds::FLOWS_PER_CLIENT),
        ("descriptors", bounds::DESCRIPTORS),
        ("log_lines_per_second", bounds::LOG_LINES_PER_SECOND),
    ] {
        let neighbour = if key == "flows_per_client" { "flows = 1000000\n" } else { "" };
        let limits = |value: u64| with(&format!("[limits]\n{neighbour}{key} = {value}\n"));
        for good in [bound.min, bound.max] {
            assert!(limits(good).is_ok(), "{key} = {good}");
        }
        for bad in [bound.min - 1, bound.max + 1] {
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
    assert!(fault("[restart]\nbackoff = \"11s\"").contains("less than restart.backoff, which is 11s"));
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
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let mut explicit = Manifest::parse(&uncommented).unwrap();
    assert_eq!((explicit.env.len(), explicit.files.len()), (1, 1));
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
