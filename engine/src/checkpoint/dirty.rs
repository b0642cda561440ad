//! Which pages of a memory were written since they were looked at last, asked of Linux: `userfaultfd` marks pages, the
//! first write to a marked page unmarks it without waking anybody, and `PAGEMAP_SCAN` lists the unmarked ones and marks
//! them again (Linux 6.7).
//!
//! It only saves copying: where the kernel does not have it, or does not allow it, everything is copied. The root of a
//! checkpoint never depends on it.

#![allow(unsafe_code, reason = "two system calls that rustix has no safe form of")]

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mm::{UserfaultfdFlags, userfaultfd};

/// `struct uffdio_api`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

const UFFD_API: u64 = 0xaa;
const FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const FEATURE_WP_ASYNC: u64 = 1 << 15;
const REGISTER_MODE_WP: u64 = 1 << 1;
const SCAN_WP_MATCHING: u64 = 1 << 0;
const SCAN_CHECK_WPASYNC: u64 = 1 << 1;
const PAGE_IS_WRITTEN: u64 = 1 << 1;
/// Regions that one call lists.
const REGIONS: usize = 256;

const IOCTL_API: Opcode = opcode::read_write::<Api>(0xaa, 0x3f);
const IOCTL_REGISTER: Opcode = opcode::read_write::<Register>(0xaa, 0x00);
const IOCTL_SCAN: Opcode = opcode::read_write::<Scan>(b'f', 16);

/// The kernel's help, for all memories of the process.
pub(crate) struct Tracker {
    marks: OwnedFd,
    pagemap: OwnedFd,
}

impl Tracker {
    /// Asks the kernel for it.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK | user_mode_only();
        // SAFETY: the descriptor is used here alone, for write marks that are resolved by the kernel itself; it never
        // fills or moves pages.
        let marks = unsafe { userfaultfd(flags) }?;
        let mut api = Api { api: UFFD_API, features: FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED, ioctls: 0 };
        // SAFETY: the type is that of the call.
        unsafe { ioctl(&marks, Updater::<IOCTL_API, Api>::new(&mut api)) }?;
        let pagemap = rustix::fs::open("/proc/self/pagemap", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { marks, pagemap })
    }

    /// From now on writes to this memory are noted. What was written before counts as written.
    pub(crate) fn track(&self, memory: &[u8]) -> io::Result<()> {
        let (start, len) = (memory.as_ptr() as u64, memory.len() as u64);
        let mut register = Register { start, len, mode: REGISTER_MODE_WP, ioctls: 0 };
        // SAFETY: the type is that of the call, which changes no byte of the memory.
        unsafe { ioctl(&self.marks, Updater::<IOCTL_REGISTER, Register>::new(&mut register)) }?;
        Ok(())
    }

    /// Calls `written` with the ranges of bytes of this memory that were written since the last call, or may have been.
    pub(crate) fn take_written(&self, memory: &[u8], mut written: impl FnMut(usize, usize)) -> io::Result<()> {
        let base = memory.as_ptr() as u64;
        let end = base + memory.len() as u64;
        let mut regions = [Region::default(); REGIONS];
        let mut start = base;
        while start < end {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                flags: SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
                start,
                end,
                vec: regions.as_mut_ptr() as u64,
                vec_len: REGIONS as u64,
                category_mask: PAGE_IS_WRITTEN,
                return_mask: PAGE_IS_WRITTEN,
                ..Scan::default()
            };
            // SAFETY: the type is that of the call; the kernel writes at most `vec_len` regions to `vec`, and changes
            // no byte of the memory.
            unsafe { ioctl(&self.pagemap, Updater::<IOCTL_SCAN, Scan>::new(&mut scan)) }?;
            if scan.walk_end <= start {
                return Err(io::Error::other("the kernel did not go on"));
            }
            // Unused regions are empty; `Updater` does not tell how many there are.
            for region in regions.iter_mut().map(std::mem::take).filter(|region| region.end > region.start) {
                written((region.start - base) as usize, (region.end - base) as usize);
            }
            start = scan.walk_end;
        }
        Ok(())
    }
}

/// Without it only root may ask.
fn user_mode_only() -> UserfaultfdFlags {
    UserfaultfdFlags::from_bits_retain(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tracker: &Tracker, memory: &[u8]) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        tracker.take_written(memory, |start, end| out.push((start, end))).unwrap();
        out
    }

    #[test]
    fn exactly_the_pages_that_were_written_since_the_last_look_are_told() {
        let Ok(tracker) = Tracker::open() else {
            eprintln!("skipped: this kernel does not track writes for us");
            return;
        };
        let mut space = vec![0u8; 5 << 20];
        let offset = space.as_ptr().align_offset(4096);
        let memory = &mut space[offset..offset + (4 << 20)];
        memory[4096 * 7] = 1;
        tracker.track(memory).unwrap();
        let found = written(&tracker, memory);
        assert!(found.iter().any(|(start, end)| (*start..*end).contains(&(4096 * 7))), "{found:?}");
        assert_eq!(written(&tracker, memory), []);
        memory[4096 * 7 + 9] = 2;
        (0..1000).step_by(2).for_each(|page| memory[4096 * page] = 3);
        let found = written(&tracker, memory);
        let pages: Vec<usize> = found.iter().flat_map(|(start, end)| start / 4096..end / 4096).collect();
        let expected: Vec<usize> = (0..1000).filter(|page| page % 2 == 0 || *page == 7).collect();
        assert_eq!(pages, expected);
        assert!(memory.iter().filter(|byte| **byte != 0).count() > 500);
        assert_eq!(written(&tracker, memory), [], "reading is not writing");
    }
}
