//! Walking a path from a directory to a name.
//!
//! A path never leaves the directory that it starts from: `..` above it and absolute paths and link targets answer
//! `Perm`, as preview 1 hosts do. A trailing slash asks for a directory and follows a last symbolic link. Work is
//! bounded by the path's length and by the number of links followed.

use super::Fs;
use super::dir::MAX_NAME_BYTES;
use super::inode::{InodeId, Node};
use crate::errno::Errno;

/// The longest path, and the longest target of a symbolic link.
pub const MAX_PATH_BYTES: usize = 4096;

/// How many symbolic links one path may lead through.
pub const MAX_SYMLINKS: usize = 40;

/// What one name of a path costs besides its bytes, in units of one plain instruction: it is looked up in a tree.
const NAME_WORK: u64 = 100;

/// Whether a symbolic link at the end of a path stands for its target or for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The target.
    Yes,
    /// The link itself.
    No,
}

/// Where a path ends.
#[derive(Debug)]
pub(super) enum Located {
    /// It ends in `.` or `..`: a directory without a name of its own.
    Directory(InodeId),
    /// It ends in a name.
    Name(Name),
}

/// A name in a directory, taken or free.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) dir: InodeId,
    pub(super) name: Box<[u8]>,
    pub(super) found: Option<InodeId>,
    /// A slash follows the name. When it is taken, it is a directory's.
    pub(super) slash: bool,
}

impl Fs {
    /// The inode that a path leads to.
    ///
    /// # Errors
    /// What the walk meets: `Noent`, `Notdir`, `Loop`, `Perm`, `Nametoolong`, `Inval` for a zero byte.
    pub fn lookup_at(&self, dir: InodeId, path: &[u8], follow: Follow) -> Result<InodeId, Errno> {
        match self.locate(dir, path, follow)? {
            Located::Directory(found) => Ok(found),
            Located::Name(name) => name.found.ok_or(Errno::Noent),
        }
    }

    pub(super) fn locate(&self, dir: InodeId, path: &[u8], follow: Follow) -> Result<Located, Errno> {
        self.directory(dir)?;
        check_text(path)?;
        let texts = vec![Rest { text: path, slash: false }];
        let walk = Walk { fs: self, trail: vec![dir], texts, links: 0, slash: false };
        walk.run(follow)
    }

    /// A name that must be free, in a directory that takes new names.
    pub(super) fn locate_free(&self, dir: InodeId, path: &[u8]) -> Result<Name, Errno> {
        match self.locate(dir, path, Follow::No)? {
            Located::Name(name) if name.found.is_none() => {
                self.check_alive(name.dir)?;
                Ok(name)
            }
            Located::Name(_) | Located::Directory(_) => Err(Errno::Exist),
        }
    }
}

/// Checks a path, or the target of a symbolic link, as a text of its own.
pub(super) fn check_text(path: &[u8]) -> Result<(), Errno> {
    match path.first() {
        None => Err(Errno::Noent),
        Some(_) if path.len() > MAX_PATH_BYTES => Err(Errno::Nametoolong),
        Some(_) if path.contains(&0) => Err(Errno::Inval),
        Some(b'/') => Err(Errno::Perm),
        Some(_) => Ok(()),
    }
}

struct Walk<'a> {
    fs: &'a Fs,
    /// The directories from the start to where the walk is.
    trail: Vec<InodeId>,
    /// What is left of the path and of the link targets in it, innermost last.
    texts: Vec<Rest<'a>>,
    links: usize,
    slash: bool,
}

/// A text without the slashes that it begins with, and whether there were any.
#[derive(Clone, Copy)]
struct Rest<'a> {
    text: &'a [u8],
    slash: bool,
}

impl<'a> Rest<'a> {
    fn of(text: &'a [u8]) -> Self {
        let start = text.iter().position(|byte| *byte != b'/').unwrap_or(text.len());
        Self { text: &text[start..], slash: start > 0 }
    }
}

