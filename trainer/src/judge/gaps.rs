//! A group compared with its reference by every measure: values, intervals, and the measures for
//! which there are too few records.

use feamoe_engine::fairness::{Measure, Z_95, interval_at};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::tally::{Moments, Side};

/// Smallest number of records that each rate of a measure needs.
pub const SMALL_GROUP: u64 = 30;

/// Up to this selection rate or error rate, hardly anyone is selected.
const HARDLY_ANYBODY: f32 = 0.1;

/// Number of measures.
const MEASURES: usize = Measure::ALL.len();

/// The comparison of one group with its reference.
///
/// Serialises with three keys for each measure: its value (`spd`), its 95 % interval
/// (`spd_interval`), and its interval corrected for the number of comparisons (`spd_corrected`),
/// see [`correct`].
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GroupGaps {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The unprivileged group.
    pub group: String,
    /// The privileged group.
    pub reference: String,
    /// Number of records of the group.
    pub rows: u64,
    /// Number of records of the reference.
    pub reference_rows: u64,
    /// Number of declined records of the group for which no recourse was found. `recourse_burden`
    /// does not count them.
    pub without_recourse: u64,
    /// Number of declined records of the reference for which no recourse was found.
    pub reference_without_recourse: u64,
    /// The value and the intervals of each measure.
    #[serde(flatten)]
    measures: Measures,
    /// Measures that cannot be judged.
    pub too_few: Vec<TooFew>,
}

/// The result of a comparison by one measure.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Compared {
    /// The value; NaN without supporting records.
    value: f32,
    interval: Option<[f32; 2]>,
    corrected: Option<[f32; 2]>,
    /// The largest magnitude possible for any decisions with these selection or error rates.
    largest: f32,
}

/// The comparisons by measure, in the order of [`Measure::ALL`].
#[derive(Clone, Debug, PartialEq)]
struct Measures([Compared; MEASURES]);

impl Measures {
    fn get(&self, measure: Measure) -> &Compared {
        let [first, ..] = &self.0;
        self.0.get(index(measure)).unwrap_or(first)
    }
}

fn index(measure: Measure) -> usize {
    Measure::ALL.iter().position(|known| *known == measure).unwrap_or_default()
}

impl Serialize for Measures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3 * MEASURES))?;
        for (measure, compared) in Measure::ALL.iter().zip(&self.0) {
            let name = measure.name();
            map.serialize_entry(name, &compared.value)?;
            map.serialize_entry(&format!("{name}_interval"), &compared.interval)?;
            map.serialize_entry(&format!("{name}_corrected"), &compared.corrected)?;
        }
        map.end()
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for Measures {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Measures".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (value, interval) = (generator.subschema_for::<f32>(), generator.subschema_for::<Option<[f32; 2]>>());
        let mut properties = serde_json::Map::new();
        for name in Measure::ALL.map(Measure::name) {
            let keys = [
                (name.to_owned(), &value, format!("The measure {name}.")),
                (format!("{name}_interval"), &interval, format!("95 % interval of {name}; null if there is none.")),
                (
                    format!("{name}_corrected"),
                    &interval,
                    "The interval that holds for all groups simultaneously.".to_owned(),
                ),
            ];
            for (key, schema, description) in keys {
                let mut schema = schema.clone();
                schema.insert("description".to_owned(), description.into());
                properties.insert(key, schema.into());
            }
        }
        let required: Vec<&String> = properties.keys().collect();
        schemars::json_schema!({ "type": "object", "properties": properties, "required": required })
    }
}

/// Returns the name of a measure in headings.
#[must_use]
pub const fn heading(measure: Measure) -> &'static str {
    match measure {
        Measure::Spd => "SPD",
        Measure::Aod => "AOD",
        Measure::Eodds => "EOdds",
        Measure::Eopp => "EOpp",
        Measure::Burden => "burden",
        Measure::RecourseBurden => "recourse burden",
        Measure::Impact => "impact",
    }
}

/// A measure that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct TooFew {
    /// The measure.
    pub measure: &'static str,
    /// The kind of records that are too few, such as `declined records`.
    pub of: &'static str,
    /// Where they are too few: `group`, `reference` or `group and reference`.
    pub side: &'static str,
    /// Number of records found.
    pub found: u64,
    /// Number of further records needed.
    pub missing: u64,
}

