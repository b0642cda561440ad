//! What the standard environment variables of OpenTelemetry say, checked; all faults are told at once.
//!
//! An empty variable counts as unset, and one for traces goes before the general one, as the specification has it
//! (OpenTelemetry, "Environment Variable Specification" and "OTLP Exporter Configuration"). Unlike it, a value that
//! cannot be used is an error at the start and not a warning. Values come through a function, so that tests need no
//! environment.

mod environment;
mod pairs;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use environment::Environment;

/// The share of batches that are traced unless something else is said: 1 %.
const DEFAULT_RATIO: f64 = 0.01;
/// The most spans that `OTEL_BSP_MAX_QUEUE_SIZE` may ask to keep.
const MAX_QUEUE: u64 = 1 << 20;
/// The longest time that a variable may ask for, in milliseconds: an hour.
const MAX_MILLIS: u64 = 3_600_000;
/// Where a collector listens, when one is asked for and no address is given.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";

/// A share between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// Nothing.
    pub const NONE: Self = Self(0.0);
    /// Everything.
    pub const ALL: Self = Self(1.0);

    /// `share`, if it is between 0 and 1.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The share.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

/// What is traced, and where spans go.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The share of batches that are traced. All nodes of a cluster must have the same.
    pub ratio: Ratio,
    /// Where spans are exported to; without it they are only kept here.
    pub endpoint: Option<Endpoint>,
    /// What a collector shows as the name of the service.
    pub service_name: String,
    /// More attributes of everything that this process exports.
    pub resource: Vec<(String, String)>,
}

/// A collector, and how it is talked to.
#[derive(Clone, PartialEq)]
pub struct Endpoint {
    /// The whole address that spans are posted to.
    pub url: String,
    /// More headers of each request; they may be secret.
    pub headers: Vec<(String, String)>,
    /// How long one export may take, retries included.
    pub timeout: Duration,
    /// How long spans are gathered before they are exported.
    pub schedule_delay: Duration,
    /// The most spans that wait for their export; more are dropped and counted.
    pub max_queue: usize,
    /// The most spans in one request.
    pub max_batch: usize,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("schedule_delay", &self.schedule_delay)
            .field("max_queue", &self.max_queue)
            .field("max_batch", &self.max_batch)
            .finish()
    }
}

/// A variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong with it, its value and what is allowed.
    pub problem: String,
}

/// Everything that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { variable, problem }) in self.faults.iter().enumerate() {
            write!(f, "{}{variable} {problem}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl Config {
    /// Nothing is traced.
    #[must_use]
    pub fn off() -> Self {
        Self { ratio: Ratio::NONE, endpoint: None, service_name: "refrain".into(), resource: Vec::new() }
    }

    /// What this process's environment says.
    ///
    /// # Errors
    /// Every variable that cannot be used.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// What the variables say that `lookup` gives.
    ///
    /// # Errors
    /// Every variable that cannot be used.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut environment = Environment::new(&lookup);
        let config = read(&mut environment);
        if environment.faults.is_empty() { Ok(config) } else { Err(ConfigError { faults: environment.faults }) }
    }
}

fn read(environment: &mut Environment<'_>) -> Config {
    let disabled = environment.flag("OTEL_SDK_DISABLED");
    let ratio = ratio(environment);
    let endpoint = endpoint(environment);
    let mut resource = environment.pairs(&["OTEL_RESOURCE_ATTRIBUTES"]);
    let named = resource.iter().position(|(name, _)| name == "service.name").map(|at| resource.swap_remove(at).1);
    let service_name = environment.text(&["OTEL_SERVICE_NAME"]).map(|(_, name)| name).or(named);
    let config = Config { ratio, endpoint, service_name: service_name.unwrap_or_else(|| "refrain".into()), resource };
    if disabled { Config { ratio: Ratio::NONE, endpoint: None, ..config } } else { config }
}

fn ratio(environment: &mut Environment<'_>) -> Ratio {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    let asked = environment.ratio("OTEL_TRACES_SAMPLER_ARG");
    let Some((_, sampler)) = environment.text(&[SAMPLER]) else {
        return asked.unwrap_or(Ratio(DEFAULT_RATIO));
    };
    // A batch's trace has no parent from outside: "parentbased" adds nothing.
    match sampler.strip_prefix("parentbased_").unwrap_or(&sampler) {
        "always_on" => Ratio::ALL,
        "always_off" => Ratio::NONE,
        "traceidratio" => asked.unwrap_or(Ratio::ALL),
        _ => {
            let known = "always_on, always_off, traceidratio, each with or without parentbased_ before it";
            environment.fault(SAMPLER, format!("is {sampler:?}; known are {known}"));
            Ratio::NONE
        }
    }
}

fn endpoint(environment: &mut Environment<'_>) -> Option<Endpoint> {
    let wanted = environment.choice(&["OTEL_TRACES_EXPORTER"], &["otlp", "none"]);
    let protocols = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    environment.choice(&protocols, &["http/protobuf"]);
    let compressions = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
    environment.choice(&compressions, &["none"]);
    let url = environment.url(wanted == Some("otlp"));
    let headers = environment.headers(&["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]);
    let timeouts = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let timeout = environment.number(&timeouts, 10_000, 1..=MAX_MILLIS);
    let delay = environment.number(&["OTEL_BSP_SCHEDULE_DELAY"], 5_000, 0..=MAX_MILLIS);
    let max_queue = environment.number(&["OTEL_BSP_MAX_QUEUE_SIZE"], 2_048, 1..=MAX_QUEUE);
    let max_batch = environment.number(&["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], max_queue.min(512), 1..=max_queue);
    let url = url.filter(|_| wanted != Some("none"))?;
    Some(Endpoint {
        url,
        headers,
        timeout: Duration::from_millis(timeout),
        schedule_delay: Duration::from_millis(delay),
        max_queue: max_queue as usize,
        max_batch: max_batch as usize,
    })
}

impl Environment<'_> {
    /// Where spans are posted to: the address for traces as it is, or the general one with the path of traces.
    fn url(&mut self, wanted: bool) -> Option<String> {
        const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let default = || wanted.then(|| (GENERAL, DEFAULT_ENDPOINT.to_owned()));
        let (variable, given) = self.text(&[TRACES, GENERAL]).or_else(default)?;
        if !self.is_address(variable, &given) {
            return None;
        }
        Some(if variable == TRACES { given } else { format!("{}/v1/traces", given.trim_end_matches('/')) })
    }
}
