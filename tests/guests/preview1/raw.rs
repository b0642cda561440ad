//! Every function of preview 1 from Rust, by its import: what a bad descriptor, a bad pointer and a bad flag give.

use std::cell::Cell;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn args_get(a: usize, b: usize) -> u32;
    fn args_sizes_get(a: usize, b: usize) -> u32;
    fn environ_get(a: usize, b: usize) -> u32;
    fn environ_sizes_get(a: usize, b: usize) -> u32;
    fn clock_res_get(clock: u32, out: usize) -> u32;
    fn clock_time_get(clock: u32, precision: u64, out: usize) -> u32;
    fn fd_advise(fd: u32, offset: u64, len: u64, advice: u32) -> u32;
    fn fd_allocate(fd: u32, offset: u64, len: u64) -> u32;
    fn fd_close(fd: u32) -> u32;
    fn fd_datasync(fd: u32) -> u32;
    fn fd_fdstat_get(fd: u32, out: usize) -> u32;
    fn fd_fdstat_set_flags(fd: u32, flags: u32) -> u32;
    fn fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) -> u32;
    fn fd_filestat_get(fd: u32, out: usize) -> u32;
    fn fd_filestat_set_size(fd: u32, size: u64) -> u32;
    fn fd_filestat_set_times(fd: u32, atime: u64, mtime: u64, flags: u32) -> u32;
    fn fd_pread(fd: u32, vectors: usize, count: usize, offset: u64, out: usize) -> u32;
    fn fd_prestat_dir_name(fd: u32, path: usize, len: usize) -> u32;
    fn fd_prestat_get(fd: u32, out: usize) -> u32;
    fn fd_pwrite(fd: u32, vectors: usize, count: usize, offset: u64, out: usize) -> u32;
    fn fd_read(fd: u32, vectors: usize, count: usize, out: usize) -> u32;
    fn fd_readdir(fd: u32, buffer: usize, len: usize, cookie: u64, out: usize) -> u32;
    fn fd_renumber(from: u32, to: u32) -> u32;
    fn fd_seek(fd: u32, by: i64, whence: u32, out: usize) -> u32;
    fn fd_sync(fd: u32) -> u32;
    fn fd_tell(fd: u32, out: usize) -> u32;
    fn fd_write(fd: u32, vectors: usize, count: usize, out: usize) -> u32;
    fn path_create_directory(fd: u32, path: usize, len: usize) -> u32;
    fn path_filestat_get(fd: u32, flags: u32, path: usize, len: usize, out: usize) -> u32;
    fn path_filestat_set_times(fd: u32, flags: u32, path: usize, len: usize, a: u64, m: u64, times: u32) -> u32;
    fn path_link(fd: u32, flags: u32, old: usize, old_len: usize, new_fd: u32, path: usize, len: usize) -> u32;
    fn path_open(
        fd: u32,
        lookup: u32,
        path: usize,
        len: usize,
        oflags: u32,
        base: u64,
        inheriting: u64,
        fdflags: u32,
        out: usize,
    ) -> u32;
    fn path_readlink(fd: u32, path: usize, len: usize, buffer: usize, size: usize, out: usize) -> u32;
    fn path_remove_directory(fd: u32, path: usize, len: usize) -> u32;
    fn path_rename(fd: u32, old: usize, old_len: usize, new_fd: u32, path: usize, len: usize) -> u32;
    fn path_symlink(target: usize, target_len: usize, fd: u32, path: usize, len: usize) -> u32;
    fn path_unlink_file(fd: u32, path: usize, len: usize) -> u32;
    fn poll_oneoff(subscriptions: usize, events: usize, count: usize, out: usize) -> u32;
    fn proc_raise(signal: u32) -> u32;
    fn random_get(buffer: usize, len: usize) -> u32;
    fn sched_yield() -> u32;
    fn sock_accept(fd: u32, flags: u32, out: usize) -> u32;
    fn sock_recv(fd: u32, vectors: usize, count: usize, flags: u32, out: usize, out_flags: usize) -> u32;
    fn sock_send(fd: u32, vectors: usize, count: usize, flags: u32, out: usize) -> u32;
    fn sock_shutdown(fd: u32, how: u32) -> u32;
}

const OK: u32 = 0;
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOTSOCK: u32 = 57;

/// No descriptor.
const NONE: u32 = u32::MAX;
/// An address beyond the end of the memory.
const FAR: usize = 0xffff_fff0;
/// The first preopened directory: nothing else is passed in here.
const DIR: u32 = 3;

