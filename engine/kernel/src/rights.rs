//! Rights of preview 1: what may be done with a descriptor, and with what is opened through it.
//!
//! A descriptor begins with everything that fits its kind, limited by what the directory that it was opened through, or
//! the listener that accepted it, gives on. What `path_open` asks for decides only whether a file can be read and written, as programs that are
//! written for newer hosts ask for nothing more and use the rest all the same. What a guest drops with
//! `fd_fdstat_set_rights` is gone for this descriptor and for everything that is opened through it, and is enforced.

use crate::descriptor::Object;

/// `fd_datasync`, and `path_open` with `dsync`.
pub const FD_DATASYNC: u64 = 1;
/// `fd_read`, `sock_recv`, and with `FD_SEEK` `fd_pread`.
pub const FD_READ: u64 = 1 << 1;
/// `fd_seek`, `fd_tell`.
pub const FD_SEEK: u64 = 1 << 2;
/// `fd_fdstat_set_flags`.
pub const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
/// `fd_sync`, and `path_open` with `dsync`, `rsync` or `sync`.
pub const FD_SYNC: u64 = 1 << 4;
/// `fd_tell`.
pub const FD_TELL: u64 = 1 << 5;
/// `fd_write`, `sock_send`, and with `FD_SEEK` `fd_pwrite`.
pub const FD_WRITE: u64 = 1 << 6;
/// `fd_advise`.
pub const FD_ADVISE: u64 = 1 << 7;
/// `fd_allocate`.
pub const FD_ALLOCATE: u64 = 1 << 8;
/// `path_create_directory`.
pub const PATH_CREATE_DIRECTORY: u64 = 1 << 9;
/// `path_open` with `creat`.
pub const PATH_CREATE_FILE: u64 = 1 << 10;
/// `path_link`, as the directory of the old path.
pub const PATH_LINK_SOURCE: u64 = 1 << 11;
/// `path_link`, as the directory of the new path.
pub const PATH_LINK_TARGET: u64 = 1 << 12;
/// `path_open`.
pub const PATH_OPEN: u64 = 1 << 13;
/// `fd_readdir`.
pub const FD_READDIR: u64 = 1 << 14;
/// `path_readlink`.
pub const PATH_READLINK: u64 = 1 << 15;
/// `path_rename`, as the directory of the old path.
pub const PATH_RENAME_SOURCE: u64 = 1 << 16;
/// `path_rename`, as the directory of the new path.
pub const PATH_RENAME_TARGET: u64 = 1 << 17;
/// `path_filestat_get`.
pub const PATH_FILESTAT_GET: u64 = 1 << 18;
/// `path_open` with `trunc`.
pub const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;
/// `path_filestat_set_times`.
pub const PATH_FILESTAT_SET_TIMES: u64 = 1 << 20;
/// `fd_filestat_get`.
pub const FD_FILESTAT_GET: u64 = 1 << 21;
/// `fd_filestat_set_size`.
pub const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
/// `fd_filestat_set_times`.
pub const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
/// `path_symlink`.
pub const PATH_SYMLINK: u64 = 1 << 24;
/// `path_remove_directory`.
pub const PATH_REMOVE_DIRECTORY: u64 = 1 << 25;
/// `path_unlink_file`.
pub const PATH_UNLINK_FILE: u64 = 1 << 26;
/// To be waited for in `poll_oneoff`.
pub const POLL_FD_READWRITE: u64 = 1 << 27;
/// `sock_shutdown`.
pub const SOCK_SHUTDOWN: u64 = 1 << 28;
/// `sock_accept`.
pub const SOCK_ACCEPT: u64 = 1 << 29;

/// Every right there is.
pub const ALL: u64 = (1 << 30) - 1;
/// What every descriptor can have.
const ANY: u64 = FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;
/// What changes nothing and fits a directory.
const DIRECTORY_READ: u64 =
    ANY | FD_DATASYNC | FD_SYNC | FD_ADVISE | FD_READDIR | PATH_OPEN | PATH_READLINK | PATH_FILESTAT_GET;
