//! Subscriptions, and whom a message goes to. No socket in here.

use std::collections::BTreeMap;

use crate::interest::{Interest, Key};
use crate::protocol::Fault;

/// Most subscriptions of one session.
const MAX_SUBSCRIPTIONS: usize = 256;

/// What a session wants.
struct Subscription {
    pattern: String,
    group: Option<String>,
    sid: String,
    delivered: u64,
    /// After how many messages it ends by itself.
    limit: Option<u64>,
}

/// All subscriptions.
#[derive(Default)]
pub struct Bus {
    interest: Interest,
    /// By session and the order in which they were made.
    subscriptions: BTreeMap<Key, Subscription>,
    /// What was made and what was sent so far: members of a queue group take turns by it.
    made: u64,
    sent: u64,
}

impl Bus {
    /// Adds a subscription; another one with this `sid` is replaced.
    pub fn subscribe(&mut self, session: u64, pattern: &str, group: Option<&str>, sid: &str) -> Result<(), Fault> {
        self.unsubscribe(session, sid, None);
        if self.of(session).count() == MAX_SUBSCRIPTIONS {
            return Err(Fault::Subscriptions);
        }
        self.made += 1;
        let key = (session, self.made);
        let subscription = Subscription {
            pattern: pattern.to_owned(),
            group: group.map(str::to_owned),
            sid: sid.to_owned(),
            delivered: 0,
            limit: None,
        };
        self.interest.insert(pattern, key);
        self.subscriptions.insert(key, subscription);
        Ok(())
    }

    /// Ends a subscription, now or after so many messages in all.
    pub fn unsubscribe(&mut self, session: u64, sid: &str, after: Option<u64>) {
        let Some(key) = self.of(session).find(|(_, one)| one.sid == sid).map(|(key, _)| *key) else { return };
        let Some(subscription) = self.subscriptions.get_mut(&key) else { return };
        match after.filter(|after| *after > subscription.delivered) {
            Some(after) => subscription.limit = Some(after),
            None => self.end(key),
        }
    }

    /// Ends all subscriptions of a session.
    pub fn leave(&mut self, session: u64) {
        let keys: Vec<Key> = self.of(session).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.end(key));
    }

    /// Whom a message goes to: `(session, sid)`, in order. All that fit, and one of each queue group, in turn.
    pub fn route(&mut self, subject: &str, but_not: Option<u64>) -> Vec<(u64, String)> {
        let mut keys = Vec::new();
        let mut groups: Vec<(&str, Vec<Key>)> = Vec::new();
        for key in self.interest.matching(subject) {
            match &self.subscriptions[&key].group {
                _ if but_not == Some(key.0) => {}
                Some(group) => match groups.iter_mut().find(|(name, _)| name == group) {
                    Some((_, members)) => members.push(key),
                    None => groups.push((group, vec![key])),
                },
                None => keys.push(key),
            }
        }
        self.sent = self.sent.wrapping_add(1);
        keys.extend(groups.iter().map(|(_, members)| members[(self.sent % members.len() as u64) as usize]));
        keys.into_iter().map(|key| (key.0, self.deliver(key))).collect()
    }

    fn deliver(&mut self, key: Key) -> String {
        let subscription = self.subscriptions.get_mut(&key).expect("what is of interest is a subscription");
        subscription.delivered += 1;
        let sid = subscription.sid.clone();
        if subscription.limit == Some(subscription.delivered) {
            self.end(key);
        }
        sid
    }

    fn of(&self, session: u64) -> impl Iterator<Item = (&Key, &Subscription)> {
        self.subscriptions.range((session, 0)..=(session, u64::MAX))
    }

    fn end(&mut self, key: Key) {
        if let Some(subscription) = self.subscriptions.remove(&key) {
            self.interest.remove(&subscription.pattern, key);
        }
    }
}