struct Component<'a> {
    name: &'a [u8],
    last: bool,
}

impl<'a> Walk<'a> {
    fn run(mut self, follow: Follow) -> Result<Located, Errno> {
        while let Some(component) = self.next() {
            match component.name {
                b"." => {}
                b".." => {
                    self.trail.pop();
                    if self.trail.is_empty() {
                        return Err(Errno::Perm);
                    }
                }
                name if name.len() > MAX_NAME_BYTES => return Err(Errno::Nametoolong),
                name => {
                    let found = self.fs.directory(self.here())?.get(name);
                    if let Some(located) = self.step(&component, found, follow)? {
                        return Ok(located);
                    }
                }
            }
        }
        Ok(Located::Directory(self.here()))
    }

    fn here(&self) -> InodeId {
        *self.trail.last().expect("the walk stops before it leaves its start")
    }

    /// Goes on from a name that leads to `found`, or ends there.
    fn step(
        &mut self,
        component: &Component<'a>,
        found: Option<InodeId>,
        follow: Follow,
    ) -> Result<Option<Located>, Errno> {
        let node = found.map(|id| self.fs.inode(id).map(|inode| &inode.node));
        match node.transpose()? {
            Some(Node::Symlink(target)) if !component.last || self.slash || follow == Follow::Yes => {
                self.links += 1;
                if self.links > MAX_SYMLINKS {
                    return Err(Errno::Loop);
                }
                check_text(target)?;
                self.texts.push(Rest::of(target));
                return Ok(None);
            }
            Some(Node::Directory(_)) if !component.last => {
                self.trail.extend(found);
                return Ok(None);
            }
            Some(Node::File(_)) if !component.last || self.slash => return Err(Errno::Notdir),
            None if !component.last => return Err(Errno::Noent),
            _ => {}
        }
        Ok(Some(Located::Name(Name { dir: self.here(), name: component.name.into(), found, slash: self.slash })))
    }

    /// The next component. After the last one `self.slash` tells whether a slash follows it.
    fn next(&mut self) -> Option<Component<'a>> {
        loop {
            let text = self.texts.pop()?.text;
            if text.is_empty() {
                continue;
            }
            let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            self.texts.push(Rest::of(rest));
            self.fs.walked.add(NAME_WORK + (text.len() - self.texts[self.texts.len() - 1].text.len()) as u64);
            let last = self.texts.iter().all(|rest| rest.text.is_empty());
            if last {
                self.slash |= self.texts.iter().any(|rest| rest.slash);
                self.texts.clear();
            }
            return Some(Component { name, last });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Follow, MAX_PATH_BYTES, MAX_SYMLINKS};
    use crate::errno::Errno;
    use crate::fs::fixture::{create, empty};
    use crate::fs::{Fs, InodeId, MAX_NAME_BYTES, ROOT};

    fn look(fs: &Fs, dir: InodeId, path: &str) -> Result<InodeId, Errno> {
        fs.lookup_at(dir, path.as_bytes(), Follow::Yes)
    }

    /// d/e/f with links: d/up -> .., d/self -> ., link -> d/e
    fn tree() -> (Fs, InodeId, InodeId, InodeId) {
        let mut fs = empty(1 << 30);
        let d = fs.mkdir(ROOT, b"d", 1).unwrap();
        let e = fs.mkdir(d, b"e", 1).unwrap();
        let f = create(&mut fs, "d/e/f");
        fs.symlink(b"..", d, b"up", 1).unwrap();
        fs.symlink(b".", d, b"self", 1).unwrap();
        fs.symlink(b"d/e", ROOT, b"link", 1).unwrap();
        (fs, d, e, f)
    }

