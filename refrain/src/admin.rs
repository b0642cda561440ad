//! The admin API `/v1`: checks the token, hands commands to the loop thread, answers in JSON.
//!
//! The types are those of `refrain-api`; the handlers here and in `telemetry` are all that is HTTP. Runs on the cold
//! runtime. `/metrics`, `/healthz` and `/readyz` alone need no token.

mod health;
mod http;
mod telemetry;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router, middleware};
use refrain_api::{
    AddMember, Appended, CorruptReplica, ErrorBody, ErrorCode, GUEST_LINES_KEPT, GuestLines, KillReplica, Members,
    NameMember, RebuildReplica, Scale, ServiceDetail, ShardStatus, Status, StoredBundle, Token, Upgrade, UpgradeStatus,
    paths,
};
use refrain_engine::replica::Flip;
use refrain_service::{Bundle, BundleDigest, MAX_PACKED_BYTES};
use refrain_wire::message::uplink::MemberChange;
use refrain_wire::{NodeId, Seat, ShardId};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::shard::Command;
use crate::shards::{Handle, Shards};

/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a command may take on the loop thread.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

/// What the handlers share.
pub struct Admin {
    /// The ways to the loop threads.
    pub shards: Shards,
    /// What requests have to bear.
    pub token: Token,
    /// Whether replicas may be damaged on purpose.
    pub allow_fault_injection: bool,
    /// Where bundles are kept.
    pub bundles: PathBuf,
    /// Stateless services and the front end.
    pub http: crate::http::Shared,
    /// This node.
    pub node: NodeId,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Whether the process is being ended.
    pub ending: watch::Receiver<bool>,
}

/// Serves the API until `stop`.
pub async fn serve(listener: TcpListener, admin: Admin, stop: impl Future<Output = ()> + Send + 'static) {
    let admin = Arc::new(admin);
    let router = Router::new()
        .route(paths::STATUS, get(status))
        .route(paths::SERVICE, get(show))
        .route(paths::SERVICE_LOGS, get(lines))
        .route(paths::KILL_REPLICA, post(kill_replica))
        .route(paths::CORRUPT_REPLICA, post(corrupt_replica))
        .route(paths::AUDIT, post(audit))
        .route(paths::RESUME, post(resume))
        .route(paths::REBUILD, post(rebuild))
        .route(paths::SCALE, post(scale))
        .route(paths::BUNDLE, put(store_bundle).layer(DefaultBodyLimit::max(MAX_PACKED_BYTES)))
        .route(paths::UPGRADE, get(upgrade_status).post(upgrade))
        .route(paths::DEPLOY, post(http::deploy))
        .route(paths::HTTP_SERVICE, get(http::show))
        .route(paths::WEIGHTS, post(http::weigh))
        .route(paths::RELEASE, delete(http::remove))
        .route(paths::MEMBERS, get(members))
        .route(paths::ADD_MEMBER, post(add_member))
        .route(paths::REMOVE_MEMBER, post(remove_member))
        .route(paths::TRANSFER, post(transfer))
        .route(paths::TRACES, get(telemetry::traces))
        .fallback(async || Failure::of(ErrorCode::NotFound, "no such path"))
        .method_not_allowed_fallback(async || Failure::of(ErrorCode::MethodNotAllowed, "not with this method"))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), authorize))
        // After the check of the token: who scrapes or watches does not know the one of this start.
        .route(paths::HEALTHY, get(health::healthy))
        .route(paths::READY, get(health::ready))
        .route(paths::METRICS, get(telemetry::metrics))
        .with_state(admin);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the admin API ended");
    }
}

/// Binds the API's address: the one asked for, or the default one, or a free port when that is taken.
pub async fn bind(asked: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    use anyhow::Context as _;
    if let Some(address) = asked {
        return TcpListener::bind(address).await.with_context(|| format!("cannot serve the admin API at {address}"));
    }
    match TcpListener::bind(refrain_api::DEFAULT_ADDRESS).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => TcpListener::bind("127.0.0.1:0").await,
        other => other,
    }
    .context("cannot serve the admin API on loopback")
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Failure(ErrorBody);

impl Failure {
    pub(crate) fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ErrorBody { code, message: message.into() })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
            _ => ErrorCode::BadRequest,
        };
        Self::of(code, rejection.body_text())
    }
}

async fn authorize(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) if admin.token.matches(token) => next.run(request).await,
        _ => Failure::of(ErrorCode::Unauthorized, "the token is missing or wrong").into_response(),
    }
}

type Answer<T> = Result<Json<T>, Failure>;
type Name = Path<(String, String)>;

impl Admin {
    /// Has the shard of a service do something.
    async fn ask_of<T>(
        &self,
        service: String,
        command: impl FnOnce(String, crate::shard::Reply<T>) -> Command,
    ) -> Answer<T> {
        let shard = self.shards.place_of(&service);
        let handle = self.shards.get(shard).ok_or_else(|| {
            let text = format!("{service} is on shard {shard}, which this node does not run; ask another node");
            Failure::of(ErrorCode::ServiceNotFound, text)
        })?;
        self.ask(handle, |reply| command(service, reply)).await
    }

