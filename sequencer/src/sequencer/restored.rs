//! A state that stands for the entries that led to it: the log was cut, and this is what it delivers first.

use bytes::Bytes;
use refrain_wire::Position;

use super::{Core, Event, State};
use crate::shard::ShardState;

impl Core {
    pub(super) fn restored(&self, position: Position, bytes: &Bytes) {
        {
            let state = &mut *self.state.borrow_mut();
            if state.broken.is_some() {
                return;
            }
            match ShardState::decode(bytes) {
                Ok(shard) => state.restore(shard),
                Err(error) => {
                    tracing::error!(%position, %error, "the state in place of earlier entries is not understood");
                    state.broken = Some((position, error));
                    return self.work.notify_one();
                }
            }
        }
        (self.handler)(Event::Restored(position));
    }
}

impl State {
    fn restore(&mut self, shard: ShardState) {
        for epoch in self.shard.epochs().keys().filter(|epoch| !shard.epochs().contains_key(epoch)) {
            self.batcher.end_epoch(*epoch);
        }
        for (epoch, known) in shard.epochs() {
            if self.shard.epochs().contains_key(epoch) {
                self.batcher.applied(*epoch, known.last);
            } else {
                self.batcher.open_epoch(*epoch, known.last);
            }
        }
        self.clock.note(shard.time());
        self.shard = shard;
    }
}
