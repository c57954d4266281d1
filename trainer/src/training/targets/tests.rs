//! Targets that can be held, that contradict each other, or that have too few records, on streams
//! of two groups.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::learner::LearnerOptions;
use crate::rows::Input;
use crate::schema::Schema;
use crate::training::{self, Options};

const SCHEMA: &str = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"r\"]\nas_feature = true\n";

/// Trains on records of the reference `r`, of `u`, whose chances are lower by `handicap`, and on
/// `rare` records of a third group.
fn run(handicap: f32, rows: usize, rare: usize, targets: &[(Measure, f32)]) -> training::Run {
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let mut uniform = move || (random.next_u64() >> 40) as f32 / 16_777_216.0;
    let mut text = String::from("a,g,y\n");
    for row in 0..rows {
        let group = if rare > 0 && row.is_multiple_of(rows / rare) {
            "rare"
        } else if uniform() < 0.4 {
            "u"
        } else {
            "r"
        };
        let a = 2.0 * uniform() - 1.0 - if group == "u" { handicap } else { 0.0 };
        let y = uniform() < 1.0 / (1.0 + libm::expf(-5.0 * a));
        let _ = writeln!(text, "{a:.4},{group},{}", u8::from(y));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    std::fs::write(&file, text).unwrap();
    let learner =
        targets.iter().fold(LearnerOptions::default(), |options, (measure, gap)| options.target(*measure, *gap));
    let options = Options::new(learner.check().unwrap());
    training::run(
        &[Input::from(&*file)],
        &Schema::from_toml("s.toml", SCHEMA).unwrap(),
        &options,
        &mut training::unwatched,
    )
    .unwrap()
}

fn of<'a>(reports: &'a [TargetReport], measure: &str, group: &str) -> &'a TargetReport {
    reports.iter().find(|report| report.measure == measure && report.group == group).unwrap()
}

#[test]
fn targets_that_agree_are_held() {
    let reports = targets(&run(0.5, 20_000, 0, &[(Measure::Aod, 0.1), (Measure::Burden, 0.05)]));
    assert_eq!(reports.len(), 2);
    for report in &reports {
        assert!(report.verdict < Some(Verdict::NotMet) && report.gap.abs() <= report.target, "{report:#?}");
        assert!(report.verdict.is_some() && report.conflicts_with.is_none(), "{report:#?}");
        assert_eq!(report.reason.is_none(), report.verdict == Some(Verdict::Met), "{report:#?}");
        assert_eq!((&*report.attribute, &*report.group, &*report.reference), ("g", "u", "r"));
        assert_eq!((report.from, report.rows + report.reference_rows), (Some(15_001), 5_000));
    }
}

#[test]
fn a_burden_without_anybody_declined_is_not_judged() {
    let mut all = Decisions::default();
    (0..200).for_each(|row| all.observe(row % 4 > 0, 0.75, 0.5));
    let judged = judged(all, all);
    let options = LearnerOptions::default().target(Measure::Burden, 0.02).target(Measure::Spd, 0.1);
    let reports = reports(options, &judged);
    let burden = of(&reports, "burden", "u");
    assert!(burden.gap.is_nan() && burden.verdict.is_none(), "{burden:#?}");
    let reason = "0 declined records in the group, 30 more are needed";
    assert_eq!(burden.reason.as_deref(), Some(reason));
    let spd = of(&reports, "spd", "u");
    assert_eq!(spd.verdict, Some(Verdict::NotShown), "everybody is selected: {spd:#?}");
    assert!(spd.reason.as_ref().unwrap().starts_with("almost nobody or almost everybody is selected"), "{spd:#?}");
}

fn judged(u: Decisions, r: Decisions) -> Judged {
    Judged { u: Side::of(&u), r: Side::of(&r), from: Some(1) }
}

fn reports(options: LearnerOptions, judged: &Judged) -> Vec<TargetReport> {
    let gaps = GroupGaps::new("g", ["u", "r"], [&judged.u, &judged.r]);
    of_group(&Learner::new(options.check().unwrap(), 1), judged, [0, 1], &gaps, None)
}

#[test]
fn parity_and_equal_odds_on_unequal_base_rates_are_a_conflict() {
    let reports = targets(&run(0.7, 20_000, 0, &[(Measure::Spd, 0.02), (Measure::Eodds, 0.02)]));
    for (measure, other) in [("spd", "eodds"), ("eodds", "spd")] {
        // Whichever target the controllers miss; also if they meet both with decisions that carry
        // hardly any information.
        let report = of(&reports, measure, "u");
        assert_eq!(report.conflicts_with, Some(other), "{report:#?}");
        let reason = report.reason.as_ref().unwrap();
        assert!(reason.starts_with(&format!("contradicts the {other} target: ")), "{reason}");
    }
}

/// Returns decisions with these rates: of `rows` records, `positives` have the favourable label.
fn counts(rows: u64, positives: u64, tpr: f32, fpr: f32) -> Decisions {
    let mut counts = Decisions::default();
    for i in 0..rows {
        let label = i < positives;
        let (rank, all) = if label { (i, positives) } else { (i - positives, rows - positives) };
        let rate = if label { tpr } else { fpr };
        counts.observe(label, if (rank as f32) < rate * all as f32 - 0.5 { 1.0 } else { 0.0 }, 0.5);
    }
    counts
}

