//! Follows where HTTP/1.1 messages begin and end in the bytes that a client sends, beside hyper's parser.
//!
//! hyper takes a message with both `content-length` and `transfer-encoding`, or with one length twice, and hides the
//! rest from us. Both are signs of smuggling (RFC 9112, section 6.3), and nginx refuses them. This scanner sees the bytes
//! first and marks the message, so that it gets 400 instead. hyper also takes trailers apart at a bare LF, after it has
//! looked for their end by CR LF alone: a request that others see behind such an end it swallows. So a line between
//! chunks or in trailers that does not end in CR LF breaks the body off here (section 2.2 allows a bare LF in heads
//! alone).
//!
//! It also counts the bytes of each head, with the empty lines before it, and breaks one off after its limit. hyper reads
//! as much as it has room for, takes any head that is whole by then, and refuses one that has filled its buffer, whose
//! size is the same limit, with 431: so the limit holds to the byte, in whatever pieces a head comes.
//!
//! It also tells whether a head has begun and not ended, which is what the time for a head is measured by. It is no
//! second opinion on anything else: whatever hyper refuses ends the connection, and the scanner with it.

/// What is wrong with a message's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FramingFault {
    LengthAndEncoding,
    LengthTwice,
    /// A length that is none, or a line for it that is longer than [`LINE_BYTES`].
    Length,
}

/// Bytes of a line that are kept over reads: enough for any length with its name.
const LINE_BYTES: usize = 64;

#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// The beginning of a line whose end has not come.
    line: [u8; LINE_BYTES],
    line_len: usize,
    /// The last byte of that beginning, which may not be kept.
    line_last: u8,
    length: Option<u64>,
    is_chunked: bool,
    /// Bytes since the last message ended, as long as no head has, and the most that they may be.
    head_len: usize,
    head_limit: usize,
    /// Heads that have ended.
    heads: u32,
    fault: Option<(u32, FramingFault)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a head: empty lines are skipped.
    Between,
    Head,
    Body(u64),
    /// In the digits of a size, which is so much by now.
    ChunkSize(u64),
    /// After the digits, up to the end of their line.
    ChunkLine(u64),
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// After a fault, or once the bytes are no longer HTTP.
    Over,
    /// After a line that does not end as it has to, or as much of a head as there may be.
    Broken,
}

impl Framing {
    /// A head may have so many bytes.
    pub(crate) const fn new(head_limit: usize) -> Self {
        Self {
            state: State::Between,
            line: [0; LINE_BYTES],
            line_len: 0,
            line_last: 0,
            length: None,
            is_chunked: false,
            head_len: 0,
            head_limit,
            heads: 0,
            fault: None,
        }
    }

    /// The message, counted from 1, that must not be served, and why.
    pub(crate) const fn fault(&self) -> Option<(u32, FramingFault)> {
        self.fault
    }

