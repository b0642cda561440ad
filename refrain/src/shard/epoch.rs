//! The epoch of this node's proxy: wanted, begun, renewed, lost.

use std::rc::Rc;

use refrain_sequencer::shard::Applied;
use refrain_wire::limits::MAX_RENEW_GROUPS;
use refrain_wire::message::uplink::ToLeader;
use refrain_wire::{Epoch, GroupId, Position};

use super::Inner;

impl Inner {
    /// Renews the epoch's lease, or wants an epoch where there is none.
    pub(super) fn renew(&self) {
        if !self.config.cluster.roles.proxy || !self.link_is_up() {
            return;
        }
        match self.epoch.get() {
            Epoch(0) if self.draining.get() => {}
            Epoch(0) => {
                let (proxy, nonce) = (self.config.cluster.proxy(), self.nonce.get());
                self.lease.ask();
                self.tell_leader(ToLeader::OpenEpoch { proxy, nonce, outward: self.config.outward });
            }
            epoch => {
                let released = self.released();
                self.tell_leader(ToLeader::Renew { epoch, beat: self.lease.beat(), released });
            }
        }
    }

    /// How far this proxy has released each group of the log, those that do not run here among them.
    fn released(&self) -> Vec<(GroupId, Position)> {
        let of = |id: &GroupId| self.front().released(*id);
        self.view.with_shard(|shard| shard.groups().keys().take(MAX_RENEW_GROUPS).map(|id| (*id, of(id))).collect())
    }

    /// Acts on epochs that an entry opened and ended.
    pub(super) fn follow_epochs(&self, applied: &Applied) {
        if applied.opened.is_empty() && applied.ended.is_empty() {
            return;
        }
        let open: Vec<Epoch> = self.view.with_shard(|shard| shard.epochs().keys().copied().collect());
        self.history.set_epochs(&open);
        let (proxy, nonce) = (self.config.cluster.proxy(), self.nonce.get());
        for epoch in &applied.ended {
            if *epoch == self.epoch.get() {
                tracing::error!(%epoch, "this proxy's epoch was ended: its connections are closed");
                self.lose_epoch();
            }
        }
        let mine = applied.opened.iter().filter(|opened| opened.proxy == proxy && opened.nonce == nonce);
        for opened in mine.filter(|opened| open.contains(&opened.epoch)) {
            tracing::debug!(epoch = %opened.epoch, "epoch opened");
            self.epoch.set(opened.epoch);
            self.lease.begin();
            self.renew_soon();
            self.front().begin_epoch(opened.epoch, applied.position);
            self.want_again();
            self.create_missing();
            self.tell_joined();
        }
        self.watch_proxies();
    }

    /// The lease counts from when the epoch was asked for, which may be seconds ago: a leader that is lost before the next
    /// renewal would leave little of it.
    fn renew_soon(&self) {
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            if let Some(inner) = me.upgrade() {
                inner.renew();
            }
        });
    }

    /// Gives the epoch up when nobody has answered for most of the lease: nothing may go out any more.
    pub(super) fn check_lease(&self) {
        if self.epoch.get() != Epoch(0) && self.lease.is_over() {
            let lease = self.config.lease;
            tracing::error!(?lease, "no word from the leader for most of the lease: connections are closed");
            self.lose_epoch();
        }
    }

    /// Gives the epoch up when it has no serial left for another client. A serial is never used again within an epoch, as
    /// turns that wait for votes may still write to the flow that had it.
    fn check_serials(&self) {
        if self.front().is_used_up() {
            let epoch = self.epoch.get();
            tracing::error!(%epoch, "every serial of this proxy's epoch was used: connections are closed");
            self.lose_epoch();
        }
    }

    /// Closes every connection, and has a new epoch tried for.
    pub(super) fn lose_epoch(&self) {
        self.front().end_epoch();
        self.traces.epoch_lost();
        self.epoch.set(Epoch(0));
        self.nonce.set(self.nonce.get().wrapping_add(1));
        self.lease.give_up();
    }
}

/// Renews the lease for ever, and gives the epoch up when nobody answers.
pub(super) async fn run(inner: Rc<Inner>) {
    loop {
        tokio::time::sleep(inner.lease.period()).await;
        inner.check_lease();
        inner.check_serials();
        inner.renew();
        inner.create_missing();
        inner.want_again();
        if inner.stalled.take() {
            inner.resend();
        }
    }
}
