//! The bearer token of the admin API.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Fewest characters of a token: 128 bits when they are hexadecimal.
pub const TOKEN_CHARS_MIN: usize = 32;
/// Most characters of a token.
pub const TOKEN_CHARS_MAX: usize = 256;

/// A secret; never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

/// A text that cannot be a token. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too short or too long.
    #[error("a token of {0} characters, allowed: {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX}")]
    Length(usize),
    /// A character that cannot be in a header.
    #[error("a token has letters, digits and -._~+/= alone")]
    Character,
}

impl Token {
    /// A token of these random bytes, in hexadecimal.
    pub fn of(random: [u8; 32]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The secret itself, for the header.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not depend on where the texts differ.
    pub fn matches(&self, given: &str) -> bool {
        let (own, given) = (self.0.as_bytes(), given.as_bytes());
        let differing = own.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
        own.len() == given.len() && std::hint::black_box(differing) == 0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&text.len()) {
            return Err(TokenError::Length(text.len()));
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)) {
            return Err(TokenError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Token {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_32_to_256_characters_of_a_header() {
        for (length, good) in [(31, false), (32, true), (256, true), (257, false)] {
            assert_eq!("a".repeat(length).parse::<Token>().is_ok(), good, "{length}");
        }
        assert_eq!(" ".repeat(32).parse::<Token>(), Err(TokenError::Character));
        assert_eq!("é".repeat(16).parse::<Token>(), Err(TokenError::Character));
    }

    #[test]
    fn a_token_matches_itself_alone_and_is_not_printed() {
        let token = Token::of([0xab; 32]);
        assert!(token.matches(&"ab".repeat(32)));
        for other in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &format!("{}ac", "ab".repeat(31))] {
            assert!(!token.matches(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
