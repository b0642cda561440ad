//! `wasi:filesystem`, in the first directory that the program is given: it has `a.txt`, which is `test-a` in a line.

use futures::join;
use wasip3::clocks::system_clock::Instant;
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};
use wasip3::wit_stream;

const READ: DescriptorFlags = DescriptorFlags::READ;
const WRITE: DescriptorFlags = DescriptorFlags::WRITE;
const NO_FLAGS: DescriptorFlags = DescriptorFlags::empty();
const HERE: PathFlags = PathFlags::empty();

pub async fn check() {
    let given = get_directories();
    let (dir, name) = given.first().expect("a directory");
    assert_eq!((name.as_str(), given.len()), ("given", 1));
    flags(dir).await;
    contents(dir).await;
    sizes(dir).await;
    listing(dir).await;
    names(dir).await;
    links(dir).await;
    times(dir).await;
    outside(dir).await;
}

async fn open(dir: &Descriptor, path: &str, how: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
    dir.open_at(HERE, path.to_owned(), how, flags).await
}

async fn make(dir: &Descriptor, path: &str) -> Descriptor {
    open(dir, path, OpenFlags::CREATE | OpenFlags::EXCLUSIVE, READ | WRITE).await.expect("it is not there")
}

async fn remove(dir: &Descriptor, path: &str) {
    dir.unlink_file_at(path.to_owned()).await.expect("it is there");
}

async fn read(file: &Descriptor, offset: u64) -> Result<Vec<u8>, ErrorCode> {
    let (stream, ended) = file.read_via_stream(offset);
    let bytes = stream.collect().await;
    ended.await.map(|()| bytes)
}

async fn write(file: &Descriptor, bytes: &[u8], offset: Option<u64>) -> Result<(), ErrorCode> {
    let (mut writer, reader) = wit_stream::new();
    let told = match offset {
        Some(offset) => file.write_via_stream(reader, offset),
        None => file.append_via_stream(reader),
    };
    let (written, ()) = join!(async { told.await }, async {
        writer.write_all(bytes.to_vec()).await;
        drop(writer);
    });
    written
}

/// What a descriptor may be used for follows from how it was opened.
async fn flags(dir: &Descriptor) {
    assert_eq!(dir.get_flags().await.unwrap(), READ | DescriptorFlags::MUTATE_DIRECTORY);
    assert!(matches!(dir.get_type().await, Ok(DescriptorType::Directory)));
    let again = open(dir, ".", OpenFlags::empty(), NO_FLAGS).await.unwrap();
    assert_eq!(again.get_flags().await.unwrap(), READ);
    assert!(dir.is_same_object(&again).await);
    assert!(matches!(open(dir, ".", OpenFlags::empty(), WRITE).await, Err(ErrorCode::IsDirectory)));
    for (how, asked, told) in [
        (OpenFlags::empty(), NO_FLAGS, READ),
        (OpenFlags::empty(), READ, READ),
        (OpenFlags::empty(), WRITE, WRITE),
        (OpenFlags::EXCLUSIVE, NO_FLAGS, READ),
    ] {
        let file = open(dir, "a.txt", how, asked).await.unwrap();
        assert_eq!(file.get_flags().await.unwrap(), told);
        assert!(matches!(file.get_type().await, Ok(DescriptorType::RegularFile)));
    }
    for (asked, told) in [(NO_FLAGS, READ | WRITE), (READ, READ | WRITE), (WRITE, WRITE)] {
        let file = open(dir, "c", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, asked).await.unwrap();
        assert_eq!(file.get_flags().await.unwrap(), told);
        assert!(matches!(open(dir, "c", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, READ).await, Err(ErrorCode::Exist)));
        remove(dir, "c").await;
    }
    assert!(matches!(open(dir, "none", OpenFlags::empty(), READ).await, Err(ErrorCode::NoEntry)));
    assert!(matches!(open(dir, "a.txt", OpenFlags::DIRECTORY, READ).await, Err(ErrorCode::NotDirectory)));
    assert!(matches!(open(dir, "a.txt/x", OpenFlags::empty(), READ).await, Err(ErrorCode::NotDirectory)));
}

