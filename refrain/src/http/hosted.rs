//! What a node tells the front ends of others: which versions of stateless services it hosts, and how they are.
//!
//! Another node asks once for each stream, by `GET` [`PATH`], and the body of the answer goes on for as long as the
//! stream: a line of JSON for each thing that is told, first everything, then what changes. Only the newest state counts,
//! so a node that reads slowly is told less, and nothing is kept for it. After the line in which all has been told that
//! a node has to say before it ends, the body ends.
//!
//! Nothing of it is agreed on: nodes of several versions tell each other what they know, and ignore fields and lines that
//! they do not know. What is new is told only where it says something, so that nodes which refuse what they do not know,
//! as the first ones did, are told nothing new by a cluster that has nothing new.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use refrain_front::{Answering, Body, BodyError, Handler};
use refrain_wire::Position;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Where it is asked for.
pub(super) const PATH: &str = "/hosted";
/// Most bytes of a line: a manifest, each of whose bytes JSON may need six for.
pub(super) const MAX_LINE_BYTES: usize = 8 << 20;
/// Most versions that a node hosts and tells.
pub(super) const MAX_HOSTED: usize = 4096;
/// Most bytes of their manifests together.
pub(super) const MAX_HOSTED_BYTES: usize = 64 << 20;

/// How a version is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Condition {
    /// It takes requests.
    Ready,
    /// The node ends.
    Draining,
    /// It does not say yet, or no more, that it is well; or what only a newer node can say.
    #[serde(other)]
    Waiting,
}

/// One version of a service on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hosted {
    /// The digest of its bundle.
    pub(super) bundle: String,
    /// Its share of the service's requests, as this node has it.
    pub(super) weight: u16,
    /// Requests that it takes at once.
    pub(super) requests: u32,
    /// How it is.
    pub(super) condition: Condition,
    /// Where the log was when it said last that this is deployed; 0, and not there, when the node runs it for itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) in_log: u64,
    /// Its `service.toml`.
    #[serde(with = "shared_text")]
    pub(super) manifest: Arc<str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(position: &u64) -> bool {
    *position == 0
}

/// A text that is shared, as JSON.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        Ok(String::deserialize(deserializer)?.into())
    }
}

/// Everything that a node hosts, by `namespace/name@version`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Everything {
    pub(super) services: BTreeMap<String, Hosted>,
    /// The last change of stateless services in the log that the node has followed; 0 when it knows of none.
    pub(super) followed: Position,
    /// Nothing more will be said.
    pub(super) is_last: bool,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// The node hosts this.
    Hosts {
        /// `namespace/name@version`.
        service: String,
        /// How.
        hosted: Hosted,
    },
    /// It hosts that no more.
    Gone {
        /// `namespace/name@version`.
        service: String,
    },
    /// The node has followed the log to this change of stateless services. Not told before it knows of one.
    Followed {
        /// Where it stands.
        at: u64,
    },
    /// All is told that holds now.
    All,
}

impl Line {
    fn encode(&self) -> Bytes {
        let mut text = serde_json::to_vec(self).expect("texts and numbers are always JSON");
        text.push(b'\n');
        text.into()
    }
}

/// Answers other nodes, on the threads of the front end.
pub(super) struct Teller(pub(super) watch::Sender<Arc<Everything>>);

impl Handler for Teller {
    fn call(&self, request: Request<Body>) -> Answering {
        let is_asked = request.method() == Method::GET && request.uri().path() == PATH;
        let mut response = match is_asked {
            true => Response::new(Body::stream(Telling::new(self.0.subscribe()))),
            false => Response::new(Body::empty()),
        };
        if !is_asked {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        Box::pin(std::future::ready(Ok(response)))
    }
}

type Changed = Pin<Box<dyn Future<Output = Option<watch::Receiver<Arc<Everything>>>> + Send>>;

/// What is told to one node.
struct Telling {
    /// What it was told.
    told: BTreeMap<String, Hosted>,
    followed: Position,
    /// Whether the end of what is told was said.
    is_said: bool,
    /// What it is to know, and the services in which that differs from what it was told.
    now: Arc<Everything>,
    news: VecDeque<String>,
    state: State,
}

enum State {
    Looking(watch::Receiver<Arc<Everything>>),
    Waiting(Changed),
    Over,
}

impl Telling {
    fn new(mut everything: watch::Receiver<Arc<Everything>>) -> Self {
        let now = Arc::clone(&everything.borrow_and_update());
        let mut telling = Self {
            told: BTreeMap::new(),
            followed: Position(0),
            is_said: false,
            now: Arc::default(),
            news: VecDeque::new(),
            state: State::Looking(everything),
        };
        telling.look(now);
        telling
    }

    /// The other node is to know this from here on.
    fn look(&mut self, now: Arc<Everything>) {
        let gone = self.told.keys().filter(|service| !now.services.contains_key(*service));
        let told = |(service, hosted): &(&String, &Hosted)| self.told.get(*service) != Some(hosted);
        let changed = now.services.iter().filter(told).map(|(service, _)| service);
        self.news = gone.chain(changed).cloned().collect();
        self.is_said &= self.news.is_empty() && self.followed == now.followed;
        self.now = now;
    }

