//! What a guest's instance carries: the kernel behind a lock, the limits, and how a host call waits.
//!
//! A call that must wait suspends the guest's fibre; the next turn polls it again. Everything that needs the guest's
//! memory between turns (audits, injected faults, fuel for the new turn) happens there too, as only a suspended host
//! call may touch it.

use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use refrain_kernel::{Errno, Kernel, Stop};
use wasmtime::{AsContextMut, Caller, Extern, Global, Memory, ResourceLimiter, StoreContextMut, Table};

use crate::checkpoint::dirty::Tracker;
use crate::checkpoint::image::{Image, bits};
use crate::meter::{self, Meter};
use crate::preview2::Resources;
use crate::preview3::{Endings, Waits};
use crate::replica::Grown;
use crate::stack::{self, Mode, StackStore};
use crate::trace::{self, CallSink, Called};

/// A bit to flip in a guest's memory: a fault on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flip {
    /// Byte address; taken modulo the size of the memory.
    pub address: u64,
    /// Which bit, 0 to 7.
    pub bit: u8,
}

/// What a replica and its suspended guest share. Never contended: either the replica runs, or its guest.
pub(crate) struct Shared {
    /// None only in a host that is never run.
    pub(crate) kernel: Option<Kernel>,
    /// Rises with each turn, so that a resumed call knows to take fresh fuel.
    pub(crate) turn: u64,
    /// Rises each time the guest is polled.
    pub(crate) polls: u64,
    /// The guest waits in a host call, rather than having yielded its core.
    pub(crate) blocked: bool,
    pub(crate) memory_digest: Option<[u8; 32]>,
    pub(crate) flip: Option<Flip>,
    /// What the guest's instance has.
    pub(crate) grown: Grown,
    pub(crate) fuel_left: u64,
    /// A turn begins with the fuel that the last one left.
    pub(crate) keeps_fuel: bool,
    /// Whether the guest runs, or its stack is stored or built up.
    pub(crate) mode: Mode,
    /// The waiting guest is to be captured when it is polled next.
    pub(crate) capture: bool,
    /// The guest's state, when it was captured in this turn.
    pub(crate) image: Option<Image>,
    /// The waiting guest's memories and globals are to be copied when it is polled next, without its stack.
    pub(crate) look: bool,
    /// Who is told the guest's calls.
    pub(crate) calls: Option<CallSink>,
    /// The last turn that has begun for the guest.
    pub(crate) begun: u64,
    /// What a component of 0.3 waits for.
    pub(crate) waits: Waits,
}

impl Shared {
    pub(crate) fn new(kernel: Option<Kernel>) -> Self {
        Self {
            kernel,
            turn: 0,
            polls: 0,
            blocked: false,
            memory_digest: None,
            flip: None,
            grown: Grown::default(),
            fuel_left: 0,
            keeps_fuel: false,
            mode: Mode::Running,
            capture: false,
            image: None,
            look: false,
            calls: None,
            begun: 0,
            waits: Waits::default(),
        }
    }

    pub(crate) fn kernel(&mut self) -> &mut Kernel {
        self.kernel.as_mut().expect("a guest that runs has its kernel")
    }
}

/// The state that a module does not need to export for the host to digest it.
#[derive(Default)]
pub(crate) struct GuestState {
    pub(crate) memory: Option<Memory>,
    /// All memories, that of the stack included, in the order of their indices.
    pub(crate) memories: Vec<Memory>,
    pub(crate) globals: Vec<Global>,
    pub(crate) tables: Vec<Table>,
    /// Where the guest's stack is stored, if its module can do that.
    pub(crate) stack: Option<StackStore>,
    /// The last image, whose pages are shared where they did not change.
    pub(crate) last_image: Option<Image>,
    /// Tells which did.
    pub(crate) tracker: Option<Arc<Tracker>>,
}

/// wasmtime's store data.
pub(crate) struct Host {
    pub(crate) shared: Arc<Mutex<Shared>>,
    pub(crate) state: GuestState,
    pub(crate) limits: Limits,
    pub(crate) fuel_per_turn: u64,
    pub(crate) meter: Meter,
    /// The call that has begun, where calls are traced.
    pub(crate) called: Option<Called>,
    /// What a component has handles of; empty for a module.
    pub(crate) resources: Resources,
    /// Streams of a component of 0.3 that have ended.
    pub(crate) endings: Endings,
}