async fn contents(dir: &Descriptor) {
    let a = open(dir, "a.txt", OpenFlags::empty(), READ).await.unwrap();
    for (offset, rest) in [(0, &b"test-a\n"[..]), (1, b"est-a\n"), (6, b"\n"), (7, b""), (17, b"")] {
        assert_eq!(read(&a, offset).await.unwrap(), rest);
    }
    assert!(matches!(read(&a, u64::MAX).await, Err(ErrorCode::Invalid)));
    assert!(matches!(write(&a, b"x", Some(0)).await, Err(ErrorCode::BadDescriptor)), "it is open for reading");
    assert!(matches!(write(dir, b"x", Some(0)).await, Err(ErrorCode::IsDirectory)));
    assert!(matches!(read(dir, 0).await, Err(ErrorCode::IsDirectory)));
    assert!(matches!(dir.advise(0, 0, Advice::Normal).await, Err(ErrorCode::BadDescriptor)));
    a.sync().await.unwrap();
    a.sync_data().await.unwrap();
    a.advise(0, 7, Advice::Sequential).await.unwrap();

    let c = make(dir, "c").await;
    assert!(read(&c, 0).await.unwrap().is_empty());
    write(&c, b"hello!", Some(0)).await.unwrap();
    write(&c, b"byeee", Some(0)).await.unwrap();
    assert_eq!(read(&c, 0).await.unwrap(), b"byeee!");
    write(&c, b" later", None).await.unwrap();
    assert_eq!(read(&c, 0).await.unwrap(), b"byeee! later");
    write(&c, b"end", Some(15)).await.unwrap();
    assert_eq!(read(&c, 12).await.unwrap(), b"\0\0\0end");
    // Streams go on when the file is closed and gone.
    let (mut stream, ended) = c.read_via_stream(0);
    drop(c);
    remove(dir, "c").await;
    assert_eq!(stream.next().await, Some(b'b'));
    assert_eq!(stream.collect().await.len(), 17);
    ended.await.unwrap();
    let large: Vec<u8> = (0..500_000u32).map(|number| (number % 253) as u8).collect();
    let d = make(dir, "d").await;
    write(&d, &large, None).await.unwrap();
    assert!(read(&d, 0).await.unwrap() == large);
    remove(dir, "d").await;
}

async fn sizes(dir: &Descriptor) {
    let c = make(dir, "c").await;
    c.set_size(11).await.unwrap();
    assert_eq!(c.stat().await.unwrap().size, 11);
    c.set_size(3).await.unwrap();
    assert_eq!(read(&c, 0).await.unwrap(), [0; 3]);
    assert!(matches!(c.set_size(u64::MAX).await, Err(ErrorCode::FileTooLarge | ErrorCode::Invalid)));
    let read_only = open(dir, "c", OpenFlags::empty(), READ).await.unwrap();
    assert!(matches!(read_only.set_size(1).await, Err(ErrorCode::BadDescriptor)), "it is open for reading");
    let emptied = open(dir, "c", OpenFlags::TRUNCATE, WRITE).await.unwrap();
    assert_eq!(emptied.stat().await.unwrap().size, 0);
    remove(dir, "c").await;
}

async fn listed(dir: &Descriptor) -> Vec<(String, String)> {
    let (stream, ended) = dir.read_directory();
    let mut entries: Vec<_> =
        stream.collect().await.into_iter().map(|entry| (entry.name, format!("{:?}", entry.type_))).collect();
    ended.await.expect("it is a directory");
    entries.sort();
    entries
}

async fn listing(dir: &Descriptor) {
    let known = |entries: Vec<(String, String)>| entries.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(known(listed(dir).await), ["a.txt"]);
    dir.create_directory_at("many".into()).await.unwrap();
    let many = open(dir, "many", OpenFlags::DIRECTORY, READ | DescriptorFlags::MUTATE_DIRECTORY).await.unwrap();
    assert_eq!(many.get_flags().await.unwrap(), READ | DescriptorFlags::MUTATE_DIRECTORY);
    assert!(listed(&many).await.is_empty());
    let names: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
    for name in &names {
        drop(make(&many, name).await);
    }
    assert_eq!(known(listed(&many).await), names);
    for name in &names {
        remove(&many, name).await;
    }
    let a = open(dir, "a.txt", OpenFlags::empty(), READ).await.unwrap();
    let (stream, ended) = a.read_directory();
    assert!(stream.collect().await.is_empty());
    assert!(matches!(ended.await, Err(ErrorCode::NotDirectory)));
    dir.remove_directory_at("many".into()).await.unwrap();
}

