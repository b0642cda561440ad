//! What a node tells the front ends of others: which versions of stateless services it hosts, and how they are.
//!
//! Another node asks once for each stream, by `GET` [`PATH`], and the body of the answer goes on for as long as the
//! stream: a line of JSON for each thing that is told, first everything, then what changes. Only the newest state counts,
//! so a node that reads slowly is told less, and nothing is kept for it. After the line in which all has been told that
//! a node has to say before it ends, the body ends.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use refrain_front::{Answering, Body, BodyError, Handler};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Where it is asked for.
pub(super) const PATH: &str = "/hosted";
/// Most bytes of a line: a manifest, each of whose bytes JSON may need six for.
pub(super) const MAX_LINE_BYTES: usize = 8 << 20;

/// How a version is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Condition {
    /// It takes requests.
    Ready,
    /// It does not say yet, or no more, that it is well.
    Waiting,
    /// The node ends.
    Draining,
}

/// One version of a service on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hosted {
    /// The digest of its bundle.
    pub(super) bundle: String,
    /// Its share of the service's requests, as this node has it.
    pub(super) weight: u16,
    /// Requests that it takes at once.
    pub(super) requests: u32,
    /// How it is.
    pub(super) condition: Condition,
    /// Its `service.toml`.
    #[serde(with = "shared_text")]
    pub(super) manifest: Arc<str>,
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
    /// Nothing more will be said.
    pub(super) is_last: bool,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
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
    told: BTreeMap<String, Hosted>,
    /// Whether the end of what is told was said.
    is_said: bool,
    state: State,
}

enum State {
    Looking(watch::Receiver<Arc<Everything>>),
    Waiting(Changed),
    Over,
}

impl Telling {
    fn new(everything: watch::Receiver<Arc<Everything>>) -> Self {
        Self { told: BTreeMap::new(), is_said: false, state: State::Looking(everything) }
    }

    /// The next line that brings the other node nearer to what holds now; none when it knows all.
    fn next(&mut self, now: &Everything) -> Option<Line> {
        let gone = self.told.keys().find(|service| !now.services.contains_key(*service)).cloned();
        if let Some(service) = gone {
            self.told.remove(&service);
            self.is_said = false;
            return Some(Line::Gone { service });
        }
        let news = now.services.iter().find(|(service, hosted)| self.told.get(*service) != Some(hosted));
        if let Some((service, hosted)) = news {
            self.told.insert(service.clone(), hosted.clone());
            self.is_said = false;
            return Some(Line::Hosts { service: service.clone(), hosted: hosted.clone() });
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
                    if let Some(line) = self.next(&now) {
                        self.state = State::Looking(everything);
                        return Poll::Ready(Some(Ok(Frame::data(line.encode()))));
                    }
                    if now.is_last {
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

/// Reads the lines that another node tells.
pub(super) struct Hearing {
    body: Body,
    read: Vec<u8>,
    /// Bytes of it that have no end of a line.
    looked_at: usize,
}

/// Why no more is heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum HearError {
    /// The stream broke.
    #[error("the stream broke")]
    Body(#[from] BodyError),
    /// A line is none.
    #[error("a line that cannot be understood")]
    Line(#[from] serde_json::Error),
    /// A line has no end.
    #[error("a line has more than {MAX_LINE_BYTES} bytes")]
    Long,
}

impl Hearing {
    pub(super) fn new(body: Body) -> Self {
        Self { body, read: Vec::new(), looked_at: 0 }
    }

    /// The next line; none when the node has said that it ends.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, HearError> {
        use http_body_util::BodyExt as _;
        loop {
            if let Some(end) = self.read[self.looked_at..].iter().position(|byte| *byte == b'\n') {
                let end = self.looked_at + end;
                let line = serde_json::from_slice(&self.read[..end])?;
                self.read.drain(..=end);
                self.looked_at = 0;
                return Ok(Some(line));
            }
            self.looked_at = self.read.len();
            if self.read.len() > MAX_LINE_BYTES {
                return Err(HearError::Long);
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosted(weight: u16) -> Hosted {
        let (bundle, manifest) = ("0".repeat(64), "name = \"a\"\n".into());
        Hosted { bundle, weight, requests: 1, condition: Condition::Ready, manifest }
    }

    fn everything(services: &[(&str, u16)], is_last: bool) -> Arc<Everything> {
        let services = services.iter().map(|(name, weight)| ((*name).to_owned(), hosted(*weight))).collect();
        Arc::new(Everything { services, is_last })
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

    #[tokio::test]
    async fn what_is_no_line_ends_it() {
        for text in ["nothing\n", "{\"hosts\":{}}\n", "{\"gone\":{\"service\":\"a\",\"more\":1}}\n", "\"some\"\n"] {
            assert!(matches!(Hearing::new(text.into()).next().await, Err(HearError::Line(_))), "{text}");
        }
        let line = |bytes| Body::from([vec![b' '; bytes], b"\"all\"\n".to_vec()].concat());
        assert_eq!(Hearing::new(line(MAX_LINE_BYTES - 6)).next().await.unwrap(), Some(Line::All));
        let endless = Body::from(vec![b' '; MAX_LINE_BYTES + 1]);
        assert!(matches!(Hearing::new(endless).next().await, Err(HearError::Long)));
    }
}
