//! Paths that lead out of the directory that they start at, in every function that takes one; paths of the wrong kind, too
//! long ones, and trees and links that make a path much work: the work is the guest's.

mod support;

use refrain_engine::TurnOutcome;
use refrain_kernel::Errno;
use support::pieces::{must, store, times};
use support::script::{Script, guest};
use support::{LIMITS, agree, command, exit_reason, platform};

/// The preopened root of a script's guest, and the folder below it that paths start at.
const ROOT: u32 = 3;
const FOLDER: u32 = 4;
/// All rights but that of writing, which no folder is opened with.
const READ_ONLY: i64 = !(1 << 6);
const PERM: u16 = Errno::Perm as u16;
const NOENT: u16 = Errno::Noent as u16;
const NAMETOOLONG: u16 = Errno::Nametoolong as u16;
/// Where paths are put; what is longer than any goes before.
const PATH: u32 = 32768;
/// Where results go.
const OUT: u32 = 8;
/// Where the names are that are there: `file`, `sub`, `secret`.
const NAMES: u32 = 1024;
const FILE: &str = "1024 4";
const SECRET: &str = "1040 6";

/// `in/file`, `in/sub/`, `secret` with "secret", and in @0 the descriptor of `in`, which is [`FOLDER`].
fn tree() -> Script {
    let mut script = Script::default();
    script.bytes(NAMES, b"file____in/file_secret_in__in/sub___made");
    script.buffer(16, 1040, 6);
    script.call("path_create_directory", &format!("{ROOT} 1032 2"), 0);
    script.call("path_create_directory", &format!("{ROOT} 1051 6"), 0);
    script.call("path_open", &format!("{ROOT} 0 1032 2 2 {READ_ONLY}L -1L 0 0"), 0).expect(0, FOLDER);
    script.call("path_open", &format!("{FOLDER} 0 {FILE} 1 66L 0L 0 0"), 0).call("fd_close", "5", 0);
    script.call("path_open", &format!("{ROOT} 0 {SECRET} 1 66L 0L 0 0"), 0);
    script.call("fd_pwrite", &format!("5 16 1 0L {OUT}"), 0).call("fd_close", "5", 0);
    script.call("path_filestat_set_times", &format!("{ROOT} 0 {SECRET} 77L 77L 5"), 0);
    script
}

/// Every function with this path, which must be refused so.
fn refused(script: &mut Script, path: &[u8], errno: u16) {
    script.bytes(PATH, path);
    let path = format!("{PATH} {}", path.len());
    let mut call = |name: &str, arguments: String| {
        script.call(name, &arguments, errno);
    };
    for follow in [0, 1] {
        for (flags, rights) in [(0, "0L"), (0, "2L"), (1, "66L"), (5, "66L"), (8, "64L"), (2, "0L")] {
            call("path_open", format!("{FOLDER} {follow} {path} {flags} {rights} 0L 0 {OUT}"));
            call("wasix.path_open2", format!("{FOLDER} {follow} {path} {flags} {rights} 0L 0 0 {OUT}"));
        }
        call("path_filestat_get", format!("{FOLDER} {follow} {path} 2048"));
        call("path_filestat_set_times", format!("{FOLDER} {follow} {path} 1L 1L 5"));
        call("path_link", format!("{FOLDER} {follow} {path} {FOLDER} 1060 4"));
    }
    call("path_link", format!("{FOLDER} 0 {FILE} {FOLDER} {path}"));
    call("path_create_directory", format!("{FOLDER} {path}"));
    call("path_remove_directory", format!("{FOLDER} {path}"));
    call("path_unlink_file", format!("{FOLDER} {path}"));
    call("path_readlink", format!("{FOLDER} {path} 2048 64 {OUT}"));
    call("path_symlink", format!("{FILE} {FOLDER} {path}"));
    call("path_rename", format!("{FOLDER} {path} {FOLDER} 1060 4"));
    call("path_rename", format!("{FOLDER} {FILE} {FOLDER} {path}"));
}

/// What is outside is as it was, and nothing was made inside.
fn untouched(script: &mut Script) {
    script.bytes(1060, b"made");
    script.call("path_filestat_get", &format!("{ROOT} 0 {SECRET} 2048"), 0);
    script.expect(2048 + 24, 1).expect(2048 + 32, 6).expect(2048 + 48, 77);
    for folder in [ROOT, FOLDER] {
        script.call("path_filestat_get", &format!("{folder} 0 1060 4 2048"), NOENT);
    }
    script.call("path_filestat_get", &format!("{FOLDER} 0 {FILE} 2048"), 0);
}

#[test]
fn no_path_leaves_its_directory_in_any_function() {
    for path in [
        "..",
        "../",
        "../secret",
        "../made",
        "../in/file",
        "./..",
        ".//..//secret",
        "sub/../../secret",
        "sub/.././../made",
        "sub/../sub/../../in",
        "../../../../../../../../etc/passwd",
        "/",
        "/..",
        "/secret",
        "/etc/passwd",
        "//file",
        "/./file",
    ] {
        let mut script = tree();
        refused(&mut script, path.as_bytes(), PERM);
        untouched(&mut script);
        script.run_at_once();
    }
}

