//! The routes of a plan, in the order in which they are tried: see [`Route`] for the order.

use std::cmp::Reverse;

use http::header::HeaderMap;
use http::{Method, Uri};

use crate::plan::{HostPattern, Part, PathPattern, Route};

/// Routes, most specific first.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// Its place in the plan.
    index: usize,
    route: Route,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// By this route of the plan.
    Route(usize),
    /// Nowhere, but with these methods it would.
    Methods(String),
    Nothing,
}

/// What is compared: greater is more specific.
type Rank = (usize, Vec<u8>, bool, usize);

impl Table {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let rows = routes.iter().enumerate().map(|(index, route)| Row { index, route: route.clone() });
        let mut rows: Vec<Row> = rows.collect();
        // Stable: the earlier of equals stays first.
        rows.sort_by_cached_key(|row| Reverse(rank(&row.route)));
        Self { rows }
    }

    /// `host` without its port, `path` in its normal form.
    pub(crate) fn find(&self, host: &str, path: &str, method: &Method, headers: &HeaderMap) -> Found {
        let mut others: Vec<&Method> = Vec::new();
        for row in &self.rows {
            let route = &row.route;
            let is_here = matches_host(&route.host, host) && matches_path(&route.path, path).is_some();
            if !is_here || !matches_headers(route, headers) {
                continue;
            }
            if matches_method(route, method) {
                return Found::Route(row.index);
            }
            others.extend(&route.methods);
        }
        if others.is_empty() { Found::Nothing } else { Found::Methods(allow(&others)) }
    }
}

fn rank(route: &Route) -> Rank {
    let host = match &route.host {
        HostPattern::Any => 0,
        HostPattern::Suffix(name) => name.len(),
        HostPattern::Exact(_) => usize::MAX,
    };
    let parts = route.path.parts.iter().map(|part| match part {
        Part::Literal(_) => 3,
        Part::Parameter(_) => 2,
    });
    let path = parts.chain([u8::from(!route.path.has_rest)]).collect();
    (host, path, !route.methods.is_empty(), route.headers.len())
}

fn matches_host(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(name) => name.eq_ignore_ascii_case(host),
        HostPattern::Suffix(name) => {
            let (host, name) = (host.as_bytes(), name.as_bytes());
            host.len() > name.len() + 1
                && host[host.len() - name.len() - 1] == b'.'
                && host[host.len() - name.len()..].eq_ignore_ascii_case(name)
        }
    }
}

/// What is left of the path after the parts of the pattern: empty, or beginning with `/`. Nothing if it does not match.
pub(crate) fn matches_path<'a>(pattern: &PathPattern, path: &'a str) -> Option<&'a str> {
    let mut rest = path;
    for part in &pattern.parts {
        let after = rest.strip_prefix('/')?;
        let end = after.find('/').unwrap_or(after.len());
        let (text, after) = after.split_at(end);
        let is_same = match part {
            Part::Literal(literal) => text == literal,
            Part::Parameter(_) => !text.is_empty(),
        };
        if !is_same {
            return None;
        }
        rest = after;
    }
    (rest.is_empty() || (pattern.has_rest && rest.starts_with('/'))).then_some(rest)
}

fn matches_method(route: &Route, method: &Method) -> bool {
    let names = |wanted: &Method| route.methods.contains(wanted);
    route.methods.is_empty() || names(method) || (*method == Method::HEAD && names(&Method::GET))
}

fn matches_headers(route: &Route, headers: &HeaderMap) -> bool {
    route.headers.iter().all(|(name, value)| headers.get_all(name).iter().any(|line| line == value))
}

