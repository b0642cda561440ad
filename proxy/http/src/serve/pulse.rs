//! What the bytes, the requests and the driver of one connection tell each other. All three run on one thread; hyper
//! wants what it moves to be `Send`, hence atomics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::answer::Fault;
use crate::edge::FramingFault;

#[derive(Debug)]
pub(crate) struct Pulse {
    began: Instant,
    /// Milliseconds after `began` at which the connection has to be ended, plus one; 0 is never.
    deadline: AtomicU64,
    /// How long a head may take, and since when one is there in part. It counts while no request is open: one that waits
    /// for its turn behind another may be read later.
    head: Duration,
    head_since: AtomicU64,
    /// How long the connection may be without a request, and since when it is if it is.
    idle: Duration,
    quiet_since: AtomicU64,
    /// Whether a message has begun and not ended in the bytes.
    is_within: AtomicBool,
    /// The same for the answer under way, whatever it does meanwhile.
    total: AtomicU64,
    /// Requests that have begun, and those of them whose answers have not ended.
    begun: AtomicU32,
    open: AtomicU32,
    /// The message that must not be served, and why; 0 is none.
    fault: AtomicU64,
    is_upgraded: AtomicBool,
    /// What the connection was given up for; 0 is nothing.
    gave_up: AtomicU8,
}

/// What did not happen in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// The end of a head.
    Head,
    /// Another request.
    Request,
    /// The taking of an answer.
    Taking,
    /// The end of an exchange as a whole.
    End,
}

impl Late {
    const ALL: [Self; 4] = [Self::Head, Self::Request, Self::Taking, Self::End];

    /// As the access log has it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Head => "head-slow",
            Self::Request => "idle",
            Self::Taking => "client-slow",
            Self::End => "too-long",
        }
    }
}

/// A request that is open until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Pulse>);

impl Open {
    /// Over HTTP/1.1: the answer has to be with the client by then.
    pub(crate) fn ends_at(&self, total: Instant) {
        self.0.total.store(self.0.encode(total), Relaxed);
    }

    /// What the connection ended for before its time.
    pub(crate) fn given_up(&self) -> Option<Late> {
        self.0.given_up()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Relaxed) == 1 {
            self.0.quiet_since.store(self.0.encode(Instant::now()), Relaxed);
        }
    }
}

impl Pulse {
    pub(crate) fn new(idle: Duration, head: Duration) -> Self {
        Self {
            began: Instant::now(),
            deadline: AtomicU64::new(0),
            head,
            head_since: AtomicU64::new(0),
            idle,
            quiet_since: AtomicU64::new(1),
            is_within: AtomicBool::new(false),
            total: AtomicU64::new(0),
            begun: AtomicU32::new(0),
            open: AtomicU32::new(0),
            fault: AtomicU64::new(0),
            is_upgraded: AtomicBool::new(false),
            gave_up: AtomicU8::new(0),
        }
    }

    /// Begins a request: its number from 1, and what keeps it open.
    pub(crate) fn begin(self: &Arc<Self>) -> (u32, Open) {
        self.open.fetch_add(1, Relaxed);
        self.total.store(0, Relaxed);
        let number = self.begun.fetch_add(1, Relaxed).wrapping_add(1);
        (number, Open(Arc::clone(self)))
    }

    fn is_quiet(&self) -> bool {
        self.open.load(Relaxed) == 0
    }

    fn quiet_since(&self) -> Instant {
        self.decode(&self.quiet_since).unwrap_or(self.began)
    }

    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        self.deadline.store(deadline.map_or(0, |deadline| self.encode(deadline)), Relaxed);
    }

    pub(crate) fn set_head_since(&self, since: Option<Instant>) {
        self.head_since.store(since.map_or(0, |since| self.encode(since)), Relaxed);
    }

    /// Told with the bytes of HTTP/1.1; a message has a time of its own.
    pub(crate) fn set_within(&self, is_within: bool) {
        self.is_within.store(is_within, Relaxed);
    }

    /// Everything that was written is with the kernel: an answer that has been handed over is out.
    pub(crate) fn flushed(&self) {
        if self.is_quiet() {
            self.total.store(0, Relaxed);
        }
    }

    /// When the connection has to be ended, and for what.
    pub(crate) fn due(&self) -> Option<(Instant, Late)> {
        let is_idle = self.is_quiet() && !self.is_within.load(Relaxed) && !self.is_upgraded();
        let idle = is_idle.then(|| self.quiet_since() + self.idle);
        let head = self.decode(&self.head_since).filter(|_| self.is_quiet());
        let head = head.map(|since| since.max(self.quiet_since()) + self.head);
        let all = [head, idle, self.decode(&self.deadline), self.decode(&self.total)];
        all.into_iter().zip(Late::ALL).filter_map(|(due, late)| Some((due?, late))).min_by_key(|(due, _)| *due)
    }

    #[cfg(test)]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due().map(|(due, _)| due)
    }

    /// The connection ends because of this.
    pub(crate) fn give_up(&self, late: Late) {
        self.gave_up.store(late as u8 + 1, Relaxed);
    }

    /// What it ends for before its time.
    pub(crate) fn given_up(&self) -> Option<Late> {
        Late::ALL.get(usize::from(self.gave_up.load(Relaxed)).checked_sub(1)?).copied()
    }

    /// Whether a head has begun and not ended in the bytes.
    pub(crate) fn is_in_head(&self) -> bool {
        self.head_since.load(Relaxed) != 0
    }

    /// The request that began last, while none is open.
    pub(crate) fn last_of_quiet(&self) -> Option<u32> {
        self.is_quiet().then(|| self.begun.load(Relaxed))
    }

    fn encode(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.began).as_millis() + 1).unwrap_or(u64::MAX)
    }

    fn decode(&self, time: &AtomicU64) -> Option<Instant> {
        match time.load(Relaxed) {
            0 => None,
            millis => Some(self.began + Duration::from_millis(millis)),
        }
    }

    pub(crate) fn set_fault(&self, number: u32, fault: FramingFault) {
        let code = match fault {
            FramingFault::LengthAndEncoding => 1,
            FramingFault::LengthTwice => 2,
            FramingFault::Length => 3,
        };
        self.fault.store(u64::from(number) << 8 | code, Relaxed);
    }

    /// What is wrong with the framing of this request.
    pub(crate) fn fault_of(&self, number: u32) -> Option<Fault> {
        let fault = self.fault.load(Relaxed);
        if fault == 0 || fault >> 8 != u64::from(number) {
            return None;
        }
        Some(if fault & 255 == 1 { Fault::LengthAndEncoding } else { Fault::LengthTwice })
    }

    /// The bytes are no longer HTTP.
    pub(crate) fn upgrade(&self) {
        self.is_upgraded.store(true, Relaxed);
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Relaxed)
    }
}
