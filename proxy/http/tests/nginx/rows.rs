//! What is sent to both. In a row `|` stands for the end of a line, CR LF.

/// How the front end takes a row, beside nginx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// The same requests reach the upstreams.
    Same,
    /// Some of those do that nginx passes on; with the reason.
    Stricter(&'static str),
    /// Some are read otherwise; with the reason why that is right.
    Otherwise(&'static str),
    /// More do than nginx passes on; with the reason why that is right.
    Laxer(&'static str),
}

use Is::{Laxer, Otherwise, Same, Stricter};

// Why the two differ.
const FIELDS: &str = "trailers that are no fields are refused, where nginx drops them unread";
const CRLF: &str = "a line among chunks that does not end in CR LF is refused";
const SIZE: &str = "a size is digits and nothing else";
const CR: &str = "a line ends in one CR at most";
const LIMIT: &str =
    "beyond a limit: 64 KiB, 100 lines and 64 bytes for the length of a head, 8 KiB of a target, 16 KiB of extensions";
const CONTROL: &str = "a control character in a value is refused";
const HOST: &str = "a host is a name or an address and a port, nothing else";
const DIFFERS: &str = "a host that differs from the target's is refused";
const NAME: &str = "a name that is no token is refused, where nginx drops its line";
const URI: &str = "bytes that no target may have are refused";
const OLD: &str = "HTTP/0.9 is not spoken";
const VERSION: &str = "the versions are 1.0 and 1.1";
const SPACES: &str = "a first line is three words with one space between";
const CLOSE: &str = "close is final, whatever comes after it";
const TAB: &str = "a tab beside a value is white space (RFC 9110, section 5.6.3)";
const TOKENS: &str = "close is a word of the list, not a part of one";
const SLASHES: &str = "a dot segment beside what a server may take for a slash is refused";
const NO_HOST: &str = "an upstream of HTTP/1.1 wants a host, and gets localhost where the client named none";
const QUERY: &str = "an empty query stays one";
const EXPECT: &str = "an expectation that cannot be met is 417";
const OPTIONS: &str = "no route leads to the server as a whole: 404, which says nothing of the framing";

pub type Row = (&'static [u8], Is);

/// The bytes of a row, and after them requests that end the connection: what an unfinished message swallows is seen.
pub fn bytes(row: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for byte in row {
        if *byte == b'|' { bytes.extend_from_slice(b"\r\n") } else { bytes.push(*byte) }
    }
    bytes
}

/// For an end to connections that are not closed.
pub fn with_last(bytes: &[u8]) -> Vec<u8> {
    const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n";
    [bytes, LAST, LAST].concat()
}

pub const ALL: &[&[Row]] = &[PLAIN, LENGTHS, ENCODINGS, CHUNKS, TRAILERS, LINES, HOSTS, TARGETS, FIRST, HOPS];

/// As a check of the rest.
const PLAIN: &[Row] = &[
    (b"GET / HTTP/1.1|Host: a||", Same),
    (b"GET / HTTP/1.1|Host: a||GET /b HTTP/1.1|Host: b||", Same),
    (b"|GET / HTTP/1.1|Host: a||", Same),
    (b"||||GET / HTTP/1.1|Host: a||", Same),
    (b"POST /x?y=z HTTP/1.1|Host: a|Content-Length: 4||bodyGET / HTTP/1.1|Host: a||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||4|body|3|abc|0||GET / HTTP/1.1|Host: a||", Same),
    (b"PUT / HTTP/1.1|Host: a|Content-Length: 0||", Same),
    (b"HEAD / HTTP/1.1|Host: a||HEAD / HTTP/1.1|Host: a||", Same),
    (b"DELETE / HTTP/1.1|Host: a|Content-Length: 2||ab", Same),
    (b"GET / HTTP/1.1|Host: a|Content-Length: 2||ab", Same),
    (b"PROPFIND / HTTP/1.1|Host: a||", Same),
    (b"PATCH / HTTP/1.1|Host: a|Content-Length: 1||a", Same),
    (b"FOO / HTTP/1.1|Host: a||", Same),
    (b"OPTIONS * HTTP/1.1|Host: a||", Laxer(OPTIONS)),
];

const LENGTHS: &[Row] = &[
    (b"POST / HTTP/1.1|Host: a|Content-Length: 5|Transfer-Encoding: chunked||0||GET /x HTTP/1.1|Host: a||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 5||0||GET /x HTTP/1.1|Host: a||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|X: y|Content-Length: 0||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 2||ab", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 0|content-length: 0||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1, 1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1,||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: +1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: -1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: -0||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 0x1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1e1||0123456789", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1.0||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1 1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: \"1\"||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length:||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: ||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length:1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length:   1   ||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length:\t1\t||a", Laxer(TAB)),
    (b"POST / HTTP/1.1|Host: a|Content-Length: \x0b1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: \x0c1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1\0||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: \xb2||ab", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: \xef\xbc\x91||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 0000000001||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 18446744073709551615||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 18446744073709551616||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 99999999999999999999999999||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length : 1||a", Same),
    (b"POST / HTTP/1.1|Host: a| Content-Length: 1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Content_Length: 1||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1|Content_Length: 9||a", Same),
    (b"POST / HTTP/1.1|Host: a|X: y\nContent-Length: 1||a", Same),
    (b"POST / HTTP/1.1|Host: a|X: y\rContent-Length: 1||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 1\n|a", Same),
    (b"GET / HTTP/1.0|Content-Length: 1|Connection: keep-alive||aGET /b HTTP/1.0||", Otherwise(NO_HOST)),
];

const ENCODINGS: &[Row] = &[
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: Chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|TRANSFER-ENCODING: CHUNKED||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding:chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding:\tchunked||0||", Laxer(TAB)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked ||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked\t||0||", Laxer(TAB)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: \x0bchunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked\x0b||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, identity||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: identity, chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: identity||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: identity|Transfer-Encoding: chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: identity||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: ||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding:||Content-Length: 0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: xchunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunkedx||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: \"chunked\"||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: ,chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked;q=1||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding : chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a| Transfer-Encoding: chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer_Encoding: chunked||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding:| chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|X: y|\tTransfer-Encoding: chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|X: y\nTransfer-Encoding: chunked||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked\0||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-\xe2\x80\x90Encoding: chunked||", Stricter(NAME)),
    (b"POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||0||", Same),
    (b"POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked|Content-Length: 5||0||", Same),
    (b"GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Connection: Transfer-Encoding|Transfer-Encoding: chunked||1|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Connection: Content-Length|Content-Length: 1||a", Same),
];

const CHUNKS: &[Row] = &[
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1;x=y|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1;x=\"|\"|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1 ;x|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1;|a|0;||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1;x\nGET|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1;x\n|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1;x\ry|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1 |a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1\t|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|| 1|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1 1|a|0||", Stricter(SIZE)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||01|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0000000000000000000000000000000000001|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|a|00000000000000000||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||A|0123456789|a|0123456789|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0x1|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||+1|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||-1|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1,|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1_|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||g|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||;x|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|||a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1\0|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1\xff|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||ffffffffffffffff|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||8000000000000000|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||10000000000000001|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||fffffffffffffffff|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1\na\n0\n\n", Stricter(CRLF)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1\na|0||", Stricter(CRLF)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|a\n0||", Stricter(CRLF)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|a|0\n\n", Stricter(CRLF)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1\ra|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1\r\r\na|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|a0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|aXX0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|abc|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|a|0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|a||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0||0||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|||", Same),
];

const TRAILERS: &[Row] = &[
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|a|0|X: y||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|a|0|Content-Length: 5|Host: b||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|Transfer-Encoding: chunked||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X : y||", Stricter(FIELDS)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X||", Stricter(FIELDS)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X: y| folded||", Stricter(FIELDS)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X: a\0b||", Stricter(FIELDS)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|\nGET /x HTTP/1.1|Host: a||", Stricter(CRLF)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X: y\n\nGET /x HTTP/1.1|Host: a||", Stricter(CRLF)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X: y\nZ: z||", Stricter(FIELDS)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X: y\rZ: z||", Same),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|GET /x HTTP/1.1|Host: a||", Stricter(FIELDS)),
    (b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|\r|", Same),
];

const LINES: &[Row] = &[
    (b"GET / HTTP/1.1\nHost: a\n\n", Same),
    (b"GET / HTTP/1.1|Host: a\n|", Same),
    (b"GET / HTTP/1.1|Host: a\n\n", Same),
    (b"\nGET / HTTP/1.1|Host: a||", Same),
    (b"GET / HTTP/1.1\rHost: a\r\r", Same),
    (b"GET / HTTP/1.1\r\r\nHost: a||", Same),
    (b"GET / HTTP/1.1|Host: a\r\r\n|", Stricter(CR)),
    (b"GET / HTTP/1.1|Host: a|\r\r\n", Same),
    (b"GET / HTTP/1.1|Host: a|X : 1||", Same),
    (b"GET / HTTP/1.1|Host: a|X\t: 1||", Same),
    (b"GET / HTTP/1.1|Host: a| X: 1||", Same),
    (b"GET / HTTP/1.1| Host: a||", Same),
    (b"GET / HTTP/1.1|Host: a|X: 1| folded||", Same),
    (b"GET / HTTP/1.1|Host: a|X: 1|\tfolded||", Same),
    (b"GET / HTTP/1.1|Host: a|X: 1| ||", Same),
    (b"GET / HTTP/1.1|Host: a|X||", Stricter(NAME)),
    (b"GET / HTTP/1.1|Host: a|: 1||", Same),
    (b"GET / HTTP/1.1|Host: a|X:||", Same),
    (b"GET / HTTP/1.1|Host: a|X: a\0b||", Same),
    (b"GET / HTTP/1.1|Host: a|X\0: b||", Same),
    (b"GET / HTTP/1.1|Host: a|X: a\rb||", Same),
    (b"GET / HTTP/1.1|Host: a|X: a\x01b||", Stricter(CONTROL)),
    (b"GET / HTTP/1.1|Host: a|X: a\x7fb||", Stricter(CONTROL)),
    (b"GET / HTTP/1.1|Host: a|X: \xff\xfe||", Same),
    (b"GET / HTTP/1.1|Host: a|X: \xc3\xa4||", Same),
    (b"GET / HTTP/1.1|Host: a|\xc3\xa4: b||", Stricter(NAME)),
    (b"GET / HTTP/1.1|Host: a|X(: b||", Stricter(NAME)),
    (b"GET / HTTP/1.1|Host: a|X Y: b||", Same),
    (b"GET / HTTP/1.1|Host: a|X_Y: b||", Same),
    (b"GET / HTTP/1.1|Host: a|!#$%&'*+.^`~: b||", Same),
    (b"GET / HTTP/1.1|Host: a|X: y|X: y|X: z||", Same),
    (b"GET / HTTP/1.1||Host: a||", Same),
];

const HOSTS: &[Row] = &[
    (b"GET / HTTP/1.1||", Same),
    (b"GET / HTTP/1.0||", Otherwise(NO_HOST)),
    (b"GET / HTTP/1.1|Host: a|Host: a||", Same),
    (b"GET / HTTP/1.1|Host: a|Host: b||", Same),
    (b"GET / HTTP/1.1|Host: a|host: a||", Same),
    (b"GET / HTTP/1.0|Host: a|Host: b||", Same),
    (b"GET / HTTP/1.1|Host:||", Same),
    (b"GET / HTTP/1.1|Host: ||", Same),
    (b"GET / HTTP/1.1|Host: a:80||", Same),
    (b"GET / HTTP/1.1|Host: a:||", Same),
    (b"GET / HTTP/1.1|Host: a:b||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a:99999||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a:80:80||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: :80||", Same),
    (b"GET / HTTP/1.1|Host: a.||", Same),
    (b"GET / HTTP/1.1|Host: a..b||", Same),
    (b"GET / HTTP/1.1|Host: .a||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: .||", Same),
    (b"GET / HTTP/1.1|Host: A.B||", Same),
    (b"GET / HTTP/1.1|Host: a b||", Same),
    (b"GET / HTTP/1.1|Host: a/b||", Same),
    (b"GET / HTTP/1.1|Host: a\\b||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a,b||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a@b||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a?b||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a#b||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a%41||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a_b||", Same),
    (b"GET / HTTP/1.1|Host: a\xff||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: a\0||", Same),
    (b"GET / HTTP/1.1|Host: [::1]||", Same),
    (b"GET / HTTP/1.1|Host: [::1]:80||", Same),
    (b"GET / HTTP/1.1|Host: [::1||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: [x]||", Stricter(HOST)),
    (b"GET / HTTP/1.1|Host: http://a||", Same),
    (b"GET http://a/ HTTP/1.1|Host: a||", Same),
    (b"GET http://A/ HTTP/1.1|Host: a||", Same),
    (b"GET http://a/ HTTP/1.1|Host: b||", Stricter(DIFFERS)),
    (b"GET http://a/ HTTP/1.1||", Same),
    (b"GET http://a HTTP/1.1|Host: a||", Same),
    (b"GET http://a?x HTTP/1.1|Host: a||", Same),
    (b"GET http://a:80/x HTTP/1.1|Host: a:80||", Same),
    (b"GET http://a:80/x HTTP/1.1|Host: a||", Stricter(DIFFERS)),
    (b"GET http://user@a/ HTTP/1.1|Host: a||", Same),
    (b"GET http:///x HTTP/1.1|Host: a||", Same),
    (b"GET http:/x HTTP/1.1|Host: a||", Same),
    (b"GET https://a/ HTTP/1.1|Host: a||", Same),
    (b"GET ftp://a/ HTTP/1.1|Host: a||", Same),
    (b"GET http://a/x/../y HTTP/1.1|Host: a||", Same),
];

const TARGETS: &[Row] = &[
    (b"GET /a/./b HTTP/1.1|Host: a||", Same),
    (b"GET /a/../b HTTP/1.1|Host: a||", Same),
    (b"GET /../x HTTP/1.1|Host: a||", Same),
    (b"GET /a/../../x HTTP/1.1|Host: a||", Same),
    (b"GET /.. HTTP/1.1|Host: a||", Same),
    (b"GET /a/.. HTTP/1.1|Host: a||", Same),
    (b"GET /a/. HTTP/1.1|Host: a||", Same),
    (b"GET //a//b HTTP/1.1|Host: a||", Same),
    (b"GET /a//../b HTTP/1.1|Host: a||", Same),
    (b"GET /%61 HTTP/1.1|Host: a||", Same),
    (b"GET /%2e%2e/x HTTP/1.1|Host: a||", Same),
    (b"GET /a/%2e%2e/x HTTP/1.1|Host: a||", Same),
    (b"GET /a%2fb HTTP/1.1|Host: a||", Same),
    (b"GET /a%2f..%2fb HTTP/1.1|Host: a||", Stricter(SLASHES)),
    (b"GET /a%5c..%5cb HTTP/1.1|Host: a||", Stricter(SLASHES)),
    (b"GET /a\\..\\b HTTP/1.1|Host: a||", Stricter(SLASHES)),
    (b"GET /a%252fb HTTP/1.1|Host: a||", Same),
    (b"GET /a%20b HTTP/1.1|Host: a||", Same),
    (b"GET /a+b HTTP/1.1|Host: a||", Same),
    (b"GET /a;b=c/../d HTTP/1.1|Host: a||", Same),
    (b"GET /a..;/b HTTP/1.1|Host: a||", Same),
    (b"GET /..;/b HTTP/1.1|Host: a||", Same),
    (b"GET /%00 HTTP/1.1|Host: a||", Same),
    (b"GET /a%00b HTTP/1.1|Host: a||", Same),
    (b"GET /% HTTP/1.1|Host: a||", Same),
    (b"GET /%4 HTTP/1.1|Host: a||", Same),
    (b"GET /%zz HTTP/1.1|Host: a||", Same),
    (b"GET /%u0041 HTTP/1.1|Host: a||", Same),
    (b"GET /%0d%0aX:%20y HTTP/1.1|Host: a||", Same),
    (b"GET /%ff HTTP/1.1|Host: a||", Same),
    (b"GET /%c0%ae HTTP/1.1|Host: a||", Same),
    (b"GET /%c3%a4 HTTP/1.1|Host: a||", Same),
    (b"GET /\xc3\xa4 HTTP/1.1|Host: a||", Same),
    (b"GET /\xff HTTP/1.1|Host: a||", Stricter(URI)),
    (b"GET /\x01 HTTP/1.1|Host: a||", Same),
    (b"GET /\x7f HTTP/1.1|Host: a||", Same),
    (b"GET /\0 HTTP/1.1|Host: a||", Same),
    (b"GET /a\tb HTTP/1.1|Host: a||", Same),
    (b"GET /a#b HTTP/1.1|Host: a||", Same),
    (b"GET /a?b#c HTTP/1.1|Host: a||", Same),
    (b"GET /a?b?c HTTP/1.1|Host: a||", Same),
    (b"GET /? HTTP/1.1|Host: a||", Otherwise(QUERY)),
    (b"GET /?%zz HTTP/1.1|Host: a||", Same),
    (b"GET /?%00 HTTP/1.1|Host: a||", Same),
    (b"GET /?a=/../b HTTP/1.1|Host: a||", Same),
    (b"GET /?\xff HTTP/1.1|Host: a||", Stricter(URI)),
    (b"GET /?\"<> HTTP/1.1|Host: a||", Stricter(URI)),
    (b"GET /?[]\\^`{}'~ HTTP/1.1|Host: a||", Same),
    (b"GET /<>` HTTP/1.1|Host: a||", Stricter(URI)),
    (b"GET /[]^{}'\" HTTP/1.1|Host: a||", Same),
    (b"GET a HTTP/1.1|Host: a||", Same),
    (b"GET a:1 HTTP/1.1|Host: a||", Same),
    (b"GET ?a HTTP/1.1|Host: a||", Same),
    (b"GET * HTTP/1.1|Host: a||", Same),
    (b"OPTIONS /* HTTP/1.1|Host: a||", Same),
    (b"CONNECT a:1 HTTP/1.1|Host: a:1||", Same),
    (b"CONNECT / HTTP/1.1|Host: a||", Same),
    (b"TRACE / HTTP/1.1|Host: a||", Same),
];

/// First lines.
const FIRST: &[Row] = &[
    (b"GET /|", Stricter(OLD)),
    (b"GET /||", Stricter(OLD)),
    (b"GET / HTTP/0.9||", Same),
    (b"GET / HTTP/1.0|Connection: keep-alive||GET /b HTTP/1.0||", Otherwise(NO_HOST)),
    (b"GET / HTTP/1.0||GET /b HTTP/1.0||", Otherwise(NO_HOST)),
    (b"GET / HTTP/1.2|Host: a||", Stricter(VERSION)),
    (b"GET / HTTP/1.10|Host: a||", Stricter(VERSION)),
    (b"GET / HTTP/1|Host: a||", Same),
    (b"GET / HTTP/01.1|Host: a||", Same),
    (b"GET / HTTP/2.0|Host: a||", Same),
    (b"GET / HTTP/3|Host: a||", Same),
    (b"GET / http/1.1|Host: a||", Same),
    (b"GET / HTTP/1.1 |Host: a||", Stricter(SPACES)),
    (b"GET / HTTP/1.1\t|Host: a||", Same),
    (b"GET / HTTP/1.1x|Host: a||", Same),
    (b"GET / HTTP /1.1|Host: a||", Same),
    (b"GET  / HTTP/1.1|Host: a||", Stricter(SPACES)),
    (b"GET /  HTTP/1.1|Host: a||", Stricter(SPACES)),
    (b"GET\t/\tHTTP/1.1|Host: a||", Same),
    (b"GET / x HTTP/1.1|Host: a||", Same),
    (b" GET / HTTP/1.1|Host: a||", Same),
    (b"\0GET / HTTP/1.1|Host: a||", Same),
    (b"get / HTTP/1.1|Host: a||", Same),
    (b"Get / HTTP/1.1|Host: a||", Same),
    (b"G@T / HTTP/1.1|Host: a||", Same),
    (b"GE7 / HTTP/1.1|Host: a||", Same),
    (b"M-SEARCH / HTTP/1.1|Host: a||", Same),
    (b"X_Y / HTTP/1.1|Host: a||", Same),
    (b"GET", Same),
    (b"GET / HTTP/1.1|Host: a|", Same),
    (b" / HTTP/1.1|Host: a||", Same),
    (b"PRI * HTTP/2.0||XX||", Same),
    (b"\x16\x03\x01\x02\0\x01\0\x01", Same),
    (b"\x80\x2e\x01\x03\x01", Same),
];

/// Fields of one connection, and what a client expects of it.
const HOPS: &[Row] = &[
    (b"GET / HTTP/1.1|Host: a|Connection: close||GET /b HTTP/1.1|Host: b||", Same),
    (b"GET / HTTP/1.1|Host: a|Connection: close, x||GET /b HTTP/1.1|Host: b||", Same),
    (b"GET / HTTP/1.1|Host: a|Connection: x, close||GET /b HTTP/1.1|Host: b||", Same),
    (b"GET / HTTP/1.1|Host: a|Connection: xclose||GET /b HTTP/1.1|Host: b||", Laxer(TOKENS)),
    (b"GET / HTTP/1.1|Host: a|Connection: keep-alive, close||GET /b HTTP/1.1|Host: b||", Same),
    (b"GET / HTTP/1.1|Host: a|Connection: close|Connection: keep-alive||GET /b HTTP/1.1|Host: b||", Stricter(CLOSE)),
    (b"GET / HTTP/1.1|Host: a|Connection: Host||", Same),
    (b"GET / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket||", Same),
    (b"GET / HTTP/1.1|Host: a|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAMAAABk||", Same),
    (b"GET / HTTP/1.1|Host: a|Upgrade: h2c||", Same),
    (b"GET / HTTP/1.1|Host: a|Keep-Alive: timeout=5||", Same),
    (b"GET / HTTP/1.1|Host: a|TE: trailers||", Same),
    (b"GET / HTTP/1.1|Host: a|Proxy-Connection: close||GET /b HTTP/1.1|Host: b||", Same),
    (b"POST / HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 1||a", Same),
    (b"POST / HTTP/1.1|Host: a|Expect: 100-Continue|Transfer-Encoding: chunked||1|a|0||", Same),
    (b"GET / HTTP/1.1|Host: a|Expect: 100-continue||", Same),
    (b"POST / HTTP/1.1|Host: a|Expect: a-miracle|Content-Length: 1||a", Stricter(EXPECT)),
    (b"POST / HTTP/1.1|Host: a|Expect: 100-continue, x|Content-Length: 1||a", Stricter(EXPECT)),
    (b"POST / HTTP/1.1|Host: a|Expect:|Content-Length: 1||a", Stricter(EXPECT)),
    (b"POST / HTTP/1.0|Host: a|Expect: 100-continue|Content-Length: 1||a", Same),
    (b"GET /1 HTTP/1.1|Host: a||POST /2 HTTP/1.1|Host: a|Content-Length: 1||aGET /3 HTTP/1.1|Host: a||", Same),
    (b"POST / HTTP/1.1|Host: a|Content-Length: 3||abcGET /b HTTP/1.1|Host: b|Content-Length: x||", Same),
];

/// Rows that are too long to be written down, and what each is.
pub fn long() -> Vec<(Vec<u8>, Is)> {
    let head = |more: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n").into_bytes();
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes)).into_bytes();
    let chunked =
        |more: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{more}").into_bytes();
    vec![
        (head(&"X: 1\r\n".repeat(99)), Same),
        (head(&"X: 1\r\n".repeat(500)), Stricter(LIMIT)),
        (head(&format!("X: {}\r\n", "y".repeat(30_000))), Same),
        (head(&format!("X: {}\r\n", "y".repeat(70_000))), Same),
        (head(&format!("{}: y\r\n", "x".repeat(30_000))), Same),
        (head(&format!("X: y\r\n{}\r\n", "z".repeat(30_000))), Stricter(NAME)),
        (head(&format!("X: {}\r\n", " ".repeat(30_000))), Same),
        (head(&format!("Content-Length: {}1\r\n", "0".repeat(40))).into_iter().chain(*b"a").collect(), Same),
        (head(&format!("Content-Length: {}1\r\n", " ".repeat(60))).into_iter().chain(*b"a").collect(), Stricter(LIMIT)),
        (head(&format!("Host: {}\r\n", "a".repeat(300))), Same),
        (format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(300)).into_bytes(), Stricter(HOST)),
        (target(8191), Same),
        (target(20_000), Stricter(LIMIT)),
        (target(70_000), Same),
        (format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(5_000)).into_bytes(), Same),
        ("\r\n".repeat(40_000).into_bytes(), Stricter(LIMIT)),
        (chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(10_000))), Same),
        (chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(20_000))), Stricter(LIMIT)),
        (chunked(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(10_000))), Same),
        (chunked(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(70_000))), Stricter(LIMIT)),
        (chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(99))), Same),
        (chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(500))), Stricter(LIMIT)),
        (chunked(&format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(2000))), Same),
        (chunked(&format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(5000))), Same),
    ]
}
