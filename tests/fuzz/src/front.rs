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

/// The first byte says where the bytes behind it are cut: what the scanner finds does not depend on it, and it finds
/// every end of a message that plain reading finds.
pub fn http_framing(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    let whole = scan(&[bytes]);
    let cut = scan(&bytes.chunks(usize::from(*step).max(1)).collect::<Vec<_>>());
    let singly = scan(&bytes.chunks(1).collect::<Vec<_>>());
    let found = |scanned: &Scanned| (scanned.refused, scanned.is_between, scanned.good == bytes.len());
    assert_eq!(found(&whole), found(&cut));
    assert_eq!(found(&whole), found(&singly));
    assert!(whole.good <= cut.good && cut.good <= singly.good, "bytes that are believed stay so");
    let read = reference::read(bytes);
    if read.is_whole {
        assert_eq!(whole, Scanned { good: bytes.len(), refused: None, is_between: true });
    }
}
