//! The head of an answer (RFC 9112, sections 4 and 5), as far as the client needs it.

use anyhow::{Context, Result, bail};

/// The most bytes of a head.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
const END: &[u8] = b"\r\n\r\n";

/// What a head says.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// How many bytes follow; `None` when they come in chunks.
    pub body_bytes: Option<usize>,
}

impl Head {
    /// The head at the start of `bytes` and where it ends; `None` when it is not complete yet.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let Some(at) = bytes.windows(END.len()).position(|window| window == END) else { return Ok(None) };
        let text = str::from_utf8(&bytes[..at]).context("the head of the answer is no text")?;
        let mut lines = text.split("\r\n");
        let status = status(lines.next().unwrap_or_default())?;
        let head = Self { status, body_bytes: body_bytes(status, lines)? };
        Ok(Some((head, at + END.len())))
    }
}

fn status(line: &str) -> Result<u16> {
    let mut words = line.split(' ');
    let version = words.next().unwrap_or_default();
    let code = words.next().filter(|code| code.len() == 3).and_then(|code| code.parse().ok());
    match code {
        Some(code) if version.starts_with("HTTP/1.") => Ok(code),
        _ => bail!("not an answer of HTTP/1: {line:?}"),
    }
}

fn body_bytes<'a>(status: u16, fields: impl Iterator<Item = &'a str>) -> Result<Option<usize>> {
    let (mut length, mut is_chunked) = (None, false);
    for field in fields {
        let (name, value) = field.split_once(':').with_context(|| format!("not a field: {field:?}"))?;
        if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.trim().eq_ignore_ascii_case("chunked") {
                bail!("the answer has the transfer coding {value:?}, which this client does not know");
            }
            is_chunked = true;
        }
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().with_context(|| format!("not a length: {value:?}"))?);
        }
    }
    match (status, length) {
        (..200 | 204 | 304, _) => Ok(Some(0)),
        _ if is_chunked => Ok(None),
        (_, Some(length)) => Ok(Some(length)),
        (_, None) => bail!("the answer {status} does not say its length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(Head, usize)>> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn status_and_length_are_found() {
        let text = "HTTP/1.1 200 OK\r\nA: b\r\ncOntent-lEngth:  12 \r\n\r\nbody";
        let expected = Head { status: 200, body_bytes: Some(12) };
        assert_eq!(parse(text).unwrap(), Some((expected, text.len() - 4)));
    }

    #[test]
    fn an_answer_without_content_needs_no_length() {
        let (head, _) = parse("HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.body_bytes, Some(0));
    }

    #[test]
    fn chunks_have_no_length() {
        let (head, _) = parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.body_bytes, None);
    }

    #[test]
    fn an_incomplete_head_is_waited_for() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]).unwrap(), None, "{end}");
        }
    }

    #[test]
    fn heads_that_are_not_understood_are_errors() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
