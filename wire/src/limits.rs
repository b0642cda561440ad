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
/// The most payload bytes of one effect; what is longer is several effects.
pub const MAX_EFFECT_BYTES: usize = 256 * 1024;

/// The most groups of a shard.
pub const MAX_GROUPS: usize = 65_536;
/// The most versions of a stateless service.
pub const MAX_RELEASES: usize = 16;
/// The longest version, in bytes.
pub const MAX_VERSION_BYTES: usize = 64;
/// The longest text in a message between nodes: a reason, a problem.
pub const MAX_TEXT_BYTES: usize = 512;
/// What a frame may have besides its bulk: fields, counts, lengths.
const FRAME_SHARE_BYTES: usize = 64 * 1024;
/// The most payload bytes in a frame of Raft: 1 MiB of entries, or the one entry that is larger.
pub const MAX_RAFT_FRAME_BYTES: usize = MAX_ENTRY_BYTES + MAX_PIECE_BYTES;
/// The most payload bytes in a frame to or from the leader: a full submission fits.
pub const MAX_UPLINK_FRAME_BYTES: usize = MAX_SUBMISSION_BYTES + FRAME_SHARE_BYTES;
/// The most payload bytes in a frame of a feed: a full entry fits.
pub const MAX_FEED_FRAME_BYTES: usize = MAX_ENTRY_BYTES + FRAME_SHARE_BYTES;
/// The most payload bytes in a frame of votes: a part of a list. A vote waits behind at most one of them.
pub const MAX_VOTES_FRAME_BYTES: usize = MAX_LIST_PART_BYTES;
/// The most payload bytes in a frame of a fetch: a full entry with its share fits, and so does a piece.
pub const MAX_FETCH_FRAME_BYTES: usize = MAX_FETCH_ENTRIES_BYTES + MAX_FETCH_ENTRIES * 12 + FRAME_SHARE_BYTES;
/// The most bytes of one piece of something large.
pub const MAX_PIECE_BYTES: usize = 1024 * 1024;
/// The most bytes of entries in one answer to a fetch.
pub const MAX_FETCH_ENTRIES_BYTES: usize = MAX_ENTRY_BYTES;
/// The most entries in one answer to a fetch.
pub const MAX_FETCH_ENTRIES: usize = 16_384;
/// The most groups in one renewal of a lease: all of them.
pub const MAX_RENEW_GROUPS: usize = MAX_GROUPS;
/// The most replicas in one report of progress.
pub const MAX_PROGRESS: usize = 4096;
/// The most bytes of one part of a list, its fields included. An effect with a full payload fits four times.
pub const MAX_LIST_PART_BYTES: usize = 1024 * 1024 + 64 * 1024;
/// The most bytes of the state of a shard in a feed: 1 KiB for each of the most groups.
pub const MAX_STATE_BYTES: usize = MAX_GROUPS * 1024;
/// What the lists that arrive on one stream may hold until they are whole, for services with default limits: what the
/// guest's windows hold together (256 MiB, for a guest may fill all of them in one turn), and a share for entries.
/// Below that a turn could be agreed on and never be handed out. Who serves others takes their `socket-buffers`.
pub const DEFAULT_LIST_BYTES: usize = 272 * 1024 * 1024;
/// The longest address of a node, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 255;
