//! The fuel of a guest, and when it yields its core.
//!
//! A guest yields whenever it has used [`YIELD_FUEL`]: wasmtime stops it at the next entry of a function or begin of a
//! loop. That is no matter of time, so a turn yields alike on every replica, though no guest can tell. What calls of
//! the host cost is owed, and taken from the store's fuel now and then, as each time it is set the guest's slice begins
//! anew. Hence a guest that does little but call would never yield: once its calls have cost a slice, slices become
//! short until it does. A call that may wait yields by itself then.
//!
//! What is owed and is more than what is left ends the guest at its next call, whether it waits in it or not; code
//! between calls may use what is owed a second time, up to a slice. All of that is the same on every replica: the
//! constants here are part of the compatibility key.

use wasmtime::{AsContext, AsContextMut, StoreContextMut, Trap};

use crate::host::Host;

/// Fuel after which a guest yields: 0.4 ms of SQLite on a present machine, some milliseconds of code that waits for its
/// memory.
pub(crate) const YIELD_FUEL: u64 = 4_000_000;
/// The slice of a guest whose calls have cost [`YIELD_FUEL`], until it has yielded and calls again. Calculating in such
/// slices takes about a fifth longer.
const SHORT_SLICE: u64 = 1_000;
/// The shortest that it becomes where single calls cost as much as a slice.
const SHORTEST_SLICE: u64 = 60;

/// What decides where a guest yields and traps, for the compatibility key.
pub(crate) const BEHAVIOUR: [u64; 3] = [YIELD_FUEL, SHORT_SLICE, SHORTEST_SLICE];

/// What a guest owes, and its slice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meter {
    /// What calls cost that was not taken from the store's fuel.
    owed: u64,
    /// What calls cost since the guest yielded, or since the slice was made shorter.
    worked: u64,
    /// The store's fuel between two yields.
    slice: u64,
    /// How often the guest had been polled when it was charged last.
    polls: u64,
    /// It owed more than was left.
    is_overdrawn: bool,
}

/// What the store is to be set to.
#[derive(Debug, PartialEq, Eq)]
struct Settled {
    fuel: u64,
    slice: u64,
}

impl Meter {
    /// Of a guest that owes nothing and was polled so often.
    pub(crate) fn new(polls: u64) -> Self {
        Self { owed: 0, worked: 0, slice: YIELD_FUEL, polls, is_overdrawn: false }
    }

    /// Takes what a call cost; `fuel` is what the store has.
    fn charge(&mut self, fuel: u64, cost: u64, polls: u64) -> Option<Settled> {
        let has_yielded = std::mem::replace(&mut self.polls, polls) != polls;
        if has_yielded {
            self.worked = 0;
        }
        self.owed = self.owed.saturating_add(cost);
        self.worked = self.worked.saturating_add(cost);
        let slice = match self.slice {
            YIELD_FUEL if self.worked >= YIELD_FUEL => SHORT_SLICE,
            YIELD_FUEL => YIELD_FUEL,
            _ if has_yielded => YIELD_FUEL,
            short if self.worked >= YIELD_FUEL => (short / 4).max(SHORTEST_SLICE),
            short => short,
        };
        if slice == self.slice && self.owed < fuel {
            return None;
        }
        if slice < self.slice {
            self.worked = 0;
        }
        self.slice = slice;
        Some(self.settle(fuel))
    }

    /// Pays what is owed.
    fn settle(&mut self, fuel: u64) -> Settled {
        let owed = std::mem::take(&mut self.owed);
        self.is_overdrawn |= owed > fuel;
        Settled { fuel: fuel.saturating_sub(owed), slice: self.slice }
    }

    /// Whether the guest should yield at its next call that can.
    fn is_due(&self) -> bool {
        self.slice < YIELD_FUEL
    }
}

impl Settled {
    fn apply(&self, store: &mut StoreContextMut<'_, Host>) {
        store.fuel_async_yield_interval(Some(self.slice)).expect("fuel is on for every guest, and a slice is not 0");
        store.set_fuel(self.fuel).expect("fuel is on for every guest");
    }
}

/// Gives the guest this fuel, and a new slice, and forgets what it owed. `polls` is how often it was polled.
pub(crate) fn refill(mut store: impl AsContextMut<Data = Host>, fuel: u64, polls: u64) {
    let mut store = store.as_context_mut();
    store.data_mut().meter = Meter::new(polls);
    Settled { fuel, slice: YIELD_FUEL }.apply(&mut store);
}

