//! Another program takes over at a position of the log, or does not.
//!
//! The host makes a successor of the kernel, runs the new program in it until that waits for the first time, and asks
//! what is wrong with its start. If nothing is, the successor takes over: it has the files, the clock, the generator
//! and the count of starts; flows are reset, descriptors and timers begin anew. Else the kernel goes on, with its flows,
//! as if nothing had been, but for the lines that the new program wrote and the reason why it does not run. Either way
//! the turn has one effect that tells.
//!
//! A program has started when it waits in a call, listens on every port of its manifest and has not ended. That is the
//! same on every replica, whatever its machine: it depends on no clock.

use bytes::Bytes;
use refrain_wire::EffectKind;
use refrain_wire::effect::{UPGRADE_DONE, UPGRADE_ROLLED_BACK};

use crate::config::GuestConfig;
use crate::descriptor::Descriptors;
use crate::fs::{BundleFiles, SuccessionError};
use crate::kernel::{Kernel, Tables};
use crate::process::Phase;
use crate::slots::Slots;
use crate::stdio::Output;
use crate::turn::TurnInput;

/// The most bytes of a reason in an effect.
const MAX_REASON_BYTES: usize = 1024;

impl Kernel {
    /// The kernel of the program that is to take over, at the beginning of this turn: its guest is to be started.
    ///
    /// # Errors
    /// When the files cannot be the new program's.
    pub fn successor(
        &self,
        config: GuestConfig,
        bundle: &BundleFiles,
        input: &TurnInput<'_>,
    ) -> Result<Self, SuccessionError> {
        let before = &self.tables;
        let now_ns = before.clock.peek_ns().max(input.time.nanos());
        let fs = self.fs().succeed(bundle, config.files_bytes, now_ns)?;
        let (made, limit) = (fs.inodes_made(), config.max_inodes);
        if made > limit {
            return Err(SuccessionError::Inodes { made, limit });
        }
        let tables = Tables {
            position: before.position,
            clock: before.clock.clone(),
            random: before.random.clone(),
            process: before.process.successor(),
            output: Output::default(),
            descriptors: Descriptors::default(),
            flows: Slots::default(),
            by_id: Default::default(),
            listeners: Default::default(),
            datagrams: Default::default(),
            outward: before.outward.successor(),
            next_stamp: before.next_stamp,
            shared_bytes: 0,
            wait_ns: None,
            poll_began_ns: None,
            timer_told: before.timer_told,
            listening_told: before.listening_told.clone(),
            halted: false,
            checkpoint_due: before.checkpoint_due,
        };
        let mut successor = Self::assemble(config, tables, fs);
        successor.former_calls = self.calls_in_use();
        successor.enter_turn(input);
        Ok(successor)
    }

    /// What is wrong with a start whose guest waits, or has ended; `None` when it runs.
    #[must_use]
    pub fn start_fault(&self) -> Option<String> {
        let process = self.process();
        if process.phase != Phase::Running {
            let how = process.last_end.as_ref().map(|end| end.reason()).unwrap_or_default();
            return Some(format!("it ended at its start: {how}"));
        }
        let missing = self.config.ports.iter().find(|port| !self.listens_on(port));
        missing.map(|port| format!("it waited before it listened on port {}", port.port))
    }

    /// This successor takes over from `former`: from here on it runs `bundle`. The turn's records are its own.
    pub fn take_over(&mut self, mut former: Self, bundle: &[u8; 32], input: &TurnInput<'_>) {
        let (now_ns, limit) = (self.tables.clock.peek_ns(), former.config.log_lines_per_second);
        former.tables.output.end(now_ns, limit, &mut former.effects);
        former.reset_all_flows();
        for id in std::mem::take(&mut self.former_calls) {
            self.tables.outward.rest(id);
        }
        self.inherit_ended_associations(&mut former);
        former.note_upgrade(bundle);
        self.effects.put_first(former.effects);
        // The guest is asked again what it waits for.
        self.tables.wait_ns = None;
        self.take_records(input);
    }

    /// The group runs this bundle: the effect that tells so.
    pub fn note_upgrade(&mut self, bundle: &[u8; 32]) {
        self.effects.group(EffectKind::Upgrade, UPGRADE_DONE, Bytes::copy_from_slice(bundle));
    }

    /// The turn of an upgrade that did not come about: the guest goes on. `tried` is the successor whose guest was run.
    pub fn go_on(&mut self, tried: Option<Self>, reason: &str, input: &TurnInput<'_>) {
        self.begin_turn(input);
        if let Some(mut tried) = tried {
            let (now_ns, limit) = (self.tables.clock.peek_ns(), tried.config.log_lines_per_second);
            tried.tables.output.end(now_ns, limit, &mut tried.effects);
            self.effects.put_first(tried.effects.into_lines());
        }
        let mut end = reason.len().min(MAX_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = Bytes::copy_from_slice(&reason.as_bytes()[..end]);
        self.effects.group(EffectKind::Upgrade, UPGRADE_ROLLED_BACK, reason);
    }
}
