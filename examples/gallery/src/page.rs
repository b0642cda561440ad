//! The page: what stands in `page.html` around the pictures.

use crate::listing::{Picture, is_image};
use crate::text::{escape_html, escape_url};

const PAGE: &str = include_str!("page.html");

/// What the page may load and do: pictures, forms and requests of its own site.
pub const POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    form-action 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The page of these pictures.
pub fn pictures(pictures: &[Picture]) -> String {
    let told = match pictures.len() {
        0 => "Nothing here yet".to_owned(),
        1 => "1 picture".to_owned(),
        count => format!("{count} pictures"),
    };
    let content = if pictures.is_empty() {
        "<p class=\"empty\">Drop the first picture anywhere on this page.</p>".to_owned()
    } else {
        format!("<ul>\n{}</ul>", pictures.iter().map(card).collect::<String>())
    };
    PAGE.replace("{{told}}", &told).replace("{{content}}", &content)
}

/// The page when the image server does not answer.
pub fn away(address: &str) -> String {
    let content = format!(
        "<div class=\"empty\"><p>The image server does not answer at <code>{}</code>.</p>\
         <p>Start it beside this page: <code>refrain up examples/image-server examples/gallery</code></p></div>",
        escape_html(address)
    );
    PAGE.replace("{{told}}", "No pictures to be had").replace("{{content}}", &content)
}

fn card(picture: &Picture) -> String {
    let (url, name, size) = (escape_url(&picture.name), escape_html(&picture.name), escape_html(&picture.size));
    let shown = if is_image(&picture.name) {
        format!("<img loading=\"lazy\" alt=\"{name}\" src=\"image/{url}\">")
    } else {
        let ending = picture.name.rsplit_once('.').map_or("file", |(_, ending)| ending);
        format!("<span class=\"file\">{}</span>", escape_html(ending))
    };
    format!(
        "<li><a href=\"image/{url}\" title=\"{name}\">{shown}</a>\
         <div class=\"caption\"><span class=\"name\">{name}</span><span class=\"size\">{size}</span>\
         <form method=\"post\" action=\"delete\"><button name=\"name\" value=\"{name}\" \
         aria-label=\"Delete {name}\" title=\"Delete\">&times;</button></form></div></li>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str) -> Picture {
        Picture { name: name.to_owned(), size: "1.5 KiB".to_owned() }
    }

    #[test]
    fn every_picture_is_shown_and_counted() {
        let page = pictures(&[picture("lake.jpg"), picture("notes.txt")]);
        assert!(page.contains("2 pictures") && page.contains("src=\"image/lake.jpg\""));
        assert!(page.contains("<span class=\"file\">txt</span>") && !page.contains("src=\"image/notes.txt\""));
        assert!(pictures(&[picture("a.png")]).contains("1 picture"));
    }

    #[test]
    fn a_name_cannot_break_out_of_the_page() {
        let page = pictures(&[picture("\"><script>alert(1)</script>.png")]);
        assert!(!page.contains("<script>alert") && page.contains("&quot;&gt;&lt;script&gt;alert"));
        assert!(page.contains("image/%22%3E%3Cscript%3E"));
    }

    #[test]
    fn nothing_of_the_frame_is_left_to_be_put_in() {
        for page in [pictures(&[]), pictures(&[picture("a.png")]), away("http://127.0.0.1:8080")] {
            assert!(!page.contains("{{"));
        }
    }
}
