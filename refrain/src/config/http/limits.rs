//! What clients of the front end may do, and for how long: numbers, times and sizes within the bounds of the front end.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use refrain_front::{ClientLimits, ConnectionLimits, Rate};
use refrain_service::{ByteSize, format_duration};

use super::super::{bytes, duration};
use super::HttpSettings;

const COUNTS: RangeInclusive<u32> = 1..=1 << 24;
const RATES: RangeInclusive<u32> = 1..=1_000_000;
const TIMES: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
const HEAD_BYTES: RangeInclusive<u64> = 8 << 10..=1 << 20;
const HEADERS: RangeInclusive<usize> = 1..=1000;

/// What flags say goes before what the file says, and that before the default.
pub(super) fn merge(
    given: &HttpSettings,
    file: &HttpSettings,
    faults: &mut Vec<String>,
) -> (ClientLimits, ConnectionLimits) {
    let (client, connection) = (ClientLimits::default(), ConnectionLimits::default());
    let text = |of: fn(&HttpSettings) -> Option<&str>| of(given).or_else(|| of(file)).map(str::to_owned);
    let time = |key, of, default, faults: &mut Vec<String>| {
        let time = duration(key, text(of), default, faults);
        check(key, &time, &TIMES, |time| format_duration(*time), faults);
        time
    };
    let connection = ConnectionLimits {
        connections: given.http_connections.or(file.http_connections).unwrap_or(connection.connections),
        client_connections: (given.http_client_connections.or(file.http_client_connections))
            .unwrap_or(connection.client_connections),
        head: time("http-head-timeout", |of| of.http_head_timeout.as_deref(), connection.head, faults),
        idle: time("http-idle-timeout", |of| of.http_idle_timeout.as_deref(), connection.idle, faults),
        write_idle: time("http-write-timeout", |of| of.http_write_timeout.as_deref(), connection.write_idle, faults),
        head_bytes: head_bytes(text(|of| of.http_head_bytes.as_deref()), connection.head_bytes, faults),
        headers: given.http_headers.or(file.http_headers).unwrap_or(connection.headers),
        ..connection
    };
    let client = ClientLimits {
        requests: given.http_client_requests.or(file.http_client_requests).unwrap_or(client.requests),
        rate: rate(given, file, faults),
    };
    for (key, count) in [
        ("http-connections", connection.connections),
        ("http-client-connections", connection.client_connections),
        ("http-client-requests", client.requests),
    ] {
        check(key, &count, &COUNTS, ToString::to_string, faults);
    }
    check("http-headers", &connection.headers, &HEADERS, ToString::to_string, faults);
    (client, connection)
}

fn rate(given: &HttpSettings, file: &HttpSettings, faults: &mut Vec<String>) -> Option<Rate> {
    let burst = given.http_client_burst.or(file.http_client_burst);
    let Some(per_second) = given.http_client_rate.or(file.http_client_rate) else {
        if burst.is_some() {
            faults.push(
                "http-client-burst: says how many of http-client-rate may come at once, which is not given".into(),
            );
        }
        return None;
    };
    let rate = Rate { per_second, burst: burst.unwrap_or(per_second) };
    check("http-client-rate", &rate.per_second, &RATES, ToString::to_string, faults);
    if burst.is_some() {
        check("http-client-burst", &rate.burst, &RATES, ToString::to_string, faults);
    }
    Some(rate)
}

fn head_bytes(text: Option<String>, default: usize, faults: &mut Vec<String>) -> usize {
    let size = bytes("http-head-bytes", text, default as u64, faults);
    check("http-head-bytes", &size, &HEAD_BYTES, |size| ByteSize::bytes(*size), faults);
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn check<T: PartialOrd, D: Display>(
    key: &str,
    value: &T,
    range: &RangeInclusive<T>,
    shown: impl Fn(&T) -> D,
    faults: &mut Vec<String>,
) {
    if !range.contains(value) {
        faults.push(format!("{key}: {} is not in {} to {}", shown(value), shown(range.start()), shown(range.end())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(given: &HttpSettings, file: &HttpSettings) -> (ClientLimits, ConnectionLimits, Vec<String>) {
        let mut faults = Vec::new();
        let (client, connection) = merge(given, file, &mut faults);
        (client, connection, faults)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn nothing_said_is_what_the_front_end_has_by_itself() {
        let nothing = HttpSettings::default();
        let expected = (ClientLimits::default(), ConnectionLimits::default(), Vec::new());
        assert_eq!(merged(&nothing, &nothing), expected);
    }

    #[test]
    fn flags_win_over_the_file_and_a_burst_is_that_of_a_second() {
        let given =
            HttpSettings { http_client_rate: Some(50), http_idle_timeout: text("5s"), ..HttpSettings::default() };
        let file = HttpSettings {
            http_client_rate: Some(7),
            http_idle_timeout: text("6s"),
            http_headers: Some(20),
            http_head_bytes: text("16KiB"),
            ..HttpSettings::default()
        };
        let (client, connection, faults) = merged(&given, &file);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(client.rate, Some(Rate { per_second: 50, burst: 50 }));
        assert_eq!((connection.idle, connection.headers), (Duration::from_secs(5), 20));
        assert_eq!(connection.head_bytes, 16 << 10);
    }

    fn all(count: u32, rate: u32, time: &str, size: &str, headers: usize) -> HttpSettings {
        HttpSettings {
            http_connections: Some(count),
            http_client_connections: Some(count),
            http_client_requests: Some(count),
            http_client_rate: Some(rate),
            http_client_burst: Some(rate),
            http_head_timeout: text(time),
            http_idle_timeout: text(time),
            http_write_timeout: text(time),
            http_head_bytes: text(size),
            http_headers: Some(headers),
            ..HttpSettings::default()
        }
    }

    #[test]
    fn what_is_at_its_bounds_is_taken_and_one_more_is_told() {
        let nothing = HttpSettings::default();
        for least_and_most in [all(1, 1, "10ms", "8KiB", 1), all(1 << 24, 1_000_000, "1h", "1MiB", 1000)] {
            assert_eq!(merged(&least_and_most, &nothing).2, Vec::<String>::new());
        }
        let below = merged(&nothing, &all(0, 0, "9ms", "8191", 0)).2;
        let above = merged(&nothing, &all((1 << 24) + 1, 1_000_001, "3601s", "1048577", 1001)).2;
        assert_eq!((below.len(), above.len()), (10, 10), "{below:#?} {above:#?}");
        assert!(below.contains(&"http-client-requests: 0 is not in 1 to 16777216".to_owned()), "{below:#?}");
        assert!(below.contains(&"http-head-timeout: 9ms is not in 10ms to 1h".to_owned()), "{below:#?}");
        assert!(above.contains(&"http-head-bytes: 1048577B is not in 8KiB to 1MiB".to_owned()), "{above:#?}");
    }

    #[test]
    fn what_is_no_quantity_or_has_nothing_to_be_of_is_told() {
        let wrong = HttpSettings {
            http_client_burst: Some(1),
            http_write_timeout: text("soon"),
            http_head_bytes: text("much"),
            ..HttpSettings::default()
        };
        let faults = merged(&wrong, &HttpSettings::default()).2;
        assert_eq!(faults.len(), 3, "{faults:#?}");
    }
}
