//! What another node tells, as it is heard: its lines, and what they come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use refrain_front::{Body, BodyError};
use refrain_service::{BundleDigest, Manifest};
use refrain_wire::Position;
use serde_json::Value;

use super::hosted::{Condition, Hosted, Line, MAX_HOSTED, MAX_HOSTED_BYTES, MAX_LINE_BYTES};

/// The kinds of lines that this version knows.
const KINDS: [&str; 4] = ["hosts", "gone", "followed", "all"];

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
    /// A manifest of something else.
    #[error("{service} has the manifest of {manifest}")]
    Other {
        /// What was told.
        service: String,
        /// Whose the manifest is.
        manifest: String,
    },
    /// More than is remembered of one node.
    #[error("it tells of more than {MAX_HOSTED} versions")]
    TooMany,
    /// The same, by size.
    #[error("the manifests that it tells of have {0} bytes, the limit is {MAX_HOSTED_BYTES}")]
    TooLarge(usize),
}

impl Hearing {
    pub(super) fn new(body: Body) -> Self {
        Self { body, read: Vec::new(), looked_at: 0 }
    }

    /// The next line that this version knows; none when the node has said that it ends.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, HearError> {
        loop {
            let Some(text) = self.next_text().await? else { return Ok(None) };
            match serde_json::from_slice(&text) {
                Ok(line) => return Ok(Some(line)),
                Err(_) if is_of_newer_node(&text) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn next_text(&mut self) -> Result<Option<Vec<u8>>, HearError> {
        loop {
            if let Some(end) = self.read[self.looked_at..].iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(self.looked_at + end + 1);
                self.looked_at = 0;
                return Ok(Some(std::mem::replace(&mut self.read, rest)));
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

/// Whether it is a line of a kind that this version does not know.
fn is_of_newer_node(text: &[u8]) -> bool {
    match serde_json::from_slice(text) {
        Ok(Value::String(kind)) => !KINDS.contains(&kind.as_str()),
        Ok(Value::Object(fields)) => fields.len() == 1 && fields.keys().all(|kind| !KINDS.contains(&kind.as_str())),
        _ => false,
    }
}

/// A version that another node hosts.
#[derive(Debug, Clone)]
pub(super) struct There {
    pub(super) hosted: Hosted,
    pub(super) bundle: BundleDigest,
    pub(super) manifest: Arc<Manifest>,
}

impl There {
    /// Reads what was told of a version; why it cannot be used from here, in words, if it cannot.
    pub(super) fn read(service: &str, hosted: Hosted) -> Result<Result<Self, String>, HearError> {
        let manifest = match Manifest::parse_stored(&hosted.manifest) {
            Ok((manifest, _)) => manifest,
            Err(faults) => return Ok(Err(faults.to_string())),
        };
        if manifest.id.to_string() != service {
            return Err(HearError::Other { service: service.to_owned(), manifest: manifest.id.to_string() });
        }
        let bundle = match hosted.bundle.parse() {
            Ok(bundle) => bundle,
            Err(fault) => return Ok(Err(format!("{:?}: {fault}", hosted.bundle))),
        };
        Ok(Ok(Self { hosted, bundle, manifest: Arc::new(manifest) }))
    }

    /// Whether it takes requests, as far as its node says.
    pub(super) fn is_ready(&self) -> bool {
        self.hosted.condition == Condition::Ready
    }

    /// Whether its node runs it for itself, and the log did not give it.
    pub(super) fn is_own(&self) -> bool {
        self.hosted.in_log == 0
    }
}

/// What a node has told on one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// By `namespace/name@version`.
    pub(super) hosts: BTreeMap<String, There>,
    pub(super) followed: Position,
    manifest_bytes: usize,
}

impl Heard {
    /// The node hosts this. Says why it cannot be used from here, in words, if it cannot.
    pub(super) fn hosts(&mut self, service: String, hosted: Hosted) -> Result<Result<(), String>, HearError> {
        self.gone(&service);
        let there = match There::read(&service, hosted)? {
            Ok(there) => there,
            Err(fault) => return Ok(Err(fault)),
        };
        let bytes = self.manifest_bytes + there.hosted.manifest.len();
        if bytes > MAX_HOSTED_BYTES {
            return Err(HearError::TooLarge(bytes));
        }
        if self.hosts.len() >= MAX_HOSTED {
            return Err(HearError::TooMany);
        }
        self.manifest_bytes = bytes;
        self.hosts.insert(service, there);
        Ok(Ok(()))
    }

    /// The node hosts that no more.
    pub(super) fn gone(&mut self, service: &str) {
        if let Some(there) = self.hosts.remove(service) {
            self.manifest_bytes -= there.hosted.manifest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(text: &str) -> Vec<Line> {
        let mut hearing = Hearing::new(text.to_owned().into());
        let mut lines = Vec::new();
        while let Some(line) = hearing.next().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn what_is_no_line_ends_it() {
        for text in ["nothing\n", "{\"hosts\":{}}\n", "{\"gone\":{}}\n", "\"gone\"\n", "{}\n", "7\n"] {
            assert!(matches!(Hearing::new(text.into()).next().await, Err(HearError::Line(_))), "{text}");
        }
        let line = |bytes| Body::from([vec![b' '; bytes], b"\"all\"\n".to_vec()].concat());
        assert_eq!(Hearing::new(line(MAX_LINE_BYTES - 6)).next().await.unwrap(), Some(Line::All));
        let endless = Body::from(vec![b' '; MAX_LINE_BYTES + 1]);
        assert!(matches!(Hearing::new(endless).next().await, Err(HearError::Long)));
    }

    #[tokio::test]
    async fn a_node_of_the_first_version_is_understood() {
        let bundle = "1".repeat(64);
        let text = format!(
            "{{\"hosts\":{{\"service\":\"a/b@1.0.0\",\"hosted\":{{\"bundle\":\"{bundle}\",\"weight\":7,\"requests\":1,\
             \"condition\":\"waiting\",\"manifest\":\"text\"}}}}}}\n\"all\"\n"
        );
        let (condition, manifest) = (Condition::Waiting, "text".into());
        let hosted = Hosted { bundle, weight: 7, requests: 1, condition, in_log: 0, manifest };
        assert_eq!(heard(&text).await, [Line::Hosts { service: "a/b@1.0.0".into(), hosted }, Line::All]);
    }

    #[tokio::test]
    async fn what_only_a_newer_node_knows_is_ignored() {
        let bundle = "1".repeat(64);
        let text = format!(
            "\"pause\"\n{{\"load\":{{\"percent\":7}}}}\n\
             {{\"hosts\":{{\"service\":\"a/b@1.0.0\",\"since\":5,\"hosted\":{{\"bundle\":\"{bundle}\",\"weight\":7,\
             \"requests\":1,\"condition\":\"warming\",\"region\":\"x\",\"manifest\":\"text\"}}}}}}\n\
             {{\"gone\":{{\"service\":\"a/c@1.0.0\",\"why\":{{}}}}}}\n{{\"followed\":{{\"at\":3,\"of\":4}}}}\n\"all\"\n"
        );
        let (condition, manifest) = (Condition::Waiting, "text".into());
        let hosted = Hosted { bundle, weight: 7, requests: 1, condition, in_log: 0, manifest };
        let known = [
            Line::Hosts { service: "a/b@1.0.0".into(), hosted },
            Line::Gone { service: "a/c@1.0.0".into() },
            Line::Followed { at: 3 },
            Line::All,
        ];
        assert_eq!(heard(&text).await, known);
    }

    fn told(version: usize, comment_bytes: usize) -> (String, Hosted) {
        let head = format!(
            "name = \"web\"\nnamespace = \"tests\"\nversion = \"{version}.0.0\"\nmodule = \"web.wasm\"\n\
             kind = \"http\"\nmode = \"stateless\"\n"
        );
        let lines = "#234567\n".repeat(comment_bytes.saturating_sub(head.len()) / 8);
        let fill = comment_bytes.saturating_sub(head.len() + lines.len());
        let manifest = format!("{head}{lines}{}", " ".repeat(fill)).into();
        let (bundle, condition) = ("1".repeat(64), Condition::Ready);
        let hosted = Hosted { bundle, weight: 1, requests: 1, condition, in_log: 0, manifest };
        (format!("tests/web@{version}.0.0"), hosted)
    }

    #[test]
    fn so_many_versions_of_a_node_are_remembered_and_one_more_ends_it() {
        let mut heard = Heard::default();
        let mut hear = |version| {
            let (service, hosted) = told(version, 0);
            heard.hosts(service, hosted).map(|usable| usable.unwrap())
        };
        (0..MAX_HOSTED).for_each(|version| hear(version).unwrap());
        hear(0).unwrap();
        assert!(matches!(hear(MAX_HOSTED), Err(HearError::TooMany)), "one told anew is none more");
    }

    #[test]
    fn so_many_bytes_of_manifests_are_remembered_and_one_more_ends_it() {
        const EACH: usize = 512 << 10;
        let mut heard = Heard::default();
        let mut hear = |version, bytes| {
            let (service, hosted) = told(version, bytes);
            heard.hosts(service, hosted).map(|usable| usable.unwrap())
        };
        let count = MAX_HOSTED_BYTES / EACH;
        (0..count).for_each(|version| hear(version, EACH).unwrap());
        assert!(matches!(hear(0, EACH + 1), Err(HearError::TooLarge(bytes)) if bytes == MAX_HOSTED_BYTES + 1));
        heard.gone("tests/web@1.0.0");
        let (service, hosted) = told(count, EACH);
        heard.hosts(service, hosted).unwrap().unwrap();
    }

    #[test]
    fn a_manifest_of_something_else_ends_it_and_one_that_is_not_understood_is_told() {
        let (_, hosted) = told(1, 0);
        let error = Heard::default().hosts("tests/web@2.0.0".into(), hosted.clone()).unwrap_err();
        assert_eq!(error.to_string(), "tests/web@2.0.0 has the manifest of tests/web@1.0.0");
        let newer = Hosted { manifest: "later = true\n".into(), ..hosted };
        assert!(Heard::default().hosts("tests/web@1.0.0".into(), newer).unwrap().is_err());
    }
}
