//! Examines retired replicas and writes their bundles, one after another, on threads of its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use refrain_api::{FORENSIC_REPORT_FILE, FORENSICS_FOLDER, ForensicHost, ForensicReport, ForensicState};
use refrain_engine::checkpoint::{Captured, CheckpointStore, Manifest};
use refrain_engine::replica::{Remains, Retired};

use crate::forensics::{MANIFEST_FILE, STATE_FOLDER};

/// The most bundles of a data folder.
const MAX_BUNDLES: usize = 16;
/// The most bytes of all of them on the disk; the newest is kept all the same.
const MAX_BYTES: u64 = 1 << 30;
/// The most bytes of a state, before compression; of a larger one the digests are kept alone.
const MAX_STATE_BYTES: u64 = 512 << 20;
/// Replicas that may wait to be examined, in all; they hold their memory meanwhile.
const MAX_WAITING: usize = 8;
/// How long the turn that a replica is in may go on.
const PATIENCE: Duration = Duration::from_secs(10);
const NICE: i32 = 19;

static WAITING: AtomicUsize = AtomicUsize::new(0);
/// One bundle is written at a time.
static WRITING: Mutex<()> = Mutex::new(());

/// Takes a replica over. Called on a thread of the engine.
pub(super) fn keep(data_dir: PathBuf, report: ForensicReport, retired: Option<Retired>) {
    if WAITING.fetch_add(1, Ordering::AcqRel) >= MAX_WAITING {
        WAITING.fetch_sub(1, Ordering::AcqRel);
        tracing::warn!(service = report.service, seat = report.seat, "no forensics: too many replicas wait for theirs");
        return;
    }
    let examine = move || {
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::warn!(%error, "forensics are written at normal priority");
        }
        let one_at_a_time = WRITING.lock();
        let (service, seat) = (report.service.clone(), report.seat);
        match write(&data_dir, report, retired) {
            Ok(path) => tracing::warn!(service, seat, path = %path.display(), "forensics of the replica are kept"),
            Err(error) => tracing::warn!(service, seat, %error, "no forensics of the replica"),
        }
        drop(one_at_a_time);
        WAITING.fetch_sub(1, Ordering::AcqRel);
    };
    if let Err(error) = std::thread::Builder::new().name("forensics".into()).spawn(examine) {
        WAITING.fetch_sub(1, Ordering::AcqRel);
        tracing::warn!(%error, "no forensics: no thread for them");
    }
}

fn write(data_dir: &Path, mut report: ForensicReport, retired: Option<Retired>) -> io::Result<PathBuf> {
    report.host = host();
    report.engine.program = program();
    report.unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let all = data_dir.join(FORENSICS_FOLDER);
    let service = all.join(&report.service);
    let (folder, part) = (service.join(report.folder_name()), service.join(format!(".{}", report.folder_name())));
    remove_parts(&all)?;
    fs::create_dir_all(&part)?;
    let written = fill(&part, &mut report, retired).and_then(|()| {
        remove(&folder)?;
        fs::rename(&part, &folder)
    });
    if let Err(error) = written {
        drop(remove(&part));
        return Err(error);
    }
    tidy(data_dir, &folder)?;
    Ok(folder)
}

/// Writes a bundle's files.
fn fill(folder: &Path, report: &mut ForensicReport, retired: Option<Retired>) -> io::Result<()> {
    match retired.map(|retired| retired.examine(PATIENCE)) {
        None => report.note = Some("the replica was gone already".into()),
        Some(Err(reason)) => report.note = Some(format!("its state could not be had: {reason}")),
        Some(Ok(remains)) => {
            let (state, note) = keep_state(folder, &remains)?;
            (report.state, report.note) = (Some(state), note);
        }
    }
    let text = serde_json::to_vec_pretty(report).map_err(io::Error::other)?;
    write_file(&folder.join(FORENSIC_REPORT_FILE), &text)
}

