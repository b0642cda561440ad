//! The pure modules inside crates that are not pure as a whole: clippy's bans hold for whole crates, so here the words
//! themselves are looked for.

use anyhow::{Result, ensure};

use crate::workspace::{files, none, read};

/// `folder/src/module` stands for the file `module.rs` and everything below the folder `module`.
const PURE: &[&str] = &[
    "proxy/src/nat",
    "proxy/src/votes",
    "proxy/src/core",
    "proxy/src/proxy_protocol",
    "proxy/http/src/balance/pick",
    "proxy/http/src/balance/retry",
    "proxy/http/src/client/rate",
    "proxy/http/src/edge",
    "proxy/http/src/plan",
    "proxy/http/src/route",
    "sequencer/src/batcher",
    "sequencer/src/office",
    "sequencer/src/shard",
    "sequencer/src/clock",
    "sequencer/src/frame",
    "sequencer/src/meta/codec",
];

/// Files among them that are seams: they hand the outside in as values.
const SEAMS: &[&str] = &["sequencer/src/clock/system.rs"];

/// Words of clocks, threads, sockets, disks, randomness and unordered collections.
const BANNED: &[&str] = &[
    "tokio",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "DefaultHasher",
    "thread",
    "thread_rng",
    "getrandom",
    "OsRng",
    "File",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "rustix",
    "socket2",
];

/// The banned words of a text, with their lines. Comments do not count.
fn banned_words(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        found.extend(words.filter(|word| BANNED.contains(word)).map(|word| (number + 1, word)));
    }
    found
}

fn files_of(module: &str, files: &[String]) -> Vec<String> {
    let (file, folder) = (format!("{module}.rs"), format!("{module}/"));
    files.iter().filter(|path| **path == file || path.starts_with(&folder)).cloned().collect()
}

#[test]
fn pure_modules_name_no_clock_thread_socket_or_unordered_map() -> Result<()> {
    let files = files()?;
    let mut faults = Vec::new();
    for module in PURE {
        let parts = files_of(module, &files);
        if parts.is_empty() {
            faults.push(format!("{module} is not there"));
        }
        for path in parts.iter().filter(|path| !SEAMS.contains(&path.as_str())) {
            let text = read(path)?;
            faults.extend(banned_words(&text).iter().map(|(line, word)| format!("{path}:{line}: {word}")));
        }
    }
    none("a pure module is not pure", &faults)
}

#[test]
fn banned_words_are_found_in_code_and_not_in_comments() -> Result<()> {
    let text = "// An Instant is passed in.\nlet now = Instant::now();\nuse std::{thread, fmt};\nlet threads = 1;\n";
    let found = banned_words(text);
    ensure!(found == [(2, "Instant"), (3, "thread")], "{found:?}");
    Ok(())
}
