//! Bytes of a flow: what a client got is what one single server would have sent it.
//!
//! The model of the single server gives all bytes that it would send; a connection that was cut off shows a beginning
//! of them, one that ended in order shows them all.

use super::Finding;

/// How a client's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was cut off, or is still open: the rest may be missing.
    Cut,
    /// The server closed it after its last byte.
    Orderly,
}

/// How many bytes beside the first difference a finding shows.
const SHOWN_BYTES: usize = 16;

fn shown(bytes: &[u8], at: usize) -> String {
    let from = at.saturating_sub(SHOWN_BYTES / 2);
    let to = bytes.len().min(at + SHOWN_BYTES / 2);
    format!("{:?}", String::from_utf8_lossy(&bytes[from.min(to)..to]))
}

/// What is wrong with the bytes `got` by the client of `flow`.
#[must_use]
pub fn findings(flow: &str, expected: &[u8], got: &[u8], end: End) -> Vec<Finding> {
    let same = expected.iter().zip(got).take_while(|(expected, got)| expected == got).count();
    let mut findings = Vec::new();
    if same < got.len() {
        let seen = format!(
            "flow {flow} at byte {same}: {} instead of {}",
            shown(got, same),
            if same < expected.len() { shown(expected, same) } else { "the end".into() }
        );
        findings.push(Finding::new("a client gets the bytes of a single server", seen));
    } else if end == End::Orderly && got.len() < expected.len() {
        let seen = format!("flow {flow} ended after {} of {} bytes", got.len(), expected.len());
        findings.push(Finding::new("a flow that ends in order is complete", seen));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(expected: &[u8], got: &[u8], end: End) -> Vec<&'static str> {
        findings("1.1", expected, got, end).into_iter().map(|finding| finding.broken).collect()
    }

    #[test]
    fn the_same_bytes_and_the_beginning_of_a_flow_that_was_cut_are_good() {
        assert!(broken(b"abc", b"abc", End::Orderly).is_empty());
        assert!(broken(b"abc", b"ab", End::Cut).is_empty());
        assert!(broken(b"", b"", End::Orderly).is_empty());
    }

    #[test]
    fn other_doubled_missing_and_invented_bytes_are_found() {
        const BYTES: &str = "a client gets the bytes of a single server";
        assert_eq!(broken(b"abc", b"axc", End::Cut), [BYTES]);
        assert_eq!(broken(b"abc", b"aabc", End::Cut), [BYTES]);
        assert_eq!(broken(b"abc", b"ac", End::Cut), [BYTES]);
        assert_eq!(broken(b"abc", b"abcd", End::Cut), [BYTES]);
        assert_eq!(broken(b"abc", b"ab", End::Orderly), ["a flow that ends in order is complete"]);
    }
}
