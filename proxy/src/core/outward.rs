//! The calls of a released turn: what a guest wants opened or looked up.

use std::time::Duration;

use refrain_wire::outward::MAX_HOST_NAME_BYTES;
use refrain_wire::turn::Effect;
use refrain_wire::{CallFailure, EffectKind, GroupId, Protocol, Serial, Target};

use super::Outcome;
use super::action::Action;
use crate::nat::Nat;

/// Begins the call that a connect or resolve effect asks for. One that cannot be read fails: the kernel checks what it
/// asks for, so this is a fault of the platform and not a guest's.
pub(super) fn begin(nat: &mut Nat, group: GroupId, serial: Serial, effect: &Effect, now: Duration, out: &mut Outcome) {
    let begun = match effect.entry.kind {
        EffectKind::Connect => match Target::decode(&effect.payload) {
            Ok(target) => connect(nat, group, serial, target, now),
            Err(_) => Err(nat.refuse_call(group, serial, CallFailure::Other)),
        },
        _ => match host_name(&effect.payload) {
            Some(name) => nat.resolve(group, serial).map(|key| key.map(|serial| Action::Resolve { serial, name })),
            None => Err(nat.refuse_call(group, serial, CallFailure::NotFound)),
        },
    };
    match begun {
        Ok(action) => out.actions.extend(action),
        Err(failure) => out.actions.push(Action::CallFailed(failure)),
    }
}

fn connect(
    nat: &mut Nat,
    group: GroupId,
    serial: Serial,
    target: Target,
    now: Duration,
) -> Result<Option<Action>, CallFailure> {
    let key = nat.connect(group, serial, target, now)?;
    Ok(key.map(|serial| match target.protocol {
        Protocol::Tcp => Action::Dial { serial, target },
        Protocol::Udp => Action::Bind { serial, peer: target.address },
    }))
}

fn host_name(payload: &[u8]) -> Option<String> {
    let name = str::from_utf8(payload).ok()?;
    (1..=MAX_HOST_NAME_BYTES).contains(&name.len()).then(|| name.to_owned())
}
