//! Fits an encoder on the first rows: which columns are features, and the kind, scale, bins and
//! levels of each.

use crate::tuned::{Tuned, tuned};
use std::borrow::Cow;

use feamoe_engine::Value;
use feamoe_engine::limits::MAX_BINS;
use feamoe_engine::schema::{Transform, bin, clamp};
use rustc_hash::FxHashMap;

use super::bins::edges;
use super::follow::{LevelCounts, Recent, thinned};
use super::levels::Levels;
use super::number::{Bin, CLASSES, KNOTS, MANY, Resolution};
use super::{Block, Category, Encoder, Feature, Kind, Number, Options, Quality, bad_cell};
use crate::error::Error;
use crate::model::FEATURES;
use crate::rows::{BadCells, Buffer, Merged, Row, column, is_number_column, merged, value};
use crate::schema::{Features, Schema};

/// Standardised values are clamped to this many standard deviations, so that outliers cannot
/// disturb the learner.
static CLAMP_SD: Tuned<f64> = tuned!(5.0);

/// See [`fence`].
static FENCE: Tuned<f32> = tuned!(3.0);

/// Values are clamped to this magnitude, so that the difference of two values cannot overflow.
const LARGEST: f32 = 1e37;

/// Smaller standard deviations are treated as rounding errors: weights divided by one would exceed
/// the range of the engine's sums.
const SMALLEST_SD: f64 = 1e-20;

/// Finds the feature columns and fits each, with at most `most_bins` bins per number. `most_bins`
/// is that of the options, or less.
pub(super) fn fit(
    rows: &Buffer,
    names: &[String],
    schema: &Schema,
    options: &Options,
    most_bins: usize,
) -> Result<Encoder, Error> {
    if options.bins > MAX_BINS {
        return Err(Error::Input(format!("found {} bins, expected 0 to {MAX_BINS}", options.bins)));
    }
    let file = rows.row(0).map_or_else(String::new, |row| row.position.file.to_owned());
    let columns = feature_columns(names, &file, schema)?;
    let features = Vec::with_capacity(columns.len());
    let mut encoder = Encoder { features, most_bins, has_slopes: options.bins < MANY.get(), ..Encoder::default() };
    encoder.set_schema(schema);
    for column in columns {
        let name = names[column].clone();
        let reveals_group = schema.protected.iter().any(|protected| protected.columns().any(|column| *column == name));
        let kind = match numbers(rows, column, &name, &schema.features, schema.table.bad_cells)? {
            Some(values) => {
                let sample = Sample { newest: &values, older: &[] };
                let mut number = number(&sample, transform(&name, schema), encoder.resolution_of(&name));
                encoder.place(&mut number);
                if reveals_group {
                    number.first_block = number.first_block.revealing_group();
                }
                Kind::Number(number)
            }
            None => {
                let mut category = category(rows, column, schema.features.max_levels, &mut encoder);
                let is_empty = category.levels.iter().len() == 0 && !schema.features.categorical.contains(&name);
                category.undecided = is_empty.then(Vec::new);
                category.transform = transform(&name, schema);
                if reveals_group {
                    category.block = category.block.revealing_group();
                }
                Kind::Category(category)
            }
        };
        encoder.extent.push([f32::INFINITY, f32::NEG_INFINITY]);
        encoder.quality.push(Quality::default());
        encoder.features.push(Feature { name, column, kind });
    }
    Ok(encoder)
}

/// Returns the columns that are features, in the order of the table. `file` stands for the table in
/// messages.
pub(crate) fn feature_columns(names: &[String], file: &str, schema: &Schema) -> Result<Vec<usize>, Error> {
    let Features { drop, only, .. } = &schema.features;
    for (key, name) in schema.features.columns() {
        column(names, file, name, &format!("features.{key}"))?;
    }
    for (name, dates) in &schema.table.dates {
        for part in &dates.parts {
            column(names, file, &format!("{name}.{}", part.name()), "table.dates")?;
        }
    }
    for name in schema.table.missing_in.keys() {
        column(names, file, name, "table.missing_in")?;
    }
    let is_feature = |name: &String| {
        let hidden = schema
            .protected
            .iter()
            .any(|protected| !protected.as_feature && protected.columns().any(|column| column == name));
        let chosen = only.is_empty() || only.contains(name);
        chosen && !hidden && *name != schema.target.column && !drop.contains(name)
    };
    let names = names.iter().enumerate();
    let columns: Vec<usize> = names.filter(|(_, name)| is_feature(name)).map(|(index, _)| index).collect();
    // Refuse before learning a model that this build could not load again.
    if !(1..=FEATURES).contains(&columns.len()) {
        return Err(Error::FeatureCount { found: columns.len(), limit: FEATURES });
    }
    Ok(columns)
}