#[test]
fn no_link_leads_out_of_the_directory_that_a_path_starts_at() {
    for (target, path) in [
        ("..", "link/secret"),
        ("..", "link/made"),
        ("../", "link/in/file"),
        ("sub/../..", "link/secret"),
        ("sub/../../secret", "link/"),
        ("../in/sub", "link/f"),
        ("link/..", "link/../link/secret"),
    ] {
        let mut script = tree();
        script.bytes(2000, target.as_bytes()).bytes(2100, b"link");
        script.call("path_symlink", &format!("2000 {} {FOLDER} 2100 4", target.len()), 0);
        let errno = if target == "link/.." { Errno::Loop as u16 } else { PERM };
        refused(&mut script, path.as_bytes(), errno);
        untouched(&mut script);
        script.run_at_once();
    }
    let mut script = tree();
    for target in ["/", "/etc/passwd", "//", "/in/file"] {
        script.bytes(2000, target.as_bytes());
        script.call("path_symlink", &format!("2000 {} {FOLDER} 1060 4", target.len()), PERM);
    }
    untouched(&mut script);
    script.run_at_once();
}

#[test]
fn texts_that_are_no_path_are_told_apart() {
    let long = b"n".repeat(4097);
    let name = b"n".repeat(256);
    for (path, errno) in [
        (&b""[..], NOENT),
        (b"fi\0le", Errno::Inval as u16),
        (b"\0", Errno::Inval as u16),
        (b"\xff\xfe", Errno::Ilseq as u16),
        (b"a\xc3", Errno::Ilseq as u16),
        (b"\xed\xa0\x80", Errno::Ilseq as u16),
        (&long, NAMETOOLONG),
        (&name, NAMETOOLONG),
    ] {
        let mut script = tree();
        refused(&mut script, path, errno);
        untouched(&mut script);
        script.run_at_once();
    }
}

/// The outcome of a module whose `_start` is this, which must end well.
fn outcome(imports: &str, body: &str) -> TurnOutcome {
    let module = command(imports, &format!("(local $n i32) {body}"));
    let outcome = agree(&platform(), &module, guest(), LIMITS, &[vec![]]).remove(0);
    assert_eq!(exit_reason(&outcome).as_deref(), Some("exited with code 0"));
    outcome
}

#[test]
fn a_path_through_forty_links_of_four_kibibytes_costs_what_it_is() {
    // 0, and beside it 40 links A, B, ... each "0/../0/../ ... " and then the link before it; the first leads to 0.
    let mut body = store(0, b"0") + &must("(call $path_create_directory (i32.const 3) (i32.const 0) (i32.const 1))", 0);
    body += &store(1024, &b"0/../".repeat(819));
    for link in 0..40u8 {
        let name = 65 + link;
        let last = if link == 0 { b'0' } else { name - 1 };
        body += &store(1024 + 4095, &[last]);
        body += &store(0, &[name]);
        body += &must(
            "(call $path_symlink (i32.const 1024) (i32.const 4096) (i32.const 3) (i32.const 0) (i32.const 1))",
            0,
        );
    }
    let stat = "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16384))";
    let imports = "path_create_directory path_symlink path_filestat_get";
    let fuel = |count| outcome(imports, &format!("{body} {}", times(count, &must(stat, 0)))).fuel;
    let (one, eleven) = (fuel(1), fuel(11));
    // 1638 names in each of 40 texts.
    let each = (eleven - one) / 10;
    assert!((40 * 1638 * 100..40 * 1638 * 200).contains(&each), "{each}");
}

#[test]
fn slashes_of_one_text_are_not_looked_at_for_each_name_of_another() {
    // A link to "./././ ..." in a path whose rest is four thousand slashes.
    let mut body =
        store(1024, &b"./".repeat(2047)) + &store(0, b"l") + &store(8192, b"l") + &store(8192 + 1, &[b'/'; 4000]);
    body +=
        &must("(call $path_symlink (i32.const 1024) (i32.const 4094) (i32.const 3) (i32.const 0) (i32.const 1))", 0);
    let stat =
        "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 8192) (i32.const 4001) (i32.const 16384))";
    // Were they, this would be eighty billion bytes.
    outcome("path_symlink path_filestat_get", &format!("{body} {}", times(1000, &must(stat, 0))));
}

#[test]
fn renaming_deep_in_a_tree_costs_what_the_depth_is() {
    // Each folder is made in the one before it, by its descriptor, so that no path is long.
    let mut body = store(0, b"dxyz");
    let make = "(call $path_create_directory (i32.const 3) (i32.const 0) (i32.const 1))";
    let open = format!(
        "(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2) (i64.const {READ_ONLY})
        (i64.const -1) (i32.const 0) (i32.const 8))"
    );
    let step = must(make, 0) + &must(&open, 0) + &must("(call $fd_renumber (i32.load (i32.const 8)) (i32.const 3))", 0);
    body += &times(2000, &step);
    body += &must("(call $path_create_directory (i32.const 3) (i32.const 1) (i32.const 1))", 0);
    // x becomes y and x again.
    let rename = |from: u32, to: u32| {
        let call = format!(
            "(call $path_rename (i32.const 3) (i32.const {from}) (i32.const 1) (i32.const 3) (i32.const {to}) (i32.const 1))"
        );
        must(&call, 0)
    };
    let imports = "path_create_directory path_open fd_renumber path_rename";
    let fuel = |count| outcome(imports, &format!("{body} {}", times(count, &(rename(1, 2) + &rename(2, 1))))).fuel;
    let each = (fuel(11) - fuel(1)) / 20;
    assert!((2000 * 50..2000 * 60).contains(&each), "{each}");
}
