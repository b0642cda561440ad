//! `docs/manifest.md` says of every key what the list of keys says, and of no other.

use refrain_service::{Key, reference};

const DOCUMENT: &str = include_str!("../../docs/manifest.md");
/// What comes before is written by hand.
const FIRST: &str = "\n## Top of the file\n";

/// The table of the file that a key is in, as a heading.
fn heading(key: &Key) -> String {
    match key.path.rsplit_once('.') {
        None => "Top of the file".to_owned(),
        Some((table, _)) => match table.strip_suffix("[]") {
            Some(array) => format!("`[[{array}]]`"),
            None => format!("`[{}]`", table.replace("[]", "")),
        },
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn row(key: &Key) -> String {
    let name = if key.name() == "*" { "any".to_owned() } else { format!("`{}`", key.name()) };
    let default = match key.default.as_deref() {
        None if key.name() == "*" => "none".to_owned(),
        None => "must be there".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let effect = if key.effect.is_empty() { String::new() } else { format!("; {}", key.effect) };
    let what = format!("{}{effect}", key.what);
    format!("| {name} | {} | {} | {default} | {} |\n", cell(&what), cell(key.unit), cell(&key.allowed))
}

fn expected() -> String {
    let (mut text, mut table) = (String::new(), String::new());
    for key in reference() {
        let of = heading(&key);
        if of != table {
            text.push_str(&format!(
                "\n## {of}\n\n| key | what, and what it does | unit | default | allowed |\n|---|---|---|---|---|\n"
            ));
            table = of;
        }
        text.push_str(&row(&key));
    }
    text
}

#[test]
fn the_document_of_the_manifest_has_every_key_as_the_program_knows_it() {
    let at = DOCUMENT.find(FIRST).expect("the tables begin with the top of the file");
    let (found, expected) = (&DOCUMENT[at..], expected());
    assert!(found == expected, "docs/manifest.md should be from its first table on:\n{expected}");
}
