//! Random operations on the file system and on a simple model side by side: answers, content and tree are equal at
//! every step, the quota is what counting anew gives, and a state that was encoded and decoded goes on alike.

use std::collections::BTreeMap;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;

use super::fixture::{bundle, encoded, read, tree};
use super::{BundleFiles, CHUNK_BYTES, Follow, Fs, OpenFlags, ROOT};
use crate::errno::Errno;

const CHUNK: u64 = CHUNK_BYTES as u64;

#[derive(Clone, Debug)]
enum Op {
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Write(String, u64, usize, u8),
    Append(String, usize, u8),
    SetSize(String, u64),
    Allocate(String, u64, u64),
    Rename(String, String),
    Link(String, String),
    Reload,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4).prop_map(|names| names.join("/"))
}

fn offset() -> impl Strategy<Value = u64> {
    (0..3_u64, 0..9_u64).prop_map(|(chunk, near)| (chunk * CHUNK + near).saturating_sub(4))
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![0..9_usize, CHUNK_BYTES - 2..CHUNK_BYTES + 3, Just(2 * CHUNK_BYTES + 1)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => path().prop_map(Op::Mkdir),
        1 => path().prop_map(Op::Rmdir),
        1 => path().prop_map(Op::Unlink),
        4 => (path(), offset(), len(), 1..9_u8).prop_map(|(p, o, l, b)| Op::Write(p, o, l, b)),
        2 => (path(), len(), 1..9_u8).prop_map(|(p, l, b)| Op::Append(p, l, b)),
        2 => (path(), offset()).prop_map(|(p, o)| Op::SetSize(p, o)),
        1 => (path(), offset(), offset()).prop_map(|(p, o, l)| Op::Allocate(p, o, l)),
        3 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        1 => Just(Op::Reload),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Directory,
    File(usize),
}

/// Whole paths to directories and numbered files; no inodes, no chunks.
#[derive(Default)]
struct Model {
    paths: BTreeMap<String, Kind>,
    files: Vec<Vec<u8>>,
}

impl Model {
    /// Whether the directory of a path is there.
    fn parent(&self, path: &str) -> Result<(), Errno> {
        for (end, _) in path.match_indices('/') {
            match self.paths.get(&path[..end]) {
                None => return Err(Errno::Noent),
                Some(Kind::File(_)) => return Err(Errno::Notdir),
                Some(Kind::Directory) => {}
            }
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Option<Kind>, Errno> {
        self.parent(path)?;
        Ok(self.paths.get(path).copied())
    }

    fn has_entries(&self, dir: &str) -> bool {
        let prefix = format!("{dir}/");
        self.paths.keys().any(|path| path.starts_with(&prefix))
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        if self.get(path)?.is_some() {
            return Err(Errno::Exist);
        }
        self.paths.insert(path.to_owned(), Kind::Directory);
        Ok(())
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        match self.get(path)?.ok_or(Errno::Noent)? {
            Kind::File(_) => return Err(Errno::Notdir),
            Kind::Directory if self.has_entries(path) => return Err(Errno::Notempty),
            Kind::Directory => self.paths.remove(path),
        };
        Ok(())
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        match self.get(path)?.ok_or(Errno::Noent)? {
            Kind::Directory => return Err(Errno::Isdir),
            Kind::File(_) => self.paths.remove(path),
        };
        Ok(())
    }

    /// Opens with create, as every operation on content here does.
    fn content(&mut self, path: &str) -> Result<&mut Vec<u8>, Errno> {
        let number = match self.get(path)? {
            Some(Kind::Directory) => return Err(Errno::Isdir),
            Some(Kind::File(number)) => number,
            None => {
                self.files.push(Vec::new());
                let number = self.files.len() - 1;
                self.paths.insert(path.to_owned(), Kind::File(number));
                number
            }
        };
        Ok(&mut self.files[number])
    }

    fn link(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let kind = self.get(from)?.ok_or(Errno::Noent)?;
        if kind == Kind::Directory {
            return Err(Errno::Perm);
        }
        if self.get(to)?.is_some() {
            return Err(Errno::Exist);
        }
        self.paths.insert(to.to_owned(), kind);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let kind = self.get(from)?.ok_or(Errno::Noent)?;
        let replaced = self.get(to)?;
        if from == to || (replaced == Some(kind) && kind != Kind::Directory) {
            return Ok(());
        }
        if kind == Kind::Directory && to.starts_with(&format!("{from}/")) {
            return Err(Errno::Inval);
        }
        match (kind, replaced) {
            (Kind::File(_), Some(Kind::Directory)) => return Err(Errno::Isdir),
            (Kind::Directory, Some(Kind::File(_))) => return Err(Errno::Notdir),
            (Kind::Directory, Some(_)) if self.has_entries(to) => return Err(Errno::Notempty),
            _ => {}
        }
        let prefix = format!("{from}/");
        let old = std::mem::take(&mut self.paths);
        for (path, kind) in old.into_iter().filter(|(path, _)| path != to) {
            let below = path.strip_prefix(&prefix).map(|rest| format!("{to}/{rest}"));
            let moved = (path == from).then(|| to.to_owned());
            self.paths.insert(moved.or(below).unwrap_or(path), kind);
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::Mkdir(path) => self.mkdir(path),
            Op::Rmdir(path) => self.rmdir(path),
            Op::Unlink(path) => self.unlink(path),
            Op::Rename(from, to) => self.rename(from, to),
            Op::Link(from, to) => self.link(from, to),
            Op::Reload => Ok(()),
            Op::Write(path, offset, len, byte) => {
                let content = self.content(path)?;
                if *len > 0 {
                    let start = usize::try_from(*offset).unwrap();
                    content.resize(content.len().max(start + len), 0);
                    content[start..start + len].fill(*byte);
                }
                Ok(())
            }
            Op::Append(path, len, byte) => {
                let content = self.content(path)?;
                content.resize(content.len() + len, *byte);
                Ok(())
            }
            Op::SetSize(path, size) => {
                self.content(path)?.resize(usize::try_from(*size).unwrap(), 0);
                Ok(())
            }
            Op::Allocate(path, offset, len) => {
                let content = self.content(path)?;
                if *len == 0 {
                    return Err(Errno::Inval);
                }
                let end = usize::try_from(offset + len).unwrap();
                content.resize(content.len().max(end), 0);
                Ok(())
            }
        }
    }

    fn tree(&self) -> Vec<String> {
        let path = |(path, kind): (&String, &Kind)| match kind {
            Kind::Directory => format!("{path}/"),
            Kind::File(_) => path.clone(),
        };
        let mut paths: Vec<String> = self.paths.iter().map(path).collect();
        paths.sort();
        paths
    }
}

fn apply(fs: &mut Fs, op: &Op, bundle: &BundleFiles, now_ns: u64) -> Result<(), Errno> {
    let open = |fs: &mut Fs, path: &String| {
        let opened = fs.open_at(ROOT, path.as_bytes(), Follow::Yes, OpenFlags::CREATE, now_ns);
        opened.map(|opened| opened.inode)
    };
    match op {
        Op::Mkdir(path) => fs.mkdir(ROOT, path.as_bytes(), now_ns).map(|_| ()),
        Op::Rmdir(path) => fs.rmdir(ROOT, path.as_bytes(), now_ns),
        Op::Unlink(path) => fs.unlink(ROOT, path.as_bytes(), now_ns),
        Op::Rename(from, to) => fs.rename(ROOT, from.as_bytes(), ROOT, to.as_bytes(), now_ns),
        Op::Link(from, to) => {
            let (from, to) = (from.as_bytes(), to.as_bytes());
            fs.link(ROOT, from, Follow::No, ROOT, to, now_ns)
        }
        Op::Write(path, offset, len, byte) => {
            let inode = open(fs, path)?;
            fs.write_at(inode, *offset, &vec![*byte; *len], now_ns)
        }
        Op::Append(path, len, byte) => {
            let inode = open(fs, path)?;
            fs.append(inode, &vec![*byte; *len], now_ns).map(|_| ())
        }
        Op::SetSize(path, size) => {
            let inode = open(fs, path)?;
            fs.set_size(inode, *size, now_ns)
        }
        Op::Allocate(path, offset, len) => {
            let inode = open(fs, path)?;
            fs.allocate(inode, *offset, *len, now_ns)
        }
        Op::Reload => {
            let bytes = encoded(fs);
            *fs = Fs::decode(&bytes, bundle).expect("what was encoded decodes");
            assert_eq!(encoded(fs), bytes);
            Ok(())
        }
    }
}

fn compare(fs: &Fs, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(fs.quota.used_bytes, fs.charged_bytes());
    prop_assert_eq!(tree(fs), model.tree());
    for (path, kind) in &model.paths {
        if let Kind::File(number) = kind {
            assert!(read(fs, path) == model.files[*number], "content of {path}");
        }
    }
    Ok(())
}

fn digest(fs: &Fs) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    fs.digest_into(&mut hasher);
    hasher.finalize()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_answer_and_leave_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let content: Vec<u8> = (0..CHUNK_BYTES + 9).map(|i| (i % 250) as u8).collect();
        let bundle = bundle(&[("/a/b", content.clone())]);
        let mut model = Model::default();
        model.mkdir("a").unwrap();
        *model.content("a/b").unwrap() = content;
        let mut fs = Fs::new(&bundle, 1 << 30, 0);
        let mut never_reloaded = fs.clone();
        let mut held = Vec::new();
        for (now_ns, op) in (1..).zip(&ops) {
            prop_assert_eq!(apply(&mut fs, op, &bundle, now_ns), model.apply(op), "{:?}", op);
            compare(&fs, &model)?;
            if matches!(op, Op::Reload) {
                held.push((never_reloaded.clone(), digest(&never_reloaded)));
            } else {
                apply(&mut never_reloaded, op, &bundle, now_ns).ok();
            }
        }
        prop_assert_eq!(encoded(&fs), encoded(&never_reloaded));
        prop_assert_eq!(digest(&fs), digest(&never_reloaded));
        for (clone, then) in held {
            let fresh = Fs::decode(&encoded(&clone), &bundle).expect("what was encoded decodes");
            prop_assert_eq!(digest(&fresh), then, "a held clone has changed");
        }
    }
}
