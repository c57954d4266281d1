//! Features that predict too much: the outcome almost alone, so that they may be known only after
//! it, or the group of a protected attribute, so that leaving out the protected column does not
//! hide the group.
//!
//! Each feature is evaluated alone, on a sample of the rows, by the area under the ROC curve of its
//! values. Numbers are ranked by their order, in either direction. Values are ranked by the share
//! of rows with a positive answer, counted on the other half of the sample, so that rare values are
//! not overrated.
//!
//! *Cost:* a sort of the sample for each feature and question (the outcome, or a group).

use std::collections::BTreeMap;

use serde::Serialize;

use super::gaps::SMALL_GROUP;
use crate::rows::{Attribute, NO_GROUP, Row};

/// The smallest area at which a feature is reported to predict the outcome.
pub const PREDICTS_TARGET: f64 = 0.98;
/// The smallest area at which a feature counts as the outcome itself, or its complement.
pub const IS_TARGET: f64 = 0.9995;
/// The smallest area at which a feature is reported to predict a group.
pub const PREDICTS_GROUP: f64 = 0.8;
/// Numbers with at most this many distinct values are also ranked as values.
const FEW_VALUES: usize = 20;

/// A feature that predicts the outcome or a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Proxy {
    /// The feature.
    pub feature: String,
    /// The protected column whose group the feature predicts; null if it predicts the outcome.
    pub attribute: Option<String>,
    /// The group that the feature separates from the reference; null if it predicts the outcome.
    pub group: Option<String>,
    /// Area under the ROC curve of the feature alone; 0.5 if it predicts nothing.
    pub auc: f64,
    /// Number of rows on which the area was measured.
    pub rows: u64,
}

/// Finds the features that predict the outcome or a group, on a sample of rows. A feature is a name
/// and a column. The best predictors of each question come first.
pub fn proxies(rows: &[Row<'_>], features: &[(String, usize)], attributes: &[&Attribute]) -> Vec<Proxy> {
    let mut found = Vec::new();
    let target = |row: &Row<'_>| row.label;
    ask(rows, features, &target, PREDICTS_TARGET, &mut found, |feature, auc, rows| Proxy {
        feature,
        attribute: None,
        group: None,
        auc,
        rows,
    });
    for (place, attribute) in attributes.iter().enumerate().filter(|(_, attribute)| !attribute.is_intersection()) {
        let others: Vec<(String, usize)> =
            features.iter().filter(|(name, _)| name != attribute.column()).cloned().collect();
        for (group, name) in (0..NO_GROUP).zip(attribute.groups()).skip(1) {
            let is_group = |row: &Row<'_>| match row.groups.get(place) {
                Some(0) => Some(false),
                Some(own) if *own == group => Some(true),
                _ => None,
            };
            ask(rows, &others, &is_group, PREDICTS_GROUP, &mut found, |feature, auc, rows| Proxy {
                feature,
                attribute: Some(attribute.column().to_owned()),
                group: Some(name.clone()),
                auc,
                rows,
            });
        }
    }
    found
}

