//! WasmEdge's socket extension, in preview 1's module: its first form, and the second, whose addresses carry their
//! family and whose names end in `_v2` (but for those that a widely used crate has under the plain name).

use super::Family::{Preview1, WasmedgeV1, WasmedgeV2};
use super::{HostFunction, function, same};
use crate::signature::ValType;
use ValType::I32;

const fn edge(name: &'static str, params: &'static [ValType]) -> HostFunction {
    function(WasmedgeV1, name, params)
}

const fn edge2(name: &'static str, params: &'static [ValType]) -> HostFunction {
    function(WasmedgeV2, name, params)
}

/// The first form. `sdk/c` builds BSD sockets on it.
pub const WASMEDGE_V1: &[HostFunction] = &[
    same(edge("epoll_oneoff", &[I32; 4]), Preview1, "poll_oneoff"),
    edge("sock_accept", &[I32; 2]),
    edge("sock_bind", &[I32; 3]),
    edge("sock_connect", &[I32; 3]),
    edge("sock_getaddrinfo", &[I32; 8]),
    edge("sock_getlocaladdr", &[I32; 4]),
    edge("sock_getpeeraddr", &[I32; 4]),
    edge("sock_getsockopt", &[I32; 5]),
    edge("sock_listen", &[I32; 2]),
    edge("sock_open", &[I32; 3]),
    edge("sock_recv_from", &[I32; 7]),
    edge("sock_send_to", &[I32; 7]),
    edge("sock_setsockopt", &[I32; 5]),
];

/// The second form.
pub const WASMEDGE_V2: &[HostFunction] = &[
    same(edge2("sock_accept_v2", &[I32; 3]), Preview1, "sock_accept"),
    same(edge2("sock_bind_v2", &[I32; 3]), WasmedgeV1, "sock_bind"),
    same(edge2("sock_connect_v2", &[I32; 3]), WasmedgeV1, "sock_connect"),
    edge2("sock_getlocaladdr", &[I32; 3]),
    same(edge2("sock_getlocaladdr_v2", &[I32; 3]), WasmedgeV2, "sock_getlocaladdr"),
    edge2("sock_getpeeraddr", &[I32; 3]),
    same(edge2("sock_getpeeraddr_v2", &[I32; 3]), WasmedgeV2, "sock_getpeeraddr"),
    same(edge2("sock_listen_v2", &[I32; 2]), WasmedgeV1, "sock_listen"),
    same(edge2("sock_open_v2", &[I32; 3]), WasmedgeV1, "sock_open"),
    edge2("sock_recv_from", &[I32; 8]),
    same(edge2("sock_recv_from_v2", &[I32; 8]), WasmedgeV2, "sock_recv_from"),
    same(edge2("sock_recv_v2", &[I32; 6]), Preview1, "sock_recv"),
    same(edge2("sock_send_to_v2", &[I32; 7]), WasmedgeV1, "sock_send_to"),
    same(edge2("sock_send_v2", &[I32; 5]), Preview1, "sock_send"),
];
