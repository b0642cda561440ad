//! A scrape of `/metrics`, as Prometheus makes it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use refrain_tests::http::HttpClient;
use refrain_tests::server::Server;

/// What a scrape brought.
#[derive(Debug)]
pub struct Exposition {
    /// The kind of each metric.
    pub kinds: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

/// Scrapes a server, without a token, and checks the form of what it says.
pub fn scrape(server: &Server) -> Result<Exposition> {
    let address = server.admin_address()?;
    let mut client = HttpClient::connect(address)?;
    client.send(format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n"))?;
    let reply = client.reply(false)?;
    let kind = reply.header("content-type").unwrap_or_default();
    ensure!(reply.status == 200 && kind.starts_with("text/plain; version=0.0.4"), "{} {kind}", reply.status);
    Exposition::parse(std::str::from_utf8(reply.body())?)
}

impl Exposition {
    fn parse(text: &str) -> Result<Self> {
        let (mut kinds, mut values, mut helped) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').context("a HELP without words")?;
                ensure!(words.len() > 4, "{line}");
                helped.insert(name.to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').context("a TYPE without a kind")?;
                kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').with_context(|| format!("no value in {line:?}"))?;
                values.insert(series.to_owned(), value.parse()?);
            }
        }
        ensure!(kinds.keys().all(|name| helped.contains(name)), "a metric has no HELP");
        let found = Self { kinds, values };
        found.histograms_rise()?;
        Ok(found)
    }

    /// The value of a series.
    pub fn value(&self, series: &str) -> Result<f64> {
        self.values.get(series).copied().with_context(|| format!("{series} is not among {:#?}", self.values.keys()))
    }

    /// The buckets of each histogram count what is at most so large, and the last is all.
    fn histograms_rise(&self) -> Result<()> {
        for (name, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let counts = self.values.iter().filter(|(series, _)| series.starts_with(&format!("{name}_count")));
            for (series, count) in counts {
                let labels = series.trim_start_matches(&format!("{name}_count")).trim_matches(['{', '}']);
                let of = |series: &str| {
                    let inside = series.strip_prefix(&format!("{name}_bucket{{"))?.strip_suffix('}')?;
                    let (bound, rest) = match inside.strip_prefix("le=\"") {
                        Some(inside) => inside.split_once('"')?,
                        None => {
                            let (rest, bound) = inside.split_once(",le=\"")?;
                            (bound.strip_suffix('"')?, rest)
                        }
                    };
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                    (rest == labels).then_some(bound)
                };
                let mut buckets: Vec<(f64, f64)> =
                    self.values.iter().filter_map(|(series, count)| Some((of(series)?, *count))).collect();
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                ensure!(buckets.is_sorted_by_key(|(_, count)| *count), "{series}: {buckets:?}");
                ensure!(buckets.last() == Some(&(f64::INFINITY, *count)), "{series} is {count}: {buckets:?}");
            }
        }
        Ok(())
    }
}
