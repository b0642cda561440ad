//! The admin API of a server, found through its data folder.

use std::path::Path;

use anyhow::{Context, Result, bail};
use refrain_api::discovery::{self, ADMIN_FILE};
use refrain_api::{Status, paths};

use crate::http::Client;

const MAX_STATUS_BYTES: usize = 1 << 20;

/// Asks the server with this data folder for its status.
pub fn status(data: &Path) -> Result<Status> {
    let admin = discovery::read(&data.join(ADMIN_FILE)).context("cannot find the admin API")?;
    let address = admin.address.parse().with_context(|| format!("{:?} is no address", admin.address))?;
    let mut client = Client::connect(address)?;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
        paths::STATUS,
        admin.token.secret()
    );
    client.send(head.as_bytes(), &[])?;
    let mut body = Vec::new();
    let status = client.receive(&mut body, MAX_STATUS_BYTES)?;
    if status != 200 {
        bail!("the admin API answers {status}: {}", String::from_utf8_lossy(&body));
    }
    serde_json::from_slice(&body).context("the admin API's answer is no status")
}
