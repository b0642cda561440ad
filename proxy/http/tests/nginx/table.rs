//! The written rows, each beside nginx.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::lane::{Lane, Told};
use crate::rows::{self, Is};
use crate::upstream::Seen;

/// Rows that are asked at once, each with servers of its own: most of the time is waiting for what does not come.
const LANES: usize = 4;

/// How two differ, without the reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Same,
    Stricter,
    Otherwise,
    Laxer,
}

impl From<Is> for Found {
    fn from(is: Is) -> Self {
        match is {
            Is::Same => Self::Same,
            Is::Stricter(_) => Self::Stricter,
            Is::Otherwise(_) => Self::Otherwise,
            Is::Laxer(_) => Self::Laxer,
        }
    }
}

fn compare(front: &Told, nginx: &Told) -> Found {
    let (front, nginx) = (front.whole(), nginx.whole());
    match (is_among(&front, &nginx), is_among(&nginx, &front)) {
        (true, true) => Found::Same,
        (true, false) => Found::Stricter,
        (false, true) => Found::Laxer,
        (false, false) => Found::Otherwise,
    }
}

/// All of the few are among the many, in the same order.
fn is_among(few: &[&Seen], many: &[&Seen]) -> bool {
    let mut rest = many.iter();
    few.iter().all(|one| rest.any(|other| is_same(one, other)))
}

/// Targets are the same when they are so without their escapes, which nginx writes anew and the front end leaves.
fn is_same(front: &Seen, nginx: &Seen) -> bool {
    front.method == nginx.method
        && front.host == nginx.host
        && front.body == nginx.body
        && unescaped(&front.target) == unescaped(&nginx.target)
}

/// Path without escapes, query as it is.
fn unescaped(target: &str) -> (Vec<u8>, Option<&str>) {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let [first, after @ ..] = rest {
        let escape = rest.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escape = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%');
        bytes.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { &rest[3..] } else { after };
    }
    (bytes, query)
}

/// Asks all inputs over some lanes; what is wrong with each. None where there is no nginx.
pub fn ask_all<T: Sync>(inputs: &[T], check: impl Fn(&Lane, &T) -> Option<String> + Sync) -> Option<Vec<String>> {
    let lanes: Vec<Lane> = (0..LANES).map(|_| Lane::start()).collect::<Option<_>>()?;
    let next = AtomicUsize::new(0);
    let work = |lane: Lane| {
        let mut faults = Vec::new();
        while let Some(input) = inputs.get(next.fetch_add(1, Relaxed)) {
            faults.extend(check(&lane, input));
        }
        faults
    };
    let work = &work;
    Some(std::thread::scope(|scope| {
        let running: Vec<_> = lanes.into_iter().map(|lane| scope.spawn(move || work(lane))).collect();
        running.into_iter().flat_map(|lane| lane.join().expect("a lane ends")).collect()
    }))
}

#[test]
fn what_differs_from_nginx_is_in_the_table_with_its_reason() {
    let written = rows::ALL.iter().copied().flatten().map(|(row, is)| (rows::bytes(row), *is));
    let all: Vec<(Vec<u8>, Is)> = written.chain(rows::long()).collect();
    let faults = ask_all(&all, |lane, (row, is)| {
        let (front, nginx) = lane.ask(&rows::with_last(row));
        let found = compare(&front, &nginx);
        let shown = || row[..row.len().min(150)].escape_ascii().to_string();
        (found != Found::from(*is)).then(|| format!("{found:?}: {}\n  front {front:?}\n  nginx {nginx:?}", shown()))
    });
    let Some(faults) = faults else { return };
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), all.len(), faults.join("\n"));
}
