//! A PUT to etcd by its JSON gateway, as its documentation tells for clients without gRPC: `POST /v3/kv/put` with key
//! and value in base64, over a kept HTTP/1.1 connection.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Result, bail};

use super::{Exchange, pair};
use crate::base64;
use crate::http::head::Head;

/// The exchange with a member at an address.
pub struct Put(pub SocketAddr);

impl Exchange for Put {
    fn request(&self, connection: usize, sequence: usize, request: &mut Vec<u8>) {
        let (key, value) = pair::of(connection, sequence);
        let (key, value) = (base64::encode(key.as_bytes()), base64::encode(value.as_bytes()));
        let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}");
        // Into memory.
        let _ = write!(
            request,
            "POST /v3/kv/put HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.0,
            body.len()
        );
    }

    fn is_answer(&self, _request: &[u8], got: &[u8]) -> Result<bool> {
        let Some((head, end)) = Head::parse(got)? else { return Ok(false) };
        let Some(whole) =
            head.body_bytes.map(|body| end + body).filter(|whole| head.status == 200 && got.len() <= *whole)
        else {
            bail!("a PUT was answered with {:?}", String::from_utf8_lossy(got));
        };
        Ok(got.len() == whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> Put {
        Put(SocketAddr::from(([127, 0, 0, 1], 2379)))
    }

    #[test]
    fn a_request_has_key_and_value_in_base64() {
        let mut request = Vec::new();
        put().request(0, 0, &mut request);
        let request = String::from_utf8(request).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.starts_with("{\"key\":\"a2V5OjAwMDAwMA==\",\"value\":\"MDowOi4u"), "{body}");
    }

    #[test]
    fn a_whole_answer_of_success_is_one() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert!(put().is_answer(&[], answer).unwrap());
        assert!(!put().is_answer(&[], &answer[..answer.len() - 1]).unwrap());
        assert!(!put().is_answer(&[], &answer[..20]).unwrap());
        assert!(put().is_answer(&[], b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(put().is_answer(&[], &[answer.as_slice(), b"{}"].concat()).is_err());
    }
}
