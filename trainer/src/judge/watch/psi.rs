//! The population stability index of two sets of counts, and its size by chance.

/// Returns the population stability index (Siddiqi 2006) of counts against those of a reference:
///
/// ```text
/// psi = sum over cells of (a - e) ln(a / e)      a, e = (count + 1/2) / (n + cells / 2)
/// ```
///
/// Here `a` belongs to the counts and `e` to the reference. The half keeps the index finite if a
/// cell is empty. NaN if either has no values.
#[must_use]
pub fn psi(counts: &[u64], reference: &[u64]) -> f64 {
    let shares = |counts: &[u64]| {
        let sum = counts.iter().sum::<u64>() as f64 + 0.5 * counts.len() as f64;
        counts.iter().map(|count| (*count as f64 + 0.5) / sum).collect::<Vec<_>>()
    };
    if [counts, reference].iter().any(|counts| counts.iter().sum::<u64>() == 0) {
        return f64::NAN;
    }
    shares(counts).iter().zip(shares(reference)).map(|(a, e)| (a - e) * libm::log(a / e)).sum()
}

/// Returns the value that the index exceeds in about 5 % of samples without any drift:
///
/// ```text
/// (1 / n + 1 / m) q(k - 1)      q the 95 % point of chi-squared, by Wilson and Hilferty (1931)
/// ```
///
/// Here `n` counts are compared with `m`, in `k` cells that are not empty in both (Yurdakul and
/// Naranjo 2020). The value is too small if cells are expected to have fewer than about five
/// counts.
#[must_use]
pub fn by_chance(counts: &[u64], reference: &[u64]) -> f64 {
    let used = counts.iter().zip(reference).filter(|(a, e)| **a + **e > 0).count();
    let (n, m) = (counts.iter().sum::<u64>() as f64, reference.iter().sum::<u64>() as f64);
    let Some(freedom) = used.checked_sub(1).filter(|freedom| *freedom > 0) else { return 0.0 };
    let spread = 2.0 / (9.0 * freedom as f64);
    let root = 1.0 - spread + 1.644_854 * spread.sqrt();
    (1.0 / n + 1.0 / m) * freedom as f64 * root * root * root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_its_formula_and_nothing_between_equals() {
        let by_hand = |a: f64, e: f64| (a - e) * libm::log(a / e);
        let expected = by_hand(30.5 / 101.0, 60.5 / 101.0) + by_hand(70.5 / 101.0, 40.5 / 101.0);
        assert!((psi(&[30, 70], &[60, 40]) - expected).abs() < 1e-12);
        assert!((psi(&[30, 70], &[60, 40]) - psi(&[60, 40], &[30, 70])).abs() < 1e-12);
        assert_eq!(psi(&[3, 0, 5], &[3, 0, 5]), 0.0);
        assert!(psi(&[0, 0], &[1, 1]).is_nan() && psi(&[], &[]).is_nan());
        assert!(psi(&[0, 100], &[100, 0]).is_finite());
    }

    #[test]
    fn the_chance_level_is_the_quantile_of_tables() {
        // 95 % points of chi-squared with 3 and 15 degrees of freedom: 7.815 and 24.996.
        for (cells, point) in [(4, 7.815), (16, 24.996)] {
            let counts = vec![100_u64; cells];
            let n = 100.0 * cells as f64;
            assert!((by_chance(&counts, &counts) * n / 2.0 - point).abs() < 0.02 * point);
        }
        assert_eq!(by_chance(&[5, 0], &[7, 0]), 0.0);
    }
}