/// What fits a directory.
pub const DIRECTORY: u64 = DIRECTORY_READ
    | PATH_CREATE_DIRECTORY
    | PATH_CREATE_FILE
    | PATH_LINK_SOURCE
    | PATH_LINK_TARGET
    | PATH_RENAME_SOURCE
    | PATH_RENAME_TARGET
    | PATH_FILESTAT_SET_SIZE
    | PATH_FILESTAT_SET_TIMES
    | FD_FILESTAT_SET_TIMES
    | PATH_SYMLINK
    | PATH_REMOVE_DIRECTORY
    | PATH_UNLINK_FILE;
/// What changes nothing and fits a file.
const FILE_READ: u64 = ANY | FD_DATASYNC | FD_READ | FD_SEEK | FD_SYNC | FD_TELL | FD_ADVISE;
/// What a file has only when it was opened to be written.
const FILE_WRITE: u64 = FD_WRITE | FD_ALLOCATE | FD_FILESTAT_SET_SIZE;
/// What fits a file.
pub const FILE: u64 = FILE_READ | FILE_WRITE | FD_FILESTAT_SET_TIMES;
/// What fits standard input. Without seek and tell: wasi-libc takes a stream that has them for a file.
const INPUT: u64 = ANY | FD_READ;
/// What fits standard output and standard error.
const OUTPUT: u64 = ANY | FD_WRITE;
/// What fits a socket.
const SOCKET: u64 = INPUT | OUTPUT | SOCK_SHUTDOWN | SOCK_ACCEPT;

/// What fits a descriptor, and what may be given on through it.
#[must_use]
pub fn of(object: &Object) -> (u64, u64) {
    match object {
        Object::Input => (INPUT, 0),
        Object::Output(_) => (OUTPUT, 0),
        Object::File { .. } => (FILE, 0),
        Object::Directory { .. } => (DIRECTORY, DIRECTORY | FILE),
        _ => (SOCKET, SOCKET),
    }
}

/// What a directory of a file system has, and gives on, in which nothing can be changed. It claims that files can be
/// opened for writing, as libc asks only for what is claimed, and the answer is to be `Rofs`.
#[must_use]
pub const fn read_only() -> (u64, u64) {
    (DIRECTORY_READ, DIRECTORY_READ | FILE_READ | FILE_WRITE)
}

/// The rights of what is opened through a directory, or accepted by a listener, that gives `given` on, when `asked` is asked for.
#[must_use]
pub fn opened(object: &Object, asked: u64, given: u64) -> (u64, u64) {
    let (fitting, inheriting) = of(object);
    let mut rights = fitting & given;
    if matches!(object, Object::File { .. }) {
        if asked & FD_READ == 0 {
            rights &= !FD_READ;
        }
        if asked & FD_WRITE == 0 {
            rights &= !FILE_WRITE;
        }
    }
    (rights, inheriting & given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::InodeId;

    const FILE_OBJECT: Object = Object::File { inode: InodeId(2), offset: 0 };

    #[test]
    fn what_is_asked_for_decides_reading_and_writing_alone() {
        assert_eq!(opened(&FILE_OBJECT, 0, FILE), (FILE & !(FD_READ | FILE_WRITE), 0));
        assert_eq!(opened(&FILE_OBJECT, FD_READ, FILE), (FILE & !FILE_WRITE, 0));
        assert_eq!(opened(&FILE_OBJECT, FD_READ | FD_WRITE, FILE), (FILE, 0));
    }

    #[test]
    fn nothing_is_opened_with_more_than_its_directory_gives_on() {
        let given = FD_READ | FD_TELL | PATH_OPEN;
        assert_eq!(opened(&FILE_OBJECT, u64::MAX, given), (FD_READ | FD_TELL, 0));
        let directory = Object::Directory { inode: InodeId(1), preopen: None };
        assert_eq!(opened(&directory, u64::MAX, given), (PATH_OPEN, given));
    }

    #[test]
    fn rights_are_the_thirty_bits_of_the_witx() {
        assert_eq!(FILE | DIRECTORY | SOCKET, ALL);
    }
}
