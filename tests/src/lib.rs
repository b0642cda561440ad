//! Clients and scenarios for tests over whole servers: written against an address, so that one scenario runs against a
//! native build and against the Wasm build behind the proxy, and the transcripts can be compared byte for byte.

pub mod console;
pub mod echo;
pub mod guests;
pub mod http;
pub mod load;
pub mod native;
pub mod resp;
pub mod server;
pub mod tools;
pub mod transcript;
