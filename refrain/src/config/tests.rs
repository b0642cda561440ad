//! What configurations are taken, and that all faults are told.

use super::*;

const CLUSTER: &str = r#"
[[node]]
id = 1
address = "127.0.0.1:7101"
[[node]]
id = 2
address = "127.0.0.1:7102"
[[node]]
id = 3
address = "127.0.0.1:7103"
roles = ["sequencer"]
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn config(&self, name: &str) -> Settings {
        Settings { config: Some(self.0.path().join(name)), ..Settings::default() }
    }
}

fn faults(result: Result<Config, ConfigError>) -> Vec<String> {
    match result {
        Err(ConfigError::Faults(faults)) => faults,
        other => panic!("faults expected, found {other:?}"),
    }
}

#[test]
fn flags_win_over_the_file_and_that_over_defaults() {
    let folder = Folder::with(&[("a.toml", "replicas = 5\ndata-dir = \"elsewhere\"\ndrain-timeout = \"3s\"\n")]);
    let config = Config::of_up(Settings { replicas: Some(1), ..folder.config("a.toml") }).unwrap();
    assert_eq!(config.replicas, Some(1));
    assert_eq!(config.data_dir, PathBuf::from("elsewhere"));
    assert_eq!(config.drain_timeout, Duration::from_secs(3));
    assert_eq!(config.max_connections, DEFAULT_MAX_CONNECTIONS);
}

#[test]
fn all_faults_are_told_at_once() {
    let settings = Settings {
        replicas: Some(2),
        max_log_bytes: Some("1MiB".into()),
        drain_timeout: Some("soon".into()),
        admin_listen: Some("192.0.2.1:1".parse().unwrap()),
        max_connections: Some(0),
        engine_workers: Some(0),
        election_timeout: Some("10ms".into()),
        listen: vec!["here".into()],
        peer_listen: Some("192.0.2.1:1".parse().unwrap()),
        ..Settings::default()
    };
    let faults = faults(Config::of_up(settings));
    assert_eq!(faults.len(), 10, "{faults:#?}");
}

#[test]
fn the_patience_with_other_nodes_follows_elections_and_the_lease() {
    let patience = |election: Option<&str>, lease: Option<&str>, peer: Option<&str>| {
        let text = |given: Option<&str>| given.map(str::to_owned);
        let heartbeat_interval = Some("10ms".to_owned());
        let (election_timeout, lease, peer_timeout) = (text(election), text(lease), text(peer));
        let settings = Settings { election_timeout, heartbeat_interval, lease, peer_timeout, ..Settings::default() };
        Config::of_up(settings).map(|config| config.peer_timeout.as_millis())
    };
    assert_eq!(patience(None, None, None).unwrap(), 2000);
    assert_eq!(patience(Some("150ms"), None, None).unwrap(), 900);
    assert_eq!(patience(Some("500ms"), Some("2s"), None).unwrap(), 800);
    assert_eq!(patience(Some("2500ms"), None, None).unwrap(), 2500);
    assert_eq!(patience(None, Some("1s"), None).unwrap(), 500);
    assert_eq!(patience(None, None, Some("500ms")).unwrap(), 500);
    let Err(ConfigError::Faults(below)) = patience(None, None, Some("499ms")) else { panic!("it is refused") };
    assert_eq!(below, ["peer-timeout: 499ms must not be below election-timeout, which is 500ms"]);
}

