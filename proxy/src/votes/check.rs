//! Whether a list of effects is what was voted on.

use refrain_wire::turn::{Effect, TurnEffects};
use refrain_wire::{Digest, EffectEntry, EffectKind, Epoch, Position};

/// Whether the effect is part of the votes for the proxy with that epoch: its own flows, and the group as a whole.
#[must_use]
pub fn concerns(entry: &EffectEntry, epoch: Epoch) -> bool {
    entry.flow.is_none_or(|flow| flow.epoch == epoch)
}

/// Whether the list is of that turn, gives that digest, and its payloads are the ones that it names.
pub(super) fn is_valid(list: &TurnEffects, position: Position, epoch: Epoch, digest: Digest) -> bool {
    let entries = list.effects.iter().map(|effect| &effect.entry);
    list.position == position
        && list.before.vote(entries.filter(|entry| concerns(entry, epoch))) == digest
        && list.effects.iter().filter(|effect| concerns(&effect.entry, epoch)).all(payload_fits)
}

/// A payload of no bytes, as of an empty line that a guest logs, has no digest.
fn payload_fits(effect: &Effect) -> bool {
    let (payload, entry) = (&effect.payload, &effect.entry);
    match entry.kind {
        EffectKind::Bytes
        | EffectKind::Connect
        | EffectKind::Resolve
        | EffectKind::Datagram
        | EffectKind::Log
        | EffectKind::Exit
        | EffectKind::Upgrade => {
            payload.len() == entry.length as usize && (payload.is_empty() || Digest::of(payload) == entry.digest)
        }
        _ => true,
    }
}