    /// The shard that a request names; it need not when there is one alone.
    fn named_shard(&self, shard: Option<u16>) -> Result<&Handle, Failure> {
        let count = self.shards.count();
        let bad = |text| Failure::of(ErrorCode::BadRequest, text);
        match shard {
            None if count == 1 => Ok(self.shards.first()),
            None => {
                let text =
                    format!("there are {count} shards, 0 to {}: say which one (--shard N, or --shard all)", count - 1);
                Err(bad(text))
            }
            Some(shard) => {
                let text = || format!("shard is {shard}, this node has {count}, numbered from 0");
                self.shards.get(ShardId(shard)).ok_or_else(|| bad(text()))
            }
        }
    }

    /// Sends a command to a loop thread and waits for its answer.
    async fn ask<T>(&self, shard: &Handle, command: impl FnOnce(crate::shard::Reply<T>) -> Command) -> Answer<T> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let draining = || Failure::of(ErrorCode::Draining, "the server is ending");
        shard.commands.send(command(reply)).await.map_err(|_| draining())?;
        match tokio::time::timeout(COMMAND_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer.map(Json).map_err(Failure),
            Ok(Err(_)) => Err(draining()),
            Err(_) => Err(Failure::of(ErrorCode::Timeout, "not done within 20 s; it may still happen")),
        }
    }
}

fn service((namespace, name): (String, String)) -> String {
    format!("{namespace}/{name}")
}

async fn status(State(admin): State<Arc<Admin>>) -> Answer<Status> {
    let Json(mut status) = admin.ask(admin.shards.first(), Command::Status).await?;
    status.http = admin.http.status();
    if admin.shards.count() > 1 {
        add_shards(&admin, &mut status).await?;
    }
    status.problems.extend(health::disk_problems(&admin.data_dir, &status));
    Ok(Json(status))
}

/// Adds what the other shards say to the status of the first one.
async fn add_shards(admin: &Admin, status: &mut Status) -> Result<(), Failure> {
    status.shards.push(ShardStatus { shard: 0, log: status.log.clone(), proxy: status.proxy.clone() });
    for handle in admin.shards.iter().skip(1) {
        let Json(other) = admin.ask(handle, Command::Status).await?;
        status.proxy.flows += other.proxy.flows;
        status.services.extend(other.services);
        status.shards.push(ShardStatus { shard: handle.id.0, log: other.log, proxy: other.proxy });
    }
    status.services.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

async fn show(State(admin): State<Arc<Admin>>, Path(name): Name) -> Answer<ServiceDetail> {
    admin.ask_of(service(name), |service, reply| Command::Show { service, reply }).await
}

/// How many lines are given when nothing is said.
const DEFAULT_LINES: usize = 100;

/// Which lines are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedLines {
    after: Option<u64>,
    lines: Option<usize>,
}

async fn lines(
    State(admin): State<Arc<Admin>>,
    Path(name): Name,
    wanted: Result<Query<WantedLines>, QueryRejection>,
) -> Answer<GuestLines> {
    let bad = |text| Failure::of(ErrorCode::BadRequest, text);
    let Query(WantedLines { after, lines }) = wanted.map_err(|rejection| bad(rejection.body_text()))?;
    let count = lines.unwrap_or(DEFAULT_LINES);
    if count > GUEST_LINES_KEPT {
        return Err(bad(format!("lines is {count}, at most {GUEST_LINES_KEPT} are kept")));
    }
    let service = service(name);
    if let Some(lines) = admin.http.guest_lines(&service, after, count) {
        return Ok(Json(lines));
    }
    admin.ask_of(service, |service, reply| Command::Lines { service, after, count, reply }).await
}

async fn kill_replica(
    State(admin): State<Arc<Admin>>,
    Path(name): Name,
    body: Result<Json<KillReplica>, JsonRejection>,
) -> Answer<Appended> {
    let seat = Seat(body?.seat);
    admin.ask_of(service(name), |service, reply| Command::Replace { service, seat, reply }).await
}

async fn rebuild(
    State(admin): State<Arc<Admin>>,
    Path(name): Name,
    body: Result<Json<RebuildReplica>, JsonRejection>,
) -> Answer<Appended> {
    let seat = Seat(body?.seat);
    admin.ask_of(service(name), |service, reply| Command::Replace { service, seat, reply }).await
}

async fn corrupt_replica(
    State(admin): State<Arc<Admin>>,
    Path(name): Name,
    body: Result<Json<CorruptReplica>, JsonRejection>,
) -> Answer<Appended> {
    if !admin.allow_fault_injection {
        let message = "fault injection is off; start the server with --allow-fault-injection";
        return Err(Failure::of(ErrorCode::FaultInjectionDisabled, message));
    }
    let body = body?;
    let bit = body.bit.unwrap_or(0);
    if bit > 7 {
        return Err(Failure::of(ErrorCode::BadRequest, format!("bit is {bit}, a byte has bits 0 to 7")));
    }
    let (seat, flip) = (Seat(body.seat), Flip { address: body.address.unwrap_or(DEFAULT_ADDRESS), bit });
    admin.ask_of(service(name), |service, reply| Command::Corrupt { service, seat, flip, audit: true, reply }).await
}

