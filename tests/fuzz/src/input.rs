//! Bytes of a fuzzer as a row of choices. When they have run out every choice is the first one.

/// What is left of the bytes.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// A number below `sides`, which is at most 256.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        usize::from(self.byte()) % sides
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A number that is mostly small; now and then any, or one of the last.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            kind @ 0..=199 => u64::from(kind % 8),
            200..=229 => u64::from(self.short()),
            230..=245 => u64::from_le_bytes(self.array()),
            last => u64::MAX - u64::from(last - 246),
        }
    }

    /// At most so many bytes, fewer at the end.
    pub(crate) fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A piece that says its own length.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.short());
        self.take(length)
    }

    /// The same with at most 255 bytes.
    pub(crate) fn short_piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.take(length)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
