//! Every host function that a guest may ask for, with its exact type.
//!
//! [`PREVIEW1`] and [`WASMEDGE_V1`] are the engine's contract: it links exactly the functions that are marked
//! `provided`. [`ELSEWHERE`] holds functions of other families, so that a module which needs them is told what it is
//! and not only that a name is unknown. One name can have several types: `sock_accept` has three.

use std::fmt;

use serde::Serialize;

use crate::signature::{Signature, ValType};
use ValType::{I32, I64};

/// The module of preview 1, and of WasmEdge's extension to it.
pub const PREVIEW1_MODULE: &str = "wasi_snapshot_preview1";
/// The module of WASIX with 32-bit pointers.
pub const WASIX_MODULE: &str = "wasix_32v1";

/// The family that an import belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Standard `wasi_snapshot_preview1`.
    Preview1,
    /// WasmEdge's socket extension, first form.
    WasmedgeV1,
    /// WasmEdge's socket extension, second form (addresses carry their family).
    WasmedgeV2,
    /// WASIX.
    Wasix,
    /// RepliCode's own sockets (`sock_open` with four parameters in preview 1's module).
    Replicode,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preview1 => "preview 1",
            Self::WasmedgeV1 => "WasmEdge sockets v1",
            Self::WasmedgeV2 => "WasmEdge sockets v2",
            Self::Wasix => "WASIX",
            Self::Replicode => "RepliCode sockets",
        })
    }
}

/// What an import is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Arguments and environment.
    Arguments,
    /// Clocks.
    Clocks,
    /// Files and descriptors.
    Files,
    /// Waiting for descriptors and timers.
    Polling,
    /// Exit, signals, yielding.
    Process,
    /// Random bytes.
    Random,
    /// Sockets.
    Sockets,
    /// Something that the engine does not know.
    Unknown,
}

impl Purpose {
    /// From the name of a function in a known module.
    pub(crate) fn of(name: &str) -> Self {
        match name.split('_').next() {
            Some("args" | "environ") => Self::Arguments,
            Some("clock") => Self::Clocks,
            Some("fd" | "path") => Self::Files,
            Some("poll" | "epoll") => Self::Polling,
            Some("proc" | "sched" | "thread" | "futex") => Self::Process,
            Some("random") => Self::Random,
            Some("sock" | "resolve" | "port") => Self::Sockets,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arguments => "arguments and environment",
            Self::Clocks => "clocks",
            Self::Files => "files and descriptors",
            Self::Polling => "waiting",
            Self::Process => "process",
            Self::Random => "random bytes",
            Self::Sockets => "sockets",
            Self::Unknown => "unknown",
        })
    }
}

/// One function of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFunction {
    /// The import's module.
    pub module: &'static str,
    /// The import's name.
    pub name: &'static str,
    /// Types of the parameters.
    pub params: &'static [ValType],
    /// Types of the results.
    pub results: &'static [ValType],
    /// The family.
    pub family: Family,
    /// The engine of this version links it.
    pub provided: bool,
}

impl HostFunction {
    /// Its type.
    pub fn signature(&self) -> Signature {
        Signature { params: self.params.to_vec(), results: self.results.to_vec() }
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        Purpose::of(self.name)
    }

    /// True for this import.
    pub fn is(&self, module: &str, name: &str) -> bool {
        self.module == module && self.name == name
    }
}

/// Every function of every table.
pub fn all() -> impl Iterator<Item = &'static HostFunction> {
    PREVIEW1.iter().chain(WASMEDGE_V1).chain(ELSEWHERE)
}

const fn function(family: Family, name: &'static str, params: &'static [ValType], provided: bool) -> HostFunction {
    let module = match family {
        Family::Wasix => WASIX_MODULE,
        _ => PREVIEW1_MODULE,
    };
    HostFunction { module, name, params, results: &[I32], family, provided }
}

const fn p1(name: &'static str, params: &'static [ValType]) -> HostFunction {
    function(Family::Preview1, name, params, true)
}

const fn edge(name: &'static str, params: &'static [ValType], provided: bool) -> HostFunction {
    function(Family::WasmedgeV1, name, params, provided)
}

const fn edge2(name: &'static str, params: &'static [ValType]) -> HostFunction {
    function(Family::WasmedgeV2, name, params, false)
}

const fn wasix(name: &'static str, params: &'static [ValType]) -> HostFunction {
    function(Family::Wasix, name, params, false)
}