impl Host {
    /// A host for questions about the linker; no guest runs in it.
    pub(crate) fn detached() -> Self {
        Self::new(Arc::new(Mutex::new(Shared::new(None))), Limits::new(0, 0), 0)
    }

    /// That of a guest that is not made yet.
    pub(crate) fn new(shared: Arc<Mutex<Shared>>, limits: Limits, fuel_per_turn: u64) -> Self {
        let (state, meter) = (GuestState::default(), Meter::new(0));
        let (resources, endings) = (Resources::default(), Endings::default());
        Self { shared, state, limits, fuel_per_turn, meter, called: None, resources, endings }
    }
}

/// Growth by the manifest alone.
pub(crate) struct Limits {
    /// The most bytes of all memories together, and of the heap of exceptions.
    memory_max: usize,
    /// How many there are.
    memory_bytes: usize,
    /// The most elements of all tables together.
    tables_max: usize,
    /// How many there are.
    table_elements: usize,
    /// A growth was refused because of the memory limit.
    pub(crate) memory_refused: bool,
    /// A growth was refused because of the limit of tables.
    pub(crate) tables_refused: bool,
    /// Index of the memory of the stack, which is not the guest's and counts against no limit.
    stack_memory: Option<u32>,
    /// Memories made so far, while the module is instantiated; they are made in the order of their indices.
    memories_made: Option<u32>,
}

/// How wasmtime says that a growth is beyond what 32-bit addresses reach. It asks nobody about such a growth before.
const BEYOND_ADDRESSES: &str = "memory growth exceeds memory type's limits";

impl Limits {
    pub(crate) fn new(memory_max: usize, tables_max: usize) -> Self {
        Self {
            memory_max,
            memory_bytes: 0,
            tables_max,
            table_elements: 0,
            memory_refused: false,
            tables_refused: false,
            stack_memory: None,
            memories_made: Some(0),
        }
    }

    /// Lets the memory of this index be made whatever the limit.
    pub(crate) fn exempt(&mut self, stack_memory: u32) {
        self.stack_memory = Some(stack_memory);
    }

    /// From now on memories only grow.
    pub(crate) fn instantiated(&mut self) {
        self.memories_made = None;
    }

    /// What counts against the limit of memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes as u64
    }

    /// What counts against the limit of tables, in elements.
    pub(crate) fn table_elements(&self) -> u64 {
        self.table_elements as u64
    }

    fn is_stack_made(&mut self) -> bool {
        let Some(made) = &mut self.memories_made else { return false };
        *made += 1;
        Some(*made - 1) == self.stack_memory
    }
}

impl ResourceLimiter for Limits {
    /// A growth beyond the module's own maximum is refused here too, so that wasmtime reports no failure for it.
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if self.is_stack_made() {
            return Ok(true);
        }
        let all = (self.memory_bytes.saturating_add(desired)).saturating_sub(current);
        let fits = all <= self.memory_max;
        self.memory_refused |= !fits;
        let grows = fits && maximum.is_none_or(|maximum| desired <= maximum);
        if grows {
            self.memory_bytes = all;
        }
        Ok(grows)
    }

    /// The host has no memory for a growth that the manifest allows: this replica stops, its guest does not see it.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if error.to_string() == BEYOND_ADDRESSES {
            self.memory_refused = true;
            return Ok(());
        }
        Err(error.context(HostFault("out of memory")))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let all = (self.table_elements.saturating_add(desired)).saturating_sub(current);
        let fits = all <= self.tables_max;
        if fits {
            self.table_elements = all;
        }
        self.tables_refused |= !fits;
        Ok(fits)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context(HostFault("out of memory for a table")))
    }
}

