//! `wasi:filesystem`: files by offsets and by streams, flags, times, names, directories that cannot be changed.

use wasip2::clocks::wall_clock::Datetime;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags, filesystem_error_code,
};
use wasip2::io::streams::StreamError;

use crate::Check;

const NONE: PathFlags = PathFlags::empty();
const RW: DescriptorFlags = DescriptorFlags::READ.union(DescriptorFlags::WRITE);

pub const CHECKS: &[Check] = &[
    ("file-streams", streams),
    ("file-offsets", offsets),
    ("file-opened-for", opened_for),
    ("file-append", append),
    ("file-times", times),
    ("file-names", names),
    ("file-directories", directories),
    ("file-failed-stream", failed_stream),
    ("file-escapes", escapes),
];

fn error<T>(result: Result<T, ErrorCode>) -> Option<ErrorCode> {
    result.err()
}

fn directory(name: &str) -> Descriptor {
    let all = get_directories();
    all.into_iter().find(|(_, known)| known == name).expect("the directory is given").0
}

fn root() -> Descriptor {
    directory("/")
}

fn open(dir: &Descriptor, path: &str, how: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
    dir.open_at(NONE, path, how, flags)
}

fn made(path: &str) -> Descriptor {
    open(&root(), path, OpenFlags::CREATE | OpenFlags::TRUNCATE, RW).unwrap()
}

