//! Who is interested in a subject: a tree by the words of the patterns, so that a message costs as much as it has words
//! and readers, however many subscriptions there are.

use std::collections::BTreeMap;

/// A subscription: the session, and its number there.
pub type Key = (u64, u64);

#[derive(Default)]
pub struct Interest {
    next: BTreeMap<Box<str>, Interest>,
    /// In order.
    here: Vec<Key>,
}

impl Interest {
    /// Adds a subscription.
    pub fn insert(&mut self, pattern: &str, key: Key) {
        let mut node = self;
        for word in pattern.split('.') {
            node = node.next.entry(word.into()).or_default();
        }
        if let Err(at) = node.here.binary_search(&key) {
            node.here.insert(at, key);
        }
    }

    /// Takes it away again, with the branches that nobody needs any more.
    pub fn remove(&mut self, pattern: &str, key: Key) {
        let (word, rest) = pattern.split_once('.').map_or((pattern, None), |(word, rest)| (word, Some(rest)));
        let Some(node) = self.next.get_mut(word) else { return };
        match rest {
            Some(rest) => node.remove(rest, key),
            None => node.here.retain(|one| *one != key),
        }
        if node.here.is_empty() && node.next.is_empty() {
            self.next.remove(word);
        }
    }

    /// All subscriptions whose pattern fits a subject, in order, each once.
    pub fn matching(&self, subject: &str) -> Vec<Key> {
        let mut found = Vec::new();
        self.collect(Some(subject), &mut found);
        found.sort_unstable();
        found
    }

    fn collect(&self, rest: Option<&str>, found: &mut Vec<Key>) {
        let Some(rest) = rest else {
            found.extend(&self.here);
            return;
        };
        if let Some(all) = self.next.get(">") {
            found.extend(&all.here);
        }
        let (word, rest) = rest.split_once('.').map_or((rest, None), |(word, rest)| (word, Some(rest)));
        for node in [self.next.get(word), self.next.get("*")].into_iter().flatten() {
            node.collect(rest, found);
        }
    }
}
