//! What a Wasm component needs to serve HTTP: a [`Handler`], bodies that stream both ways, requests to other servers,
//! log lines and timers. Built by plain `cargo build --release --target wasm32-wasip2`.
//!
//! ```
//! use refrain_sdk::{Failure, Handler, Request, Response};
//!
//! struct App;
//!
//! impl Handler for App {
//!     async fn handle(request: Request) -> Result<Response, Failure> {
//!         Ok(Response::new(format!("you asked for {}\n", request.uri().path()).into()))
//!     }
//! }
//!
//! refrain_sdk::serve!(App);
//! ```
//!
//! The host is given the head of an answer before any byte of its body, and never more of a body than it takes: bodies
//! of any size come through in the memory of one piece. The environment is that of `std::env`, and standard error is
//! the log. One instance serves one request at a time; whether it serves another one afterwards is the manifest's to
//! say, so a `static` is no place for what has to last.
//!
//! Follows `wasi:http` 0.2 (`proxy` world). Routing, TLS and limits are the host's.

mod body;
mod executor;
mod fields;
mod incoming;
mod logging;
mod outgoing;
mod server;
mod writer;

pub mod client;
pub mod reply;
pub mod time;

pub use body::{Body, BodyError};
pub use bytes::Bytes;
pub use executor::run;
pub use http;
pub use log;
pub use writer::Writer;

/// A request as the handler gets it.
pub type Request = http::Request<Body>;
/// An answer as the handler gives it.
pub type Response = http::Response<Body>;
/// Why a handler could not answer: any error. It is logged, and the client gets 500.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A service.
pub trait Handler {
    /// Answers one request. What the body of the answer does later, it does after the head is sent.
    fn handle(request: Request) -> impl Future<Output = Result<Response, Failure>>;
}

/// Makes a [`Handler`] the component's `wasi:http/incoming-handler`. Once in a crate, at its top.
///
/// Does nothing on other targets than Wasm, so that the same crate is tested natively.
#[macro_export]
macro_rules! serve {
    ($handler:ty) => {
        // Else the compiler would take a handler that only its tests call for one that nobody needs.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            #[allow(dead_code)]
            fn served(request: $crate::Request) -> impl Future<Output = Result<$crate::Response, $crate::Failure>> {
                <$handler as $crate::Handler>::handle(request)
            }
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Served;

            impl $crate::exported::Guest for Served {
                fn handle(request: $crate::exported::IncomingRequest, answer: $crate::exported::ResponseOutparam) {
                    $crate::exported::handle::<$handler>(request, answer);
                }
            }

    $crate::exported::export!(Served with_types_in $crate::exported::wasip2);
        };
    };
}

/// For [`serve!`] alone.
#[doc(hidden)]
pub mod exported {
    pub use crate::server::handle;
    pub use wasip2;
    pub use wasip2::exports::http::incoming_handler::Guest;
    pub use wasip2::http::proxy::export;
    pub use wasip2::http::types::{IncomingRequest, ResponseOutparam};
}