fn allow(methods: &[&Method]) -> String {
    let mut names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// The target that the upstream sees: path and query, rewritten if anything is to take the place of the pattern.
pub(crate) fn target(pattern: &PathPattern, rewrite: Option<&str>, path: &str, query: Option<&str>) -> Option<Uri> {
    let path = match rewrite {
        None => std::borrow::Cow::Borrowed(path),
        Some(rewrite) => {
            let rest = matches_path(pattern, path)?;
            let base = if rest.is_empty() { rewrite } else { rewrite.trim_end_matches('/') };
            format!("{base}{rest}").into()
        }
    };
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    Uri::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn route(host: &str, path: &str, methods: &[Method]) -> Route {
        let mut route = Route::to(path, "a/b").unwrap();
        route.host = host.parse().unwrap();
        route.methods = methods.to_vec();
        route
    }

    fn find(routes: &[Route], host: &str, path: &str) -> Found {
        Table::new(routes).find(host, path, &Method::GET, &HeaderMap::new())
    }

    #[test]
    fn the_most_specific_host_wins() {
        let routes = ["*", "*.com", "*.example.com", "www.example.com"].map(|host| route(host, "/...", &[]));
        for (host, index) in [
            ("www.example.com", 3),
            ("WWW.Example.COM", 3),
            ("a.example.com", 2),
            ("a.b.example.com", 2),
            ("example.com", 1),
            ("notexample.com", 1),
            ("com", 0),
            ("", 0),
        ] {
            assert_eq!(find(&routes, host, "/"), Found::Route(index), "{host}");
        }
    }

    #[test]
    fn the_most_specific_path_wins_whatever_the_order_of_the_plan() {
        let mut paths = ["/...", "/items/...", "/items", "/items/{id}", "/items/new", "/items/{id}/parts/...", "/"];
        for _ in 0..paths.len() {
            paths.rotate_left(1);
            let routes = paths.map(|path| route("*", path, &[]));
            for (path, expected) in [
                ("/", "/"),
                ("/other", "/..."),
                ("/items", "/items"),
                ("/items/", "/items/..."),
                ("/items/1", "/items/{id}"),
                ("/items/new", "/items/new"),
                ("/items/1/parts", "/items/{id}/parts/..."),
                ("/items/1/parts/2", "/items/{id}/parts/..."),
                ("/items/1/other", "/items/..."),
                ("/itemsx", "/..."),
                ("*", "nothing"),
            ] {
                let index = paths.iter().position(|path| *path == expected);
                assert_eq!(find(&routes, "a", path), index.map_or(Found::Nothing, Found::Route), "{path} in {paths:?}");
            }
        }
    }

    #[test]
    fn a_host_without_the_path_falls_back_on_a_less_specific_one() {
        let routes = [route("a", "/x", &[]), route("*", "/...", &[])];
        assert_eq!(find(&routes, "a", "/y"), Found::Route(1));
    }

    #[test]
    fn a_wrong_method_tells_the_right_ones_of_all_that_match() {
        let routes = [
            route("*", "/a", &[Method::GET]),
            route("*", "/a", &[Method::POST, Method::GET]),
            route("*", "/b", &[Method::PUT]),
        ];
        let table = Table::new(&routes);
        let find = |path: &str, method: Method| table.find("h", path, &method, &HeaderMap::new());
        assert_eq!(find("/a", Method::DELETE), Found::Methods("GET, HEAD, POST".into()));
        assert_eq!(find("/a", Method::HEAD), Found::Route(0));
        assert_eq!(find("/a", Method::POST), Found::Route(1));
        assert_eq!(find("/b", Method::GET), Found::Methods("PUT".into()));
        assert_eq!(find("/c", Method::GET), Found::Nothing);
    }

    #[test]
    fn headers_have_to_be_there_with_their_value() {
        let mut routes = [route("*", "/...", &[]), route("*", "/...", &[])];
        routes[1].headers = vec![(HeaderName::from_static("x-beta"), HeaderValue::from_static("1"))];
        let table = Table::new(&routes);
        let mut headers = HeaderMap::new();
        assert_eq!(table.find("h", "/", &Method::GET, &headers), Found::Route(0));
        headers.append("x-beta", HeaderValue::from_static("0"));
        assert_eq!(table.find("h", "/", &Method::GET, &headers), Found::Route(0));
        headers.append("x-beta", HeaderValue::from_static("1"));
        assert_eq!(table.find("h", "/", &Method::GET, &headers), Found::Route(1));
    }

    #[test]
    fn a_rewrite_takes_the_place_of_what_the_pattern_names() {
        for (pattern, rewrite, path, query, expected) in [
            ("/api/...", "/v1", "/api/x/y", Some("q=1"), "/v1/x/y?q=1"),
            ("/api/...", "/", "/api/x", None, "/x"),
            ("/api/...", "/", "/api", None, "/"),
            ("/api/...", "/v1", "/api", None, "/v1"),
            ("/api/...", "/v1/", "/api/", None, "/v1/"),
            ("/users/{id}/...", "/u", "/users/7/x", None, "/u/x"),
            ("/old", "/new", "/old", Some(""), "/new?"),
        ] {
            let uri = target(&pattern.parse().unwrap(), Some(rewrite), path, query).unwrap();
            assert_eq!(uri.to_string(), expected, "{pattern} -> {rewrite}: {path}");
        }
    }
}
