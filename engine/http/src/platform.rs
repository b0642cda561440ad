//! How wasmtime is set up for stateless components.
//!
//! There are two engines: components of WASI 0.2 alone run on one without the machinery of concurrent calls, which each
//! of their calls would pay for; components that use 0.3 run on the other. Both count epochs, neither counts fuel, and
//! both take instances from pools that are cut into slots (`needs`).

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::needs::{CORE_INSTANCES_PER_SLOT, MEMORIES_PER_SLOT, MOST_SLOTS, TABLES_PER_SLOT};

/// Stack of a guest, in bytes.
const WASM_STACK_BYTES: usize = 512 * 1024;
/// The same with room for host functions.
const FIBER_STACK_BYTES: usize = WASM_STACK_BYTES + 512 * 1024;
/// Stacks per slot of the concurrent engine: calls of synchronous functions within one instance take one each.
const CONCURRENT_STACKS_PER_SLOT: u32 = 4;
/// Bytes of a memory that are set back by hand and stay resident, rather than given to the kernel and faulted in again.
const MEMORY_KEEP_RESIDENT: usize = 512 * 1024;
/// The same of a table.
const TABLE_KEEP_RESIDENT: usize = 64 * 1024;
/// Bounds of wasmtime's that ours are to be met before.
const FAR_AWAY: u32 = 10_000;
/// Elements that a table may have.
pub(crate) const TABLE_ELEMENTS: usize = 1024 * 1024;

/// Which machinery a component needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// WASI 0.2 alone.
    Plain,
    /// WASI 0.3: asynchronous functions, streams and futures.
    Concurrent,
}

/// Both engines.
pub(crate) struct Engines {
    pub(crate) plain: Engine,
    pub(crate) concurrent: Engine,
}

impl Engines {
    pub(crate) fn new(slots: u32) -> wasmtime::Result<Self> {
        Ok(Self {
            plain: Engine::new(&config(slots, Flavour::Plain))?,
            concurrent: Engine::new(&config(slots, Flavour::Concurrent))?,
        })
    }

    pub(crate) fn get(&self, flavour: Flavour) -> &Engine {
        match flavour {
            Flavour::Plain => &self.plain,
            Flavour::Concurrent => &self.concurrent,
        }
    }
}

fn config(slots: u32, flavour: Flavour) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(flavour == Flavour::Concurrent)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(true)
        .memory_init_cow(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots, flavour)));
    config
}

fn pool(slots: u32, flavour: Flavour) -> PoolingAllocationConfig {
    let stacks = if flavour == Flavour::Concurrent { CONCURRENT_STACKS_PER_SLOT } else { 1 };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_SLOT)
        .total_memories(slots * MEMORIES_PER_SLOT)
        .total_tables(slots * TABLES_PER_SLOT)
        .total_stacks(slots * stacks)
        .total_gc_heaps(slots)
        .max_core_instances_per_component(FAR_AWAY)
        .max_memories_per_component(FAR_AWAY)
        .max_tables_per_component(FAR_AWAY)
        .max_tables_per_module(TABLES_PER_SLOT * MOST_SLOTS)
        .max_memories_per_module(MEMORIES_PER_SLOT * MOST_SLOTS)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .async_stack_keep_resident(0)
        .pagemap_scan(Enabled::Auto);
    pool
}
