//! Opening a log: read, then make durable what was read, then note the start, then tidy up and begin.
//!
//! What a killed process wrote but did not sync can be read back although it is not durable. So the last segment
//! is synced before anything that was read from it is believed; earlier ones were synced when they ended.

use std::sync::Arc;

use refrain_wire::Generation;

use super::{Durability, SegmentLog, SegmentOptions};
use crate::disk::{Disk, Entropy};
use crate::flush::Exec;
use crate::index::Index;
use crate::meta::{META_FILE, Meta, MetaFile};
use crate::recovery::{OpenError, Recovered, io_error, recover};
use crate::segment::segment_sequence;
use crate::shared::Shared;
use crate::writer::{Shape, WriteError, Writer};

pub(super) fn open(disk: Arc<dyn Disk>, exec: &dyn Exec, options: SegmentOptions) -> Result<SegmentLog, OpenError> {
    let (mut meta_file, mut meta) = open_meta(&*disk, &options.entropy)?;
    let purged = meta.purged.map_or(0, |id| id.index + 1);
    let durable = meta.committed.map_or(0, |id| id.index + 1);
    let mut recovered = recover(&*disk, purged, durable)?;
    settle_tail(&*disk, &recovered)?;
    note_start(&*disk, &mut meta_file, &mut meta, &options)?;
    let stale = std::mem::take(&mut recovered.stale);
    let durability = options.durability;
    let mut writer = writer(disk.clone(), options, meta_file, meta, recovered);
    // First, because what they take may be the space that a new segment needs.
    for name in &stale {
        disk.remove(name).map_err(io_error(&*disk, name, "remove"))?;
    }
    disk.sync_folder().map_err(io_error(&*disk, "", "sync"))?;
    begin_segment(&mut writer)?;
    let shared = writer.shared.clone();
    let wake = exec.start("refrain-flush", Box::new(move || writer.run())).map_err(io_error(
        &*disk,
        "",
        "start the flush thread of",
    ))?;
    Ok(SegmentLog { disk, shared, wake, durability })
}

fn open_meta(disk: &dyn Disk, entropy: &Entropy) -> Result<(MetaFile, Meta), OpenError> {
    if let Some((mut file, meta)) = MetaFile::open(disk)? {
        file.mend(disk, &meta)?;
        return Ok((file, meta));
    }
    let names = disk.list().map_err(io_error(disk, "", "list files"))?;
    if names.iter().any(|name| segment_sequence(name).is_some()) {
        return Err(OpenError::MissingMeta { path: disk.path(META_FILE) });
    }
    let meta = Meta::new(new_generation(disk, entropy)?);
    Ok((MetaFile::create(disk, &meta)?, meta))
}

fn new_generation(disk: &dyn Disk, entropy: &Entropy) -> Result<Generation, OpenError> {
    let mut bytes = [0; 16];
    entropy(&mut bytes).map_err(io_error(disk, "", "get randomness for"))?;
    Ok(Generation(bytes))
}

/// Makes what was read durable and cuts a torn tail.
fn settle_tail(disk: &dyn Disk, recovered: &Recovered) -> Result<(), OpenError> {
    let Some(last) = recovered.segments.last() else { return Ok(()) };
    if recovered.torn_bytes > 0 {
        tracing::warn!(
            segment = %disk.path(&last.name).display(),
            offset = last.end,
            index = recovered.next,
            "a write that was never acknowledged is cut off the log's end"
        );
        last.file.set_len(last.end).map_err(io_error(disk, &last.name, "cut"))?;
    }
    last.file.sync().map_err(io_error(disk, &last.name, "sync"))
}

fn note_start(
    disk: &dyn Disk,
    file: &mut MetaFile,
    meta: &mut Meta,
    options: &SegmentOptions,
) -> Result<(), OpenError> {
    let before = meta.clone();
    if meta.unsynced {
        meta.generation = new_generation(disk, &options.entropy)?;
        tracing::warn!(
            generation = %meta.generation,
            "the log was written without syncs and not closed: it gets a new generation"
        );
    }
    meta.unsynced = options.durability == Durability::None;
    if *meta == before {
        return Ok(());
    }
    file.write(meta, true).map_err(io_error(disk, META_FILE, "write"))
}

fn writer(
    disk: Arc<dyn Disk>,
    options: SegmentOptions,
    meta_file: MetaFile,
    meta: Meta,
    recovered: Recovered,
) -> Writer {
    let first = meta.purged.map_or(0, |id| id.index + 1);
    let last = recovered.last.or(meta.purged);
    let mut segments = recovered.segments;
    if let Some(segment) = segments.last_mut().filter(|_| !recovered.writable) {
        segment.capacity = segment.end;
    }
    let index = Index::new(segments, first, recovered.next, last, options.cache_bytes);
    Writer {
        disk,
        shared: Arc::new(Shared::new(index, meta)),
        entropy: options.entropy,
        shape: Shape {
            segment_bytes: options.segment_bytes.max(SegmentLog::min_segment_bytes()),
            sync: options.durability == Durability::Fsync,
        },
        meta_file,
        spare: None,
        next_sequence: recovered.next_sequence,
        durable: recovered.next,
        planned: recovered.next,
        last,
        closed: false,
        observer: options.observer,
    }
}

/// Begins a segment where none can take entries.
fn begin_segment(writer: &mut Writer) -> Result<(), OpenError> {
    if writer.shared.index.lock().free() > 0 {
        return Ok(());
    }
    let disk = writer.disk.clone();
    let begun = writer.prepare(0).and_then(|()| writer.roll(writer.planned));
    begun.map_err(|error| match error {
        WriteError::Failed(fault) => OpenError::Io {
            path: fault.path.clone(),
            action: fault.action,
            source: std::io::Error::new(fault.source.kind(), fault.source.to_string()),
        },
        other => {
            io_error(&*disk, "", "begin a segment of")(std::io::Error::new(std::io::ErrorKind::StorageFull, other))
        }
    })
}