    #[test]
    fn dots_and_slashes_and_links_lead_where_they_should() {
        let (fs, d, e, f) = tree();
        for (path, inode) in [
            (".", ROOT),
            ("./", ROOT),
            ("d", d),
            ("d/", d),
            ("d//e/", e),
            ("d/./e/../e/f", f),
            ("d/..", ROOT),
            ("link", e),
            ("link/f", f),
            ("link/..", d),
            ("d/up/d/self/self/e/f", f),
        ] {
            assert_eq!(look(&fs, ROOT, path), Ok(inode), "{path}");
        }
        let link = fs.lookup_at(ROOT, b"link", Follow::No).unwrap();
        assert_ne!(link, e);
        assert_eq!(fs.lookup_at(ROOT, b"link/", Follow::No), Ok(e));
    }

    #[test]
    fn no_path_leaves_the_directory_it_starts_from() {
        let (fs, d, e, _) = tree();
        for (dir, path) in
            [(ROOT, ".."), (ROOT, "d/../.."), (ROOT, "/d"), (d, ".."), (d, "up"), (d, "self/up/d"), (e, "../e/f")]
        {
            assert_eq!(look(&fs, dir, path), Err(Errno::Perm), "{path}");
        }
    }

    #[test]
    fn absolute_link_targets_are_refused() {
        let mut fs = empty(1 << 20);
        assert_eq!(fs.symlink(b"/etc", ROOT, b"l", 1), Err(Errno::Perm));
    }

    #[test]
    fn what_is_not_there_or_no_directory_is_told_apart() {
        let (mut fs, _, _, f) = tree();
        fs.symlink(b"d/e/f", ROOT, b"to_file", 1).unwrap();
        for (path, errno) in [
            ("", Errno::Noent),
            ("x", Errno::Noent),
            ("x/", Errno::Noent),
            ("x/y", Errno::Noent),
            ("d/e/f/", Errno::Notdir),
            ("to_file/", Errno::Notdir),
            ("d/e/f/.", Errno::Notdir),
            ("d/e/f/..", Errno::Notdir),
            ("d\0", Errno::Inval),
        ] {
            assert_eq!(look(&fs, ROOT, path), Err(errno), "{path}");
        }
        assert_eq!(look(&fs, f, "x"), Err(Errno::Notdir));
        assert_eq!(look(&fs, InodeId(999), "x"), Err(Errno::Badf));
    }

    #[test]
    fn forty_links_are_followed_and_forty_one_are_not() {
        let mut fs = empty(1 << 20);
        let file = create(&mut fs, "l0");
        for index in 1..=MAX_SYMLINKS + 1 {
            let (target, name) = (format!("l{}", index - 1), format!("l{index}"));
            fs.symlink(target.as_bytes(), ROOT, name.as_bytes(), 1).unwrap();
        }
        assert_eq!(look(&fs, ROOT, "l40"), Ok(file));
        assert_eq!(look(&fs, ROOT, "l41"), Err(Errno::Loop));
        fs.symlink(b"loop", ROOT, b"loop", 1).unwrap();
        assert_eq!(look(&fs, ROOT, "loop"), Err(Errno::Loop));
        assert_eq!(look(&fs, ROOT, "loop/x"), Err(Errno::Loop));
    }

    #[test]
    fn names_and_paths_have_a_longest_length() {
        let mut fs = empty(1 << 20);
        let name = vec![b'n'; MAX_NAME_BYTES];
        let dir = fs.mkdir(ROOT, &name, 1).unwrap();
        assert_eq!(fs.lookup_at(ROOT, &name, Follow::Yes), Ok(dir));
        let longer = vec![b'n'; MAX_NAME_BYTES + 1];
        assert_eq!(fs.mkdir(ROOT, &longer, 1), Err(Errno::Nametoolong));
        let longest = b"./".repeat(MAX_PATH_BYTES / 2);
        assert_eq!(fs.lookup_at(ROOT, &longest, Follow::Yes), Ok(ROOT));
        let above = [&longest[..], b"/"].concat();
        assert_eq!(fs.lookup_at(ROOT, &above, Follow::Yes), Err(Errno::Nametoolong));
    }
}
