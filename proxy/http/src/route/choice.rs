//! Which release of a route's targets a request means: by the version that it names, else by the weights. A release of
//! which nobody is well leaves its share to the others.

use semver::Version;

use super::Wanted;
use crate::answer::Fault;
use crate::plan::Target;

/// What is known of services: the versions that run.
pub(crate) trait Catalogue {
    /// What a release is known by here.
    type Release: Clone;
    /// All releases of a service, the highest version first.
    fn releases<'a>(&'a self, service: &str) -> impl Iterator<Item = (&'a Version, &'a Self::Release)>;
    /// Whether anybody takes requests of it.
    fn is_well(&self, release: &Self::Release) -> bool;
}

/// `random` decides between targets by their weights.
pub(crate) fn choose<C: Catalogue>(
    catalogue: &C,
    targets: &[Target],
    wanted: Option<&Wanted>,
    random: u32,
) -> Result<C::Release, Fault> {
    match wanted {
        Some(wanted) => by_version(catalogue, targets, wanted),
        None => {
            let drawn = by_weight(targets, random, |_| true).and_then(|target| meant(catalogue, target));
            let is_well = |release: &C::Release| targets.len() == 1 || catalogue.is_well(release);
            let release = drawn.filter(|release| is_well(release)).or_else(|| {
                let has_well = |target: &Target| meant(catalogue, target).is_some_and(is_well);
                // Another point: the first one was among those of the one that is ill.
                by_weight(targets, random.rotate_left(16), has_well).and_then(|target| meant(catalogue, target))
            });
            release.or(drawn).cloned().ok_or(Fault::NoUpstream { retry_after_s: 1 })
        }
    }
}

/// The release that a target leads to, if it runs.
fn meant<'a, C: Catalogue>(catalogue: &'a C, target: &Target) -> Option<&'a C::Release> {
    let found = match &target.version {
        Some(version) => catalogue.releases(&target.service).find(|(running, _)| *running == version),
        None => default_release(catalogue, &target.service),
    };
    found.map(|(_, release)| release)
}

/// The highest version over all services that the targets name.
fn by_version<C: Catalogue>(catalogue: &C, targets: &[Target], wanted: &Wanted) -> Result<C::Release, Fault> {
    let releases = targets.iter().flat_map(|target| catalogue.releases(&target.service));
    let matching = releases.filter(|(version, _)| wanted.takes(version));
    matching.max_by_key(|(version, _)| *version).map(|(_, release)| release.clone()).ok_or(Fault::VersionUnknown)
}

fn default_release<'a, C: Catalogue>(catalogue: &'a C, service: &str) -> Option<(&'a Version, &'a C::Release)> {
    let stable = catalogue.releases(service).find(|(version, _)| version.pre.is_empty());
    stable.or_else(|| catalogue.releases(service).next())
}

