//! A component of `wasi:http/incoming-handler@0.2` that does what the path says, well or badly.

use std::sync::atomic::{AtomicU64, Ordering};

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
    Scheme,
};
use wasip2::filesystem::preopens::get_directories;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode as SocketError, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

struct Guest;
wasip2::http::proxy::export!(Guest);

/// Requests that this instance has served.
static SERVED: AtomicU64 = AtomicU64::new(0);

const CHUNK: usize = 4096;
/// Steps of work between two naps: less than a millisecond.
const NAP_STEPS: u64 = 250_000;

impl wasip2::exports::http::incoming_handler::Guest for Guest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let number = || query.parse::<u64>().unwrap_or(0);
        match path {
            "/" => text(out, "hello, world\n"),
            "/served" => text(out, &served.to_string()),
            "/target" => text(out, &format!("{:?} {:?}", request.scheme(), request.authority())),
            "/echo" => echo(request, out),
            "/late-head" => late_head(out, number()),
            "/early-body" => early_body(request, out),
            "/length" => length(request, out),
            "/bytes" => bytes(out, number()),
            "/shape" => shape(out, query),
            "/endless" => endless(out),
            "/sleep" => sleep(out, number()),
            "/spin" => spin(),
            "/busy" => busy(out, number()),
            "/naps" => naps(out, number()),
            "/trap" => panic!("asked to"),
            "/trap-in-body" => trap_in_body(out),
            "/spin-in-body" => spin_in_body(out),
            "/silent" => {}
            "/after" => after(out, number()),
            "/grow" => grow(out, number()),
            "/headers" => headers(out, number()),
            "/env" => text(out, &environment()),
            "/log" => log(out, query),
            "/trailers" => trailers(request, out),
            "/files" => text(out, if get_directories().is_empty() { "none" } else { "some" }),
            "/connect" => text(out, if connects() { "connects" } else { "denied" }),
            "/fetch" => fetch(out, query),
            "/post" => post(request, out, query),
            "/fetch-many" => fetch_many(out, query),
            "/fetch-beside-upload" => fetch_beside_upload(out, query),
            _ => respond(out, 404, &[]).finish(),
        }
    }
}

/// A response whose body is being written.
struct Body {
    body: OutgoingBody,
    stream: OutputStream,
}

impl Body {
    fn write(&self, bytes: &[u8]) -> Result<(), StreamError> {
        for chunk in bytes.chunks(CHUNK) {
            self.stream.blocking_write_and_flush(chunk)?;
        }
        Ok(())
    }

    fn finish(self) {
        self.finish_with(None);
    }

    fn finish_with(self, trailers: Option<Fields>) {
        drop(self.stream);
        let _ = OutgoingBody::finish(self.body, trailers);
    }
}

fn respond(out: ResponseOutparam, status: u16, fields: &[(&str, &str)]) -> Body {
    let headers = Fields::new();
    for (name, value) in fields {
        headers.append(name, value.as_bytes()).expect("a header is allowed");
    }
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a status is valid");
    let body = response.body().expect("the first body");
    ResponseOutparam::set(out, Ok(response));
    Body { stream: body.write().expect("the first stream"), body }
}

fn text(out: ResponseOutparam, text: &str) {
    let body = respond(out, 200, &[("content-type", "text/plain")]);
    let _ = body.write(text.as_bytes());
    body.finish();
}

