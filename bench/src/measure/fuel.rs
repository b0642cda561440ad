//! What counting fuel costs: the examples as they are, in turns with copies that run without it.

use anyhow::Result;

use super::Rows;
use super::variants::{self, EXAMPLES};
use crate::service_copy;
use crate::setup::Setup;

/// Measures the speed of each example.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let without = setup.folder().join("without-fuel");
    for name in EXAMPLES {
        let copy = service_copy::copy(setup.examples(), name, &without)?;
        service_copy::change(&copy, |line| match line {
            "[limits]" => "[limits]\nfuel_per_turn = \"off\"".to_owned(),
            line => line.to_owned(),
        })?;
    }
    variants::compare(setup, &without, setup.examples(), rows)
}
