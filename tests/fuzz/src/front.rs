//! What the HTTP front end takes from clients: framing, heads, routes, and whole connections of both protocols.

mod connection;
mod contract;
mod head;
mod reference;
mod routes;

pub use connection::http_connection;
pub use head::http_head;
pub use routes::http_routes;

use refrain_front::trial::{Scanned, scan};

/// A limit that inputs of fuzzers go beyond.
const SHORT_HEAD_BYTES: usize = 64;

/// The first byte says where the bytes behind it are cut: what the scanner finds does not depend on it, and it finds
/// every end of a message that plain reading finds.
pub fn http_framing(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    scan_in_pieces(bytes, *step, SHORT_HEAD_BYTES);
    let whole = scan_in_pieces(bytes, *step, usize::MAX);
    let read = reference::read(bytes);
    if read.is_whole {
        assert_eq!(whole, Scanned { good: bytes.len(), refused: None, is_between: true });
    }
}

fn scan_in_pieces(bytes: &[u8], step: u8, head_bytes: usize) -> Scanned {
    let whole = scan(&[bytes], head_bytes);
    let cut = scan(&bytes.chunks(usize::from(step).max(1)).collect::<Vec<_>>(), head_bytes);
    let singly = scan(&bytes.chunks(1).collect::<Vec<_>>(), head_bytes);
    let found = |scanned: &Scanned| (scanned.refused, scanned.is_between, scanned.good == bytes.len());
    assert_eq!(found(&whole), found(&cut));
    assert_eq!(found(&whole), found(&singly));
    assert!(whole.good <= cut.good && cut.good <= singly.good, "bytes that are believed stay so");
    whole
}
