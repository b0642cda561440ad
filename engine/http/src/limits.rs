//! What a service may use. Every limit has a defined answer when it is exceeded.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How many requests an instance serves before it is dropped.
///
/// Each instance draws its own number from the range, so that services that wrongly count on state that stays, or on a
/// fresh one, fail early and not in production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reuse {
    range: RangeInclusive<u32>,
}

impl Reuse {
    /// A fresh instance for every request.
    pub const FRESH: Self = Self { range: 1..=1 };

    /// Between `least` and `most` requests; none of them is taken for less than 1, nor `most` for less than `least`.
    #[must_use]
    pub fn between(least: u32, most: u32) -> Self {
        let least = least.max(1);
        Self { range: least..=most.max(least) }
    }

    /// A number of the range, from any 64 random bits.
    pub(crate) fn draw(&self, random: u64) -> u32 {
        let (least, most) = (u64::from(*self.range.start()), u64::from(*self.range.end()));
        u32::try_from(least + random % (most - least + 1)).expect("within the range, whose ends are u32")
    }
}

/// What a service may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of all linear memories of an instance. Growth beyond fails in the guest (`memory.grow` gives -1); a
    /// component that begins larger is not loaded.
    pub memory_bytes: usize,
    /// Elements of each table of an instance. As with memory.
    pub table_elements: usize,
    /// Handles (streams, bodies, fields, polls) that an instance may hold. Beyond, the guest traps. They bound what the
    /// host keeps for it beside its memory: at most `header_bytes` for one with fields, and 272 KiB for three with a
    /// body that is being written.
    pub handles: usize,
    /// Instances that there may be beside those that are idle, with those that go on after their last response; no more
    /// than seven eighths of the host's slots hold. Beyond, requests wait in the queue.
    pub instances: usize,
    /// Requests that one instance of a 0.3 component serves at once; 0.2 components serve one whatever this says.
    pub concurrency: usize,
    /// Requests that may wait for an instance. Beyond: [`Refusal::Busy`](crate::Refusal::Busy).
    pub queue: usize,
    /// How long a request may wait for a place, and then for an instance to have it in. Beyond:
    /// [`Refusal::Busy`](crate::Refusal::Busy).
    pub queue_wait: Duration,
    /// Requests that an instance serves before it is dropped.
    pub reuse: Reuse,
    /// How long an instance may be idle before it is dropped.
    pub idle: Duration,
    /// Time from when an instance takes a request, or the last piece of its body, to its response's head; a request that
    /// moves has the `lifetime` for it, if that is longer. Beyond: [`Refusal::Deadline`](crate::Refusal::Deadline).
    pub deadline: Duration,
    /// Time from when an instance takes a request to the end of its response. Beyond:
    /// [`BodyError::Lifetime`](crate::BodyError::Lifetime).
    pub lifetime: Duration,
    /// How long a guest may go on after its response is complete and nobody waits for another of its instance. Beyond,
    /// the instance is dropped; one that may take further requests is given its `idle` time before. With a request whose
    /// client is gone, or whose time is up, it goes on as long as others wait beside it.
    pub afterwards: Duration,
    /// Processor time of a request, from when a tick of 1 ms first falls into its work; requests that are in an instance
    /// at once put theirs together. Beyond: [`Refusal::Cpu`](crate::Refusal::Cpu), or
    /// [`BodyError::Cpu`](crate::BodyError::Cpu).
    pub cpu: Option<Duration>,
    /// Bytes of names and values of the headers of a request
    /// ([`Refusal::RequestHeaders`](crate::Refusal::RequestHeaders)), of a response
    /// ([`Refusal::ResponseHeaders`](crate::Refusal::ResponseHeaders)), and of those of outgoing calls.
    pub header_bytes: usize,
    /// Bytes of a request's body. Beyond: [`Refusal::RequestBody`](crate::Refusal::RequestBody) if the response has
    /// not begun, an error in the guest's stream in any case.
    pub request_body_bytes: u64,
    /// Bytes of a response's body. Beyond: [`BodyError::TooLong`](crate::BodyError::TooLong).
    pub response_body_bytes: u64,
    /// Bytes of a line of a guest's log; the rest of the line is dropped.
    pub log_line_bytes: usize,
    /// Lines of the log per request; requests that are in an instance at once put theirs together. Beyond they are
    /// dropped, and the number of those is logged.
    pub log_lines: usize,
    /// Outgoing calls under way at once of all instances together, and at most 64 of one: until the request is sent and
    /// the response received. Beyond, calls wait in turn, within their time to connect.
    pub outgoing_calls: usize,
    /// Outgoing calls of one instance that may wait, and of all together four times as many. Beyond, and when the time
    /// to connect is over, the guest gets `connection-limit-reached`.
    pub outgoing_queue: usize,
    /// Time to connect to an upstream, with the wait for a place among the calls, name look-up (8 at once per service;
    /// others wait) and TLS. Beyond, the guest gets `connection-timeout`. A guest may ask for less.
    pub connect: Duration,
    /// Time from the last piece of a request that is sent to the head of its response. Beyond, the guest gets
    /// `HTTP-response-timeout`. A guest may ask for less.
    pub first_byte: Duration,
    /// Time between two pieces of an upstream's body. Beyond, the guest gets `connection-read-timeout`. A guest may ask
    /// for less.
    pub between_bytes: Duration,
    /// Bytes of a body sent to an upstream. Beyond, the guest gets `HTTP-request-body-size`.
    pub outgoing_request_bytes: u64,
    /// Bytes of a body received from an upstream. Beyond, the guest gets `HTTP-response-body-size`.
    pub outgoing_response_bytes: u64,
}

impl Limits {
    /// Requests that an instance of 0.3 may really serve at once.
    pub(crate) fn beside(&self) -> usize {
        let most = usize::try_from(*self.reuse.range.end()).unwrap_or(usize::MAX);
        self.concurrency.clamp(1, most.max(1))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 128 * 1024 * 1024,
            table_elements: 64 * 1024,
            handles: 1024,
            instances: 256,
            concurrency: 16,
            queue: 1024,
            queue_wait: Duration::from_secs(10),
            reuse: Reuse::FRESH,
            idle: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            lifetime: Duration::from_secs(3600),
            afterwards: Duration::from_secs(5),
            cpu: None,
            header_bytes: 64 * 1024,
            request_body_bytes: 1 << 30,
            response_body_bytes: 1 << 34,
            log_line_bytes: 8 * 1024,
            log_lines: 1000,
            outgoing_calls: 1024,
            outgoing_queue: 1024,
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(60),
            outgoing_request_bytes: 1 << 30,
            outgoing_response_bytes: 1 << 30,
        }
    }
}