    /// The next line that brings the other node nearer to what it is to know; none when it knows all.
    fn next(&mut self) -> Option<Line> {
        if let Some(service) = self.news.pop_front() {
            let Some(hosted) = self.now.services.get(&service) else {
                self.told.remove(&service);
                return Some(Line::Gone { service });
            };
            self.told.insert(service.clone(), hosted.clone());
            return Some(Line::Hosts { service, hosted: hosted.clone() });
        }
        if self.followed != self.now.followed {
            self.followed = self.now.followed;
            return Some(Line::Followed { at: self.followed.0 });
        }
        (!std::mem::replace(&mut self.is_said, true)).then_some(Line::All)
    }
}

impl HttpBody for Telling {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Waiting(mut changed) => match changed.as_mut().poll(cx) {
                    Poll::Ready(Some(everything)) => self.state = State::Looking(everything),
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => {
                        self.state = State::Waiting(changed);
                        return Poll::Pending;
                    }
                },
                State::Looking(mut everything) => {
                    let now = Arc::clone(&everything.borrow_and_update());
                    if !Arc::ptr_eq(&now, &self.now) {
                        self.look(now);
                    }
                    if let Some(line) = self.next() {
                        self.state = State::Looking(everything);
                        return Poll::Ready(Some(Ok(Frame::data(line.encode()))));
                    }
                    if self.now.is_last {
                        return Poll::Ready(None);
                    }
                    self.state = State::Waiting(Box::pin(async move {
                        everything.changed().await.ok()?;
                        Some(everything)
                    }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hearing::Hearing;
    use super::*;

    fn hosted(weight: u16) -> Hosted {
        let (bundle, manifest) = ("0".repeat(64), "name = \"a\"\n".into());
        Hosted { bundle, weight, requests: 1, condition: Condition::Ready, in_log: 0, manifest }
    }

    fn everything(services: &[(&str, u16)], is_last: bool) -> Arc<Everything> {
        let services = services.iter().map(|(name, weight)| ((*name).to_owned(), hosted(*weight))).collect();
        Arc::new(Everything { services, followed: Position(0), is_last })
    }

    fn hosts(service: &str, weight: u16) -> Line {
        Line::Hosts { service: service.into(), hosted: hosted(weight) }
    }

    #[tokio::test]
    async fn everything_is_told_at_first_and_then_what_changes() {
        let (tell, told) = watch::channel(everything(&[("a", 1), ("b", 2)], false));
        let mut hearing = Hearing::new(Body::stream(Telling::new(told)));
        let mut hear = async || hearing.next().await.unwrap();
        assert_eq!(hear().await, Some(hosts("a", 1)));
        assert_eq!(hear().await, Some(hosts("b", 2)));
        assert_eq!(hear().await, Some(Line::All));
        tell.send_replace(everything(&[("b", 2), ("c", 0)], false));
        assert_eq!(hear().await, Some(Line::Gone { service: "a".into() }));
        assert_eq!(hear().await, Some(hosts("c", 0)));
        assert_eq!(hear().await, Some(Line::All));
        tell.send_replace(everything(&[("b", 3)], false));
        tell.send_replace(everything(&[("b", 4)], true));
        assert_eq!(hear().await, Some(Line::Gone { service: "c".into() }), "the newest state alone counts");
        assert_eq!(hear().await, Some(hosts("b", 4)));
        assert_eq!(hear().await, Some(Line::All));
        assert_eq!(hear().await, None);
        assert_eq!(tell.receiver_count(), 0, "who was told all lets go");
    }

    #[test]
    fn the_bytes_of_lines_are_fixed_and_what_is_new_is_not_there_when_it_says_nothing() {
        let text = |line: &Line| String::from_utf8(line.encode().to_vec()).unwrap();
        let bundle = "0".repeat(64);
        let of = |more: &str| {
            format!(
                "{{\"hosts\":{{\"service\":\"a/b@1.0.0\",\"hosted\":{{\"bundle\":\"{bundle}\",\"weight\":7,\"requests\":1,\
                 \"condition\":\"ready\",{more}\"manifest\":\"name = \\\"a\\\"\\n\"}}}}}}\n"
            )
        };
        assert_eq!(text(&hosts("a/b@1.0.0", 7)), of(""));
        let Line::Hosts { service, hosted } = hosts("a/b@1.0.0", 7) else { unreachable!("it hosts") };
        assert_eq!(text(&Line::Hosts { service, hosted: Hosted { in_log: 9, ..hosted } }), of("\"in_log\":9,"));
        assert_eq!(text(&Line::Gone { service: "a/b@1.0.0".into() }), "{\"gone\":{\"service\":\"a/b@1.0.0\"}}\n");
        assert_eq!(text(&Line::Followed { at: 5 }), "{\"followed\":{\"at\":5}}\n");
        assert_eq!(text(&Line::All), "\"all\"\n");
    }

    #[tokio::test]
    async fn how_far_a_node_has_followed_the_log_is_told_when_there_is_anything_to_follow() {
        let at = |followed| Arc::new(Everything { followed: Position(followed), ..Everything::default() });
        let (tell, told) = watch::channel(at(0));
        let mut hearing = Hearing::new(Body::stream(Telling::new(told)));
        let mut hear = async || hearing.next().await.unwrap();
        assert_eq!(hear().await, Some(Line::All));
        tell.send_replace(at(5));
        assert_eq!((hear().await, hear().await), (Some(Line::Followed { at: 5 }), Some(Line::All)));
        drop(tell);
        assert_eq!(hear().await, None);
    }
}
