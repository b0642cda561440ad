//! `rctl status`: the server in a few lines, then a table of services and one of seats; and one of histories, of
//! services whose guests cannot be saved in checkpoints.

use std::fmt::Write as _;

use refrain_api::{
    Durability, HistoryStatus, HttpProblem, HttpServiceStatus, HttpStatus, HttpUpstreamState, HttpUpstreamStatus,
    LogStatus, PortStatus, SeatState, SeatStatus, ServiceState, ServiceStatus, ShardStatus, Status,
};

use crate::human::size;
use crate::output::Output;
use crate::resolve::plain;
use crate::table::{Cell, Tone, printable, render};

/// Characters of a digest that the table shows; JSON has it whole.
const DIGEST_SHOWN_CHARS: usize = 12;
const SERVICE_HEADER: [&str; 11] = [
    "SERVICE",
    "STATE",
    "READY",
    "AGREEMENT",
    "POSITION",
    "FLOWS",
    "MEMORY",
    "FILES",
    "RESTARTS",
    "LISTENS",
    "LAST EXIT",
];
const HTTP_HEADER: [&str; 9] =
    ["OVER HTTP", "MODE", "WEIGHT", "IN FLIGHT", "2XX, 3XX", "4XX", "5XX", "INSTANCES", "ROUTES"];
const UPSTREAM_HEADER: [&str; 6] = ["ANSWERED BY", "NODE", "STATE", "IN FLIGHT", "REQUESTS", "FAILURES"];
const NOT_READY_HEADER: [&str; 2] = ["NOT READY", "WHY"];
const HISTORY_HEADER: [&str; 4] = ["REPLAY-ONLY", "HISTORY", "LIMIT", "WHY"];
pub const SEAT_HEADER: [&str; 9] = ["SERVICE", "SEAT", "NODE", "STATE", "POSITION", "LAG", "DIGEST", "SINCE", "REASON"];

pub fn output(status: &Status, address: &str) -> Output {
    let (shown, address) = (status.clone(), address.to_owned());
    Output::value(status, move |colour| text(&shown, &address, colour))
}

fn text(status: &Status, address: &str, colour: bool) -> String {
    let mut text = head(status, address);
    let over_http = status.http.as_ref().map(|status| format!("\n{}", http(status, colour))).unwrap_or_default();
    if status.services.is_empty() {
        let none = if over_http.is_empty() { "\nno services\n" } else { "" };
        return text + none + &over_http;
    }
    let mut services: Vec<_> = status.services.iter().map(service).collect();
    let mut header = SERVICE_HEADER.to_vec();
    if !status.shards.is_empty() {
        header.insert(1, "SHARD");
        for (row, service) in services.iter_mut().zip(&status.services) {
            row.insert(1, Cell::number(service.shard));
        }
    }
    text.push('\n');
    text.push_str(&render(&header, &services, colour));
    let waiting = status.services.iter().filter_map(|s| Some((s, s.ready.reason.as_ref()?)));
    let waiting: Vec<Vec<Cell>> = waiting.map(|(s, why)| vec![Cell::text(plain_name(s)), Cell::text(why)]).collect();
    if !waiting.is_empty() {
        text.push('\n');
        text.push_str(&render(&NOT_READY_HEADER, &waiting, colour));
    }
    let seats = status.services.iter().flat_map(|s| s.seats.iter().map(|seat_status| seat(s, seat_status)));
    let seats: Vec<_> = seats.collect();
    if !seats.is_empty() {
        text.push('\n');
        text.push_str(&render(&SEAT_HEADER, &seats, colour));
    }
    let histories = status.services.iter().filter_map(|s| Some(history(s, s.history.as_ref()?)));
    let histories: Vec<_> = histories.collect();
    if !histories.is_empty() {
        text.push('\n');
        text.push_str(&render(&HISTORY_HEADER, &histories, colour));
    }
    text + &over_http
}

/// The front end in a line, and what it sends requests to.
pub fn http(status: &HttpStatus, colour: bool) -> String {
    let listens = if status.listens.is_empty() { "nowhere".to_owned() } else { status.listens.join(", ") };
    let mut head = format!("http        {}, {} connections\n", printable(&listens), status.connections);
    for HttpProblem { service, reason } in &status.problems {
        let _ = writeln!(head, "not served  {}: {}", printable(service), printable(reason));
    }
    let services: Vec<Vec<Cell>> = status.services.iter().map(http_service).collect();
    if services.is_empty() {
        return head;
    }
    let text = head + &render(&HTTP_HEADER, &services, colour);
    // That a node answers for itself is nothing to tell.
    let is_told = |service: &&HttpServiceStatus| match service.upstreams.as_slice() {
        [only] => only.state != HttpUpstreamState::Ready || service.instances.is_none(),
        several => !several.is_empty(),
    };
    let told = status.services.iter().filter(is_told);
    let upstreams = told.flat_map(|service| service.upstreams.iter().map(|upstream| http_upstream(service, upstream)));
    let upstreams: Vec<Vec<Cell>> = upstreams.collect();
    if upstreams.is_empty() { text } else { text + "\n" + &render(&UPSTREAM_HEADER, &upstreams, colour) }
}

