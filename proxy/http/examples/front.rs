//! A front end to measure: `front LISTEN hello`, `front LISTEN UPSTREAM`, with one loop thread each; with a third word,
//! a folder, it speaks TLS by a certificate for development that it writes there. It runs until its standard input ends,
//! then drains and prints what it counted.

use std::error::Error;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use refrain_front::{
    Answering, Body, Endpoint, Front, Handler, Listen, ListenAt, Plan, Release, ReleaseLimits, Route, Service,
    Settings, Upstream, write_development_certificate,
};

struct Hello;

impl Handler for Hello {
    fn call(&self, _: Request<Body>) -> Answering {
        Box::pin(std::future::ready(Ok(Response::new(Body::from("hello, world\n")))))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, folder @ ..] = &words[..] else {
        return Err("usage: front LISTEN hello|UPSTREAM [FOLDER]".into());
    };
    let certificates: Result<Vec<_>, _> =
        folder.iter().map(|folder| write_development_certificate(folder.as_ref(), &["localhost".into()])).collect();
    let certificates = certificates?;
    let endpoint = match upstream.as_str() {
        "hello" => Endpoint::Handler(Arc::new(Hello)),
        address => Endpoint::Tcp(address.parse()?),
    };
    let listener = Listen { at: ListenAt::Tcp(listen.parse::<SocketAddr>()?), is_tls: !certificates.is_empty() };
    let settings = Settings { listeners: vec![listener], threads: 1, ..Settings::default() };
    let release = Release {
        version: "1.0.0".parse()?,
        upstreams: vec![Upstream::new("one", endpoint)],
        limits: ReleaseLimits::default(),
        health: None,
    };
    let plan = Plan {
        routes: vec![Route::to("/...", "test/one")?],
        services: vec![Service { name: "test/one".into(), releases: vec![release] }],
        certificates,
        ..Plan::default()
    };
    let front = Front::start(&settings, plan)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{:#?}", front.metrics());
    println!("{} connections cut off", front.drain(Duration::from_secs(1)));
    Ok(())
}
