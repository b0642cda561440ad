//! Names in HTML and in URLs.

/// The text so that HTML shows it, between tags and in attributes.
pub fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The text as one segment of a path: everything but letters, digits and `-._~` is escaped.
pub fn escape_url(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(DIGITS[usize::from(byte >> 4)]));
            escaped.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    escaped
}

/// The name that a segment of a URL says, if it is one of a picture: no slash, no dot first, no control characters.
pub fn name(segment: &str) -> Option<String> {
    let name = unescape_url(segment)?;
    let plain = !name.contains('/') && !name.chars().any(char::is_control);
    (plain && !name.is_empty() && !name.starts_with('.')).then_some(name)
}

fn unescape_url(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_from_its_url() {
        for text in ["lake.jpg", "a b&c<d>.png", "Zürich 100%.gif", "~-._"] {
            assert_eq!(name(&escape_url(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_no_name_of_a_picture_is_refused() {
        for segment in ["", ".", "..", ".hidden", "a/b", "a%2Fb", "%", "%2", "%zz", "%FF", "a%0Ab"] {
            assert_eq!(name(segment), None, "{segment}");
        }
    }

    #[test]
    fn html_has_no_way_out() {
        assert_eq!(escape_html("<a href=\"'&\">"), "&lt;a href=&quot;&#39;&amp;&quot;&gt;");
    }
}