fn streams() {
    let file = made("streams");
    let stream = file.write_via_stream(5).unwrap();
    assert!(stream.check_write().unwrap() > 0);
    stream.blocking_write_and_flush(b"Hello, ").unwrap();
    stream.write(b"World!").unwrap();
    stream.flush().unwrap();
    stream.blocking_write_zeroes_and_flush(1).unwrap();
    drop(stream);
    let whole = b"\0\0\0\0\0Hello, World!\0";
    assert_eq!(file.read_via_stream(0).unwrap().blocking_read(100).unwrap(), whole);
    let (stream, mut all) = (file.read_via_stream(3).unwrap(), Vec::new());
    let ready = stream.subscribe();
    loop {
        ready.block();
        assert!(stream.read(0).unwrap_or_default().is_empty());
        match stream.read(4) {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(all, &whole[3..]);
    root().unlink_file_at("streams").unwrap();
}

fn offsets() {
    let file = made("offsets");
    assert_eq!(file.write(b"0123456789", 0).unwrap(), 10);
    assert_eq!(file.read(4, 3).unwrap(), (b"3456".to_vec(), false));
    assert_eq!(file.read(u64::MAX, 5).unwrap().0, b"56789");
    assert_eq!(file.read(1, 10).unwrap(), (Vec::new(), true));
    file.set_size(2).unwrap();
    assert_eq!(file.stat().unwrap().size, 2);
    file.sync().unwrap();
    file.sync_data().unwrap();
    assert_eq!(file.get_type().unwrap(), DescriptorType::RegularFile);
    assert_eq!(error(file.read_directory()), Some(ErrorCode::NotDirectory));
    root().unlink_file_at("offsets").unwrap();
}

/// A file is for what it was opened for. What is opened for nothing can be read.
fn opened_for() {
    made("opened").write(b"x", 0).unwrap();
    let none = open(&root(), "opened", OpenFlags::empty(), DescriptorFlags::empty()).unwrap();
    assert_eq!(none.read(10, 0).unwrap().0, b"x");
    assert_eq!(none.get_flags().unwrap(), DescriptorFlags::READ);
    let read = open(&root(), "opened", OpenFlags::empty(), DescriptorFlags::READ).unwrap();
    assert!(read.write_via_stream(0).is_err() && read.append_via_stream().is_err() && read.write(b"y", 0).is_err());
    let write = open(&root(), "opened", OpenFlags::empty(), DescriptorFlags::WRITE).unwrap();
    assert_eq!(write.get_flags().unwrap(), DescriptorFlags::WRITE);
    assert!(write.read(1, 0).is_err() && write.read_via_stream(0).is_err());
    let dir = root();
    assert_eq!(error(dir.read_via_stream(0)), Some(ErrorCode::IsDirectory));
    assert!(dir.get_flags().unwrap().contains(DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY));
    dir.unlink_file_at("opened").unwrap();
}

fn append() {
    let file = made("append");
    file.write(b"one", 0).unwrap();
    let stream = file.append_via_stream().unwrap();
    stream.blocking_write_and_flush(b"two").unwrap();
    file.write(b"!", 6).unwrap();
    stream.blocking_write_and_flush(b"three").unwrap();
    assert_eq!(file.read(100, 0).unwrap().0, b"onetwo!three");
    root().unlink_file_at("append").unwrap();
}

fn times() {
    let file = made("times");
    let at = |seconds, nanoseconds| NewTimestamp::Timestamp(Datetime { seconds, nanoseconds });
    file.set_times(at(1, 2), at(3, 4)).unwrap();
    file.set_times(NewTimestamp::NoChange, NewTimestamp::NoChange).unwrap();
    let stat = file.stat().unwrap();
    let told = |time: Option<Datetime>| time.map(|time| (time.seconds, time.nanoseconds));
    assert_eq!(told(stat.data_access_timestamp), Some((1, 2)));
    assert_eq!(told(stat.data_modification_timestamp), Some((3, 4)));
    assert_eq!(error(file.set_times(at(u64::MAX, 1_000_000_000), at(0, 0))), Some(ErrorCode::Overflow));
    root().set_times_at(NONE, "times", NewTimestamp::Now, at(5, 0)).unwrap();
    assert_eq!(told(root().stat_at(NONE, "times").unwrap().data_modification_timestamp), Some((5, 0)));
    root().unlink_file_at("times").unwrap();
}

fn names() {
    let dir = root();
    let file = made("names");
    assert_eq!(
        error(open(&dir, "names", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, RW)),
        Some(ErrorCode::Exist),
        "it is there"
    );
    assert_eq!(error(open(&dir, "none", OpenFlags::empty(), RW)), Some(ErrorCode::NoEntry));
    assert_eq!(error(open(&dir, "names", OpenFlags::DIRECTORY, DescriptorFlags::READ)), Some(ErrorCode::NotDirectory));
    dir.link_at(NONE, "names", &dir, "linked").unwrap();
    let linked = open(&dir, "linked", OpenFlags::empty(), DescriptorFlags::READ).unwrap();
    assert!(file.is_same_object(&linked));
    assert_eq!(file.stat().unwrap().link_count, 2);
    let (one, other) = (file.metadata_hash().unwrap(), dir.metadata_hash_at(NONE, "linked").unwrap());
    assert_eq!((one.lower, one.upper), (other.lower, other.upper));
    dir.symlink_at("linked", "symbolic").unwrap();
    assert_eq!(dir.readlink_at("symbolic").unwrap(), "linked");
    assert_eq!(dir.stat_at(NONE, "symbolic").unwrap().type_, DescriptorType::SymbolicLink);
    assert_eq!(dir.stat_at(PathFlags::SYMLINK_FOLLOW, "symbolic").unwrap().type_, DescriptorType::RegularFile);
    assert_eq!(error(open(&dir, "symbolic", OpenFlags::empty(), DescriptorFlags::READ)), Some(ErrorCode::Loop));
    dir.rename_at("linked", &dir, "renamed").unwrap();
    assert_eq!(error(dir.stat_at(NONE, "linked")), Some(ErrorCode::NoEntry));
    for name in ["names", "renamed", "symbolic"] {
        dir.unlink_file_at(name).unwrap();
    }
}

fn directories() {
    let dir = root();
    dir.create_directory_at("dir").unwrap();
    assert_eq!(error(dir.create_directory_at("dir")), Some(ErrorCode::Exist));
    let inner = open(&dir, "dir", OpenFlags::DIRECTORY, DescriptorFlags::READ).unwrap();
    for number in 0..50 {
        let how = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        drop(open(&inner, &format!("{number}"), how, RW).unwrap());
    }
    let entries = inner.read_directory().unwrap();
    let mut names = Vec::new();
    while let Some(entry) = entries.read_directory_entry().unwrap() {
        assert_eq!(entry.type_, DescriptorType::RegularFile);
        names.push(entry.name);
    }
    names.sort_by_key(|name| name.parse::<u32>().unwrap());
    assert_eq!(names, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(error(dir.remove_directory_at("dir")), Some(ErrorCode::NotEmpty));
    assert_eq!(error(dir.unlink_file_at("dir")).is_some(), true);
    for name in names {
        inner.unlink_file_at(&name).unwrap();
    }
    dir.remove_directory_at("dir").unwrap();
}

/// A stream that failed is closed from then on, and the error says why.
fn failed_stream() {
    let file = made("failed");
    let stream = file.write_via_stream(u64::MAX - 1).unwrap();
    let Err(StreamError::LastOperationFailed(told)) = stream.blocking_write_and_flush(b"far beyond") else {
        panic!("it was written");
    };
    assert!(filesystem_error_code(&told).is_some() && !told.to_debug_string().is_empty());
    assert!(matches!(stream.blocking_write_and_flush(b"x"), Err(StreamError::Closed)));
    assert!(matches!(stream.check_write(), Err(StreamError::Closed)));
    assert!(matches!(stream.flush(), Err(StreamError::Closed)));
    root().unlink_file_at("failed").unwrap();
}

fn escapes() {
    let dir = root();
    for path in ["../x", "/etc", "a/../../x"] {
        assert!(open(&dir, path, OpenFlags::empty(), DescriptorFlags::READ).is_err(), "{path} leads out");
        assert!(dir.stat_at(PathFlags::SYMLINK_FOLLOW, path).is_err(), "{path} leads out");
    }
}

/// Nothing in it can be changed, and what it has cannot come where it could.
pub fn read_only_directory() {
    let (dir, free) = (directory("readonly"), root());
    let refused = Some(ErrorCode::ReadOnly);
    let read = DescriptorFlags::READ;
    assert_eq!(dir.get_flags().unwrap(), read);
    let file = open(&dir, "file", OpenFlags::empty(), read).unwrap();
    assert_eq!(file.read(100, 0).unwrap().0, b"kept");
    assert_eq!(error(file.write_via_stream(0)), Some(ErrorCode::NotPermitted));
    assert_eq!(error(file.append_via_stream()), Some(ErrorCode::NotPermitted));
    assert_eq!(error(file.write(b"x", 0)), Some(ErrorCode::NotPermitted));
    assert!(file.set_size(0).is_err());
    for (how, flags) in [
        (OpenFlags::TRUNCATE, read),
        (OpenFlags::empty(), DescriptorFlags::WRITE),
        (OpenFlags::CREATE, read),
        (OpenFlags::empty(), read | DescriptorFlags::MUTATE_DIRECTORY),
    ] {
        let path = if how == OpenFlags::CREATE { "fresh" } else { "file" };
        assert_eq!(error(open(&dir, path, how, flags)), refused, "{how:?} {flags:?}");
    }
    assert_eq!(error(dir.create_directory_at("x")), refused);
    assert_eq!(error(dir.unlink_file_at("file")), refused);
    assert_eq!(error(dir.symlink_at("file", "x")), refused);
    assert_eq!(error(dir.rename_at("file", &free, "x")), refused);
    assert_eq!(error(dir.link_at(NONE, "file", &free, "x")), refused);
    drop(open(&free, "mine", OpenFlags::CREATE, RW).unwrap());
    assert_eq!(error(free.rename_at("mine", &dir, "x")), refused);
    assert_eq!(error(free.link_at(NONE, "mine", &dir, "x")), refused);
    assert_eq!(file.read(100, 0).unwrap().0, b"kept");
    println!("nothing was changed");
}
