//! A SET in the Redis protocol (RESP2), which kv-server and Redis understand.

use std::io::Write;

use anyhow::{Result, bail};

use super::{Exchange, pair};

const OK: &[u8] = b"+OK\r\n";

/// The exchange: a value under one of many keys.
pub struct Set;

impl Exchange for Set {
    fn request(&self, connection: usize, sequence: usize, request: &mut Vec<u8>) {
        let (key, value) = pair::of(connection, sequence);
        request.extend_from_slice(b"*3\r\n");
        for word in ["SET", &key, &value] {
            // Into memory.
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
    }

    fn is_answer(&self, _request: &[u8], got: &[u8]) -> Result<bool> {
        match got {
            OK => Ok(true),
            part if OK.starts_with(part) => Ok(false),
            other => bail!("a SET was answered with {:?}", String::from_utf8_lossy(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_an_array_of_three_words() {
        let mut request = Vec::new();
        Set.request(0, 0, &mut request);
        let (key, value) = pair::of(0, 0);
        let expected = format!("*3\r\n$3\r\nSET\r\n$10\r\n{key}\r\n$64\r\n{value}\r\n");
        assert_eq!(String::from_utf8(request).unwrap(), expected);
    }

    #[test]
    fn only_ok_is_an_answer() {
        assert!(Set.is_answer(&[], b"+OK\r\n").unwrap());
        assert!(!Set.is_answer(&[], b"+OK").unwrap());
        assert!(Set.is_answer(&[], b"-ERR no\r\n").unwrap_err().to_string().contains("-ERR no"));
        assert!(Set.is_answer(&[], b"+OK\r\n+OK\r\n").is_err());
    }
}
