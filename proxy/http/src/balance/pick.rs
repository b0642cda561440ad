//! The choice between upstreams: the less busy of two taken at random. Pure.
//!
//! Upstreams in this process come first, as long as one serves at once. Ejected ones are taken only when there is no other:
//! then a try is better than a refusal, and the answer is true either way.

/// What is known of an upstream at the moment of choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) outstanding: u32,
    pub(crate) limit: u32,
    /// It is in this process, and a request would not wait there.
    pub(crate) is_first: bool,
    pub(crate) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Good,
    /// Failed several times in a row, not long ago.
    Ejected,
    /// Draining, not ready, or tried already.
    Out,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    Take(usize),
    /// All that could serve are at their limits.
    Full,
    /// None could serve.
    Nobody,
}

/// Chooses by two random numbers.
pub(crate) fn pick(candidates: &[Candidate], random: [u32; 2]) -> Pick {
    let is_any = |standing| candidates.iter().any(|candidate| candidate.standing == standing);
    let standing = match (is_any(Standing::Good), is_any(Standing::Ejected)) {
        (true, _) => Standing::Good,
        (false, true) => Standing::Ejected,
        (false, false) => return Pick::Nobody,
    };
    let has_room = |candidate: &Candidate| candidate.standing == standing && candidate.outstanding < candidate.limit;
    let is_first = candidates.iter().any(|candidate| candidate.is_first && has_room(candidate));
    let is_open = |candidate: &Candidate| has_room(candidate) && (candidate.is_first || !is_first);
    let open = candidates.iter().filter(|candidate| is_open(candidate)).count();
    if open == 0 {
        return Pick::Full;
    }
    let places = candidates.iter().enumerate().filter(|(_, candidate)| is_open(candidate)).map(|(index, _)| index);
    let [first, second] = two_of(open, random);
    let at = |place: usize| places.clone().nth(place).expect("there are so many");
    let (first, second) = (at(first), at(second));
    let is_less = candidates[second].outstanding < candidates[first].outstanding;
    Pick::Take(if is_less { second } else { first })
}

/// Two different places below `count`, if there are two.
fn two_of(count: usize, random: [u32; 2]) -> [usize; 2] {
    let first = random[0] as usize % count;
    if count == 1 {
        return [first, first];
    }
    let second = random[1] as usize % (count - 1);
    [first, if second >= first { second + 1 } else { second }]
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn candidate(outstanding: u32, limit: u32, is_first: bool, standing: Standing) -> Candidate {
        Candidate { outstanding, limit, is_first, standing }
    }

    /// All choices over all random numbers.
    fn picks(candidates: &[Candidate]) -> Vec<Pick> {
        let mut picks: Vec<Pick> = Vec::new();
        for random in (0..12).flat_map(|a| (0..12).map(move |b| [a, b])) {
            let pick = pick(candidates, random);
            if !picks.contains(&pick) {
                picks.push(pick);
            }
        }
        picks.sort_by_key(|pick| if let Pick::Take(index) = pick { *index } else { usize::MAX });
        picks
    }

    use Standing::{Ejected, Good, Out};

    #[test]
    fn the_busiest_is_never_taken() {
        let candidates = [3, 1, 2].map(|outstanding| candidate(outstanding, 9, false, Good));
        assert_eq!(picks(&candidates), [Pick::Take(1), Pick::Take(2)]);
    }

    #[test]
    fn equals_are_all_taken() {
        let candidates = [candidate(0, 9, false, Good); 3];
        assert_eq!(picks(&candidates), [Pick::Take(0), Pick::Take(1), Pick::Take(2)]);
    }

    #[test]
    fn this_process_comes_first_as_long_as_it_has_room() {
        let mut candidates = [candidate(0, 9, false, Good), candidate(8, 9, true, Good)];
        assert_eq!(picks(&candidates), [Pick::Take(1)]);
        candidates[1].outstanding = 9;
        assert_eq!(picks(&candidates), [Pick::Take(0)]);
    }

    #[test]
    fn where_requests_would_wait_is_one_of_two() {
        let mut candidates = [candidate(0, 99, false, Good), candidate(8, 99, false, Good)];
        assert_eq!(picks(&candidates), [Pick::Take(0)]);
        candidates[0].outstanding = 9;
        assert_eq!(picks(&candidates), [Pick::Take(1)]);
    }

    #[test]
    fn an_ejected_one_is_taken_only_when_there_is_no_other() {
        let mut candidates = [candidate(0, 9, true, Ejected), candidate(9, 9, false, Good)];
        assert_eq!(picks(&candidates), [Pick::Full]);
        candidates[1].standing = Out;
        assert_eq!(picks(&candidates), [Pick::Take(0)]);
        candidates[0].standing = Out;
        assert_eq!(picks(&candidates), [Pick::Nobody]);
        assert_eq!(picks(&[]), [Pick::Nobody]);
    }
}
