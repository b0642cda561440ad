//! Collecting the effects of a turn in canonical order: effects of flows by flow id, then those of the group.
//!
//! Adjacent writes of a flow are one effect, however many calls the guest made; so replicas whose guests were
//! suspended at other points of a write still vote the same.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use refrain_wire::turn::Effect;
use refrain_wire::{Digest, EffectEntry, EffectKind, FlowId};

/// The most bytes in one `Bytes` effect; a longer write becomes several.
pub const MAX_EFFECT_BYTES: usize = 256 * 1024;

#[derive(Debug, Default)]
struct FlowEffects {
    /// What the flow begins with: a connect or a look-up.
    call: Option<(EffectKind, Bytes)>,
    /// Datagrams, and the number of the first.
    datagrams: Vec<Bytes>,
    datagrams_from: u64,
    bytes_from: u64,
    bytes: BytesMut,
    finish: Option<u64>,
    reset: bool,
    consumed: Option<u64>,
}

/// The effects of the turn that is under way.
#[derive(Debug, Default)]
pub struct Effects {
    flows: BTreeMap<FlowId, FlowEffects>,
    group: Vec<Effect>,
}

fn entry(kind: EffectKind, flow: Option<FlowId>, offset: u64, payload: &[u8]) -> EffectEntry {
    let digest = if payload.is_empty() { Digest::default() } else { Digest::of(payload) };
    EffectEntry { kind, flow, offset, length: payload.len() as u32, digest }
}

impl Effects {
    /// The guest wrote `bytes` to `flow`, whose stream was `offset` bytes long before.
    pub fn write(&mut self, flow: FlowId, offset: u64, bytes: &[u8]) {
        let effects = self.flows.entry(flow).or_default();
        if effects.bytes.is_empty() {
            effects.bytes_from = offset;
        }
        effects.bytes.extend_from_slice(bytes);
    }

    /// The guest opens `flow`, or looks something up by it.
    pub fn call(&mut self, flow: FlowId, kind: EffectKind, payload: Bytes) {
        self.flows.entry(flow).or_default().call = Some((kind, payload));
    }

    /// The guest sent a datagram, the `number`th on its association.
    pub fn datagram(&mut self, flow: FlowId, number: u64, bytes: &[u8]) {
        let effects = self.flows.entry(flow).or_default();
        if effects.datagrams.is_empty() {
            effects.datagrams_from = number;
        }
        effects.datagrams.push(Bytes::copy_from_slice(bytes));
    }

    /// The guest will write nothing more; its stream is `length` bytes long.
    pub fn finish(&mut self, flow: FlowId, length: u64) {
        self.flows.entry(flow).or_default().finish = Some(length);
    }

    /// The flow is over; what was written to it in this turn is not sent. Nobody is told of one that the guest began in this
    /// turn: a guest that calls and gives up in a loop makes no effects.
    pub fn reset(&mut self, flow: FlowId) {
        if self.flows.get(&flow).is_some_and(|effects| effects.call.is_some()) {
            return self.forget(flow);
        }
        *self.flows.entry(flow).or_default() = FlowEffects { reset: true, ..FlowEffects::default() };
    }

    /// The guest has taken the client's stream up to `offset`.
    pub fn consumed(&mut self, flow: FlowId, offset: u64) {
        self.flows.entry(flow).or_default().consumed = Some(offset);
    }

    /// Drops all effects of `flow`: nobody is left to see them.
    pub fn forget(&mut self, flow: FlowId) {
        self.flows.remove(&flow);
    }

    /// An effect of the group.
    pub fn group(&mut self, kind: EffectKind, offset: u64, payload: Bytes) {
        self.group.push(Effect { entry: entry(kind, None, offset, &payload), payload });
    }

    /// Puts what was collected before by another in front of this.
    pub(crate) fn put_first(&mut self, mut earlier: Self) {
        earlier.flows.append(&mut self.flows);
        earlier.group.append(&mut self.group);
        *self = earlier;
    }

    /// The lines that the guest wrote; nothing else is left.
    pub(crate) fn into_lines(mut self) -> Self {
        self.group.retain(|effect| effect.entry.kind == EffectKind::Log);
        Self { flows: BTreeMap::new(), group: self.group }
    }

