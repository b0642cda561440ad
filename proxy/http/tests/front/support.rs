//! What the tests share: a front end with a plan, handlers, upstreams, and clients of three kinds.

use std::convert::Infallible;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use refrain_front::{
    Answering, Body, Endpoint, Front, Handler, Listen, ListenAt, Plan, Refusal, Release, ReleaseLimits, Route, Service,
    Settings, Upstream,
};

/// Long enough for anything that should happen; reached only by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A handler from a function.
struct Function<F>(F);

impl<F, T> Handler for Function<F>
where
    F: Fn(Request<Body>) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
{
    fn call(&self, request: Request<Body>) -> Answering {
        Box::pin((self.0)(request))
    }
}

pub fn handler<F, T>(function: F) -> Endpoint
where
    F: Fn(Request<Body>) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
{
    Endpoint::Handler(Arc::new(Function(function)))
}

/// Answers every request with this text.
pub fn says(text: &'static str) -> Endpoint {
    handler(move |_| async move { Ok(Response::new(Body::from(text))) })
}

/// Answers with what it got: the head in lines, then the body.
pub fn tells() -> Endpoint {
    handler(|request| async move {
        let (parts, body) = request.into_parts();
        let mut lines = vec![format!("{} {}", parts.method, parts.uri)];
        lines.extend(
            parts.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))),
        );
        let text = lines.join("\n") + "\n\n";
        match body.collect().await {
            Ok(collected) => {
                let bytes = [text.as_bytes(), &collected.to_bytes()].concat();
                Ok(Response::new(Body::from(Bytes::from(bytes))))
            }
            Err(error) => Err(Refusal::begun(refrain_front::Cause::Broken(Box::new(error)))),
        }
    })
}

/// Sends the body back as it comes.
pub fn echoes() -> Endpoint {
    handler(|request| async move { Ok(Response::new(request.into_body())) })
}

pub fn release(version: &str, endpoints: Vec<Endpoint>) -> Release {
    let upstreams =
        endpoints.into_iter().enumerate().map(|(index, endpoint)| Upstream::new(format!("u{index}"), endpoint));
    Release {
        version: version.parse().unwrap(),
        upstreams: upstreams.collect(),
        limits: ReleaseLimits::default(),
        health: None,
    }
}

/// Everything goes to one service with this release.
pub fn plan_of(release: Release) -> Plan {
    let service = Service { name: "test/one".into(), releases: vec![release] };
    Plan { routes: vec![Route::to("/...", "test/one").unwrap()], services: vec![service], ..Plan::default() }
}

pub fn plan(endpoint: Endpoint) -> Plan {
    plan_of(release("1.0.0", vec![endpoint]))
}

pub fn settings(is_tls: bool) -> Settings {
    let at = ListenAt::Tcp("127.0.0.1:0".parse().unwrap());
    Settings { listeners: vec![Listen { at, is_tls }], threads: 2, ..Settings::default() }
}

pub fn start(plan: Plan) -> Front {
    Front::start(&settings(false), plan).unwrap()
}

pub fn address(front: &Front) -> SocketAddr {
    match &front.addresses()[0] {
        ListenAt::Tcp(address) => *address,
        ListenAt::Unix(path) => panic!("{} is no address", path.display()),
    }
}

/// A client that sends bytes as they are.
pub struct Raw(pub TcpStream);

impl Raw {
    pub fn to(front: &Front) -> Self {
        Self::of(TcpStream::connect(address(front)).unwrap())
    }

    /// A client of this loopback address.
    pub fn from(source: &str, front: &Front) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let source: IpAddr = source.parse().unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&address(front).into()).unwrap();
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(text.as_ref()).unwrap();
        self
    }

    /// The head of an answer.
    pub fn head(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        let head = String::from_utf8(head).unwrap();
        Answer { head, body: Vec::new() }
    }

    /// One answer: its head, and its body if it has a `content-length`.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        answer.body = vec![0; length];
        self.0.read_exact(&mut answer.body).unwrap();
        answer
    }

    /// Everything until the other side closes, which it has to.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&rest)),
        }
        rest
    }
}

#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One request with a connection of its own.
pub fn ask(front: &Front, text: &str) -> Answer {
    Raw::to(front).send(text).answer()
}

pub fn get(front: &Front, path: &str) -> Answer {
    ask(front, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
}

/// Runs a test that needs an executor of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { tokio::time::timeout(PATIENCE, future).await.expect("it takes too long") })
}

/// hyper's client over HTTP/1.1.
pub async fn http1(address: SocketAddr) -> hyper::client::conn::http1::SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}

/// hyper's client over HTTP/2 with prior knowledge.
pub async fn http2(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}

pub fn request(method: &str, uri: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(uri).header("host", "test").body(body).unwrap()
}

/// A server that speaks HTTP/1.1 by hyper, on a thread of its own that ends with the test's process.
pub fn upstream<F, T>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> T + Clone + Send + 'static,
    T: Future<Output = Response<Body>> + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let serving =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::task::spawn_local(serving);
            }
        });
    });
    address
}

/// A server whose connections this function serves, each on a thread of its own; the number counts them from 0.
pub fn raw_upstream(serve: impl Fn(usize, TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(number, stream.unwrap()));
        }
    });
    address
}

/// Reads one request's head and returns it.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// An address where nobody listens.
pub fn dead_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until something that is to happen has happened.
pub fn wait_until(is_so: impl FnMut() -> bool) {
    wait_for(PATIENCE, is_so);
}

/// The same, for what is only so in time.
pub fn wait_for(limit: Duration, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < limit, "it does not happen");
        std::thread::yield_now();
    }
}
