//! Bytes that no compression makes smaller, as an image's, and that are the same in every run.

/// Splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
#[derive(Default)]
pub struct Noise(u64);

impl Noise {
    /// Overwrites `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_another_one() {
        let mut noise = Noise::default();
        let (mut first, mut second) = ([0; 21], [0; 21]);
        noise.fill(&mut first);
        noise.fill(&mut second);
        assert_ne!(first, second);
        assert_ne!(first[16..], [0; 5]);
    }

    #[test]
    fn the_generator_is_the_published_one() {
        assert_eq!(Noise::default().next(), 0xe220_a839_7b1d_cdaf);
    }
}
