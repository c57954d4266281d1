//! Parts of the range of a number.

use feamoe_engine::schema::Transform;

/// Returns the inner edges of `parts` parts of a range, of equal width after the transform; fewer
/// where two of them are the same number.
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
