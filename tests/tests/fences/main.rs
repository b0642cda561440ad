//! The rules of the repository that no compiler checks: which crate may depend on which, what a manifest may say, what
//! every source file has, and that one build serves the server and the tests.
//!
//! Everything is read with `cargo metadata`, `cargo tree` and `git ls-files`; nothing is fetched.

mod configuration;
mod features;
mod graph;
mod manifests;
mod pure;
mod repository;
mod sources;
mod workspace;
