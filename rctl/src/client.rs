//! The HTTP client of the admin API. One request, one answer, bounded in time and size; never follows a redirect and
//! never goes through a proxy, for it carries the token.

use std::io::ErrorKind;
use std::time::Duration;

use refrain_api::discovery::{Endpoint, Query, find, runtime_dir};
use refrain_api::{ErrorBody, ErrorCode, Status, paths};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Response;

use crate::args::Options;
use crate::error::RctlError;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// A server on the same machine accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A server and how to reach it.
pub struct Client {
    endpoint: Endpoint,
    agent: Agent,
    timeout: Duration,
}

impl Client {
    /// Finds the server that the options mean. Does not connect.
    pub fn find(options: &Options) -> Result<Self, RctlError> {
        let query = Query {
            server: options.server.clone(),
            token_file: options.token_file.clone(),
            data_dir: options.data_dir.clone(),
            working_dir: ".".into(),
            runtime_dir: runtime_dir(std::env::var("XDG_RUNTIME_DIR").ok().as_deref()),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT.min(options.timeout())))
            .timeout_global(Some(options.timeout()))
            .user_agent(concat!("rctl/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { endpoint: find(&query)?, agent: config.new_agent(), timeout: options.timeout() })
    }

    /// Address and port of the server.
    pub fn address(&self) -> &str {
        &self.endpoint.address
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The server's status.
    pub fn status(&self) -> Result<Status, RctlError> {
        self.get(paths::STATUS)
    }

    /// Asks for something.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RctlError> {
        let request = self.agent.get(self.url(path));
        self.answer(request.header("authorization", self.authorization()).call())
    }

    /// Asks for something to be done.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, RctlError> {
        let request = self.agent.post(self.url(path));
        let body = serde_json::to_string(body).expect("requests can always be written as JSON");
        let request = request.header("authorization", self.authorization()).content_type("application/json");
        self.answer(request.send(body))
    }

    /// Asks for something to end.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, RctlError> {
        let request = self.agent.delete(self.url(path));
        self.answer(request.header("authorization", self.authorization()).call())
    }

    /// Sends bytes to be kept.
    pub fn put<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, RctlError> {
        let request = self.agent.put(self.url(path)).header("authorization", self.authorization());
        self.answer(request.content_type("application/octet-stream").send(bytes))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.endpoint.address)
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.endpoint.token.secret())
    }

    fn answer<T: DeserializeOwned>(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<T, RctlError> {
        let mut response = answer.map_err(|error| self.failed(error))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.failed(error))?;
        let status = response.status().as_u16();
        if response.status().is_success() {
            let read = serde_json::from_slice(&body);
            return read.map_err(|error| self.not_refrain(format!("its answer cannot be read: {error}")));
        }
        let Ok(body) = serde_json::from_slice::<ErrorBody>(&body) else {
            return Err(self.not_refrain(format!("it answers with HTTP status {status}")));
        };
        if body.code == ErrorCode::Unauthorized {
            let (address, source_name) = (self.endpoint.address.clone(), self.endpoint.source.clone());
            return Err(RctlError::Unauthorized { address, source_name, body });
        }
        Err(RctlError::Api(body))
    }

    fn not_refrain(&self, reason: String) -> RctlError {
        RctlError::NotRefrain { address: self.endpoint.address.clone(), reason }
    }

    fn failed(&self, error: ureq::Error) -> RctlError {
        let address = self.endpoint.address.clone();
        let no_server = |reason: String| RctlError::NoServer {
            address: self.endpoint.address.clone(),
            source_name: self.endpoint.source.clone(),
            reason,
        };
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect) => no_server("it does not accept connections".to_owned()),
            ureq::Error::Timeout(_) => RctlError::Timeout { address, seconds: self.timeout.as_secs_f64() },
            ureq::Error::HostNotFound => no_server("the host is not known".to_owned()),
            ureq::Error::ConnectionFailed => no_server("cannot connect".to_owned()),
            ureq::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused => no_server("connection refused".to_owned()),
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
                    no_server(error.to_string())
                }
                _ => RctlError::Broken { address, reason: error.to_string() },
            },
            ureq::Error::BodyExceedsLimit(limit) => self.not_refrain(format!("its answer has more than {limit} bytes")),
            error => self.not_refrain(error.to_string()),
        }
    }
}
