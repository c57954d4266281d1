//! Kernel SHAP (Lundberg and Lee 2017), which the paper compares its explanations with.

use ndarray::{Array1, Array2};

use crate::cli::study::generators::Random;

/// Estimates the Shapley values of a record by weighted least squares over random coalitions.
///
/// `value` takes coalitions as rows of 0 and 1. For each it returns the mean output over the
/// background with the features of the coalition set to the record's values. Sizes of coalitions
/// are drawn by the kernel's weights, and each coalition is followed by its complement. The values
/// add up to the difference between all features and none.
///
/// Returns one value per feature; `None` if the coalitions do not determine the values.
pub fn kernel_shap(
    features: usize,
    coalitions: usize,
    random: &mut Random,
    value: &mut dyn FnMut(&Array2<f32>) -> Vec<f32>,
) -> Option<Array1<f64>> {
    let mut drawn = Array2::<f32>::zeros((coalitions.max(2), features));
    drawn.row_mut(1).fill(1.0); // the first two coalitions: none and all
    let weights: Vec<f64> = (1..features).map(|size| 1.0 / (size * (features - size)) as f64).collect();
    let total: f64 = weights.iter().sum();
    let mut places: Vec<u32> = (0..features as u32).collect();
    for row in (2..drawn.nrows()).step_by(2) {
        let mut left = random.uniform() * total;
        let size = 1 + weights.iter().take_while(|weight| (left -= **weight, left > 0.0).1).count().min(features - 2);
        random.shuffle(&mut places);
        for (order, place) in places.iter().enumerate() {
            let is_in = order < size;
            drawn[[row, *place as usize]] = f32::from(u8::from(is_in));
            if row + 1 < drawn.nrows() {
                drawn[[row + 1, *place as usize]] = f32::from(u8::from(!is_in));
            }
        }
    }
    let outputs = value(&drawn);
    let (base, all) = (f64::from(*outputs.first()?), f64::from(*outputs.get(1)?));
    // The last value is determined by the sum and the other values.
    let last = features - 1;
    let mut normal = Array2::<f64>::zeros((last, last));
    let mut right = Array1::<f64>::zeros(last);
    for (coalition, output) in drawn.outer_iter().zip(&outputs).skip(2) {
        let own = |feature: usize| f64::from(coalition[feature] - coalition[last]);
        let rest = f64::from(*output) - base - f64::from(coalition[last]) * (all - base);
        for i in 0..last {
            right[i] += own(i) * rest;
            for j in 0..last {
                normal[[i, j]] += own(i) * own(j);
            }
        }
    }
    let mut values = solve(normal, right)?.to_vec();
    values.push(all - base - values.iter().sum::<f64>());
    Some(values.into())
}

/// Solves a system of linear equations by elimination with pivots; `None` if it is singular.
fn solve(mut a: Array2<f64>, mut b: Array1<f64>) -> Option<Array1<f64>> {
    let n = b.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|i, j| a[[*i, column]].abs().total_cmp(&a[[*j, column]].abs()))?;
        if a[[pivot, column]].abs() < 1e-9 {
            return None;
        }
        for j in 0..n {
            a.swap([column, j], [pivot, j]);
        }
        b.swap(column, pivot);
        for row in column + 1..n {
            let factor = a[[row, column]] / a[[column, column]];
            for j in column..n {
                a[[row, j]] -= factor * a[[column, j]];
            }
            b[row] -= factor * b[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|j| a[[row, j]] * b[j]).sum();
        b[row] = (b[row] - known) / a[[row, row]];
    }
    Some(b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The values of a linear function are its terms. A product of two features is shared between
    /// them.
    #[test]
    fn values_of_a_function_with_a_known_answer() {
        const WEIGHTS: [f32; 5] = [1.0, -2.0, 0.5, 0.0, 3.0];
        let mut value = |coalitions: &Array2<f32>| -> Vec<f32> {
            let linear = |row: ndarray::ArrayView1<'_, f32>| row.iter().zip(WEIGHTS).map(|(x, w)| x * w).sum::<f32>();
            coalitions.outer_iter().map(|row| 0.25 + linear(row) + 2.0 * row[0] * row[4]).collect()
        };
        let values = kernel_shap(5, 20_000, &mut Random::new(1), &mut value).unwrap();
        for (found, expected) in values.iter().zip([2.0, -2.0, 0.5, 0.0, 4.0]) {
            assert!((found - expected).abs() < 0.05, "{values}");
        }
        assert!((values.sum() - 4.5).abs() < 1e-6, "{values}");
        let too_few = kernel_shap(5, 4, &mut Random::new(1), &mut value);
        assert!(too_few.is_none(), "{too_few:?}");
    }
}
