//! A component of `wasi:http/handler@0.3` that does what the path says, well or badly.

use std::sync::atomic::{AtomicU64, Ordering};

use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_bindgen::{FutureWriter, StreamReader, StreamWriter};
use wasip3::{wit_bindgen, wit_future, wit_stream};

struct Guest;
wasip3::http::service::export!(Guest);

/// Requests that this instance has served.
static SERVED: AtomicU64 = AtomicU64::new(0);
/// Requests that this instance serves now.
static ACTIVE: AtomicU64 = AtomicU64::new(0);

const CHUNK: usize = 65_536;
/// Steps of work between two naps: less than a millisecond.
const NAP_STEPS: u64 = 250_000;

type Ending = FutureWriter<Result<Option<Fields>, ErrorCode>>;

impl wasip3::exports::http::handler::Guest for Guest {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let number = || query.parse::<u64>().unwrap_or(0);
        match path {
            "/" => Ok(text("hello, world\n".into())),
            "/served" => Ok(text(served.to_string())),
            "/target" => Ok(text(format!("{:?} {:?}", request.get_scheme(), request.get_authority()))),
            "/echo" => Ok(echo(request)),
            "/length" => Ok(length(request).await),
            "/bytes" => Ok(bytes(number())),
            "/endless" => Ok(bytes(u64::MAX)),
            "/sleep" => Ok(sleep(number()).await),
            "/spin" => spin(),
            "/trap" => panic!("asked to"),
            "/trap-in-body" => Ok(trap_in_body()),
            "/error" => Err(ErrorCode::LoopDetected),
            "/after" => Ok(after(number())),
            "/spin-after" => Ok(spin_after()),
            "/naps" => Ok(naps(number()).await),
            "/fetch" => Ok(text(fetch(query).await)),
            "/log" => {
                println!("{query}");
                Ok(text("logged".into()))
            }
            _ => {
                let (_, response) = respond();
                let _ = response.set_status_code(404);
                Ok(response)
            }
        }
    }
}

/// The two ends of a response's body: its bytes, and what ends it.
struct Body {
    stream: StreamWriter<u8>,
    ending: Ending,
}

fn respond() -> (Body, Response) {
    let (stream, read) = wit_stream::new();
    let (ending, ended) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(read), ended);
    (Body { stream, ending }, response)
}

fn text(text: String) -> Response {
    let (mut body, response) = respond();
    wit_bindgen::spawn(async move {
        body.stream.write_all(text.into_bytes()).await;
        drop(body.stream);
        let _ = body.ending.write(Ok(None)).await;
    });
    response
}

fn contents(request: Request) -> (StreamReader<u8>, wit_bindgen::FutureReader<Result<Option<Fields>, ErrorCode>>) {
    let (result, results) = wit_future::new(|| Ok(()));
    drop(result);
    Request::consume_body(request, results)
}

/// Calls with every piece of a body, as long as it is told to go on.
async fn read_all(stream: &mut StreamReader<u8>, mut chunk: impl AsyncFnMut(Vec<u8>) -> bool) {
    loop {
        let (status, bytes) = stream.read(Vec::with_capacity(CHUNK)).await;
        let over = !matches!(status, wit_bindgen::StreamResult::Complete(_));
        if (!bytes.is_empty() && !chunk(bytes).await) || over {
            return;
        }
    }
}

/// Gives the body and its trailers back.
fn echo(request: Request) -> Response {
    let (mut stream, trailers) = contents(request);
    let (mut body, response) = respond();
    wit_bindgen::spawn(async move {
        read_all(&mut stream, async |bytes| body.stream.write_all(bytes).await.is_empty()).await;
        drop(body.stream);
        let fields = trailers.await;
        let _ = body.ending.write(fields).await;
    });
    response
}

async fn length(request: Request) -> Response {
    let (mut stream, trailers) = contents(request);
    let mut total = 0;
    read_all(&mut stream, async |bytes| {
        total += bytes.len();
        true
    })
    .await;
    match trailers.await {
        Ok(_) => text(total.to_string()),
        Err(_) => text(format!("error after {total}")),
    }
}

fn bytes(count: u64) -> Response {
    let (mut body, response) = respond();
    wit_bindgen::spawn(async move {
        let mut left = count;
        while left > 0 {
            let now = left.min(CHUNK as u64);
            if !body.stream.write_all(vec![b'x'; now as usize]).await.is_empty() {
                return;
            }
            left -= now;
        }
        drop(body.stream);
        let _ = body.ending.write(Ok(None)).await;
    });
    response
}

/// Tells how many requests the instance served when this one had slept.
async fn sleep(millis: u64) -> Response {
    let active = ACTIVE.fetch_add(1, Ordering::Relaxed) + 1;
    monotonic_clock::wait_for(millis * 1_000_000).await;
    ACTIVE.fetch_sub(1, Ordering::Relaxed);
    text(active.to_string())
}

fn spin() -> ! {
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

fn trap_in_body() -> Response {
    let (mut body, response) = respond();
    wit_bindgen::spawn(async move {
        body.stream.write_all(b"the beginning".to_vec()).await;
        panic!("asked to");
    });
    response
}

/// Goes on after its response is complete, and says so in the log.
fn after(millis: u64) -> Response {
    let response = text("answered".into());
    wit_bindgen::spawn(async move {
        monotonic_clock::wait_for(millis * 1_000_000).await;
        println!("after the response");
    });
    response
}

/// Spins for ever once its response is complete.
fn spin_after() -> Response {
    let (mut body, response) = respond();
    wit_bindgen::spawn(async move {
        body.stream.write_all(b"answered".to_vec()).await;
        drop(body.stream);
        let _ = body.ending.write(Ok(None)).await;
        spin();
    });
    response
}

/// Works for a moment and sleeps for one, so many times.
async fn naps(count: u64) -> Response {
    for _ in 0..count {
        work(NAP_STEPS);
        monotonic_clock::wait_for(1_000_000).await;
    }
    text("rested".into())
}

/// What an outgoing call came to: status and body, or that it failed.
async fn fetch(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "no scheme".into() };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (ending, ended) = wit_future::new(|| Ok(None));
    drop(ending);
    let (request, _) = Request::new(Fields::new(), None, ended, None);
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let _ = request.set_scheme(Some(&scheme));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    match client::send(request).await {
        Ok(response) => {
            let status = response.get_status_code();
            let (result, results) = wit_future::new(|| Ok(()));
            drop(result);
            let (mut stream, _) = Response::consume_body(response, results);
            let mut all = Vec::new();
            read_all(&mut stream, async |bytes| {
                all.extend_from_slice(&bytes);
                true
            })
            .await;
            format!("{status} {}", String::from_utf8_lossy(&all))
        }
        Err(ErrorCode::HttpRequestDenied) => "HttpRequestDenied".into(),
        Err(ErrorCode::DestinationIpProhibited) => "DestinationIpProhibited".into(),
        Err(_) => "another error".into(),
    }
}