#[test]
fn a_conflict_is_reported_with_the_gap_that_remains() {
    let reports = |judged: &Judged| {
        reports(LearnerOptions::default().target(Measure::Spd, 0.02).target(Measure::Eodds, 0.05), judged)
    };
    // Equal odds, base rates of 30 % and 50 %: SPD is 0.6 * 0.2, and could be 0.05 less.
    let missed = reports(&judged(counts(10_000, 3_000, 0.8, 0.2), counts(10_000, 5_000, 0.8, 0.2)));
    let (spd, eodds) = (of(&missed, "spd", "u"), of(&missed, "eodds", "u"));
    assert_eq!((spd.verdict, eodds.verdict), (Some(Verdict::NotMet), Some(Verdict::Met)));
    assert!((spd.gap + 0.12).abs() < 1e-3 && (spd.smallest_possible.unwrap() - 0.07).abs() < 1e-3, "{spd:#?}");
    assert_eq!(
        spd.reason.as_deref(),
        Some(
            "contradicts the eodds target: 30.0 % of the group and 50.0 % of the reference have the favourable outcome, so that with TPR - FPR at 0.60 and \
             eodds at its target, spd cannot be below 0.070; raise one of the two targets"
        )
    );
    // Both are met by decisions that carry hardly any information: (0.02 + 0.05) / 0.2 is the
    // largest possible TPR - FPR.
    let held = reports(&judged(counts(10_000, 3_000, 0.05, 0.01), counts(10_000, 5_000, 0.05, 0.01)));
    assert!(
        held.iter().all(|report| report.verdict != Some(Verdict::NotMet) && report.smallest_possible.is_none()),
        "{held:#?}"
    );
    assert!(
        of(&held, "eodds", "u").reason.as_ref().unwrap().contains("with TPR - FPR below 0.35 (here 0.04)"),
        "{held:#?}"
    );
    // The same targets where base rates agree: nothing to report.
    let equal = reports(&judged(counts(10_000, 5_000, 0.8, 0.2), counts(10_000, 5_000, 0.8, 0.2)));
    assert!(
        equal.iter().all(|report| report.verdict == Some(Verdict::Met) && report.conflicts_with.is_none()),
        "{equal:#?}"
    );
}

#[test]
fn a_group_of_40_records_is_judged_by_what_needs_no_outcomes_of_both_kinds() {
    let run = run(0.5, 10_000, 40, &[(Measure::Spd, 0.1), (Measure::Aod, 0.1)]);
    let reports = targets(&run);
    let rare = of(&reports, "spd", "rare");
    assert_eq!((rare.rows, rare.from), (40, Some(1)), "the whole stream was looked through");
    let aod = of(&reports, "aod", "rare");
    assert_eq!(aod.verdict, None);
    assert!(aod.reason.as_ref().unwrap().contains("outcome in the group, "), "{aod:#?}");
    assert!(of(&reports, "aod", "u").verdict.is_some() && rare.verdict.is_some());
    let gaps = gaps(&run);
    assert_eq!(
        gaps.iter().map(|gaps| (&*gaps.group, gaps.too_few(Measure::Aod).is_some())).collect::<Vec<_>>(),
        [("rare", true), ("u", false)]
    );
}

/// Compares the bound of the formula with every classifier of two groups on a grid.
#[test]
fn the_smallest_possible_gap_is_a_bound_that_is_reached() {
    let (positives_u, positives_r) = (20, 60);
    let r = counts(100, positives_r, 0.8, 0.2);
    let mut least = [f32::INFINITY; 2];
    let targets = [(Measure::Spd, 0.06), (Measure::Eodds, 0.05)];
    let mut judged = judged(counts(100, positives_u, 0.8, 0.2), r);
    let bounds = [Measure::Spd, Measure::Eodds].map(|m| Trade::new(m, &targets, &judged).unwrap().smallest);
    for tpr in 0..=20_u8 {
        for fpr in 0..=80_u8 {
            judged.u = Side::of(&counts(100, positives_u, f32::from(tpr) / 20.0, f32::from(fpr) / 80.0));
            let gap = |measure: Measure| measure.gap(&judged.u.rates(), &judged.r.rates()).abs();
            let (spd, eodds) = (gap(Measure::Spd), gap(Measure::Eodds));
            if eodds <= 0.05 + 1e-6 {
                least[0] = least[0].min(spd);
            }
            if spd <= 0.06 + 1e-6 {
                least[1] = least[1].min(eodds);
            }
        }
    }
    // By hand: 0.6 * 0.4 - 0.05 = 0.19, 0.24 - 0.06 = 0.18.
    assert!((bounds[0] - 0.19).abs() < 1e-5 && (bounds[1] - 0.18).abs() < 1e-5, "{bounds:?}");
    for (least, bound) in least.into_iter().zip(bounds) {
        assert!(least >= bound - 1e-5 && least < bound + 0.02, "{least} for {bound}");
    }
}
