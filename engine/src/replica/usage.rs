//! What a guest uses of what its manifest allows.

use crate::host::{Limits, Shared};

/// What a guest uses at the end of a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its linear memories, in bytes.
    pub memory_bytes: u64,
    /// Elements of all of its tables.
    pub table_elements: u64,
    /// Bytes of the writable file layer.
    pub files_bytes: u64,
    /// Files, directories and links that it made.
    pub inodes: u64,
    /// Flows of its clients.
    pub flows: u32,
    /// Its calls outward that are under way or open.
    pub outward: u32,
    /// Descriptors that it has open.
    pub descriptors: u32,
    /// Lines that it wrote in the newest second of log time in which it wrote one.
    pub log_lines: u32,
}

/// What the guest's instance has, as it was when it last began to wait; nothing of a guest that has ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Grown {
    memory_bytes: u64,
    table_elements: u64,
}

impl Grown {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { memory_bytes: limits.memory_bytes(), table_elements: limits.table_elements() }
    }
}

impl Usage {
    pub(super) fn of(shared: &mut Shared) -> Self {
        let Grown { memory_bytes, table_elements } = shared.grown;
        let kernel = shared.kernel();
        Self {
            memory_bytes,
            table_elements,
            files_bytes: kernel.fs().usage().used_bytes,
            inodes: kernel.fs().inodes_made(),
            flows: kernel.flow_count(),
            outward: kernel.calls(),
            descriptors: kernel.descriptor_count(),
            log_lines: kernel.log_lines(),
        }
    }
}
