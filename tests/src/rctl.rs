//! `rctl` against one server, as an operator on its machine runs it.

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::hosts::on_host;
use crate::server::program;
use crate::wait;

/// Finds the server through its data folder.
#[derive(Clone, Debug)]
pub struct Rctl {
    data_dir: PathBuf,
    /// The namespace of the host that the server is on, where it is not this one.
    host: Option<PathBuf>,
}

/// One that goes on until this is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rctl {
    /// For the server with this data folder.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), host: None }
    }

    /// The same, run on a host.
    pub fn on(self, host: Option<PathBuf>) -> Self {
        Self { host, ..self }
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = on_host(self.host.as_deref(), &program("rctl")?);
        Ok(command.args(arguments).arg("--data-dir").arg(&self.data_dir).stdin(Stdio::null()).output()?)
    }

    /// Starts what goes on until this is dropped. What it says is the test's output.
    pub fn start(&self, arguments: &[&str]) -> Result<Running> {
        let mut command = on_host(self.host.as_deref(), &program("rctl")?);
        Ok(Running(command.args(arguments).arg("--data-dir").arg(&self.data_dir).stdin(Stdio::null()).spawn()?))
    }

    /// Runs it with `-o json`; it must succeed.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let output = self.run(&all)?;
        ensure!(output.status.success(), "rctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The status of a service, by its name without namespace and version.
    pub fn service(&self, name: &str) -> Result<Value> {
        let status = self.json(&["status"])?;
        let services = status["services"].as_array().context("no services in the status")?;
        let named = |service: &&Value| {
            let full = service["name"].as_str().unwrap_or_default();
            full.split('/').next_back().and_then(|rest| rest.split('@').next()) == Some(name)
        };
        services.iter().find(named).cloned().with_context(|| format!("{name} is not in the status"))
    }

    /// Waits until the status of a service fulfils a condition; returns it.
    pub fn until(&self, name: &str, what: &str, fulfilled: impl Fn(&Value) -> bool) -> Result<Value> {
        self.within(wait::PATIENCE, name, what, fulfilled)
    }

    fn within(&self, patience: Duration, name: &str, what: &str, fulfilled: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let found = wait::within(patience, &format!("{name} is {what}"), || {
            last = self.service(name)?;
            Ok(fulfilled(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("{last:#}"))
    }

    /// Waits until all seats of a service are active at one position with one digest; returns it.
    pub fn until_equal(&self, name: &str) -> Result<String> {
        self.equal_within(wait::PATIENCE, name)
    }

    /// The same, at most so long.
    pub fn equal_within(&self, patience: Duration, name: &str) -> Result<String> {
        let service = self.within(patience, name, "equal in all seats", |service| {
            let seats = service["seats"].as_array().cloned().unwrap_or_default();
            let first = seats.first().cloned().unwrap_or_default();
            let alike = |seat: &Value| {
                seat["state"] == "active" && seat["digest"] == first["digest"] && seat["position"] == first["position"]
            };
            !seats.is_empty() && seats.iter().all(alike)
        })?;
        Ok(service["seats"][0]["digest"].as_str().unwrap_or_default().to_owned())
    }
}