/// A byte low in the guest's stack, which is there in every module and seldom used.
const DEFAULT_ADDRESS: u64 = 64;

async fn audit(State(admin): State<Arc<Admin>>, Path(name): Name) -> Answer<Appended> {
    admin.ask_of(service(name), |service, reply| Command::Audit { service, reply }).await
}

async fn resume(State(admin): State<Arc<Admin>>, Path(name): Name) -> Answer<Appended> {
    admin.ask_of(service(name), |service, reply| Command::Resume { service, reply }).await
}

async fn scale(
    State(admin): State<Arc<Admin>>,
    Path(name): Name,
    body: Result<Json<Scale>, JsonRejection>,
) -> Answer<Appended> {
    let replicas = body?.replicas;
    if let Err(error) = refrain_service::Replicas::new(u64::from(replicas)) {
        return Err(Failure::of(ErrorCode::BadRequest, format!("replicas: {error}")));
    }
    admin.ask_of(service(name), |service, reply| Command::Scale { service, replicas, reply }).await
}

fn digest(text: &str) -> Result<BundleDigest, Failure> {
    text.parse().map_err(|error| Failure::of(ErrorCode::BadRequest, format!("bundle is {text:?}: {error}")))
}

async fn store_bundle(
    State(admin): State<Arc<Admin>>,
    Path(named): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<StoredBundle> {
    let digest = digest(&named)?;
    let body = body.map_err(|rejection| {
        let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let code = if too_large { ErrorCode::TooLarge } else { ErrorCode::BadRequest };
        Failure::of(code, rejection.body_text())
    })?;
    let stored = tokio::task::spawn_blocking(move || {
        let refused = |error: &dyn std::error::Error| Failure::of(ErrorCode::BadRequest, error.to_string());
        let bundle = Bundle::unpack(&body, digest).map_err(|error| refused(&error))?;
        bundle.store(&admin.bundles).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a bundle was not stored");
            Failure::of(ErrorCode::Internal, error.to_string())
        })
    });
    stored.await.map_err(|_| Failure::of(ErrorCode::Internal, "the bundle was not stored"))??;
    Ok(Json(StoredBundle { bundle: digest.to_string() }))
}

async fn upgrade(
    State(admin): State<Arc<Admin>>,
    Path(name): Name,
    body: Result<Json<Upgrade>, JsonRejection>,
) -> Answer<UpgradeStatus> {
    let bundle = *digest(&body?.bundle)?.as_bytes();
    admin.ask_of(service(name), |service, reply| Command::Upgrade { service, bundle, reply }).await
}

async fn upgrade_status(State(admin): State<Arc<Admin>>, Path(name): Name) -> Answer<UpgradeStatus> {
    admin.ask_of(service(name), |service, reply| Command::UpgradeStatus { service, reply }).await
}

/// Which shard is wanted; the first one when nothing is said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedShard {
    shard: Option<u16>,
}

async fn members(
    State(admin): State<Arc<Admin>>,
    wanted: Result<Query<WantedShard>, QueryRejection>,
) -> Answer<Members> {
    let wanted = wanted.map_err(|rejection| Failure::of(ErrorCode::BadRequest, rejection.body_text()))?;
    let handle = admin.named_shard(Some(wanted.shard.unwrap_or(0)))?;
    admin.ask(handle, Command::Members).await
}

async fn add_member(State(admin): State<Arc<Admin>>, body: Result<Json<AddMember>, JsonRejection>) -> Answer<Appended> {
    let Json(AddMember { node, address, shard }) = body?;
    check_node(node)?;
    if address.parse::<SocketAddr>().is_err() {
        let text = format!("address is {address:?}, an address and a port are needed, such as 127.0.0.1:7102");
        return Err(Failure::of(ErrorCode::BadRequest, text));
    }
    change_members(&admin, shard, MemberChange::Add { node: NodeId(node), address }).await
}

async fn remove_member(
    State(admin): State<Arc<Admin>>,
    body: Result<Json<NameMember>, JsonRejection>,
) -> Answer<Appended> {
    let Json(NameMember { node, shard }) = body?;
    check_node(node)?;
    change_members(&admin, shard, MemberChange::Remove(NodeId(node))).await
}

async fn transfer(State(admin): State<Arc<Admin>>, body: Result<Json<NameMember>, JsonRejection>) -> Answer<Appended> {
    let Json(NameMember { node, shard }) = body?;
    check_node(node)?;
    change_members(&admin, shard, MemberChange::Transfer(NodeId(node))).await
}

fn check_node(node: u64) -> Result<(), Failure> {
    if (1..=u64::from(u16::MAX)).contains(&node) {
        return Ok(());
    }
    Err(Failure::of(ErrorCode::BadRequest, format!("node is {node}, nodes have the numbers 1 to {}", u16::MAX)))
}

async fn change_members(admin: &Admin, shard: Option<u16>, change: MemberChange) -> Answer<Appended> {
    admin.ask(admin.named_shard(shard)?, |reply| Command::ChangeMembers { change, reply }).await
}
