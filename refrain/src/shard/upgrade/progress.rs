//! How far an upgrade is, as this node knows.

use std::collections::BTreeMap;

use refrain_api::{EnginePreparation, PreparationStep, UpgradeState, UpgradeStatus};
use refrain_service::BundleDigest;
use refrain_wire::message::uplink::Preparation;
use refrain_wire::{NodeId, Position};

use crate::service::Service;

/// Where it stands.
#[derive(Debug)]
enum State {
    /// Engines fetch and compile it.
    Preparing,
    /// It is in the log.
    Ordered(Position),
    /// The replicas run it.
    Done(Position),
    /// It did not start, and why.
    RolledBack(Position, String),
    /// It was never ordered, and why.
    Refused(String),
}

/// One upgrade.
#[derive(Debug)]
pub(in crate::shard) struct Upgrade {
    pub(super) bundle: [u8; 32],
    /// What it is an upgrade to: `namespace/name@version`, or the digest as long as nothing else is known.
    pub(super) to: String,
    from: String,
    from_bundle: [u8; 32],
    state: State,
    /// The module is compiled here, so that the leader may be asked.
    pub(super) is_compiled: bool,
    /// By which the leader answers.
    pub(super) request: Option<u64>,
    engines: BTreeMap<NodeId, Preparation>,
}

impl Upgrade {
    /// One that is being prepared.
    pub(super) fn new(bundle: [u8; 32], to: String, from: &Service) -> Self {
        Self {
            bundle,
            to,
            from: from.full_name.clone(),
            from_bundle: from.bundle,
            state: State::Preparing,
            is_compiled: false,
            request: None,
            engines: BTreeMap::new(),
        }
    }

    /// Whether something is still to come.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, State::Preparing | State::Ordered(_))
    }

    pub(super) fn is_preparing(&self) -> bool {
        matches!(self.state, State::Preparing)
    }

    /// It is in the log, and nothing is known of what came of it.
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self.state, State::Ordered(_))
    }

    /// It is in the log, and follows upon `from`.
    pub(super) fn order(&mut self, at: Position, from: &Service) {
        (self.from, self.from_bundle) = (from.full_name.clone(), from.bundle);
        self.state = State::Ordered(at);
    }

    pub(super) fn wants_the_leader(&self) -> bool {
        self.is_compiled && self.is_preparing()
    }

    /// Whether a record that names this bundle only says that what ran before this upgrade goes on.
    pub(super) fn is_taken_back_by(&self, bundle: &[u8; 32]) -> bool {
        self.from_bundle == *bundle && matches!(self.state, State::Ordered(_) | State::RolledBack(..))
    }

    /// There was such a record. Why the upgrade did not start is told by the first replica or proxy here that gets there.
    pub(super) fn take_back(&mut self) {
        if let State::Ordered(at) = self.state {
            self.state = State::RolledBack(at, "it did not start".to_owned());
        }
    }

    pub(super) fn refuse(&mut self, why: String) {
        if self.is_preparing() {
            tracing::warn!(to = self.to, why, "the upgrade was not ordered");
            self.state = State::Refused(why);
        }
    }

    /// What came of it at its position. True when that is news.
    pub(super) fn settle(&mut self, position: Position, rolled_back: Option<&str>) -> bool {
        let news = match &self.state {
            State::Ordered(at) => *at == position,
            State::RolledBack(at, known) => *at == position && rolled_back != Some(known.as_str()),
            State::Preparing | State::Done(_) | State::Refused(_) => false,
        };
        if news {
            self.state = match rolled_back {
                None => State::Done(position),
                Some(reason) => State::RolledBack(position, reason.to_owned()),
            };
        }
        news
    }

    pub(super) fn note(&mut self, node: NodeId, preparation: Preparation) {
        self.engines.insert(node, preparation);
    }

    /// What it is called is known once the bundle is there.
    pub(super) fn note_name(&mut self, service: &Service) {
        if self.bundle == service.bundle {
            self.to.clone_from(&service.full_name);
        }
    }

    /// As the API shows it.
    pub(super) fn status(&self, service: &str) -> UpgradeStatus {
        let (state, position, reason) = match &self.state {
            State::Preparing => (UpgradeState::Preparing, None, None),
            State::Ordered(at) => (UpgradeState::Ordered, Some(at.0), None),
            State::Done(at) => (UpgradeState::Done, Some(at.0), None),
            State::RolledBack(at, why) => (UpgradeState::RolledBack, Some(at.0), Some(why.clone())),
            State::Refused(why) => (UpgradeState::Refused, None, Some(why.clone())),
        };
        UpgradeStatus {
            service: service.to_owned(),
            from: self.from.clone(),
            to: self.to.clone(),
            bundle: BundleDigest::new(self.bundle).to_string(),
            state,
            position,
            reason,
            engines: self.engines.iter().map(|(node, at)| engine(*node, at)).collect(),
        }
    }
}

fn engine(node: NodeId, preparation: &Preparation) -> EnginePreparation {
    let (step, reason) = match preparation {
        Preparation::Fetching => (PreparationStep::Fetching, None),
        Preparation::Compiling => (PreparationStep::Compiling, None),
        Preparation::Ready => (PreparationStep::Ready, None),
        Preparation::Failed(why) => (PreparationStep::Failed, Some(why.clone())),
    };
    EnginePreparation { node: node.0, step, reason }
}
