//! Headers as proxies send them, cut anywhere, and garbage.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, proptest};
use refrain_wire::ProxyHeader;

use super::{MAX_V1_BYTES, MAX_V2_BYTES, ParseError, Parsed, encode, parse};

/// Sent by HAProxy 2.6.12 with `send-proxy-v2`, for a client at 127.0.0.1:55314.
const HAPROXY_IPV4: &[u8] = &[
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 0x0c, 0x7f, 0x00, 0x00,
    0x01, 0x7f, 0x00, 0x00, 0x01, 0xd8, 0x12, 0xb0, 0xff,
];
/// The same with `proxy-v2-options crc32c`, for a client at [::1]:36568.
const HAPROXY_IPV6_CHECKSUM: &[u8] = &[
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x21, 0x00, 0x2b, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x8e, 0xd8, 0xb1, 0x01, 0x03, 0x00, 0x04, 0xc1, 0x8d,
    0xd3, 0x12,
];
/// The same with `proxy-v2-options unique-id,crc32c`, for a client at 127.0.0.1:38546.
const HAPROXY_IPV4_FIELDS: &[u8] = &[
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 0x23, 0x7f, 0x00, 0x00,
    0x01, 0x7f, 0x00, 0x00, 0x01, 0x96, 0x92, 0xb1, 0x03, 0x03, 0x00, 0x04, 0xf4, 0x43, 0x76, 0xc1, 0x05, 0x00, 0x0d,
    0x37, 0x46, 0x30, 0x30, 0x30, 0x30, 0x30, 0x31, 0x3a, 0x39, 0x36, 0x39, 0x32,
];
/// The same for HAProxy's own health check.
const HAPROXY_CHECK: &[u8] =
    &[0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0x00, 0x00, 0x00];
/// Sent by HAProxy 2.6.12 with `send-proxy`.
const HAPROXY_V1: [&[u8]; 2] =
    [b"PROXY TCP4 127.0.0.1 127.0.0.1 52790 45310\r\n", b"PROXY TCP6 ::1 ::1 37170 45312\r\n"];
/// Sent by curl 7.88.1 with `--haproxy-protocol`.
const CURL_V1: &[u8] = b"PROXY TCP4 127.0.0.1 127.0.0.1 37670 42549\r\n";

fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let longest =
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let mut unix = HAPROXY_CHECK[..12].to_vec();
    unix.extend_from_slice(&[0x21, 0x31, 0, 216]);
    unix.resize(16 + 216, b'/');
    vec![
        (b"PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n".to_vec(), Some("192.0.2.7:56324")),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), Some("255.255.255.255:65535")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4660 0\r\n".to_vec(), Some("[2001:db8::7]:4660")),
        (longest.to_vec(), Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
        (HAPROXY_IPV4.to_vec(), Some("127.0.0.1:55314")),
        (HAPROXY_IPV6_CHECKSUM.to_vec(), Some("[::1]:36568")),
        (HAPROXY_IPV4_FIELDS.to_vec(), Some("127.0.0.1:38546")),
        (HAPROXY_V1[0].to_vec(), Some("127.0.0.1:52790")),
        (HAPROXY_V1[1].to_vec(), Some("[::1]:37170")),
        (CURL_V1.to_vec(), Some("127.0.0.1:37670")),
        (HAPROXY_CHECK.to_vec(), None),
        (unix, None),
    ]
}

#[test]
fn headers_of_both_versions_name_the_source_and_leave_what_follows() {
    for (header, source) in headers() {
        let expected = Parsed::Header { length: header.len(), source: source.map(|text| text.parse().unwrap()) };
        assert_eq!(parse(&header), Ok(expected));
        let followed = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(parse(&followed), Ok(expected));
    }
}

#[test]
fn a_header_that_is_cut_at_any_byte_is_incomplete() {
    for (header, _) in headers() {
        for length in 0..header.len() {
            assert_eq!(parse(&header[..length]), Ok(Parsed::Incomplete), "{length} of {header:?}");
        }
    }
}

#[test]
fn what_is_written_is_what_is_read_and_what_others_write() {
    let (source, destination) = ("127.0.0.1:55314".parse().unwrap(), "127.0.0.1:45311".parse().unwrap());
    assert_eq!(encode(ProxyHeader::V2, Some(source), destination), HAPROXY_IPV4);
    let mapped = "[::ffff:127.0.0.1]:55314".parse().unwrap();
    assert_eq!(encode(ProxyHeader::V2, Some(mapped), destination), HAPROXY_IPV4);
    let v1 = |source: &str, destination: &str| {
        encode(ProxyHeader::V1, Some(source.parse().unwrap()), destination.parse().unwrap())
    };
    assert_eq!(v1("127.0.0.1:52790", "127.0.0.1:45310"), HAPROXY_V1[0]);
    assert_eq!(v1("[::1]:37170", "[::1]:45312"), HAPROXY_V1[1]);
    assert_eq!(encode(ProxyHeader::V2, None, destination), HAPROXY_CHECK);
    assert_eq!(encode(ProxyHeader::V1, None, destination), b"PROXY UNKNOWN\r\n");
    assert_eq!(encode(ProxyHeader::None, Some(source), destination), b"");
    let (source, destination) = ("[2001:db8::7]:4660".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap());
    for header in [ProxyHeader::V1, ProxyHeader::V2] {
        let bytes = encode(header, Some(source), destination);
        assert_eq!(parse(&bytes), Ok(Parsed::Header { length: bytes.len(), source: Some(source) }));
    }
}

