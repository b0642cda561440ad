//! Short forms for the tests of the file system.

use bytes::Bytes;

use super::{BundleFiles, FileKind, Follow, Fs, InodeId, OpenFlags, ROOT};
use crate::errno::Errno;

/// A bundle of these files.
pub(super) fn bundle(files: &[(&str, Vec<u8>)]) -> BundleFiles {
    let entry = |(path, content): &(&str, Vec<u8>)| (path.as_bytes().to_vec(), Bytes::from(content.clone()));
    BundleFiles::new(files.iter().map(entry)).unwrap()
}

/// A file system without a bundle.
pub(super) fn empty(quota_bytes: u64) -> Fs {
    Fs::new(&bundle(&[]), quota_bytes, 0)
}

/// A new file, made at time 1.
pub(super) fn create(fs: &mut Fs, path: &str) -> InodeId {
    let opened = fs.open_at(ROOT, path.as_bytes(), Follow::Yes, OpenFlags::CREATE, 1);
    let opened = opened.unwrap();
    assert!(opened.created);
    opened.inode
}

/// The inode of a path.
pub(super) fn file(fs: &Fs, path: &str) -> InodeId {
    fs.lookup_at(ROOT, path.as_bytes(), Follow::Yes).unwrap()
}

/// Writes at time 2.
pub(super) fn write(fs: &mut Fs, inode: InodeId, offset: u64, data: &[u8]) -> Result<(), Errno> {
    fs.write_at(inode, offset, data, 2)
}

/// The whole content of a file.
pub(super) fn read(fs: &Fs, path: &str) -> Vec<u8> {
    let inode = file(fs, path);
    let size = usize::try_from(fs.stat(inode).unwrap().size_bytes).unwrap();
    let mut buf = vec![0xee; size + 1];
    let read = fs.clone().read_at(inode, 0, &mut buf, 3).unwrap();
    assert_eq!(read, size);
    buf.truncate(size);
    buf
}

/// All paths in byte order of their names, directories with a slash at the end.
pub(super) fn tree(fs: &Fs) -> Vec<String> {
    let mut paths = Vec::new();
    let mut open = vec![(ROOT, String::new())];
    while let Some((dir, prefix)) = open.pop() {
        for entry in fs.readdir(dir, 2).unwrap() {
            let path = format!("{prefix}{}", String::from_utf8_lossy(entry.name));
            if entry.kind == FileKind::Directory {
                open.push((entry.inode, format!("{path}/")));
                paths.push(format!("{path}/"));
            } else {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
}

/// The canonical bytes.
pub(super) fn encoded(fs: &Fs) -> Vec<u8> {
    let mut out = Vec::new();
    fs.encode(&mut out);
    out
}
