//! Pieces of a guest's body as text.

use std::fmt::Write;

/// Puts bytes into the guest's memory.
pub fn store(at: u32, bytes: &[u8]) -> String {
    let mut body = String::new();
    for (index, byte) in (at..).zip(bytes) {
        writeln!(body, "(i32.store8 (i32.const {index}) (i32.const {byte}))").expect("a text takes everything");
    }
    body
}

/// Ends the guest by a trap unless the call gives this number.
pub fn must(call: &str, errno: u16) -> String {
    format!("(if (i32.ne {call} (i32.const {errno})) (then unreachable))\n")
}

/// A loop that runs `body` so many times, counted in a local `$n`.
pub fn times(count: u32, body: &str) -> String {
    format!(
        "(local.set $n (i32.const {count}))
         (loop $again {body} (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    )
}
