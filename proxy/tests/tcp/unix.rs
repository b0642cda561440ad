//! Clients on the same machine, over Unix sockets.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use refrain_wire::IpRange;
use tokio::net::UnixStream;

use super::*;

/// A folder of one test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("refrain-unix-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("no folder is named so");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder is this test's");
    }
}

impl Stage {
    fn listen_unix(&self, path: &Path) -> std::io::Result<()> {
        self.front_end.listen_unix(path, GROUP, port::ECHO, &ListenOptions::default())
    }
}

async fn connect_unix(path: &Path) -> UnixStream {
    UnixStream::connect(path).await.expect("the proxy listens")
}

async fn is_echoed(client: &mut UnixStream, bytes: &[u8]) {
    let mut back = vec![0; bytes.len()];
    let (mut read, mut write) = client.split();
    let (sent, got) = tokio::join!(write.write_all(bytes), read.read_exact(&mut back));
    sent.expect("the proxy takes it");
    got.expect("the proxy answers");
    assert!(back == bytes);
}

#[test]
fn a_local_client_is_served_shown_as_localhost_and_logged_as_unix() {
    let (lines, _logged) = logged();
    on_loop(async {
        let (folder, stage) = (Folder::new(), Stage::begun(Limits::default()));
        stage.listen_unix(&folder.socket()).expect("the path is free");
        let mut client = connect_unix(&folder.socket()).await;
        is_echoed(&mut client, &some_bytes(3_000_000)).await;
        client.shutdown().await.expect("the write side is open");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("it ends");
        stage.is_empty().await;
        let peer = SocketAddr::from(([127, 0, 0, 1], 0));
        let opened = |record: &Record| matches!(record, Record::Open { peer: shown, .. } if *shown == peer);
        assert!(stage.guest.ordered.borrow().iter().any(opened));
    });
    let line = lines.of_access();
    for field in ["protocol=\"unix\"", "peer=127.0.0.1:0", "bytes_in=3000000", "ending=\"done\""] {
        assert!(line[0].contains(field), "{field} is not in {}", line[0]);
    }
}

#[test]
fn the_limit_of_one_client_is_not_for_local_ones() {
    on_loop(async {
        let (folder, stage) = (Folder::new(), Stage::begun(Limits { connections_per_client: 1, ..Limits::default() }));
        stage.listen_unix(&folder.socket()).expect("the path is free");
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = connect_unix(&folder.socket()).await;
            is_echoed(&mut client, b"x").await;
            clients.push(client);
        }
        let mut remote = stage.client(port::ECHO).await;
        echoes(&mut remote, b"it has its own place").await;
        drop(clients);
        drop(remote);
        stage.is_empty().await;
    });
}

#[test]
fn the_owner_and_the_group_may_connect_and_the_file_goes_away_with_a_drain() {
    on_loop(async {
        let (folder, stage) = (Folder::new(), Stage::begun(Limits::default()));
        stage.listen_unix(&folder.socket()).expect("the path is free");
        let file = fs::symlink_metadata(folder.socket()).expect("it is there");
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o660);
        stage.front_end.drain(Duration::from_millis(10)).await;
        assert!(!folder.socket().exists());
    });
}

#[test]
fn the_file_of_a_dead_server_is_replaced_and_that_of_a_living_one_is_not() {
    on_loop(async {
        let (folder, stage) = (Folder::new(), Stage::begun(Limits::default()));
        drop(std::os::unix::net::UnixListener::bind(folder.socket()).expect("the path is free"));
        assert!(folder.socket().exists(), "the server is dead, and its file is there");
        stage.listen_unix(&folder.socket()).expect("the file is replaced");
        let mut client = connect_unix(&folder.socket()).await;
        is_echoed(&mut client, b"served").await;
        let another = Stage::begun(Limits::default());
        let error = another.listen_unix(&folder.socket()).expect_err("one listens");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("a server listens at"), "{error}");
        is_echoed(&mut client, b"still served").await;
        is_echoed(&mut connect_unix(&folder.socket()).await, b"the file is the same").await;
    });
}

#[test]
fn what_is_no_socket_is_left_alone() {
    on_loop(async {
        let (folder, stage) = (Folder::new(), Stage::begun(Limits::default()));
        fs::write(folder.socket(), "precious").expect("the folder is there");
        let error = stage.listen_unix(&folder.socket()).expect_err("a file is there");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(folder.socket()).expect("it is there"), b"precious");
        assert!(stage.listen_unix(&folder.0.join("x".repeat(200))).is_err(), "no address is that long");
        assert!(stage.listen_unix(&folder.0.join("no folder/socket")).is_err());
    });
}

#[test]
fn a_drain_leaves_the_file_of_another_server() {
    on_loop(async {
        let (folder, stage) = (Folder::new(), Stage::begun(Limits::default()));
        stage.listen_unix(&folder.socket()).expect("the path is free");
        fs::remove_file(folder.socket()).expect("it is there");
        let _other = std::os::unix::net::UnixListener::bind(folder.socket()).expect("the path is free");
        stage.front_end.drain(Duration::from_millis(10)).await;
        assert!(folder.socket().exists());
    });
}

#[test]
fn a_local_proxy_tells_whose_connection_it_is_if_it_is_trusted() {
    on_loop(async {
        let (folder, stage) = (Folder::new(), Stage::begun(Limits::default()));
        let loopback = IpRange::one([127, 0, 0, 1].into());
        let options = ListenOptions { proxy_protocol_from: vec![loopback], ..ListenOptions::default() };
        stage.front_end.listen_unix(&folder.socket(), GROUP, port::ECHO, &options).expect("the path is free");
        let mut client = connect_unix(&folder.socket()).await;
        client.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n").await.expect("the proxy takes it");
        is_echoed(&mut client, b"x").await;
        let ordered = stage.guest.ordered.borrow();
        assert!(matches!(ordered[0], Record::Open { peer, .. } if peer.to_string() == "203.0.113.7:4711"));
    });
}
