//! Which server a client means.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{ADMIN_FILE, AdminFile, DEFAULT_DATA_DIR, ReadError, read, read_private, read_runtime};
use crate::token::{Token, TokenError};

/// What a client was told, and where it may look.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Address of the server (`--server`, `REFRAIN_SERVER`).
    pub server: Option<String>,
    /// File with the token alone, or an admin file (`--token-file`, `REFRAIN_TOKEN_FILE`).
    pub token_file: Option<PathBuf>,
    /// Data folder of the server (`--data-dir`).
    pub data_dir: Option<PathBuf>,
    /// The working folder.
    pub working_dir: PathBuf,
    /// The user's runtime folder.
    pub runtime_dir: PathBuf,
}

/// A server and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port.
    pub address: String,
    /// The token.
    pub token: Token,
    /// What named the address: a flag or a file.
    pub source: String,
}

/// Why no server was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// A file that was found or named cannot be used.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A token file has no token.
    #[error("{} has no token", path.display())]
    Token {
        /// Which.
        path: PathBuf,
        /// Why.
        source: TokenError,
    },
    /// A token, but no address.
    #[error("{} has no address; name the server with --server", path.display())]
    NoAddress {
        /// Which.
        path: PathBuf,
    },
    /// An address, but no token for it.
    #[error("no token known for the server {address}; name its file with --token-file")]
    NoToken {
        /// Which.
        address: String,
    },
    /// A data folder that no server uses.
    #[error("no refrain server runs on {0}: it ended, or never ran; start it with `refrain up --data-dir {0}`", dir.display())]
    NotRunning {
        /// Which.
        dir: PathBuf,
    },
    /// Nothing was told and nothing found.
    #[error("no refrain server found: neither {} nor {} exists; start one with `refrain up`, or use --server, --data-dir", first.display(), second.display())]
    Nothing {
        /// Where it could have been.
        first: PathBuf,
        /// And where else.
        second: PathBuf,
    },
}

/// Finds the server. Only files are read; whether it answers is left to the caller.
pub fn find(query: &Query) -> Result<Endpoint, FindError> {
    let Some(path) = &query.token_file else {
        return match &query.server {
            Some(address) => with_known_token(query, address),
            None => named_or_found(query)?.map(endpoint).ok_or_else(|| nothing(query)),
        };
    };
    let text = read_private(path)?;
    if text.trim_start().starts_with('{') {
        let file = read(path)?;
        let source = path.display().to_string();
        return Ok(match &query.server {
            Some(address) => Endpoint { address: address.clone(), token: file.token, source: "--server".to_owned() },
            None => endpoint((file, source)),
        });
    }
    let token: Token = text.trim().parse().map_err(|source| FindError::Token { path: path.clone(), source })?;
    let source = "--server".to_owned();
    match &query.server {
        Some(address) => Ok(Endpoint { address: address.clone(), token, source }),
        None => Err(FindError::NoAddress { path: path.clone() }),
    }
}

/// The token of a server that was named: of the file that names the same address.
fn with_known_token(query: &Query, address: &str) -> Result<Endpoint, FindError> {
    let same = |(file, _): &(AdminFile, String)| file.address == address;
    let known = candidates(query).into_iter().filter_map(Result::ok).flatten().find(same);
    match known {
        Some((file, _)) => {
            Ok(Endpoint { address: address.to_owned(), token: file.token, source: "--server".to_owned() })
        }
        None => Err(FindError::NoToken { address: address.to_owned() }),
    }
}

/// What `found` finds; a data folder that was named and has no file is one that no server runs on.
fn named_or_found(query: &Query) -> Result<Option<(AdminFile, String)>, FindError> {
    match (found(query), &query.data_dir) {
        (Err(ReadError::Io { source, .. }), Some(dir)) if source.kind() == ErrorKind::NotFound => {
            Err(FindError::NotRunning { dir: dir.clone() })
        }
        (found, _) => Ok(found?),
    }
}

/// The first file that is there. One that is there and cannot be used is an error: falling through to another server
/// would be a surprise.
fn found(query: &Query) -> Result<Option<(AdminFile, String)>, ReadError> {
    for candidate in candidates(query) {
        if let Some(found) = candidate? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

type Candidate = Result<Option<(AdminFile, String)>, ReadError>;

fn candidates(query: &Query) -> Vec<Candidate> {
    if let Some(dir) = &query.data_dir {
        let path = dir.join(ADMIN_FILE);
        return vec![read(&path).map(|file| Some((file, path.display().to_string())))];
    }
    let local = query.working_dir.join(DEFAULT_DATA_DIR).join(ADMIN_FILE);
    let shown = Path::new(".").join(DEFAULT_DATA_DIR).join(ADMIN_FILE);
    let runtime = query.runtime_dir.join(ADMIN_FILE);
    vec![if_there(read(&local), &shown), if_there(read_runtime(&query.runtime_dir), &runtime)]
}

fn if_there(file: Result<AdminFile, ReadError>, shown: &Path) -> Candidate {
    match file {
        Ok(file) => Ok(Some((file, shown.display().to_string()))),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

fn endpoint((file, source): (AdminFile, String)) -> Endpoint {
    Endpoint { address: file.address, token: file.token, source }
}

fn nothing(query: &Query) -> FindError {
    FindError::Nothing {
        first: Path::new(".").join(DEFAULT_DATA_DIR).join(ADMIN_FILE),
        second: query.runtime_dir.join(ADMIN_FILE),
    }
}
