//! Rights of preview 1 that include others, and calls that need two of them.

mod support;

use refrain_kernel::descriptor::flags;
use refrain_kernel::files::{OpenRequest, Whence};
use refrain_kernel::fs::{Follow, OpenFlags};
use refrain_kernel::{Errno, Kernel, rights};
use support::{ROOT_DIR, Rig, config};

fn open(kernel: &mut Kernel, fd_flags: u16) -> Result<u32, Errno> {
    let rights = rights::FD_READ | rights::FD_WRITE;
    let (follow, flags) = (Follow::No, OpenFlags { create: true, ..OpenFlags::NONE });
    kernel.open_path(&OpenRequest { dir: ROOT_DIR, path: b"f", follow, flags, fd_flags, rights })
}

/// Drops rights of a descriptor.
fn drop_rights(kernel: &mut Kernel, fd: u32, dropped: u64) {
    let (rights, inheriting) = kernel.descriptor(fd).map(|found| (found.rights, found.inheriting)).unwrap();
    kernel.set_rights(fd, rights & !dropped, inheriting).unwrap();
}

#[test]
fn reading_and_writing_at_an_offset_needs_the_right_to_seek() {
    let mut rig = Rig::new(config());
    rig.turn(&[], |kernel| {
        let fd = open(kernel, 0).unwrap();
        let mut buffer = [0; 3];
        assert_eq!(kernel.write_at(fd, 0, b"abc"), Ok(3));
        assert_eq!(kernel.read_at(fd, 0, &mut buffer), Ok(3));
        drop_rights(kernel, fd, rights::FD_SEEK);
        assert_eq!(kernel.write_at(fd, 0, b"abc"), Err(Errno::Notcapable));
        assert_eq!(kernel.read_at(fd, 0, &mut buffer), Err(Errno::Notcapable));
        assert_eq!(kernel.seek(fd, 0, Whence::Start), Err(Errno::Notcapable));
        assert_eq!((kernel.seek(fd, 0, Whence::Current), kernel.read(fd, &mut buffer)), (Ok(0), Ok(3)));
    });
}

#[test]
fn the_right_to_seek_includes_the_right_to_ask_for_the_offset() {
    let mut rig = Rig::new(config());
    rig.turn(&[], |kernel| {
        let fd = open(kernel, 0).unwrap();
        drop_rights(kernel, fd, rights::FD_TELL);
        assert_eq!(kernel.seek(fd, 0, Whence::Current), Ok(0));
        drop_rights(kernel, fd, rights::FD_SEEK);
        assert_eq!(kernel.seek(fd, 0, Whence::Current), Err(Errno::Notcapable));
    });
}

#[test]
fn a_file_is_opened_to_be_synchronous_by_who_may_synchronize() {
    let mut rig = Rig::new(config());
    rig.turn(&[], |kernel| {
        let may =
            |kernel: &mut Kernel| [flags::DSYNC, flags::RSYNC, flags::SYNC].map(|flag| open(kernel, flag).is_ok());
        assert_eq!(may(kernel), [true, true, true]);
        drop_rights(kernel, ROOT_DIR, rights::FD_DATASYNC);
        assert_eq!(may(kernel), [true, true, true], "the right to all includes that to content");
        drop_rights(kernel, ROOT_DIR, rights::FD_SYNC);
        assert_eq!(may(kernel), [false, false, false]);
        assert_eq!(open(kernel, flags::DSYNC), Err(Errno::Notcapable));
    });
    rig = Rig::new(config());
    rig.turn(&[], |kernel| {
        drop_rights(kernel, ROOT_DIR, rights::FD_SYNC);
        assert!(open(kernel, flags::DSYNC).is_ok() && open(kernel, flags::RSYNC).is_err());
    });
}
