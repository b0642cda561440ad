//! Which route a request takes, which release it means, and what path the upstream sees. Pure: chance is passed in.

mod choice;
mod table;
mod version;

pub(crate) use choice::{Catalogue, choose};
pub(crate) use table::{Found, Table, target};
pub(crate) use version::Wanted;
