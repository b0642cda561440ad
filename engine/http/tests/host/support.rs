//! What the tests of the host share: guests, hosts of their own, requests and answers.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty, Full};
use parking_lot::Mutex;
use refrain_http_host::{BodyError, Counted, Host, HostBody, Limits, Permissions, Refusal, Service, Settings};

pub const P2: &[u8] = include_bytes!("../guests/p2.wasm");
pub const P3: &[u8] = include_bytes!("../guests/p3.wasm");

/// A folder of compiled code for all tests of a program: each guest is compiled once.
fn cache() -> std::path::PathBuf {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = CACHE.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
    folder.path().to_owned()
}

pub fn settings() -> Settings {
    Settings { cache: Some(cache()), seed: Some(1), slots: 64, ..Settings::default() }
}

/// A host for one test, whose pool is large enough for it and no larger.
pub fn host() -> Host {
    host_with(settings())
}

pub fn host_with(settings: Settings) -> Host {
    Host::new(settings).expect("a host")
}

pub fn service(bytes: &[u8], limits: Limits) -> Service {
    host().load(bytes, "test", limits, Permissions::default()).expect("the guest loads")
}

/// A host whose guests' lines are kept.
pub fn logging() -> (Host, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let log: refrain_http_host::LogSink =
        Arc::new(move |line| sink.lock().push(format!("{:?} {}", line.output, line.text)));
    (host_with(Settings { log: Some(log), ..settings() }), lines)
}

pub fn get(target: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(format!("http://test{target}")).body(Empty::new()).expect("a request")
}

pub fn post(target: &str, body: impl Into<Bytes>) -> http::Request<Full<Bytes>> {
    http::Request::post(format!("http://test{target}")).body(Full::new(body.into())).expect("a request")
}

/// Status and body of the answer.
pub async fn text(service: &Service, target: &str) -> Result<String, Refusal> {
    let response = service.handle(get(target)).await?;
    Ok(read(response).await.expect("a whole body"))
}

pub async fn read(response: http::Response<HostBody>) -> Result<String, BodyError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).expect("text"))
}

/// Reads a body and keeps no more of it than its length.
pub async fn count(mut body: HostBody) -> Result<u64, BodyError> {
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        total += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(total)
}

/// A body of so many bytes in pieces, made when it is read.
pub struct Pieces {
    left: u64,
    piece: Bytes,
}

impl Pieces {
    pub fn new(bytes: u64) -> Self {
        Self { left: bytes, piece: Bytes::from(vec![b'x'; 65_536]) }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let now = self.left.min(self.piece.len() as u64);
        if now == 0 {
            return Poll::Ready(None);
        }
        self.left -= now;
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..usize::try_from(now).expect("small"))))))
    }
}

/// Long enough for anything that should happen; reached only by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something that is to happen has happened.
pub async fn happens(mut is_so: impl FnMut() -> bool) {
    let happened = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, happened).await.expect("it happens");
}

/// Waits until a service has counted what is wanted.
pub async fn until(service: &Service, counted: impl Fn(Counted) -> bool) {
    happens(|| counted(service.counted())).await;
}

/// Waits for so many instances to be gone.
pub async fn dropped(service: &Service, instances: u64) {
    until(service, |counted| counted.dropped >= instances).await;
}