/// A failure of this host, not of the guest: the replica stops and does not vote.
#[derive(Debug, thiserror::Error)]
#[error("host fault: {0}")]
pub(crate) struct HostFault(pub(crate) &'static str);

/// `proc_exit` on its way out of the guest.
#[derive(Debug, thiserror::Error)]
#[error("exit with code {0}")]
pub(crate) struct ExitCode(pub(crate) u32);

/// A component did what its interfaces forbid, in words that are the same on every replica.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct GuestFault(pub(crate) String);

/// What every call of the host costs, in fuel, besides the work that the kernel notes.
pub(crate) const CALL_FUEL: u64 = 200;

pub(crate) fn memory_of(caller: &mut Caller<'_, Host>) -> Option<Memory> {
    if let Some(memory) = caller.data().state.memory {
        return Some(memory);
    }
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    caller.data_mut().state.memory = memory;
    memory
}

/// Runs `call` with the guest's memory and kernel. The result is a WASI errno.
pub(crate) fn call<A: Answer>(
    caller: &mut Caller<'_, Host>,
    call: impl FnOnce(&mut Kernel, &mut [u8]) -> Result<A, Errno>,
) -> i32 {
    let Some(memory) = memory_of(caller) else {
        return i32::from(Errno::Fault.code());
    };
    let called = {
        let (memory, host) = memory.data_and_store_mut(caller.as_context_mut());
        let mut shared = host.shared.lock();
        (shared.mode == Mode::Running).then(|| {
            let kernel = shared.kernel();
            (code(call(kernel, memory)), kernel.take_work(), shared.polls)
        })
    };
    let Some((result, work, polls)) = called else { return stack::stray_call(caller) };
    charge(caller, work, polls);
    trace::returned(caller, memory, result);
    result
}

fn charge(caller: &mut Caller<'_, Host>, work: u64, polls: u64) {
    meter::charge(caller, CALL_FUEL.saturating_add(work), polls);
}

/// A call that a guest may have to wait for: its code, or what ends the guest.
pub(crate) type Waiting<'a> = Box<dyn Future<Output = wasmtime::Result<i32>> + Send + 'a>;

/// Takes the cost of a call that does nothing.
pub(crate) fn charge_call(caller: &mut Caller<'_, Host>) {
    let polls = caller.data().shared.lock().polls;
    charge(caller, 0, polls);
}

/// Runs `call` until it does not block, once a turn. `call` is told whether it is the first time.
pub(crate) fn waiting_call<'a, A: Answer>(
    mut caller: Caller<'a, Host>,
    mut call: impl FnMut(&mut Kernel, &mut [u8], bool) -> Result<A, Stop> + Send + 'a,
) -> Waiting<'a> {
    let Some(memory) = memory_of(&mut caller) else {
        return Box::new(ready(Ok(i32::from(Errno::Fault.code()))));
    };
    if let Err(spent) = meter::check(&caller) {
        return Box::new(ready(Err(spent)));
    }
    if meter::is_yield_due(&caller) {
        return Box::new(async move {
            yield_core().await;
            let polls = caller.data().shared.lock().polls;
            meter::yielded(&mut caller, polls)?;
            Box::into_pin(waiting_call(caller, call)).await
        });
    }
    let mut turn = match first_attempt(&mut caller, memory, &mut call) {
        Ok(Attempt::Returned(0)) => return Box::new(Success),
        Ok(Attempt::Returned(code)) => return Box::new(ready(Ok(code))),
        Ok(Attempt::Waits(turn)) => turn,
        Err(spent) => return Box::new(ready(Err(spent))),
    };
    Box::new(poll_fn(move |_| {
        let shared = Arc::clone(&caller.data().shared);
        let mut shared = shared.lock();
        if std::mem::take(&mut shared.capture) {
            return Poll::Ready(Ok(stack::unwind(&mut caller, &mut shared)));
        }
        if std::mem::take(&mut shared.look) {
            shared.image = Some(Image::whole(&mut caller));
        }
        if turn == shared.turn {
            shared.blocked = true;
            return Poll::Pending;
        }
        begin_turn(&mut caller.as_context_mut(), &mut shared, Some(memory));
        turn = shared.turn;
        let result = call(shared.kernel(), memory.data_mut(&mut caller), false);
        charge(&mut caller, shared.kernel().take_work(), shared.polls);
        let returned = returned(result);
        trace::stepped(&mut caller, &mut shared, memory, returned);
        match returned {
            Some(code) => Poll::Ready(Ok(code)),
            None => match suspend(&mut caller.as_context_mut(), &mut shared) {
                Ok(()) => Poll::Pending,
                Err(spent) => Poll::Ready(Err(spent)),
            },
        }
    }))
}

/// The future of a call that did its work without waiting: it has no size, so that none is allocated.
struct Success;

impl Future for Success {
    type Output = wasmtime::Result<i32>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(0))
    }
}

/// Suspends the guest once without that it waits for anything.
pub(crate) fn yield_core() -> impl Future<Output = ()> {
    let mut has_yielded = false;
    poll_fn(move |_| if std::mem::replace(&mut has_yielded, true) { Poll::Ready(()) } else { Poll::Pending })
}

/// What came of a waiting call before it was polled.
enum Attempt {
    /// It need not wait.
    Returned(i32),
    /// It waits since this turn.
    Waits(u64),
}

