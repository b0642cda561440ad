//! Bounds of every frame, checked before memory is allocated for it.

/// The most payload bytes in one record: 256 KiB.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;
/// The most record bytes, headers included, in one batch: 1 MiB.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The most batches in one entry.
pub const MAX_BATCHES_PER_ENTRY: usize = 256;
/// What a batch keeps free for the records that the leader adds: origins, ticks, controls.
pub const LEADER_SHARE_BYTES: usize = 16 * 1024;
/// The most record bytes that a submission may have for one group.
pub const MAX_SUBMISSION_BATCH_BYTES: usize = MAX_BATCH_BYTES - LEADER_SHARE_BYTES;
/// The most record bytes of one submission.
pub const MAX_SUBMISSION_BYTES: usize = 4 * MAX_SUBMISSION_BATCH_BYTES;
/// The most groups in one submission; the others of an entry's batches are the leader's.
pub const MAX_SUBMISSION_GROUPS: usize = MAX_BATCHES_PER_ENTRY / 2;
/// The most submissions merged into one entry.
pub const MAX_SUBMISSIONS_PER_ENTRY: usize = 1024;
/// The most bytes in one entry: four full batches and their frames fit, and so do 256 small ones.
pub const MAX_ENTRY_BYTES: usize = 4 * MAX_BATCH_BYTES + 64 * 1024;
/// The most seats of a group.
pub const MAX_SEATS: u8 = 7;
/// The longest service name, `namespace/name`, in bytes.
pub const MAX_SERVICE_NAME_BYTES: usize = 128;