#[test]
fn an_unknown_key_of_the_file_is_an_error() {
    let folder = Folder::with(&[("a.toml", "replica = 5\n")]);
    let error = Config::of_up(folder.config("a.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Parse { .. }), "{error:?}");
}

#[test]
fn a_node_finds_itself_in_the_cluster_file_beside_its_own() {
    let folder = Folder::with(&[("node.toml", "node = 3\ncluster = \"cluster.toml\"\n"), ("cluster.toml", CLUSTER)]);
    let config = Config::of_node(folder.config("node.toml")).unwrap();
    assert_eq!(config.cluster.listen, Some("127.0.0.1:7103".parse().unwrap()));
    assert_eq!(config.cluster.roles, Roles { sequencer: true, ..Roles::default() });
    assert_eq!(config.cluster.members().count(), 3);
    let alone = Config::of_node(Settings { roles: Some(vec![Role::Engine]), ..folder.config("node.toml") }).unwrap();
    assert_eq!(alone.cluster.roles, Roles { engine: true, ..Roles::default() });
    let other = Config::of_node(Settings { node: Some(4), ..folder.config("node.toml") });
    assert_eq!(faults(other), ["node: 4 is not in the cluster file, which has 1, 2, 3"]);
}

#[test]
fn faults_of_the_cluster_file_are_told_with_their_values() {
    let twice = format!(
        "{CLUSTER}[[node]]\nid = 3\naddress = \"192.0.2.1:7103\"\n[[node]]\nid = 70000\naddress = \"127.0.0.1:7101\"\n"
    );
    let folder = Folder::with(&[("node.toml", "node = 1\ncluster = \"cluster.toml\"\n"), ("cluster.toml", &twice)]);
    let faults = faults(Config::of_node(folder.config("node.toml")));
    assert_eq!(
        faults,
        [
            "cluster: node 3 is there twice",
            "cluster: node 70000 is not in 1 to 65535",
            "cluster: two nodes have the address 127.0.0.1:7101",
        ]
    );
}

#[test]
fn a_node_without_its_files_is_told_what_is_missing() {
    let faults = faults(Config::of_node(Settings::default()));
    assert_eq!(faults.len(), 2, "{faults:?}");
    let folder = Folder::with(&[("a.toml", "node = 1\n")]);
    assert_eq!(faults_of_up(&folder), ["node: is for `refrain node`, not for `refrain up`"]);
}

fn faults_of_up(folder: &Folder) -> Vec<String> {
    faults(Config::of_up(folder.config("a.toml")))
}

#[test]
fn a_fault_tells_sizes_with_their_units() {
    let settings = Settings { max_log_bytes: Some("1MiB".into()), ..Settings::default() };
    assert_eq!(faults(Config::of_up(settings)), ["max-log-bytes: 1MiB is below the least, 128MiB"]);
}

/// What is printed, read as a file by itself.
fn read_again(printed: &str, read: fn(Settings) -> Result<Config, ConfigError>) -> Config {
    let folder = Folder::with(&[("printed.toml", printed)]);
    read(folder.config("printed.toml")).unwrap_or_else(|error| panic!("{error:?}\n{printed}"))
}

#[test]
fn what_is_printed_of_up_means_the_same_as_a_file() {
    let text = |text: &str| Some(text.to_owned());
    let everything = Settings {
        services: vec!["examples/echo".into(), "with \"quotes\"".into()],
        replicas: Some(5),
        data_dir: Some("elsewhere".into()),
        durability: Some(Durability::None),
        admin_listen: Some("127.0.0.1:7171".parse().unwrap()),
        allow_fault_injection: Some(true),
        max_log_bytes: text("1000000001"),
        engine_workers: Some(3),
        max_connections: Some(17),
        drain_timeout: text("1500ms"),
        listen: vec!["a/b/c=127.0.0.1:9000".into(), "a/b/c=unix:/run/c".into()],
        http: HttpSettings {
            http: Some(vec!["127.0.0.1:8080".parse().unwrap()]),
            https: Some(vec!["unix:/run/tls".parse().unwrap()]),
            tls_certificate: Some(vec!["a.pem".into()]),
            tls_key: Some(vec!["b.pem".into()]),
            http_trusted: Some(vec!["10.0.0.0/8".into(), "::1/128".into()]),
            http_proxy_protocol: Some(vec!["10.0.0.0/8".into()]),
            http_threads: Some(2),
            http_connections: Some(1000),
            http_client_connections: Some(100),
            http_client_requests: Some(50),
            http_client_rate: Some(20),
            http_client_burst: Some(10),
            http_head_timeout: text("5s"),
            http_idle_timeout: text("1m"),
            http_write_timeout: text("1500ms"),
            http_head_bytes: text("16KiB"),
            http_headers: Some(30),
            access_log: Some(true),
        },
        insecure: Some(true),
        election_timeout: text("1s"),
        heartbeat_interval: text("50ms"),
        peer_timeout: text("4s"),
        lease: text("10s"),
        checkpoint_batches: Some(7),
        checkpoint_bytes: text("3MB"),
        checkpoint_interval: text("1m"),
        log_cut_interval: text("1h"),
        rebuild: Some(false),
        outward: Some(false),
        peer_listen: Some("127.0.0.1:7272".parse().unwrap()),
        shards: Some(4),
        place: vec!["a/b=3".into()],
        ..Settings::default()
    };
    for settings in [Settings::default(), everything] {
        let config = Config::of_up(settings).unwrap();
        assert_eq!(read_again(&config.printed(), Config::of_up), config);
    }
}

#[test]
fn what_is_printed_of_a_node_means_the_same_as_a_file_wherever_that_is() {
    let folder = Folder::with(&[("node.toml", "node = 2\ncluster = \"cluster.toml\"\n"), ("cluster.toml", CLUSTER)]);
    for roles in [None, Some(vec![Role::Engine, Role::Proxy])] {
        let config = Config::of_node(Settings { roles, join: Some(true), ..folder.config("node.toml") }).unwrap();
        let printed = config.printed();
        assert_eq!(read_again(&printed, Config::of_node), config);
        assert!(printed.contains("\n# [[nodes]]\n# id = 1\n"), "{printed}");
    }
}
