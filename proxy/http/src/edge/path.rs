//! The path in its one normal form, so that no other spelling gets round a route: RFC 3986, section 6.2.2.
//!
//! Escapes of letters, digits, `-`, `.`, `_`, `~` are undone and dot segments resolved. Other escapes stay as they are:
//! `%2F` is not `/`, and `//` is an empty part. Applications rely on both, and some servers see it otherwise: they merge
//! slashes, or take `%2F` and `\` for one. So [`other_readings`] are told, which have to lead by the same route, and a dot
//! segment that only they have is refused, as are an escape that is none, a zero byte, and a path that leaves the root.
//! What else a server may fold, such as letters, is between it and its owner.

use std::borrow::Cow;

use crate::answer::Fault;

/// The normal form; most paths are in it already and are not copied.
pub(crate) fn normal_path(path: &str) -> Result<Cow<'_, str>, Fault> {
    let path = if path.contains('%') { unescape(path)? } else { Cow::Borrowed(path) };
    let path = if path.contains("/.") { Cow::Owned(resolve_dots(&path)?) } else { path };
    let is_dots = |part: &str| matches!(part, "." | "..");
    if plain_slashes(&path).is_some_and(|read| read.split('/').any(is_dots)) {
        return Err(Fault::UriInvalid);
    }
    Ok(path)
}

/// What a server may take this path, in its normal form, for instead.
pub(crate) fn other_readings(path: &str) -> Vec<String> {
    let plain = plain_slashes(path);
    let both = plain.as_deref().and_then(merge_slashes);
    [merge_slashes(path), plain, both].into_iter().flatten().collect()
}

/// With slashes for what may count as one; none if nothing does.
fn plain_slashes(path: &str) -> Option<String> {
    if !path.contains(['%', '\\']) {
        return None;
    }
    let plain = ["\\", "%2F", "%2f", "%5C", "%5c"].iter().fold(path.to_owned(), |path, one| path.replace(one, "/"));
    (plain != path).then_some(plain)
}

/// With one slash for several in a row; none if there are none.
fn merge_slashes(path: &str) -> Option<String> {
    if !path.contains("//") {
        return None;
    }
    let mut merged = String::with_capacity(path.len());
    for char in path.chars() {
        if char != '/' || !merged.ends_with('/') {
            merged.push(char);
        }
    }
    Some(merged)
}

fn unescape(path: &str) -> Result<Cow<'_, str>, Fault> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (escaped, after) = read_escape(rest)?;
        if escaped == 0 {
            return Err(Fault::UriInvalid);
        }
        if is_unreserved(escaped) {
            bytes.push(escaped);
        } else {
            bytes.push(byte);
            bytes.extend_from_slice(&rest[..2]);
        }
        rest = after;
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Fault::UriInvalid)
}

fn read_escape(rest: &[u8]) -> Result<(u8, &[u8]), Fault> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let [high, low, after @ ..] = rest else { return Err(Fault::UriInvalid) };
    let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(Fault::UriInvalid) };
    Ok((high << 4 | low, after))
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn resolve_dots(path: &str) -> Result<String, Fault> {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." => {}
            ".." => drop(kept.pop().ok_or(Fault::UriInvalid)?),
            part => {
                kept.push(part);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    Ok(format!("/{}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_has_one_normal_form() {
        let table = [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("//a", "//a"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/.", "/"),
            ("/%61dmin", "/admin"),
            ("/public/%2e%2E/admin", "/admin"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb\\c%5cd", "/a%2fb\\c%5cd"),
            ("/a%2fx/../b", "/b"),
            ("/a%2f...%2fb", "/a%2f...%2fb"),
            ("/a//../b", "/a/b"),
            ("/a%20b", "/a%20b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
            ("/%C3%A4", "/%C3%A4"),
        ];
        for (path, expected) in table {
            assert_eq!(normal_path(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_path_that_leaves_the_root_or_has_a_broken_escape_is_refused() {
        for path in ["/..", "/../a", "/a/../../b", "/%2e%2e/a", "/%", "/%4", "/%zz", "/a%00b", "/%-1"] {
            assert_eq!(normal_path(path), Err(Fault::UriInvalid), "{path}");
        }
    }
    #[test]
    fn a_dot_segment_beside_what_may_be_a_slash_is_refused() {
        for path in ["/a%2f..%2fb", "/a%2F.", "/..%5c", "/a%5C%2e/b", "/a\\..\\b", "/.\\", "/a/%2e%2e%2f"] {
            assert_eq!(normal_path(path), Err(Fault::UriInvalid), "{path}");
        }
    }

    #[test]
    fn the_other_readings_of_a_path_merge_slashes_and_know_more_of_them() {
        let table: [(&str, &[&str]); 7] = [
            ("/a/b%20c", &[]),
            ("*", &[]),
            ("//a///b/", &["/a/b/"]),
            ("/a%2Fb", &["/a/b"]),
            ("/a%5cb\\c", &["/a/b/c"]),
            ("/a/%2f", &["/a//", "/a/"]),
            ("//a%2Fb", &["/a%2Fb", "//a/b", "/a/b"]),
        ];
        for (path, expected) in table {
            assert_eq!(other_readings(path), expected, "{path}");
        }
    }
}
