//! What follows from votes.

use std::sync::Arc;

use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, Incarnation, Position, Seat};

/// Something that follows from votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A quorum agreed and the list is right: the effects are released.
    Agreed {
        /// The turn.
        position: Position,
        /// All its effects; those of other proxies' flows were not checked.
        effects: Arc<TurnEffects>,
    },
    /// A quorum agreed but no right list has come.
    Ask {
        /// The turn.
        position: Position,
        /// The seats that have it, the one to ask first: another one each time, until all were. Whoever cannot be
        /// reached is passed over.
        seats: Vec<Seat>,
    },
    /// A replica is not like the others.
    Diverged(Divergence),
    /// Every seat that still counts has voted and no digest has a quorum.
    Split {
        /// The turn.
        position: Position,
    },
    /// The turn can be agreed on, or its list be had, from nobody who still has it: nothing after it can be released.
    Lost {
        /// The turn.
        position: Position,
    },
    /// Too many positions are open: the seat has to vote on this one again.
    Dropped {
        /// Who voted.
        seat: Seat,
        /// The turn.
        position: Position,
    },
}

/// How a replica is not like the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divergence {
    /// Its seat.
    pub seat: Seat,
    /// Which of the seat's holders it is.
    pub incarnation: Incarnation,
    /// The turn.
    pub position: Position,
    /// What it voted.
    pub voted: Digest,
    /// What was agreed; its own first vote when it voted twice before that; zero when there is no such turn.
    pub agreed: Digest,
    /// What was wrong.
    pub why: Why,
}

/// What is wrong with a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A quorum voted otherwise.
    Outvoted,
    /// The seat voted otherwise before.
    VotedTwice,
    /// The list that came with it does not give its digest.
    BadList,
    /// A quorum voted on turns before and after it and not on it.
    NoSuchTurn,
}
