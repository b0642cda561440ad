//! What a folder says of replicas, and whether a replay agrees: roots that the log has, checkpoints that are kept, votes
//! for which a seat was put out, and the states of replicas that diverged.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use refrain_api::ForensicReport;
use refrain_engine::checkpoint::manifest::Difference;
use refrain_engine::checkpoint::{Captured, CheckpointArchive, ChunkId, ChunkSource as _, Manifest, Root};
use refrain_wire::{Digest, Position, Seat};
use serde::Serialize;

use super::player::{captured, seal};
use super::words;
use super::{Folder, Player, Survey, Turn};
use crate::forensics;

/// Something that is said of a replica after one turn.
pub struct Evidence {
    /// The turn.
    pub position: Position,
    /// Who says it, in words.
    pub source: String,
    claim: Claim,
}

enum Claim {
    /// The root of its state.
    Root(Root),
    /// Its state.
    State { manifest: Box<Manifest>, chunks: CheckpointArchive, with_stack: bool },
    /// What a seat voted, and what the others did.
    Votes { seat: Seat, voted: Digest, agreed: Digest },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The turn.
    pub position: u64,
    /// Who said it.
    pub source: String,
    /// Whether the replay gives the same.
    pub agrees: bool,
    /// What the replay gives, in words.
    pub told: String,
    /// In what the states differ: the replay's first, then what was said.
    pub differences: Vec<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.agrees { "agrees" } else { "DIFFERS" };
        write!(f, "position {}: {}: {verdict}: {}", self.position, self.source, self.told)?;
        self.differences.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// The evidence of a folder, oldest first, and what was found of it so far.
pub struct Verifier {
    left: BTreeMap<Position, Vec<Evidence>>,
    /// What was found, oldest first.
    pub findings: Vec<Finding>,
}

impl Verifier {
    /// All that a folder says of a service.
    ///
    /// # Errors
    /// When a part of it cannot be read.
    pub fn of(folder: &Folder, survey: &Survey) -> anyhow::Result<Self> {
        let mut verifier = Self { left: BTreeMap::new(), findings: Vec::new() };
        for (position, root) in &survey.roots {
            verifier.add(*position, "the agreed root in the log".into(), Claim::Root(*root));
        }
        for out in &survey.quarantined {
            let source = format!("the votes for which seat {} was put out at position {}", out.seat, out.at);
            let votes = Claim::Votes { seat: out.seat, voted: out.voted, agreed: out.agreed };
            verifier.add(out.position, source, votes);
        }
        for (position, root) in folder.checkpoints().list(survey.group)? {
            let manifest = Box::new(folder.checkpoints().manifest(survey.group, (position, root))?);
            let state = Claim::State { manifest, chunks: folder.chunks(), with_stack: true };
            verifier.add(position, "a checkpoint that is kept".into(), state);
        }
        for (path, report) in folder.forensics(&survey.service)? {
            verifier.forensic(&path, &report)?;
        }
        Ok(verifier)
    }

    /// One forensic bundle alone.
    ///
    /// # Errors
    /// When it cannot be read, or has no state.
    pub fn of_forensic(path: &Path, report: &ForensicReport) -> anyhow::Result<Self> {
        let mut verifier = Self { left: BTreeMap::new(), findings: Vec::new() };
        verifier.forensic(path, report)?;
        Ok(verifier)
    }

    fn forensic(&mut self, path: &Path, report: &ForensicReport) -> anyhow::Result<()> {
        let Some(state) = &report.state else { return Ok(()) };
        let manifest = forensics::manifest(path, report).with_context(|| format!("{}", path.display()))?;
        let chunks = CheckpointArchive::open(&path.join(forensics::STATE_FOLDER));
        let source =
            format!("the state of seat {} (incarnation {}), which was put out", report.seat, report.incarnation);
        let claim = Claim::State { manifest: Box::new(manifest), chunks, with_stack: state.with_stack };
        self.add(Position(state.position), source, claim);
        Ok(())
    }

    fn add(&mut self, position: Position, source: String, claim: Claim) {
        self.left.entry(position).or_default().push(Evidence { position, source, claim });
    }

    /// The last position of which something is said and was not looked at.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.left.last_key_value().map(|(position, _)| *position)
    }

