//! The one call that the standard library lacks: waiting for several descriptors. The C library that it is built on has
//! it, on every system that this program runs on.

use std::ffi::{c_int, c_ulong};
use std::io;
use std::os::fd::RawFd;

#[cfg(target_os = "wasi")]
mod events {
    pub const READABLE: i16 = 1;
    pub const WRITABLE: i16 = 2;
}
#[cfg(not(target_os = "wasi"))]
mod events {
    pub const READABLE: i16 = 1;
    pub const WRITABLE: i16 = 4;
}

/// A descriptor and what to wait for; C's `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Polled {
    fd: RawFd,
    events: i16,
    happened: i16,
}

impl Polled {
    /// Waits until there is something to read.
    pub fn readable(fd: RawFd) -> Self {
        Self { fd, events: events::READABLE, happened: 0 }
    }

    /// Waits until it takes bytes.
    pub fn writable(fd: RawFd) -> Self {
        Self { fd, events: events::WRITABLE, happened: 0 }
    }

    /// Whether that is so, or the connection broke.
    pub fn happened(self) -> bool {
        self.happened != 0
    }
}

unsafe extern "C" {
    #[link_name = "poll"]
    fn c_poll(polled: *mut Polled, count: c_ulong, timeout_ms: c_int) -> c_int;
}

/// Waits, however long it takes, until something happened to one of them.
pub fn wait(polled: &mut [Polled]) -> io::Result<()> {
    // SAFETY: the pointer and the count are those of one slice, which nothing else uses meanwhile.
    let ready = unsafe { c_poll(polled.as_mut_ptr(), polled.len() as c_ulong, -1) };
    match ready {
        0.. => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
    }
}