fn http_upstream(service: &HttpServiceStatus, upstream: &HttpUpstreamStatus) -> Vec<Cell> {
    vec![
        Cell::text(format!("{}@{}", service.service, service.version)),
        Cell::number(upstream.node),
        Cell::text(upstream.state.word()),
        Cell::number(upstream.in_flight),
        Cell::number(upstream.requests),
        Cell::number(upstream.failures),
    ]
}

fn http_service(service: &HttpServiceStatus) -> Vec<Cell> {
    let [_, second, third, fourth, fifth] = service.answers;
    vec![
        Cell::text(format!("{}@{}", service.service, service.version)),
        Cell::text(if service.stateless { "stateless" } else { "replicated" }),
        Cell::number(service.weight),
        Cell::number(service.in_flight),
        Cell::number(second + third),
        Cell::number(fourth),
        Cell::number(fifth),
        service.instances.map_or_else(|| Cell::text("-"), Cell::number),
        Cell::text(service.routes.join(", ")),
    ]
}

fn head(status: &Status, address: &str) -> String {
    let note = match status.durability {
        Durability::None => " (a loss of power loses acknowledged writes)",
        _ => "",
    };
    let head = format!(
        "refrain {}, node {} at {address}\ndata        {}\ndurability  {}{note}\n",
        printable(&status.version),
        status.node,
        printable(&status.data_dir),
        status.durability,
    );
    let problem = |problem: &String| format!("problem     {}\n", printable(problem));
    let head = status.problems.iter().fold(head, |head, text| head + &problem(text));
    if !status.shards.is_empty() {
        return head + &status.shards.iter().map(shard).collect::<String>();
    }
    let (log, proxy) = (log(&status.log), &status.proxy);
    format!("{head}log         {log}\nproxy       epoch {}, {} flows\n", proxy.epoch, proxy.flows)
}

fn shard(shard: &ShardStatus) -> String {
    let (log, proxy) = (log(&shard.log), &shard.proxy);
    let name = format!("shard {}", shard.shard);
    format!("{name:<12}{log}\n            proxy epoch {}, {} flows\n", proxy.epoch, proxy.flows)
}

/// How much of a limit is used, in percent, and whether that is much.
fn used(bytes: u64, max_bytes: u64) -> (u128, &'static str) {
    let percent = u128::from(bytes) * 100 / u128::from(max_bytes.max(1));
    (percent, if percent >= 80 { ": nearly full" } else { "" })
}

fn log(log: &LogStatus) -> String {
    let leader = log.leader.map_or("no leader".to_owned(), |leader| format!("leader {leader}"));
    let (percent, warning) = used(log.bytes, log.max_bytes);
    format!(
        "generation {}, positions {} to {}, committed {}, {} of {} ({percent} %{warning}), term {}, {leader}",
        printable(&log.generation),
        log.first_position,
        log.last_position,
        log.committed,
        size(log.bytes),
        size(log.max_bytes),
        log.term,
    )
}

fn service(service: &ServiceStatus) -> Vec<Cell> {
    let tone = match service.state {
        ServiceState::Running => Tone::Good,
        ServiceState::Starting | ServiceState::Backoff => Tone::Waiting,
        ServiceState::Exited | ServiceState::Halted => Tone::Bad,
        ServiceState::Unknown => Tone::Plain,
    };
    let agreement = match service.agreement {
        refrain_api::Agreement::None => "not checked".to_owned(),
        agreement => agreement.to_string(),
    };
    let ports: Vec<String> = service.ports.iter().map(port).collect();
    let exit = service.exit_reason.as_ref();
    let exit = exit.map(|exit| format!("{} at {}: {}", exit.kind, exit.position, exit.message));
    vec![
        Cell::text(&service.name),
        Cell::toned(service.state, tone),
        if service.ready.ready { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Waiting) },
        Cell::text(agreement),
        Cell::number(service.position),
        Cell::number(service.flows),
        Cell::number(size(service.memory_bytes)),
        Cell::number(size(service.files_bytes)),
        Cell::number(service.restarts),
        Cell::text(ports.join(", ")),
        Cell::text(exit.unwrap_or_default()),
    ]
}

