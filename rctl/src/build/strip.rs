//! Takes the section `component-name` out of a component: the names that its maker gave to its parts, kilobytes that no
//! host reads. What core modules say of themselves stays, as it is what a trap is told by.

/// Magic, version and layer.
const HEADER_BYTES: usize = 8;
/// The number of custom sections.
const CUSTOM: u8 = 0;
const NAMES: &[u8] = b"component-name";

/// The component without it. What is not sections from end to end is given back as it is.
pub fn strip(component: &[u8]) -> Vec<u8> {
    stripped(component).unwrap_or_else(|| component.to_vec())
}

fn stripped(component: &[u8]) -> Option<Vec<u8>> {
    let mut kept = component.get(..HEADER_BYTES)?.to_vec();
    let mut at = HEADER_BYTES;
    while at < component.len() {
        let (bytes, begin) = number(component, at + 1)?;
        let content = component.get(begin..begin.checked_add(bytes)?)?;
        let end = begin + bytes;
        if component[at] != CUSTOM || name(content) != Some(NAMES) {
            kept.extend_from_slice(&component[at..end]);
        }
        at = end;
    }
    Some(kept)
}

/// The name at the beginning of a custom section.
fn name(content: &[u8]) -> Option<&[u8]> {
    let (bytes, begin) = number(content, 0)?;
    content.get(begin..begin.checked_add(bytes)?)
}

/// An unsigned number of at most 32 bits in LEB128, and where it ends.
fn number(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_go_and_everything_else_stays() {
        let named = wat::parse_str("(component $outer (core module $inner (func $f)) (instance $i))").unwrap();
        let plain = strip(&named);
        assert!(plain.len() < named.len() && !plain.windows(NAMES.len()).any(|part| part == NAMES));
        assert_eq!(refrain_inspect::inspect_component(&plain).unwrap().modules, 1);
        assert_eq!(strip(&plain), plain);
    }

    #[test]
    fn what_ends_within_a_section_is_given_back() {
        let named = wat::parse_str("(component $outer)").unwrap();
        for end in HEADER_BYTES + 1..named.len() {
            assert_eq!(strip(&named[..end]), &named[..end]);
        }
        assert_eq!(strip(b"no wasm"), b"no wasm");
    }
}
