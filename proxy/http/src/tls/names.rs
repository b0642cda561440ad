//! The DNS names that a certificate is for, out of its DER: RFC 5280, section 4.2.1.6. What is no certificate has none;
//! whether a name counts is for rustls to say.

/// The content of an element, and its tag before it (X.690, section 8.1).
type Element<'a> = (u8, &'a [u8]);

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// Of `tbsCertificate`.
const EXTENSIONS: u8 = 0xa3;
/// Of `GeneralName`.
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// As they are written, `*.name` among them.
pub(super) fn dns_names(certificate: &[u8]) -> Vec<&str> {
    let Some(names) = alternative_names(certificate) else { return Vec::new() };
    let names = elements(names).filter(|(tag, _)| *tag == DNS_NAME);
    names.filter_map(|(_, name)| std::str::from_utf8(name).ok()).collect()
}

fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let signed = child(child(certificate, SEQUENCE)?, SEQUENCE)?;
    let extensions = child(child(signed, EXTENSIONS)?, SEQUENCE)?;
    let mut extensions = elements(extensions).map(|(_, extension)| extension);
    let names = extensions.find(|extension| child(extension, OID) == Some(SUBJECT_ALT_NAME))?;
    child(child(names, OCTETS)?, SEQUENCE)
}

/// The content of the first element with this tag.
fn child(content: &[u8], wanted: u8) -> Option<&[u8]> {
    elements(content).find(|(tag, _)| *tag == wanted).map(|(_, content)| content)
}

/// Up to what is none.
fn elements(mut content: &[u8]) -> impl Iterator<Item = Element<'_>> {
    std::iter::from_fn(move || {
        let (element, rest) = split(content)?;
        content = rest;
        Some(element)
    })
}

fn split(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let [tag, first, rest @ ..] = bytes else { return None };
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // So many bytes of a length; a file has no more than a MiB.
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(((*tag, content), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::generate_simple_self_signed(names).unwrap().cert.der().to_vec()
    }

    #[test]
    fn the_names_of_a_certificate_are_found_and_addresses_are_none() {
        assert_eq!(dns_names(&certificate(&["a.test", "127.0.0.1", "*.b.test"])), ["a.test", "*.b.test"]);
        let many: Vec<String> = (0..2000).map(|number| format!("{number}.of.many.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(dns_names(&certificate(&many)), many);
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        let whole = certificate(&["a.test"]);
        for end in 0..whole.len() {
            assert!(dns_names(&whole[..end]).is_empty());
        }
        for byte in 0..whole.len() {
            let mut changed = whole.clone();
            changed[byte] ^= 0xff;
            // Whatever it reads, it ends.
            assert!(dns_names(&changed).len() <= whole.len());
        }
        assert!(dns_names(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_empty());
    }
}
