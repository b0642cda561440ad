//! What Rust's standard library makes of preview 1: files, directories, links, times, the environment, sleeping.
//!
//! The argument is the directory to work in; without one it is the root.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The number of preview 1, where the library has no kind for it.
fn number<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn files(dir: &Path) -> io::Result<()> {
    let path = dir.join("file");
    fs::write(&path, "hello\nworld\n")?;
    assert_eq!(fs::read_to_string(&path)?, "hello\nworld\n");
    let lines: Vec<String> = io::BufReader::new(File::open(&path)?).lines().collect::<io::Result<_>>()?;
    assert_eq!(lines, ["hello", "world"]);
    let mut appending = OpenOptions::new().append(true).open(&path)?;
    appending.write_all(b"!")?;
    assert_eq!(fs::metadata(&path)?.len(), 13);
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    file.seek(SeekFrom::End(-2))?;
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    assert_eq!(rest, "\n!");
    assert_eq!(file.stream_position()?, 13);
    file.set_len(5)?;
    file.sync_all()?;
    file.sync_data()?;
    assert_eq!(fs::read(&path)?, b"hello");
    assert_eq!(kind(OpenOptions::new().write(true).create_new(true).open(&path)), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(File::open(dir.join("none"))), Some(ErrorKind::NotFound));
    assert!(File::open(&path)?.write(b"x").is_err());
    assert_eq!(kind(fs::read(dir)), Some(ErrorKind::IsADirectory));
    assert_eq!(fs::copy(&path, dir.join("copy"))?, 5);
    fs::rename(dir.join("copy"), dir.join("moved"))?;
    assert_eq!(fs::read(dir.join("moved"))?, b"hello");
    fs::hard_link(&path, dir.join("again"))?;
    fs::remove_file(&path)?;
    assert_eq!(fs::read(dir.join("again"))?, b"hello");
    Ok(())
}

fn directories(dir: &Path) -> io::Result<()> {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("a/b/c"))?;
    for number in 0..200 {
        fs::write(tree.join(format!("file {number}")), number.to_string())?;
    }
    let mut names: Vec<String> =
        fs::read_dir(&tree)?.map(|entry| Ok(entry?.file_name().into_string().unwrap())).collect::<io::Result<_>>()?;
    names.sort();
    assert_eq!(names.len(), 201);
    assert_eq!(names[0], "a");
    assert_eq!(number(fs::remove_dir(&tree)), Some(55));
    assert_eq!(kind(fs::create_dir(&tree)), Some(ErrorKind::AlreadyExists));
    assert_eq!(number(fs::read_dir(tree.join("file 1"))), Some(54));
    fs::remove_dir_all(&tree)?;
    assert!(!tree.exists());
    Ok(())
}

fn times(dir: &Path) -> io::Result<()> {
    let path = dir.join("times");
    fs::write(&path, "")?;
    let now = SystemTime::now();
    let modified = fs::metadata(&path)?.modified()?;
    assert!(modified <= now && now.duration_since(modified).unwrap() < Duration::from_secs(60));
    let then = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::options().write(true).open(&path)?.set_modified(then)?;
    assert_eq!(fs::metadata(&path)?.modified()?, then);
    Ok(())
}

fn clocks() {
    let (began, time) = (Instant::now(), SystemTime::now());
    std::thread::sleep(Duration::from_millis(15));
    assert!(began.elapsed() >= Duration::from_millis(15));
    assert!(time.elapsed().unwrap() >= Duration::from_millis(15));
    std::thread::yield_now();
}

fn escapes(dir: &Path) {
    for path in ["../../../../../etc/passwd", "x/../../../../../../etc/passwd"] {
        assert!(fs::read(dir.join(path)).is_err(), "{path} leads out");
        assert!(fs::write(dir.join(path), "").is_err(), "{path} leads out");
    }
}

fn main() -> io::Result<()> {
    let root = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "/".to_owned()));
    let dir = root.join("std.test");
    fs::create_dir(&dir)?;
    files(&dir)?;
    directories(&dir)?;
    times(&dir)?;
    clocks();
    escapes(&dir);
    let unique: std::collections::HashSet<u32> = (0..100).collect();
    assert_eq!(unique.len(), 100);
    println!("std: all checks hold");
    Ok(())
}
