//! The front end beside nginx: the same bytes to both, and what comes of them at the upstreams behind.
//!
//! A difference is a request that one of them takes apart otherwise. Where the front end is stricter, or both are right,
//! the table says why; where it were laxer it would be mended. Without nginx the tests say so and are left out; with
//! `REFRAIN_REQUIRE_TOOLS` set they fail.

mod lane;
mod mutations;
mod rows;
mod table;
mod upstream;
