//! The list of pictures, read from the image server's own page: a link and a size for each.

use crate::text;

/// A picture, or another file that the image server keeps.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    pub name: String,
    /// As the image server says it: `1.5 KiB`.
    pub size: String,
}

/// How an entry begins, and where in it the size stands.
const ENTRY: &str = "<li><a href=\"/";
const SIZE: &str = "<i>";

/// All entries of the page, in its order. What does not look like one is left out.
pub fn read(page: &str) -> Vec<Picture> {
    page.split(ENTRY).skip(1).filter_map(entry).collect()
}

fn entry(text: &str) -> Option<Picture> {
    let (segment, rest) = text.split_once('"')?;
    let (_, size) = rest.split_once(SIZE)?;
    let (size, _) = size.split_once('<')?;
    Some(Picture { name: text::name(segment)?, size: size.to_owned() })
}

/// Whether browsers show a file of this name.
pub fn is_image(name: &str) -> bool {
    const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "gif", "webp", "avif", "svg", "bmp"];
    name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `examples/image-server/gallery.c` writes it.
    const PAGE: &str = "<p>2 files, 3.0 KiB</p><ul>\n\
        <li><a href=\"/a%20%26b.jpg\"><span class=\"thumb\"><img loading=\"lazy\" alt=\"\" src=\"/a%20%26b.jpg\"></span>\
        <span class=\"label\"><b>a &amp;b.jpg</b><i>1.5 KiB</i></span></a></li>\n\
        <li><a href=\"/notes.txt\"><span class=\"thumb\">txt</span><span class=\"label\"><b>notes.txt</b><i>9 B</i></span></a></li>\n\
        </ul>";

    #[test]
    fn every_entry_is_read_with_its_name_and_size() {
        let names: Vec<(String, String)> = read(PAGE).into_iter().map(|picture| (picture.name, picture.size)).collect();
        let expected = [("a &b.jpg", "1.5 KiB"), ("notes.txt", "9 B")];
        assert_eq!(names, expected.map(|(name, size)| (name.to_owned(), size.to_owned())));
    }

    #[test]
    fn a_page_without_entries_or_with_half_ones_is_an_empty_list() {
        for page in ["", "<div class=\"empty\">", "<li><a href=\"/half", "<li><a href=\"/../x\"><i>1 B</i>"] {
            assert_eq!(read(page), []);
        }
    }

    #[test]
    fn images_are_told_by_their_endings() {
        assert!(is_image("a.JPG") && is_image("b.tar.png"));
        assert!(!is_image("jpg") && !is_image("a.txt") && !is_image(""));
    }
}
