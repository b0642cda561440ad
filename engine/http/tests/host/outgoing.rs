//! Requests that guests send: who may be reached, how, and what is kept within limits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{P2, P3, PATIENCE, happens, host, host_with, post, read, settings, text};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use refrain_http_host::{Destination, Limits, Permissions, Resolver, Service, Settings};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// An upstream that answers with the method, the path and the length of the body.
struct Upstream {
    port: u16,
    connections: Arc<AtomicUsize>,
}

async fn upstream() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let served = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { served.serve_connection(TokioIo::new(stream), service_fn(answer)).await });
        }
    });
    Upstream { port, connections }
}

async fn answer(request: http::Request<Incoming>) -> Result<http::Response<Full<Bytes>>, hyper::Error> {
    let head = format!("{} {}", request.method(), request.uri());
    let host = request.headers()["host"].to_str().expect("a host").split(':').next().expect("a name").to_owned();
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let mut response = http::Response::new(Full::new(Bytes::from(format!("{head} {host} {}", body.len()))));
    match path.as_str() {
        "/silent" => std::future::pending().await,
        "/redirect" => {
            *response.status_mut() = http::StatusCode::FOUND;
            response.headers_mut().insert("location", http::HeaderValue::from_static("http://10.0.0.1/"));
        }
        "/long" => *response.body_mut() = Full::new(Bytes::from(vec![b'x'; 100_000])),
        _ => {}
    }
    Ok(response)
}

/// The same over TLS, for `secure.localhost`, with a file of the authority that it is trusted by.
async fn secure_upstream(folder: &std::path::Path) -> (u16, std::path::PathBuf) {
    let certified = rcgen::generate_simple_self_signed(vec!["secure.localhost".into()]).expect("a certificate");
    let authorities = folder.join("authorities.pem");
    std::fs::write(&authorities, certified.cert.pem()).expect("a file");
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a certificate with its key");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let served = hyper::server::conn::http1::Builder::new();
                let _ = served.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    (port, authorities)
}

fn permissions(entries: &[&str]) -> Permissions {
    let outgoing = entries.iter().map(|entry| entry.parse::<Destination>().expect("a destination")).collect();
    Permissions { outgoing, ..Permissions::default() }
}

fn guest(bytes: &[u8], entries: &[&str]) -> Service {
    host().load(bytes, "test", Limits::default(), permissions(entries)).expect("the guest loads")
}

async fn fetch(service: &Service, url: &str) -> String {
    text(service, &format!("/fetch?{url}")).await.expect("a response")
}

/// A resolver that leads every name to the given addresses, one after another, and the last from then on.
fn resolver(addresses: Vec<IpAddr>) -> (Resolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let resolver: Resolver = Arc::new(move |_| {
        let turn = counted.fetch_add(1, Ordering::SeqCst).min(addresses.len() - 1);
        let address = addresses[turn];
        Box::pin(async move { Ok(vec![address]) })
    });
    (resolver, asked)
}

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn resolving(bytes: &[u8], addresses: Vec<IpAddr>, entries: &[&str]) -> (Service, Arc<AtomicUsize>) {
    let (resolver, asked) = resolver(addresses);
    let host = host_with(Settings { resolver: Some(resolver), ..settings() });
    (host.load(bytes, "test", Limits::default(), permissions(entries)).expect("the guest loads"), asked)
}

