//! How many shards there are, and which service is to be on which.
//!
//! A service that is nowhere yet goes to the shard that the operator names, else to one that its name chooses among all
//! there are. From then on the log of shard 0 says where it is, and no configuration moves it: so the number of shards
//! may grow. What a shard has in the data folder is told here too.

use std::io;
use std::path::{Path, PathBuf};

use refrain_wire::ShardId;
use serde::{Deserialize, Serialize};

/// The most shards of a cluster. Each costs every node a log, two threads, and its part of the workers.
pub const MAX_SHARDS: u16 = 64;

/// Where the shards besides the first are in a data folder.
const SHARDS_FOLDER: &str = "shards";

/// A service, and the shard that it is to be on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceAt {
    /// `namespace/name`.
    pub service: String,
    /// The shard.
    pub shard: u16,
}

impl PlaceAt {
    /// Reads `NAMESPACE/NAME=SHARD`.
    fn parse(text: &str) -> Option<Self> {
        let (service, shard) = text.split_once('=')?;
        let at = Self { service: service.to_owned(), shard: shard.parse().ok()? };
        at.is_named().then_some(at)
    }

    fn is_named(&self) -> bool {
        let mut parts = self.service.split('/');
        let named = parts.by_ref().take(2).filter(|part| !part.is_empty()).count() == 2;
        named && parts.next().is_none()
    }
}

/// The shards of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shards {
    /// How many there are.
    #[serde(rename = "shards")]
    pub count: u16,
    /// Where services are to be that are nowhere yet, instead of where their names put them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub place: Vec<PlaceAt>,
}

impl Default for Shards {
    fn default() -> Self {
        Self { count: 1, place: Vec::new() }
    }
}

impl Shards {
    /// From what the file says and flags, which win.
    pub(super) fn merge(
        (count, place): (Option<u16>, Vec<PlaceAt>),
        flags: (Option<u16>, &[String]),
        faults: &mut Vec<String>,
    ) -> Self {
        let mut all: Vec<PlaceAt> = Vec::new();
        for flag in flags.1 {
            match PlaceAt::parse(flag) {
                Some(at) => all.push(at),
                None => faults.push(format!("place: {flag:?} is not like examples/echo=1")),
            }
        }
        let flagged = all.clone();
        all.extend(place.into_iter().filter(|at| flagged.iter().all(|flag| flag.service != at.service)));
        Self { count: flags.0.or(count).unwrap_or(1), place: all }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.count).map(ShardId)
    }

    /// The shard that the operator names for a service.
    #[must_use]
    pub fn named(&self, service: &str) -> Option<ShardId> {
        self.place.iter().find(|at| at.service == service).map(|at| ShardId(at.shard))
    }

    /// Where a service goes that is nowhere yet.
    #[must_use]
    pub fn choose(&self, service: &str) -> ShardId {
        let chosen = || {
            let hash = blake3::Hasher::new().update(b"refrain shard ").update(service.as_bytes()).finalize();
            let number = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"));
            ShardId((number % u64::from(self.count)) as u16)
        };
        self.named(service).unwrap_or_else(chosen)
    }

    pub(super) fn check(&self, faults: &mut Vec<String>) {
        if !(1..=MAX_SHARDS).contains(&self.count) {
            faults.push(format!("shards: {} is not in 1 to {MAX_SHARDS}", self.count));
        }
        for (nth, at) in self.place.iter().enumerate() {
            let service = &at.service;
            if !at.is_named() {
                faults.push(format!("place: {service:?} is no service like examples/echo"));
            }
            if at.shard >= self.count {
                let last = self.count.saturating_sub(1);
                faults.push(format!("place: {service} is to be on shard {}, and the last one is {last}", at.shard));
            }
            if self.place[..nth].iter().any(|other| other.service == *service) {
                faults.push(format!("place: {service} is there twice"));
            }
        }
    }
}

/// The folder of a shard's log and checkpoints in a data folder.
#[must_use]
pub fn shard_dir(data_dir: &Path, shard: ShardId) -> PathBuf {
    match shard {
        ShardId::FIRST => data_dir.to_owned(),
        shard => data_dir.join(SHARDS_FOLDER).join(shard.to_string()),
    }
}

/// The shards besides the first that a data folder has.
///
/// # Errors
/// When the folder cannot be read.
pub fn further_shards(data_dir: &Path) -> io::Result<Vec<ShardId>> {
    let entries = match std::fs::read_dir(data_dir.join(SHARDS_FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse().ok()).map(ShardId));
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(count: u16, place: &[(&str, u16)]) -> Shards {
        let place = place.iter().map(|(service, shard)| PlaceAt { service: (*service).into(), shard: *shard });
        Shards { count, place: place.collect() }
    }

    #[test]
    fn a_name_always_chooses_the_same_shard_and_names_spread_over_all() {
        let four = shards(4, &[]);
        let mut counts = [0; 4];
        for n in 0..1000 {
            let shard = four.choose(&format!("examples/service-{n}"));
            assert_eq!(shard, four.choose(&format!("examples/service-{n}")));
            counts[usize::from(shard.0)] += 1;
        }
        assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
        // What nodes of all versions and machines must agree on.
        let chosen = ["examples/echo", "examples/kv-server", "examples/image-server"].map(|name| four.choose(name).0);
        assert_eq!(chosen, CHOSEN_OF_FOUR);
        assert_eq!(shards(1, &[]).choose("examples/echo"), ShardId::FIRST);
    }

    const CHOSEN_OF_FOUR: [u16; 3] = [0, 0, 2];

    #[test]
    fn what_the_operator_names_wins_over_the_name() {
        let four = shards(4, &[("examples/echo", 3)]);
        assert_eq!((four.choose("examples/echo"), four.named("examples/echo")), (ShardId(3), Some(ShardId(3))));
        assert_eq!(four.named("examples/kv-server"), None);
    }

    #[test]
    fn a_flag_wins_over_the_file_and_nonsense_is_told() {
        let file = vec![PlaceAt { service: "a/b".into(), shard: 1 }, PlaceAt { service: "a/c".into(), shard: 1 }];
        let mut faults = Vec::new();
        let flags = ["a/b=2", "a=1", "a/b/c=1", "a/d=x"].map(str::to_owned);
        let merged = Shards::merge((Some(2), file), (Some(3), &flags), &mut faults);
        assert_eq!(merged, shards(3, &[("a/b", 2), ("a/c", 1)]));
        assert_eq!(faults.len(), 3, "{faults:#?}");
    }

    #[test]
    fn shards_beyond_the_limit_or_the_last_and_services_named_twice_are_told() {
        let faults = |shards: Shards| {
            let mut faults = Vec::new();
            shards.check(&mut faults);
            faults.len()
        };
        assert_eq!((faults(shards(0, &[])), faults(shards(MAX_SHARDS + 1, &[]))), (1, 1));
        assert_eq!((faults(shards(MAX_SHARDS, &[])), faults(shards(1, &[("a/b", 0)]))), (0, 0));
        assert_eq!(faults(shards(2, &[("a/b", 2), ("a/c", 1), ("a/c", 0), ("a", 0)])), 3);
    }
}
