//! Two folders side by side: the first position at which they part, and in what.
//!
//! Equal entries give equal turns, so the logs are compared before anything runs. Where they are equal a single replay
//! is held against what both folders say of their replicas; where they part, a replica for each goes on from there until
//! the two differ.

use refrain_engine::Platform;
use refrain_wire::Position;
use serde::Serialize;

use super::evidence::differences;
use super::player::captured;
use super::{Finding, Folder, Player, Start, Survey, Turn, Verifier, words};

/// Bytes of the logs that are compared at a time.
const READ_BYTES: usize = 4 << 20;

/// What two folders have of one service.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// `namespace/name`.
    pub service: String,
    /// Entries that are equal.
    pub equal_entries: u64,
    /// The last position up to which the entries are equal.
    pub equal_to: u64,
    /// The first position at which the entries differ, or at which one log has none.
    pub entries_differ_at: Option<u64>,
    /// What is there, in words.
    pub entries: Vec<String>,
    /// The first turn at which the replicas differ.
    pub differs_at: Option<u64>,
    /// In what: the first folder's, then the other's.
    pub differences: Vec<String>,
    /// What the first folder says of replicas, and what the replay says to that.
    pub findings: Vec<Finding>,
    /// The same of the other.
    pub other_findings: Vec<Finding>,
    /// What else is not the same.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        let agree = |all: &[Finding]| all.iter().all(|finding| finding.agrees);
        self.entries_differ_at.is_none()
            && self.differs_at.is_none()
            && agree(&self.findings)
            && agree(&self.other_findings)
    }
}

/// Compares a service in two folders up to and including `to`.
///
/// # Errors
/// When a folder cannot be read or replayed.
pub fn compare(
    (one, survey): (&Folder, &Survey),
    (other, other_survey): (&Folder, &Survey),
    platform: &Platform,
    start: Start,
    to: Position,
) -> anyhow::Result<Comparison> {
    let logs = Logs::compare(one, other, to)?;
    let mut comparison = Comparison {
        service: survey.service.clone(),
        equal_entries: logs.equal,
        equal_to: logs.equal_to.0,
        entries_differ_at: logs.differ_at.map(|position| position.0),
        entries: Vec::new(),
        differs_at: None,
        differences: Vec::new(),
        findings: Vec::new(),
        other_findings: Vec::new(),
        notes: notes((one, survey), (other, other_survey)),
    };
    let mut verifiers = (Verifier::of(one, survey)?, Verifier::of(other, other_survey)?);
    let until = logs.differ_at.map_or(to, |at| Position(at.0 - 1));
    // Where the logs part, the other's replica comes to that place meanwhile.
    let (player, second) = std::thread::scope(|scope| {
        let second = logs
            .differ_at
            .map(|_| scope.spawn(|| play_to((other, other_survey), platform, start, until, |_, _| Ok(()))));
        let first = play_to((one, survey), platform, start, until, |player, turn| {
            verifiers.0.check(player, turn)?;
            verifiers.1.check(player, turn)
        });
        (first, second.map(|thread| thread.join().expect("a replay ends with an error, not with a panic")))
    });
    let mut player = player?;
    if let Some(second) = second {
        comparison.entries = logs.words;
        part(&mut comparison, (&mut player, &mut second?), &mut verifiers, to)?;
    }
    comparison.findings = verifiers.0.findings;
    comparison.other_findings = verifiers.1.findings;
    if comparison.differs_at.is_none() {
        let findings = comparison.findings.iter().chain(&comparison.other_findings);
        let first = findings.filter(|finding| !finding.agrees).min_by_key(|finding| finding.position);
        if let Some(first) = first {
            comparison.differs_at = Some(first.position);
            comparison.differences = first.differences.clone();
        }
    }
    Ok(comparison)
}

/// A replica of a folder after its last turn up to `until`; each turn is shown to `look`.
fn play_to<'a>(
    (folder, survey): (&'a Folder, &Survey),
    platform: &Platform,
    start: Start,
    until: Position,
    mut look: impl FnMut(&mut Player<'a>, &Turn) -> anyhow::Result<()>,
) -> anyhow::Result<Player<'a>> {
    let mut player = Player::begin(folder, survey, platform, start)?;
    while player.peek()?.is_some_and(|next| next <= until) {
        let Some(turn) = player.play()? else { break };
        look(&mut player, &turn)?;
    }
    Ok(player)
}

/// Both go on until they differ, or one of them has nothing more.
fn part(
    comparison: &mut Comparison,
    (one, other): (&mut Player<'_>, &mut Player<'_>),
    verifiers: &mut (Verifier, Verifier),
    to: Position,
) -> anyhow::Result<()> {
    loop {
        let nexts = (one.peek()?.filter(|next| *next <= to), other.peek()?.filter(|next| *next <= to));
        let (Some(_), Some(_)) = nexts else {
            if nexts != (None, None) {
                let next = nexts.0.or(nexts.1).map_or(0, |next| next.0);
                let which = if nexts.0.is_none() { "first" } else { "other" };
                comparison.differs_at.get_or_insert(next);
                comparison.differences.push(format!("the {which} folder has no turn from position {next} on"));
            }
            return Ok(());
        };
        let (Some(a), Some(b)) = (one.play()?, other.play()?) else { return Ok(()) };
        verifiers.0.check(one, &a)?;
        verifiers.1.check(other, &b)?;
        let mut found = turns(&a, &b);
        if found.is_empty() && a.batch.records == b.batch.records && a.batch.time == b.batch.time {
            continue;
        }
        let states = (captured(one.replica(), true)?, captured(other.replica(), true)?);
        found.extend(differences(&states.0, &states.1));
        if !found.is_empty() {
            comparison.differs_at = Some(a.batch.position.0.min(b.batch.position.0));
            comparison.differences = found;
            return Ok(());
        }
    }
}

