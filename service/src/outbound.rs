//! What a guest may reach outside, as a manifest writes it: `host:ports/protocol`.
//!
//! A host is a name, `*.suffix`, `*`, an IP address, or a range of addresses; an IPv6 one stands in brackets. Ports are
//! one number, `first-last`, or `*`. The protocol is `tcp` (when nothing is said) or `udp`. What a rule opens is the
//! kernel's affair (`refrain_kernel::outbound`): this is its spelling alone.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::address::AddressRange;
use crate::bounds::{HOST_LABEL_BYTES_MAX, HOST_NAME_BYTES_MAX};
use crate::manifest::Word;

/// One entry of `outbound`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Which hosts.
    pub host: OutboundHost,
    /// The first port that is meant; not 0.
    pub first_port: u16,
    /// The last port that is meant; not below the first.
    pub last_port: u16,
    /// The transport.
    pub protocol: Protocol,
    /// The header that the proxy sends before the guest's bytes; of TCP alone.
    pub proxy_header: Option<ProxyHeader>,
}

/// The hosts that an entry means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboundHost {
    /// This name, in lower case.
    Name(String),
    /// The names below this one, in lower case.
    Below(String),
    /// Every name, and every public address.
    Any,
    /// These addresses.
    Range(AddressRange),
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

impl Word for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp)];
}

impl Word for ProxyHeader {
    const WORDS: &'static [(&'static str, Self)] = &[("v1", Self::V1), ("v2", Self::V2)];
}

impl FromStr for Outbound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once("]:").map(|(host, rest)| (OutboundHost::in_brackets(host), rest)),
            None => text.rsplit_once(':').map(|(host, rest)| (host.parse(), rest)),
        }
        .ok_or_else(|| "expected a host and a port, such as `api.example.com:443` or `[fd00::/8]:53/udp`".to_owned())?;
        let host = host?;
        let (ports, protocol) = match rest.split_once('/') {
            None => (rest, Protocol::Tcp),
            Some((ports, word)) => {
                let known = Protocol::WORDS.iter().find(|(known, _)| *known == word);
                (ports, known.ok_or_else(|| format!("unknown protocol `{word}`, allowed: tcp, udp"))?.1)
            }
        };
        let (first_port, last_port) = parse_ports(ports)?;
        Ok(Self { host, first_port, last_port, protocol, proxy_header: None })
    }
}

fn parse_ports(text: &str) -> Result<(u16, u16), String> {
    if text == "*" {
        return Ok((1, u16::MAX));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| digits && *port != 0)
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("`{text}` are no ports, allowed: 1 to 65535, a range such as 8000-8010, or *")),
    }
}

impl OutboundHost {
    fn in_brackets(text: &str) -> Result<Self, String> {
        let range: AddressRange = text.parse()?;
        if range.first().is_ipv4() {
            return Err(format!("`{text}` is an IPv4 address, which stands without brackets"));
        }
        Ok(Self::Range(range))
    }
}

impl FromStr for OutboundHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains(':') {
            return Err(format!("`{text}`: an IPv6 address stands in brackets, such as `[fd00::1]:53`"));
        }
        if let Some(parent) = text.strip_prefix("*.") {
            return host_name(parent).map(Self::Below);
        }
        if text.contains('/') || text.parse::<IpAddr>().is_ok() {
            return text.parse().map(Self::Range);
        }
        host_name(text).map(Self::Name)
    }
}

/// A host name in lower case. One whose last label is a number is refused: it is a mistyped address.
fn host_name(name: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let good = |label: &str| (1..=HOST_LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(allowed);
    if name.len() > HOST_NAME_BYTES_MAX || !name.split('.').all(good) {
        return Err(format!(
            "`{name}` is no host: a name has labels of letters, digits, `-` and `_`, each of at most \
             {HOST_LABEL_BYTES_MAX} bytes, with dots between them, and at most {HOST_NAME_BYTES_MAX} bytes; `*` and \
             `*.suffix` are patterns"
        ));
    }
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("`{name}` is neither an IP address nor a host name, which does not end in a number"));
    }
    Ok(name.to_ascii_lowercase())
}

