//! Bin edges of a numeric feature.

/// Returns ascending edges that cut `values` into at most `most` bins. The bin of `x` is the number
/// of edges `<= x`.
///
/// If there are at most as many distinct values as bins, each value has its own bin. Otherwise
/// every *heavy* value, one at least as frequent as an average bin, has its own bin, and the runs
/// of values between heavy ones are cut into bins of equal frequency. An edge lies halfway between
/// two neighbouring values. Fewer than three distinct values need no bins: the linear row separates
/// them.
///
/// Cost: one sort. `values` must be finite.
pub(super) fn edges(mut values: Vec<f32>, most: usize) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let mut distinct: Vec<(f32, usize)> = Vec::new();
    for value in values {
        match distinct.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => distinct.push((value, 1)),
        }
    }
    if distinct.len() < 3 || most < 2 {
        return Vec::new();
    }
    let starts = if distinct.len() <= most { (1..distinct.len()).collect() } else { bin_starts(&distinct, most) };
    starts.into_iter().map(|start| halfway(distinct[start - 1].0, distinct[start].0)).collect()
}

/// Neighbouring distinct values: either one heavy value, or a run of lighter ones.
struct Segment {
    start: usize,
    end: usize,
    rows: usize,
    heavy: bool,
}

/// Returns the index of the first distinct value of each bin except the first.
fn bin_starts(distinct: &[(f32, usize)], most: usize) -> Vec<usize> {
    let rows: usize = distinct.iter().map(|(_, count)| count).sum();
    let mut heavy_from = rows.div_ceil(most);
    // Heavy values and the runs between them must fit; with no heavy value there is one run.
    let segments = loop {
        let segments = segments(distinct, heavy_from);
        if segments.len() <= most {
            break segments;
        }
        heavy_from *= 2;
    };
    let light: usize = segments.iter().filter(|segment| !segment.heavy).map(|segment| segment.rows).sum();
    let spare = most - segments.len();
    let mut starts = Vec::with_capacity(most);
    let (mut light_before, mut spent) = (0, 0);
    for segment in segments {
        starts.push(segment.start);
        if segment.heavy {
            continue;
        }
        light_before += segment.rows;
        // Spare bins are shared in proportion to rows. Rounding the running total uses exactly all
        // of them.
        let share = spare * light_before / light - spent;
        spent += share;
        let bins = 1 + share;
        let (mut cut, mut before) = (1, 0);
        for (offset, (_, count)) in distinct[segment.start..segment.end].iter().enumerate() {
            if offset > 0 && before * bins >= cut * segment.rows {
                starts.push(segment.start + offset);
                cut = before * bins / segment.rows + 1;
            }
            before += count;
        }
    }
    starts.remove(0);
    starts
}

fn segments(distinct: &[(f32, usize)], heavy_from: usize) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for (index, &(_, count)) in distinct.iter().enumerate() {
        let heavy = count >= heavy_from;
        match segments.last_mut() {
            Some(run) if !run.heavy && !heavy => {
                run.end = index + 1;
                run.rows += count;
            }
            _ => segments.push(Segment { start: index, end: index + 1, rows: count, heavy }),
        }
    }
    segments
}

/// Returns a number in `(low, high]`: the middle if `f32` can represent one.
fn halfway(low: f32, high: f32) -> f32 {
    let middle = low / 2.0 + high / 2.0;
    if middle > low && middle < high { middle } else { high }
}

#[cfg(test)]
mod tests {
    use feamoe_engine::schema::bin;

    use super::*;

    fn bin_counts(values: &[f32], edges: &[f32]) -> Vec<usize> {
        let mut counts = vec![0; edges.len() + 1];
        for value in values {
            counts[bin(*value, edges)] += 1;
        }
        counts
    }

    #[test]
    fn few_distinct_values_get_a_bin_each() {
        assert_eq!(edges(vec![2.0, 0.0, 1.0, 1.0, 0.0], 3), [0.5, 1.5]);
        assert!(edges(vec![1.0, 0.0, 1.0], 64).is_empty());
        assert!(edges(vec![0.0, 1.0, 2.0], 1).is_empty());
        assert!(edges(Vec::new(), 64).is_empty());
    }

    #[test]
    fn many_distinct_values_get_bins_of_equal_frequency() {
        let values: Vec<f32> = (0..1000).map(|i| (i * 7 % 1000) as f32).collect();
        let edges = edges(values.clone(), 64);
        assert_eq!(edges.len(), 63);
        assert!(edges.is_sorted());
        assert!(bin_counts(&values, &edges).iter().all(|count| (15..=16).contains(count)));
    }

    #[test]
    fn a_heavy_value_has_a_bin_of_its_own() {
        // Like capital gain on Adult: nearly all 0, the rest spread out, with a second peak at the
        // upper end.
        let mut values: Vec<f32> = vec![0.0; 9000];
        values.extend((1..=800).map(|i| i as f32 * 50.0));
        values.extend([99_999.0; 200]);
        values.extend([-3.0; 2]);
        let edges = edges(values.clone(), 16);
        assert!(edges.len() <= 15);
        let zero = bin(0.0, &edges);
        let counts = bin_counts(&values, &edges);
        assert_eq!((zero, counts[zero]), (1, 9000));
        assert!(counts.len() > 10, "{counts:?}");
        assert!(counts[2..].iter().all(|count| (40..=260).contains(count)), "{counts:?}");
    }

    #[test]
    fn never_more_bins_than_asked_for() {
        // Heavy and light values alternate: the worst case for the number of segments.
        for most in 2..40 {
            let values: Vec<f32> = (0..60).flat_map(|i| vec![i as f32; if i % 2 == 0 { 50 } else { 1 }]).collect();
            let edges = edges(values, most);
            assert!(edges.len() < most && !edges.is_empty(), "{most}: {}", edges.len());
            assert!(edges.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn neighbouring_floats_are_still_distinguished() {
        let next = f32::from_bits(1.0_f32.to_bits() + 1);
        assert_eq!(halfway(1.0, next), next);
        assert_eq!(halfway(f32::MIN, f32::MAX), 0.0);
    }
}
