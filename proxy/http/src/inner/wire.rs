//! What the hop adds: the release that a request is for, and why there is no answer. Pure.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use semver::Version;

use crate::handler::Cause;

/// `namespace/name@version`, in requests.
const TARGET: HeaderName = HeaderName::from_static("x-refrain-target");
/// `untouched` or `begun`, and why, in the answer to a request that has none of its own.
const REFUSAL: HeaderName = HeaderName::from_static("x-refrain-refusal");

/// Says which release a request is for.
pub(crate) fn set_target(headers: &mut HeaderMap, service: &str, version: &Version) {
    let target = HeaderValue::from_str(&format!("{service}@{version}"));
    headers.insert(TARGET, target.expect("names of services and versions are plain text"));
}

/// Takes out which release a request is for.
pub(super) fn take_target(headers: &mut HeaderMap) -> Option<Result<(String, Version), NoTarget>> {
    let value = headers.remove(TARGET)?;
    let target = value.to_str().ok().and_then(|text| {
        let (service, version) = text.split_once('@')?;
        Some((service.to_owned(), version.parse().ok()?))
    });
    Some(target.ok_or(NoTarget))
}

/// What should say for whom a request is, and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoTarget;

/// Says that there is no answer, and whether anything was begun.
pub(super) fn set_refusal(headers: &mut HeaderMap, cause: &Cause, is_untouched: bool) {
    let begun = if is_untouched { "untouched" } else { "begun" };
    let text = match cause {
        Cause::Busy { retry_after } => format!("{begun} busy {}", retry_after.as_secs()),
        Cause::Unreachable(_) => format!("{begun} unreachable"),
        Cause::Broken(_) => format!("{begun} broken"),
        Cause::Trapped(_) => format!("{begun} trapped"),
        Cause::Timeout { limit } => format!("{begun} timeout {}", limit.as_millis()),
    };
    headers.insert(REFUSAL, HeaderValue::from_str(&text).expect("words and numbers"));
}

/// Why there is no answer, and whether nothing was begun; none when the answer is one. What cannot be read counts as an
/// upstream that broke off.
pub(crate) fn refusal_of(headers: &HeaderMap) -> Option<(Cause, bool)> {
    let text = headers.get(REFUSAL)?.to_str().unwrap_or("");
    let mut words = text.split(' ');
    let is_untouched = words.next() == Some("untouched");
    let (cause, number) = (words.next(), words.next().and_then(|number| number.parse().ok()).unwrap_or(1));
    let told = || Box::<dyn std::error::Error + Send + Sync>::from("the other node said so");
    let cause = match cause {
        Some("busy") => Cause::Busy { retry_after: Duration::from_secs(number) },
        Some("unreachable") => Cause::Unreachable(told()),
        Some("trapped") => Cause::Trapped("on another node".to_owned()),
        Some("timeout") => Cause::Timeout { limit: Duration::from_millis(number) },
        _ => Cause::Broken(told()),
    };
    Some((cause, is_untouched))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_was_set_and_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(take_target(&mut headers), None);
        let version: Version = "1.2.3-rc.1".parse().unwrap();
        set_target(&mut headers, "a/b", &version);
        assert_eq!(take_target(&mut headers), Some(Ok(("a/b".into(), version))));
        assert_eq!(take_target(&mut headers), None);
        for text in ["", "a/b", "a/b@", "a/b@one"] {
            headers.insert(TARGET, HeaderValue::from_static(text));
            assert_eq!(take_target(&mut headers), Some(Err(NoTarget)), "{text:?}");
        }
    }

    #[test]
    fn a_refusal_means_the_same_at_both_ends() {
        let broken = || Box::<dyn std::error::Error + Send + Sync>::from("x");
        let causes = [
            Cause::Busy { retry_after: Duration::from_secs(7) },
            Cause::Unreachable(broken()),
            Cause::Broken(broken()),
            Cause::Trapped("x".into()),
            Cause::Timeout { limit: Duration::from_millis(30) },
        ];
        for (cause, is_untouched) in causes.iter().flat_map(|cause| [(cause, true), (cause, false)]) {
            let mut headers = HeaderMap::new();
            set_refusal(&mut headers, cause, is_untouched);
            let (read, untouched) = refusal_of(&headers).unwrap();
            assert_eq!(untouched, is_untouched);
            assert_eq!(crate::answer::Fault::from(&read), crate::answer::Fault::from(cause));
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_upstream_that_broke_off_and_may_have_begun() {
        for text in ["", "untouch", "begun", "begun nonsense", "begun busy soon"] {
            let mut headers = HeaderMap::new();
            headers.insert(REFUSAL, HeaderValue::from_static(text));
            let (cause, is_untouched) = refusal_of(&headers).unwrap();
            assert!(!is_untouched && matches!(cause, Cause::Broken(_) | Cause::Busy { .. }), "{text:?}: {cause:?}");
        }
    }
}
