//! The server: every role of a node on one loop thread, its configuration, its admin API.
//!
//! - [`config`]: flag over environment over file over default
//! - [`shards`]: all shards of a process; [`shard`]: the loop thread of one, read its header for the map
//! - [`service`]: from a bundle to what replicas and proxies need
//! - `history`, `feed`: the committed log as replicas read it
//! - [`http`]: stateless components, and the front end before them and others
//! - `link`: a stream between nodes; `metered` counts them; `exchange` listens for the shards and the front end
//! - [`admin`]: the API for operators
//! - [`solo`]: one program by itself, without any of these
//! - [`replay`]: a service's log replayed outside a cluster; `forensics`: what is kept of replicas that diverged
//!
//! Guarantees: what is in the binary beside this library parses arguments, starts and ends the process, and nothing
//! else; so a simulation runs what production runs.

pub mod admin;
mod background;
pub mod config;
mod exchange;
mod feed;
mod forensics;
mod history;
pub mod http;
mod link;
mod metered;
pub mod replay;
pub mod service;
pub mod shard;
pub mod shards;
pub mod solo;
