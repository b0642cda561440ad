//! The hot side of tracing: whether a batch is traced, and the spans of one that is.

mod ids;
mod record;
mod sampler;
mod span;
mod tracer;

pub use ids::{SpanId, TraceId, TraceIds};
pub use span::Stage;
pub use tracer::{BatchTrace, Interval, SLOW, Tracer, Turn};

pub(crate) use record::{Anchor, Finished};
#[cfg(test)]
pub(crate) use record::{Detail, Record};
pub(crate) use sampler::Sampler;
pub(crate) use span::attributes;
pub(crate) use tracer::{Inbox, QUEUED_RECORDS, channel};