fn keep_state(folder: &Path, remains: &Remains) -> io::Result<(ForensicState, Option<String>)> {
    let Remains { captured, with_stack } = remains;
    let manifest = seal(captured);
    write_file(&folder.join(MANIFEST_FILE), manifest.bytes())?;
    let bytes = manifest.state_bytes();
    let note = if bytes > MAX_STATE_BYTES {
        Some(format!("{bytes} bytes of state, more than {MAX_STATE_BYTES}: digests alone"))
    } else {
        // Digests are worth a lot without the bytes.
        let place = folder.join(STATE_FOLDER);
        let kept = CheckpointStore::open(&place).and_then(|store| store.save(captured)).err();
        if kept.is_some() {
            remove(&place)?;
        }
        kept.map(|error| format!("its bytes could not be written: {error}"))
    };
    let parts = manifest.parts();
    let state = ForensicState {
        position: parts.position.0,
        running_digest: blake3::Hash::from_bytes(parts.running.0).to_string(),
        root: manifest.root().to_string(),
        with_stack: *with_stack,
        bytes_kept: note.is_none(),
        bytes,
    };
    Ok((state, note))
}

fn seal(captured: &Captured) -> Manifest {
    let Ok(manifest) = captured.seal(|_, _| Ok::<(), std::convert::Infallible>(()));
    manifest
}

/// Removes the oldest bundles beyond the limits, never `newest`.
fn tidy(data_dir: &Path, newest: &Path) -> io::Result<()> {
    let mut older: Vec<PathBuf> = ForensicReport::list(data_dir)?.into_iter().map(|(path, _)| path).collect();
    older.retain(|path| path != newest);
    let mut kept = size(newest)?;
    for (index, path) in older.iter().rev().enumerate() {
        let more = size(path)?;
        if index + 1 >= MAX_BUNDLES || kept + more > MAX_BYTES {
            remove(path)?;
        } else {
            kept += more;
        }
    }
    Ok(())
}

/// Removes what a crash left half written. One bundle is written at a time, so none of it is anybody's.
fn remove_parts(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            remove(&entry.path())?;
        } else if entry.file_type()?.is_dir() && !entry.path().join(FORENSIC_REPORT_FILE).exists() {
            remove_parts(&entry.path())?;
        }
    }
    Ok(())
}

fn size(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn host() -> ForensicHost {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    ForensicHost {
        name: read("/proc/sys/kernel/hostname").trim().to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
    }
}

/// The digest of the program that runs.
fn program() -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open("/proc/self/exe").ok()?;
    io::copy(&mut file, &mut hasher).ok()?;
    Some(hasher.finalize().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_api::ForensicEngine;

    fn report(number: u64) -> ForensicReport {
        ForensicReport {
            service: "tests/one".into(),
            group: 1,
            seat: 2,
            incarnation: 1,
            node: 1,
            position: number,
            voted: "00".into(),
            agreed: "11".into(),
            recorded_at: number + 1,
            state: None,
            note: None,
            checkpoint: None,
            module: String::new(),
            bundle: String::new(),
            engine: ForensicEngine { version: "0".into(), program: None, key: String::new() },
            host: ForensicHost::default(),
            unix_seconds: 0,
        }
    }

    #[test]
    fn bundles_are_bounded_and_the_oldest_go_first() {
        let data = tempfile::tempdir().unwrap();
        for number in 1..=MAX_BUNDLES as u64 + 3 {
            let path = write(data.path(), report(number), None).unwrap();
            assert_eq!(path, data.path().join(format!("forensics/tests/one/{number}-seat2")));
        }
        let left: Vec<u64> = ForensicReport::list(data.path()).unwrap().iter().map(|(_, kept)| kept.position).collect();
        assert_eq!(left, (4..=MAX_BUNDLES as u64 + 3).collect::<Vec<_>>());
        let kept = ForensicReport::read(&data.path().join("forensics/tests/one/5-seat2")).unwrap();
        assert_eq!(kept.note.as_deref(), Some("the replica was gone already"));
        assert!(kept.engine.program.is_some() && !kept.host.name.is_empty() && kept.unix_seconds > 0);
    }

    #[test]
    fn what_a_crash_left_half_written_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let left = data.path().join("forensics/tests/other/.9-seat1");
        fs::create_dir_all(left.join("state")).unwrap();
        write(data.path(), report(1), None).unwrap();
        let path = write(data.path(), report(2), None).unwrap();
        assert!(!left.exists() && path.exists());
        assert_eq!(ForensicReport::list(data.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("forensics"), b"a file in the way").unwrap();
        assert!(write(data.path(), report(1), None).is_err());
    }
}
