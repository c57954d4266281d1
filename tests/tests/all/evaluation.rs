//! Compares the evaluation with an independent twin that computes every figure from the list of
//! records, in f64, by its definition. The order of records and the numbers of groups change
//! nothing, and counts of parts add up to counts of the whole.

use feamoe::judge::evaluation::{Evaluation, Evaluator};
use feamoe::judge::gaps::GroupGaps;
use feamoe::rows::{Attribute, NO_GROUP};
use feamoe::schema::Protected;
use feamoe_engine::fairness::{Measure, Rates, WideCounts, interval};
use feamoe_testkit::generate::Draw;

/// The number of lists of records drawn.
const LISTS: u64 = 3_000;
/// Rates are f32, and burdens are sums of 2^-24.
const TOLERANCE: f64 = 1e-6;
/// Distances are summed in units of 2^-16.
const DISTANCE_TOLERANCE: f64 = 2e-5;
/// Scores closer than this may count as ties.
const TIE: f64 = 1e-6;
/// Two-sided 95 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

#[derive(Clone, Debug)]
struct Record {
    label: bool,
    score: f32,
    groups: Vec<u8>,
    /// The distance of a declined record for which a recourse was found.
    distance: Option<f32>,
}

struct List {
    threshold: f32,
    /// Number of groups per attribute.
    attributes: Vec<usize>,
    records: Vec<Record>,
}

impl List {
    /// Draws records that lie on edges more often than real ones.
    fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let threshold = draw.one_of(&[0.5, 0.5, 0.3, 0.999, 1e-6, f32::from_bits(0.5_f32.to_bits() - 1)]);
        let attributes: Vec<usize> = (0..draw.below(4)).map(|_| 1 + draw.below(5)).collect();
        let count = draw.one_of(&[0, 1, 2, 7, 60, 400]);
        let (positive, coarse) = (draw.one_of(&[0.0, 0.02, 0.5, 1.0]), draw.one_of(&[true, false]));
        let records = (0..count).map(|_| {
            let score = match draw.below(8) {
                0 => threshold,
                1 => f32::from_bits(threshold.to_bits() - 1),
                2 => draw.one_of(&[0.0, 1.0, f32::MIN_POSITIVE, 1.0 - f32::EPSILON / 2.0]),
                _ if coarse => draw.below(11) as f32 / 10.0,
                _ => draw.between(0.0, 1.0),
            };
            Record {
                label: draw.between(0.0, 1.0) < positive,
                score,
                groups: attributes
                    .iter()
                    .map(|groups| match draw.below(groups + 1) {
                        none if none == *groups => NO_GROUP,
                        group => group as u8,
                    })
                    .collect(),
                distance: (draw.below(5) > 0).then(|| draw.between(0.0, 4.0)),
            }
        });
        let records = records.collect();
        Self { threshold, attributes, records }
    }

    /// Groups of an attribute are named by number; the privileged group comes first.
    fn attributes(&self) -> Vec<Attribute> {
        let attribute = |(index, groups): (usize, &usize)| {
            let name = |group: usize| format!("group {group}");
            Attribute::new(&Protected {
                column: format!("attribute {index}"),
                privileged: vec![name(0)],
                unprivileged: Some((1..*groups).map(name).collect()),
                as_feature: false,
                ..Protected::default()
            })
        };
        self.attributes.iter().enumerate().map(attribute).collect()
    }

    fn evaluate(&self) -> Evaluation {
        let mut evaluator = Evaluator::new(self.threshold, self.attributes.len());
        for record in &self.records {
            evaluator.observe(record.label, record.score, &record.groups);
            if record.score < self.threshold {
                evaluator.observe_distance(record.distance, &record.groups);
            }
        }
        evaluator.report(&self.attributes())
    }

    fn of_group(&self, attribute: usize, group: usize) -> Vec<&Record> {
        self.records.iter().filter(|record| usize::from(record.groups[attribute]) == group).collect()
    }

    fn counts(&self, records: &[&Record]) -> WideCounts {
        let mut counts = WideCounts::default();
        records.iter().for_each(|record| counts.observe(record.label, record.score, self.threshold));
        counts
    }
}

/// The figures of some records, each by its definition. NaN if no record supports a figure.
struct Twin<'a> {
    threshold: f32,
    records: Vec<&'a Record>,
}