/// As a manifest writes it, with what is the default left out.
impl fmt::Display for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.host)?;
        match (self.first_port, self.last_port) {
            (1, u16::MAX) => f.write_str("*")?,
            (first, last) if first == last => write!(f, "{first}")?,
            (first, last) => write!(f, "{first}-{last}")?,
        }
        if self.protocol == Protocol::Udp {
            f.write_str("/udp")?;
        }
        self.proxy_header.map_or(Ok(()), |header| write!(f, " with a PROXY {header} header"))
    }
}

impl fmt::Display for OutboundHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
            Self::Range(range) if range.first().is_ipv6() => write!(f, "[{range}]"),
            Self::Range(range) => range.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        text.parse::<Outbound>().expect_err(text)
    }

    #[test]
    fn every_form_reads_and_prints_as_it_is_written() {
        for text in [
            "api.example.com:443",
            "*.internal:5432",
            "*:443",
            "*:*",
            "10.0.0.0/8:5432",
            "[fd00::/8]:53/udp",
            "[::1]:6379",
            "127.0.0.1:6379",
            "localhost:8000-8010",
            "0.0.0.0/0:*/udp",
            "[::/0]:1-65534",
            "_sip.example.com:5060/udp",
        ] {
            assert_eq!(text.parse::<Outbound>().unwrap().to_string(), text);
        }
        for (written, printed) in [
            ("API.Example.com:443/tcp", "api.example.com:443"),
            ("*.Internal:1", "*.internal:1"),
            ("a.b:1-65535", "a.b:*"),
            ("a.b:7-7", "a.b:7"),
            ("[0:0::1/128]:1", "[::1]:1"),
            ("127.0.0.1/32:1", "127.0.0.1:1"),
        ] {
            assert_eq!(written.parse::<Outbound>().unwrap().to_string(), printed, "{written}");
        }
    }

    #[test]
    fn what_an_entry_means_is_in_its_parts() {
        let entry: Outbound = "10.1.0.0/16:8000-8010/udp".parse().unwrap();
        let OutboundHost::Range(range) = entry.host else { panic!("a range") };
        assert_eq!((range.first(), range.prefix()), ("10.1.0.0".parse().unwrap(), 16));
        assert_eq!((entry.first_port, entry.last_port, entry.protocol), (8000, 8010, Protocol::Udp));
        assert_eq!(entry.proxy_header, None);
    }

    #[test]
    fn what_cannot_be_meant_is_told_in_words() {
        for (text, part) in [
            ("", "expected a host and a port"),
            ("example.com", "expected a host and a port"),
            ("[::1]", "expected a host and a port"),
            ("[::1]6379", "expected a host and a port"),
            ("fd00::1:53", "stands in brackets"),
            ("::1:53", "stands in brackets"),
            ("[10.0.0.1]:53", "stands without brackets"),
            ("[a.b]:53", "`a.b` is no IP address"),
            ("10.0.0.0/33:1", "33"),
            ("10.0.0.1/8:1", "begins at 10.0.0.0"),
            ("10.0.0.300:1", "neither an IP address nor a host name"),
            ("10.0.0:1", "neither an IP address nor a host name"),
            ("a.b/8:1", "`a.b` is no IP address"),
            ("a b:1", "is no host"),
            ("a.*.b:1", "is no host"),
            ("*a:1", "is no host"),
            ("*.:1", "is no host"),
            (":1", "is no host"),
            ("https://a.b:1", "stands in brackets"),
            ("a.b:", "are no ports"),
            ("a.b:0", "are no ports"),
            ("a.b:0-1", "are no ports"),
            ("a.b:2-1", "are no ports"),
            ("a.b:+1", "are no ports"),
            ("a.b:65536", "are no ports"),
            ("a.b:http", "are no ports"),
            ("a.b:1/sctp", "unknown protocol `sctp`"),
            ("a.b:1/", "unknown protocol ``"),
        ] {
            assert!(fault(text).contains(part), "{text}: {}", fault(text));
        }
    }

    #[test]
    fn names_are_taken_at_their_limits_and_not_beyond() {
        let label = "a".repeat(HOST_LABEL_BYTES_MAX);
        let longest = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
        assert_eq!(longest.len(), HOST_NAME_BYTES_MAX);
        for name in [&label, &longest] {
            assert!(format!("{name}:1").parse::<Outbound>().is_ok(), "{name}");
            assert!(format!("{name}a:1").parse::<Outbound>().is_err(), "{name}a");
        }
    }
}
