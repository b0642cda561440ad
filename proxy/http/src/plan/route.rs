//! A route: which requests, and where they go.

use std::fmt;
use std::str::FromStr;

use http::header::{HeaderName, HeaderValue};
use http::{Method, Uri};
use semver::Version;

/// Sends requests to a service.
///
/// Of all routes that match a request the most specific one counts, compared in this order:
/// 1. host: an exact name, then the longest `*.suffix`, then any;
/// 2. path, part by part from the left: literal, then `{name}`, then the end, then `...`;
/// 3. routes that name methods, then those that do not;
/// 4. more headers before fewer;
/// 5. the earlier in the plan.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
    /// Which methods; none is all. Who names `GET` gets `HEAD` too.
    pub methods: Vec<Method>,
    /// Headers that have to be there with exactly this value, in one of their lines.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the requests go, in proportion to the weights. A target of weight 0 is reached by `x-refrain-version`
    /// alone.
    pub targets: Vec<Target>,
}

impl Route {
    /// All requests of a path pattern to one service.
    ///
    /// # Errors
    /// When the pattern is none.
    pub fn to(path: &str, service: &str) -> Result<Self, PatternError> {
        Ok(Self {
            host: HostPattern::Any,
            path: path.parse()?,
            methods: Vec::new(),
            headers: Vec::new(),
            targets: vec![Target { service: service.into(), version: None, weight: 1, rewrite: None }],
        })
    }

    /// What a release gets in place of what the pattern names: as its own target says, else the first of its service.
    pub(crate) fn rewrite(&self, service: &str, version: &Version) -> Option<&str> {
        let of_service = || self.targets.iter().filter(|target| target.service == service);
        let own = of_service().find(|target| target.version.as_ref() == Some(version));
        own.or_else(|| of_service().next())?.rewrite.as_deref()
    }
}

/// A service, or one version of it, and its share of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name of a service of the plan.
    pub service: String,
    /// One of its releases; none is its default release.
    pub version: Option<Version>,
    /// Its share of the sum of the route's weights.
    pub weight: u16,
    /// Takes the place of what the route's pattern names: the whole path, or what comes before `...`.
    pub rewrite: Option<String>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not a host.
    #[error("\"{0}\" is not a host: a name, \"*.\" before a name, or \"*\"")]
    Host(String),
    /// Not a path.
    #[error("\"{0}\" is not a path: it begins with \"/\" and has neither query nor escapes that are not needed")]
    Path(String),
    /// A part that is neither a literal nor a whole parameter.
    #[error("\"{1}\" in \"{0}\" is neither a name nor a whole \"{{parameter}}\"")]
    Part(String, String),
    /// `...` elsewhere than at the end.
    #[error("\"{0}\" has \"...\" elsewhere than at its end")]
    Rest(String),
}

/// Which hosts: the port of a request does not count, nor does the case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HostPattern {
    /// All.
    #[default]
    Any,
    /// This name.
    Exact(String),
    /// Names that end in `.` and this, at any depth, but not this itself.
    Suffix(String),
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_prefix("*.").unwrap_or(text).trim_end_matches('.').to_ascii_lowercase();
        if text == "*" {
            return Ok(Self::Any);
        }
        if crate::edge::host_name(&name) != Some(name.as_str()) {
            return Err(PatternError::Host(text.to_owned()));
        }
        Ok(if text.starts_with("*.") { Self::Suffix(name) } else { Self::Exact(name) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => write!(f, "*"),
            Self::Exact(name) => write!(f, "{name}"),
            Self::Suffix(name) => write!(f, "*.{name}"),
        }
    }
}

/// Which paths: `/about` exactly, `/items/{id}` with any one part, `/api/...` with anything or nothing after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    pub(crate) parts: Vec<Part>,
    /// It goes on: `...`.
    pub(crate) has_rest: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    /// One part that is not empty.
    Parameter(String),
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (path, has_rest) = text.strip_suffix("/...").map_or((text, false), |path| (path, true));
        if path.contains("...") {
            return Err(PatternError::Rest(text.to_owned()));
        }
        let Some(path) = path.strip_prefix('/').or((has_rest && path.is_empty()).then_some("")) else {
            return Err(PatternError::Path(text.to_owned()));
        };
        if has_rest && path.is_empty() {
            return Ok(Self { parts: Vec::new(), has_rest });
        }
        let parts: Result<_, _> = path.split('/').map(|part| parse_part(text, part)).collect();
        let pattern = Self { parts: parts?, has_rest };
        let sample = pattern.to_string().replace(['{', '}'], "x");
        let is_plain = sample.parse::<Uri>().is_ok_and(|uri| uri.path() == sample)
            && crate::edge::normal_path(&sample).is_ok_and(|normal| normal == sample);
        if is_plain { Ok(pattern) } else { Err(PatternError::Path(text.to_owned())) }
    }
}

fn parse_part(text: &str, part: &str) -> Result<Part, PatternError> {
    let fault = || PatternError::Part(text.to_owned(), part.to_owned());
    if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return if is_name { Ok(Part::Parameter(name.to_owned())) } else { Err(fault()) };
    }
    if part.contains(['{', '}']) { Err(fault()) } else { Ok(Part::Literal(part.to_owned())) }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(text) => write!(f, "/{text}")?,
                Part::Parameter(name) => write!(f, "/{{{name}}}")?,
            }
        }
        if self.has_rest { write!(f, "/...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_pattern_is_written_as_it_was_read() {
        for text in ["/", "/about", "/items/{id}", "/items/{id}/...", "/...", "/a/", "/a%2Fb"] {
            assert_eq!(text.parse::<PathPattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_could_never_match_is_no_path_pattern() {
        for text in
            ["", "about", "...", "/a...", "/.../a", "/{}", "/{a", "/a{b}", "/{a-b}", "/a?b", "/a b", "/a/../b", "/%61"]
        {
            assert!(text.parse::<PathPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_pattern_is_a_name_a_suffix_or_anything() {
        let parse = |text: &str| text.parse::<HostPattern>();
        assert_eq!(parse("*"), Ok(HostPattern::Any));
        assert_eq!(parse("Example.com."), Ok(HostPattern::Exact("example.com".into())));
        assert_eq!(parse("*.Example.com"), Ok(HostPattern::Suffix("example.com".into())));
        for text in ["", "*.", "a.*", "a*b", "a/b", "a:80", "a b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
