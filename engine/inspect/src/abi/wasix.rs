//! WASIX with 32-bit pointers, `wasix_32v1`, by its witx. Preview 1's functions are in this module too, under the same
//! types; [`super::find`] looks there for what is not here.
//!
//! One guest is one thread of one process: what needs more is refused at load where a program cannot do without
//! ([`HostFunction::refusal`]), and answers an errno where programs cope with that.

use super::{Family, HostFunction, function, refused, same};
use crate::signature::ValType;
use ValType::{I32, I64};

const THREADS: &str = "starts threads, on whose timing replicas cannot agree";
const STACKS: &str = "switches stacks; build with exceptions (-fwasm-exceptions)";
const LINKING: &str = "links modules while it runs; link it into one module";

const fn wasix(name: &'static str, params: &'static [ValType]) -> HostFunction {
    function(Family::Wasix, name, params)
}

/// A function that gives nothing back.
const fn silent(name: &'static str, params: &'static [ValType]) -> HostFunction {
    HostFunction { results: &[], ..wasix(name, params) }
}

/// Everything of WASIX that preview 1 does not have under the same type.
pub const WASIX: &[HostFunction] = &[
    silent("callback_signal", &[I32; 2]),
    wasix("chdir", &[I32; 2]),
    wasix("clock_time_set", &[I32, I64]),
    wasix("epoll_create", &[I32]),
    wasix("epoll_ctl", &[I32; 4]),
    wasix("epoll_wait", &[I32, I32, I32, I64, I32]),
    wasix("fd_dup", &[I32; 2]),
    wasix("fd_dup2", &[I32; 4]),
    wasix("fd_event", &[I64, I32, I32]),
    wasix("fd_fdflags_get", &[I32; 2]),
    wasix("fd_fdflags_set", &[I32; 2]),
    wasix("fd_pipe", &[I32; 2]),
    wasix("futex_wait", &[I32; 4]),
    wasix("futex_wake", &[I32; 2]),
    wasix("futex_wake_all", &[I32; 2]),
    wasix("getcwd", &[I32; 2]),
    wasix("path_open2", &[I32, I32, I32, I32, I32, I64, I64, I32, I32, I32]),
    wasix("port_addr_add", &[I32]),
    wasix("port_addr_clear", &[]),
    wasix("port_addr_list", &[I32; 2]),
    wasix("port_addr_remove", &[I32]),
    wasix("port_bridge", &[I32; 5]),
    wasix("port_dhcp_acquire", &[]),
    wasix("port_gateway_set", &[I32]),
    wasix("port_mac", &[I32]),
    wasix("port_route_add", &[I32; 4]),
    wasix("port_route_clear", &[]),
    wasix("port_route_list", &[I32; 2]),
    wasix("port_route_remove", &[I32]),
    wasix("port_unbridge", &[]),
    silent("proc_exec", &[I32; 4]),
    silent("proc_exec2", &[I32; 6]),
    wasix("proc_exec3", &[I32; 9]),
    same(silent("proc_exit2", &[I32]), Family::Preview1, "proc_exit"),
    wasix("proc_fork", &[I32; 2]),
    wasix("proc_id", &[I32]),
    wasix("proc_join", &[I32; 3]),
    wasix("proc_parent", &[I32; 2]),
    wasix("proc_raise_interval", &[I32, I64, I32]),
    wasix("proc_signal", &[I32; 2]),
    wasix("proc_signals_get", &[I32]),
    wasix("proc_signals_sizes_get", &[I32]),
    wasix("proc_snapshot", &[]),
    wasix("proc_spawn", &[I32; 13]),
    wasix("proc_spawn2", &[I32; 14]),
    wasix("resolve", &[I32; 6]),
    wasix("sock_accept", &[I32; 4]),
    same(wasix("sock_accept_v2", &[I32; 4]), Family::Wasix, "sock_accept"),
    wasix("sock_addr_local", &[I32; 2]),
    wasix("sock_addr_peer", &[I32; 2]),
    wasix("sock_bind", &[I32; 2]),
    wasix("sock_connect", &[I32; 2]),
    wasix("sock_get_opt_flag", &[I32; 3]),
    wasix("sock_get_opt_size", &[I32; 3]),
    wasix("sock_get_opt_time", &[I32; 3]),
    wasix("sock_join_multicast_v4", &[I32; 3]),
    wasix("sock_join_multicast_v6", &[I32; 3]),
    wasix("sock_leave_multicast_v4", &[I32; 3]),
    wasix("sock_leave_multicast_v6", &[I32; 3]),
    wasix("sock_listen", &[I32; 2]),
    wasix("sock_open", &[I32; 4]),
    wasix("sock_pair", &[I32; 5]),
    wasix("sock_recv", &[I32; 6]),
    wasix("sock_recv_from", &[I32; 7]),
    wasix("sock_send", &[I32; 5]),
    wasix("sock_send_file", &[I32, I32, I64, I64, I32]),
    wasix("sock_send_to", &[I32; 6]),
    wasix("sock_set_opt_flag", &[I32; 3]),
    wasix("sock_set_opt_size", &[I32, I32, I64]),
    wasix("sock_set_opt_time", &[I32; 3]),
    wasix("sock_status", &[I32; 2]),
    same(silent("thread_exit", &[I32]), Family::Preview1, "proc_exit"),
    wasix("thread_id", &[I32]),
    wasix("thread_join", &[I32]),
    wasix("thread_parallelism", &[I32]),
    wasix("thread_signal", &[I32; 2]),
    wasix("thread_sleep", &[I64]),
    wasix("tty_get", &[I32]),
    wasix("tty_set", &[I32]),
    refused(wasix("context_create", &[I32; 2]), STACKS),
    refused(wasix("context_destroy", &[I64]), STACKS),
    refused(wasix("context_switch", &[I64]), STACKS),
    refused(wasix("dlopen", &[I32; 8]), LINKING),
    refused(wasix("dlsym", &[I32; 6]), LINKING),
    refused(wasix("stack_checkpoint", &[I32; 2]), STACKS),
    refused(silent("stack_restore", &[I32, I64]), STACKS),
    refused(wasix("thread_spawn", &[I32; 2]), THREADS),
    refused(wasix("thread_spawn_v2", &[I32; 2]), THREADS),
];
