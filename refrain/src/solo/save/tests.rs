//! What is on the host when a part of what changed cannot be written.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use refrain_kernel::fs::{BundleFiles, Follow, Fs, InodeId, OpenFlags};
use tempfile::TempDir;

use super::super::folders::{Folder, mount};
use super::save;

const NOW: u64 = 1_000_000_000;

/// A folder that was read in, and a program's view of it.
struct Case {
    outer: TempDir,
    fs: Fs,
    mounted: super::Mounted,
    root: InodeId,
}

impl Case {
    /// A folder with these files.
    fn new(files: &[(&str, &str)]) -> Self {
        Self::with(files, |_| {})
    }

    /// A folder with these files, and what is made of it before it is read in.
    fn with(files: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Self {
        let outer = TempDir::new().unwrap();
        let host = outer.path().join("folder");
        for (path, text) in files {
            let path = host.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        prepare(&host);
        let mut fs = Fs::new(&BundleFiles::new([]).unwrap(), 1 << 30, 0);
        let folder = Folder { host, guest: b"/".to_vec(), read_only: false };
        let (preopens, mounted) = mount(&mut fs, &[folder], 1 << 20).unwrap();
        Self { outer, fs, mounted, root: preopens[0].inode }
    }

    fn host(&self, path: &str) -> PathBuf {
        self.outer.path().join("folder").join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.host(path)).unwrap_or_else(|error| format!("{path}: {error}"))
    }

    fn write(&mut self, path: &str, text: &str) {
        let opened = self.fs.open_at(self.root, path.as_bytes(), Follow::No, OpenFlags::CREATE, NOW).unwrap();
        self.fs.set_size(opened.inode, 0, NOW).unwrap();
        self.fs.write_at(opened.inode, 0, text.as_bytes(), NOW).unwrap();
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.fs.rename(self.root, from.as_bytes(), self.root, to.as_bytes(), NOW).unwrap();
    }

    fn size(&mut self, path: &str, bytes: u64) {
        let inode = self.fs.lookup_at(self.root, path.as_bytes(), Follow::No).unwrap();
        self.fs.set_size(inode, bytes, NOW).unwrap();
    }

    fn save(&self) -> Vec<String> {
        save(&self.mounted, &self.fs)
    }

    /// What is in the folder, with what is below it.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut open = vec![self.host("")];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                names.push(path.strip_prefix(self.host("")).unwrap().to_string_lossy().into_owned());
                if path.symlink_metadata().unwrap().is_dir() {
                    open.push(path);
                }
            }
        }
        names.sort();
        names
    }
}

/// Makes a directory of the host something in which nothing can be made, for root too.
fn spoil(dir: &Path) {
    fs::remove_dir_all(dir).unwrap();
    fs::write(dir, "in the way").unwrap();
}

#[test]
fn a_file_that_is_moved_where_it_cannot_be_written_stays_where_it_was() {
    let mut case = Case::new(&[("notes", "the only copy"), ("closed/x", "")]);
    case.rename("notes", "closed/notes");
    spoil(&case.host("closed"));
    let told = case.save();
    assert_eq!(case.text("notes"), "the only copy");
    assert!(told.iter().any(|told| told.contains("closed/notes: cannot be written")), "{told:?}");
    assert!(told.iter().any(|told| told.contains("notes: cannot be removed: it has what could not")), "{told:?}");
}

#[test]
fn a_file_that_cannot_be_moved_is_not_replaced_either() {
    let mut case = Case::new(&[("notes", "the only copy"), ("other", "another"), ("closed/x", "")]);
    case.rename("notes", "closed/notes");
    case.rename("other", "notes");
    spoil(&case.host("closed"));
    let told = case.save();
    assert_eq!(case.text("notes"), "the only copy");
    let kept = case.names().into_iter().find(|name| name.starts_with(".refrain-")).expect("it was staged");
    assert_eq!(case.text(&kept), "another");
    assert!(told.iter().any(|told| told.contains("it is kept as ") && told.ends_with(&kept)), "{told:?}");
}

#[test]
fn a_size_that_no_file_can_have_leaves_the_old_content() {
    let mut case = Case::new(&[("notes", "old")]);
    case.size("notes", i64::MAX as u64);
    let told = case.save();
    assert_eq!(case.names(), ["notes"], "no temporary file is left");
    // tmpfs and XFS do have such files.
    if told.is_empty() {
        assert_eq!(fs::metadata(case.host("notes")).unwrap().len(), i64::MAX as u64);
    } else {
        assert_eq!((case.text("notes").as_str(), told.len()), ("old", 1), "{told:?}");
    }
}

#[test]
fn nothing_is_written_through_a_link_that_is_in_the_way() {
    let mut case = Case::new(&[("kept/a", "a"), ("b", "b")]);
    let outside = case.outer.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a"), "not the program's").unwrap();
    case.write("kept/a", "changed");
    case.write("kept/new", "new");
    case.fs.mkdir(case.root, b"made", NOW).unwrap();
    case.write("made/a", "through the link");
    case.fs.unlink(case.root, b"b", NOW).unwrap();
    fs::remove_dir_all(case.host("kept")).unwrap();
    symlink(&outside, case.host("kept")).unwrap();
    symlink(&outside, case.host("made")).unwrap();
    let told = case.save();
    assert_eq!(fs::read_to_string(outside.join("a")).unwrap(), "not the program's");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(!case.host("b").exists(), "the rest is written all the same");
    for path in ["kept/a", "kept/new", "made", "made/a"] {
        assert!(told.iter().any(|told| told.contains(&format!("{path}: cannot be "))), "{path}: {told:?}");
    }
}

#[test]
fn a_link_that_the_program_made_a_directory_leads_nowhere() {
    let outside = TempDir::new().unwrap();
    let mut case = Case::with(&[("a", "a")], |host| symlink(outside.path(), host.join("x")).unwrap());
    case.fs.unlink(case.root, b"x", NOW).unwrap();
    case.fs.mkdir(case.root, b"x", NOW).unwrap();
    case.write("x/keys", "mine");
    assert_eq!(case.save(), [""; 0]);
    assert_eq!((case.text("x/keys").as_str(), fs::read_dir(outside.path()).unwrap().count()), ("mine", 0));
}

#[test]
fn a_moved_file_takes_its_permissions_along_and_nobodys_rights() {
    let mut case = Case::with(&[("program", "run me")], |host| {
        fs::set_permissions(host.join("program"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    case.rename("program", "moved");
    assert_eq!(case.save(), [""; 0]);
    assert_eq!(fs::metadata(case.host("moved")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(case.names(), ["moved"]);
}

#[test]
fn a_file_with_a_name_elsewhere_is_written_in_place() {
    let mut case = Case::new(&[("a", "old")]);
    fs::hard_link(case.host("a"), case.outer.path().join("elsewhere")).unwrap();
    case.write("a", "new");
    assert_eq!(case.save(), [""; 0]);
    assert_eq!(fs::read_to_string(case.outer.path().join("elsewhere")).unwrap(), "new");
    assert_eq!(case.names(), ["a"]);
}
