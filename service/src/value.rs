//! One value of a TOML document as a domain type, or a sentence that says what is allowed instead.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use crate::bounds::{self, Bound};
use crate::manifest::{FuelPerTurn, IdleLimit, Word};
use crate::outbound::{Outbound, Protocol};
use crate::port::Keepalive;
use crate::quantity::{ByteSize, format_duration, parse_duration};

/// Variables that tell a guest of its passed listeners; the engine alone sets them.
const RESERVED_ENV: [&str; 3] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];

pub(crate) fn text<'d>(value: &'d DeValue<'_>) -> Result<&'d str, String> {
    value.as_str().ok_or_else(|| format!("expected a string, found {}", described(value)))
}

pub(crate) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expected true or false, found {}", described(value)))
}

pub(crate) fn unsigned(value: &DeValue<'_>) -> Result<u64, String> {
    let integer = value.as_integer().ok_or_else(|| format!("expected a whole number, found {}", described(value)))?;
    u64::from_str_radix(integer.as_str(), integer.radix())
        .map_err(|_| "expected a whole number from 0 to 18446744073709551615".to_owned())
}

pub(crate) fn described(value: &DeValue<'_>) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

pub(crate) fn parsed<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

pub(crate) fn word<T: Word>(key: &str, value: &DeValue<'_>) -> Result<T, String> {
    let written = text(value)?;
    if let Some((_, known)) = T::WORDS.iter().find(|(word, _)| *word == written) {
        return Ok(*known);
    }
    if T::LATER.contains(&written) {
        return Err(format!("{key} {written} is not supported by this version"));
    }
    let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
    Err(format!("allowed: {}", words.join(", ")))
}

pub(crate) fn within<T: PartialOrd + Display + Copy>(value: T, bound: Bound<T>) -> Result<T, String> {
    if value < bound.min || value > bound.max {
        return Err(format!("allowed: {} to {}", bound.min, bound.max));
    }
    Ok(value)
}

/// A number of bytes, or a text with a unit.
pub(crate) fn byte_size(value: &DeValue<'_>) -> Result<ByteSize, String> {
    if value.is_integer() {
        return unsigned(value).map(ByteSize::bytes);
    }
    parsed(value)
}

pub(crate) fn duration(value: &DeValue<'_>, bound: Bound<Duration>) -> Result<Duration, String> {
    let duration = parse_duration(text(value)?).map_err(|error| error.to_string())?;
    if duration < bound.min || duration > bound.max {
        return Err(format!("allowed: {} to {}", format_duration(bound.min), format_duration(bound.max)));
    }
    Ok(duration)
}

pub(crate) fn fuel_per_turn(value: &DeValue<'_>) -> Result<FuelPerTurn, String> {
    let bound = bounds::FUEL_PER_TURN;
    match value.as_str() {
        Some("off") => Ok(FuelPerTurn::Off),
        Some(_) => Err(format!("allowed: {} to {}, or \"off\"", bound.min, bound.max)),
        None => within(unsigned(value)?, bound).map(FuelPerTurn::Limit),
    }
}

pub(crate) fn idle_limit(value: &DeValue<'_>) -> Result<IdleLimit, String> {
    match value.as_str() {
        Some("off") => Ok(IdleLimit::Off),
        _ => duration(value, bounds::IDLE).map(IdleLimit::After).map_err(|problem| format!("{problem}; or \"off\"")),
    }
}

pub(crate) fn guest_port(value: &DeValue<'_>) -> Result<NonZeroU16, String> {
    let number = u16::try_from(unsigned(value)?).ok();
    number.and_then(NonZeroU16::new).ok_or_else(|| "allowed: 1 to 65535".to_owned())
}

pub(crate) fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    text(value)?.parse().map_err(|_| "not an IP address and port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

pub(crate) fn arguments(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    list(value, "argument", bounds::ARGS_MAX, |item| text(item).and_then(no_nul).map(str::to_owned))
}

/// Every item of an array, or what is wrong with each of them that is wrong.
pub(crate) fn list<'d, T>(
    value: &'d DeValue<'d>,
    what: &str,
    max: usize,
    parse: impl Fn(&'d DeValue<'d>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let array = value.as_array().ok_or_else(|| format!("expected an array, found {}", described(value)))?;
    if array.len() > max {
        return Err(format!("{} {what}s, the limit is {max}", array.len()));
    }
    let (mut good, mut problems) = (Vec::with_capacity(array.len()), Vec::new());
    for (index, item) in array.iter().enumerate() {
        match parse(item.get_ref()) {
            Ok(item) => good.push(item),
            Err(problem) => problems.push(format!("{what} {}: {problem}", index + 1)),
        }
    }
    if problems.is_empty() { Ok(good) } else { Err(problems.join("; ")) }
}

/// One address, or several; none twice.
pub(crate) fn addresses(value: &DeValue<'_>) -> Result<Vec<SocketAddr>, String> {
    if value.is_str() {
        return address(value).map(|address| vec![address]);
    }
    let all = list(value, "address", bounds::LISTEN_MAX, address)?;
    if all.is_empty() {
        return Err("at least one address".to_owned());
    }
    Ok(all)
}

/// The path of a Unix socket; the empty text is none.
pub(crate) fn unix_path(value: &DeValue<'_>) -> Result<Option<PathBuf>, String> {
    let path = no_nul(text(value)?)?;
    if path.is_empty() {
        return Ok(None);
    }
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("not the absolute path of a file, such as /run/kv.sock".to_owned());
    }
    if path.len() > bounds::UNIX_PATH_BYTES_MAX {
        return Err(format!("{} bytes, the limit is {}", path.len(), bounds::UNIX_PATH_BYTES_MAX));
    }
    Ok(Some(PathBuf::from(path)))
}

pub(crate) fn keepalive(value: &DeValue<'_>) -> Result<Keepalive, String> {
    match value.as_str() {
        Some("off") => Ok(Keepalive::Off),
        _ => {
            duration(value, bounds::KEEPALIVE).map(Keepalive::After).map_err(|problem| format!("{problem}; or \"off\""))
        }
    }
}

/// Entries of `outbound`: a text, or a table with the text and what a connection begins with.
pub(crate) fn outbound(value: &DeValue<'_>) -> Result<Vec<Outbound>, String> {
    list(value, "entry", bounds::OUTBOUND_MAX, outbound_entry)
        .map_err(|problem| problem.replace(" entrys,", " entries,"))
}

fn outbound_entry(value: &DeValue<'_>) -> Result<Outbound, String> {
    let Some(table) = value.as_table() else {
        return parsed(value);
    };
    let find = |key: &str| table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.get_ref());
    if let Some((unknown, _)) =
        table.iter().find(|(key, _)| !["to", "proxy_protocol"].contains(&key.get_ref().as_ref()))
    {
        return Err(format!("unknown key `{}`; allowed here: to, proxy_protocol", unknown.get_ref()));
    }
    let mut entry: Outbound = parsed(find("to").ok_or("a table needs `to`")?)?;
    if let Some(header) = find("proxy_protocol") {
        if entry.protocol == Protocol::Udp {
            return Err("proxy_protocol is of tcp alone".to_owned());
        }
        let header = word("proxy_protocol", header).map_err(|problem| format!("proxy_protocol: {problem}"))?;
        entry.proxy_header = Some(header);
    }
    Ok(entry)
}

