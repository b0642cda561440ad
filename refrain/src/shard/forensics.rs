//! What is kept of a replica that diverged: a report, and its state as it was when it was taken away.
//!
//! The loop thread only says which replica; its worker hands it over between two steps, and a thread at nice 19 does the
//! rest. Bundles are bounded in number and bytes, the oldest go first. Nothing depends on them: a disk that is full costs
//! the bundle, and a word in the log.

use refrain_api::{ForensicCheckpoint, ForensicEngine, ForensicHost, ForensicReport};
use refrain_engine::ReplicaId;
use refrain_wire::{Control, GroupId, Position};

use super::Inner;

mod keeper;

impl Inner {
    /// A seat is put out: where its replica runs here, it is taken away and its state is kept.
    pub(super) fn keep_forensics(&self, id: GroupId, control: &Control, at: Position) {
        let Control::Quarantine { seat, incarnation, .. } = control else { return };
        let replica = ReplicaId { group: id, seat: *seat, incarnation: *incarnation };
        let Some(workers) = self.workers() else { return };
        if self.seams.turns.are_inline() {
            // Bundles are written by a thread of their own.
            return workers.remove(replica);
        }
        let Some(report) = self.forensic_report(replica, control, at) else { return };
        let data_dir = self.config.data_dir.clone();
        workers.retire(replica, Box::new(move |retired| keeper::keep(data_dir, report, retired)));
    }

    /// What is known of it here; none when it runs elsewhere.
    fn forensic_report(&self, replica: ReplicaId, control: &Control, at: Position) -> Option<ForensicReport> {
        let Control::Quarantine { position, voted, agreed, .. } = control else { return None };
        let groups = self.groups.borrow();
        let group = groups.get(&replica.group)?;
        if group.local_replica(replica.seat) != Some(replica) {
            return None;
        }
        let checkpoint = self.view.with_shard(|shard| shard.groups().get(&replica.group)?.checkpoint);
        let checkpoint = checkpoint.map(|checkpoint| ForensicCheckpoint {
            position: checkpoint.position.0,
            root: blake3::Hash::from_bytes(checkpoint.root).to_string(),
        });
        let module = self.catalog.blueprint(replica.group, &group.service.bundle)?.compiled.digest;
        Some(ForensicReport {
            service: group.service.name.clone(),
            group: replica.group.0,
            seat: replica.seat.0,
            incarnation: replica.incarnation.0,
            node: self.node.0,
            position: position.0,
            voted: voted.to_string(),
            agreed: agreed.to_string(),
            recorded_at: at.0,
            state: None,
            note: None,
            checkpoint,
            module: blake3::Hash::from_bytes(module).to_string(),
            bundle: blake3::Hash::from_bytes(group.service.bundle).to_string(),
            engine: ForensicEngine {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                program: None,
                key: self.engine.as_ref()?.key.to_string(),
            },
            host: ForensicHost::default(),
            unix_seconds: 0,
        })
    }
}
