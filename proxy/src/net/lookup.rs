//! Looking names up with the system's resolver, which blocks: on threads that block, a bounded number of them.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The most look-ups that run at once in the process; the others wait for one to end. The threads are the process's,
/// and a look-up that nobody waits for any more keeps its thread until the resolver returns.
const LOOKUPS_AT_ONCE: usize = 256;

static PLACES: Semaphore = Semaphore::const_new(LOOKUPS_AT_ONCE);

/// The addresses of a host, in the resolver's order.
pub(super) async fn look_up(name: String) -> io::Result<Vec<IpAddr>> {
    let place = PLACES.acquire().await.map_err(io::Error::other)?;
    let found = spawn_blocking(move || {
        let _until_it_returns = place;
        (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address: SocketAddr| address.ip()).collect())
    });
    found.await.map_err(io::Error::other)?.map_err(of_kind)
}

/// The resolver tells its own codes in words alone; those that mean "there is no such name" are few.
fn of_kind(error: io::Error) -> io::Error {
    const NO_SUCH_NAME: [&str; 4] =
        ["Name or service not known", "No address associated", "Name does not resolve", "Name has no usable address"];
    let words = error.to_string();
    if NO_SUCH_NAME.iter().any(|known| words.contains(known)) || error.kind() == ErrorKind::InvalidInput {
        return io::Error::new(ErrorKind::NotFound, error);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_told_from_one_that_cannot_be_looked_up_now() {
        let kind =
            |words: &str| of_kind(io::Error::other(format!("failed to lookup address information: {words}"))).kind();
        assert_eq!(kind("Name or service not known"), ErrorKind::NotFound);
        assert_eq!(kind("No address associated with hostname"), ErrorKind::NotFound);
        assert_eq!(kind("Temporary failure in name resolution"), ErrorKind::Other);
        assert_eq!(of_kind(ErrorKind::InvalidInput.into()).kind(), ErrorKind::NotFound, "a name with a zero byte");
    }
}
