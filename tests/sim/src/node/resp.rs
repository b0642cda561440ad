//! The language of the key-value server: commands as clients write them, replies as they read them.

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and the like.
    Simple(String),
    /// An error in words.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes, or nothing.
    Bulk(Option<Vec<u8>>),
}

/// A command as it is sent.
#[must_use]
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    out
}

/// Takes the next reply off the front of `bytes`; `None` when it is not whole yet.
///
/// # Errors
/// What is there instead of a reply.
pub fn take_reply(bytes: &mut Vec<u8>) -> Result<Option<Reply>, String> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let wrong = || format!("{line:?} is no reply");
    let (kind, rest) = line.split_at_checked(1).ok_or_else(wrong)?;
    let mut used = end + 2;
    let reply = match kind {
        "+" => Reply::Simple(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Integer(rest.parse().map_err(|_| wrong())?),
        "$" if rest == "-1" => Reply::Bulk(None),
        "$" => {
            let len: usize = rest.parse().map_err(|_| wrong())?;
            let Some(value) = bytes.get(used..used + len + 2) else { return Ok(None) };
            let value = value[..len].to_vec();
            used += len + 2;
            Reply::Bulk(Some(value))
        }
        _ => return Err(wrong()),
    };
    bytes.drain(..used);
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_one_by_one_and_only_when_they_are_whole() {
        let mut bytes = b"+OK\r\n:12\r\n$-1\r\n$3\r\na\r\n\r\n-ERR no\r\n$2\r\nx".to_vec();
        let mut taken = Vec::new();
        while let Some(reply) = take_reply(&mut bytes).unwrap() {
            taken.push(reply);
        }
        let expected = [
            Reply::Simple("OK".into()),
            Reply::Integer(12),
            Reply::Bulk(None),
            Reply::Bulk(Some(b"a\r\n".to_vec())),
            Reply::Error("ERR no".into()),
        ];
        assert_eq!(taken, expected);
        assert_eq!(bytes, b"$2\r\nx");
        assert!(take_reply(&mut b"what\r\n".to_vec()).is_err());
    }

    #[test]
    fn commands_are_lists_of_words() {
        assert_eq!(command(&["GET", "lake"]), b"*2\r\n$3\r\nGET\r\n$4\r\nlake\r\n");
    }
}