/// The name of a port and where it listens.
fn port(port: &PortStatus) -> String {
    let place = if port.listen.is_empty() { "nowhere" } else { &port.listen };
    let mut text = format!("{} {place}", port.name);
    port.also.iter().for_each(|place| text.push_str(&format!(" {place}")));
    text
}

/// The name without the version.
fn plain_name(service: &ServiceStatus) -> &str {
    plain(&service.name)
}

fn history(service: &ServiceStatus, history: &HistoryStatus) -> Vec<Cell> {
    let (percent, warning) = used(history.bytes, history.max_bytes);
    let full = history.bytes >= history.max_bytes;
    let (tone, warning) = match warning {
        _ if full => (Tone::Bad, ": full, requests are refused"),
        "" => (Tone::Plain, ""),
        warning => (Tone::Waiting, warning),
    };
    vec![
        Cell::text(plain_name(service)),
        Cell::toned(format!("{} ({percent} %{warning})", size(history.bytes)), tone),
        Cell::text(size(history.max_bytes)),
        Cell::text(history.reasons.join("; ")),
    ]
}

/// The row of a seat, under [`SEAT_HEADER`].
pub fn seat(service: &ServiceStatus, seat: &SeatStatus) -> Vec<Cell> {
    let tone = match seat.state {
        SeatState::Active => Tone::Good,
        SeatState::Replaying => Tone::Waiting,
        SeatState::Quarantined | SeatState::Dead => Tone::Bad,
        SeatState::Unknown => Tone::Plain,
    };
    let digest: String = seat.digest.chars().take(DIGEST_SHOWN_CHARS).collect();
    vec![
        Cell::text(plain_name(service)),
        Cell::number(seat.seat),
        Cell::number(seat.node),
        Cell::toned(seat.state, tone),
        Cell::number(seat.position),
        Cell::number(seat.lag),
        Cell::text(if digest.is_empty() { "-" } else { &digest }),
        Cell::number(seat.since_position),
        Cell::text(seat.reason.as_deref().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_api::Agreement;

    fn example() -> Status {
        serde_json::from_str(include_str!("../../api/tests/status.json")).unwrap()
    }

    #[test]
    fn no_durability_no_leader_and_a_full_log_are_said() {
        let mut status = example();
        status.durability = Durability::None;
        status.log.leader = None;
        status.log.bytes = status.log.max_bytes / 5 * 4 + 1;
        let text = text(&status, "a:1", false);
        assert!(text.contains("none (a loss of power loses acknowledged writes)"), "{text}");
        assert!(text.contains("no leader") && text.contains("(80 %: nearly full)"), "{text}");
    }

    #[test]
    fn problems_of_the_node_are_said_first() {
        let mut status = example();
        status.problems = vec!["the disk of /data is full".to_owned()];
        let text = text(&status, "a:1", false);
        assert_eq!(text.lines().nth(3), Some("problem     the disk of /data is full"), "{text}");
    }

    #[test]
    fn several_shards_have_a_log_each_and_services_say_theirs() {
        let mut status = example();
        let (log, proxy) = (status.log.clone(), status.proxy.clone());
        status.shards = (0..2).map(|shard| ShardStatus { shard, log: log.clone(), proxy: proxy.clone() }).collect();
        status.services[1].shard = 1;
        let text = text(&status, "a:1", false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[3].starts_with("shard 0     generation") && lines[5].starts_with("shard 1     generation"),
            "{text}"
        );
        assert_eq!(lines[4], "            proxy epoch 5, 12 flows");
        let kv = lines.iter().find(|line| line.starts_with("examples/kv-server@")).unwrap();
        assert_eq!(kv.split_whitespace().nth(1), Some("1"), "{text}");
    }

    #[test]
    fn a_service_without_agreement_is_shown_as_not_checked() {
        let mut status = example();
        status.services[0].agreement = Agreement::None;
        assert!(text(&status, "a:1", false).contains("not checked"));
    }

    #[test]
    fn a_full_history_is_said() {
        let mut status = example();
        let history = status.services[1].history.as_mut().unwrap();
        history.bytes = history.max_bytes;
        assert!(text(&status, "a:1", false).contains("1 GiB (100 %: full, requests are refused)"));
    }

    #[test]
    fn a_server_without_services_says_so() {
        let mut status = example();
        status.services.clear();
        assert!(output(&status, "a:1").shown(false).ends_with("\nno services\n"));
    }
}
