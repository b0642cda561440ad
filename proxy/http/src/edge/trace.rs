//! `x-request-id` and `traceparent` (W3C Trace Context, level 1): kept when they are valid, made otherwise.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Names a request in logs, from the client to the guest and back.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Longest id that is kept.
const MAX_ID_BYTES: usize = 128;

/// The id of a request: the client's, if it has from 1 to 128 letters, digits, `-`, `_`, `.`, else one of this random
/// number. Sets the header.
pub(crate) fn request_id(headers: &mut HeaderMap, random: u128) -> HeaderValue {
    let is_single = headers.get_all(REQUEST_ID).iter().count() == 1;
    if let Some(id) = headers.get(REQUEST_ID).filter(|id| is_single && is_id(id.as_bytes())) {
        return id.clone();
    }
    let mut text = [0; 32];
    hex(random, &mut text);
    let id = HeaderValue::from_bytes(&text).expect("hex digits are plain text");
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// Keeps a valid `traceparent`, else begins a trace of these random numbers, unsampled, and drops `tracestate`.
pub(crate) fn set_trace(headers: &mut HeaderMap, random: u128) {
    let is_single = headers.get_all(TRACEPARENT).iter().count() == 1;
    if is_single && headers.get(TRACEPARENT).is_some_and(|value| is_traceparent(value.as_bytes())) {
        return;
    }
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex(random.max(1), &mut text[3..35]);
    let mut span = [0; 32];
    // Another mixing of the same number: spans need to differ within a trace alone.
    hex((random ^ (random >> 64)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1, &mut span);
    text[36..52].copy_from_slice(&span[16..]);
    headers.insert(TRACEPARENT, HeaderValue::from_bytes(&text).expect("hex digits are plain text"));
    headers.remove(TRACESTATE);
}

fn is_id(id: &[u8]) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_traceparent(text: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    // A later version may be longer, after another hyphen.
    if text.len() < 55 || (text.len() > 55 && (&text[..2] == b"00" || text[55] != b'-')) {
        return false;
    }
    let (version, trace, span, flags) = (&text[..2], &text[3..35], &text[36..52], &text[53..55]);
    [2, 35, 52].iter().all(|at| text[*at] == b'-')
        && [version, trace, span, flags].into_iter().all(is_hex)
        && version != b"ff"
        && !is_zero(trace)
        && !is_zero(span)
}

fn hex(number: u128, text: &mut [u8]) {
    for (index, byte) in text.iter_mut().rev().enumerate() {
        let digit = usize::try_from((number >> (4 * index)) & 15).expect("four bits");
        *byte = b"0123456789abcdef"[digit];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_request_id_is_kept_and_another_is_replaced() {
        let longest = "a".repeat(128);
        let too_long = "a".repeat(129);
        for (id, is_kept) in [
            ("a-B_9.", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("a b", false),
            ("a\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(id).unwrap());
            let kept = request_id(&mut headers, 255);
            assert_eq!(kept == id, is_kept, "{id}");
            assert_eq!(headers[REQUEST_ID], kept);
            assert!(is_kept || kept == "000000000000000000000000000000ff");
        }
    }

    #[test]
    fn a_valid_traceparent_is_kept_and_another_is_replaced() {
        let table = [
            (GOOD, true),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("", false),
        ];
        for (text, is_kept) in table {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(text));
            headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
            set_trace(&mut headers, 0);
            assert_eq!(headers[TRACEPARENT] == text, is_kept, "{text}");
            assert_eq!(headers.contains_key(TRACESTATE), is_kept);
            assert!(is_traceparent(headers[TRACEPARENT].as_bytes()));
        }
    }
}
