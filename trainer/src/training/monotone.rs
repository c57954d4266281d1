//! Checks that a model about to be exported is monotone where the schema asks for it, by its weights
//! alone: no promise rests on how they were learned.

use feamoe_engine::mixture::stride;
use feamoe_engine::schema::Kind;

use crate::model::Content;
use crate::schema::Direction;

/// Returns the name of the first feature in which the score, or its calibrated probability, does
/// not change as its direction says. `directions`: one a feature, `None` for any change.
///
/// A number's rows are the line, *missing*, then the bins in ascending order. The score is monotone
/// if the line has no weight in the gate and points the right way in every expert, and if the bins
/// have one weight in each gate lane and ordered ones in each expert's.
pub(super) fn broken<'c>(content: &'c Content, directions: &[Option<Direction>]) -> Option<&'c str> {
    let stride = stride(content.experts);
    let (line, calibration) = content.calibration.split_at_checked(2).unwrap_or_default();
    let mut rows = content.rows.chunks_exact(stride);
    let mut calibration_rows = calibration.iter();
    for (feature, direction) in content.features.iter().zip(directions) {
        let count = feature.kind.rows() as usize;
        let own: Vec<&[f32]> = rows.by_ref().take(count).collect();
        let calibrated: Vec<f32> = calibration_rows.by_ref().take(count).copied().collect();
        let (Some(direction), Kind::Number { .. }) = (direction, feature.kind) else { continue };
        let sign = direction.sign();
        let ascend = |lane: &[f32]| {
            lane.first().is_none_or(|line| sign * line >= 0.0)
                && lane.iter().skip(2).map(|weight| sign * weight).is_sorted()
        };
        let stays = |lane: &[f32]| {
            lane.first().is_none_or(|line| *line == 0.0) && lane.windows(2).skip(2).all(|pair| pair[0] == pair[1])
        };
        let lane = |lane: usize| -> Vec<f32> { own.iter().map(|row| row[lane]).collect() };
        let holds = (0..content.experts).all(|expert| stays(&lane(expert)) && ascend(&lane(content.experts + expert)))
            && line.first().is_none_or(|slope| *slope >= 0.0)
            && ascend(&calibrated);
        if !holds {
            return Some(&feature.name);
        }
    }
    None
}