/// Returns the counts on one side that must be large enough for a measure.
fn needs(measure: Measure, side: &Side) -> [(&'static str, u64); 2] {
    let rows = ("records", side.decisions.rows());
    let favourable = ("records with the favourable outcome", side.labelled.labelled(true));
    let other = ("records with the unfavourable outcome", side.labelled.labelled(false));
    match measure {
        Measure::Spd | Measure::Impact => [rows; 2],
        Measure::Eopp => [favourable; 2],
        Measure::Aod | Measure::Eodds => [favourable, other],
        Measure::Burden => [("declined records", side.decisions.decided(false)); 2],
        Measure::RecourseBurden => [("declined records with a recourse", side.distances.found()); 2],
    }
}

/// Returns the count that is too small to judge a measure, if any.
#[must_use]
pub fn too_few(measure: Measure, sides: [&Side; 2]) -> Option<TooFew> {
    let [u, r] = sides.map(|side| needs(measure, side));
    let counts =
        u.map(|(of, found)| (of, "group", found)).into_iter().chain(r.map(|(of, found)| (of, "reference", found)));
    let short = |needed: u64| {
        move |(of, side, found)| {
            let missing = needed.checked_sub(found).filter(|missing| *missing > 0)?;
            Some(TooFew { measure: measure.name(), of, side, found, missing })
        }
    };
    let few = counts.into_iter().find_map(short(SMALL_GROUP));
    // A ratio of two rates of 0 is undefined.
    let nobody = || {
        let selected = sides.iter().map(|side| side.decisions.decided(true)).sum();
        short(1)(("selected records", "group and reference", selected)).filter(|_| measure == Measure::Impact)
    };
    few.or_else(nobody)
}

/// Returns the interval of a measure between two sides at the two-sided normal quantile `z`.
///
/// For burdens it is the interval of the difference of two means with unequal variances, by the
/// normal approximation. For the others see [`interval_at`].
fn interval(measure: Measure, [u, r]: [&Side; 2], z: f32) -> Option<[f32; 2]> {
    let means = |gap: f32, u: &Option<Moments>, r: &Option<Moments>| {
        let half = f64::from(z) * (u.as_ref()?.squared_error() + r.as_ref()?.squared_error()).sqrt();
        #[allow(clippy::cast_possible_truncation)]
        let ends = [(f64::from(gap) - half) as f32, (f64::from(gap) + half) as f32];
        (!half.is_nan() && !gap.is_nan()).then_some(ends)
    };
    let gap = || measure.gap(&u.rates(), &r.rates());
    let found = match measure {
        Measure::Burden => return means(gap(), &u.burden, &r.burden),
        Measure::RecourseBurden => return means(gap(), &u.spread, &r.spread),
        _ if measure.needs_labels() => interval_at(measure, &u.labelled, &r.labelled, z),
        _ => interval_at(measure, &u.decisions, &r.decisions, z),
    };
    found.map(|found| [found.low, found.high])
}

/// Returns the largest magnitude possible for a measure if very few or nearly all records are
/// selected; infinite if the rates do not bound it.
fn largest(measure: Measure, [u, r]: [&Side; 2]) -> f32 {
    let (u, r) = (u.rates(), r.rates());
    // Two rates that are both at most x, or both at least 1 - x, are at most x apart.
    let apart = |a: f32, b: f32| a.max(b).min(1.0 - a.min(b));
    let tpr = || apart(u.true_positive, r.true_positive);
    let fpr = || apart(u.false_positive, r.false_positive);
    match measure {
        Measure::Spd => apart(u.positive, r.positive),
        Measure::Eopp => tpr(),
        Measure::Aod => 0.5 * (tpr() + fpr()),
        Measure::Eodds => tpr().max(fpr()),
        Measure::Burden | Measure::RecourseBurden | Measure::Impact => f32::INFINITY,
    }
}

impl GroupGaps {
    /// Compares a group with its reference, given the names and counts of both. The corrected
    /// intervals are empty until [`correct`] knows how many comparisons there are.
    #[must_use]
    pub fn new(attribute: &str, [group, reference]: [&str; 2], sides: [&Side; 2]) -> Self {
        let [u, r] = sides;
        let (rates, reference_rates) = (u.rates(), r.rates());
        let compared = |measure: Measure| Compared {
            value: measure.gap(&rates, &reference_rates),
            interval: interval(measure, sides, Z_95),
            corrected: None,
            largest: largest(measure, sides),
        };
        Self {
            attribute: attribute.to_owned(),
            group: group.to_owned(),
            reference: reference.to_owned(),
            rows: u.decisions.rows(),
            reference_rows: r.decisions.rows(),
            without_recourse: u.distances.without(),
            reference_without_recourse: r.distances.without(),
            measures: Measures(Measure::ALL.map(compared)),
            too_few: Measure::ALL.into_iter().filter_map(|measure| too_few(measure, sides)).collect(),
        }
    }

    /// Returns the value of a measure; NaN without supporting records.
    #[must_use]
    pub fn measure(&self, measure: Measure) -> f32 {
        self.measures.get(measure).value
    }

    /// Returns the 95 % interval of a measure, if it has one.
    #[must_use]
    pub fn interval(&self, measure: Measure) -> Option<[f32; 2]> {
        self.measures.get(measure).interval
    }

    /// Returns the interval of a measure corrected for the number of comparisons: see [`correct`].
    #[must_use]
    pub fn corrected(&self, measure: Measure) -> Option<[f32; 2]> {
        self.measures.get(measure).corrected
    }

    /// Returns why a measure cannot be judged; `None` if it can.
    #[must_use]
    pub fn too_few(&self, measure: Measure) -> Option<&TooFew> {
        self.too_few.iter().find(|few| few.measure == measure.name())
    }

    /// Returns whether hardly anyone or nearly everyone is selected, so that no decisions with
    /// these rates could exceed the limit.
    #[must_use]
    pub fn is_vacuous(&self, measure: Measure, limit: f32) -> bool {
        self.measures.get(measure).largest <= measure.allowance(limit).min(HARDLY_ANYBODY)
    }

    /// Returns the magnitude of the inequality by a measure, at least 0; `None` if it cannot be
    /// judged.
    #[must_use]
    pub fn magnitude(&self, measure: Measure) -> Option<f32> {
        let magnitude = measure.magnitude(self.measure(measure));
        (self.too_few(measure).is_none() && !magnitude.is_nan()).then_some(magnitude)
    }
}

/// Sets the corrected intervals of all comparisons that are judged: in 95 % of samples, all of them
/// contain their true values. With k groups and no true gap, at least one of the plain intervals
/// excludes 0 in up to 5 k % of samples.
///
/// Method of Holm (1979): the i-th clearest of m comparisons is taken at the level 5 % / (m - i +
/// 1). Once an interval includes equal treatment, all later ones are taken at the same level.
/// `sides` must be those that `gaps` were made from.
pub fn correct(gaps: &mut [GroupGaps], sides: &[[Side; 2]]) {
    // Distance of the value from equal treatment, in half widths of its interval.
    let clearness = |value: f32, [low, high]: [f32; 2], equal: f32| {
        let half = if value > equal { value - low } else { high - value };
        match (value - equal).abs() {
            0.0 => 0.0,
            apart if half > 0.0 => apart / half,
            _ => f32::INFINITY,
        }
    };
    let mut comparisons = Vec::new();
    for (place, found) in gaps.iter().enumerate() {
        for measure in Measure::ALL {
            if let (Some(_), Some(interval)) = (found.magnitude(measure), found.interval(measure)) {
                comparisons.push((clearness(found.measure(measure), interval, equal(measure)), place, measure));
            }
        }
    }
    // Ties are broken by name, so that the order of the groups does not matter.
    let name = |place: usize| gaps.get(place).map(|found| (&found.attribute, &found.group));
    comparisons.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| name(a.1).cmp(&name(b.1))));
    let mut left = comparisons.len();
    let mut is_over = false;
    for (_, place, measure) in comparisons {
        #[allow(clippy::cast_precision_loss)]
        let z = quantile(0.05 / left as f64);
        let (Some(found), Some([u, r])) = (gaps.get_mut(place), sides.get(place)) else { continue };
        let corrected = interval(measure, [u, r], z);
        if let Some(compared) = found.measures.0.get_mut(index(measure)) {
            compared.corrected = corrected;
        }
        let includes = |[low, high]: [f32; 2]| low <= equal(measure) && equal(measure) <= high;
        is_over |= corrected.is_none_or(includes);
        if !is_over {
            left -= 1;
        }
    }
}

