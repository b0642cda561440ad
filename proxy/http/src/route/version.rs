//! What `x-refrain-version` asks for: exactly one version, or a range.

use http::HeaderValue;
use semver::{Version, VersionReq};

use crate::answer::Fault;

/// Longest value.
const MAX_BYTES: usize = 256;

/// The wanted version. `1.2.3` is that one and no other; ranges are those of Cargo: `1.2`, `^1`, `>=1.2, <2`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Exactly(Version),
    Range(VersionReq),
}

impl Wanted {
    pub(crate) fn parse(value: &HeaderValue) -> Result<Self, Fault> {
        let text = value.to_str().map_err(|_| Fault::VersionInvalid)?.trim();
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err(Fault::VersionInvalid);
        }
        if let Ok(version) = Version::parse(text) {
            return Ok(Self::Exactly(version));
        }
        VersionReq::parse(text).map(Self::Range).map_err(|_| Fault::VersionInvalid)
    }

    pub(crate) fn takes(&self, version: &Version) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == version,
            Self::Range(range) => range.matches(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_means_exact_and_ranges_are_ranges() {
        for (wanted, version, is_taken) in [
            ("1.0.0", "1.0.0", true),
            ("1.0.0", "1.0.1", false),
            ("1.0.0", "1.1.0", false),
            ("1.0.0-rc.1", "1.0.0-rc.1", true),
            ("1.0.0", "1.0.0-rc.1", false),
            ("^1.0.0", "1.1.0", true),
            ("1", "1.9.9", true),
            ("1", "2.0.0", false),
            ("~1.2", "1.2.9", true),
            (">=1.2, <2", "1.9.0", true),
            ("*", "3.0.0", true),
            ("*", "3.0.0-rc.1", false),
        ] {
            let wanted = Wanted::parse(&HeaderValue::from_str(wanted).unwrap()).unwrap();
            assert_eq!(wanted.takes(&version.parse().unwrap()), is_taken, "{wanted:?} {version}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let longest = format!("1{}", " ".repeat(255));
        for text in ["", " ", "latest", "1.2.3.4", "v1", "1.0.0 ||"] {
            assert_eq!(Wanted::parse(&HeaderValue::from_str(text).unwrap()), Err(Fault::VersionInvalid), "{text}");
        }
        let prefix = "1.0.0-";
        for (bytes, is_good) in [(MAX_BYTES, true), (MAX_BYTES + 1, false)] {
            let text = format!("{prefix}{}", "a".repeat(bytes - prefix.len()));
            assert_eq!(Wanted::parse(&HeaderValue::from_str(&text).unwrap()).is_ok(), is_good);
        }
        assert!(Wanted::parse(&HeaderValue::from_str(&longest).unwrap()).is_ok());
    }
}
