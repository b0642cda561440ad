//! What a request costs: processor time per request of `hello, world`, handed over as a value without a connection, and
//! instances per second of a component without imports.
//!
//! `cargo run --release -p refrain-http-host --example request_cost [SECONDS]`, or `... serve ADDRESS REUSE` for an
//! HTTP/1.1 server on one thread that others can load.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use refrain_http_host::{Host, Limits, Permissions, Reuse, Service, Settings};
use rustix::time::{ClockId, clock_gettime};

const P2: &[u8] = include_bytes!("../tests/guests/p2.wasm");
const P3: &[u8] = include_bytes!("../tests/guests/p3.wasm");

/// The least that passes for a service: one memory of a page, and a handler that gives no response.
const TINY: &str = r#"(component
    (import "wasi:http/types@0.2.0" (instance $types
        (export "incoming-request" (type (sub resource)))
        (export "response-outparam" (type (sub resource)))))
    (alias export $types "incoming-request" (type $request))
    (alias export $types "response-outparam" (type $out))
    (core module $code (memory 1) (func (export "handle") (param i32 i32)))
    (core instance $instance (instantiate $code))
    (func $handle (param "request" (own $request)) (param "response-out" (own $out))
        (canon lift (core func $instance "handle")))
    (instance $handler (export "handle" (func $handle)))
    (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let host = Host::new(Settings::default())?;
    if let [serve, address, reuse] = &arguments[..]
        && serve == "serve"
    {
        let reuse = reuse.parse()?;
        return runtime.block_on(listen(load(&host, P2, Reuse::between(reuse, reuse), 1)?, address.clone()));
    }
    let seconds = arguments.first().map_or(Ok(3), |seconds| seconds.parse())?;
    let time = Duration::from_secs(seconds);
    let kept = Reuse::between(100_000, 100_000);
    for (name, service, at_once) in [
        ("0.2, fresh instance", load(&host, P2, Reuse::FRESH, 1)?, 1),
        ("0.2, instance kept", load(&host, P2, kept.clone(), 1)?, 1),
        ("0.3, fresh instance", load(&host, P3, Reuse::FRESH, 1)?, 1),
        ("0.3, instance kept", load(&host, P3, kept, 1)?, 1),
        ("0.3, reuse 128, 16 at once", load(&host, P3, Reuse::between(128, 128), 16)?, 16),
    ] {
        let micros = runtime.block_on(measure(&service, time, at_once))?;
        println!("{name}: {micros:.1} us of processor time per request");
    }
    let tiny = load(&host, &wat::parse_str(TINY)?, Reuse::FRESH, 1)?;
    println!("tiny, fresh instance: {:.0} a second of processor time", runtime.block_on(instances(&tiny, time))?);
    let (median, high) = runtime.block_on(beside_spinning(&host, time))?;
    println!("beside 4 guests that spin: median {median:?}, 99th percentile {high:?} until the answer");
    Ok(())
}

/// How long a neighbour of four guests that spin waits for its answer, on one thread for all of them.
async fn beside_spinning(host: &Host, time: Duration) -> Result<(Duration, Duration), Failure> {
    let limits = Limits { deadline: Duration::from_secs(1), ..Limits::default() };
    let spinner = host.load(P2, "spinner", limits, Permissions::default())?;
    let spin = async || {
        let request = http::Request::get("http://hello/spin").body(Empty::<Bytes>::new()).expect("a request");
        let _ = spinner.handle(request).await;
    };
    let neighbour = load(host, P2, Reuse::between(100, 100), 1)?;
    let mut waits = Vec::new();
    let measured = async {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let began = Instant::now();
            hello(&neighbour).await?;
            waits.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, Failure>(())
    };
    let spinning = futures_util::future::join_all((0..4).map(|_| async {
        loop {
            spin().await;
        }
    }));
    match futures_util::future::select(Box::pin(spinning), Box::pin(measured)).await {
        futures_util::future::Either::Left(_) => unreachable!("guests spin for ever"),
        futures_util::future::Either::Right((measured, spinning)) => {
            drop(spinning);
            measured?;
        }
    }
    waits.sort_unstable();
    Ok((waits[waits.len() / 2], waits[waits.len() * 99 / 100]))
}

fn load(host: &Host, bytes: &[u8], reuse: Reuse, concurrency: usize) -> Result<Service, Failure> {
    let limits = Limits { reuse, concurrency, ..Limits::default() };
    Ok(host.load(bytes, "hello", limits, Permissions::default())?)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

async fn hello(service: &Service) -> Result<(), Failure> {
    let request = http::Request::get("http://hello/").body(Empty::<Bytes>::new())?;
    let body = service.handle(request).await?.into_body().collect().await?;
    assert_eq!(body.to_bytes(), "hello, world\n");
    Ok(())
}

/// Instances of a component that answers nothing.
async fn instances(service: &Service, time: Duration) -> Result<f64, Failure> {
    let (end, began) = (Instant::now() + time, processor_time());
    let mut made = 0_u32;
    while Instant::now() < end {
        for _ in 0..100 {
            let request = http::Request::get("http://hello/").body(Empty::<Bytes>::new())?;
            let refusal = service.handle(request).await.map(drop).expect_err("the guest gives no response");
            assert_eq!(refusal.code(), "no-response", "{refusal:?}");
            made += 1;
        }
    }
    Ok(f64::from(made) / (processor_time() - began).as_secs_f64())
}

async fn measure(service: &Service, time: Duration, at_once: usize) -> Result<f64, Failure> {
    let (end, began) = (Instant::now() + time, processor_time());
    let mut requests = 0_u32;
    while Instant::now() < end {
        for _ in 0..8 {
            let hellos = futures_util::future::join_all((0..at_once).map(|_| hello(service))).await;
            requests += u32::try_from(hellos.len())?;
            hellos.into_iter().collect::<Result<(), _>>()?;
        }
    }
    Ok((processor_time() - began).as_secs_f64() * 1e6 / f64::from(requests))
}

async fn listen(service: Service, address: String) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let service = service.clone();
                tokio::task::spawn_local(async move {
                    let answer = service_fn(move |request| {
                        let service = service.clone();
                        async move { service.handle(request).await }
                    });
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await
                });
            }
        })
        .await
}