/// In what two turns differ, besides the states that they leave.
fn turns(one: &Turn, other: &Turn) -> Vec<String> {
    let mut out = Vec::new();
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            out.push(format!("{what}: {a}, and {b}"));
        }
    };
    let (a, b) = (&one.batch, &other.batch);
    differ("position of the turn", a.position.to_string(), b.position.to_string());
    differ("log time", words::time(a.time), words::time(b.time));
    let (given, also) = (words::batch(a), words::batch(b));
    for at in 0..given.len().max(also.len()) {
        let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "nothing".to_owned());
        differ("given", line(&given), line(&also));
    }
    let effects = |turn: &Turn| turn.outcome.effects.effects.iter().map(words::effect).collect::<Vec<_>>();
    let (did, also) = (effects(one), effects(other));
    for at in 0..did.len().max(also.len()) {
        let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "nothing".to_owned());
        differ("effect", line(&did), line(&also));
    }
    differ("fuel", one.outcome.fuel.to_string(), other.outcome.fuel.to_string());
    let digest = |turn: &Turn| turn.outcome.after.short().to_string();
    differ("running digest", digest(one), digest(other));
    out
}

fn notes((one, survey): (&Folder, &Survey), (other, also): (&Folder, &Survey)) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |what: &str, a: String, b: String| {
        if a != b {
            notes.push(format!("{what}: {a}, and {b}"));
        }
    };
    let (a, b) = (one.log(), other.log());
    note("generation of the log", a.generation().to_string(), b.generation().to_string());
    note("group", survey.group.to_string(), also.group.to_string());
    note("engine key", survey.engine.to_string(), also.engine.to_string());
    let bundle = |survey: &Survey| blake3::Hash::from_bytes(survey.bundle).to_string();
    note("bundle", bundle(survey), bundle(also));
    for (folder, name) in [(a, "first"), (b, "other")] {
        if folder.certain() < folder.last() {
            let (certain, last) = (folder.certain(), folder.last());
            notes.push(format!(
                "the {name} folder's member had entries up to {last}, and knew them to be committed up to {certain}"
            ));
        }
    }
    notes
}

/// How far two logs are equal.
struct Logs {
    equal: u64,
    equal_to: Position,
    differ_at: Option<Position>,
    words: Vec<String>,
}

impl Logs {
    fn compare(one: &Folder, other: &Folder, to: Position) -> anyhow::Result<Self> {
        let mut logs = Self { equal: 0, equal_to: Position(0), differ_at: None, words: Vec::new() };
        let from = one.log().first().max(other.log().first());
        let (mut a, mut b) = (Entries::of(one, from), Entries::of(other, from));
        loop {
            match (a.next(to)?, b.next(to)?) {
                (None, None) => return Ok(logs),
                (Some(mine), Some(theirs)) if mine == theirs => {
                    (logs.equal, logs.equal_to) = (logs.equal + 1, mine.0);
                }
                (mine, theirs) => {
                    let position = |entry: &Option<Entry>| entry.as_ref().map(|(position, _)| *position);
                    let all = [position(&mine), position(&theirs)];
                    logs.differ_at = all.into_iter().flatten().min();
                    logs.words =
                        [("first", mine), ("other", theirs)].map(|(name, entry)| entry_words(name, entry)).into();
                    return Ok(logs);
                }
            }
        }
    }
}

type Entry = (Position, bytes::Bytes);

fn entry_words(name: &str, entry: Option<Entry>) -> String {
    match entry {
        None => format!("the {name} log has no more entries"),
        Some((position, bytes)) => {
            let digest = refrain_wire::Digest::of(&bytes);
            format!("the {name} log has an entry of {} bytes at position {position}, digest {digest}", bytes.len())
        }
    }
}

struct Entries<'a> {
    folder: &'a Folder,
    next: Position,
    read: std::collections::VecDeque<Entry>,
}

impl<'a> Entries<'a> {
    fn of(folder: &'a Folder, from: Position) -> Self {
        Self { folder, next: from, read: std::collections::VecDeque::new() }
    }

    fn next(&mut self, to: Position) -> anyhow::Result<Option<Entry>> {
        if self.read.is_empty() {
            self.read = self.folder.log().read(self.next, READ_BYTES)?.into();
        }
        let next = self.read.pop_front().filter(|(position, _)| *position <= to);
        if let Some((position, _)) = &next {
            self.next = position.next();
        }
        Ok(next)
    }
}