/// Whether a call may be made: not when those before it cost more than there was.
pub(crate) fn check(store: impl AsContext<Data = Host>) -> wasmtime::Result<()> {
    if store.as_context().data().meter.is_overdrawn { Err(Trap::OutOfFuel.into()) } else { Ok(()) }
}

/// Leaves the guest no fuel: it ends at its next call, loop or function.
pub(crate) fn exhaust(mut store: impl AsContextMut<Data = Host>) {
    let mut store = store.as_context_mut();
    store.data_mut().meter.is_overdrawn = true;
    store.set_fuel(0).expect("fuel is on for every guest");
}

/// Takes what a call cost from the turn's fuel: the guest traps at its next call, loop or function when none is left.
#[inline]
pub(crate) fn charge(mut store: impl AsContextMut<Data = Host>, cost: u64, polls: u64) {
    let mut store = store.as_context_mut();
    let fuel = store.get_fuel().expect("fuel is on for every guest");
    if let Some(settled) = store.data_mut().meter.charge(fuel, cost, polls) {
        settled.apply(&mut store);
    }
}

/// Pays what is owed; the fuel that is left.
pub(crate) fn settle(mut store: impl AsContextMut<Data = Host>) -> u64 {
    let mut store = store.as_context_mut();
    let fuel = store.get_fuel().expect("fuel is on for every guest");
    let settled = store.data_mut().meter.settle(fuel);
    settled.apply(&mut store);
    settled.fuel
}

/// Whether a call that can is to yield before it does anything.
pub(crate) fn is_yield_due(store: impl AsContext<Data = Host>) -> bool {
    store.as_context().data().meter.is_due()
}

/// The guest has yielded in a call, or is about to wait: a slice begins. The fuel that is left.
///
/// # Errors
/// When it owed more than it had.
pub(crate) fn yielded(mut store: impl AsContextMut<Data = Host>, polls: u64) -> wasmtime::Result<u64> {
    let fuel = settle(&mut store);
    check(&store)?;
    refill(store, fuel, polls);
    Ok(fuel)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUEL: u64 = 1_000_000_000;

    fn settled(fuel: u64, slice: u64) -> Option<Settled> {
        Some(Settled { fuel, slice })
    }

    #[test]
    fn calls_are_owed_until_their_cost_is_a_slice_and_then_slices_are_short_until_the_guest_has_yielded() {
        let mut meter = Meter::new(7);
        assert_eq!(meter.charge(FUEL, YIELD_FUEL - 1, 7), None);
        assert!(!meter.is_due());
        let left = FUEL - 10 - YIELD_FUEL;
        assert_eq!(meter.charge(FUEL - 10, 1, 7), settled(left, SHORT_SLICE));
        assert!(meter.is_due());
        assert_eq!(meter.charge(left - 2 * SHORT_SLICE, 5, 7), None, "it comes to no loop and no function");
        assert_eq!(meter.charge(left - 2 * SHORT_SLICE, 5, 8), settled(left - 2 * SHORT_SLICE - 10, YIELD_FUEL));
        assert!(!meter.is_due());
    }

    #[test]
    fn calls_that_cost_much_make_slices_ever_shorter() {
        let mut meter = Meter::new(0);
        let mut left = FUEL;
        for slice in [SHORT_SLICE, 250, 62, SHORTEST_SLICE] {
            left -= YIELD_FUEL;
            assert_eq!(meter.charge(left + YIELD_FUEL, YIELD_FUEL, 0), settled(left, slice));
        }
        assert_eq!(meter.charge(left, YIELD_FUEL, 0), None, "there is no shorter one");
    }

    #[test]
    fn a_guest_that_has_yielded_owes_its_calls_but_begins_to_count_them_anew() {
        let mut meter = Meter::new(0);
        assert_eq!(meter.charge(FUEL, YIELD_FUEL - 1, 0), None);
        assert_eq!(meter.charge(FUEL, 1, 1), None);
        assert_eq!(meter.settle(FUEL), Settled { fuel: FUEL - YIELD_FUEL, slice: YIELD_FUEL });
    }

    #[test]
    fn what_is_owed_ends_the_guest_when_it_is_all_that_is_left() {
        let mut meter = Meter::new(0);
        assert_eq!(meter.charge(1_000, 999, 0), None);
        assert_eq!(meter.charge(1_000, 1, 0), settled(0, YIELD_FUEL));
        assert!(!meter.is_overdrawn, "it may wait now, but not call again");
        assert_eq!(meter.charge(0, 1, 0), settled(0, YIELD_FUEL));
        assert!(meter.is_overdrawn);
    }
}