    /// Whether a head has begun and not ended.
    pub(crate) const fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head) || (matches!(self.state, State::Between) && self.line_len > 0)
    }

    /// Whether a body, or a message that is not served, has not ended.
    pub(crate) const fn is_in_body(&self) -> bool {
        !matches!(self.state, State::Between | State::Head)
    }

    /// Whether the next byte would begin a message.
    pub(crate) const fn is_between(&self) -> bool {
        matches!(self.state, State::Between) && self.line_len == 0
    }

    /// Takes the next bytes. Returns how many of them may be believed: after fewer than all, the message has to break
    /// off.
    pub(crate) fn read(&mut self, all: &[u8]) -> usize {
        let mut bytes = all;
        while !bytes.is_empty() {
            let left = bytes.len();
            bytes = match self.state {
                State::Over => return all.len(),
                State::Broken => return 0,
                State::Body(left) => self.skip(bytes, left, State::Body, State::Between),
                State::ChunkData(left) => self.skip(bytes, left, State::ChunkData, State::ChunkEnd),
                State::ChunkSize(size) => self.read_size(bytes, size),
                State::Between | State::Head => self.read_head(bytes),
                State::ChunkLine(_) | State::ChunkEnd | State::Trailers => self.read_line(bytes),
            };
            if self.state == State::Broken {
                return all.len() - left;
            }
        }
        all.len()
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, same: fn(u64) -> State, next: State) -> &'a [u8] {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - taken as u64;
        self.state = if left == 0 { next } else { same(left) };
        &bytes[taken..]
    }

    /// Digit by digit, since hyper takes any number of zeros. What is no size it refuses.
    fn read_size<'a>(&mut self, bytes: &'a [u8], mut size: u64) -> &'a [u8] {
        for (index, byte) in bytes.iter().enumerate() {
            let Some(digit) = char::from(*byte).to_digit(16) else {
                self.state = State::ChunkLine(size);
                return &bytes[index..];
            };
            size = size.saturating_mul(16).saturating_add(digit.into());
        }
        self.state = State::ChunkSize(size);
        &[]
    }

    /// A line of a head, or what of it is within the limit.
    fn read_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let within = bytes.len().min(self.head_limit - self.head_len);
        if within == 0 {
            self.state = State::Broken;
            return bytes;
        }
        let heads = self.heads;
        let taken = within - self.read_line(&bytes[..within]).len();
        self.head_len = if self.heads == heads { self.head_len + taken } else { 0 };
        &bytes[taken..]
    }

    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = find_newline(bytes) else {
            self.keep(bytes);
            return &[];
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let is_bare = *line.last().unwrap_or(&self.line_last) != b'\r';
        if is_bare && matches!(self.state, State::ChunkLine(_) | State::ChunkEnd | State::Trailers) {
            self.state = State::Broken;
        } else if self.line_len == 0 {
            self.end_line(line, line.len());
        } else {
            self.keep(line);
            let (kept, len) = (self.line, self.line_len);
            self.end_line(&kept[..len.min(LINE_BYTES)], len);
        }
        (self.line_len, self.line_last) = (0, 0);
        rest
    }

    /// `line_len` goes on counting where the buffer ends.
    fn keep(&mut self, bytes: &[u8]) {
        let start = self.line_len.min(LINE_BYTES);
        let taken = bytes.len().min(LINE_BYTES - start);
        self.line[start..start + taken].copy_from_slice(&bytes[..taken]);
        self.line_len = self.line_len.saturating_add(bytes.len());
        self.line_last = *bytes.last().unwrap_or(&self.line_last);
    }

    /// `line` may be the beginning alone of a line of `len` bytes.
    fn end_line(&mut self, line: &[u8], len: usize) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            State::Between if line.is_empty() => {}
            State::Between => self.state = State::Head,
            State::Head if line.is_empty() => self.end_head(),
            State::Head => self.field(line, len),
            State::ChunkLine(0) => self.state = State::Trailers,
            State::ChunkLine(size) => self.state = State::ChunkData(size),
            State::ChunkEnd => self.state = State::ChunkSize(0),
            State::Trailers if line.is_empty() => self.state = State::Between,
            State::Trailers
            | State::Body(_)
            | State::ChunkSize(_)
            | State::ChunkData(_)
            | State::Over
            | State::Broken => {}
        }
    }

    fn field(&mut self, line: &[u8], len: usize) {
        let colon = line.iter().position(|byte| *byte == b':');
        let Some((name, value)) = colon.map(|colon| (&line[..colon], &line[colon + 1..])) else { return };
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            match (self.length, length) {
                (Some(_), _) => self.mark(FramingFault::LengthTwice),
                (None, Some(length)) if len <= LINE_BYTES => self.length = Some(length),
                (None, _) => self.mark(FramingFault::Length),
            }
        }
        if self.is_chunked && self.length.is_some() {
            self.mark(FramingFault::LengthAndEncoding);
        }
    }

    fn mark(&mut self, fault: FramingFault) {
        // As the requests are counted that are served: over 2^32 of them it begins anew.
        self.fault.get_or_insert((self.heads.wrapping_add(1), fault));
    }

    fn end_head(&mut self) {
        self.heads = self.heads.wrapping_add(1);
        self.state = match (self.fault, self.is_chunked, self.length.take()) {
            (Some(_), ..) => State::Over,
            (None, true, _) => State::ChunkSize(0),
            (None, false, Some(length)) if length > 0 => State::Body(length),
            (None, false, _) => State::Between,
        };
        self.is_chunked = false;
    }
}

