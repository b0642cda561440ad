//! How many files and sockets a test may have open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the system lets this process have: of thousands of clients each has one.
pub fn raise_limit() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
