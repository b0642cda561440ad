//! How wasmtime is set up for stateless components.
//!
//! There are two engines: components of WASI 0.2 alone run on one without the machinery of concurrent calls, which each
//! of their calls would pay for; components that use 0.3 run on the other. Both count epochs, neither counts fuel, and
//! both take instances from pools that are cut into slots (`needs`). Each is made when the first component needs it:
//! every stack of a pool has a guard page, which costs a call of the kernel and two entries in its tables.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::component;
use crate::guest::Guest;
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

/// An engine, and everything that its components may import.
pub(crate) struct Platform {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
}

impl Platform {
    fn new(slots: u32, flavour: Flavour) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config(slots, flavour))?;
        Ok(Self { linker: component::linker(&engine, flavour)?, engine })
    }
}

/// One of each flavour, once it was needed.
pub(crate) struct Platforms {
    slots: u32,
    plain: OnceLock<Platform>,
    concurrent: OnceLock<Platform>,
    making: Mutex<()>,
}

impl Platforms {
    pub(crate) fn new(slots: u32) -> Arc<Self> {
        let (plain, concurrent) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { slots, plain, concurrent, making: Mutex::default() })
    }

    /// The slots that each of them has.
    pub(crate) const fn slots(&self) -> u32 {
        self.slots
    }

    /// The one of this flavour, which may have to be made. Fails for lack of address space most of all.
    pub(crate) fn get(&self, flavour: Flavour) -> wasmtime::Result<&Platform> {
        let place = match flavour {
            Flavour::Plain => &self.plain,
            Flavour::Concurrent => &self.concurrent,
        };
        let _making = self.making.lock();
        match place.get() {
            Some(platform) => Ok(platform),
            None => {
                let made = Platform::new(self.slots, flavour)?;
                Ok(place.get_or_init(|| made))
            }
        }
    }

    pub(crate) fn increment_epochs(&self) {
        let made = [&self.plain, &self.concurrent].into_iter().filter_map(OnceLock::get);
        made.for_each(|platform| platform.engine.increment_epoch());
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
