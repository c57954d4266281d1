//! Lists of fairness measures with a gap, as flags give them: `spd=0.05,aod=0.05`.

use std::fmt;
use std::str::FromStr;

use feamoe_engine::fairness::Measure;

/// Measures, each with the largest gap allowed, above 0 and at most [`Measure::largest`]; no
/// measure twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gaps(Vec<(Measure, f32)>);

impl Gaps {
    /// Returns the measures and gaps, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[(Measure, f32)] {
        &self.0
    }
}

/// Why a list of gaps was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GapsError {
    /// An entry without `=`.
    #[error("found `{0}`, expected MEASURE=GAP, for example spd=0.05")]
    NoGap(String),
    /// An unknown measure.
    #[error("found measure `{0}`, expected one of spd, aod, eodds, eopp, burden, recourse_burden")]
    UnknownMeasure(String),
    /// A gap that is no number in its range.
    #[error("{name}: found `{found}`, expected a gap above 0 and at most {}, for example {name}={}", .measure.largest(), usual(*.measure), name = .measure.name())]
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

/// A gap that one may well ask for.
fn usual(measure: Measure) -> f32 {
    if measure == Measure::RecourseBurden { 0.5 } else { 0.05 }
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
        let text = "spd=0.05,burden=1,eodds=0.025,recourse_burden=1.5";
        assert_eq!(text.parse::<Gaps>().unwrap().to_string(), text);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, message) in [
            ("spd", "found `spd`, expected MEASURE=GAP, for example spd=0.05"),
            ("parity=0.1", "found measure `parity`, expected one of spd, aod, eodds, eopp, burden, recourse_burden"),
            ("spd=0", "spd: found `0`, expected a gap above 0 and at most 1, for example spd=0.05"),
            ("spd=nan", "spd: found `nan`, expected a gap above 0 and at most 1, for example spd=0.05"),
            (
                "recourse_burden=101",
                "recourse_burden: found `101`, expected a gap above 0 and at most 100, for example recourse_burden=0.5",
            ),
            ("spd=0.1,spd=0.2", "spd is named twice"),
        ] {
            assert_eq!(text.parse::<Gaps>().unwrap_err().to_string(), message);
        }
    }
}