/// Returns the value of a measure under equal treatment.
fn equal(measure: Measure) -> f32 {
    if measure == Measure::Impact { 1.0 } else { 0.0 }
}

/// Returns the z for which a standard normal variable lies outside `-z..z` with this probability.
pub(super) fn quantile(outside: f64) -> f32 {
    let (mut low, mut high) = (0.0_f64, 40.0);
    // Bisects down to the spacing of f64.
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if libm::erfc(middle * std::f64::consts::FRAC_1_SQRT_2) > outside { low = middle } else { high = middle }
    }
    #[allow(clippy::cast_possible_truncation)]
    let z = low as f32;
    z
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tally::Decisions;
    use super::*;

    /// For each label, the number of records and how many of them are selected.
    fn side(cells: &[(bool, u32, u32)]) -> Side {
        let mut decisions = Decisions::default();
        for (label, rows, selected) in cells {
            (0..*rows).for_each(|row| decisions.observe(*label, if row < *selected { 0.75 } else { 0.25 }, 0.5));
        }
        Side::of(&decisions)
    }

    #[test]
    fn a_measure_needs_only_the_records_behind_its_rates() {
        let one_outcome = side(&[(false, 600, 0)]);
        let both = side(&[(false, 300, 100), (true, 300, 200)]);
        let gaps = GroupGaps::new("a", ["u", "r"], [&one_outcome, &both]);
        let judged = |gaps: &GroupGaps| Measure::ALL.map(|measure| gaps.magnitude(measure).is_some());
        assert_eq!(judged(&gaps), [true, false, false, false, true, false, true]);
        assert_eq!(gaps.magnitude(Measure::Spd), Some(0.5));
        let few = gaps.too_few(Measure::Eopp).unwrap();
        assert_eq!((few.of, few.side, few.found, few.missing), ("records with the favourable outcome", "group", 0, 30));
        // Nobody was declined; nobody was selected.
        let selected = side(&[(false, 40, 40), (true, 40, 40)]);
        let declined = side(&[(false, 40, 0), (true, 40, 0)]);
        let gaps = GroupGaps::new("a", ["u", "r"], [&both, &selected]);
        assert_eq!(
            gaps.too_few(Measure::Burden).map(|few| (few.of, few.side)),
            Some(("declined records", "reference"))
        );
        let gaps = GroupGaps::new("a", ["u", "r"], [&declined, &declined]);
        assert_eq!(gaps.too_few(Measure::Impact).map(|few| few.missing), Some(1));
        assert_eq!(gaps.magnitude(Measure::Spd), Some(0.0));
        assert!(gaps.is_vacuous(Measure::Spd, 0.01) && gaps.is_vacuous(Measure::Eodds, 0.01));
        assert!(!GroupGaps::new("a", ["u", "r"], [&both, &declined]).is_vacuous(Measure::Spd, 0.1));
        // 29 records are too few, 30 are not.
        for (rows, is_judged) in [(29, false), (30, true)] {
            let gaps = GroupGaps::new("a", ["u", "r"], [&side(&[(true, rows, 3)]), &both]);
            assert_eq!(gaps.magnitude(Measure::Spd).is_some(), is_judged);
        }
    }

    #[test]
    fn quantiles_are_the_normal_ones() {
        for (outside, z) in [(0.05, 1.959_964), (0.05 / 2.0, 2.241_403), (0.05 / 9.0, 2.772_921), (1.0, 0.0)] {
            assert!((quantile(outside) - z).abs() < 1e-4, "{outside}: {}", quantile(outside));
        }
    }

    /// Two groups, one of which clearly differs, by all six known measures. The first comparison is
    /// taken at a twelfth of the level. Once an interval includes equal treatment, the level stays.
    #[test]
    fn later_comparisons_are_corrected_less() {
        let reference = side(&[(false, 500, 100), (true, 500, 400)]);
        let groups = [side(&[(false, 500, 450), (true, 500, 100)]), reference];
        let sides: Vec<[Side; 2]> = groups.iter().map(|group| [*group, reference]).collect();
        let mut gaps: Vec<GroupGaps> = sides.iter().map(|[u, r]| GroupGaps::new("a", ["u", "r"], [u, r])).collect();
        correct(&mut gaps, &sides);
        let at = |group: usize, measure, comparisons: f64| {
            interval(measure, [&groups[group], &reference], quantile(0.05 / comparisons))
        };
        let level = |group: usize, measure| {
            (1..=12).find(|left| gaps[group].corrected(measure) == at(group, measure, f64::from(*left)))
        };
        // The error rates are 0.7 and 0.6 apart; their mean is 0.05 with twice the confidence of
        // SPD. All burdens are equal, so their intervals have no width at any level.
        assert_eq!(Measure::ALL.map(|measure| level(0, measure)), [9, 10, 12, 11, 1, 1, 9].map(Some));
        for measure in [Measure::Spd, Measure::Aod, Measure::Eodds, Measure::Eopp, Measure::Impact] {
            assert_eq!(level(1, measure), Some(9), "{measure:?}");
        }
    }
}
