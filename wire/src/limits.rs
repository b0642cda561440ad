//! Bounds of every frame, checked before memory is allocated for it.

/// The most payload bytes in one record: 256 KiB.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;
/// The most record bytes, headers included, in one batch: 1 MiB.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The most batches in one entry.
pub const MAX_BATCHES_PER_ENTRY: usize = 256;
/// The most submissions merged into one entry.
pub const MAX_SUBMISSIONS_PER_ENTRY: usize = 1024;
/// The most bytes in one entry: four full batches and their frames fit, and so do 256 small ones.
pub const MAX_ENTRY_BYTES: usize = 4 * MAX_BATCH_BYTES + 64 * 1024;
/// The most seats of a group.
pub const MAX_SEATS: u8 = 7;
/// The longest service name, `namespace/name`, in bytes.
pub const MAX_SERVICE_NAME_BYTES: usize = 128;
