//! Bodies far larger than any buffer come through in both directions, in bounded memory. A program of its own, since the
//! memory is that of the process.

#[path = "host/support.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod support;

use std::time::Duration;

use refrain_http_host::Limits;
use support::{P2, P3, Pieces, count, get, read, service};

const BYTES: u64 = 100 << 20;
/// What a body may take on its way, and more by far than a body should.
const BOUND: u64 = 32 << 20;

/// The most memory that this process had at once, in bytes. The kernel counts in batches for each core: what it tells
/// may be less, by some hundreds of KiB, than what it told before.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib * 1024
}

#[tokio::test]
async fn bodies_of_100_mib_come_through_both_ways_in_bounded_memory() {
    for guest in [P2, P3] {
        // On a busy machine a long body takes its time.
        let service = service(guest, Limits { deadline: Duration::from_secs(600), ..Limits::default() });
        service.handle(get("/")).await.map(drop).expect("a response");
        let before = peak();

        let response = service.handle(get(&format!("/bytes?{BYTES}"))).await.expect("a response");
        assert_eq!(count(response.into_body()).await.expect("a whole body"), BYTES);

        let request = http::Request::post("http://test/length").body(Pieces::new(BYTES)).expect("a request");
        let response = service.handle(request).await.expect("a response");
        assert_eq!(read(response).await.expect("a whole body"), BYTES.to_string());

        let request = http::Request::post("http://test/echo").body(Pieces::new(BYTES)).expect("a request");
        let response = service.handle(request).await.expect("a response");
        assert_eq!(count(response.into_body()).await.expect("a whole body"), BYTES);

        let taken = peak().saturating_sub(before);
        assert!(taken < BOUND, "{taken} bytes");
    }
}