impl Twin<'_> {
    fn mean_of(values: impl Iterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn share(&self, among: impl Fn(&Record) -> bool, of: impl Fn(&Record) -> bool) -> f64 {
        Self::mean_of(self.records.iter().filter(|r| among(r)).map(|r| f64::from(u8::from(of(r)))))
    }

    fn is_positive(&self, record: &Record) -> bool {
        record.score >= self.threshold
    }

    fn positive(&self) -> f64 {
        self.share(|_| true, |r| self.is_positive(r))
    }

    fn rate(&self, label: bool) -> f64 {
        self.share(|r| r.label == label, |r| self.is_positive(r))
    }

    fn accuracy(&self) -> f64 {
        self.share(|_| true, |r| self.is_positive(r) == r.label)
    }

    fn precision(&self) -> f64 {
        self.share(|r| self.is_positive(r), |r| r.label)
    }

    fn declined(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().copied().filter(|record| !self.is_positive(record))
    }

    fn burden(&self) -> f64 {
        Self::mean_of(self.declined().map(|r| f64::from(self.threshold) - f64::from(r.score)))
    }

    fn recourse(&self) -> f64 {
        Self::mean_of(self.declined().filter_map(|r| r.distance).map(f64::from))
    }

    fn log_loss(&self) -> f64 {
        Self::mean_of(self.records.iter().map(|r| {
            let p = f64::from(if r.label { r.score } else { 1.0 - r.score });
            -p.max(3e-8).ln()
        }))
    }

    fn calibration_error(&self) -> f64 {
        let in_bin = |bin: u32| {
            let is_in = |r: &&&Record| ((r.score * 10.0) as u32).min(9) == bin;
            let gap = |r: &&Record| f64::from(r.score) - f64::from(u8::from(r.label));
            self.records.iter().filter(is_in).map(gap).sum::<f64>().abs()
        };
        (0..10).map(in_bin).sum::<f64>() / self.records.len() as f64
    }

    /// Returns the area under the ROC curve, and by how much ties may move it.
    fn auc(&self) -> [f64; 2] {
        let (mut ordered, mut near, mut pairs) = (0.0, 0.0, 0.0);
        for positive in self.records.iter().filter(|r| r.label) {
            for negative in self.records.iter().filter(|r| !r.label) {
                let apart = f64::from(positive.score) - f64::from(negative.score);
                pairs += 1.0;
                ordered += if apart > 0.0 { 1.0 } else { f64::from(u8::from(apart == 0.0)) / 2.0 };
                near += f64::from(u8::from(apart != 0.0 && apart.abs() <= TIE)) / 2.0;
            }
        }
        [ordered / pairs, near / pairs]
    }

    /// Returns Wilson's score interval of a share of `n`, with the share in the middle.
    fn wilson(share: f64, n: usize, z: f64) -> [f64; 3] {
        let n = n as f64;
        let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
        [centre - half, share, centre + half]
    }

    /// Returns Newcombe's interval of the difference of two shares.
    fn newcombe([u_low, u, u_high]: [f64; 3], [r_low, r, r_high]: [f64; 3]) -> [f64; 2] {
        let gap = u - r;
        [gap - (u - u_low).hypot(r_high - r), gap + (u_high - u).hypot(r - r_low)]
    }
}

#[track_caller]
fn assert_near(found: impl Into<f64>, expected: f64, what: &str) {
    assert_within(TOLERANCE, found, expected, what);
}

#[track_caller]
fn assert_within(tolerance: f64, found: impl Into<f64>, expected: f64, what: &str) {
    let found = found.into();
    let is_near = (found.is_nan() && expected.is_nan()) || (found - expected).abs() <= tolerance;
    assert!(is_near, "{what}: found {found}, expected {expected}");
}

/// Returns the squared standard error of the mean.
fn squared_error(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0) / n
}

