//! Names, versions, and the identity `namespace/name@version`.

use std::fmt;
use std::str::FromStr;

use crate::bounds::{NAME_CHARS_MAX, VERSION_BYTES_MAX};

/// The name of a service, a namespace or a port: `[a-z][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name needs at least one character")]
    Empty,
    /// Longer than the limit.
    #[error("{chars} characters, the limit is {NAME_CHARS_MAX}")]
    TooLong {
        /// How long it is.
        chars: usize,
    },
    /// A character that a name may not have at this place.
    #[error(
        "`{character}` at character {at} is not allowed: a name is a lower case letter followed by lower case \
         letters, digits and hyphens"
    )]
    Character {
        /// The character.
        character: char,
        /// Its place, from 1.
        at: usize,
    },
}

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let wrong = text.chars().enumerate().find(|(at, c)| {
            let later = c.is_ascii_digit() || *c == '-';
            !(c.is_ascii_lowercase() || (*at > 0 && later))
        });
        if let Some((at, character)) = wrong {
            return Err(NameError::Character { character, at: at + 1 });
        }
        if text.len() > NAME_CHARS_MAX {
            return Err(NameError::TooLong { chars: text.len() });
        }
        Ok(Self(text.to_owned()))
    }
}

/// A semantic version (semver.org 2.0).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

impl Version {
    /// The version, to be compared.
    pub const fn as_semver(&self) -> &semver::Version {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > VERSION_BYTES_MAX {
            return Err(format!("{} bytes, the limit is {VERSION_BYTES_MAX}", text.len()));
        }
        semver::Version::parse(text).map(Self).map_err(|error| format!("not a semantic version such as 1.2.3: {error}"))
    }
}

/// What a service is called everywhere: `namespace/name@version`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// The namespace.
    pub namespace: Name,
    /// The name within the namespace.
    pub name: Name,
    /// The version.
    pub version: Version,
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.namespace, self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_most_63_characters() {
        let at_limit = "a".repeat(63);
        assert_eq!(at_limit.parse::<Name>().unwrap().as_str(), at_limit);
        assert_eq!("a".repeat(64).parse::<Name>(), Err(NameError::TooLong { chars: 64 }));
    }

    #[test]
    fn a_name_begins_with_a_letter_and_is_lower_case() {
        for good in ["a", "image-server", "a1", "x-"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for (bad, at) in [("1a", 1), ("-a", 1), ("aB", 2), ("a_b", 2), ("a/b", 2), ("ä", 1)] {
            let error = bad.parse::<Name>().unwrap_err();
            assert!(matches!(error, NameError::Character { at: found, .. } if found == at), "{bad}: {error}");
        }
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
    }

    #[test]
    fn a_version_is_a_semantic_version_of_at_most_64_bytes() {
        assert_eq!("1.2.3-rc.1".parse::<Version>().unwrap().to_string(), "1.2.3-rc.1");
        assert!("1.2".parse::<Version>().is_err());
        let at_limit = format!("1.2.3-{}", "a".repeat(58));
        assert!(at_limit.parse::<Version>().is_ok());
        assert!(format!("{at_limit}a").parse::<Version>().is_err());
    }
}
