//! A form with files, `multipart/form-data` (RFC 7578, RFC 2046), read while it comes in: of a file no more than one piece
//! is in memory.

use std::cell::RefCell;
use std::rc::Rc;

use refrain_sdk::{Body, Bytes, Failure};

/// Bytes of the headers of one part.
const HEADERS_BYTES_MAX: usize = 8 << 10;
/// Characters of a boundary (RFC 2046, section 5.1.1).
const BOUNDARY_CHARS_MAX: usize = 70;

/// The boundary that a form's media type names.
pub fn boundary(media_type: &str) -> Option<String> {
    let (kind, parameters) = media_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let boundary = boundary.trim_matches('"');
    (1..=BOUNDARY_CHARS_MAX).contains(&boundary.len()).then(|| boundary.to_owned())
}

/// The parts of a form, one after the other.
pub struct Parts {
    // With the reader of a part's contents while there is one.
    reader: Rc<RefCell<Option<Reader>>>,
}

/// The head of a part.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// As the client says it; none of a part that is no file.
    pub filename: Option<String>,
}

impl Parts {
    pub fn new(body: Body, boundary: &str) -> Self {
        // As if a line had ended before the first boundary, so that all of them look alike.
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        let reader = Reader { body, buffer: b"\r\n".to_vec(), delimiter, inside: true };
        Self { reader: Rc::new(RefCell::new(Some(reader))) }
    }

    /// The next part; what is left of the one before is passed over. None at the end.
    pub async fn next(&mut self) -> Result<Option<Part>, Failure> {
        let mut reader = self.reader.take().ok_or("the part before was not taken whole")?;
        while reader.inside {
            reader.piece().await?;
        }
        let part = reader.head().await?;
        self.reader.replace(Some(reader));
        Ok(part)
    }

    /// The contents of the part, to be sent somewhere.
    pub fn contents(&self) -> Body {
        let shared = Rc::clone(&self.reader);
        Body::written(|mut writer| async move {
            let mut reader = shared.take().ok_or("the part's contents are taken already")?;
            while let Some(piece) = reader.piece().await? {
                writer.write(piece).await;
            }
            shared.replace(Some(reader));
            Ok(())
        })
    }
}

struct Reader {
    body: Body,
    buffer: Vec<u8>,
    /// What ends a part, with the line's end before it.
    delimiter: Vec<u8>,
    /// Whether the buffer begins within a part.
    inside: bool,
}

impl Reader {
    async fn fill(&mut self) -> Result<(), Failure> {
        let piece = self.body.piece().await?.ok_or("the form ends within a part")?;
        self.buffer.extend_from_slice(&piece);
        Ok(())
    }

    /// The next bytes of the part; none at its end.
    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        while self.inside {
            match find(&self.buffer, &self.delimiter) {
                Some(0) => {
                    self.buffer.drain(..self.delimiter.len());
                    self.inside = false;
                }
                Some(end) => return Ok(Some(self.cut(end))),
                // What may be the beginning of a delimiter is kept.
                None if self.buffer.len() >= self.delimiter.len() => {
                    return Ok(Some(self.cut(self.buffer.len() - (self.delimiter.len() - 1))));
                }
                None => self.fill().await?,
            }
        }
        Ok(None)
    }

    fn cut(&mut self, end: usize) -> Bytes {
        let rest = self.buffer.split_off(end);
        std::mem::replace(&mut self.buffer, rest).into()
    }

    /// The head of the part after a delimiter; none after the last one.
    async fn head(&mut self) -> Result<Option<Part>, Failure> {
        const END: &[u8] = b"\r\n\r\n";
        loop {
            if self.buffer.starts_with(b"--") {
                return Ok(None);
            }
            match find(&self.buffer, END) {
                Some(end) if end <= HEADERS_BYTES_MAX => {
                    let head = String::from_utf8(self.buffer.drain(..end + END.len()).collect())?;
                    self.inside = true;
                    return Ok(Some(Part { filename: filename(&head) }));
                }
                None if self.buffer.len() < HEADERS_BYTES_MAX + END.len() => {}
                _ => return Err(format!("the headers of a part are longer than {HEADERS_BYTES_MAX} bytes").into()),
            }
            self.fill().await?;
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}

/// The name of the file that a part's headers say.
fn filename(head: &str) -> Option<String> {
    let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let (_, rest) = disposition.split_once("filename=\"")?;
    let (name, _) = rest.split_once('"')?;
    // Browsers escape these three, and nothing else (the HTML standard on multipart/form-data).
    Some(name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_sdk::run;

    const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
        --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n\
        \r\n--not the end\r\n--\r\n\r\n--x--\r\n";

    /// The form in pieces of so many bytes.
    fn in_pieces(form: &str, bytes: usize) -> Body {
        let pieces: Vec<Vec<u8>> = form.as_bytes().chunks(bytes).map(<[u8]>::to_vec).collect();
        Body::written(|mut writer| async move {
            for piece in pieces {
                writer.write(piece).await;
            }
            Ok(())
        })
    }

    fn read(form: &str, bytes: usize) -> Result<Vec<(Option<String>, String)>, Failure> {
        run(async {
            let mut parts = Parts::new(in_pieces(form, bytes), "x");
            let mut all = Vec::new();
            while let Some(part) = parts.next().await? {
                all.push((part.filename, parts.contents().text(1000).await?));
            }
            Ok(all)
        })
    }

    #[test]
    fn a_form_is_read_alike_in_pieces_of_any_length() {
        for bytes in 1..FORM.len() + 1 {
            let parts = read(FORM, bytes).unwrap();
            assert_eq!(parts[0], (None, "hello".to_owned()), "{bytes}");
            assert_eq!(parts[1], (Some("a\"b.jpg".to_owned()), "\r\n--not the end\r\n--\r\n".to_owned()), "{bytes}");
            assert_eq!(parts.len(), 2);
        }
    }

    #[test]
    fn a_form_that_ends_too_early_is_an_error() {
        let last = FORM.rfind("--x--").unwrap();
        for end in 0..last + 4 {
            assert!(read(&FORM[..end], 7).is_err(), "{end}");
        }
    }

    #[test]
    fn parts_that_nobody_reads_are_passed_over() {
        let names = run(async {
            let mut parts = Parts::new(in_pieces(FORM, 3), "x");
            let mut names = Vec::new();
            while let Some(part) = parts.next().await.unwrap() {
                names.push(part.filename);
            }
            names
        });
        assert_eq!(names, [None, Some("a\"b.jpg".to_owned())]);
    }

    #[test]
    fn headers_at_their_limit_are_read_and_longer_ones_are_refused() {
        // What counts is the line's end after the delimiter and the header; the two ends after it do not.
        for (more, fits) in [(0, true), (1, false)] {
            let header = "a".repeat(HEADERS_BYTES_MAX - 2 + more);
            let form = format!("--x\r\n{header}\r\n\r\nbody\r\n--x--");
            assert_eq!(read(&form, 1).is_ok(), fits, "{more}");
        }
    }

    #[test]
    fn the_boundary_is_read_from_the_media_type() {
        for (media_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=abc", None),
            ("text/plain", None),
        ] {
            assert_eq!(boundary(media_type).as_deref(), expected, "{media_type}");
        }
        let long = |chars: usize| format!("multipart/form-data; boundary={}", "b".repeat(chars));
        assert!(boundary(&long(70)).is_some() && boundary(&long(71)).is_none());
    }
}
