//! The calls that a guest makes, for whoever wants to see them: name, arguments, and what came of it.
//!
//! Only guests of a platform that traces ([`crate::Platform::traced`]) tell them, to the sink that their replica was
//! given. A call that has to wait is told when the guest is suspended, and again when it returns. Nothing of it reaches
//! the guest or its fuel: a traced turn has the digests of any other.

use std::fmt;
use std::net::SocketAddr;

use refrain_inspect::abi::Family;
use refrain_kernel::Errno;
use wasmtime::{AsContextMut, Caller, Memory};

use crate::host::{Host, Shared};

mod spec;

/// The most arguments of a function.
const MAX_ARGUMENTS: usize = 10;

/// Takes calls in, while the guest runs.
pub type CallSink = Box<dyn FnMut(HostCall) + Send>;

/// One call of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCall {
    /// The function.
    pub name: &'static str,
    /// Its arguments that mean something outside the guest, with their names.
    pub arguments: Vec<(&'static str, CallValue)>,
    /// What came of it.
    pub outcome: CallOutcome,
}

/// A value that goes into a call or comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallValue {
    /// A number.
    Number(u64),
    /// Bits.
    Flags(u64),
    /// A text in the guest's memory; bytes that are not UTF-8 are replaced.
    Text(String),
    /// An address in the guest's memory, if it is one.
    Address(Option<SocketAddr>),
    /// All arguments of a call of a component, as they are.
    Words(String),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// It succeeded, with these results.
    Returned(Vec<(&'static str, u64)>),
    /// It gave a component this.
    Gave(String),
    /// It failed.
    Failed(u16),
    /// The guest waits in it; the turn ends here.
    Waits,
    /// The guest ends by it.
    Ends,
}

impl fmt::Display for HostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (index, (name, value)) in self.arguments.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match value {
                CallValue::Number(number) => write!(f, "{comma}{name}={number}")?,
                CallValue::Flags(bits) => write!(f, "{comma}{name}={bits:#x}")?,
                CallValue::Text(text) => write!(f, "{comma}{name}={text:?}")?,
                CallValue::Address(Some(address)) => write!(f, "{comma}{name}={address}")?,
                CallValue::Address(None) => write!(f, "{comma}{name}=?")?,
                CallValue::Words(words) => write!(f, "{comma}{words}")?,
            }
        }
        f.write_str(")")?;
        match &self.outcome {
            CallOutcome::Returned(values) if values.is_empty() => f.write_str(" ok"),
            CallOutcome::Returned(values) => values.iter().try_for_each(|(name, value)| write!(f, " {name}={value}")),
            CallOutcome::Gave(words) => write!(f, " {words}"),
            CallOutcome::Failed(code) => match Errno::from_code(*code) {
                Some(errno) => write!(f, " errno {code} ({errno})"),
                None => write!(f, " errno {code}"),
            },
            CallOutcome::Waits => f.write_str(" waits"),
            CallOutcome::Ends => f.write_str(" ends"),
        }
    }
}

/// The most bytes of a component's values that are told.
const MAX_WORDS_BYTES: usize = 256;

/// A tuple of values, without its parentheses; what is long is cut.
pub(crate) fn words(values: &impl fmt::Debug) -> String {
    /// Takes so much and fails then, so that nobody formats a mebibyte for its first line.
    struct Cut(String);

    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            if self.0.len() + text.len() > MAX_WORDS_BYTES {
                return Err(fmt::Error);
            }
            self.0.push_str(text);
            Ok(())
        }
    }

    let mut cut = Cut(String::new());
    let whole = fmt::write(&mut cut, format_args!("{values:?}")).is_ok();
    let text = cut.0.strip_prefix('(').unwrap_or(&cut.0);
    let text = text.strip_suffix(')').filter(|_| whole).unwrap_or(text);
    let text = text.strip_suffix(',').unwrap_or(text);
    if whole { text.to_owned() } else { format!("{text}...") }
}

/// A function by its family and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) family: Family,
    pub(crate) name: &'static str,
}

/// A call that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called {
    function: Function,
    arguments: [u64; MAX_ARGUMENTS],
}

impl Called {
    pub(crate) fn new<const N: usize>(function: Function, given: [u64; N]) -> Self {
        let mut arguments = [0; MAX_ARGUMENTS];
        arguments[..N].copy_from_slice(&given);
        Self { function, arguments }
    }

    fn told(&self, memory: &[u8], returned: Option<i32>) -> HostCall {
        let name = self.function.name;
        let arguments = spec::arguments(self.function, &self.arguments, memory);
        let outcome = match returned {
            None => CallOutcome::Waits,
            Some(0) => CallOutcome::Returned(spec::results(self.function, &self.arguments, memory)),
            Some(code) => CallOutcome::Failed(code as u16),
        };
        HostCall { name, arguments, outcome }
    }
}

/// A call that does not wait has returned.
#[inline]
pub(crate) fn returned(caller: &mut Caller<'_, Host>, memory: Memory, result: i32) {
    if caller.data().called.is_some() {
        tell_returned(caller, memory, result);
    }
}

fn tell_returned(caller: &mut Caller<'_, Host>, memory: Memory, result: i32) {
    let (bytes, host) = memory.data_and_store_mut(caller.as_context_mut());
    let called = host.called.take();
    let mut shared = host.shared.lock();
    if let (Some(called), Some(sink)) = (called, &mut shared.calls) {
        sink(called.told(bytes, Some(result)));
    }
}

/// A call that may wait has returned, or waits now.
pub(crate) fn stepped(caller: &mut Caller<'_, Host>, shared: &mut Shared, memory: Memory, result: Option<i32>) {
    let Some(called) = caller.data().called else { return };
    if result.is_some() {
        caller.data_mut().called = None;
    }
    if let Some(sink) = &mut shared.calls {
        sink(called.told(memory.data(&*caller), result));
    }
}

/// The guest ends by the call that has begun.
pub(crate) fn ended(caller: &mut Caller<'_, Host>) {
    let host = caller.data_mut();
    let called = host.called.take();
    if let (Some(called), Some(sink)) = (called, &mut host.shared.lock().calls) {
        let arguments = spec::arguments(called.function, &called.arguments, &[]);
        sink(HostCall { name: called.function.name, arguments, outcome: CallOutcome::Ends });
    }
}
