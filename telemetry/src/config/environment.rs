//! Reads variables one by one, each with its rule, and gathers what is wrong with them.

use std::ops::RangeInclusive;

use ureq::http::{HeaderName, HeaderValue, Uri};

use super::pairs::pairs;
use super::{Fault, Ratio};

/// The variables, and the faults found so far.
pub(super) struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    pub(super) fn fault(&mut self, variable: &'static str, problem: String) {
        self.faults.push(Fault { variable, problem });
    }

    /// The first of the variables that is set, and its value.
    pub(super) fn text(&self, variables: &[&'static str]) -> Option<(&'static str, String)> {
        variables.iter().find_map(|variable| {
            let value = (self.lookup)(variable)?.trim().to_owned();
            (!value.is_empty()).then_some((*variable, value))
        })
    }

    pub(super) fn flag(&mut self, variable: &'static str) -> bool {
        let Some((_, value)) = self.text(&[variable]) else { return false };
        match value.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.fault(variable, format!("is {value:?}; it is true or false"));
                false
            }
        }
    }

    pub(super) fn choice(&mut self, variables: &[&'static str], known: &[&'static str]) -> Option<&'static str> {
        let (variable, value) = self.text(variables)?;
        let found = known.iter().copied().find(|choice| *choice == value);
        if found.is_none() {
            self.fault(variable, format!("is {value:?}; supported: {}", known.join(", ")));
        }
        found
    }

    pub(super) fn number(&mut self, variables: &[&'static str], default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some((variable, value)) = self.text(variables) else { return default };
        match value.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.fault(variable, format!("is {value:?}; it is from {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    pub(super) fn ratio(&mut self, variable: &'static str) -> Option<Ratio> {
        let (_, value) = self.text(&[variable])?;
        let ratio = value.parse().ok().and_then(Ratio::new);
        if ratio.is_none() {
            self.fault(variable, format!("is {value:?}; it is a share from 0 to 1, such as 0.01"));
        }
        ratio
    }

    pub(super) fn pairs(&mut self, variables: &[&'static str]) -> Vec<(String, String)> {
        let Some((variable, value)) = self.text(variables) else { return Vec::new() };
        pairs(&value).unwrap_or_else(|problem| {
            self.fault(variable, problem);
            Vec::new()
        })
    }

    /// Pairs that can stand in an HTTP request. Faults do not show the values, which may be secret.
    pub(super) fn headers(&mut self, variables: &[&'static str]) -> Vec<(String, String)> {
        let Some((variable, _)) = self.text(variables) else { return Vec::new() };
        let headers = self.pairs(variables);
        for (name, value) in &headers {
            if HeaderName::try_from(name).is_err() {
                self.fault(variable, format!("has {name:?}, which is no name of an HTTP header"));
            } else if HeaderValue::try_from(value).is_err() {
                self.fault(variable, format!("has a value for {name} that no HTTP header can have"));
            }
        }
        headers
    }

    /// Whether `given` is an address that spans can be sent to.
    pub(super) fn is_address(&mut self, variable: &'static str, given: &str) -> bool {
        let problem = match given.parse::<Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()) => {
                return true;
            }
            Ok(uri) if uri.scheme_str() == Some("https") => {
                "TLS is not supported yet: send to a collector on this machine or in this network by http://"
            }
            Ok(_) => "it is a whole address such as http://localhost:4318",
            Err(_) => "it is not an address; one is http://localhost:4318",
        };
        self.fault(variable, format!("is {given:?}; {problem}"));
        false
    }
}
