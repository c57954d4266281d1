//! Divides the range of a number into parts.

use feamoe_engine::schema::Transform;

/// Returns the inner edges of `parts` parts of a range, of equal width after the transform. There
/// are fewer edges if some would be the same number.
pub(crate) fn parts(transform: Transform, low: f32, high: f32, parts: u16) -> Vec<f32> {
    let (from, to) = (f64::from(transform.apply(low)), f64::from(transform.apply(high)));
    let at = |part: u16| inverse(transform, from + (to - from) * f64::from(part) / f64::from(parts));
    let mut edges: Vec<f32> = (1..parts).map(at).filter(|edge| *edge > low && *edge <= high).collect();
    edges.dedup();
    edges
}

/// Returns the number whose transform is `t`.
#[allow(clippy::cast_possible_truncation)] // rounded
pub(crate) fn inverse(transform: Transform, t: f64) -> f32 {
    match transform {
        Transform::Identity => t as f32,
        Transform::Log1p => libm::expm1(t) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_after_the_transform_and_inside() {
        let even = parts(Transform::Identity, -10.0, 10.0, 20);
        assert_eq!((even.len(), even.first(), even.last()), (19, Some(&-9.0), Some(&9.0)));
        let log = parts(Transform::Log1p, 0.0, 1e6, 20);
        assert!(log.len() == 19 && log.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((libm::log1p(f64::from(log[9])) - libm::log1p(1e6) / 2.0).abs() < 1e-5);
        assert!(parts(Transform::Identity, 3.0, 3.0, 20).is_empty());
        assert!(parts(Transform::Identity, 1.0, 1.0_f32.next_up(), 20).len() <= 1);
        assert!(parts(Transform::Identity, f32::MIN, f32::MAX, 20).iter().all(|edge| edge.is_finite()));
    }
}