/// Calls `chunk` with every piece of a body.
fn read_all(stream: &InputStream, mut chunk: impl FnMut(&[u8]) -> bool) -> Result<(), String> {
    loop {
        match stream.blocking_read(65536) {
            Ok(bytes) => {
                if !chunk(&bytes) {
                    return Ok(());
                }
            }
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the first body");
    let stream = incoming.stream().expect("the first stream");
    let body = respond(out, 200, &[]);
    let _ = read_all(&stream, |bytes| body.write(bytes).is_ok());
    body.finish();
}

/// Counts the body's bytes before it answers.
fn length(request: IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the first body");
    let stream = incoming.stream().expect("the first stream");
    let mut total = 0;
    match read_all(&stream, |bytes| {
        total += bytes.len();
        true
    }) {
        Ok(()) => text(out, &total.to_string()),
        Err(error) => text(out, &format!("error after {total}: {error}")),
    }
}

/// Writes a whole body before it sets the response.
fn late_head(out: ResponseOutparam, count: u64) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first body");
    let stream = body.write().expect("the first stream");
    let body = Body { body, stream };
    let bytes = vec![b'x'; usize::try_from(count).expect("small")];
    let _ = body.write(&bytes);
    ResponseOutparam::set(out, Ok(response));
    body.finish();
}

/// Answers before it reads the request's body, and never reads it.
fn early_body(request: IncomingRequest, out: ResponseOutparam) {
    let _incoming = request.consume().expect("the first body");
    text(out, "not read");
}

fn bytes(out: ResponseOutparam, count: u64) {
    let body = respond(out, 200, &[]);
    let chunk = [b'x'; CHUNK];
    let mut left = count;
    while left > 0 {
        let now = left.min(CHUNK as u64);
        if body.stream.blocking_write_and_flush(&chunk[..now as usize]).is_err() {
            return;
        }
        left -= now;
    }
    body.finish();
}

/// `DECLARED,WRITTEN,ENDING`: declares a length unless it is `-`, writes as many bytes whatever it is told, and then
/// finishes the body, drops it or leaves it.
fn shape(out: ResponseOutparam, query: &str) {
    let [declared, written, ending] = query.split(',').collect::<Vec<_>>()[..] else { return };
    let fields = [("content-length", declared)];
    let body = respond(out, 200, if declared == "-" { &[] } else { &fields[..] });
    let mut left: usize = written.parse().expect("a number");
    while left > 0 {
        let now = left.min(CHUNK);
        let _ = body.stream.blocking_write_and_flush(&[b'x'; CHUNK][..now]);
        left -= now;
    }
    match ending {
        "finish" => body.finish(),
        "drop" => drop(body.stream),
        _ => std::mem::forget((body.stream, body.body)),
    }
}

fn endless(out: ResponseOutparam) {
    let body = respond(out, 200, &[]);
    while body.stream.blocking_write_and_flush(&[b'x'; CHUNK]).is_ok() {}
}

fn sleep(out: ResponseOutparam, millis: u64) {
    monotonic_clock::subscribe_duration(millis * 1_000_000).block();
    text(out, "slept");
}

fn spin() {
    loop {
        work(1_000_000);
    }
}

fn work(steps: u64) {
    let mut state = 1_u64;
    for _ in 0..steps {
        state = std::hint::black_box(state.wrapping_mul(6364136223846793005).wrapping_add(1));
    }
}

/// Works for a moment and sleeps for one, so many times.
fn naps(out: ResponseOutparam, count: u64) {
    for _ in 0..count {
        work(NAP_STEPS);
        monotonic_clock::subscribe_duration(1_000_000).block();
    }
    text(out, "rested");
}

/// Works for so many milliseconds without a pause.
fn busy(out: ResponseOutparam, millis: u64) {
    let end = monotonic_clock::now() + millis * 1_000_000;
    while monotonic_clock::now() < end {
        work(10_000);
    }
    text(out, "worked");
}

fn trap_in_body(out: ResponseOutparam) {
    let body = respond(out, 200, &[]);
    let _ = body.write(b"the beginning");
    panic!("asked to");
}

fn spin_in_body(out: ResponseOutparam) {
    let body = respond(out, 200, &[]);
    let _ = body.write(b"the beginning");
    spin();
}

/// Goes on after its response is complete, and says so in the log.
fn after(out: ResponseOutparam, millis: u64) {
    text(out, "answered");
    monotonic_clock::subscribe_duration(millis * 1_000_000).block();
    print("after the response");
}

/// Takes so many bytes of memory, and tells whether it got them.
fn grow(out: ResponseOutparam, bytes: u64) {
    let mut memory: Vec<u8> = Vec::new();
    match memory.try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX)) {
        Ok(()) => {
            memory.resize(bytes as usize, 1);
            text(out, &memory.iter().map(|byte| u64::from(*byte)).sum::<u64>().to_string());
        }
        Err(_) => text(out, "refused"),
    }
}

/// A response whose headers have so many bytes.
fn headers(out: ResponseOutparam, bytes: u64) {
    let value = "x".repeat(bytes as usize);
    let headers = Fields::new();
    if headers.append("x-long", value.as_bytes()).is_err() {
        return text(out, "refused");
    }
    ResponseOutparam::set(out, Ok(OutgoingResponse::new(headers)));
}

fn log(out: ResponseOutparam, line: &str) {
    print(line);
    let _ = wasip2::cli::stderr::get_stderr().blocking_write_and_flush(b"to stderr\n");
    text(out, "logged");
}

/// Gives the request's body and trailers back.
fn trailers(request: IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the first body");
    let stream = incoming.stream().expect("the first stream");
    let body = respond(out, 200, &[]);
    let _ = read_all(&stream, |bytes| body.write(bytes).is_ok());
    drop(stream);
    let future = IncomingBody::finish(incoming);
    future.subscribe().block();
    let fields = match future.get() {
        Some(Ok(Ok(Some(fields)))) => fields.clone(),
        _ => Fields::new(),
    };
    let _ = fields.append("x-seen", b"yes");
    body.finish_with(Some(fields));
}

fn outgoing(url: &str, method: Method) -> Result<OutgoingRequest, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_method(&method).map_err(|()| "method")?;
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "path")?;
    Ok(request)
}

/// What an outgoing call came to: status and body, or the error's name.
fn call(url: &str) -> Result<String, String> {
    let future = outgoing_handler::handle(outgoing(url, Method::Get)?, None).map_err(|error| name(&error))?;
    answer(&future)
}