/// Runs a call that may wait for the first time, without making a future of it: most need not wait.
#[inline]
fn first_attempt<A: Answer>(
    caller: &mut Caller<'_, Host>,
    memory: Memory,
    call: impl FnOnce(&mut Kernel, &mut [u8], bool) -> Result<A, Stop>,
) -> wasmtime::Result<Attempt> {
    let (result, work, polls) = {
        let (memory, host) = memory.data_and_store_mut(caller.as_context_mut());
        let mut shared = host.shared.lock();
        match shared.mode {
            Mode::Running => {
                let kernel = shared.kernel();
                (returned(call(kernel, memory, true)), kernel.take_work(), shared.polls)
            }
            Mode::Unwinding => {
                drop(shared);
                return Ok(Attempt::Returned(stack::stray_call(caller)));
            }
            // A call into which the stack was built up goes on waiting where the captured one stood.
            Mode::Rewinding => {
                drop(shared);
                return Ok(Attempt::Waits(stack::rewound(caller)));
            }
        }
    };
    charge(caller, work, polls);
    if let Some(code) = result {
        trace::returned(caller, memory, code);
        return Ok(Attempt::Returned(code));
    }
    let shared = Arc::clone(&caller.data().shared);
    let mut shared = shared.lock();
    trace::stepped(caller, &mut shared, memory, None);
    suspend(&mut caller.as_context_mut(), &mut shared)?;
    Ok(Attempt::Waits(shared.turn))
}

/// The code that a call returns; none when it waits.
fn returned<A: Answer>(result: Result<A, Stop>) -> Option<i32> {
    match result {
        Ok(answer) => Some(answer.code()),
        Err(Stop::Errno(errno)) => Some(i32::from(errno.code())),
        Err(Stop::Block) => None,
    }
}

/// A turn begins for a guest that waits in a call: it has fresh fuel. `memory` is where faults on request go.
pub(crate) fn begin_turn(store: &mut StoreContextMut<'_, Host>, shared: &mut Shared, memory: Option<Memory>) {
    shared.begun = shared.turn;
    if !shared.keeps_fuel {
        let fuel = store.data().fuel_per_turn;
        meter::refill(&mut *store, fuel, shared.polls);
    }
    if let (Some(flip), Some(memory)) = (shared.flip.take(), memory) {
        let bytes = memory.data_mut(&mut *store);
        let address = (flip.address % bytes.len().max(1) as u64) as usize;
        if let Some(byte) = bytes.get_mut(address) {
            *byte ^= 1 << (flip.bit & 7);
        }
    }
}

/// The guest begins to wait, or waits on in a new turn.
pub(crate) fn suspend(store: &mut StoreContextMut<'_, Host>, shared: &mut Shared) -> wasmtime::Result<()> {
    shared.fuel_left = meter::yielded(&mut *store, shared.polls)?;
    shared.blocked = true;
    shared.grown = Grown::of(&store.data().limits);
    if shared.kernel().audited() {
        shared.memory_digest = Some(digest_state(store));
    }
    Ok(())
}

/// The digest of linear memories, mutable globals and table sizes, and of what a component has handles of. The memory of
/// the stack is left out: what was stored there when the guest was captured is of no use any more.
fn digest_state(store: &mut StoreContextMut<'_, Host>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let host = store.data();
    for (memory, index) in host.state.memories.iter().zip(0..) {
        if host.limits.stack_memory != Some(index) {
            hasher.update(&(memory.data_size(&*store) as u64).to_le_bytes());
            hasher.update(memory.data(&*store));
        }
    }
    let (globals, tables) = (store.data().state.globals.clone(), store.data().state.tables.clone());
    for global in globals {
        // References have no value that is equal on two hosts.
        let bits = bits(&global.get(&mut *store)).unwrap_or_default();
        hasher.update(&bits.to_le_bytes());
    }
    for table in tables {
        hasher.update(&table.size(&*store).to_le_bytes());
    }
    store.data().resources.digest_into(&mut hasher);
    *hasher.finalize().as_bytes()
}

/// A result as WASI returns it.
pub(crate) fn code<A: Answer>(result: Result<A, Errno>) -> i32 {
    result.map_or_else(|errno| i32::from(errno.code()), Answer::code)
}

/// What a call that did its work returns: 0, or a number that only its family knows.
pub(crate) trait Answer {
    fn code(self) -> i32;
}

impl Answer for () {
    fn code(self) -> i32 {
        0
    }
}

impl Answer for i32 {
    fn code(self) -> i32 {
        self
    }
}
