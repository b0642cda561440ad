//! Lists of the form `name=value,name=value`, values percent-encoded, as W3C Baggage has them.

use percent_encoding::percent_decode_str;

/// The most pairs in one variable.
pub(super) const MAX_PAIRS: usize = 64;

/// The pairs of `list`; a later one of the same name counts. Errors show names, never values.
pub(super) fn pairs(list: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (index, part) in list.split(',').map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        if index == MAX_PAIRS {
            return Err(format!("has more than {MAX_PAIRS} pairs"));
        }
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("has no = in part {}; it is name=value,...", index + 1))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return Err(format!("has no name in part {}; it is name=value,...", index + 1));
        }
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| format!("has a value for {name} that is not UTF-8 when its %xx are decoded"))?;
        found.retain(|(other, _)| other != name);
        found.push((name.to_owned(), value.into_owned()));
    }
    Ok(found)
}
