//! Lists of fairness measures with a limit, as flags give them: `spd=0.05,impact=0.8`.

use std::fmt;
use std::str::FromStr;

use feamoe_engine::fairness::Measure;

/// Those of decisions, with their definitions.
macro_rules! of_decisions {
    () => {
        "\
Measures compare a group u with the reference r, the privileged group, by the decisions on them:
  spd              P(selected | u) - P(selected | r): statistical parity difference
  aod              ((TPR_u - TPR_r) + (FPR_u - FPR_r)) / 2: average odds difference
  eodds            max(|TPR_u - TPR_r|, |FPR_u - FPR_r|): equalised odds, never negative
  eopp             TPR_u - TPR_r: equal opportunity difference
"
    };
}

/// Definition and sign of the measures of decisions, for the help of the commands that print those.
pub const OF_DECISIONS: &str = concat!(of_decisions!(), "Below 0, spd, aod and eopp are to the disadvantage of u.");

/// Definition and sign of every measure, for the help of the commands that take them.
pub const MEASURES: &str = concat!(
    of_decisions!(),
    "  burden           B_u - B_r, B the mean of threshold - p over the declined records
  recourse_burden  R_u - R_r, R the mean distance of the declined records to the decision
                   boundary, in standard deviations
  impact           P(selected | u) / P(selected | r): disparate impact, 1 where both are equal
Below 0, spd, aod and eopp are to the disadvantage of u; the burdens are so above 0, impact
below 1. A limit is a largest magnitude; that of impact is a smallest ratio, either way round
(0.8: the four-fifths rule)."
);

/// Measures, each with its limit, above 0 and at most [`Measure::largest`]; no measure twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gaps(Vec<(Measure, f32)>);

impl Gaps {
    /// Returns the measures and gaps, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[(Measure, f32)] {
        &self.0
    }
}

/// Why a list of limits was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GapsError {
    /// An entry without `=`.
    #[error("found `{0}`, expected MEASURE=LIMIT, for example spd=0.05")]
    NoGap(String),
    /// An unknown measure.
    #[error("found measure `{0}`, expected one of spd, aod, eodds, eopp, burden, recourse_burden, impact")]
    UnknownMeasure(String),
    /// A limit that is no number in its range.
    #[error("{name}: found `{found}`, expected a limit above 0 and at most {}, for example {name}={}", .measure.largest(), usual(*.measure), name = .measure.name())]
    InvalidGap {
        /// The measure.
        measure: Measure,
        /// What stands there.
        found: String,
    },
    /// A measure named again.
    #[error("{0} is named twice")]
    Twice(&'static str),
}

/// A limit that one may well ask for.
fn usual(measure: Measure) -> f32 {
    match measure {
        Measure::RecourseBurden => 0.5,
        Measure::Impact => 0.8,
        _ => 0.05,
    }
}

impl FromStr for Gaps {
    type Err = GapsError;

    fn from_str(text: &str) -> Result<Self, GapsError> {
        let mut gaps: Vec<(Measure, f32)> = Vec::new();
        for entry in text.split(',') {
            let (name, gap) = entry.split_once('=').ok_or_else(|| GapsError::NoGap(entry.to_owned()))?;
            let measure = Measure::ALL
                .into_iter()
                .find(|measure| measure.name() == name.trim())
                .ok_or_else(|| GapsError::UnknownMeasure(name.trim().to_owned()))?;
            let parsed = gap.trim().parse::<f32>().ok().filter(|gap| *gap > 0.0 && *gap <= measure.largest());
            let invalid = || GapsError::InvalidGap { measure, found: gap.trim().to_owned() };
            if gaps.iter().any(|(earlier, _)| *earlier == measure) {
                return Err(GapsError::Twice(measure.name()));
            }
            gaps.push((measure, parsed.ok_or_else(invalid)?));
        }
        Ok(Self(gaps))
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (measure, gap)) in self.0.iter().enumerate() {
            write!(f, "{}{}={gap}", if place > 0 { "," } else { "" }, measure.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        let text = "spd=0.05,burden=1,eodds=0.025,recourse_burden=1.5,impact=0.8";
        assert_eq!(text.parse::<Gaps>().unwrap().to_string(), text);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, message) in [
            ("spd", "found `spd`, expected MEASURE=LIMIT, for example spd=0.05"),
            (
                "parity=0.1",
                "found measure `parity`, expected one of spd, aod, eodds, eopp, burden, recourse_burden, impact",
            ),
            ("spd=0", "spd: found `0`, expected a limit above 0 and at most 1, for example spd=0.05"),
            ("spd=nan", "spd: found `nan`, expected a limit above 0 and at most 1, for example spd=0.05"),
            (
                "recourse_burden=101",
                "recourse_burden: found `101`, expected a limit above 0 and at most 100, for example recourse_burden=0.5",
            ),
            ("spd=0.1,spd=0.2", "spd is named twice"),
        ] {
            assert_eq!(text.parse::<Gaps>().unwrap_err().to_string(), message);
        }
    }
}
