//! Rows that are changed at random, from a seed: `REFRAIN_MUTATIONS=100000` makes so many, `REFRAIN_MUTATION_SEED` begins
//! elsewhere.
//!
//! What has to hold: the upstream sees what the front end counted, one request for each answer and nothing after it; as
//! far as both pass requests on they are the same requests; and when nginx answers fewer it has closed the connection,
//! not taken the bytes for something else.

use crate::lane::Told;
use crate::rows;
use crate::table::ask_all;

/// Unless told otherwise.
const COUNT: u64 = 400;
const SEED: u64 = 1;

/// What is put in.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"0",
    b"1",
    b"f",
    b"\xff",
    b"\x0b",
    b"/",
    b"%2f",
    b"..",
    b"\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"3\r\nabc\r\n",
    b"GET /in HTTP/1.1\r\nHost: in\r\n\r\n",
    b"POST /in HTTP/1.1\r\nHost: in\r\nContent-Length: 2\r\n\r\nab",
    b"X: y\r\n",
    b" folded\r\n",
];

fn mutated(random: &mut fastrand::Rng, all: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = all[random.usize(..all.len())].clone();
    if random.u8(..4) == 0 {
        bytes.extend_from_slice(&all[random.usize(..all.len())]);
    }
    for _ in 0..random.usize(1..=3) {
        let at = random.usize(..=bytes.len());
        let piece = PIECES[random.usize(..PIECES.len())];
        match random.u8(..6) {
            0 => drop(bytes.splice(at..at, piece.iter().copied())),
            1 => drop(bytes.splice(at..(at + piece.len()).min(bytes.len()), piece.iter().copied())),
            2 => drop(bytes.drain(at..(at + random.usize(1..4)).min(bytes.len()))),
            3 => insert_line(&mut bytes, at, piece),
            4 => double_line(&mut bytes, at),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
        }
    }
    bytes
}

/// Puts a piece where the next line begins.
fn insert_line(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let at = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
    bytes.splice(at..at, piece.iter().copied());
}

fn double_line(bytes: &mut Vec<u8>, at: usize) {
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
    let line = bytes[start..end].to_vec();
    bytes.splice(start..start, line);
}

fn fault(front: &Told, nginx: &Told) -> Option<&'static str> {
    let (passed, other) = (front.by_answer(), nginx.by_answer());
    let counted = front.whole().iter().map(|seen| format!("{} {}", seen.method, seen.body.len())).collect::<Vec<_>>();
    if counted != front.answered {
        return Some("what the upstream saw is not what was answered");
    }
    let both = passed.iter().zip(&other).filter_map(|(front, nginx)| front.zip(*nginx));
    if both.into_iter().any(|(front, nginx)| front.method != nginx.method || front.body != nginx.body) {
        return Some("two read one request otherwise");
    }
    let goes_on = passed.iter().skip(other.len()).any(Option::is_some);
    (goes_on && !nginx.says_close).then_some("it passes on what nginx takes for something else")
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn no_change_of_a_byte_makes_an_upstream_see_what_was_not_counted() {
    let written = rows::ALL.iter().copied().flatten().map(|(row, _)| rows::bytes(row));
    let all: Vec<Vec<u8>> =
        written.chain(rows::long().into_iter().map(|(row, _)| row).filter(|row| row.len() < 4096)).collect();
    let first = number("REFRAIN_MUTATION_SEED", SEED) << 32;
    let seeds: Vec<u64> = (0..number("REFRAIN_MUTATIONS", COUNT)).map(|seed| first + seed).collect();
    let faults = ask_all(&seeds, |lane, seed| {
        let bytes = rows::with_last(&mutated(&mut fastrand::Rng::with_seed(*seed), &all));
        let (front, nginx) = lane.ask(&bytes);
        let fault = fault(&front, &nginx)?;
        Some(format!("{fault}: {}\n  front {front:?}\n  nginx {nginx:?}", bytes.escape_ascii()))
    });
    let Some(faults) = faults else { return };
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), seeds.len(), faults.join("\n"));
}
