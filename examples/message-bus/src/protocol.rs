//! Lines of the protocol, and what they say.

/// Longest line, without its end.
pub const MAX_LINE: usize = 4096;
/// Longest payload of a message.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Longest subject.
const MAX_SUBJECT: usize = 255;

/// What a client says; a `Publish` is followed by its payload.
#[derive(Debug)]
pub enum Command<'a> {
    Connect { verbose: Option<bool>, echo: Option<bool> },
    Ping,
    Pong,
    Subscribe { subject: &'a str, group: Option<&'a str>, sid: &'a str },
    Unsubscribe { sid: &'a str, after: Option<u64> },
    Publish { subject: &'a str, reply: Option<&'a str>, bytes: usize },
}

/// Why a line is refused, in the protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    UnknownOperation,
    Parser,
    Subject,
    Line,
    Payload,
    Subscriptions,
    SlowConsumer,
}

impl Fault {
    pub fn words(self) -> &'static str {
        match self {
            Self::UnknownOperation => "Unknown Protocol Operation",
            Self::Parser => "Parser Error",
            Self::Subject => "Invalid Subject",
            Self::Line => "Maximum Control Line Exceeded",
            Self::Payload => "Maximum Payload Violation",
            Self::Subscriptions => "Maximum Subscriptions Exceeded",
            Self::SlowConsumer => "Slow Consumer",
        }
    }

    /// Whether the session goes on.
    pub fn is_survived(self) -> bool {
        matches!(self, Self::Subject | Self::Subscriptions)
    }
}

/// Reads a line without its end.
pub fn parse(line: &str) -> Result<Command<'_>, Fault> {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let verb = words.next().unwrap_or_default();
    let rest = line.trim_start().get(verb.len()..).unwrap_or_default();
    let words: Vec<&str> = words.take(5).collect();
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    if is("PUB") {
        return publish(&words);
    }
    if is("SUB") {
        return subscribe(&words);
    }
    if is("UNSUB") {
        return unsubscribe(&words);
    }
    match () {
        () if is("PING") => Ok(Command::Ping),
        () if is("PONG") => Ok(Command::Pong),
        () if is("CONNECT") => Ok(Command::Connect { verbose: flag(rest, "verbose"), echo: flag(rest, "echo") }),
        () => Err(Fault::UnknownOperation),
    }
}

fn publish<'a>(words: &[&'a str]) -> Result<Command<'a>, Fault> {
    let (subject, reply, bytes) = match *words {
        [subject, bytes] => (subject, None, bytes),
        [subject, reply, bytes] => (subject, Some(reply), bytes),
        _ => return Err(Fault::Parser),
    };
    let bytes = bytes.parse().map_err(|_| Fault::Parser)?;
    if bytes > MAX_PAYLOAD {
        return Err(Fault::Payload);
    }
    Ok(Command::Publish { subject, reply, bytes })
}

fn subscribe<'a>(words: &[&'a str]) -> Result<Command<'a>, Fault> {
    let (subject, group, sid) = match *words {
        [subject, sid] => (subject, None, sid),
        [subject, group, sid] => (subject, Some(group), sid),
        _ => return Err(Fault::Parser),
    };
    if is_pattern(subject) { Ok(Command::Subscribe { subject, group, sid }) } else { Err(Fault::Subject) }
}

fn unsubscribe<'a>(words: &[&'a str]) -> Result<Command<'a>, Fault> {
    match *words {
        [sid] => Ok(Command::Unsubscribe { sid, after: None }),
        [sid, after] => Ok(Command::Unsubscribe { sid, after: Some(after.parse().map_err(|_| Fault::Parser)?) }),
        _ => Err(Fault::Parser),
    }
}

/// Whether it can be subscribed to: words with dots between them, `*` for any one, `>` for all that follow.
fn is_pattern(subject: &str) -> bool {
    let words = subject.split('.').count();
    subject.len() <= MAX_SUBJECT
        && subject.split('.').enumerate().all(|(at, word)| !word.is_empty() && (word != ">" || at + 1 == words))
}

/// Whether it can be published to.
pub fn is_subject(subject: &str) -> bool {
    is_pattern(subject) && subject.split('.').all(|word| word != "*" && word != ">")
}

/// The value of a flag in the flat JSON of `CONNECT`.
fn flag(json: &str, name: &str) -> Option<bool> {
    let quoted = format!("\"{name}\"");
    let rest = &json[json.find(&quoted)? + quoted.len()..];
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    match value {
        _ if value.starts_with("true") => Some(true),
        _ if value.starts_with("false") => Some(false),
        _ => None,
    }
}