/// Returns the intervals, each by its definition; `None` if a rate has no records.
fn intervals(u: &Twin<'_>, r: &Twin<'_>) -> [Option<[f64; 2]>; 7] {
    let shares_at = |twin: &Twin<'_>, label: Option<bool>, z: f64| {
        let among: Vec<&&Record> = twin.records.iter().filter(|r| label.is_none_or(|label| r.label == label)).collect();
        let share = label.map_or_else(|| twin.positive(), |label| twin.rate(label));
        (!among.is_empty()).then(|| Twin::wilson(share, among.len(), z))
    };
    let shares = |twin: &Twin<'_>, label| shares_at(twin, label, Z);
    let difference = |label| Some(Twin::newcombe(shares(u, label)?, shares(r, label)?));
    let errors = difference(Some(true)).zip(difference(Some(false)));
    let gap = |label: bool| u.rate(label) - r.rate(label);
    let halves = errors.map(|(tpr, fpr)| {
        let centre = (gap(true) + gap(false)) / 2.0;
        let reach = |end: usize| (tpr[end] - gap(true)).hypot(fpr[end] - gap(false)) / 2.0;
        [centre - reach(0), centre + reach(1)]
    });
    let folded = |[low, high]: [f64; 2]| {
        [if low * high < 0.0 { 0.0 } else { low.abs().min(high.abs()) }, low.abs().max(high.abs())]
    };
    // The lower end uses a quantile that is exceeded half as often.
    let rarer = (Z * Z + 2.0 * 2_f64.ln()).sqrt();
    let error = |label, z| Some(folded(Twin::newcombe(shares_at(u, Some(label), z)?, shares_at(r, Some(label), z)?)));
    let larger_at = |z| error(true, z).zip(error(false, z)).map(|(tpr, fpr)| [0, 1].map(|end| tpr[end].max(fpr[end])));
    let larger = larger_at(rarer).zip(larger_at(Z)).map(|([low, _], [_, high])| [low, high]);
    let means = |of: &dyn Fn(&Twin<'_>) -> Vec<f64>| {
        let (u, r) = (of(u), of(r));
        let half = Z * (squared_error(&u) + squared_error(&r)).sqrt();
        let gap = Twin::mean_of(u.into_iter()) - Twin::mean_of(r.into_iter());
        (!half.is_nan()).then_some([gap - half, gap + half])
    };
    let burdens = |twin: &Twin<'_>| -> Vec<f64> {
        twin.declined().map(|record| f64::from(twin.threshold) - f64::from(record.score)).collect()
    };
    let distances = |twin: &Twin<'_>| twin.declined().filter_map(|record| record.distance).map(f64::from).collect();
    let ratio = shares(u, None).zip(shares(r, None)).filter(|(_, r)| r[1] > 0.0).map(|([l1, p1, u1], [l2, p2, u2])| {
        let root = |a: f64, b: f64| ((p1 * p2).powi(2) - a * b * (2.0 * p1 - a) * (2.0 * p2 - b)).max(0.0).sqrt();
        let low = if p1 > 0.0 { l1 * (2.0 * p1 - l1) / (p1 * p2 + root(l1, u2)) } else { 0.0 };
        [low, (p1 * p2 + root(u1, l2)) / (l2 * (2.0 * p2 - l2))]
    });
    [difference(None), halves, larger, difference(Some(true)), means(&burdens), means(&distances), ratio]
}

/// Returns the numbers of records of which a measure needs at least 30.
fn needs(measure: Measure, twin: &Twin<'_>) -> Vec<usize> {
    let labelled = |label: bool| twin.records.iter().filter(|record| record.label == label).count();
    match measure {
        Measure::Spd | Measure::Impact => vec![twin.records.len()],
        Measure::Eopp => vec![labelled(true)],
        Measure::Aod | Measure::Eodds => vec![labelled(true), labelled(false)],
        Measure::Burden => vec![twin.declined().count()],
        Measure::RecourseBurden => vec![twin.declined().filter(|record| record.distance.is_some()).count()],
    }
}

fn assert_gaps(gaps: &GroupGaps, u: &Twin<'_>, r: &Twin<'_>, what: &str) {
    let [tpr, fpr] = [true, false].map(|label| u.rate(label) - r.rate(label));
    let larger = if tpr.is_nan() || fpr.is_nan() { f64::NAN } else { tpr.abs().max(fpr.abs()) };
    let expected = [
        u.positive() - r.positive(),
        (tpr + fpr) / 2.0,
        larger,
        tpr,
        u.burden() - r.burden(),
        u.recourse() - r.recourse(),
        u.positive() / r.positive(),
    ];
    let without = |twin: &Twin<'_>| twin.declined().filter(|record| record.distance.is_none()).count() as u64;
    assert_eq!((gaps.without_recourse, gaps.reference_without_recourse), (without(u), without(r)), "{what}");
    for ((measure, expected), ends) in Measure::ALL.into_iter().zip(expected).zip(intervals(u, r)) {
        let what = format!("{what}: {measure:?}");
        let found = gaps.measure(measure);
        let (tolerance, scale) = match measure {
            Measure::RecourseBurden => (DISTANCE_TOLERANCE, 1.0),
            Measure::Impact if expected.is_infinite() => {
                assert!(found.is_infinite(), "{what}");
                continue;
            }
            // The error of a ratio is proportional to its size.
            Measure::Impact => (4e-6, if expected.is_nan() { 1.0 } else { expected.max(1.0) }),
            _ => (TOLERANCE, 1.0),
        };
        assert_within(tolerance * scale, found, expected, &what);
        let found = gaps.interval(measure);
        assert_eq!(found.is_some(), ends.is_some(), "{what}");
        for (found, expected) in found.into_iter().flatten().zip(ends.into_iter().flatten()) {
            if !(expected.is_infinite() || found.is_infinite()) {
                assert_within(
                    10.0 * tolerance * expected.abs().max(1.0),
                    found,
                    expected,
                    &format!("{what}: interval"),
                );
            }
        }
        let is_few = |twin: &Twin<'_>| needs(measure, twin).into_iter().any(|records| records < 30);
        let nobody = measure == Measure::Impact && u.positive() + r.positive() == 0.0;
        assert_eq!(gaps.too_few(measure).is_some(), is_few(u) || is_few(r) || nobody, "{what}");
        if let Some(few) = gaps.too_few(measure) {
            let of = |twin| needs(measure, twin).into_iter().find(|records| *records < 30);
            let found = of(u).or_else(|| of(r)).unwrap_or_default() as u64;
            let needed = if nobody && !is_few(u) && !is_few(r) { 1 } else { 30 };
            assert_eq!((few.found, few.missing), (found, needed - found), "{what}");
        }
    }
}