    /// Everything collected, in canonical order; nothing is left.
    pub fn take(&mut self) -> Vec<Effect> {
        if self.flows.is_empty() {
            return std::mem::take(&mut self.group);
        }
        let mut out = Vec::with_capacity(self.flows.len() + self.group.len());
        for (flow, effects) in std::mem::take(&mut self.flows) {
            effects.list(flow, &mut out);
        }
        out.append(&mut self.group);
        out
    }
}

impl FlowEffects {
    fn list(self, flow: FlowId, out: &mut Vec<Effect>) {
        if self.reset {
            out.push(Effect { entry: entry(EffectKind::Reset, Some(flow), 0, &[]), payload: Bytes::new() });
            return;
        }
        if let Some((kind, payload)) = self.call {
            out.push(Effect { entry: entry(kind, Some(flow), 0, &payload), payload });
        }
        let mut plain = |kind, offset| {
            out.push(Effect { entry: entry(kind, Some(flow), offset, &[]), payload: Bytes::new() });
        };
        if let Some(offset) = self.consumed {
            plain(EffectKind::Consumed, offset);
        }
        let mut rest = self.bytes.freeze();
        let mut offset = self.bytes_from;
        while !rest.is_empty() {
            let payload = rest.split_to(rest.len().min(MAX_EFFECT_BYTES));
            let length = payload.len() as u64;
            out.push(Effect { entry: entry(EffectKind::Bytes, Some(flow), offset, &payload), payload });
            offset += length;
        }
        for (number, payload) in (self.datagrams_from..).zip(self.datagrams) {
            out.push(Effect { entry: entry(EffectKind::Datagram, Some(flow), number, &payload), payload });
        }
        if let Some(length) = self.finish {
            out.push(Effect { entry: entry(EffectKind::Finish, Some(flow), length, &[]), payload: Bytes::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_wire::{Epoch, Serial};

    fn flow(serial: u32) -> FlowId {
        FlowId { epoch: Epoch(1), serial: Serial(serial) }
    }

    #[test]
    fn adjacent_writes_are_one_effect_whatever_the_calls() {
        let (mut once, mut twice) = (Effects::default(), Effects::default());
        once.write(flow(1), 5, b"hello");
        twice.write(flow(1), 5, b"he");
        twice.write(flow(1), 7, b"llo");
        assert_eq!(once.take(), twice.take());
    }

    #[test]
    fn flows_come_in_order_of_their_ids_and_group_effects_last() {
        let mut effects = Effects::default();
        effects.group(EffectKind::Timer, 9, Bytes::new());
        effects.write(flow(2), 0, b"b");
        effects.finish(flow(1), 3);
        let kinds: Vec<_> = effects.take().iter().map(|effect| (effect.entry.flow, effect.entry.kind)).collect();
        let want = [(Some(flow(1)), EffectKind::Finish), (Some(flow(2)), EffectKind::Bytes), (None, EffectKind::Timer)];
        assert_eq!(kinds, want);
        assert!(effects.take().is_empty());
    }

    #[test]
    fn a_reset_drops_what_was_written_in_the_same_turn() {
        let mut effects = Effects::default();
        effects.write(flow(1), 0, b"lost");
        effects.reset(flow(1));
        let list = effects.take();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].entry.kind, EffectKind::Reset);
    }

    #[test]
    fn a_call_that_is_given_up_in_its_turn_was_never_made_and_one_of_an_earlier_turn_is_reset() {
        let mut effects = Effects::default();
        effects.call(flow(1), EffectKind::Connect, Bytes::from_static(b"there"));
        effects.reset(flow(1));
        assert!(effects.take().is_empty());
        effects.reset(flow(1));
        assert_eq!(effects.take()[0].entry.kind, EffectKind::Reset);
    }

    #[test]
    fn a_long_write_is_cut_at_the_limit() {
        let mut effects = Effects::default();
        effects.write(flow(1), 0, &vec![1; MAX_EFFECT_BYTES + 1]);
        let lengths: Vec<_> = effects.take().iter().map(|effect| (effect.entry.offset, effect.entry.length)).collect();
        assert_eq!(lengths, [(0, MAX_EFFECT_BYTES as u32), (MAX_EFFECT_BYTES as u64, 1)]);
    }
}
