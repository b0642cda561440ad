//! What an instance of a component takes from wasmtime's pools, counted before the first one is made.
//!
//! wasmtime's own defaults count an instance as one; a component that rustc makes has three core instances, so that a
//! pool of a thousand holds 333 of them and the rest fail with an error that looks like the guest's fault. Here the pool
//! is cut into slots, each large enough for a usual component, and an instance takes as many slots as it needs: a host
//! that has slots left never fails to make an instance.

use wasmparser::{ComponentInstance, Encoding, Instance, Parser, Payload};
use wasmtime::component::Component;

/// Core instances in a slot. Components from rustc and the C tools have three, those of Python a dozen.
pub(crate) const CORE_INSTANCES_PER_SLOT: u32 = 8;
/// Memories in a slot: each takes 4 GiB of addresses.
pub(crate) const MEMORIES_PER_SLOT: u32 = 1;
/// Tables in a slot.
pub(crate) const TABLES_PER_SLOT: u32 = 4;
/// Slots that a component may take; larger ones are not loaded.
pub(crate) const MOST_SLOTS: u32 = 16;

/// What one instance takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) core_instances: u32,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    /// Bytes of its largest memory at the beginning.
    pub(crate) memory_bytes: u64,
    /// Elements of its largest table at the beginning.
    pub(crate) table_elements: u64,
}

impl Needs {
    /// None for a component that imports core modules: what it needs cannot be known.
    pub(crate) fn of(component: &Component, bytes: &[u8]) -> Option<Self> {
        let required = component.resources_required()?;
        Some(Self {
            core_instances: core_instances(bytes),
            memories: required.num_memories,
            tables: required.num_tables,
            memory_bytes: required.max_initial_memory_size.unwrap_or(0).saturating_mul(65_536),
            table_elements: required.max_initial_table_size.unwrap_or(0),
        })
    }

    /// How many slots that is, at least one.
    pub(crate) fn slots(&self) -> u32 {
        let slots = self.core_instances.div_ceil(CORE_INSTANCES_PER_SLOT);
        let slots = slots.max(self.memories.div_ceil(MEMORIES_PER_SLOT));
        slots.max(self.tables.div_ceil(TABLES_PER_SLOT)).max(1)
    }
}

/// Core instances that one instance of a component makes, with those of components within it. Exact where components
/// are not nested, an upper bound where they are: each nested instance counts as the largest component in reach.
fn core_instances(bytes: &[u8]) -> u32 {
    let mut open: Vec<Frame> = Vec::new();
    let mut total = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { break };
        match (payload, open.last_mut()) {
            (Payload::Version { .. }, _) => open.push(Frame::default()),
            (Payload::InstanceSection(section), Some(frame)) => {
                frame.core +=
                    section.into_iter().filter(|made| matches!(made, Ok(Instance::Instantiate { .. }))).count();
            }
            (Payload::ComponentInstanceSection(section), Some(frame)) => {
                let made = section.into_iter().filter(|made| matches!(made, Ok(ComponentInstance::Instantiate { .. })));
                frame.nested += made.count();
            }
            (Payload::End(_), Some(frame)) => {
                total = frame.total();
                open.pop();
                if let Some(parent) = open.last_mut() {
                    parent.largest = parent.largest.max(total);
                }
            }
            _ => {}
        }
    }
    u32::try_from(total).unwrap_or(u32::MAX)
}

/// A module or component that is being read. Modules make no instances.
#[derive(Default)]
struct Frame {
    /// Core modules that it instantiates.
    core: usize,
    /// Components that it instantiates.
    nested: usize,
    /// Core instances of the largest component defined in it.
    largest: usize,
}

impl Frame {
    fn total(&self) -> usize {
        self.core.saturating_add(self.nested.saturating_mul(self.largest))
    }
}

/// Whether the bytes claim to be a component, a core module, or neither.
pub(crate) fn encoding(bytes: &[u8]) -> Option<Encoding> {
    match Parser::new(0).parse_all(bytes).next()? {
        Ok(Payload::Version { encoding, .. }) => Some(encoding),
        _ => None,
    }
}
