//! Clients and scenarios for tests over whole servers: written against an address, so that one scenario runs against a
//! native build and against the Wasm build behind the proxy, and the transcripts can be compared byte for byte.

pub mod bus;
pub mod cluster;
pub mod console;
pub mod descriptors;
pub mod dialogue;
pub mod disk;
pub mod doors;
pub mod echo;
pub mod guests;
pub mod hosts;
pub mod http;
pub mod jobs;
pub mod lines;
pub mod load;
pub mod native;
pub mod outside;
pub mod ports;
pub mod programs;
pub mod rctl;
pub mod resp;
pub mod run;
pub mod server;
pub mod services;
pub mod three;
pub mod tools;
pub mod traffic;
pub mod transcript;
pub mod wait;
pub mod wiki;
