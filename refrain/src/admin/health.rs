//! What a supervisor asks, without a token: `/healthz`, `/readyz`; and what status says of the node's disk.
//!
//! Healthy is a process whose loop threads answer: one that does not helps nobody and is to be started again. Ready is
//! a node that takes part: there is a leader of every log, its proxy has an epoch, every service that it should have is
//! there, and it is not being ended. Whether a service is ready is its own affair, as `rctl status` tells.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use refrain_api::{LogStatus, Status};
use refrain_sequencer::segment_log::SegmentOptions;
use refrain_service::ByteSize;
use tokio::sync::oneshot;

use super::Admin;
use crate::shard::Command;

/// How long a loop thread may take to answer before the process does not count as healthy.
const PATIENCE: Duration = Duration::from_secs(5);

/// `ok`, or which loop threads do not answer.
pub(super) async fn healthy(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let (silent, _) = look(&admin).await;
    answer(&silent)
}

/// `ok`, or why this node is not ready.
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let (silent, mut reasons) = look(&admin).await;
    reasons.extend(silent);
    if *admin.ending.borrow() {
        reasons.push("this node is being ended".to_owned());
    }
    answer(&reasons)
}

fn answer(reasons: &[String]) -> (StatusCode, String) {
    match reasons {
        [] => (StatusCode::OK, "ok\n".to_owned()),
        reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}

/// Which loop threads do not answer, and what the others say that is missing.
async fn look(admin: &Admin) -> (Vec<String>, Vec<String>) {
    let (mut silent, mut missing) = (Vec::new(), Vec::new());
    for handle in admin.shards.iter() {
        let of_shard = admin.shards.named(handle.id);
        let asked = async {
            let (reply, answer) = oneshot::channel();
            handle.commands.send(Command::Missing(reply)).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(reason)) => missing.extend(reason.map(|reason| format!("{reason}{of_shard}"))),
            Ok(None) => silent.push(format!("the loop thread{of_shard} has ended")),
            Err(_) => silent.push(format!("the loop thread{of_shard} has not answered for {PATIENCE:?}")),
        }
    }
    (silent, missing)
}

/// What is wrong with the disk that the data folder is on, in words.
pub(super) fn disk_problems(data_dir: &Path, status: &Status) -> Vec<String> {
    let free = free_bytes(data_dir);
    let left = free.map(|bytes| format!(", {} are left", in_mib(bytes))).unwrap_or_default();
    let full = |log: &LogStatus, of_shard: String| {
        let text =
            || format!("the disk of {} is full{left}: the log{of_shard} takes no entries here", data_dir.display());
        log.disk_full.then(text)
    };
    let problems: Vec<String> = match status.shards.as_slice() {
        [] => full(&status.log, String::new()).into_iter().collect(),
        shards => shards.iter().filter_map(|one| full(&one.log, format!(" of shard {}", one.shard))).collect(),
    };
    let at_a_time = SegmentOptions::default().segment_bytes;
    match free {
        Some(bytes) if problems.is_empty() && bytes < at_a_time => vec![format!(
            "the disk of {} is nearly full{left}: the log takes {} at a time",
            data_dir.display(),
            in_mib(at_a_time)
        )],
        _ => problems,
    }
}

fn in_mib(bytes: u64) -> ByteSize {
    ByteSize::mib(bytes >> 20)
}

/// What is free for this process; none where that cannot be told.
fn free_bytes(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_of_each_log_that_found_it_so() {
        let mut status: Status = serde_json::from_str(include_str!("../../../api/tests/status.json")).unwrap();
        let folder = std::env::temp_dir();
        assert!(disk_problems(&folder, &status).iter().all(|problem| problem.contains("nearly full")));
        status.log.disk_full = true;
        let told = disk_problems(&folder, &status).join("\n");
        assert!(told.contains("is full, ") && told.ends_with("the log takes no entries here"), "{told}");
        let shard = |shard, disk_full| refrain_api::ShardStatus {
            shard,
            log: LogStatus { disk_full, ..status.log.clone() },
            proxy: status.proxy.clone(),
        };
        status.shards = vec![shard(0, false), shard(1, true)];
        let told = disk_problems(&folder, &status);
        assert!(told.len() == 1 && told[0].contains("the log of shard 1 takes"), "{told:?}");
        assert!(disk_problems(Path::new("/nowhere"), &status)[0].contains("is full: the log"), "it cannot be told");
    }

    #[test]
    fn nothing_that_is_wrong_is_ok() {
        assert_eq!(answer(&[]), (StatusCode::OK, "ok\n".to_owned()));
        let (status, text) = answer(&["one".to_owned(), "two".to_owned()]);
        assert_eq!((status.as_u16(), text.as_str()), (503, "one\ntwo\n"));
    }
}
