//! The keys and values that are written to key-value stores: the same for every store.

/// Bytes of a value.
pub const VALUE_BYTES: usize = 64;
/// Different keys; then they come again.
const KEYS: usize = 10_000;
/// Far from each other in the order of keys for neighbouring connections; a prime.
const STRIDE: usize = 7919;

/// What a connection writes at this point: a key, and a value that tells who wrote it.
pub fn of(connection: usize, sequence: usize) -> (String, String) {
    let key = format!("key:{:06}", (connection * STRIDE + sequence) % KEYS);
    let writer = format!("{connection}:{sequence}:");
    (key, format!("{writer:.<VALUE_BYTES$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_have_one_length() {
        let (key, value) = of(3, 9);
        assert_eq!((key.as_str(), value.len()), ("key:003766", VALUE_BYTES));
        assert!(value.starts_with("3:9:..."), "{value}");
        assert_ne!(value, of(3, 10).1);
    }

    #[test]
    fn keys_come_again() {
        assert_eq!(of(0, 5).0, of(0, 5 + KEYS).0);
    }
}