async fn names(dir: &Descriptor) {
    dir.create_directory_at("d".into()).await.unwrap();
    assert!(matches!(dir.create_directory_at("d".into()).await, Err(ErrorCode::Exist)));
    drop(make(dir, "d/f").await);
    assert!(matches!(dir.remove_directory_at("d".into()).await, Err(ErrorCode::NotEmpty)));
    assert!(matches!(dir.remove_directory_at("a.txt".into()).await, Err(ErrorCode::NotDirectory)));
    assert!(dir.unlink_file_at("d".into()).await.is_err());
    let d = open(dir, "d", OpenFlags::DIRECTORY, READ | DescriptorFlags::MUTATE_DIRECTORY).await.unwrap();
    d.rename_at("f".into(), dir, "g".into()).await.unwrap();
    assert!(matches!(d.stat_at(HERE, "f".into()).await, Err(ErrorCode::NoEntry)));
    assert!(matches!(d.rename_at("f".into(), dir, "g".into()).await, Err(ErrorCode::NoEntry)));
    assert!(matches!(dir.stat_at(HERE, "g".into()).await.unwrap().type_, DescriptorType::RegularFile));
    remove(dir, "g").await;
    dir.remove_directory_at("d".into()).await.unwrap();
    let wrong: [(&str, ErrorCode); 5] = [
        ("", ErrorCode::NoEntry),
        (".", ErrorCode::Exist),
        ("..", ErrorCode::NotPermitted),
        ("/", ErrorCode::NotPermitted),
        ("a.txt", ErrorCode::Exist),
    ];
    for (path, error) in wrong {
        let made = dir.create_directory_at(path.into()).await;
        assert!(made.as_ref().is_err_and(|told| format!("{told:?}") == format!("{error:?}")), "{path:?}: {made:?}");
    }
    assert!(matches!(dir.remove_directory_at(".".into()).await, Err(ErrorCode::Invalid | ErrorCode::Access)));
    for path in ["..", "/"] {
        assert!(matches!(dir.remove_directory_at(path.into()).await, Err(ErrorCode::NotPermitted)), "{path:?}");
    }
    for path in ["", "none"] {
        assert!(matches!(dir.unlink_file_at(path.into()).await, Err(ErrorCode::NoEntry)), "{path:?}");
    }
}

async fn links(dir: &Descriptor) {
    dir.link_at(HERE, "a.txt".into(), dir, "b".into()).await.unwrap();
    let (a, b) = (dir.stat_at(HERE, "a.txt".into()).await.unwrap(), dir.stat_at(HERE, "b".into()).await.unwrap());
    assert_eq!((a.link_count, b.link_count), (2, 2));
    let hash = |path: &str| dir.metadata_hash_at(HERE, path.to_owned());
    let (one, two) = (hash("a.txt").await.unwrap(), hash("b").await.unwrap());
    assert_eq!((one.lower, one.upper), (two.lower, two.upper));
    remove(dir, "b").await;

    dir.symlink_at("a.txt".into(), "s".into()).await.unwrap();
    assert_eq!(dir.readlink_at("s".into()).await.unwrap(), "a.txt");
    assert!(matches!(dir.stat_at(HERE, "s".into()).await.unwrap().type_, DescriptorType::SymbolicLink));
    let followed = dir.stat_at(PathFlags::SYMLINK_FOLLOW, "s".into()).await.unwrap();
    assert!(matches!(followed.type_, DescriptorType::RegularFile));
    assert!(matches!(open(dir, "s", OpenFlags::empty(), READ).await, Err(ErrorCode::Loop)));
    let through = dir.open_at(PathFlags::SYMLINK_FOLLOW, "s".into(), OpenFlags::empty(), READ).await.unwrap();
    assert_eq!(read(&through, 0).await.unwrap(), b"test-a\n");
    assert!(matches!(dir.readlink_at("a.txt".into()).await, Err(ErrorCode::Invalid)));
    remove(dir, "s").await;
}

async fn times(dir: &Descriptor) {
    let c = make(dir, "c").await;
    let at = |seconds| NewTimestamp::Timestamp(Instant { seconds, nanoseconds: 7_000 });
    c.set_times(at(1_000), at(2_000)).await.unwrap();
    let stat = c.stat().await.unwrap();
    let told = |instant: Option<Instant>| instant.map(|instant| (instant.seconds, instant.nanoseconds));
    assert_eq!(told(stat.data_access_timestamp), Some((1_000, 7_000)));
    assert_eq!(told(stat.data_modification_timestamp), Some((2_000, 7_000)));
    dir.set_times_at(HERE, "c".into(), NewTimestamp::NoChange, NewTimestamp::Now).await.unwrap();
    let stat = c.stat().await.unwrap();
    assert_eq!(told(stat.data_access_timestamp), Some((1_000, 7_000)));
    assert_ne!(told(stat.data_modification_timestamp), Some((2_000, 7_000)));
    remove(dir, "c").await;
}

/// Nothing leads out of the directory.
async fn outside(dir: &Descriptor) {
    for path in ["..", "../given/a.txt", "/", "/etc/passwd", "./../.."] {
        assert!(matches!(open(dir, path, OpenFlags::empty(), READ).await, Err(ErrorCode::NotPermitted)), "{path}");
        assert!(matches!(dir.stat_at(HERE, path.to_owned()).await, Err(ErrorCode::NotPermitted)), "{path}");
        let linked = dir.link_at(HERE, "a.txt".into(), dir, path.to_owned()).await;
        assert!(matches!(linked, Err(ErrorCode::NotPermitted)), "{path}: {linked:?}");
    }
    assert!(matches!(open(dir, "", OpenFlags::empty(), READ).await, Err(ErrorCode::NoEntry)));
    dir.symlink_at("../..".into(), "up".into()).await.unwrap();
    let through = dir.open_at(PathFlags::SYMLINK_FOLLOW, "up".into(), OpenFlags::empty(), READ).await;
    assert!(matches!(through, Err(ErrorCode::NotPermitted)));
    remove(dir, "up").await;
}