fn transform(name: &String, schema: &Schema) -> Transform {
    if schema.features.log1p.contains(name) { Transform::Log1p } else { Transform::Identity }
}

/// Returns the finite numbers of a column, or `None` if it is categorical: listed as such, without
/// any value, or with many cells that are not numbers.
fn numbers(
    rows: &Buffer,
    column: usize,
    name: &String,
    features: &Features,
    bad_cells: BadCells,
) -> Result<Option<Vec<f32>>, Error> {
    if features.categorical.contains(name) {
        return Ok(None);
    }
    let numeric = ["log1p", "monotone", "ranges", "steps", "increase_only", "decrease_only"];
    let wanted_by = numeric.into_iter().find(|key| features.columns().any(|entry| entry == (key, name)));
    let mut values = Vec::with_capacity(rows.len());
    let mut others: Vec<(Row<'_>, String)> = Vec::new();
    for row in rows.rows() {
        let cell = row.cell(column);
        if cell.is_missing() {
            continue;
        }
        match (value(cell, None), wanted_by) {
            (Some(Value::Number(x)), Some("log1p")) if x < 0.0 => {
                if bad_cells == BadCells::Error {
                    return Err(bad_cell(&row, name, cell));
                }
            }
            (Some(Value::Number(x)), _) if x.is_finite() => values.push(x + 0.0), // -0.0 and 0.0 are one value
            (Some(_), _) => {}
            (None, _) => {
                let text = cell.text().unwrap_or_default();
                others.push((row, String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    let counted = others.iter().map(|(_, text)| (text.as_str(), 1));
    if wanted_by.is_none() && !is_number_column(values.len() as u64, counted) {
        return Ok(None);
    }
    if let (BadCells::Error, Some((row, _))) = (bad_cells, others.first()) {
        let cell = row.cell(column);
        return Err(match wanted_by {
            None => bad_cell(row, name, cell),
            Some(key) => {
                let help = format!(
                    "features.{key} lists the column; take it off, or name the cell under table.missing_in if it means that the value is \
                     not known"
                );
                row.not_a_number(name, cell, help)
            }
        });
    }
    match (values.is_empty(), wanted_by) {
        (true, Some(wanted_by)) => Err(Error::NoNumbers { column: name.clone(), wanted_by, rows: rows.len() }),
        (true, None) => Ok(None),
        (false, _) => match merged(rows.rows().filter_map(|row| row.cell(column).number())) {
            Some(Merged { distinct, kept, pair }) => {
                Err(Error::TooCloseTogether { column: name.clone(), distinct, kept, pair })
            }
            None => Ok(Some(values)),
        },
    }
}

/// The finite values that a number is fitted on.
pub(super) struct Sample<'a> {
    /// The values that determine the scale, in their order; not empty.
    pub newest: &'a [f32],
    /// Older values that the bins must distinguish as well.
    pub older: &'a [f32],
}

/// Fits scale, range and bins of a number. The caller must then assign its weight rows and blocks.
pub(super) fn number(sample: &Sample<'_>, transform: Transform, resolution: Resolution) -> Number {
    let values: Vec<f32> = sample.newest.iter().map(|x| clamp(*x, -LARGEST, LARGEST)).collect();
    let count = values.len() as f64;
    let fence = fence(values.iter().map(|x| transform.apply(*x)).collect());
    let transformed = || values.iter().map(|x| f64::from(clamp(transform.apply(*x), fence[0], fence[1])));
    let mean = transformed().sum::<f64>() / count;
    let variance = transformed().map(|t| (t - mean) * (t - mean)).sum::<f64>() / count;
    // A column that is constant so far, or nearly so, keeps its unit.
    let sd = if variance > SMALLEST_SD * SMALLEST_SD { variance.sqrt() } else { 1.0 };
    let [low, high] = [mean - CLAMP_SD.get() * sd, mean + CLAMP_SD.get() * sd].map(|t| match transform {
        Transform::Identity => finite(t),
        Transform::Log1p => finite(libm::expm1(t)).max(0.0),
    });
    let mut distinguished: Vec<f32> = values.iter().map(|x| clamp(*x, low, high)).collect();
    if !sample.older.is_empty() {
        distinguished.sort_unstable_by(f32::total_cmp);
        distinguished = thinned(&distinguished, sample.older.len());
        distinguished.extend(sample.older);
    }
    let (low, high) = sample.older.iter().fold((low, high), |(low, high), x| (low.min(*x), high.max(*x)));
    let edges = edges(distinguished.clone(), resolution.most_bins);
    let standardised = |x: f32| ((f64::from(transform.apply(x)) - mean) / sd).clamp(-CLAMP_SD.get(), CLAMP_SD.get());
    let bins = if edges.is_empty() { Vec::new() } else { bins_of(&distinguished, &edges, standardised) };
    let is_wide = |x: &f32| bins.get(bin(*x, &edges)).is_some_and(|bin| bin.value != *x);
    let is_sloped = resolution.has_slopes && distinguished.iter().any(is_wide);
    let knots = resolution.knots(&bins, is_sloped);
    let (mean, sd) = (finite(mean), finite(sd));
    let (first_row, first_block, capacity) = (0, Block::NONE, 0);
    let recent = Recent::default();
    let mut number = Number {
        transform,
        mean,
        sd,
        low,
        high,
        edges,
        bins,
        is_sloped,
        knots,
        first_row,
        first_block,
        capacity,
        recent,
    };
    number.recent = Recent::new(&number, &distinguished, &values);
    number
}

/// Returns the data of each bin between edges. The values are divided into equal parts; the part
/// that the middle of a bin lies in determines its class, and likewise its knot. A knot is at the
/// mean of its values.
fn bins_of(values: &[f32], edges: &[f32], standardised: impl Fn(f32) -> f64) -> Vec<Bin> {
    let mut counted = vec![(0.0_f64, 0.0_f64, 0.0_f32); edges.len() + 1];
    for x in values {
        if let Some((count, sum, value)) = counted.get_mut(bin(*x, edges)) {
            (*count, *sum, *value) = (*count + 1.0, *sum + standardised(*x), *x);
        }
    }
    let counts: Vec<f64> = counted.iter().map(|(count, ..)| *count).collect();
    let mut highest = f32::NEG_INFINITY;
    let bin = |((count, sum, value), class): ((f64, f64, f32), u16)| {
        // Rounding may reverse the order of neighbouring means that are nearly equal.
        highest = if count > 0.0 { highest.max(finite(sum / count)) } else { highest.max(0.0) };
        Bin { place: highest, value, class, knot: 0, share: 0.0 }
    };
    let mut bins: Vec<Bin> = counted.iter().copied().zip(parts(&counts, CLASSES)).map(bin).collect();
    let mut knots = vec![(0.0, 0.0); KNOTS.get()];
    for ((count, sum, _), knot) in counted.iter().zip(parts(&counts, KNOTS.get())) {
        if let Some((all, total)) = knots.get_mut(usize::from(knot)) {
            (*all, *total) = (*all + count, *total + sum);
        }
    }
    let places = knots.into_iter().filter(|(count, _)| *count > 0.0).map(|(count, sum)| finite(sum / count));
    place_between(&mut bins, &places.collect::<Vec<f32>>());
    bins
}

/// Divides everything counted into `most` equal parts. Returns, for each count, the number of the
/// part that its middle lies in. Parts without a count are skipped.
fn parts(counts: &[f64], most: usize) -> Vec<u16> {
    let total: f64 = counts.iter().sum();
    let (mut before, mut last, mut index) = (0.0, None, 0);
    let part = |count: &f64| {
        let middle = (before + count / 2.0) / total;
        before += count;
        let own = Some(((middle * most as f64) as usize).min(most - 1));
        index += u16::from(last.is_some() && own != last);
        last = own;
        index
    };
    counts.iter().map(part).collect()
}

/// Sets the knots that each bin lies between, and its position between them.
fn place_between(bins: &mut [Bin], knots: &[f32]) {
    let most = knots.len().saturating_sub(2);
    for bin in bins {
        let left = knots.iter().filter(|knot| **knot <= bin.place).count().saturating_sub(1).min(most);
        if let [from, to, ..] = knots[left..] {
            let width = to - from;
            bin.share = if width > 0.0 { ((bin.place - from) / width).clamp(0.0, 1.0) } else { 0.0 };
        }
        bin.knot = left as u16;
    }
}

/// Returns the range to which values are clamped before mean and standard deviation are computed:
/// [`FENCE`] times the width of the inner 98 % beyond its ends. Otherwise a single typing error,
/// such as 999999999 for 9,999, would determine the unit of the whole column. The range is
/// unbounded if the inner 98 % are one value, because then only the other values carry information.
fn fence(mut values: Vec<f32>) -> [f32; 2] {
    values.sort_unstable_by(f32::total_cmp);
    let at = |share: f64| values.get((share * (values.len() - 1) as f64).round() as usize).copied().unwrap_or(0.0);
    let [low, high] = [at(0.01), at(0.99)];
    let margin = FENCE.get() * (high - low);
    if margin > 0.0 { [low - margin, high + margin] } else { [f32::NEG_INFINITY, f32::INFINITY] }
}

fn finite(x: f64) -> f32 {
    x.clamp(f64::from(-LARGEST), f64::from(LARGEST)) as f32
}

/// Keeps the most frequent levels, earlier ones first among equals, and assigns their weight rows
/// in the order of appearance.
fn category(rows: &Buffer, column: usize, max_levels: usize, encoder: &mut Encoder) -> Category {
    let mut index_of: FxHashMap<Cow<'_, [u8]>, usize> = FxHashMap::default();
    let mut counted: Vec<(Cow<'_, [u8]>, u64)> = Vec::new();
    let cells: Vec<Row<'_>> = rows.rows().collect();
    for level in cells.iter().filter_map(|row| row.cell(column).text()) {
        let index = *index_of.entry(level.clone()).or_insert(counted.len());
        if index == counted.len() {
            counted.push((level, 0));
        }
        counted[index].1 += 1;
    }
    let mut kept: Vec<usize> = (0..counted.len()).collect();
    kept.sort_by_key(|&index| std::cmp::Reverse(counted[index].1));
    kept.truncate(max_levels);
    kept.sort_unstable();
    let unseen_row = encoder.add_rows(2);
    let block = encoder.add_blocks(1);
    let mut levels = Levels::default();
    for index in kept {
        levels.add(&counted[index].0, encoder.add_rows(1));
    }
    let (counts, undecided, transform) = (LevelCounts::default(), None, Transform::Identity);
    Category { levels, max_levels, unseen_row, block, counts, undecided, transform }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_not_the_unit_of_a_column() {
        let line = Resolution::new(0, false, false);
        let unit = |values: Vec<f32>| number(&Sample { newest: &values, older: &[] }, Transform::Identity, line).sd();
        let amounts = |slips: &[f32]| (0..5_000_u16).map(f32::from).chain(slips.iter().copied()).collect::<Vec<_>>();
        let plain = unit(amounts(&[]));
        for slips in [&[999_999_999.0][..], &[-1e30], &[1e9; 20]] {
            let found = unit(amounts(slips));
            assert!((found / plain - 1.0).abs() < 0.3, "{slips:?}: {found} for {plain}");
        }
        // Values where fewer than 1 % of the rows differ from the usual one, and a long tail.
        let mut rare = vec![0.0; 4_990];
        rare.extend([1.0; 10]);
        assert!((unit(rare) - 0.0447).abs() < 1e-3);
        let tail: Vec<f32> = (1..5_000_u16).map(|rank| 1e4 / f32::from(rank)).collect();
        let [inner, whole] = [fence(tail.clone()), [f32::MIN, f32::MAX]];
        let within = |ends: [f32; 2]| tail.iter().filter(|x| ends[0] <= **x && **x <= ends[1]).count();
        assert!(within(whole) - within(inner) < 30, "all but the outermost values count as they are");
    }
}
