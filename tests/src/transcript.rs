//! What a scenario received, step by step, for comparison byte for byte between two ways of running a server.

/// Named steps with the bytes that came back.
#[derive(Debug, Default)]
pub struct Transcript(Vec<u8>);

impl Transcript {
    /// Adds a step.
    pub fn record(&mut self, step: &str, received: &[u8]) {
        self.0.extend_from_slice(b"== ");
        self.0.extend_from_slice(step.as_bytes());
        self.0.push(b'\n');
        self.0.extend_from_slice(received);
        self.0.push(b'\n');
    }

    /// All of it.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Bytes that look random and are the same everywhere: a step of xorshift for each eight of them.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
