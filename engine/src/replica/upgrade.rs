//! The turn of an upgrade: the next program is tried on a copy of the files, and takes over or does not.
//!
//! What is tried has one start: until it waits for the first time, with the fuel of a turn. It may yield its core
//! meanwhile like any turn. Everything that decides is in the log, in the bundle or in the kernel, so all replicas
//! decide alike. A bundle that is not at hand is this host's failure, which the guest never sees.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_wire::record::records;
use refrain_wire::{Control, Record};

use super::{Progress, Replica, TurnBatch, poll_run};
use crate::blueprint::Blueprint;
use crate::guest::{self, Beginning, Run};
use crate::host::Shared;

/// An upgrade whose turn is under way.
pub(super) enum Upgrade {
    /// The next program is at its start.
    Trial(Box<Trial>),
    /// Its bundle is not at hand.
    Missing([u8; 32]),
}

pub(super) struct Trial {
    blueprint: Arc<Blueprint>,
    shared: Arc<Mutex<Shared>>,
    run: Option<Run>,
    batch: TurnBatch,
}

/// The bundle that the group runs from this batch on, if it says so. Controls stand before the first origin.
pub(super) fn wanted(batch: &Bytes) -> Option<[u8; 32]> {
    let leaders = records(batch).map_while(Result::ok).take_while(|record| !matches!(record, Record::Origin(_)));
    leaders.into_iter().find_map(|record| match record {
        Record::Control(Control::Upgrade { bundle, .. }) => Some(bundle),
        _ => None,
    })
}

impl Replica {
    pub(super) fn begin_upgrade(&mut self, bundle: [u8; 32], batch: &TurnBatch) {
        if bundle == self.blueprint.digest {
            return self.enter(batch, |kernel, input| {
                kernel.begin_turn(input);
                kernel.note_upgrade(&bundle);
            });
        }
        let next = self.blueprints.as_ref().and_then(|blueprints| blueprints.get(self.id.group, &bundle));
        let Some(blueprint) = next else {
            self.upgrade = Some(Upgrade::Missing(bundle));
            return;
        };
        let (successor, calls) = {
            let mut shared = self.shared.lock();
            let successor = shared.kernel().successor(blueprint.config.clone(), &blueprint.bundle, &batch.input());
            // Whoever is told the guest's calls hears those of the next one too.
            let calls = successor.is_ok().then(|| shared.calls.take()).flatten();
            (successor, calls)
        };
        match successor {
            Ok(mut kernel) => {
                let started = kernel.start_if_due();
                debug_assert!(started, "a successor is to be started at once");
                let shared = Shared { turn: 1, calls, ..Shared::new(Some(kernel)) };
                let shared = Arc::new(Mutex::new(shared));
                let compiled = Arc::clone(&blueprint.compiled);
                let run = guest::run(compiled, Arc::clone(&shared), blueprint.limits, Beginning::Trial);
                let trial = Trial { blueprint, shared, run: Some(run), batch: batch.clone() };
                self.upgrade = Some(Upgrade::Trial(Box::new(trial)));
            }
            Err(error) => self.enter(batch, |kernel, input| kernel.go_on(None, &error.to_string(), input)),
        }
    }

    /// Runs what is tried on, and decides when it waits or has ended. `None` when the turn goes on with its guest.
    pub(super) fn try_upgrade(&mut self) -> Option<Progress> {
        let mut trial = match self.upgrade.take()? {
            Upgrade::Trial(trial) => trial,
            Upgrade::Missing(bundle) => {
                let (bundle, position) = (blake3::Hash::from_bytes(bundle), self.position);
                return Some(Progress::Failed(format!(
                    "bundle {bundle} of the upgrade at position {position} is not at hand"
                )));
            }
        };
        match poll_run(&mut trial.run, &trial.shared) {
            None => self.settle(*trial),
            Some(Progress::Yielded) => {
                self.upgrade = Some(Upgrade::Trial(trial));
                return Some(Progress::Yielded);
            }
            failed => return failed,
        }
        None
    }

    fn settle(&mut self, trial: Trial) {
        let Trial { blueprint, shared, run, batch } = trial;
        let mut next = shared.lock();
        if let Some(fault) = next.kernel().start_fault() {
            let tried = next.kernel.take();
            self.shared.lock().calls = next.calls.take();
            return self.enter(&batch, |kernel, input| kernel.go_on(tried, &fault, input));
        }
        let former = self.shared.lock().kernel.take().expect("a replica has its kernel between its guest's calls");
        next.turn += 1;
        next.kernel().take_over(former, &blueprint.digest, &batch.input());
        drop(next);
        (self.shared, self.run, self.blueprint) = (shared, run, blueprint);
        self.shared.lock().fuel_left = self.fuel_per_turn();
    }
}