fn answer(future: &wasip2::http::types::FutureIncomingResponse) -> Result<String, String> {
    future.subscribe().block();
    let response = future.get().ok_or("not ready")?.map_err(|()| "taken")?.map_err(|error| name(&error))?;
    let body = response.consume().map_err(|()| "consumed")?;
    let stream = body.stream().map_err(|()| "streamed")?;
    let mut all = Vec::new();
    read_all(&stream, |bytes| {
        all.extend_from_slice(bytes);
        true
    })?;
    Ok(format!("{} {}", response.status(), String::from_utf8_lossy(&all)))
}

/// A few codes by name: formatting all of them would double the component.
fn name(error: &ErrorCode) -> String {
    let name = match error {
        ErrorCode::HttpRequestDenied => "HttpRequestDenied",
        ErrorCode::DestinationIpProhibited => "DestinationIpProhibited",
        ErrorCode::DestinationNotFound => "DestinationNotFound",
        ErrorCode::DnsError(_) => "DnsError",
        ErrorCode::ConnectionLimitReached => "ConnectionLimitReached",
        ErrorCode::ConnectionRefused => "ConnectionRefused",
        ErrorCode::ConnectionTimeout => "ConnectionTimeout",
        ErrorCode::ConnectionReadTimeout => "ConnectionReadTimeout",
        ErrorCode::ConnectionTerminated => "ConnectionTerminated",
        ErrorCode::HttpResponseTimeout => "HttpResponseTimeout",
        ErrorCode::HttpResponseBodySize(_) => "HttpResponseBodySize",
        ErrorCode::HttpRequestBodySize(_) => "HttpRequestBodySize",
        ErrorCode::HttpProtocolError => "HttpProtocolError",
        ErrorCode::TlsCertificateError => "TlsCertificateError",
        ErrorCode::TlsProtocolError => "TlsProtocolError",
        ErrorCode::InternalError(_) => "InternalError",
        _ => "another error",
    };
    name.into()
}

fn environment() -> String {
    let mut all = String::new();
    for (name, value) in wasip2::cli::environment::get_environment() {
        all = all + &name + "=" + &value + "\n";
    }
    all
}

/// Whether a connection to this very machine can be begun.
fn connects() -> bool {
    let Ok(socket) = create_tcp_socket(IpAddressFamily::Ipv4) else { return false };
    let address = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 1, address: (127, 0, 0, 1) });
    socket.start_connect(&instance_network(), address).is_ok()
        && {
            socket.subscribe().block();
            !matches!(socket.finish_connect(), Err(SocketError::AccessDenied))
        }
}

fn print(line: &str) {
    let stdout = wasip2::cli::stdout::get_stdout();
    let _ = stdout.blocking_write_and_flush(line.as_bytes());
    let _ = stdout.blocking_write_and_flush(b"\n");
}

fn fetch(out: ResponseOutparam, url: &str) {
    text(out, &call(url).unwrap_or_else(|error| error));
}

/// Sends the request's body on, and gives the answer back.
fn post(request: IncomingRequest, out: ResponseOutparam, url: &str) {
    let sent = (|| {
        let outgoing = outgoing(url, Method::Post)?;
        let body = outgoing.body().map_err(|()| "body")?;
        let future = outgoing_handler::handle(outgoing, None).map_err(|error| name(&error))?;
        let body = Body { stream: body.write().map_err(|()| "stream")?, body };
        let incoming = request.consume().map_err(|()| "consumed")?;
        let stream = incoming.stream().map_err(|()| "streamed")?;
        read_all(&stream, |bytes| body.write(bytes).is_ok())?;
        body.finish();
        answer(&future)
    })();
    text(out, &sent.unwrap_or_else(|error: String| error));
}

/// Opens a call whose body it goes on with after it was answered, tries another meanwhile, and once more when the first
/// is finished, until that is seen.
fn fetch_beside_upload(out: ResponseOutparam, url: &str) {
    let told = (|| {
        let upload = outgoing(url, Method::Post)?;
        let body = upload.body().map_err(|()| "body")?;
        let future = outgoing_handler::handle(upload, None).map_err(|error| name(&error))?;
        let body = Body { stream: body.write().map_err(|()| "stream")?, body };
        body.write(b"a part").map_err(|_| "write")?;
        let first = answer(&future)?;
        let beside = call(url).unwrap_or_else(|error| error);
        body.finish();
        let mut after = call(url);
        while after.as_ref().is_err_and(|error| error == "ConnectionLimitReached") {
            monotonic_clock::subscribe_duration(1_000_000).block();
            after = call(url);
        }
        Ok(format!("{first}, {beside}, {}", after?))
    })();
    text(out, &told.unwrap_or_else(|error: String| error));
}

/// Opens a thousand calls at once and tells how many were answered and refused.
fn fetch_many(out: ResponseOutparam, url: &str) {
    let futures: Vec<_> =
        (0..1000).map(|_| outgoing_handler::handle(outgoing(url, Method::Get).expect("valid"), None)).collect();
    let (mut answered, mut refused) = (0, 0);
    for future in futures {
        let ok = future.map_err(|error| name(&error)).and_then(|future| answer(&future));
        if ok.is_ok() { answered += 1 } else { refused += 1 }
    }
    text(out, &format!("{answered} answered, {refused} refused"));
}
