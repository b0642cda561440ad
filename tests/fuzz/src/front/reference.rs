//! HTTP/1.1 read as plainly as can be, all bytes at hand: what the front end passes on has to be among it.

/// Bytes that a line with a length may have.
const LENGTH_LINE_BYTES: usize = 64;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) body: Vec<u8>,
}

/// What bytes hold.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Up to the first one that is not whole, or that could be read in two ways.
    pub(super) messages: Vec<Message>,
    /// There is nothing else.
    pub(super) is_whole: bool,
}

pub(super) fn read(bytes: &[u8]) -> Read {
    let mut rest = Rest(bytes);
    let mut messages = Vec::new();
    loop {
        while rest.0.first() == Some(&b'\n') || rest.0.starts_with(b"\r\n") {
            rest.line();
        }
        if rest.0.is_empty() {
            return Read { messages, is_whole: true };
        }
        match message(&mut rest) {
            Some(message) => messages.push(message),
            None => return Read { messages, is_whole: false },
        }
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// A line without its end, which is LF or CR LF, and whether it was CR LF.
    fn line(&mut self) -> Option<(&'a [u8], bool)> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        let stripped = line.strip_suffix(b"\r");
        Some((stripped.unwrap_or(line), stripped.is_some()))
    }

    /// A line that ends in CR LF and has neither of them before.
    fn strict_line(&mut self) -> Option<&'a [u8]> {
        self.line().filter(|(line, is_strict)| *is_strict && !line.contains(&b'\r')).map(|(line, _)| line)
    }

    fn take(&mut self, bytes: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

enum Length {
    Bytes(u64),
    Chunks,
}

fn message(rest: &mut Rest<'_>) -> Option<Message> {
    let (first, _) = rest.line()?;
    let mut words = first.split(|byte| *byte == b' ');
    let (method, _target, version) = (words.next()?, words.next()?, words.next()?);
    let method = String::from_utf8(method.to_vec()).ok()?;
    let is_old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return None,
    };
    let length = length(rest, is_old)?;
    let body = match length {
        Length::Bytes(bytes) => rest.take(bytes)?.to_vec(),
        Length::Chunks => chunks(rest)?,
    };
    (words.next().is_none()).then_some(Message { method, body })
}

fn length(rest: &mut Rest<'_>, is_old: bool) -> Option<Length> {
    let mut length = None;
    loop {
        let (line, is_strict) = rest.line()?;
        if line.is_empty() {
            return Some(length.unwrap_or(Length::Bytes(0)));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let found = if name.eq_ignore_ascii_case(b"content-length") {
            // The front end takes no longer line for it, its CR included.
            (line.len() + usize::from(is_strict) <= LENGTH_LINE_BYTES).then_some(())?;
            Length::Bytes(number(value, 10)?)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            (!is_old && value.eq_ignore_ascii_case(b"chunked")).then_some(Length::Chunks)?
        } else {
            continue;
        };
        if length.replace(found).is_some() {
            return None;
        }
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    u64::from_str_radix(text, radix).ok()
}

fn chunks(rest: &mut Rest<'_>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.strict_line()?;
        let size = line.split(|byte| *byte == b';').next()?;
        let size = number(size.trim_ascii_end(), 16)?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.take(size)?);
        rest.strict_line().filter(|line| line.is_empty())?;
    }
    while !rest.strict_line()?.is_empty() {}
    Some(body)
}