fn find_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Framing {
        scan_within(text, usize::MAX)
    }

    /// The whole at once and byte by byte have to end alike.
    fn scan_within(text: &str, head_limit: usize) -> Framing {
        let mut whole = Framing::new(head_limit);
        let good = whole.read(text.as_bytes());
        let mut single = Framing::new(head_limit);
        let singly = text.bytes().take_while(|byte| single.read(&[*byte]) == 1).count();
        assert!(good <= singly && (singly == text.len()) == (good == text.len()), "{text:?}");
        assert_eq!((whole.state, whole.heads, whole.fault), (single.state, single.heads, single.fault), "{text:?}");
        assert_eq!(whole.is_in_head(), single.is_in_head());
        whole
    }

    proptest::proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(pieces in proptest::collection::vec(0..PIECES.len(), 0..24)) {
            let text = pieces.into_iter().map(|piece| PIECES[piece]).collect::<String>();
            scan(&text);
            scan_within(&text, 40);
        }
    }

    const PIECES: &[&str] = &[
        "GET / HTTP/1.1\r\n",
        "\r\n",
        "\n",
        "\r",
        "Content-Length: 3\r\n",
        "content-length:",
        "Transfer-Encoding: chunked\r\n",
        "Host: a\r\n",
        "3\r\n",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "abc",
        "0\r\n",
        ";x=y",
        ":",
        " ",
        "\0",
        "ffffffffffffffff\r\n",
    ];

    #[test]
    fn messages_end_where_their_bodies_do() {
        let table = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
            ("\r\n\r\nGET / HTTP/1.1\n\n", 1),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n\r\n\r\nxGET / HTTP/1.1\r\n\r\n", 2),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n\r\n\r\nx\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                2,
            ),
            ("POST / HTTP/1.1\r\ncontent-length:0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2),
        ];
        for (text, heads) in table {
            let framing = scan(text);
            assert_eq!((framing.heads, framing.fault(), framing.is_between()), (heads, None, true), "{text:?}");
        }
    }

    #[test]
    fn doubtful_framing_marks_its_message() {
        let table = [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked", FramingFault::LengthAndEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1", FramingFault::LengthAndEncoding),
            ("TRANSFER-ENCODING:x\r\ncontent-length:\t0 ", FramingFault::LengthAndEncoding),
            ("Content-Length: 1\r\nContent-Length: 1", FramingFault::LengthTwice),
            ("Content-Length: 1, 1", FramingFault::Length),
            ("Content-Length: -1", FramingFault::Length),
            ("Content-Length: 18446744073709551616", FramingFault::Length),
        ];
        for (lines, fault) in table {
            let text = format!("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n{lines}\r\n\r\n");
            assert_eq!(scan(&text).fault(), Some((2, fault)), "{lines:?}");
        }
    }

    #[test]
    fn the_count_of_messages_begins_anew_after_the_last_number() {
        let mut framing = Framing { heads: u32::MAX, ..Framing::new(1024) };
        framing.read(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n");
        assert_eq!(framing.fault(), Some((0, FramingFault::Length)));
    }

    #[test]
    fn a_line_among_chunks_that_does_not_end_in_cr_lf_breaks_the_body_off() {
        for (body, is_good) in [
            ("0\r\nX: y\r\n\r\n", true),
            ("0\r\n\nGET /x HTTP/1.1\r\n\r\n", false),
            ("0\r\nX: y\n\nGET /x HTTP/1.1\r\n\r\n", false),
            ("0\n", false),
            ("1\na\r\n", false),
            ("1\r\na\n", false),
        ] {
            let text = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            assert_eq!(scan(&text).state != State::Broken, is_good, "{body:?}");
        }
        let long = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {}", "y".repeat(100));
        assert!(scan(&format!("{long}\r\n\r\n")).is_between());
        assert_eq!(scan(&format!("{long}\n\n")).state, State::Broken);
    }

    #[test]
    fn a_line_for_the_length_of_64_bytes_is_read_and_a_longer_one_refused() {
        for (spaces, expected) in [(47, None), (48, Some((1, FramingFault::Length)))] {
            let text = format!("POST / HTTP/1.1\r\nContent-Length:{}0\r\n\r\n", " ".repeat(spaces));
            assert_eq!(scan(&text).fault(), expected);
        }
    }

    #[test]
    fn zeros_before_a_chunk_size_change_nothing_however_many_they_are() {
        for zeros in [0, 63, 64, 65, 1000] {
            let text = format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}5\r\n\r\n\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                "0".repeat(zeros)
            );
            let framing = scan(&text);
            assert_eq!((framing.heads, framing.is_between()), (2, true), "{zeros} zeros");
        }
    }

    #[test]
    fn a_head_breaks_off_behind_its_limit_however_it_is_cut() {
        let short = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let long = "\r\n\nGET / HTTP/1.1\r\nHost: abcdefgh\r\n\r\n";
        let body = "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n\r\n\r\n\r\n\r\nx";
        for (text, longest) in [
            (short.to_owned(), short.len()),
            (format!("{short}{long}{short}"), long.len()),
            (format!("{body}{short}{body}{long}"), body.len() - 9),
        ] {
            assert!(scan_within(&text, longest).is_between(), "{text:?}");
            assert_eq!(scan_within(&text, longest - 1).state, State::Broken, "{text:?}");
        }
        let head = "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        for cut in 1..head.len() {
            let mut framing = Framing::new(head.len() - 1);
            let (one, other) = head.as_bytes().split_at(cut);
            assert_eq!((framing.read(one), framing.read(other)), (cut, other.len() - 1));
            assert_eq!((framing.state, framing.heads, framing.read(b"x")), (State::Broken, 0, 0));
        }
    }

    #[test]
    fn a_head_is_open_from_its_first_byte_to_its_empty_line() {
        assert!(!scan("").is_in_head());
        assert!(!scan("\r\n").is_in_head());
        assert!(scan("G").is_in_head());
        assert!(scan("GET / HTTP/1.1\r\n").is_in_head());
        assert!(scan("GET / HTTP/1.1\r\nHost: a\r\n").is_in_head());
        assert!(!scan("GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_in_head());
        assert!(!scan("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").is_in_head());
    }
}
