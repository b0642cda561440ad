//! Asks upstreams whether they are well, where the plan says so. One that does not answer 2xx in time gets no requests
//! until it does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Request;
use http::header::{HOST, HeaderValue, USER_AGENT};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::shared::Shared;
use crate::balance::{ReleaseState, UpstreamState};
use crate::body::Body;
use crate::handler::Cause;
use crate::plan::{Endpoint, Health};
use crate::upstream::{Pool, send};

/// Between two looks when nothing is due.
const REST: Duration = Duration::from_secs(5);

/// When each release is asked next, by service and version.
type Due = HashMap<String, Instant>;

pub(crate) async fn run(shared: Arc<Shared>) {
    let pool = Pool::beside(&shared.pools);
    let mut due = Due::new();
    let mut asked = JoinSet::new();
    let mut swapped = shared.current.subscribe();
    loop {
        swapped.borrow_and_update();
        let live = shared.current.get();
        due.retain(|key, _| live.all_releases().any(|release| key_of(release) == *key));
        for release in live.all_releases() {
            let Some(health) = &release.plan.health else {
                release.upstreams.iter().for_each(|upstream| {
                    note(&shared, upstream, true);
                });
                continue;
            };
            let now = Instant::now();
            let next = due.entry(key_of(release)).or_insert(now);
            if *next <= now {
                *next = now + health.interval;
                for (index, upstream) in release.upstreams.iter().enumerate() {
                    if !matches!(upstream.plan.endpoint, Endpoint::Inner(_)) {
                        asked.spawn_local(ask(
                            Arc::clone(&shared),
                            Arc::clone(&pool),
                            Arc::clone(release),
                            health.clone(),
                            index,
                        ));
                    }
                }
            }
        }
        // It may be replaced while nothing is asked.
        drop(live);
        while asked.try_join_next().is_some() {}
        pool.sweep();
        let rest = Instant::now() + REST;
        let next = due.values().copied().min().map_or(rest, |next| next.min(rest));
        tokio::select! {
            () = sleep_until(next) => {}
            // A new plan may have something that was never asked.
            _ = swapped.changed() => {}
        }
    }
}

/// Notes how an upstream is; whether that is new.
fn note(shared: &Shared, upstream: &UpstreamState, is_well: bool) -> bool {
    let is_new = upstream.load.is_well.swap(is_well, Relaxed) != is_well;
    if is_new {
        shared.health.send_replace(());
    }
    is_new
}

fn key_of(release: &ReleaseState) -> String {
    format!("{}@{}", release.service, release.plan.version)
}

async fn ask(shared: Arc<Shared>, pool: Arc<Pool>, release: Arc<ReleaseState>, health: Health, index: usize) {
    let upstream = &release.upstreams[index];
    let sent = send(&pool, &release, upstream, question(&release, &health), shared.patience);
    let is_well = match timeout(health.timeout, sent).await {
        Ok(Ok(response)) => response.status().is_success(),
        // The question waits with the requests: that there was no place for it tells nothing.
        Ok(Err(failure)) if matches!(failure.refusal.cause, Cause::Busy { .. }) => return,
        Err(_) if upstream.plan.queue > 0 && upstream.is_busy() => return,
        Ok(Err(_)) | Err(_) => false,
    };
    if note(&shared, upstream, is_well) {
        let (service, version) = (&*release.service, &release.plan.version);
        tracing::info!(service, %version, upstream = upstream.plan.name, is_well, "an upstream changed its health");
    }
}

fn question(release: &ReleaseState, health: &Health) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = health.path.parse().expect("the plan was checked: its path is one of a target");
    let host = release.service.split('/').next_back().and_then(|name| HeaderValue::from_str(name).ok());
    request.headers_mut().insert(HOST, host.unwrap_or_else(|| HeaderValue::from_static("health")));
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("refrain-health"));
    request
}
