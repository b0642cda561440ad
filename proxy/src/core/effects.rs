//! What the effects of a released turn do: to flows, and as notices.

use std::time::Duration;

use refrain_wire::effect::UPGRADE_DONE;
use refrain_wire::turn::Effect;
use refrain_wire::{EffectKind, GroupId, Position, Serial};

use super::action::{Action, LogStream, Notice};
use super::{Outcome, outward};
use crate::nat::{Emit, Ending, Nat};

/// Does what an effect on a flow of this proxy says.
pub(super) fn apply_to_flow(
    nat: &mut Nat,
    group: GroupId,
    serial: Serial,
    effect: &Effect,
    now: Duration,
    out: &mut Outcome,
) {
    let entry = &effect.entry;
    if let EffectKind::Connect | EffectKind::Resolve = entry.kind {
        return outward::begin(nat, group, serial, effect, now, out);
    }
    let Some(serial) = nat.key_of(group, serial) else {
        return;
    };
    match entry.kind {
        EffectKind::Bytes => match nat.emit(group, serial, entry.offset, effect.payload.clone(), now) {
            Emit::Write(bytes) => out.actions.push(Action::Write { serial, bytes }),
            Emit::Nothing => {}
            Emit::Gap { emitted } => fault(nat, group, serial, emitted, entry.offset, out),
        },
        EffectKind::Finish => match nat.finish(group, serial, entry.offset, now) {
            Ok(true) => out.actions.push(Action::Finish(serial)),
            Ok(false) => {}
            Err(emitted) => fault(nat, group, serial, emitted, entry.offset, out),
        },
        EffectKind::Reset => match nat.guest_reset(group, serial) {
            Some(true) => out.actions.push(Action::Linger(serial)),
            Some(false) => out.actions.push(Action::Reset { serial, ending: Ending::GuestReset }),
            None if nat.give_up_lookup(serial) => {
                out.actions.push(Action::Reset { serial, ending: Ending::GuestReset });
            }
            None => {}
        },
        EffectKind::Datagram => match nat.send_datagram(group, serial, entry.offset, effect.payload.clone(), now) {
            Emit::Write(bytes) => out.actions.push(Action::Send { serial, bytes }),
            Emit::Nothing => {}
            Emit::Gap { emitted } => fault(nat, group, serial, emitted, entry.offset, out),
        },
        EffectKind::Consumed => nat.consumed(group, serial, entry.offset),
        _ => {}
    }
}

/// A stream that does not fit together is never given to a client: the flow is reset on both sides.
fn fault(nat: &mut Nat, group: GroupId, serial: Serial, emitted: u64, offset: u64, out: &mut Outcome) {
    let (epoch, named) = (nat.epoch(), nat.serial_of(serial));
    nat.reset(serial, Ending::Fault);
    out.actions.push(Action::Reset { serial, ending: Ending::Fault });
    out.notices.push((group, Notice::Gap { epoch, serial: named, emitted, offset }));
}

/// What an effect of the whole group tells.
pub(super) fn notice(position: Position, effect: &Effect) -> Option<Notice> {
    let entry = &effect.entry;
    Some(match entry.kind {
        EffectKind::Log => Notice::Log {
            position,
            stream: if entry.offset == 2 { LogStream::Error } else { LogStream::Out },
            line: effect.payload.clone(),
        },
        EffectKind::Listen => Notice::Listen(entry.offset),
        EffectKind::Unlisten => Notice::Unlisten(entry.offset),
        EffectKind::Start => Notice::Started(entry.offset),
        EffectKind::Exit => Notice::Exited { code: entry.offset, reason: effect.payload.clone() },
        EffectKind::Audit => Notice::Audited { position, digest: entry.digest },
        EffectKind::Upgrade => {
            Notice::Upgraded { position, rolled_back: (entry.offset != UPGRADE_DONE).then(|| effect.payload.clone()) }
        }
        _ => return None,
    })
}