fn by_weight(targets: &[Target], random: u32, counts: impl Fn(&Target) -> bool) -> Option<&Target> {
    if let [target] = targets {
        return Some(target);
    }
    let counted = || targets.iter().filter(|target| target.weight > 0 && counts(target));
    let total: u32 = counted().map(|target| u32::from(target.weight)).sum();
    let mut point = random.checked_rem(total)?;
    counted().find(|target| {
        let weight = u32::from(target.weight);
        let is_here = point < weight;
        point = point.saturating_sub(weight);
        is_here
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// Versions by service, highest first, and those of which nobody is well; a release is its place.
    struct Versions(Vec<(&'static str, Vec<Placed>)>, Vec<(usize, usize)>);

    type Placed = (Version, (usize, usize));

    impl Catalogue for Versions {
        type Release = (usize, usize);

        fn releases<'a>(&'a self, service: &str) -> impl Iterator<Item = (&'a Version, &'a (usize, usize))> {
            let found = self.0.iter().find(|(name, _)| *name == service);
            found.into_iter().flat_map(|(_, versions)| versions.iter().map(|(version, place)| (version, place)))
        }

        fn is_well(&self, release: &(usize, usize)) -> bool {
            !self.1.contains(release)
        }
    }

    fn versions() -> Versions {
        let list = |service: usize, texts: &[&str]| {
            texts.iter().enumerate().map(|(index, text)| (text.parse().unwrap(), (service, index))).collect()
        };
        let (one, two) = (["2.0.0-rc.1", "1.1.0", "1.0.0"], ["0.2.0-b", "0.1.0-a"]);
        Versions(vec![("a/one", list(0, &one)), ("a/two", list(1, &two))], Vec::new())
    }

    fn target(service: &str, version: Option<&str>, weight: u16) -> Target {
        Target { service: service.into(), version: version.map(|text| text.parse().unwrap()), weight, rewrite: None }
    }

    fn choose_by(targets: &[Target], wanted: Option<&'static str>, random: u32) -> Result<(usize, usize), Fault> {
        let wanted = wanted.map(|text| Wanted::parse(&HeaderValue::from_static(text)).unwrap());
        choose(&versions(), targets, wanted.as_ref(), random)
    }

    #[test]
    fn without_a_version_the_highest_that_is_no_pre_release_is_meant() {
        assert_eq!(choose_by(&[target("a/one", None, 1)], None, 0), Ok((0, 1)));
        assert_eq!(choose_by(&[target("a/two", None, 1)], None, 0), Ok((1, 0)));
    }

    #[test]
    fn a_named_version_is_served_whatever_the_weights() {
        let targets = [target("a/one", Some("1.1.0"), 100), target("a/one", Some("1.0.0"), 0)];
        assert_eq!(choose_by(&targets, Some("1.0.0"), 0), Ok((0, 2)));
        assert_eq!(choose_by(&targets, Some("1"), 0), Ok((0, 1)));
        assert_eq!(choose_by(&targets, Some("2.0.0-rc.1"), 0), Ok((0, 0)));
        assert_eq!(choose_by(&targets, Some("2.0.0"), 0), Err(Fault::VersionUnknown));
        assert_eq!(choose_by(&targets, Some("0.1.0-a"), 0), Err(Fault::VersionUnknown));
    }

    #[test]
    fn weights_divide_all_points_exactly() {
        for (old, new) in [(100, 0), (90, 10), (1, 99), (0, 100)] {
            let targets = [target("a/one", Some("1.0.0"), old), target("a/one", Some("1.1.0"), new)];
            let hits = (0..100).filter(|point| choose_by(&targets, None, *point) == Ok((0, 1))).count();
            assert_eq!(hits, usize::from(new));
        }
    }

    #[test]
    fn a_version_of_which_nobody_is_well_leaves_its_share_to_the_others() {
        let targets = [target("a/one", Some("1.0.0"), 50), target("a/one", Some("1.1.0"), 50)];
        let ill = |ill: &[(usize, usize)], point| {
            choose(&Versions(versions().0, ill.to_vec()), &targets, None, point).unwrap()
        };
        for point in 0..100 {
            assert_eq!(ill(&[(0, 1)], point), (0, 2));
            assert_eq!(ill(&[(0, 2)], point), (0, 1));
        }
        assert_eq!(ill(&[(0, 1), (0, 2)], 0), (0, 2), "whoever is drawn says why");
        let dark = [target("a/one", Some("1.0.0"), 0), target("a/one", Some("1.1.0"), 100)];
        let none_is_well = Versions(versions().0, vec![(0, 1)]);
        assert_eq!(choose(&none_is_well, &dark, None, 7), Ok((0, 1)), "no share is no share");
    }

    #[test]
    fn a_route_to_nothing_is_refused() {
        assert_eq!(choose_by(&[], None, 0), Err(Fault::NoUpstream { retry_after_s: 1 }));
        assert_eq!(choose_by(&[target("a/none", None, 1)], None, 0), Err(Fault::NoUpstream { retry_after_s: 1 }));
    }
}