fn main() {
    let failures = Cell::new(0);
    let check = |line: u32, what: &str, got: u32, want: u32| {
        if got != want {
            failures.set(failures.get() + 1);
            println!("FAIL raw.rs:{line}: {what} is {got}, not {want}");
        }
    };
    macro_rules! table {
        ($($name:ident($($argument:expr),*) => $want:expr;)*) => {$({
            // SAFETY: the host checks every pointer; the buffers that are there live to the end of the program.
            let got = unsafe { $name($($argument),*) };
            check(line!(), stringify!($name($($argument),*)), got, $want);
        })*};
    }
    let mut room = [0u64; 64];
    let at = room.as_mut_ptr() as usize;
    let path = "raw.test";
    let (name, len) = (path.as_ptr() as usize, path.len());
    // A vector of no bytes, at an address of its own.
    let vector = [at, 0usize];
    let v = vector.as_ptr() as usize;
    table! {
        args_get(FAR, at) => FAULT;
        args_sizes_get(FAR, FAR) => FAULT;
        args_sizes_get(at, at + 8) => OK;
        environ_get(at, at + 64) => OK;
        environ_sizes_get(FAR, FAR) => FAULT;
        environ_sizes_get(at, at + 8) => OK;
        clock_res_get(1, at) => OK;
        clock_res_get(9, at) => INVAL;
        clock_time_get(0, 1, at) => OK;
        clock_time_get(1, 1, FAR + 9) => FAULT;
        fd_advise(NONE, 0, 0, 0) => BADF;
        fd_allocate(NONE, 0, 1) => BADF;
        fd_close(NONE) => BADF;
        fd_datasync(NONE) => BADF;
        fd_fdstat_get(NONE, at) => BADF;
        fd_fdstat_get(DIR, FAR) => FAULT;
        fd_fdstat_set_flags(NONE, 0) => BADF;
        fd_fdstat_set_flags(DIR, 64) => INVAL;
        fd_fdstat_set_rights(NONE, 0, 0) => BADF;
        fd_filestat_get(NONE, at) => BADF;
        fd_filestat_get(DIR, FAR) => FAULT;
        fd_filestat_set_size(NONE, 0) => BADF;
        fd_filestat_set_times(NONE, 0, 0, 0) => BADF;
        fd_filestat_set_times(DIR, 0, 0, 3) => INVAL;
        fd_pread(NONE, v, 1, 0, at) => BADF;
        fd_pread(DIR, FAR, 2, 0, at) => FAULT;
        fd_prestat_dir_name(NONE, at, 64) => BADF;
        fd_prestat_get(NONE, at) => BADF;
        fd_prestat_get(DIR, FAR + 12) => FAULT;
        fd_pwrite(NONE, v, 1, 0, at) => BADF;
        fd_pwrite(DIR, FAR, 2, 0, at) => FAULT;
        fd_read(NONE, v, 1, at) => BADF;
        fd_read(DIR, FAR, 2, at) => FAULT;
        fd_readdir(NONE, at, 64, 0, at) => BADF;
        fd_readdir(DIR, FAR, 64, 0, at) => FAULT;
        fd_renumber(NONE, NONE) => BADF;
        fd_renumber(DIR, NONE) => BADF;
        fd_renumber(NONE, DIR) => BADF;
        fd_seek(NONE, 0, 0, at) => BADF;
        fd_seek(DIR, 0, 9, at) => INVAL;
        fd_sync(NONE) => BADF;
        fd_tell(NONE, at) => BADF;
        fd_write(NONE, v, 1, at) => BADF;
        fd_write(1, FAR, 2, at) => FAULT;
        path_create_directory(NONE, name, len) => BADF;
        path_create_directory(DIR, FAR, 64) => FAULT;
        path_filestat_get(NONE, 0, name, len, at) => BADF;
        path_filestat_get(DIR, 0, FAR, 64, at) => FAULT;
        path_filestat_set_times(NONE, 0, name, len, 0, 0, 0) => BADF;
        path_filestat_set_times(DIR, 0, FAR, 64, 0, 0, 0) => FAULT;
        path_link(NONE, 0, name, len, DIR, name, len) => BADF;
        path_link(DIR, 0, FAR, 64, DIR, name, len) => FAULT;
        path_link(DIR, 0, name, len, DIR, FAR, 64) => FAULT;
        path_open(NONE, 0, name, len, 0, 0, 0, 0, at) => BADF;
        path_open(DIR, 0, FAR, 64, 0, 0, 0, 0, at) => FAULT;
        path_open(DIR, 0, name, len, 1, 0, 0, 0, FAR + 13) => FAULT;
        path_readlink(NONE, name, len, at, 64, at) => BADF;
        path_readlink(DIR, FAR, 64, at, 64, at) => FAULT;
        path_remove_directory(NONE, name, len) => BADF;
        path_remove_directory(DIR, FAR, 64) => FAULT;
        path_rename(NONE, name, len, DIR, name, len) => BADF;
        path_rename(DIR, FAR, 64, DIR, name, len) => FAULT;
        path_rename(DIR, name, len, DIR, FAR, 64) => FAULT;
        path_symlink(name, len, NONE, name, len) => BADF;
        path_symlink(FAR, 64, DIR, name, len) => FAULT;
        path_symlink(name, len, DIR, FAR, 64) => FAULT;
        path_unlink_file(NONE, name, len) => BADF;
        path_unlink_file(DIR, FAR, 64) => FAULT;
        poll_oneoff(at, at, 0, at) => INVAL;
        poll_oneoff(FAR, at, 1, at) => FAULT;
        proc_raise(0) => OK;
        proc_raise(99) => INVAL;
        random_get(FAR, 64) => FAULT;
        random_get(at, 64) => OK;
        sched_yield() => OK;
        sock_accept(NONE, 0, at) => BADF;
        sock_accept(DIR, 0, at) => NOTSOCK;
        sock_recv(NONE, v, 1, 0, at, at) => BADF;
        sock_recv(DIR, v, 1, 0, at, at) => NOTSOCK;
        sock_send(NONE, v, 1, 0, at) => BADF;
        sock_send(DIR, v, 1, 0, at) => NOTSOCK;
        sock_shutdown(NONE, 1) => BADF;
        sock_shutdown(DIR, 1) => NOTSOCK;
        sock_shutdown(DIR, 9) => INVAL;
    }
    // None of the calls that failed has done anything.
    assert!(std::fs::metadata(format!("{}/{path}", root())).is_err());
    println!("raw: {} failed", failures.get());
    std::process::exit(i32::from(failures.get() > 0));
}

/// The name of the first preopened directory.
fn root() -> String {
    let mut name = [0u8; 64];
    // SAFETY: the buffer is 64 bytes long.
    let got = unsafe { fd_prestat_dir_name(DIR, name.as_mut_ptr() as usize, name.len()) };
    assert_eq!(got, OK);
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8(name[..len].to_vec()).expect("the tests give plain names")
}
