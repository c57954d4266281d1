//! Distances to the decision boundary during learning: they steer a target on the recourse burden.
//!
//! The engine measures the distances ([`feamoe_engine::recourse`]): the deciding weights are laid
//! out as a blob in memory, and the search finds the nearest favourable record. One distance takes
//! about a hundred times as long as learning from a record. So only every `EVERY`-th record is
//! measured, the first records more often, and a search ends early. The log-odds of all other
//! declined records show how the mean moves in between (see `learner::rates`). Without such a
//! target no distance is measured.

use crate::tuned::{Tuned, tuned};
use feamoe_engine::recourse::Rules;
use feamoe_engine::{FeatureIndex, Value};

use crate::encoder::{Encoder, Example};
use crate::learner::Learner;
use crate::model::{HostModel, HostRecord, HostRecourse};
use crate::training::export::{Source, snapshot};

/// Every n-th record is measured if it is declined.
const EVERY: u64 = 128;
/// Every n-th of the first records is measured, because few distances are known then. With a third
/// as many the median gap on COMPAS rose from 0.06 to 0.15 (12 orders, target 0.05).
static EVERY_AT_FIRST: Tuned<u64> = tuned!(16);
/// Number of first records.
static AT_FIRST: Tuned<u64> = tuned!(8_192);

/// Evaluations of the mixture after which a search ends with the nearest record found. Complete
/// searches take six times as many on Adult; their mean distance is 2 % smaller there, and 4 % on
/// COMPAS. The gaps are as small: over 16 orders each, 0.053 with early ends and 0.062 without on
/// Adult, 0.148 and 0.171 on COMPAS (mean of the largest recourse gap, target 0.05).
static ENOUGH: Tuned<u32> = tuned!(64);

/// Measures distances for a learner.
#[derive(Clone)]
pub(crate) struct Gauge {
    recourse: Box<HostRecourse>,
}

impl Gauge {
    /// Returns a gauge; `None` if no target of the learner needs one.
    pub(crate) fn new(learner: &Learner) -> Option<Self> {
        learner.wants_distances().then(|| Self { recourse: Box::new(HostRecourse::new()) })
    }

    /// Reports the distance of an example to the learner if the example is due for measuring, is
    /// declined, and has a recourse.
    pub(crate) fn look_at(&mut self, example: &Example, encoder: &Encoder, learner: &mut Learner) {
        let every = if learner.rows_seen() < AT_FIRST.get() { EVERY_AT_FIRST.get() } else { EVERY };
        if !learner.rows_seen().is_multiple_of(every) {
            return;
        }
        let probability = learner.predict(&example.terms);
        if probability >= learner.threshold() {
            return;
        }
        if let Some(distance) = self.distance(&example.values, encoder, learner) {
            learner.observe_distance(&example.groups, probability, distance);
        }
    }

    /// Returns the distance of a record to the decision boundary; `None` without a recourse, or if
    /// the weights cannot be laid out: then there is no model to steer.
    fn distance(&mut self, values: &[Value], encoder: &Encoder, learner: &Learner) -> Option<f32> {
        let weights = learner.deciding_weights();
        let threshold = learner.threshold();
        let provenance = feamoe_engine::format::Provenance::default();
        let bytes =
            snapshot(&Source { encoder, weights, calibrator: None, threshold, positive_name: "", provenance }).ok()?;
        let model = HostModel::load(bytes.as_slice()).ok()?;
        let mut record = model.record();
        fill(&mut record, values)?;
        model
            .recourse_while(&record, &Rules::FREE, &mut self.recourse, |evaluations| evaluations < ENOUGH.get())
            .ok()?;
        self.recourse.distance
    }
}

/// Sets the values of a record; `None` if the blob has no such level.
fn fill(record: &mut HostRecord<'_>, values: &[Value]) -> Option<()> {
    for (feature, value) in values.iter().enumerate() {
        // The engine may report that a value was clamped; it is then scored as the clamped value.
        let _ = record.set_value(FeatureIndex(feature), *value).ok()?;
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use feamoe_engine::fairness::Measure;

    use super::*;
    use crate::demo::{LendingStream, SCHEMA, write_csv};
    use crate::encoder::{Examples, Options};
    use crate::learner::LearnerOptions;
    use crate::rows::{Stream, Use};
    use crate::schema::Schema;
    use crate::training::export::TOLERANCE;

    fn learner(options: LearnerOptions) -> Learner {
        Learner::new(options.check().unwrap(), 1)
    }

    #[test]
    fn nothing_is_measured_without_the_target() {
        assert!(Gauge::new(&learner(LearnerOptions::default().target(Measure::Burden, 0.1))).is_none());
        assert!(Gauge::new(&learner(LearnerOptions::default().target(Measure::RecourseBurden, 0.1))).is_some());
    }

    /// The engine gets the same record: its values score there as the learner scores their terms.
    #[test]
    fn values_score_as_their_terms() {
        let mut csv = Vec::new();
        write_csv(&mut csv, LendingStream::new(1).take(1_500)).unwrap();
        // Missing numbers and categories are included.
        let text = String::from_utf8(csv).unwrap().replace(",employed,", ",,").replace("0,", ",");
        let schema = Schema::from_toml("s.toml", SCHEMA).unwrap();
        let stream =
            Stream::from_reader("f.csv", std::io::Cursor::new(text.into_bytes()), &schema, Use::Learn).unwrap();
        let mut examples = Examples::new(stream, &schema, &Options { warmup: 500, bins: 16 }).unwrap();
        let (mut example, mut learner) = (Example::default(), learner(LearnerOptions::default()));
        let mut compared = 0;
        while examples.next_example(&mut example).unwrap() {
            learner.learn_one(&example);
            if learner.rows_seen().is_multiple_of(50) {
                let source = Source {
                    encoder: examples.encoder(),
                    weights: learner.deciding_weights(),
                    threshold: 0.5,
                    calibrator: None,
                    positive_name: "",
                    provenance: feamoe_engine::format::Provenance::default(),
                };
                let bytes = snapshot(&source).unwrap();
                let model = HostModel::load(bytes.as_slice()).unwrap();
                let mut record = model.record();
                fill(&mut record, &example.values).unwrap();
                let (found, expected) = (model.score(&record).unwrap().probability, learner.predict(&example.terms));
                assert!((found - expected).abs() < TOLERANCE, "{found} for {expected}");
                compared += 1;
            }
        }
        assert_eq!(compared, 30);
    }
}
