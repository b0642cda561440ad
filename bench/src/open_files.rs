//! The limit on open files, which servers that are started inherit.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit to at least `wanted`.
pub fn raise(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = limit.maximum;
    ensure!(
        maximum.is_none_or(|maximum| maximum >= wanted),
        "{wanted} open files are wanted and {} allowed: raise the limit (ulimit -Hn)",
        maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .context("cannot raise the limit on open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_up_to_what_is_allowed() {
        let before = getrlimit(Resource::Nofile);
        raise(1).unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, before.current);
        if let Some(maximum) = before.maximum {
            raise(maximum).unwrap();
            assert_eq!(getrlimit(Resource::Nofile).current, Some(maximum));
            assert!(raise(maximum + 1).unwrap_err().to_string().contains("ulimit"));
        }
    }
}
