//! Which service a name means, and what is said of one that a command is not for.

use std::fmt;
use std::str::FromStr;

use refrain_api::{ErrorCode, Status};
use refrain_service::Name;

use crate::client::Client;
use crate::error::RctlError;

/// How a service is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Replicated,
    Stateless,
}

/// Commands for services of every mode.
const OF_BOTH: &[&str] = &["service show", "service logs", "service invoke"];
const OF_REPLICATED: &[&str] = &[
    "service audit",
    "service scale",
    "service upgrade",
    "service resume",
    "service rebuild",
    "service kill-replica",
    "service corrupt-replica",
    "trace",
    "replay",
];
const OF_STATELESS: &[&str] = &["service deploy", "service dev", "service weights", "service remove"];

impl Mode {
    /// The mode that a command is for; none when it is for every one.
    fn of_command(command: &str) -> Option<Self> {
        match command {
            _ if OF_REPLICATED.contains(&command) => Some(Self::Replicated),
            _ if OF_STATELESS.contains(&command) => Some(Self::Stateless),
            _ => None,
        }
    }

    /// The commands for services of this mode, in words.
    fn commands(self) -> String {
        let own = if self == Self::Replicated { OF_REPLICATED } else { OF_STATELESS };
        let all: Vec<String> = OF_BOTH.iter().chain(own).map(|command| format!("rctl {command}")).collect();
        all.join(", ")
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replicated => "replicated",
            Self::Stateless => "stateless",
        })
    }
}

/// The service that is meant, for a command as `service audit`: `namespace/name` as it is; a name alone by asking the
/// server which service of the command's mode has it.
pub fn resolve(client: &Client, given: &str, command: &'static str) -> Result<(Name, Name), RctlError> {
    let given = plain(given);
    if let Some((namespace, name)) = given.split_once('/') {
        return Ok((named(namespace, given)?, named(name, given)?));
    }
    named(given, given)?;
    let services = services(&client.status()?);
    let one = among(given, command, &services)?;
    let (namespace, name) = one.split_once('/').unwrap_or(("", one));
    Ok((named(namespace, one)?, named(name, one)?))
}

/// A name as the status shows it without its version; only one version of a name runs.
pub fn plain(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

fn named(text: &str, whole: &str) -> Result<Name, RctlError> {
    Name::from_str(text).map_err(|source| RctlError::ServiceName { name: whole.to_owned(), source })
}

fn among<'a>(name: &str, command: &'static str, services: &'a [(String, Mode)]) -> Result<&'a str, RctlError> {
    let is_called = |of: &str| of.split_once('/').is_some_and(|(_, called)| called == name);
    let wanted = Mode::of_command(command);
    let called: Vec<&(String, Mode)> = services.iter().filter(|(service, _)| is_called(service)).collect();
    let found: Vec<&str> = (called.iter())
        .filter(|(_, mode)| wanted.is_none_or(|wanted| *mode == wanted))
        .map(|(service, _)| service.as_str())
        .collect();
    match (&found[..], &called[..]) {
        ([one], _) => Ok(one),
        ([], []) => Err(unknown(name, services)),
        ([], [(service, mode), ..]) => Err(other_mode(service, *mode, command)),
        _ => Err(RctlError::Ambiguous { name: name.to_owned(), candidates: found.join(", ") }),
    }
}

/// What the server said to a command; of a service that it does not have so, why not.
pub fn explained<T>(
    client: &Client,
    (namespace, name): &(Name, Name),
    command: &'static str,
    asked: Result<T, RctlError>,
) -> Result<T, RctlError> {
    let body = match asked {
        Err(RctlError::Api(body)) if body.code == ErrorCode::ServiceNotFound => body,
        other => return other,
    };
    let Ok(status) = client.status() else { return Err(RctlError::Api(body)) };
    let (service, services) = (format!("{namespace}/{name}"), services(&status));
    Err(match services.iter().find(|(known, _)| *known == service) {
        None => unknown(&service, &services),
        Some((_, mode)) if Mode::of_command(command).is_some_and(|wanted| wanted != *mode) => {
            other_mode(&service, *mode, command)
        }
        Some(_) => RctlError::Api(body),
    })
}

/// All services of the server by `namespace/name`, each once: replicated ones first.
fn services(status: &Status) -> Vec<(String, Mode)> {
    let replicated = status.services.iter().map(|service| (plain(&service.name).to_owned(), Mode::Replicated));
    let http = status.http.iter();
    let stateless = http.clone().flat_map(|http| http.services.iter().filter(|of| of.stateless).map(|of| &of.service));
    let unserved = http.flat_map(|http| http.problems.iter().map(|problem| &problem.service));
    let mut services: Vec<(String, Mode)> = replicated.collect();
    for service in stateless.chain(unserved).map(|name| plain(name)) {
        if !services.iter().any(|(known, _)| known == service) {
            services.push((service.to_owned(), Mode::Stateless));
        }
    }
    services
}

/// There is none of this name.
pub fn no_service(name: &str, status: &Status) -> RctlError {
    unknown(name, &services(status))
}

fn unknown(name: &str, services: &[(String, Mode)]) -> RctlError {
    let known: Vec<&str> = services.iter().map(|(service, _)| service.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    RctlError::NoService { name: name.to_owned(), known }
}

/// A command for stateless services is not for this one.
pub fn of_replicated(service: &str, command: &'static str) -> RctlError {
    other_mode(service, Mode::Replicated, command)
}

fn other_mode(service: &str, mode: Mode, command: &'static str) -> RctlError {
    RctlError::OtherMode { service: service.to_owned(), mode, command, commands: mode.commands() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_that_takes_a_service_is_for_a_mode_or_for_both() {
        let root = crate::args::Arguments::command();
        let service = root.find_subcommand("service").unwrap();
        let mut there: Vec<String> = service.get_subcommands().map(|of| format!("service {}", of.get_name())).collect();
        // They are about a folder alone.
        there.retain(|command| !["service init", "service build"].contains(&command.as_str()));
        there.extend(["trace".to_owned(), "replay".to_owned()]);
        let mut listed: Vec<&str> = [OF_BOTH, OF_REPLICATED, OF_STATELESS].concat();
        there.sort_unstable();
        listed.sort_unstable();
        assert_eq!(there, listed);
    }

    #[test]
    fn a_name_means_the_service_of_the_commands_mode() {
        let services = [("a/both", Mode::Replicated), ("b/both", Mode::Stateless), ("a/web", Mode::Stateless)];
        let services = services.map(|(name, mode)| (name.to_owned(), mode));
        let of = |name: &str, command| among(name, command, &services).map_err(|error| error.to_string());
        assert_eq!(of("both", "service audit"), Ok("a/both"));
        assert_eq!(of("both", "service weights"), Ok("b/both"));
        assert_eq!(of("both", "service logs").unwrap_err(), "both is not unique, say which: a/both, b/both");
        let told = of("web", "service audit").unwrap_err();
        assert!(told.starts_with("a/web is a stateless service, and `rctl service audit` is for replicated"), "{told}");
        assert!(told.contains("rctl service invoke, rctl service deploy"), "{told}");
        assert_eq!(of("none", "trace").unwrap_err(), "no service is called none; there are: a/both, b/both, a/web");
    }
}
