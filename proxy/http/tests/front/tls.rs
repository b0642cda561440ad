//! TLS: certificates by name, new files, bad files, and HTTP/2 by ALPN.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use refrain_front::{
    CertificateFiles, ClientHeader, Endpoint, Front, Plan, Proxies, ReloadError, StartError,
    write_development_certificate,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::*;
use crate::upgrade::ASK;

fn certificate(folder: &Path, name: &str) -> CertificateFiles {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    write_development_certificate(&folder, &[name.to_owned()]).unwrap()
}

fn der(files: &CertificateFiles) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.certificate).unwrap()
}

/// A client that trusts these certificates.
fn connector(trusted: &[&CertificateFiles], alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|files| roots.add(der(files)).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    to: SocketAddr,
    name: &str,
    connector: &TlsConnector,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(to).await?;
    connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

/// The certificate that a client which asks for this name gets.
fn served(front: &Front, name: &str, trusted: &[&CertificateFiles]) -> std::io::Result<CertificateDer<'static>> {
    block_on(async {
        let stream = connect(address(front), name, &connector(trusted, &[])).await?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
    })
}

fn secure(certificates: Vec<CertificateFiles>) -> Plan {
    Plan { certificates, ..plan(tells()) }
}

#[test]
fn a_request_over_tls_is_told_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a.test");
    let front = Front::start(&settings(true), secure(vec![files.clone()])).unwrap();
    let text = block_on(async {
        let mut stream = connect(address(&front), "a.test", &connector(&[&files], &["http/1.1"])).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    });
    assert!(text.contains("x-forwarded-proto: https") && text.contains("proto=https"), "{text}");
}

#[test]
fn what_is_sent_through_a_tunnel_arrives_whole_though_nothing_follows_and_the_client_is_late() {
    // Of some of them the last bytes are those that the socket did not take any more.
    const STEP: usize = 40 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a.test");
    // It sends as much as it is asked for, and then waits for the client.
    let upstream = raw_upstream(|_, mut stream| {
        let head = read_head(&mut stream);
        let steps: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        let switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(switched).unwrap();
        stream.write_all(&vec![b'x'; steps * STEP]).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 3);
    });
    let plan = Plan { certificates: vec![files.clone()], ..plan(Endpoint::Tcp(upstream)) };
    let front = Front::start(&settings(true), plan).unwrap();
    let (to, connector) = (address(&front), connector(&[&files], &["http/1.1"]));
    let taken = |steps: usize| {
        let connector = connector.clone();
        async move {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let name = ServerName::try_from("a.test").unwrap();
            let mut stream = connector.connect(name, socket.connect(to).await.unwrap()).await.unwrap();
            stream.write_all(ASK.replace("/chat", &format!("/{steps}")).as_bytes()).await.unwrap();
            // Until no more is on its way.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.read_exact(&mut vec![0; steps * STEP]).await.unwrap();
            stream.write_all(b"had").await.unwrap();
        }
    };
    block_on(async { futures_util::future::join_all((1..=96).map(taken)).await });
}

#[test]
fn http_2_is_chosen_by_alpn_and_curl_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a.test");
    let front = Front::start(&settings(true), secure(vec![files.clone()])).unwrap();
    let port = address(&front).port();
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let output = std::process::Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", flag, "--cacert"])
            .arg(&files.certificate)
            .args(["--resolve", &format!("a.test:{port}:127.0.0.1"), &format!("https://a.test:{port}/")])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{version} 200"));
    }
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, wild] = ["a.test", "b.test", "*.c.test"].map(|name| certificate(folder.path(), name));
    let front = Front::start(&settings(true), secure(vec![a.clone(), b.clone(), wild.clone()])).unwrap();
    let all = [&a, &b, &wild];
    assert_eq!(served(&front, "a.test", &all).unwrap(), der(&a));
    assert_eq!(served(&front, "b.test", &all).unwrap(), der(&b));
    assert_eq!(served(&front, "x.c.test", &all).unwrap(), der(&wild));
    // The first, which is not valid for it.
    assert!(served(&front, "other.test", &all).is_err());
}

