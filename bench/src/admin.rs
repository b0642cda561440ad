//! The admin API of a server, found through its data folder.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use refrain_api::discovery::{self, ADMIN_FILE, AdminFile};
use refrain_api::{Status, paths};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::Client;

const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A connection to it.
pub struct Admin {
    client: Client,
    address: SocketAddr,
    file: AdminFile,
}

impl Admin {
    /// Connects to the server with this data folder.
    pub fn connect(data: &Path) -> Result<Self> {
        let file = discovery::read(&data.join(ADMIN_FILE)).context("cannot find the admin API")?;
        let address = file.address.parse().with_context(|| format!("{:?} is no address", file.address))?;
        Ok(Self { client: Client::connect(address)?, address, file })
    }

    /// Asks for something to be done.
    pub fn post<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).context("cannot write a request")?;
        parsed(&self.ask("POST", path, "application/json", &body)?)
    }

    /// Sends bytes to be kept.
    pub fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.ask("PUT", path, "application/octet-stream", bytes).map(drop)
    }

    fn ask(&mut self, method: &str, path: &str, media_type: &str, body: &[u8]) -> Result<Vec<u8>> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            self.file.token.secret(),
            body.len()
        );
        self.client.send(head.as_bytes(), body)?;
        let mut answer = Vec::new();
        let status = self.client.receive(&mut answer, MAX_ANSWER_BYTES)?;
        if status / 100 != 2 {
            bail!("the admin API answers {status} to {method} {path}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(answer)
    }
}

/// Asks the server with this data folder for its status.
pub fn status(data: &Path) -> Result<Status> {
    parsed(&Admin::connect(data)?.ask("GET", paths::STATUS, "application/json", &[])?)
}

fn parsed<T: DeserializeOwned>(answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer).context("the admin API's answer cannot be read")
}