/// A text of so many bytes.
pub(crate) fn bounded_text(value: &DeValue<'_>, max: usize) -> Result<String, String> {
    let text = text(value)?;
    if text.len() > max {
        return Err(format!("{} bytes, the limit is {max}", text.len()));
    }
    Ok(text.to_owned())
}

pub(crate) fn no_nul(text: &str) -> Result<&str, String> {
    if text.contains('\0') {
        return Err("a NUL character ends the text for the guest and is not allowed".to_owned());
    }
    Ok(text)
}

pub(crate) fn variable_name(key: &str) -> Result<(), String> {
    if key.is_empty() || key.contains(['=', '\0']) {
        return Err("the name of a variable is not empty and has neither `=` nor NUL".to_owned());
    }
    if RESERVED_ENV.contains(&key) {
        return Err("reserved: set for the guest when a port has `pass = true`".to_owned());
    }
    Ok(())
}

/// A method of HTTP: a token (RFC 9110, section 5.6.2) in the case in which it is sent.
pub(crate) fn method(value: &DeValue<'_>) -> Result<String, String> {
    let text = bounded_text(value, bounds::METHOD_BYTES_MAX)?;
    let is_token =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if is_token { Ok(text) } else { Err("not a method, such as GET".to_owned()) }
}

/// A number of requests, or `"least-most"`.
pub(crate) fn reuse(value: &DeValue<'_>) -> Result<(u32, u32), String> {
    let bound = bounds::HTTP_REUSE;
    let wrong = || format!("allowed: {} to {}, or two of them as in \"64-128\"", bound.min, bound.max);
    let number = |text: &str| {
        let number = text.parse::<u64>().ok().filter(|number| (bound.min..=bound.max).contains(number));
        number.and_then(|number| u32::try_from(number).ok()).ok_or_else(wrong)
    };
    match value.as_str() {
        None => number(&unsigned(value)?.to_string()).map(|number| (number, number)),
        Some(text) => {
            let (least, most) = text.split_once('-').ok_or_else(wrong)?;
            let (least, most) = (number(least)?, number(most)?);
            if least <= most { Ok((least, most)) } else { Err(wrong()) }
        }
    }
}

/// A time, or none.
pub(crate) fn cpu_limit(value: &DeValue<'_>) -> Result<Option<Duration>, String> {
    match value.as_str() {
        Some("off") => Ok(None),
        _ => duration(value, bounds::HTTP_CPU).map(Some).map_err(|problem| format!("{problem}; or \"off\"")),
    }
}
