//! Whether a request that failed at one upstream may go to another. Pure.

use http::Method;

use crate::handler::Cause;

/// Methods whose effect is the same once or twice (RFC 9110, section 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

/// `is_untouched`: nothing of it was begun. `is_whole`: it has no body, so that all of it can be sent again.
pub(crate) fn may_go_elsewhere(cause: &Cause, is_untouched: bool, method: &Method, is_whole: bool) -> bool {
    match cause {
        _ if is_untouched => true,
        Cause::Unreachable(_) | Cause::Broken(_) | Cause::Busy { .. } => is_whole && is_idempotent(method),
        // It was at work: another would have to work as long, or trap on the same input.
        Cause::Timeout { .. } | Cause::Trapped(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_not_begun_may_go_elsewhere_and_else_only_what_can_be_repeated() {
        let broken = || Cause::Broken("x".into());
        let timeout = Cause::Timeout { limit: Duration::ZERO };
        let table = [
            (broken(), true, Method::POST, false, true),
            (broken(), false, Method::POST, true, false),
            (broken(), false, Method::PATCH, true, false),
            (broken(), false, Method::GET, true, true),
            (broken(), false, Method::PUT, true, true),
            (broken(), false, Method::PUT, false, false),
            (Cause::Trapped(String::new()), false, Method::GET, true, false),
            (timeout, false, Method::GET, true, false),
        ];
        for (cause, is_untouched, method, is_whole, expected) in table {
            let may = may_go_elsewhere(&cause, is_untouched, &method, is_whole);
            assert_eq!(may, expected, "{cause:?} {is_untouched} {method} {is_whole}");
        }
    }
}
