//! The stable codes of errors, and the body that carries them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable; what a program acts on.
    pub code: ErrorCode,
    /// For people; names the thing, the value and the limit.
    pub message: String,
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
            /// A code of a later version.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// Every code that this version sends.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown => "unknown",
                }
            }

            /// The HTTP status that it comes with.
            pub fn http_status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Unknown => 500,
                }
            }
        }
    };
}

codes! {
    /// The request cannot be read, or a value is out of its bounds.
    BadRequest = "bad-request", 400;
    /// No token, or not the right one.
    Unauthorized = "unauthorized", 401;
    /// The server was started without `--allow-fault-injection`.
    FaultInjectionDisabled = "fault-injection-disabled", 403;
    /// No such path.
    NotFound = "not-found", 404;
    /// No service has this name.
    ServiceNotFound = "service-not-found", 404;
    /// The server has no such bundle.
    BundleNotFound = "bundle-not-found", 404;
    /// The service has no such seat.
    SeatNotFound = "seat-not-found", 404;
    /// The path exists, not with this method.
    MethodNotAllowed = "method-not-allowed", 405;
    /// The service is not halted.
    NotHalted = "not-halted", 409;
    /// The service is halted; it must be resumed first.
    Halted = "halted", 409;
    /// The service cannot be upgraded so; the message names what is in the way.
    UpgradeRefused = "upgrade-refused", 409;
    /// The version of a stateless service cannot run so; the message says why.
    DeployRefused = "deploy-refused", 409;
    /// Another upgrade of the service is under way.
    UpgradeRunning = "upgrade-running", 409;
    /// The seat has no running replica.
    ReplicaNotRunning = "replica-not-running", 409;
    /// The body is larger than the limit.
    TooLarge = "too-large", 413;
    /// Something inside failed; the server's log says what.
    Internal = "internal", 500;
    /// The server is ending.
    Draining = "draining", 503;
    /// The log takes no records: no leader, or a failed disk.
    LogUnavailable = "log-unavailable", 503;
    /// It was not done within the server's time limit; it may still happen.
    Timeout = "timeout", 504;
    /// The log has reached its size limit.
    LogFull = "log-full", 507;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
