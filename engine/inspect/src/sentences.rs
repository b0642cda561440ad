//! What is told of a module, which may be anybody's: so many sentences, none of them long, whatever is in it.

use std::fmt;

/// The most sentences about one module, besides one that counts the rest.
pub const MAX_SENTENCES: usize = 20;
/// The most characters of a name or a type of the module within a sentence.
const MAX_CUT_CHARS: usize = 100;

/// A sentence for each thing, up to [`MAX_SENTENCES`], and how many more there are.
pub fn sentences<T: fmt::Display>(things: &[T]) -> Vec<String> {
    let mut told: Vec<String> = things.iter().take(MAX_SENTENCES).map(T::to_string).collect();
    if let Some(more) = things.len().checked_sub(MAX_SENTENCES).filter(|more| *more > 0) {
        told.push(format!("and {more} more"));
    }
    told
}

/// Something that a module decides, as it is told: not at length.
pub(crate) struct Cut<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Cut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match text.char_indices().nth(MAX_CUT_CHARS) {
            Some((end, _)) => write!(f, "{}... ({} bytes)", &text[..end], text.len()),
            None => f.write_str(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_limit_are_all_told_and_more_are_counted() {
        let numbers: Vec<usize> = (1..=MAX_SENTENCES + 2).collect();
        let told = |many: usize| sentences(&numbers[..many]);
        assert!(told(0).is_empty());
        assert_eq!((told(20).len(), told(20)[19].as_str()), (20, "20"));
        assert_eq!((told(21).len(), told(21)[20].as_str()), (21, "and 1 more"));
        assert_eq!(told(22)[20], "and 2 more");
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(Cut("é".repeat(100)).to_string(), "é".repeat(100));
        assert_eq!(Cut("é".repeat(101)).to_string(), "é".repeat(100) + "... (202 bytes)");
    }
}