#[test]
fn garbage_is_told_by_its_first_wrong_byte() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PROXI", b"proxy TCP4", b"\r\n\r\n\0\r\nQUIX", b"P\0", b"\x16\x03\x01"] {
        assert_eq!(parse(bytes), Err(ParseError::NoHeader), "{bytes:?}");
    }
}

#[test]
fn a_wrong_field_is_named() {
    let wrong = |line: &str| match parse(format!("PROXY {line}\r\n").as_bytes()) {
        Err(ParseError::Field(field)) => field,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(wrong("TCP5 1.2.3.4 1.2.3.4 1 2"), "family");
    assert_eq!(wrong(""), "family");
    assert_eq!(wrong("TCP4 1.2.3.4 ::1 1 2"), "address");
    assert_eq!(wrong("TCP4 1.2.3 1.2.3.4 1 2"), "address");
    assert_eq!(wrong("TCP4 01.2.3.4 1.2.3.4 1 2"), "address");
    assert_eq!(wrong("TCP4  1.2.3.4 1.2.3.4 1 2"), "address");
    assert_eq!(wrong("TCP6 1.2.3.4 1.2.3.4 1 2"), "address");
    for port in ["65536", "-1", "+1", "01", "", "1x"] {
        assert_eq!(wrong(&format!("TCP4 1.2.3.4 1.2.3.4 {port} 2")), "port");
    }
    assert_eq!(wrong("TCP4 1.2.3.4 1.2.3.4 1"), "port");
    assert_eq!(wrong("TCP4 1.2.3.4 1.2.3.4 1 2 3"), "number of words");
    let binary = |at: usize, byte: u8| {
        let mut bytes = HAPROXY_IPV4.to_vec();
        bytes[at] = byte;
        parse(&bytes)
    };
    assert_eq!(binary(12, 0x11), Err(ParseError::Field("version or command")));
    assert_eq!(binary(12, 0x22), Err(ParseError::Field("version or command")));
    assert_eq!(binary(13, 0x13), Err(ParseError::Field("family")));
    assert_eq!(binary(13, 0x21), Err(ParseError::Field("length")), "IPv6 needs more");
    assert_eq!(binary(13, 0x31), Err(ParseError::Field("length")));
    assert_eq!(binary(15, 0x0b), Err(ParseError::Field("length")));
}

#[test]
fn a_header_has_a_limit_and_one_byte_more_is_refused() {
    let v1 = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        line.extend_from_slice(b"\r\n");
        parse(&line)
    };
    assert_eq!(v1(MAX_V1_BYTES), Ok(Parsed::Header { length: MAX_V1_BYTES, source: None }));
    assert_eq!(v1(MAX_V1_BYTES + 1), Err(ParseError::TooLong { limit: MAX_V1_BYTES }));
    let v2 = |length: usize| {
        let mut bytes = HAPROXY_CHECK.to_vec();
        bytes[14..16].copy_from_slice(&((length - 16) as u16).to_be_bytes());
        bytes.resize(length, 0);
        parse(&bytes)
    };
    assert_eq!(v2(MAX_V2_BYTES), Ok(Parsed::Header { length: MAX_V2_BYTES, source: None }));
    assert_eq!(v2(MAX_V2_BYTES + 1), Err(ParseError::TooLong { limit: MAX_V2_BYTES }));
}

proptest! {
    #[test]
    fn garbage_never_panics_and_a_header_is_never_longer_than_its_bytes(
        begin in 0usize..4,
        garbage in vec(any::<u8>(), 0..600),
        at in any::<usize>(),
    ) {
        let (header, _) = headers().swap_remove([0, 2, 6, 8][begin]);
        let mut damaged = header.clone();
        let index = at % damaged.len();
        damaged[index] = garbage.first().copied().unwrap_or_default();
        damaged.truncate(at % 61);
        damaged.extend_from_slice(&garbage);
        for bytes in [&garbage, &damaged] {
            match parse(bytes) {
                Ok(Parsed::Header { length, .. }) => prop_assert!(length <= bytes.len() && length <= MAX_V2_BYTES),
                Ok(Parsed::Incomplete) => prop_assert!(bytes.len() < MAX_V2_BYTES),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn more_bytes_never_change_what_was_decided(bytes in vec(any::<u8>(), 0..200), which in 0usize..headers().len()) {
        let (mut header, _) = headers().swap_remove(which);
        header.extend_from_slice(&bytes);
        let mut decided = None;
        for length in 0..=header.len() {
            let parsed = parse(&header[..length]);
            if let Some(before) = decided {
                prop_assert!(parsed == before);
            } else if parsed != Ok(Parsed::Incomplete) {
                decided = Some(parsed);
            }
        }
        prop_assert!(decided.is_some());
    }
}