#[test]
fn new_files_are_taken_into_use_and_bad_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a.test");
    let front = Front::start(&settings(true), secure(vec![files.clone()])).unwrap();
    let old = CertificateFiles { certificate: folder.path().join("old.crt"), key: files.key.clone() };
    std::fs::copy(&files.certificate, &old.certificate).unwrap();
    std::fs::write(&files.certificate, "nonsense").unwrap();
    assert_eq!(served(&front, "a.test", &[&old]).unwrap(), der(&old));
    std::fs::remove_file(&files.certificate).unwrap();
    let new = certificate(folder.path(), "a.test");
    wait_until(|| served(&front, "a.test", &[&old, &new]).is_ok_and(|found| found == der(&new)));
}

#[test]
fn a_plan_without_a_usable_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a.test");
    assert!(matches!(Front::start(&settings(true), secure(vec![])), Err(StartError::NoCertificate(_))));
    let front = Front::start(&settings(true), secure(vec![files.clone()])).unwrap();
    assert!(matches!(front.reload(secure(vec![])), Err(ReloadError::NoCertificate)));
    let none = CertificateFiles { key: folder.path().join("none"), ..files.clone() };
    let error = front.reload(secure(vec![none])).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.ends_with("/none"), "{error}");
    assert_eq!(served(&front, "a.test", &[&files]).unwrap(), der(&files));
}

#[test]
fn plain_http_at_a_listener_of_tls_is_answered_in_words_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a.test");
    let front = Front::start(&settings(true), secure(vec![files.clone()])).unwrap();
    let mut client = Raw::to(&front);
    // More than is read of it: it gets its answer and no reset.
    let long = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    let answer = client.send(long).answer();
    assert_eq!((answer.status(), answer.header("x-refrain-error")), (400, Some("plain-on-tls")));
    assert_eq!(answer.text(), "the plain HTTP request was sent to HTTPS port\n");
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.rest().is_empty());
    assert!(served(&front, "a.test", &[&files]).is_ok());
    assert_eq!(front.metrics().faults, [("plain-on-tls", 1)]);
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_counted_and_one_that_is_late_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let [files, other] = ["a.test", "b.test"].map(|name| certificate(folder.path(), name));
    let mut settings = settings(true);
    settings.connection.head = std::time::Duration::from_millis(200);
    let front = Front::start(&settings, secure(vec![files])).unwrap();
    assert!(served(&front, "a.test", &[&other]).is_err());
    // The alert is read before the connection is closed.
    wait_until(|| front.metrics().faults == [("tls-failed", 1)]);
    // A record of 80 bytes, of which the first came.
    assert!(Raw::to(&front).send(b"\x16\x03\x01\0\x50\x01").rest().is_empty());
    assert_eq!(front.metrics().faults, [("tls-failed", 1), ("tls-slow", 1)]);
}

#[test]
fn the_header_of_a_proxy_comes_before_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a.test");
    let mut settings = settings(true);
    settings.proxies = Some(Proxies::new(vec!["127.0.0.1/32".parse().unwrap()], |bytes| {
        let client = (bytes.len() >= 4).then(|| [bytes[0], bytes[1], bytes[2], bytes[3]].into());
        Ok(client.map(|client| ClientHeader { length: 4, client: Some(client) }))
    }));
    let front = Front::start(&settings, secure(vec![files.clone()])).unwrap();
    let text = block_on(async {
        let mut stream = tokio::net::TcpStream::connect(address(&front)).await.unwrap();
        stream.write_all(&[203, 0, 113, 7]).await.unwrap();
        let connector = connector(&[&files], &["http/1.1"]);
        let name = ServerName::try_from("a.test").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    });
    assert!(text.contains("forwarded: for=203.0.113.7;proto=https;"), "{text}");
}
