//! The socket calls of RepliCode's programs. They have names of preview 1 and mean something else: buffers are a
//! pointer and a length instead of vectors, and a socket that listens was never bound.

use super::{Family, HostFunction, function};
use crate::signature::ValType;
use ValType::I32;

const fn replicode(name: &'static str, params: &'static [ValType]) -> HostFunction {
    function(Family::Replicode, name, params)
}

/// The functions that no other family has under the same name and type: whoever imports one is a RepliCode program.
pub const MARKS: [&str; 2] = ["sock_close", "sock_open"];

/// All of them. They count only in modules that have one of [`MARKS`].
pub const REPLICODE: &[HostFunction] = &[
    HostFunction { module: "env", results: &[], ..replicode("__builtin_rt_yield", &[]) },
    replicode("sock_accept", &[I32; 3]),
    replicode("sock_close", &[I32]),
    replicode("sock_connect", &[I32; 3]),
    replicode("sock_listen", &[I32; 2]),
    replicode("sock_open", &[I32; 4]),
    replicode("sock_recv", &[I32; 6]),
    replicode("sock_send", &[I32; 5]),
    replicode("sock_shutdown", &[I32; 2]),
];
