//! Standard `wasi_snapshot_preview1`, by its witx.

use super::{Family, HostFunction, function};
use crate::signature::ValType;
use ValType::{I32, I64};

const fn p1(name: &'static str, params: &'static [ValType]) -> HostFunction {
    function(Family::Preview1, name, params)
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
    HostFunction { results: &[], ..p1("proc_exit", &[I32]) },
    p1("proc_raise", &[I32]),
    p1("random_get", &[I32; 2]),
    p1("sched_yield", &[]),
    p1("sock_accept", &[I32; 3]),
    p1("sock_recv", &[I32; 6]),
    p1("sock_send", &[I32; 5]),
    p1("sock_shutdown", &[I32; 2]),
];
