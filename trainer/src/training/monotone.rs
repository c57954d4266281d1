//! Checks that a model about to be exported is monotone where the schema asks for it. The check
//! uses the weights alone, so the guarantee does not depend on how they were learned.

use feamoe_engine::mixture::stride;
use feamoe_engine::schema::Kind;

use crate::model::Content;
use crate::schema::Direction;

/// Returns the name of the first feature in which the score, or its calibrated probability, does
/// not change in the required direction. `directions` has one entry per feature; `None` allows any
/// change.
///
/// The weight rows of a number are the line, *missing*, then the bins in ascending order. The score
/// is monotone if the line has no weight in the gate and the right sign in every expert, and if the
/// bins have one common weight in each gate lane and ordered weights in each expert lane.
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

#[cfg(test)]
mod tests {
    use feamoe_engine::format::Provenance;
    use feamoe_engine::schema::Transform;

    use super::*;
    use crate::model::FeatureContent;

    const BINS: u16 = 4;
    const STRIDE: usize = 4;

    /// Returns two experts, a category, a free number, and a number in which the score must rise.
    fn content() -> Content {
        let number = Kind::Number { transform: Transform::Identity, low: 0.0, high: 9.0, centre: 1.0, bins: BINS };
        let feature = |name: &str, kind| FeatureContent { name: name.to_owned(), kind, levels: Vec::new() };
        let disorder = (0..9).flat_map(|row| [row as f32 % 3.0, -1.0, (row as f32).sin(), (row as f32).cos()]);
        let bins = [-2.0, -2.0, 0.5, 3.0].map(|weight| [-0.3, -0.3, weight, 2.0 * weight]);
        let line_and_missing = [[0.0, 0.0, 0.2, 0.0], [5.0, -5.0, 7.0, -7.0]];
        let ordered = line_and_missing.into_iter().chain(bins).flatten();
        Content {
            threshold: 0.5,
            provenance: Provenance::default(),
            experts: 2,
            features: vec![
                feature("k", Kind::Category { levels: 1 }),
                feature("free", number),
                feature("held", number),
            ],
            positive_name: String::new(),
            bias: vec![0.0; STRIDE],
            rows: disorder.chain(ordered).collect(),
            edges: vec![1.0, 2.0, 3.0, 1.0, 2.0, 3.0],
            deviations: Vec::new(),
            calibration: [0.9, 0.0].into_iter().chain([0.5; 9]).chain([0.0, 2.0, 0.1, 0.1, 0.1, 0.1]).collect(),
            background: Vec::new(),
        }
    }

    const UP: [Option<Direction>; 3] = [None, None, Some(Direction::Up)];

    #[test]
    fn an_ordered_number_is_monotone_in_its_direction_only() {
        assert_eq!(content().features.iter().map(|feature| feature.kind.rows()).sum::<u32>(), 15);
        assert_eq!(broken(&content(), &UP), None);
        assert_eq!(broken(&content(), &[None, None, Some(Direction::Down)]), Some("held"));
        assert_eq!(broken(&content(), &[None, Some(Direction::Up), None]), Some("free"));
        assert_eq!(broken(&Content { calibration: Vec::new(), ..content() }, &UP), None);
    }

    /// Every relevant weight, moved the wrong way by the smallest possible amount.
    #[test]
    fn a_single_weight_in_the_wrong_place_is_found() {
        let at = |row: usize, lane: usize| (9 + row) * STRIDE + lane;
        let mut faults = vec![(at(0, 2), -1e-30), (at(0, 3), -1e-30), (at(0, 0), 1e-30), (at(0, 1), -1e-30)];
        faults.extend((2..6).flat_map(|row| [(at(row, 0), -0.3_f32.next_up()), (at(row, 1), -0.300_000_1)]));
        faults.extend([(at(3, 2), (-2.0_f32).next_down()), (at(5, 3), 0.999), (at(2, 2), 0.6)]);
        for (place, weight) in faults {
            let mut content = content();
            content.rows[place] = weight;
            assert_eq!(broken(&content, &UP), Some("held"), "{place}: {weight}");
        }
        for (place, weight) in [(0, -1e-30), (11, -1e-30), (14, 0.0), (16, 0.0)] {
            let mut content = content();
            content.calibration[place] = weight;
            assert_eq!(broken(&content, &UP), Some("held"), "calibration {place}: {weight}");
        }
        // The weight row of a missing value is free.
        for lane in 0..STRIDE {
            let mut content = content();
            content.rows[at(1, lane)] = -99.0;
            assert_eq!(broken(&content, &UP), None);
        }
    }
}
