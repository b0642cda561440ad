//! The PROXY protocol as the proxy reads it from whoever connects.

use std::net::SocketAddr;

use refrain_proxy::proxy_protocol::{MAX_V1_BYTES, MAX_V2_BYTES, Parsed, encode, parse};
use refrain_wire::ProxyHeader;

use crate::input::Input;

/// The beginning of a connection, as it is and behind the beginnings of both versions.
pub fn proxy_protocol(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => at_every_byte(rest),
        1 => at_every_byte(&[b"PROXY TCP4 ", rest].concat()),
        2 => at_every_byte(&[b"\r\n\r\n\0\r\nQUIT\n", rest].concat()),
        _ => written(&mut Input::new(rest)),
    }
}

/// The answer is final as soon as there is one, whatever follows, and there is one within the limit.
fn at_every_byte(bytes: &[u8]) {
    let most = MAX_V1_BYTES.max(MAX_V2_BYTES);
    let mut answer = Ok(Parsed::Incomplete);
    for length in 0..=bytes.len().min(most + 8) {
        let now = parse(&bytes[..length]);
        if answer != Ok(Parsed::Incomplete) {
            assert_eq!(now, answer, "an answer is final");
        }
        if let Ok(Parsed::Header { length: header, .. }) = now {
            assert!(header <= length && header <= most);
        }
        assert!(length < most || now != Ok(Parsed::Incomplete), "{length} bytes are enough");
        answer = now;
    }
}

/// What is written for two addresses is read again.
fn written(input: &mut Input<'_>) {
    let header = if input.flag() { ProxyHeader::V1 } else { ProxyHeader::V2 };
    let (source, destination) = (input.flag().then(|| address(input)), address(input));
    let mut bytes = encode(header, source, destination);
    let length = bytes.len();
    bytes.extend_from_slice(input.rest());
    let Ok(Parsed::Header { length: read, source: from }) = parse(&bytes) else { panic!("no header: {bytes:?}") };
    assert_eq!(read, length);
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let known = source.map(canonical).filter(|source| source.is_ipv4() == canonical(destination).is_ipv4());
    assert_eq!(from, known);
    at_every_byte(&bytes);
}

fn address(input: &mut Input<'_>) -> SocketAddr {
    if input.flag() { (input.array::<4>(), input.short()).into() } else { (input.array::<16>(), input.short()).into() }
}
