//! The loop's work while it runs, and its end: commands, the drain, the last audit.

use std::rc::Rc;
use std::time::Duration;

use refrain_sequencer::log::OrderedLog as _;
use refrain_wire::{Control, GroupId};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Command, Inner};

/// How long the audit before the end may take.
const AUDIT_GRACE: Duration = Duration::from_secs(2);

impl Inner {
    /// Takes commands until a drain, or until the log fails. Returns the failure.
    pub(super) async fn go_on(self: Rc<Self>, mut inbox: mpsc::Receiver<Command>) -> Option<String> {
        let mut ended = self.ended.subscribe();
        let drained = Rc::new(Notify::new());
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                () = drained.notified() => return self.failure.take(),
                _ = ended.wait_for(|ended| *ended), if !draining => return self.failure.take(),
                command = inbox.recv() => match command {
                    Some(Command::Drain { deadline, done }) if !draining => {
                        draining = true;
                        let (inner, drained) = (Rc::clone(&self), Rc::clone(&drained));
                        tokio::task::spawn_local(async move {
                            inner.drain(deadline).await;
                            let _ = done.send(());
                            drained.notify_one();
                        });
                    }
                    Some(command) => self.command(command),
                    None => return None,
                },
            }
        }
    }

    /// Audits every group that runs, and waits until the answers are agreed on.
    async fn audit_all(&self) {
        let running: Vec<GroupId> = {
            let groups = self.groups.borrow();
            groups.values().filter(|group| !group.halted).map(|group| group.id).collect()
        };
        let audits: Vec<_> = running
            .into_iter()
            .map(|id| {
                let (reply, answer) = oneshot::channel();
                self.append(id, Control::Audit, reply);
                (id, answer)
            })
            .collect();
        for (id, answer) in audits {
            let Ok(Ok(appended)) = answer.await else { continue };
            loop {
                let voted = self.voted.notified();
                if self.front().released(id).0 >= appended.position {
                    break;
                }
                voted.await;
            }
        }
    }

    /// Lets connections end, audits once more, flushes and closes the log.
    async fn drain(&self, deadline: Duration) {
        let drained = self.front().drain(deadline).await;
        if drained.reset > 0 {
            tracing::warn!(connections = drained.reset, "connections were reset at the end of the drain");
        }
        if tokio::time::timeout(AUDIT_GRACE, self.audit_all()).await.is_err() {
            tracing::warn!("the audit before the end was not over in {AUDIT_GRACE:?}");
        }
        self.sequencer.stop();
        // The sender is this very object's, so the wait ends when the sequencer does.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
        if let Err(error) = self.log.close().await {
            tracing::error!(%error, "the log was not closed cleanly");
        }
    }
}