#[test]
fn every_figure_is_that_of_a_naive_twin() {
    let mut judged = 0;
    for seed in 0..LISTS {
        let list = List::draw(seed);
        let found = list.evaluate();
        let all = Twin { threshold: list.threshold, records: list.records.iter().collect() };
        assert_eq!(found.rows, list.records.len() as u64);
        assert_near(found.accuracy, all.accuracy(), "accuracy");
        assert_near(found.balanced_accuracy, (all.rate(true) + 1.0 - all.rate(false)) / 2.0, "balanced accuracy");
        assert_near(found.log_loss, all.log_loss(), "log-loss");
        assert_near(found.calibration_error, all.calibration_error(), "calibration error");
        assert_near(found.selection_rate, all.positive(), "selection rate");
        let [auc, ties] = all.auc();
        let is_near = (found.auc.is_nan() && auc.is_nan()) || (found.auc - auc).abs() <= ties + 1e-9;
        assert!(is_near, "list {seed}: AUC {} for {auc}", found.auc);
        let mut gaps = found.fairness.iter();
        let mut groups = found.groups.iter();
        for (attribute, count) in list.attributes.iter().enumerate() {
            let twin = |group| Twin { threshold: list.threshold, records: list.of_group(attribute, group) };
            for group in 0..*count {
                let what = format!("list {seed}, attribute {attribute}, group {group}");
                let (u, report) = (twin(group), groups.next().unwrap());
                assert_eq!(report.rows, u.records.len() as u64, "{what}");
                assert_near(report.selection_rate, u.positive(), &what);
                assert_near(report.base_rate, u.share(|_| true, |r| r.label), &what);
                assert_near(report.fnr, 1.0 - u.rate(true), &what);
                let cell = |label, decision| {
                    u.records.iter().filter(|r| r.label == label && u.is_positive(r) == decision).count()
                };
                let cells = [cell(true, true), cell(false, true), cell(false, false), cell(true, false)];
                assert_eq!([report.tp, report.fp, report.tn, report.r#fn], cells.map(|cell| cell as u64), "{what}");
                assert_near(report.tpr, u.rate(true), &what);
                assert_near(report.fpr, u.rate(false), &what);
                assert_near(report.accuracy, u.accuracy(), &what);
                assert_near(report.precision, u.precision(), &what);
                assert_near(report.calibration_error, u.calibration_error(), &what);
                assert_within(DISTANCE_TOLERANCE, report.recourse_burden, u.recourse(), &what);
                let without = u.declined().filter(|record| record.distance.is_none()).count();
                assert_eq!(report.without_recourse, without as u64, "{what}");
                if group > 0 {
                    assert_gaps(gaps.next().unwrap(), &u, &twin(0), &what);
                    judged += 1;
                }
            }
        }
        assert!(gaps.next().is_none() && groups.next().is_none());
        for measure in Measure::ALL {
            let judged = found.fairness.iter().filter(|gaps| gaps.too_few(measure).is_none());
            let unequal = |value: f32| match measure {
                Measure::Impact => 1.0 - value.min(1.0 / value),
                _ => value.abs(),
            };
            let largest = judged.map(|gaps| unequal(gaps.measure(measure))).max_by(f32::total_cmp);
            assert_eq!(found.worst(measure).map(unequal), largest, "list {seed}: {measure:?}");
        }
    }
    assert!(judged > 5_000, "{judged}");
}

/// Returns the bits of the figures, except those that are f64 sums in the order of the records.
fn bits(evaluation: &Evaluation) -> Vec<u32> {
    let gaps = evaluation.fairness.iter().flat_map(|gaps| {
        let ends = Measure::ALL.into_iter().flat_map(|measure| [gaps.interval(measure), gaps.corrected(measure)]);
        Measure::ALL.map(|measure| gaps.measure(measure)).into_iter().chain(ends.flatten().flatten())
    });
    let groups = evaluation.groups.iter().flat_map(|group| {
        [group.selection_rate, group.tpr, group.fpr, group.precision, group.accuracy, group.recourse_burden]
    });
    let all = [evaluation.accuracy, evaluation.balanced_accuracy, evaluation.auc as f32];
    all.into_iter().chain(gaps).chain(groups).map(f32::to_bits).collect()
}

#[test]
fn the_order_of_records_changes_no_bit() {
    for seed in 0..LISTS / 3 {
        let mut list = List::draw(seed);
        let before = list.evaluate();
        let mut draw = Draw::new(!seed);
        for end in (1..list.records.len()).rev() {
            list.records.swap(end, draw.below(end + 1));
        }
        let after = list.evaluate();
        assert_eq!(bits(&before), bits(&after), "list {seed}");
        assert_near(after.log_loss, before.log_loss, "log-loss");
    }
}

#[test]
fn the_numbers_of_groups_change_no_gap() {
    for seed in 0..LISTS / 3 {
        let list = List::draw(seed);
        let Some(groups) = list.attributes.first().filter(|groups| **groups > 2) else { continue };
        // Rotates the unprivileged groups.
        let turned = |group: u8| match usize::from(group) {
            0 => 0,
            group if group < *groups => (1 + group % (groups - 1)) as u8,
            _ => group,
        };
        let records = list.records.iter().map(|record| {
            let mut record = record.clone();
            record.groups[0] = turned(record.groups[0]);
            record
        });
        let other = List { records: records.collect(), attributes: list.attributes.clone(), threshold: list.threshold };
        let (before, after) = (list.evaluate(), other.evaluate());
        for group in 1..*groups {
            let (a, b) = (&before.fairness[group - 1], &after.fairness[usize::from(turned(group as u8)) - 1]);
            let gaps = |gaps: &GroupGaps| Measure::ALL.map(|measure| gaps.measure(measure).to_bits());
            assert_eq!((gaps(a), a.rows, &a.too_few), (gaps(b), b.rows, &b.too_few), "list {seed}");
            let ends = |gaps: &GroupGaps| Measure::ALL.map(|measure| gaps.corrected(measure));
            assert_eq!(ends(a), ends(b), "list {seed}");
        }
    }
}

#[test]
fn counting_in_parts_is_counting_once() {
    for seed in 0..LISTS {
        let list = List::draw(seed);
        let records: Vec<&Record> = list.records.iter().collect();
        let mut merged = WideCounts::default();
        let mut rest = &records[..];
        let mut draw = Draw::new(!seed);
        while !rest.is_empty() {
            let (part, after) = rest.split_at(1 + draw.below(rest.len()));
            merged.merge(&list.counts(part));
            rest = after;
        }
        assert_eq!(merged, list.counts(&records), "list {seed}");
    }
}

/// Counts beyond 32 bits.
#[test]
fn counts_past_32_bits_keep_their_rates() {
    let mut counts = [WideCounts::default(); 2];
    for (group, (label, score)) in [(true, 0.75), (false, 0.25), (false, 0.75), (true, 0.25)].into_iter().enumerate() {
        counts[group % 2].observe(label, score, 0.5);
        counts[0].observe(label, score, 0.5);
    }
    let shares = |rates: &Rates| [rates.positive, rates.true_positive, rates.false_positive, rates.burden];
    let rates = counts.map(|counts| counts.rates());
    for counts in &mut counts {
        for _ in 0..40 {
            counts.merge(&counts.clone());
        }
    }
    assert_eq!(counts[0].rows(), 6 << 40);
    assert_eq!(counts.map(|counts| shares(&counts.rates())), rates.each_ref().map(shares));
    let [u, r] = &counts;
    let gap = Measure::Spd.gap(&rates[0], &rates[1]);
    let interval = interval(Measure::Spd, u, r).unwrap();
    assert!(interval.low <= gap && gap <= interval.high && interval.high - interval.low < 1e-5);
}
