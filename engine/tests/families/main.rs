//! Guests of each socket family: every function, its errors, and whole exchanges with clients and the outside.

#[path = "../support/mod.rs"]
mod support;

mod outward;
mod replicode;
mod standard;
mod wasix;
mod wasmedge;
