//! Writing and finding `admin.json`: order of places, permissions, owners.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use refrain_api::Token;
use refrain_api::discovery::{
    ADMIN_FILE, AdminFile, FindError, Query, ReadError, WriteError, find, read, read_runtime, remove_own, runtime_dir,
    write, write_runtime,
};
use tempfile::TempDir;

fn admin(address: &str) -> AdminFile {
    AdminFile { address: address.to_owned(), token: Token::of([7; 32]) }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn query(place: &TempDir) -> Query {
    Query { working_dir: place.path().join("work"), runtime_dir: place.path().join("run"), ..Query::default() }
}

#[test]
fn the_file_is_readable_by_its_owner_alone_whatever_was_there() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(ADMIN_FILE), "old").unwrap();
    let path = write(dir.path(), &admin("127.0.0.1:7070")).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(read(&path).unwrap(), admin("127.0.0.1:7070"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary is left");
    let text = fs::read_to_string(&path).unwrap();
    let token = "07".repeat(32);
    assert_eq!(text, format!("{{\n  \"address\": \"127.0.0.1:7070\",\n  \"token\": \"{token}\"\n}}\n"));
}

#[test]
fn the_runtime_folder_is_made_for_its_owner_alone_and_refused_otherwise() {
    let place = TempDir::new().unwrap();
    let dir = place.path().join("refrain");
    write_runtime(&dir, &admin("a:1")).unwrap();
    assert_eq!(mode(&dir), 0o700);
    write_runtime(&dir, &admin("a:2")).unwrap();
    assert_eq!(read_runtime(&dir).unwrap().address, "a:2");
    set_mode(&dir, 0o755);
    let error = write_runtime(&dir, &admin("a:3")).unwrap_err();
    assert!(matches!(error, WriteError::Folder(ReadError::Mode { mode: 0o755, .. })), "{error}");
    assert!(matches!(read_runtime(&dir), Err(ReadError::Mode { .. })));
    let link = place.path().join("link");
    set_mode(&dir, 0o700);
    symlink(&dir, &link).unwrap();
    assert!(matches!(write_runtime(&link, &admin("a:3")), Err(WriteError::Folder(ReadError::Io { .. }))));
}

#[test]
fn a_file_that_others_can_read_is_not_used() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), &admin("a:1")).unwrap();
    for wrong in [0o640, 0o604, 0o620, 0o666] {
        set_mode(&path, wrong);
        assert!(matches!(read(&path), Err(ReadError::Mode { mode, .. }) if mode == wrong), "{wrong:o}");
    }
    set_mode(&path, 0o400);
    assert!(read(&path).is_ok());
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(read(&link), Err(ReadError::Io { .. })), "a link is not followed");
}

#[test]
fn a_file_has_at_most_4096_bytes() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), &admin("a:1")).unwrap();
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str(&" ".repeat(4_096 - text.len()));
    fs::write(&path, &text).unwrap();
    assert!(read(&path).is_ok());
    fs::write(&path, format!("{text} ")).unwrap();
    assert!(matches!(read(&path), Err(ReadError::TooLarge { .. })));
}

#[test]
fn the_runtime_place_follows_xdg_when_it_is_absolute() {
    assert_eq!(runtime_dir(Some("/run/user/7")), Path::new("/run/user/7/refrain"));
    for unusable in [None, Some(""), Some("relative")] {
        let dir = runtime_dir(unusable);
        assert!(dir.to_str().unwrap().starts_with("/tmp/refrain-"), "{dir:?}");
    }
}

#[test]
fn places_are_tried_in_order() {
    let place = TempDir::new().unwrap();
    let mut query = query(&place);
    let error = find(&query).unwrap_err();
    assert!(matches!(error, FindError::Nothing { .. }), "{error}");
    assert!(error.to_string().contains("./refrain-data/admin.json") && error.to_string().contains("refrain up"));

    write_runtime(&query.runtime_dir, &admin("run:1")).unwrap();
    assert_eq!(find(&query).unwrap().address, "run:1");

    let local = query.working_dir.join("refrain-data");
    fs::create_dir_all(&local).unwrap();
    write(&local, &admin("local:1")).unwrap();
    let found = find(&query).unwrap();
    assert_eq!((found.address.as_str(), found.source.as_str()), ("local:1", "./refrain-data/admin.json"));

    let data = place.path().join("data");
    fs::create_dir_all(&data).unwrap();
    query.data_dir = Some(data.clone());
    assert!(matches!(find(&query), Err(FindError::NotRunning { dir }) if dir == data), "no falling through");
    write(&data, &admin("data:1")).unwrap();
    assert_eq!(find(&query).unwrap().address, "data:1");
}

#[test]
fn a_file_that_cannot_be_used_is_told_instead_of_another_server_taken() {
    let place = TempDir::new().unwrap();
    let query = query(&place);
    write_runtime(&query.runtime_dir, &admin("run:1")).unwrap();
    let local = query.working_dir.join("refrain-data");
    fs::create_dir_all(&local).unwrap();
    let path = write(&local, &admin("local:1")).unwrap();
    set_mode(&path, 0o644);
    assert!(matches!(find(&query), Err(FindError::Read(ReadError::Mode { .. }))));
    fs::write(&path, "{}").unwrap();
    set_mode(&path, 0o600);
    assert!(matches!(find(&query), Err(FindError::Read(ReadError::Format { .. }))));
}

#[test]
fn a_named_server_takes_its_token_from_a_file_or_from_what_is_known() {
    let place = TempDir::new().unwrap();
    let mut query = query(&place);
    query.server = Some("10.0.0.1:7070".to_owned());
    assert!(matches!(find(&query), Err(FindError::NoToken { .. })));
    write_runtime(&query.runtime_dir, &admin("10.0.0.2:7070")).unwrap();
    assert!(matches!(find(&query), Err(FindError::NoToken { .. })), "another server's token is not sent");
    write_runtime(&query.runtime_dir, &admin("10.0.0.1:7070")).unwrap();
    assert_eq!(find(&query).unwrap().source, "--server");

    let token = place.path().join("token");
    fs::write(&token, format!("{}\n", "ab".repeat(16))).unwrap();
    set_mode(&token, 0o600);
    query.token_file = Some(token.clone());
    assert_eq!(find(&query).unwrap().token.secret(), "ab".repeat(16));
    query.server = None;
    assert!(matches!(find(&query), Err(FindError::NoAddress { .. })));
    fs::write(&token, "short").unwrap();
    assert!(matches!(find(&query), Err(FindError::Token { .. })));
    query.token_file = Some(query.runtime_dir.join(ADMIN_FILE));
    assert_eq!(find(&query).unwrap().address, "10.0.0.1:7070");
}

#[test]
fn a_server_removes_its_own_file_alone() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), &admin("a:1")).unwrap();
    remove_own(dir.path(), &admin("a:2")).unwrap();
    assert!(path.exists());
    remove_own(dir.path(), &admin("a:1")).unwrap();
    assert!(!path.exists());
}
