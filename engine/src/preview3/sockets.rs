//! `wasi:sockets`: sockets of the kernel, with the states that these interfaces have besides.

mod lookup;
mod tcp;
mod udp;

use super::wit::SocketError;
use crate::preview2::links::Links;
use crate::preview2::sockets::properties::{Names, Version};

type SocketResult<T> = Result<T, SocketError>;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut types = links.interface("wasi:sockets/types")?;
    tcp::add_to(&mut types)?;
    udp::add_to(&mut types)?;
    lookup::add_to(links)
}

/// The version whose interfaces these are.
struct Version3;

impl Version for Version3 {
    type Error = SocketError;

    fn getter(names: &Names) -> &'static str {
        names.get
    }
}
