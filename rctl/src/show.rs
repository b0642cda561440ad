//! `rctl service show`: everything about one service.

mod stateless;

use refrain_api::{ErrorCode, LimitStatus, PortStatus, ServiceDetail, paths};
use refrain_service::format_duration;

use crate::client::Client;
use crate::error::RctlError;
use crate::human::{count, size};
use crate::output::Output;
use crate::resolve::{explained, resolve};
use crate::status::{SEAT_HEADER, seat};
use crate::table::{Cell, printable, render};

const LABEL: usize = 12;
const LIMIT_HEADER: [&str; 3] = ["LIMIT", "VALUE", "USED"];

pub fn run(client: &Client, name: &str) -> Result<Output, RctlError> {
    const COMMAND: &str = "service show";
    let service = resolve(client, name, COMMAND)?;
    let path = |template| paths::of_service(template, service.0.as_str(), service.1.as_str());
    let detail: ServiceDetail = match client.get(&path(paths::SERVICE)) {
        Err(RctlError::Api(body)) if body.code == ErrorCode::ServiceNotFound => {
            let asked = client.get(&path(paths::HTTP_SERVICE));
            return Ok(stateless::output(explained(client, &service, COMMAND, asked)?));
        }
        asked => asked?,
    };
    let shown = detail.clone();
    Ok(Output::value(&detail, move |colour| text(&shown, colour)))
}

fn text(detail: &ServiceDetail, colour: bool) -> String {
    let status = &detail.status;
    let ready = match (&status.ready.reason, status.ready.ready) {
        (_, true) => "ready".to_owned(),
        (Some(reason), false) => format!("not ready: {reason}"),
        (None, false) => "not ready".to_owned(),
    };
    let mut text = format!("{}: {}, {}\n", printable(&status.name), status.state, printable(&ready));
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:LABEL$}{}\n", printable(&value)));
    line("bundle", detail.bundle.clone());
    line("group", format!("{} on shard {}, as node {} sees it", status.group, status.shard, detail.node));
    line("agreement", agreement(detail));
    if status.ports.is_empty() {
        line("port", "none".to_owned());
    }
    status.ports.iter().for_each(|served| line("port", port(served)));
    line("ready when", detail.ready_when.clone());
    line("restarts", restarts(detail));
    if detail.outbound.is_empty() {
        line("outbound", "nothing may be reached".to_owned());
    }
    detail.outbound.iter().for_each(|rule| line("outbound", rule.clone()));
    line("checkpoint", checkpoint(detail));
    text.push('\n');
    let limits: Vec<Vec<Cell>> = detail.limits.iter().map(limit).collect();
    text.push_str(&render(&LIMIT_HEADER, &limits, colour));
    if !status.seats.is_empty() {
        let seats: Vec<Vec<Cell>> = status.seats.iter().map(|seat_status| seat(status, seat_status)).collect();
        text.push('\n');
        text.push_str(&render(&SEAT_HEADER, &seats, colour));
    }
    text
}

fn agreement(detail: &ServiceDetail) -> String {
    let status = &detail.status;
    let seats = count(status.seats.len(), "seat");
    let votes = count(usize::from(detail.quorum), "equal vote");
    format!("{} of {seats} ({votes}), released up to position {}", status.agreement, status.position)
}

fn port(port: &PortStatus) -> String {
    let mut places: Vec<&str> = vec![&port.listen];
    places.extend(port.also.iter().map(String::as_str));
    places.retain(|place| !place.is_empty());
    let places = if places.is_empty() { "nowhere".to_owned() } else { places.join(", ") };
    format!("{} {} {} on {places}", port.name, port.protocol, port.guest)
}

fn restarts(detail: &ServiceDetail) -> String {
    let restarts = detail.status.restarts;
    match &detail.status.exit_reason {
        None => restarts.to_string(),
        Some(exit) => format!("{restarts}; last end {} at position {}: {}", exit.kind, exit.position, exit.message),
    }
}

fn checkpoint(detail: &ServiceDetail) -> String {
    match &detail.checkpoint {
        Some(checkpoint) => format!("at position {}, root {}", checkpoint.position, checkpoint.root),
        None if detail.unsavable.is_empty() => "none yet".to_owned(),
        None => format!("never: {}", detail.unsavable.join("; ")),
    }
}

fn limit(limit: &LimitStatus) -> Vec<Cell> {
    let value = |number: u64| match limit.unit.as_str() {
        "bytes" => size(number),
        "milliseconds" => format_duration(std::time::Duration::from_millis(number)),
        _ => number.to_string(),
    };
    vec![
        Cell::text(&limit.name),
        Cell::number(limit.limit.map_or_else(|| "off".to_owned(), value)),
        Cell::number(limit.used.map_or_else(|| "-".to_owned(), value)),
    ]
}