/// Evaluates every feature for one question, and adds those that answer it well.
fn ask(
    rows: &[Row<'_>],
    features: &[(String, usize)],
    question: &dyn Fn(&Row<'_>) -> Option<bool>,
    least: f64,
    found: &mut Vec<Proxy>,
    proxy: impl Fn(String, f64, u64) -> Proxy,
) {
    let asked: Vec<(&Row<'_>, bool)> = rows.iter().filter_map(|row| Some((row, question(row)?))).collect();
    let yes = asked.iter().filter(|(_, answer)| *answer).count() as u64;
    let all = asked.len() as u64;
    if yes < SMALL_GROUP || all - yes < SMALL_GROUP {
        return;
    }
    let mut own: Vec<Proxy> = features
        .iter()
        .filter_map(|(name, column)| {
            let auc = area(&asked, *column);
            (auc >= least).then(|| proxy(name.clone(), auc, all))
        })
        .collect();
    own.sort_by(|a, b| b.auc.total_cmp(&a.auc));
    found.append(&mut own);
}

/// Returns how well a column alone answers.
fn area(asked: &[(&Row<'_>, bool)], column: usize) -> f64 {
    let numbers: Option<Vec<(f64, bool)>> = asked
        .iter()
        .filter(|(row, _)| !row.cell(column).is_missing())
        .map(|(row, answer)| Some((row.cell(column).number()?, *answer)))
        .collect();
    let by_order = numbers.as_ref().map(|numbers| {
        let auc = auc(numbers.clone());
        // A column that is mostly missing is evaluated as values.
        let share = numbers.len() as f64 / asked.len() as f64;
        0.5 + share * (auc.max(1.0 - auc) - 0.5)
    });
    let is_few = numbers.is_none_or(|numbers| {
        let mut values: Vec<u64> = numbers.iter().map(|(number, _)| number.to_bits()).collect();
        values.sort_unstable();
        values.dedup();
        values.len() <= FEW_VALUES
    });
    let by_value = is_few.then(|| by_value(asked, column));
    by_order.into_iter().chain(by_value).filter(|auc| !auc.is_nan()).fold(0.0, f64::max)
}

/// Returns the area when each row's value is ranked by its share of positive answers in the other
/// half of the rows.
fn by_value(asked: &[(&Row<'_>, bool)], column: usize) -> f64 {
    let mut counts: BTreeMap<Vec<u8>, [[f64; 2]; 2]> = BTreeMap::new();
    let key = |row: &Row<'_>| if row.cell(column).is_missing() { Vec::new() } else { row.text(column).into_owned() };
    let mut whole = [[0.0; 2]; 2];
    for (place, (row, answer)) in asked.iter().enumerate() {
        let half = place % 2;
        counts.entry(key(row)).or_default()[half][usize::from(*answer)] += 1.0;
        whole[half][usize::from(*answer)] += 1.0;
    }
    let share = |[no, yes]: [f64; 2], prior: f64| (yes + prior) / (no + yes + 1.0);
    let scored = asked.iter().enumerate().map(|(place, (row, answer))| {
        let half = 1 - place % 2;
        let [no, yes] = whole[half];
        let own = counts.get(&key(row)).map_or([0.0; 2], |counts| counts[half]);
        (share(own, yes / (no + yes)), *answer)
    });
    auc(scored.collect())
}

/// Returns the area under the ROC curve, where ties count half; NaN if one of the answers does not
/// occur.
fn auc(mut scored: Vec<(f64, bool)>) -> f64 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut ordered, mut yes_all) = (0.0, 0.0, 0.0);
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let yes = tied.iter().filter(|(_, answer)| *answer).count() as f64;
        let no = tied.len() as f64 - yes;
        ordered += yes * (below + 0.5 * no);
        below += no;
        yes_all += yes;
    }
    ordered / (yes_all * below)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rows::{Buffer, Stream, Use};
    use crate::schema::Schema;

    #[test]
    fn areas_are_those_of_ordered_pairs() {
        assert_eq!(auc(vec![(0.9, true), (0.8, false), (0.8, true), (0.1, false)]), 3.5 / 4.0);
        assert!(auc(vec![(1.0, true)]).is_nan());
    }

    /// A copy, its complement as text, a number that follows the outcome, one that follows the
    /// group, noise with as many values as rows, and a constant.
    #[test]
    fn copies_and_stand_ins_are_found_and_noise_is_not() {
        let schema =
            "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"a\"]\n";
        let schema = Schema::from_toml("s", schema).unwrap();
        let names = ["copy", "complement", "later", "street", "noise", "constant"];
        let mut text = format!("{},g,y\n", names.join(","));
        for row in 0..1_000_u32 {
            let mixed = row.wrapping_mul(2_654_435_761) >> 16;
            let (y, g) = (mixed % 3 == 0, mixed % 2 == 0);
            let street = if (mixed >> 4) % 10 == 0 {
                "mill"
            } else if g {
                "oak"
            } else {
                "elm"
            };
            let later = u32::from(y) * 90 + (mixed >> 3) % 101;
            let complement = if y { "no" } else { "yes" };
            text += &format!(
                "{},{complement},{later},{street},n{row},7,{},{}\n",
                u8::from(y),
                if g { "a" } else { "b" },
                u8::from(y)
            );
        }
        let mut stream = Stream::from_reader("rows", std::io::Cursor::new(text), &schema, Use::Learn).unwrap();
        let mut buffer = Buffer::new(8, &[0, 1, 2, 3, 4, 5], 1);
        buffer.fill(&mut stream, 1_000).unwrap();
        let rows: Vec<Row<'_>> = buffer.rows().collect();
        let features: Vec<(String, usize)> =
            names.iter().zip(0..).map(|(name, column)| ((*name).to_owned(), column)).collect();
        let attributes: Vec<&Attribute> = stream.attributes().collect();
        let found = proxies(&rows, &features, &attributes);
        let names: Vec<(&str, Option<&str>)> = found.iter().map(|p| (&*p.feature, p.group.as_deref())).collect();
        assert_eq!(names, [("copy", None), ("complement", None), ("later", None), ("street", Some("b"))]);
        assert!(found[..2].iter().all(|p| p.auc >= IS_TARGET) && found[2].auc < IS_TARGET, "{found:?}");
        assert!((0.98..IS_TARGET).contains(&found[3].auc) && found[3].rows == 1_000, "{found:?}");
    }
}
