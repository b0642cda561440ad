//! Asks upstreams whether they are well, where the plan says so. One that does not answer 2xx in time gets no requests
//! until it does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Request;
use http::header::{HOST, HeaderValue, USER_AGENT};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::shared::Shared;
use crate::balance::ReleaseState;
use crate::body::Body;
use crate::plan::{Endpoint, Health};
use crate::upstream::{Pool, send};

/// How often it is looked which questions are due.
const STEP: Duration = Duration::from_millis(50);
/// The same while no release is to be asked.
const REST: Duration = Duration::from_millis(500);

/// When each release is asked next, by service and version.
type Due = HashMap<String, Instant>;

pub(crate) async fn run(shared: Arc<Shared>) {
    let pool = Arc::new(Pool::default());
    let mut due = Due::new();
    let mut asked = JoinSet::new();
    loop {
        let live = shared.current.get();
        due.retain(|key, _| live.all_releases().any(|release| key_of(release) == *key));
        for release in live.all_releases() {
            let Some(health) = &release.plan.health else {
                release.upstreams.iter().for_each(|upstream| upstream.load.is_well.store(true, Relaxed));
                continue;
            };
            let now = Instant::now();
            let next = due.entry(key_of(release)).or_insert(now);
            if *next <= now {
                *next = now + health.interval;
                for (index, upstream) in release.upstreams.iter().enumerate() {
                    if !matches!(upstream.plan.endpoint, Endpoint::Inner(_)) {
                        let patience = shared.patience;
                        asked.spawn_local(ask(Arc::clone(&pool), Arc::clone(release), health.clone(), index, patience));
                    }
                }
            }
        }
        // It may be replaced while nothing is asked.
        drop(live);
        while asked.try_join_next().is_some() {}
        pool.sweep();
        sleep(if due.is_empty() { REST } else { STEP }).await;
    }
}

fn key_of(release: &ReleaseState) -> String {
    format!("{}@{}", release.service, release.plan.version)
}

async fn ask(pool: Arc<Pool>, release: Arc<ReleaseState>, health: Health, index: usize, patience: Duration) {
    let upstream = &release.upstreams[index];
    let request = question(&release, &health);
    let sent = send(&pool, &release, upstream, request, patience);
    let is_well = matches!(timeout(health.timeout, sent).await, Ok(Ok(response)) if response.status().is_success());
    if upstream.load.is_well.swap(is_well, Relaxed) != is_well {
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
