//! `rctl service show` of a stateless service: each of its versions.

use refrain_api::{HttpDetail, HttpVersionDetail};

use super::{LIMIT_HEADER, limit};
use crate::human::count;
use crate::output::Output;
use crate::table::{Cell, printable, render};

/// Width of the first column.
const LABEL: usize = 12;

pub fn output(detail: HttpDetail) -> Output {
    let shown = detail.clone();
    Output::value(&detail, move |colour| text(&shown, colour))
}

fn text(detail: &HttpDetail, colour: bool) -> String {
    let versions = count(detail.versions.len(), "version");
    let mut text = format!("{}: stateless, {versions}, as node {} sees it\n", printable(&detail.service), detail.node);
    let listens = if detail.listens.is_empty() { "nowhere".to_owned() } else { detail.listens.join(", ") };
    line(&mut text, "front end", &listens);
    for problem in &detail.problems {
        line(&mut text, "not served", &format!("{}: {}", problem.service, problem.reason));
    }
    for version in &detail.versions {
        text.push('\n');
        text.push_str(&of_version(version, colour));
    }
    text
}

fn line(text: &mut String, label: &str, value: &str) {
    text.push_str(&format!("  {label:LABEL$}{}\n", printable(value)));
}

fn of_version(version: &HttpVersionDetail, colour: bool) -> String {
    let status = &version.status;
    let mut text = format!("{}@{}: weight {}\n", printable(&status.service), printable(&status.version), status.weight);
    line(&mut text, "bundle", status.bundle.as_deref().unwrap_or("not known"));
    if status.routes.is_empty() {
        line(&mut text, "route", "none: it gets no requests");
    }
    status.routes.iter().for_each(|route| line(&mut text, "route", route));
    line(&mut text, "health", version.health.as_deref().unwrap_or("is not asked"));
    if version.outgoing.is_empty() {
        line(&mut text, "outgoing", "it may send requests nowhere");
    }
    version.outgoing.iter().for_each(|rule| line(&mut text, "outgoing", rule));
    line(&mut text, "requests", &requests(version));
    if status.upstreams.is_empty() {
        line(&mut text, "answered by", "no node");
    }
    for upstream in &status.upstreams {
        let (failures, given) = (upstream.failures, count(usize::try_from(upstream.requests).unwrap_or(0), "request"));
        let told = format!("node {}: {}, {given}, {failures} failed", upstream.node, upstream.state.word());
        line(&mut text, "answered by", &told);
    }
    text.push('\n');
    let limits: Vec<Vec<Cell>> = version.limits.iter().map(limit).collect();
    text + &render(&LIMIT_HEADER, &limits, colour)
}

fn requests(version: &HttpVersionDetail) -> String {
    let status = &version.status;
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(status.answers);
    let answers: Vec<String> = classes.filter(|(_, n)| *n > 0).map(|(class, n)| format!("{n} {class}")).collect();
    let answers =
        if answers.is_empty() { "none answered".to_owned() } else { format!("answered {}", answers.join(", ")) };
    format!("{} in flight, {answers}; {} trapped", status.in_flight, status.trapped)
}
