//! Loops within loops: what makes a small module one that takes minutes to compile.
//!
//! The time that a function takes grows with its locals times the square of the depth of its loops: 400 of each, in seven
//! kilobytes, take half a minute, and twice as many of each eight times as long.

use wasmparser::{FunctionBody, Operator};

use crate::module::InspectError;

/// How many loops may stand within one another. Programs that people write have a dozen at most.
pub const MAX_LOOP_DEPTH: usize = 50;

/// Refuses a function whose loops are too deep.
pub(crate) fn check(body: &FunctionBody<'_>) -> Result<(), InspectError> {
    let (mut blocks, mut loops) = (Vec::new(), 0);
    for operator in body.get_operators_reader()? {
        let is_loop = match operator? {
            Operator::Loop { .. } => true,
            Operator::Block { .. } | Operator::If { .. } | Operator::Try { .. } | Operator::TryTable { .. } => false,
            Operator::End | Operator::Delegate { .. } => {
                loops -= usize::from(blocks.pop() == Some(true));
                continue;
            }
            _ => continue,
        };
        blocks.push(is_loop);
        loops += usize::from(is_loop);
        if loops > MAX_LOOP_DEPTH {
            return Err(InspectError::LoopsTooDeep { offset: body.range().start as u64 });
        }
    }
    Ok(())
}
