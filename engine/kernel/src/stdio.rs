//! Standard output and error: whole lines become effects, at a bounded rate.

use bytes::Bytes;
use refrain_wire::EffectKind;
use serde::{Deserialize, Serialize};

use crate::effects::Effects;

/// The longest line; a longer one is cut into several.
pub const MAX_LINE_BYTES: usize = 4096;

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OutputStream {
    /// Standard output.
    Out = 1,
    /// Standard error.
    Err = 2,
}

/// What the guest has written to its output streams and is not a line yet, and the rate so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    partial: [Vec<u8>; 2],
    second: u64,
    lines: u32,
    dropped: u32,
}

impl Output {
    /// The guest wrote `bytes` at `now_ns`; at most `limit` lines a second of log time become effects. How many ended.
    pub fn write(&mut self, stream: OutputStream, bytes: &[u8], now_ns: u64, limit: u32, effects: &mut Effects) -> u64 {
        let at = stream as usize - 1;
        let mut ended = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut piece = piece;
            while self.partial[at].len() + piece.len() > MAX_LINE_BYTES {
                let (now, rest) = piece.split_at(MAX_LINE_BYTES - self.partial[at].len());
                self.partial[at].extend_from_slice(now);
                self.end_line(stream, now_ns, limit, effects);
                ended += 1;
                piece = rest;
            }
            match piece.split_last() {
                Some((b'\n', line)) => {
                    self.partial[at].extend_from_slice(line);
                    self.end_line(stream, now_ns, limit, effects);
                    ended += 1;
                }
                _ => self.partial[at].extend_from_slice(piece),
            }
        }
        ended
    }

    /// Lines of the newest second in which one ended.
    pub(crate) fn lines(&self) -> u32 {
        self.lines
    }

    /// The guest ended: what it left unfinished is shown as it stands.
    pub fn end(&mut self, now_ns: u64, limit: u32, effects: &mut Effects) {
        for stream in [OutputStream::Out, OutputStream::Err] {
            if !self.partial[stream as usize - 1].is_empty() {
                self.end_line(stream, now_ns, limit, effects);
            }
        }
    }

    fn end_line(&mut self, stream: OutputStream, now_ns: u64, limit: u32, effects: &mut Effects) {
        let line = Bytes::from(std::mem::take(&mut self.partial[stream as usize - 1]));
        let second = now_ns / 1_000_000_000;
        if second != self.second {
            if self.dropped > 0 {
                let note = format!("{} lines dropped: over {limit} a second", self.dropped);
                effects.group(EffectKind::Log, OutputStream::Err as u64, Bytes::from(note));
            }
            (self.second, self.lines, self.dropped) = (second, 0, 0);
        }
        if self.lines >= limit {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.lines += 1;
        effects.group(EffectKind::Log, stream as u64, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(effects: &mut Effects) -> Vec<String> {
        effects.take().iter().map(|effect| String::from_utf8(effect.payload.to_vec()).unwrap()).collect()
    }

    #[test]
    fn only_whole_lines_become_effects() {
        let (mut output, mut effects) = (Output::default(), Effects::default());
        assert_eq!(output.write(OutputStream::Out, b"one\ntw", 0, 10, &mut effects), 1);
        assert_eq!(lines(&mut effects), ["one"]);
        output.write(OutputStream::Out, b"o\n\n", 0, 10, &mut effects);
        assert_eq!(lines(&mut effects), ["two", ""]);
        output.write(OutputStream::Err, b"left", 0, 10, &mut effects);
        output.end(0, 10, &mut effects);
        assert_eq!(lines(&mut effects), ["left"]);
    }

    #[test]
    fn a_line_is_cut_at_its_limit() {
        let (mut output, mut effects) = (Output::default(), Effects::default());
        assert_eq!(output.write(OutputStream::Out, &vec![b'x'; MAX_LINE_BYTES + 1], 0, 10, &mut effects), 1);
        output.write(OutputStream::Out, b"\n", 0, 10, &mut effects);
        let lengths: Vec<_> = lines(&mut effects).iter().map(String::len).collect();
        assert_eq!(lengths, [MAX_LINE_BYTES, 1]);
    }

    #[test]
    fn lines_over_the_rate_are_counted_and_told_in_the_next_second() {
        let (mut output, mut effects) = (Output::default(), Effects::default());
        output.write(OutputStream::Out, b"a\nb\nc\nd\n", 5, 2, &mut effects);
        assert_eq!(lines(&mut effects), ["a", "b"]);
        output.write(OutputStream::Out, b"e\n", 1_000_000_000, 2, &mut effects);
        assert_eq!(lines(&mut effects), ["2 lines dropped: over 2 a second", "e"]);
    }
}