/// All of `wasi_snapshot_preview1`: the 45 functions of the first snapshot and `sock_accept`, added to it later.
pub const PREVIEW1: &[HostFunction] = &[
    p1("args_get", &[I32; 2]),
    p1("args_sizes_get", &[I32; 2]),
    p1("clock_res_get", &[I32; 2]),
    p1("clock_time_get", &[I32, I64, I32]),
    p1("environ_get", &[I32; 2]),
    p1("environ_sizes_get", &[I32; 2]),
    p1("fd_advise", &[I32, I64, I64, I32]),
    p1("fd_allocate", &[I32, I64, I64]),
    p1("fd_close", &[I32]),
    p1("fd_datasync", &[I32]),
    p1("fd_fdstat_get", &[I32; 2]),
    p1("fd_fdstat_set_flags", &[I32; 2]),
    p1("fd_fdstat_set_rights", &[I32, I64, I64]),
    p1("fd_filestat_get", &[I32; 2]),
    p1("fd_filestat_set_size", &[I32, I64]),
    p1("fd_filestat_set_times", &[I32, I64, I64, I32]),
    p1("fd_pread", &[I32, I32, I32, I64, I32]),
    p1("fd_prestat_dir_name", &[I32; 3]),
    p1("fd_prestat_get", &[I32; 2]),
    p1("fd_pwrite", &[I32, I32, I32, I64, I32]),
    p1("fd_read", &[I32; 4]),
    p1("fd_readdir", &[I32, I32, I32, I64, I32]),
    p1("fd_renumber", &[I32; 2]),
    p1("fd_seek", &[I32, I64, I32, I32]),
    p1("fd_sync", &[I32]),
    p1("fd_tell", &[I32; 2]),
    p1("fd_write", &[I32; 4]),
    p1("path_create_directory", &[I32; 3]),
    p1("path_filestat_get", &[I32; 5]),
    p1("path_filestat_set_times", &[I32, I32, I32, I32, I64, I64, I32]),
    p1("path_link", &[I32; 7]),
    p1("path_open", &[I32, I32, I32, I32, I32, I64, I64, I32, I32]),
    p1("path_readlink", &[I32; 6]),
    p1("path_remove_directory", &[I32; 3]),
    p1("path_rename", &[I32; 6]),
    p1("path_symlink", &[I32; 5]),
    p1("path_unlink_file", &[I32; 3]),
    p1("poll_oneoff", &[I32; 4]),
    HostFunction {
        module: PREVIEW1_MODULE,
        name: "proc_exit",
        params: &[I32],
        results: &[],
        family: Family::Preview1,
        provided: true,
    },
    p1("proc_raise", &[I32]),
    p1("random_get", &[I32; 2]),
    p1("sched_yield", &[]),
    p1("sock_accept", &[I32; 3]),
    p1("sock_recv", &[I32; 6]),
    p1("sock_send", &[I32; 5]),
    p1("sock_shutdown", &[I32; 2]),
];

/// The functions of WasmEdge's extension, first form, on which `sdk/c` builds BSD sockets. Those that reach outwards
/// are not provided yet.
pub const WASMEDGE_V1: &[HostFunction] = &[
    edge("sock_bind", &[I32; 3], true),
    edge("sock_connect", &[I32; 3], false),
    edge("sock_getaddrinfo", &[I32; 8], false),
    edge("sock_getlocaladdr", &[I32; 4], true),
    edge("sock_getpeeraddr", &[I32; 4], true),
    edge("sock_getsockopt", &[I32; 5], true),
    edge("sock_listen", &[I32; 2], true),
    edge("sock_open", &[I32; 3], true),
    edge("sock_setsockopt", &[I32; 5], true),
];

/// Functions that are known and not provided. A name may be in another table with another type.
pub const ELSEWHERE: &[HostFunction] = &[
    edge("epoll_oneoff", &[I32; 4], false),
    edge("sock_accept", &[I32; 2], false),
    edge("sock_recv_from", &[I32; 7], false),
    edge("sock_send_to", &[I32; 7], false),
    edge2("sock_accept_v2", &[I32; 3]),
    edge2("sock_bind_v2", &[I32; 3]),
    edge2("sock_connect_v2", &[I32; 3]),
    edge2("sock_getlocaladdr", &[I32; 3]),
    edge2("sock_getlocaladdr_v2", &[I32; 3]),
    edge2("sock_getpeeraddr", &[I32; 3]),
    edge2("sock_getpeeraddr_v2", &[I32; 3]),
    edge2("sock_listen_v2", &[I32; 2]),
    edge2("sock_open_v2", &[I32; 3]),
    edge2("sock_recv_from", &[I32; 8]),
    edge2("sock_recv_from_v2", &[I32; 8]),
    edge2("sock_recv_v2", &[I32; 6]),
    edge2("sock_send_to_v2", &[I32; 7]),
    edge2("sock_send_v2", &[I32; 5]),
    function(Family::Replicode, "sock_close", &[I32], false),
    function(Family::Replicode, "sock_open", &[I32; 4], false),
    wasix("resolve", &[I32; 6]),
    wasix("sock_accept", &[I32; 4]),
    wasix("sock_accept_v2", &[I32; 4]),
    wasix("sock_addr_local", &[I32; 2]),
    wasix("sock_addr_peer", &[I32; 2]),
    wasix("sock_bind", &[I32; 2]),
    wasix("sock_connect", &[I32; 2]),
    wasix("sock_get_opt_flag", &[I32; 3]),
    wasix("sock_get_opt_size", &[I32; 3]),
    wasix("sock_get_opt_time", &[I32; 3]),
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
    wasix("sock_shutdown", &[I32; 2]),
    wasix("sock_status", &[I32; 2]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preview_1_has_46_functions_and_every_table_has_each_type_once() {
        assert_eq!((PREVIEW1.len(), WASMEDGE_V1.len()), (46, 9));
        let everything: Vec<_> = all().collect();
        for (index, one) in everything.iter().enumerate() {
            let twin = |other: &&&HostFunction| other.is(one.module, one.name) && other.params == one.params;
            assert!(!everything[index + 1..].iter().any(|other| twin(&other)), "{} twice", one.name);
        }
    }

    #[test]
    fn only_outward_calls_of_the_contract_are_absent() {
        let absent: Vec<_> = PREVIEW1.iter().chain(WASMEDGE_V1).filter(|f| !f.provided).map(|f| f.name).collect();
        assert_eq!(absent, ["sock_connect", "sock_getaddrinfo"]);
        assert!(ELSEWHERE.iter().all(|f| !f.provided));
    }

    #[test]
    fn every_known_function_has_a_purpose() {
        for function in all() {
            assert_ne!(function.purpose(), Purpose::Unknown, "{}", function.name);
        }
    }
}
