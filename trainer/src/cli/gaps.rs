//! Lists of fairness measures with limits, as in flags: `spd=0.05,impact=0.8`.

use std::fmt;
use std::str::FromStr;

use feamoe_engine::fairness::Measure;

/// The measures of decisions, with their definitions.
macro_rules! of_decisions {
    () => {
        "\
Measures compare the decisions on a group u with those on the reference r, the privileged group:
  spd              P(selected | u) - P(selected | r): statistical parity difference
  aod              ((TPR_u - TPR_r) + (FPR_u - FPR_r)) / 2: average odds difference
  eodds            max(|TPR_u - TPR_r|, |FPR_u - FPR_r|): equalised odds, never negative
  eopp             TPR_u - TPR_r: equal opportunity difference
"
    };
}

/// Definition and sign of the measures of decisions, for the help of the commands that print only
/// these.
pub const OF_DECISIONS: &str =
    concat!(of_decisions!(), "Values of spd, aod and eopp below 0 are to the disadvantage of u.");

/// Definition and sign of every measure, for the help of the commands that take limits.
pub const MEASURES: &str = concat!(
    of_decisions!(),
    "  burden           B_u - B_r, where B is the mean of threshold - p over the declined records
  recourse_burden  R_u - R_r, where R is the mean distance of the declined records to the
                   decision boundary, in standard deviations
  impact           P(selected | u) / P(selected | r): disparate impact, 1 if both are equal
Values of spd, aod and eopp below 0, of the burdens above 0, and of impact below 1 are to the
disadvantage of u. A limit is the largest magnitude allowed; for impact it is the smallest ratio
allowed, in either direction (0.8 is the four-fifths rule)."
);

/// Measures with their limits. Each limit is above 0 and at most [`Measure::largest`]; no measure
/// occurs twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gaps(Vec<(Measure, f32)>);

impl Gaps {
    /// Returns the measures and limits, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[(Measure, f32)] {
        &self.0
    }
}

/// Why a list of limits is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GapsError {
    /// An entry without `=`.
    #[error("found `{0}`, expected MEASURE=LIMIT, for example spd=0.05")]
    NoGap(String),
    /// An unknown measure.
    #[error("found measure `{0}`, expected one of spd, aod, eodds, eopp, burden, recourse_burden, impact")]
    UnknownMeasure(String),
    /// A limit that is not a number in its range.
    #[error("{name}: found `{found}`, expected a limit above 0 and at most {}, for example {name}={}", .measure.largest(), usual(*.measure), name = .measure.name())]
    InvalidGap {
        /// The measure.
        measure: Measure,
        /// The text of the limit.
        found: String,
    },
    /// A measure that is named twice.
    #[error("{0} is named twice")]
    Twice(&'static str),
}

/// Returns a typical limit, for messages.
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