#[tokio::test]
async fn nothing_is_allowed_by_default() {
    let upstream = upstream().await;
    for bytes in [P2, P3] {
        let answer = fetch(&guest(bytes, &[]), &format!("http://127.0.0.1:{}/", upstream.port)).await;
        assert_eq!(answer, "HttpRequestDenied");
    }
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_in_the_list_is_reached_and_nothing_else() {
    let upstream = upstream().await;
    let entry = format!("GET http://127.0.0.1:{}", upstream.port);
    for bytes in [P2, P3] {
        let service = guest(bytes, &[&entry]);
        let answer = fetch(&service, &format!("http://127.0.0.1:{}/path?query", upstream.port)).await;
        assert_eq!(answer, "200 GET /path?query 127.0.0.1 0");
        assert_eq!(fetch(&service, "http://127.0.0.1:1/").await, "HttpRequestDenied");
        assert_eq!(fetch(&service, &format!("http://127.0.0.2:{}/", upstream.port)).await, "HttpRequestDenied");
    }
    let service = guest(P2, &[&entry]);
    let posted = service.handle(post(&format!("/post?http://127.0.0.1:{}/", upstream.port), "abc")).await;
    let answer = read(posted.expect("a response")).await.expect("a whole body");
    assert_eq!(answer, "HttpRequestDenied");
}

#[tokio::test]
async fn a_body_of_a_megabyte_goes_out() {
    let upstream = upstream().await;
    let url = format!("http://127.0.0.1:{}", upstream.port);
    for bytes in [0, 4096, 4097, 1 << 20] {
        let posted = guest(P2, &[&url]).handle(post(&format!("/post?{url}/"), vec![b'x'; bytes])).await;
        let answer = read(posted.expect("a response")).await.expect("a whole body");
        assert_eq!(answer, format!("200 POST / 127.0.0.1 {bytes}"));
    }
}

#[tokio::test]
async fn a_pattern_leads_to_no_private_address() {
    let upstream = upstream().await;
    for bytes in [P2, P3] {
        for pattern in ["*:*", "*.example.com:*"] {
            let (service, _) = resolving(bytes, vec![LOCAL], &[pattern]);
            let answer = fetch(&service, &format!("http://evil.example.com:{}/", upstream.port)).await;
            assert_eq!(answer, "DestinationIpProhibited");
        }
        let answer = fetch(&guest(bytes, &["*:*"]), &format!("http://127.0.0.1:{}/", upstream.port)).await;
        assert_eq!(answer, "DestinationIpProhibited");
    }
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_whole_name_leads_to_this_machine_only_if_it_always_means_it() {
    let upstream = upstream().await;
    for bytes in [P2, P3] {
        for address in [LOCAL, "169.254.169.254".parse().expect("an address"), "::1".parse().expect("an address")] {
            let (service, _) = resolving(bytes, vec![address], &["*:*", "db.example.com:*"]);
            let answer = fetch(&service, &format!("http://db.example.com:{}/", upstream.port)).await;
            assert_eq!(answer, "DestinationIpProhibited");
        }
        let (service, _) = resolving(bytes, vec![LOCAL], &["*:*", "db.localhost:*"]);
        let answer = fetch(&service, &format!("http://DB.localhost:{}/", upstream.port)).await;
        assert_eq!(answer, "200 GET / DB.localhost 0");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_leads_nowhere_new() {
    // The first answer is public and is what is checked and connected to; the second is private.
    let upstream = upstream().await;
    let public = "192.0.3.1".parse().expect("an address");
    let (service, asked) = resolving(P2, vec![public, LOCAL], &["*.example.com:*"]);
    let limits = format!("http://evil.example.com:{}/", upstream.port);
    let first = tokio::time::timeout(Duration::from_millis(300), fetch(&service, &limits)).await;
    assert!(first.is_err() || !first.is_ok_and(|answer| answer.starts_with("200")));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(fetch(&service, &limits).await, "DestinationIpProhibited");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let upstream = upstream().await;
    let url = format!("http://127.0.0.1:{}", upstream.port);
    let answer = fetch(&guest(P2, &[&url]), &format!("{url}/redirect")).await;
    assert!(answer.starts_with("302"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_used_again_and_only_by_its_service() {
    let upstream = upstream().await;
    let url = format!("http://127.0.0.1:{}", upstream.port);
    let host = host();
    let load = |name| host.load(P2, name, Limits::default(), permissions(&[&url])).expect("the guest loads");
    let (one, other) = (load("one"), load("other"));
    for _ in 0..20 {
        assert!(fetch(&one, &format!("{url}/")).await.starts_with("200"));
    }
    // One is enough, unless a request comes before the last connection is seen to be free.
    let used = upstream.connections.load(Ordering::SeqCst);
    assert!(used < 20, "{used} connections");
    assert!(fetch(&other, &format!("{url}/")).await.starts_with("200"));
    assert_eq!(upstream.connections.load(Ordering::SeqCst), used + 1);
}

#[tokio::test]
async fn an_upstream_that_is_silent_meets_the_limit() {
    let upstream = upstream().await;
    let url = format!("http://127.0.0.1:{}", upstream.port);
    let limits = Limits { first_byte: Duration::from_millis(50), ..Limits::default() };
    let service = host().load(P2, "test", limits, permissions(&[&url])).expect("the guest loads");
    assert_eq!(fetch(&service, &format!("{url}/silent")).await, "HttpResponseTimeout");
}

#[tokio::test]
async fn bodies_of_outgoing_calls_stop_at_their_limits() {
    let upstream = upstream().await;
    let url = format!("http://127.0.0.1:{}", upstream.port);
    let limits = |bytes| Limits { outgoing_response_bytes: bytes, outgoing_request_bytes: 1000, ..Limits::default() };
    let load = |bytes| host().load(P2, "test", limits(bytes), permissions(&[&url])).expect("the guest loads");
    assert_eq!(fetch(&load(100_000), &format!("{url}/long")).await.len(), "200 ".len() + 100_000);
    let cut = fetch(&load(99_999), &format!("{url}/long")).await;
    assert!(cut.contains("HTTP response body size exceeds limit: 99999"), "{cut}");
    for (bytes, expected) in [(1000, "200 POST / 127.0.0.1 1000"), (1001, "HttpRequestBodySize")] {
        let posted = load(1).handle(post(&format!("/post?{url}/"), vec![b'x'; bytes])).await;
        let answer = read(posted.expect("a response")).await.expect("a whole body");
        assert!(answer.contains(expected) || bytes == 1000, "{bytes}: {answer}");
    }
}

/// An upstream that answers once for each permit of its gate, and counts its requests: those that it has had, and the most at once.
struct Gated {
    gate: Arc<Semaphore>,
    url: String,
    asked: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gated {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let gated = Self { gate: Arc::new(Semaphore::new(0)), url, asked: Arc::default(), most: Arc::default() };
        let (gate, asked, most) = (Arc::clone(&gated.gate), Arc::clone(&gated.asked), Arc::clone(&gated.most));
        let under_way = Arc::new(AtomicUsize::new(0));
        let answer = move |request| {
            let (gate, under_way) = (Arc::clone(&gate), Arc::clone(&under_way));
            asked.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            async move {
                gate.acquire().await.expect("it is never closed").forget();
                under_way.fetch_sub(1, Ordering::SeqCst);
                answer(request).await
            }
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = hyper::server::conn::http1::Builder::new();
                let served = served.serve_connection(TokioIo::new(stream), service_fn(answer.clone()));
                tokio::spawn(served);
            }
        });
        gated
    }

    /// Waits until it has had so many requests.
    async fn asked(&self, requests: usize) {
        happens(|| self.asked.load(Ordering::SeqCst) >= requests).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_calls_at_once_as_many_go_out_as_may_and_the_others_wait() {
    let upstream = Gated::start().await;
    let url = &upstream.url;
    let limits = Limits { outgoing_calls: 10, connect: PATIENCE, ..Limits::default() };
    let service = host().load(P2, "test", limits, permissions(&[url])).expect("the guest loads");
    let target = format!("/fetch-many?{url}/");
    let many = tokio::spawn(async move { text(&service, &target).await.expect("a response") });
    upstream.asked(10).await;
    upstream.gate.add_permits(1000);
    assert_eq!(many.await.expect("it ends"), "1000 answered, 0 refused");
    assert_eq!(upstream.most.load(Ordering::SeqCst), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instances_of_a_service_have_its_calls_together_and_none_has_all_of_them() {
    let upstream = Gated::start().await;
    let url = &upstream.url;
    let limits = Limits { outgoing_calls: 100, connect: PATIENCE, ..Limits::default() };
    let service = host().load(P2, "test", limits, permissions(&[url])).expect("the guest loads");
    let target = format!("/fetch-many?{url}/");
    let many = || {
        let (service, target) = (service.clone(), target.clone());
        tokio::spawn(async move { text(&service, &target).await.expect("a response") })
    };
    let first = many();
    upstream.asked(64).await;
    let second = many();
    upstream.asked(100).await;
    assert_eq!(upstream.most.load(Ordering::SeqCst), 100);
    upstream.gate.add_permits(2000);
    for call in [first, second] {
        assert_eq!(call.await.expect("it ends"), "1000 answered, 0 refused");
    }
    assert_eq!(upstream.most.load(Ordering::SeqCst), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_too_long_is_refused_and_so_is_one_that_may_not_wait() {
    let upstream = Gated::start().await;
    let url = &upstream.url;
    let connect = Duration::from_millis(50);
    for outgoing_queue in [0, 1000] {
        let limits = Limits { outgoing_calls: 1, outgoing_queue, connect, ..Limits::default() };
        let service = host().load(P2, "test", limits, permissions(&[url])).expect("the guest loads");
        let asked = upstream.asked.load(Ordering::SeqCst);
        let target = format!("/fetch?{url}/");
        let first = tokio::spawn({
            let (service, target) = (service.clone(), target.clone());
            async move { text(&service, &target).await.expect("a response") }
        });
        upstream.asked(asked + 1).await;
        assert_eq!(fetch(&service, &format!("{url}/")).await, "ConnectionLimitReached");
        upstream.gate.add_permits(1);
        assert!(first.await.expect("it ends").starts_with("200"));
    }
}

#[tokio::test]
async fn a_call_counts_until_its_request_is_sent_as_well() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let url = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
    // Answers as soon as there is a head, and goes on reading.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut some = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut some).await {
                    if some[..read].windows(4).any(|word| word == b"GET " || word == b"POST") {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("sent");
                    }
                }
            });
        }
    });
    let limits = Limits { outgoing_calls: 1, connect: Duration::from_millis(500), ..Limits::default() };
    let service = host().load(P2, "test", limits, permissions(&[&url])).expect("the guest loads");
    let answer = text(&service, &format!("/fetch-beside-upload?{url}/")).await.expect("a response");
    assert_eq!(answer, "200 ok, ConnectionLimitReached, 200 ok");
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let service =
        guest(P2, &["127.0.0.1:*", "user@x", "nowhere.invalid"].map(|entry| entry.trim_start_matches("user@")));
    assert_eq!(fetch(&service, &format!("http://127.0.0.1:{port}/")).await, "ConnectionRefused");
    assert_eq!(fetch(&service, "http://nowhere.invalid/").await, "DnsError");
}

#[tokio::test]
async fn https_goes_to_who_can_prove_the_name_and_to_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, authorities) = secure_upstream(folder.path()).await;
    for bytes in [P2, P3] {
        let (resolver, _) = resolver(vec![LOCAL]);
        let settings = Settings { resolver: Some(resolver), authorities: Some(authorities.clone()), ..settings() };
        let entries = permissions(&["https://secure.localhost:*", "https://other.localhost:*"]);
        let service = host_with(settings).load(bytes, "test", Limits::default(), entries).expect("the guest loads");
        let answer = fetch(&service, &format!("https://secure.localhost:{port}/")).await;
        assert_eq!(answer, "200 GET / secure.localhost 0");
        let answer = fetch(&service, &format!("https://other.localhost:{port}/")).await;
        assert!(answer == "TlsCertificateError" || answer == "another error", "{answer}");
    }
}

#[tokio::test]
async fn a_connection_to_a_private_address_is_kept_for_those_alone_that_may_go_there() {
    let upstream = upstream().await;
    let entry = format!("GET http://internal.localhost:{}", upstream.port);
    let (service, _) = resolving(P2, vec![LOCAL], &[&entry, "*:*"]);
    let url = format!("http://internal.localhost:{}/", upstream.port);
    // Until one was kept and used again.
    for sent in 1.. {
        assert!(fetch(&service, &url).await.starts_with("200 GET"));
        if upstream.connections.load(Ordering::SeqCst) < sent {
            break;
        }
    }
    for _ in 0..20 {
        let posted = service.handle(post(&format!("/post?{url}"), "abc")).await.expect("a response");
        assert_eq!(read(posted).await.expect("a whole body"), "DestinationIpProhibited");
        assert!(fetch(&service, &url).await.starts_with("200 GET"));
    }
}

#[tokio::test]
async fn look_ups_whose_callers_are_gone_count_until_they_are_over() {
    let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, opens) = (Arc::clone(&asked), Arc::clone(&gate));
    let resolver: Resolver = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let opens = Arc::clone(&opens);
        Box::pin(async move {
            let _open = opens.acquire().await;
            Ok(vec![LOCAL])
        })
    });
    let host = host_with(Settings { resolver: Some(resolver), ..settings() });
    let limits = Limits { connect: Duration::from_millis(50), outgoing_calls: 1000, ..Limits::default() };
    let load = |connect| {
        let limits = Limits { connect, ..limits.clone() };
        host.load(P2, "test", limits, permissions(&["*:*"])).expect("the guest loads")
    };
    let service = load(Duration::from_millis(50));
    for _ in 0..3 {
        let answer = text(&service, "/fetch-many?http://example.com/").await.expect("a response");
        assert_eq!(answer, "0 answered, 1000 refused");
        assert_eq!(asked.load(Ordering::SeqCst), 8);
    }
    // Others have their own, and look-ups that end make room.
    assert_eq!(fetch(&load(Duration::from_millis(50)), "http://example.com/").await, "ConnectionTimeout");
    assert_eq!(asked.load(Ordering::SeqCst), 9);
    gate.close();
    let allowed = async { while fetch(&service, "http://example.com/").await != "DestinationIpProhibited" {} };
    tokio::time::timeout(PATIENCE, allowed).await.expect("look-ups are over");
}
