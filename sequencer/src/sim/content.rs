//! The bytes of one simulated file: what is durable, what a reader sees, and the changes in between.

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Extend(u64),
    SetLen(u64),
}

impl Change {
    /// The length that the file has at least after the change.
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Write(offset, bytes) => offset + bytes.len() as u64,
            Self::Extend(len) | Self::SetLen(len) => *len,
        }
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let at = *offset as usize;
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[at..at + data.len()].copy_from_slice(data);
            }
            Self::Extend(len) => bytes.resize(bytes.len().max(*len as usize), 0),
            Self::SetLen(len) => bytes.resize(*len as usize, 0),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Content {
    durable: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let from = (offset as usize).min(self.seen.len());
        let count = into.len().min(self.seen.len() - from);
        into[..count].copy_from_slice(&self.seen[from..from + count]);
        count
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn flip(&mut self, offset: usize, bit: u8) {
        self.sync();
        self.durable[offset] ^= 1 << bit;
        self.seen[offset] ^= 1 << bit;
    }

    pub(super) fn crash(&mut self, dice: &mut Dice) {
        for change in std::mem::take(&mut self.unsynced) {
            match (dice.roll(4), change) {
                (0, _) => {}
                (2, Change::Write(offset, bytes)) => {
                    // The drive wrote the later pages and not the earlier ones.
                    let from = dice.roll(bytes.len() as u64 + 1) as usize;
                    Change::Write(offset + from as u64, bytes[from..].to_vec()).apply(&mut self.durable);
                }
                (1, Change::Write(offset, mut bytes)) => {
                    bytes.truncate(dice.roll(bytes.len() as u64 + 1) as usize);
                    if !bytes.is_empty() {
                        Change::Write(offset, bytes).apply(&mut self.durable);
                    }
                }
                (_, change) => change.apply(&mut self.durable),
            }
        }
        self.seen = self.durable.clone();
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