    /// Compares a turn with what is said of it.
    ///
    /// # Errors
    /// When the replica cannot be captured.
    pub fn check(&mut self, player: &mut Player<'_>, turn: &Turn) -> anyhow::Result<()> {
        let Some(all) = self.left.remove(&turn.batch.position) else { return Ok(()) };
        for evidence in all {
            let finding = match &evidence.claim {
                Claim::Root(root) => root_of(&*state(player, turn, true)?, *root),
                Claim::Votes { seat, voted, agreed } => votes(turn, *seat, *voted, *agreed),
                Claim::State { manifest, chunks, with_stack } => {
                    compared(&*state(player, turn, *with_stack)?, manifest, chunks)
                }
            };
            let (agrees, told, differences) = finding;
            let (position, source) = (evidence.position.0, evidence.source);
            self.findings.push(Finding { position, source, agrees, told, differences });
        }
        Ok(())
    }
}

type Found = (bool, String, Vec<String>);

/// The state after a turn: as the turn captured it, if it did.
fn state(player: &mut Player<'_>, turn: &Turn, with_stack: bool) -> anyhow::Result<std::sync::Arc<Captured>> {
    match &turn.outcome.captured {
        Some(captured) if with_stack => Ok(std::sync::Arc::clone(captured)),
        _ => Ok(std::sync::Arc::new(captured(player.replica(), with_stack)?)),
    }
}

fn root_of(captured: &Captured, said: Root) -> Found {
    let root = seal(captured, |_, _| {}).root();
    let told = if root == said { format!("root {root}") } else { format!("root {root}, not {said}") };
    (root == said, told, Vec::new())
}

fn votes(turn: &Turn, seat: Seat, voted: Digest, agreed: Digest) -> Found {
    let gives = |digest| turn.outcome.votes.iter().any(|(_, vote)| *vote == digest);
    let told = match (gives(agreed), gives(voted)) {
        (true, _) => format!("the replay votes {agreed} as the others did; seat {seat} voted {voted}"),
        (false, true) => {
            format!("the replay votes {voted} as seat {seat} did, and not {agreed}: the others were wrong")
        }
        (false, false) => format!("the replay votes neither {agreed} as the others nor {voted} as seat {seat}"),
    };
    (gives(agreed), told, Vec::new())
}

/// Our state against another one, page by page.
fn compared(ours: &Captured, theirs: &Manifest, chunks: &CheckpointArchive) -> Found {
    let manifest = seal(ours, |_, _| {});
    let all = manifest.differences(theirs);
    if all.is_empty() {
        return (true, format!("root {}", manifest.root()), Vec::new());
    }
    let told = format!("root {}, not {}", manifest.root(), theirs.root());
    (false, told, words::differences(&all, &bytes_of(&all, ours, chunks)))
}

/// The bytes of the pages that differ, as far as they can be had.
fn bytes_of(all: &[Difference], ours: &Captured, theirs: &CheckpointArchive) -> BTreeMap<ChunkId, Vec<u8>> {
    let pages = all.iter().filter_map(|difference| match difference {
        Difference::Page { chunks: (one, other), .. } => Some([*one, *other]),
        _ => None,
    });
    let wanted: Vec<ChunkId> = pages.flatten().flatten().collect();
    let mut bytes: BTreeMap<ChunkId, Vec<u8>> = BTreeMap::new();
    seal(ours, |id, chunk| {
        if wanted.contains(id) {
            bytes.insert(*id, chunk.to_vec());
        }
    });
    for id in wanted {
        if !bytes.contains_key(&id)
            && let Ok(chunk) = theirs.chunk(&id)
        {
            bytes.insert(id, chunk);
        }
    }
    bytes
}

/// Our two states, page by page.
pub(super) fn differences(one: &Captured, other: &Captured) -> Vec<String> {
    let (a, b) = (seal(one, |_, _| {}), seal(other, |_, _| {}));
    let all = a.differences(&b);
    let mut bytes = bytes_of(&all, one, &CheckpointArchive::open(Path::new("")));
    seal(other, |id, chunk| {
        let wanted = all.iter().any(|difference| match difference {
            Difference::Page { chunks: (_, there), .. } => *there == Some(*id),
            _ => false,
        });
        if wanted {
            bytes.insert(*id, chunk.to_vec());
        }
    });
    words::differences(&all, &bytes)
}
