//! Looking at a replica between two turns: for the forensics of one that diverged, and for a replay.

use std::time::{Duration, Instant};

use super::{Progress, Replica};
use crate::checkpoint::Captured;
use crate::replica::ReplicaId;
use crate::trace::CallSink;

impl Replica {
    /// Tells every call of the guest to `sink` from now on, or nobody; where the platform traces
    /// ([`crate::Platform::traced`]), else nothing is told.
    pub fn tell_calls(&mut self, sink: Option<CallSink>) {
        self.shared.lock().calls = sink;
    }

    /// Copies the whole state as it is, but for the guest's call stack, which no host can read: memories, globals,
    /// kernel. Works for every module, and leaves the replica as it was. Call it between turns.
    pub fn look(&mut self) -> Captured {
        let image = if self.run.is_some() {
            self.shared.lock().look = true;
            // A guest that waits copies its state and goes on waiting.
            drop(self.poll_guest());
            let mut shared = self.shared.lock();
            shared.look = false;
            shared.image.take()
        } else {
            None
        };
        self.captured(image)
    }

    /// Captures the whole state with the guest's call stack, as a checkpoint does. Call it between turns. `None` when
    /// the module's guests cannot be saved.
    ///
    /// # Errors
    /// Why the stack could not be stored; the replica is of no use any more.
    pub fn capture(&mut self) -> Option<Result<Captured, String>> {
        if self.run.is_none() {
            return Some(Ok(self.captured(None)));
        }
        if self.blueprint.compiled.checkpointable.is_err() {
            return None;
        }
        self.shared.lock().capture = true;
        Some(loop {
            match self.poll_guest() {
                Some(Progress::Yielded) => {}
                Some(Progress::Failed(reason)) => break Err(reason),
                Some(Progress::Done(_)) | None => {
                    let image = self.shared.lock().image.take();
                    break match image {
                        Some(image) if self.run.is_some() => Ok(self.captured(Some(image))),
                        _ => Err("its stack could not be stored".into()),
                    };
                }
            }
        })
    }

    fn captured(&self, image: Option<crate::checkpoint::image::Image>) -> Captured {
        let kernel = self.shared.lock().kernel().snapshot();
        Captured::new(&self.blueprint, (self.position, self.running), image, kernel, Duration::ZERO)
    }
}

/// A replica that nobody wants to run any more, handed over to whoever examines it.
pub struct Retired {
    replica: Box<Replica>,
    /// It was taken away in the middle of a turn.
    in_turn: bool,
}

/// Takes in a retired replica; `None` when it was gone already. Called on a thread of the engine: must not block.
pub type Heir = Box<dyn FnOnce(Option<Retired>) + Send>;

/// What is left of a retired replica.
pub struct Remains {
    /// Its state after its last turn.
    pub captured: Captured,
    /// Whether the guest's call stack is in it.
    pub with_stack: bool,
}

impl Retired {
    pub(crate) fn new(replica: Box<Replica>, in_turn: bool) -> Self {
        Self { replica, in_turn }
    }

    /// Which one it was.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.replica.id()
    }

    /// Ends the turn that it is in, if it is in one, within `patience`, and captures its state: with the guest's call
    /// stack where that can be stored.
    ///
    /// # Errors
    /// In words, when the turn does not end.
    pub fn examine(mut self, patience: Duration) -> Result<Remains, String> {
        let deadline = Instant::now() + patience;
        while self.in_turn {
            match self.replica.resume() {
                Progress::Done(_) => self.in_turn = false,
                Progress::Yielded if Instant::now() < deadline => {}
                Progress::Yielded => return Err("its turn did not end".into()),
                Progress::Failed(reason) => return Err(reason),
            }
        }
        let looked = self.replica.look();
        Ok(match self.replica.capture() {
            Some(Ok(captured)) => Remains { captured, with_stack: true },
            Some(Err(_)) | None => Remains { captured: looked, with_stack: false },
        })
    }
}
