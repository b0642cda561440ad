//! A `GET` over HTTP/1.1 on a kept connection, which has to be answered with 200.

use std::net::SocketAddr;

use anyhow::{Result, bail};

use super::Exchange;
use crate::http::head::Head;

/// The last chunk of an answer, which has no trailers.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The exchange.
pub struct Get(Vec<u8>);

impl Get {
    /// Of this path at the server with this address.
    pub fn new(address: SocketAddr, path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes())
    }
}

impl Exchange for Get {
    fn request(&self, _: usize, _: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.0);
    }

    /// What comes in chunks is text in which no chunk ends as the last one does.
    fn is_answer(&self, _: &[u8], got: &[u8]) -> Result<bool> {
        let Some((head, end)) = Head::parse(got)? else { return Ok(false) };
        match head.body_bytes {
            Some(bytes) if head.status == 200 && got.len() <= end + bytes => Ok(got.len() == end + bytes),
            None if head.status == 200 => Ok(got[end..].ends_with(LAST_CHUNK)),
            _ => bail!("a GET was answered with {:?}", String::from_utf8_lossy(got)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> Get {
        Get::new(SocketAddr::from(([127, 0, 0, 1], 80)), "/hello/")
    }

    #[test]
    fn every_request_is_the_same() {
        let mut request = Vec::new();
        get().request(1, 2, &mut request);
        assert_eq!(request, b"GET /hello/ HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
    }

    #[test]
    fn an_answer_is_whole_at_its_length_or_after_its_last_chunk() {
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n";
        for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", chunks] {
            for end in 0..answer.len() {
                assert!(!get().is_answer(&[], &answer.as_bytes()[..end]).unwrap(), "{end} of {answer:?}");
            }
            assert!(get().is_answer(&[], answer.as_bytes()).unwrap(), "{answer:?}");
        }
    }

    #[test]
    fn other_answers_are_errors() {
        for answer in [
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nhello",
        ] {
            assert!(get().is_answer(&[], answer.as_bytes()).is_err(), "{answer:?}");
        }
    }
}
