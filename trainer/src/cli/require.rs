//! `--require`: the largest gaps that pass.

use crate::cli::gaps::Gaps;
use clap::Args;
use feamoe_engine::fairness::Measure;

use super::{Outcome, print};

/// The bounds.
#[derive(Args, Debug)]
pub struct RequireOption {
    /// Largest gaps that pass, such as spd=0.1,aod=0.05 (spd, aod, eodds, eopp, burden,
    /// recourse_burden); exit code 1 where a group is past one
    #[arg(long, value_name = "MEASURE=GAP,...")]
    require: Option<Gaps>,
}

impl RequireOption {
    /// Returns each bound with its measure.
    pub fn bounds(&self) -> impl Iterator<Item = (Measure, f32)> {
        self.require.iter().flat_map(Gaps::as_slice).copied()
    }

    /// Says which bounds the largest gaps do not hold; where there is no gap, `why`.
    pub fn check(&self, worst: impl Fn(Measure) -> Option<f32>, why: impl Fn(Measure) -> &'static str) -> Outcome {
        let mut outcome = Outcome::Done;
        for (measure, largest) in self.bounds() {
            let name = measure.name();
            match worst(measure) {
                Some(found) if found <= largest => continue,
                Some(found) => {
                    print::message(&format!("not met: the largest {name} gap is {found:.4}, required {largest}"));
                }
                None => print::message(&format!("not met: {name}: {}", why(measure))),
            }
            outcome = Outcome::CheckNotMet;
        }
        outcome
    }
}
