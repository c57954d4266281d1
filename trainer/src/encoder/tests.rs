#![allow(clippy::unwrap_used, clippy::panic)]
use std::io::Cursor;

use super::*;
use crate::rows::{Stream, Use};

const SCHEMA: &str = "
    [target]
    column = \"y\"
    positive = [\"1\"]
    [[protected]]
    column = \"sex\"
    privileged = [\"m\"]
    [features]
    log1p = [\"gain\"]
    categorical = [\"code\"]
    max_levels = 2
";

/// `age` has a missing cell; `code` has three levels, of which `7` is the rarest; `void` has no
/// value at all.
const TEXT: &str = "age,gain,code,sex,void,y\n\
    20,0,5,m,,1\n\
    40,3,7,f,,0\n\
    ?,0,6,f,,0\n\
    60,0,5,m,,1\n\
    40,7,6,m,,0\n";

fn schema() -> Schema {
    Schema::from_toml("s.toml", SCHEMA).unwrap()
}

fn examples(text: &str, options: &Options) -> Result<(Vec<Example>, Encoder), Error> {
    examples_by(&schema(), text, options)
}

fn examples_by(schema: &Schema, text: &str, options: &Options) -> Result<(Vec<Example>, Encoder), Error> {
    let stream = Stream::from_reader("f.csv", Cursor::new(text.to_string()), schema, Use::Learn)?;
    let mut examples = Examples::new(stream, schema, options)?;
    let mut all = Vec::new();
    let mut example = Example::default();
    while examples.next_example(&mut example)? {
        all.push(example.clone());
    }
    Ok((all, examples.encoder().clone()))
}

fn number(encoder: &Encoder, feature: usize) -> &Number {
    match encoder.features()[feature].kind() {
        Kind::Number(number) => number,
        Kind::Category(_) => panic!("feature {feature} is a category"),
    }
}

fn category(encoder: &Encoder, feature: usize) -> &Category {
    match encoder.features()[feature].kind() {
        Kind::Category(category) => category,
        Kind::Number(_) => panic!("feature {feature} is a number"),
    }
}

#[test]
fn kinds_follow_from_the_first_rows_and_the_schema() {
    let (_, encoder) = examples(TEXT, &Options::default()).unwrap();
    let names: Vec<&str> = encoder.features().iter().map(Feature::name).collect();
    assert_eq!(names, ["age", "gain", "code", "void"]);
    assert_eq!(number(&encoder, 0).transform(), Transform::Identity);
    assert_eq!(number(&encoder, 1).transform(), Transform::Log1p);
    assert_eq!(category(&encoder, 3).levels().len(), 0);
}

#[test]
fn a_number_is_standardised_by_the_mean_and_sd_of_the_first_rows() {
    let (all, encoder) = examples(TEXT, &Options::default()).unwrap();
    let age = number(&encoder, 0);
    let sd = 200.0_f32.sqrt();
    assert_eq!((age.mean(), age.sd()), (40.0, sd));
    assert_eq!(age.range(), [(40.0 - 5.0 * 200.0_f64.sqrt()) as f32, (40.0 + 5.0 * 200.0_f64.sqrt()) as f32]);
    assert_eq!(age.edges(), [30.0, 50.0]);
    let bin = |n| age.terms_of_bin(n).last().unwrap().0;
    let linear = |x: f32| Term { row: age.linear_row(), scale: (x - 40.0) / age.sd() };
    assert_eq!(all[0].terms[..2], [linear(20.0), bin(0)]);
    assert_eq!(all[3].terms[..2], [linear(60.0), bin(2)]);
    assert_eq!(all[2].terms[0], Term { row: age.missing_row(), scale: 1.0 });

    let gain = number(&encoder, 1);
    let mean = (4.0_f32.ln() + 8.0_f32.ln()) / 5.0;
    assert!((gain.mean() - mean).abs() < 1e-6);
    assert_eq!(gain.range()[0], 0.0);
    let term = all[1].terms[2];
    assert_eq!(term.row, gain.linear_row());
    assert!((term.scale - (libm::log1pf(3.0) - gain.mean()) / gain.sd()).abs() < 1e-6);
}

#[test]
fn outliers_are_clamped_before_transform_and_bin() {
    let text = format!("{TEXT}1e9,0,5,m,,1\ninf,1e30,5,m,,1\n-inf,nan,5,m,,1\n");
    let (binned, encoder) = examples(&text, &Options { warmup: 5, bins: 64 }).unwrap();
    let last_bin = number(&encoder, 0).terms_of_bin(2).last().unwrap().0;
    assert_eq!((binned[5].terms[1], binned[6].terms[1]), (last_bin, last_bin));
    let (all, encoder) = examples(&text, &Options { warmup: 5, bins: 0 }).unwrap();
    let (age, gain) = (number(&encoder, 0), number(&encoder, 1));
    let scale = |example: usize, term: usize| all[example].terms[term].scale;
    for (example, sign) in [(5, 1.0), (6, 1.0), (7, -1.0)] {
        assert!((scale(example, 0) - sign * 5.0).abs() < 1e-5);
    }
    assert_eq!(all[5].terms[0].row, age.linear_row());
    assert_eq!(scale(5, 1), -gain.mean() / gain.sd());
    assert!((scale(6, 1) - 5.0).abs() < 1e-5);
    assert_eq!(all[7].terms[1], Term { row: gain.missing_row(), scale: 1.0 });
    assert_eq!(encoder.extent(0), Some([f32::NEG_INFINITY, f32::INFINITY]));
    assert_eq!(encoder.extent(1), Some([0.0, 1e30]));
    assert_eq!(encoder.extent(2), None);
}

#[test]
fn the_rarest_levels_of_the_first_rows_share_the_unseen_row() {
    let (all, encoder) = examples(TEXT, &Options::default()).unwrap();
    let code = category(&encoder, 2);
    let names: Vec<&str> = code.levels().map(|(name, _)| name).collect();
    assert_eq!(names, ["5", "6"]);
    let rows: Vec<u32> = all.iter().map(|example| example.terms.iter().rev().nth(1).unwrap().row).collect();
    let [five, six] = [0, 1].map(|code_of| code.levels.row(code_of).unwrap());
    assert_eq!(rows, [five, code.unseen_row(), six, five, six]);
}

#[test]
fn a_later_level_is_unseen_once_then_has_the_next_row() {
    let more = "20,0,5,m,a,1\n20,0,5,m,a,1\n20,0,5,m,b,1\n20,0,5,m,c,1\n20,0,5,m,c,1\n20,0,5,m,b,1\n";
    let schema = SCHEMA.replace("[\"code\"]", "[\"code\", \"void\"]");
    let schema = Schema::from_toml("s.toml", &schema).unwrap();
    let options = Options { warmup: 5, bins: 0 };
    let (all, encoder) = examples_by(&schema, &format!("{TEXT}{more}"), &options).unwrap();
    let void = category(&encoder, 3);
    let rows: Vec<u32> = all[5..].iter().map(|example| example.terms.last().unwrap().row).collect();
    let unseen = void.unseen_row();
    let [a, b] = [0, 1].map(|code| void.levels.row(code).unwrap());
    assert_eq!((void.levels().len(), b as usize), (2, encoder.n_rows() - 1));
    assert_eq!(rows, [unseen, a, unseen, unseen, unseen, b]);
}

#[test]
fn the_result_does_not_depend_on_where_the_first_rows_end_up_in_memory() {
    let (all, encoder) = examples(TEXT, &Options { warmup: 5, bins: 64 }).unwrap();
    let (again, _) = examples(TEXT, &Options { warmup: 500, bins: 64 }).unwrap();
    assert_eq!(all, again);
    let bins = |encoder: &Encoder| number(encoder, 0).n_bins();
    assert_eq!((bins(&encoder), encoder.rows_seen()), (3, 5));
    assert_eq!(all.iter().map(|example| example.label).collect::<Vec<_>>(), [true, false, false, true, false]);
    assert_eq!(all[1].groups, [1]);
}

#[test]
fn mass_is_the_sum_of_scales_of_each_row() {
    let (all, encoder) = examples(TEXT, &Options { warmup: 3, bins: 64 }).unwrap();
    let mut sums = vec![0.0; encoder.n_rows()];
    for term in all.iter().flat_map(|example| &example.terms) {
        sums[term.row as usize] += f64::from(term.scale);
    }
    assert_eq!(encoder.mass(), sums);
    let code = category(&encoder, 2);
    let seen = code.levels().map(|(_, row)| row).chain([code.unseen_row(), code.missing_row()]);
    assert_eq!(seen.map(|row| encoder.mass()[row as usize]).sum::<f64>(), 5.0);
}

#[test]
fn held_out_rows_change_nothing() {
    let (_, mut encoder) = examples(TEXT, &Options::default()).unwrap();
    let before = postcard::to_allocvec(&encoder).unwrap();
    let text = "void,age,y,sex,gain,code\nnew,1e6,1,f,2,9\n";
    let mut stream = Stream::from_reader("g.csv", text.as_bytes(), &schema(), Use::Learn).unwrap();
    encoder.bind(stream.columns(), "g.csv").unwrap();
    let mut example = Example::default();
    encoder.encode(&stream.next_row().unwrap().unwrap(), &mut example).unwrap();
    assert_eq!(example.terms.last().unwrap().row, category(&encoder, 3).unseen_row());
    assert_eq!(postcard::to_allocvec(&encoder).unwrap(), before);
    let restored: Encoder = postcard::from_bytes(&before).unwrap();
    assert_eq!(postcard::to_allocvec(&restored).unwrap(), before);
    assert_eq!(category(&restored, 2).levels.known().code(b"6"), category(&encoder, 2).levels.known().code(b"6"));
}

#[test]
fn what_the_data_contradict_is_said_with_line_and_column() {
    let message = |text: &str, warmup| examples(text, &Options { warmup, bins: 0 }).unwrap_err().to_string();
    let late = message(&format!("{TEXT}old,0,5,m,,1\n"), 5);
    assert!(late.starts_with("f.csv:7: column \"age\": found \"old\", expected a number; nearly all of its"), "{late}");
    let log = message(&TEXT.replace("60,0", "60,much"), 5);
    assert!(log.starts_with("f.csv:5: column \"gain\": found \"much\", expected a number; features.log1p"), "{log}");
    let negative = message(&TEXT.replace("60,0", "60,-2"), 5);
    assert!(negative.starts_with("f.csv:5: column \"gain\": found -2, expected a number of 0 or more"), "{negative}");
    // The same in any row.
    let late = message(&format!("{TEXT}61,-2,5,m,,1\n"), 5);
    assert!(late.starts_with("f.csv:7: column \"gain\": found -2, expected a number of 0 or more"), "{late}");
    let unknown = message("age,code,sex,y\n1,2,m,1\n", 5);
    assert!(unknown.starts_with("f.csv: no column \"gain\", which features.log1p needs"), "{unknown}");
    let none = message("gain,code,sex,y\n?,2,m,1\n", 5);
    assert!(none.starts_with("column \"gain\": none of the first 1 rows has a number"), "{none}");
    let header = message("gain,code,sex,y\n", 5);
    assert!(header.starts_with("f.csv: there are no records"), "{header}");
}

/// A cell that is not a number is treated the same in any row, before and after the warm-up.
#[test]
fn bad_cells_are_errors_or_missing_and_counted_in_every_row() {
    let rows: String =
        (0..300).map(|i| format!("{},{},5,{},,{}\n", 20 + i % 40, i % 7, ["m", "f"][i % 2], i % 3 % 2)).collect();
    let (head, tail) = rows.split_at(rows.match_indices('\n').nth(99).unwrap().0 + 1);
    let with = |bad: &str| {
        let header = TEXT.lines().next().unwrap();
        [format!("{header}\n{bad}{rows}"), format!("{header}\n{head}{bad}{tail}"), format!("{header}\n{rows}{bad}")]
    };
    for bad in ["n.a.,1,5,m,,1\n", "old,1,5,m,,1\n", "12 years,1,5,m,,1\n", "30,-1,5,m,,1\n"] {
        let feature = usize::from(bad.starts_with("30"));
        for text in with(bad) {
            let refused = examples(&text, &Options { warmup: 50, bins: 8 }).unwrap_err().to_string();
            assert!(refused.starts_with("f.csv:") && refused.contains("found"), "{refused}");
            let schema = format!("[table]\nbad_cells = \"missing\"\n{SCHEMA}");
            let schema = Schema::from_toml("s.toml", &schema).unwrap();
            let stream = Stream::from_reader("f.csv", std::io::Cursor::new(text), &schema, Use::Learn).unwrap();
            let mut examples = Examples::new(stream, &schema, &Options { warmup: 50, bins: 8 }).unwrap();
            let mut example = Example::default();
            while examples.next_example(&mut example).unwrap() {}
            let quality = &examples.encoder().quality()[feature];
            assert!(matches!(examples.encoder().features()[0].kind(), Kind::Number(_)));
            assert_eq!((quality.missing, quality.bad.rows(), quality.bad.values().count()), (0, 1, 1), "{bad}");
            assert_eq!(examples.encoder().mass()[number(examples.encoder(), feature).missing_row() as usize], 1.0);
        }
    }
}

#[test]
fn a_protected_column_is_a_feature_only_if_the_schema_says_so() {
    let text = SCHEMA.replace("[features]", "as_feature = true\n[features]");
    let schema = Schema::from_toml("s.toml", &text).unwrap();
    let stream = Stream::from_reader("f.csv", TEXT.as_bytes(), &schema, Use::Learn).unwrap();
    let examples = Examples::new(stream, &schema, &Options::default()).unwrap();
    let names: Vec<&str> = examples.encoder().features().iter().map(Feature::name).collect();
    assert_eq!(names, ["age", "gain", "code", "sex", "void"]);
}

/// Encoded by hand: the flips of a row are the same row with each value of every other group, one
/// column after the other.
#[test]
fn flips_are_the_rows_with_other_groups_values() {
    let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n\
        [[protected]]\ncolumn = \"zone\"\nprivileged = [\"1\", \"2\"]\nas_feature = true\n\
        [[protected]]\ncolumn = \"sex\"\nprivileged = [\"m\"]\nas_feature = true\n\
        [[protected]]\ncolumn = \"race\"\nprivileged = [\"w\"]\n\
        [[intersection]]\ncolumns = [\"sex\", \"race\"]\n";
    let text = "age,zone,race,sex,hours,y\n\
        20,1,w,m,40,1\n?,3,b,f,38,0\n30,2,b,m,20,1\n44,5,w,x,10,0\n51,?,w,f,40,1\n";
    // Zones 1 and 2 are one group, 3 and 5 one each; race is not a feature.
    let expected = [
        vec!["20,3,w,m,40,1", "20,5,w,m,40,1", "20,1,w,f,40,1", "20,1,w,x,40,1"],
        vec!["?,1,b,f,38,0", "?,2,b,f,38,0", "?,5,b,f,38,0", "?,3,b,m,38,0", "?,3,b,x,38,0"],
        vec!["30,3,b,m,20,1", "30,5,b,m,20,1", "30,2,b,f,20,1", "30,2,b,x,20,1"],
        vec!["44,1,w,x,10,0", "44,2,w,x,10,0", "44,3,w,x,10,0", "44,5,w,m,10,0", "44,5,w,f,10,0"],
        vec!["51,?,w,m,40,1", "51,?,w,x,40,1"],
    ];
    let schema = Schema::from_toml("s.toml", schema).unwrap();
    let stream = Stream::from_reader("f.csv", text.as_bytes(), &schema, Use::Learn).unwrap();
    let mut examples = Examples::new(stream, &schema, &Options::default()).unwrap();
    let mut example = Example::default();
    while examples.next_example(&mut example).unwrap() {}
    let (stream, encoder) = (examples.stream(), examples.encoder());
    assert!(matches!(encoder.features()[1].kind(), Kind::Number(_)), "a group may be coded as a number");

    let encoded = |row: &str| {
        let text = format!("age,zone,race,sex,hours,y\n{row}\n");
        let mut stream = Stream::from_reader("f.csv", Cursor::new(text), &schema, Use::Learn).unwrap();
        stream.resume_groups(examples.stream().attributes());
        let mut example = Example::default();
        encoder.encode(&stream.next_row().unwrap().unwrap(), &mut example).unwrap();
        example
    };
    let (mut flipper, mut flips) = (Flipper::default(), Flips::default());
    for (row, expected) in text.lines().skip(1).zip(expected) {
        flipper.flip(encoder, stream.attributes(), &encoded(row), &mut flips);
        let expected: Vec<Vec<Term>> = expected.into_iter().map(|row| encoded(row).terms).collect();
        assert_eq!(flips.iter().map(<[Term]>::to_vec).collect::<Vec<_>>(), expected, "{row}");
    }
}

/// Returns what a feature adds to the log-odds with these weight rows.
fn effect(encoder: &Encoder, feature: usize, x: f32, weights: &[f32]) -> f32 {
    number(encoder, feature).terms(x).map(|(term, _)| term.scale * weights[term.row as usize]).sum()
}

fn carried(carry: &Carry, weights: &[f32]) -> Vec<f32> {
    let sum = |from: &[(u32, f32)]| from.iter().map(|(row, factor)| factor * weights[*row as usize]).sum::<f32>();
    let mut after = weights.to_vec();
    for row in &carry.rows {
        after.resize(after.len().max(row.row as usize + 1), 0.0);
        after[row.row as usize] = sum(&row.from);
    }
    after
}

/// Learns from rows with these cells until the encoding changes or the rows end.
fn until_changed(encoder: &mut Encoder, cells: impl Iterator<Item = String>) -> Vec<Carry> {
    let text: String = cells.fold("x,y\n".to_owned(), |text, cell| text + &cell + ",1\n");
    let schema = Schema::from_toml("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n").unwrap();
    let mut stream = Stream::from_reader("f.csv", Cursor::new(text), &schema, Use::Learn).unwrap();
    let mut example = Example::default();
    while let Some(row) = stream.next_row().unwrap() {
        encoder.learn_one(&row, &mut example).unwrap();
        let carries = encoder.follow();
        if !carries.is_empty() {
            return carries;
        }
    }
    Vec::new()
}

fn fitted(cells: impl Iterator<Item = String>, bins: usize) -> Encoder {
    fitted_by("", cells, bins)
}

fn fitted_by(features: &str, cells: impl Iterator<Item = String>, bins: usize) -> Encoder {
    let text: String = cells.fold("x,y\n".to_owned(), |text, cell| text + &cell + ",1\n");
    let schema = format!("[target]\ncolumn = \"y\"\npositive = [\"1\"]\n{features}");
    let schema = Schema::from_toml("s.toml", &schema).unwrap();
    let stream = Stream::from_reader("f.csv", Cursor::new(text), &schema, Use::Learn).unwrap();
    let mut examples = Examples::new(stream, &schema, &Options { bins, ..Options::default() }).unwrap();
    while examples.next_example(&mut Example::default()).unwrap() {}
    examples.encoder().clone()
}

/// Whole numbers below `below` in a fixed irregular order, plus `add`.
fn scattered(rows: u32, below: u32, add: u32) -> impl Iterator<Item = String> {
    (0..rows).map(move |row| (row * 7_919 % below + add).to_string())
}

#[test]
fn a_number_that_moved_is_fitted_again_and_keeps_its_function() {
    for bins in [0, 2, 8, 11, 16, 40, 64, 128] {
        let mut encoder = fitted(scattered(3_000, 1_000, 0), bins);
        assert_eq!(until_changed(&mut encoder, scattered(20_000, 1_000, 0)), [], "nothing moves");
        let before = encoder.clone();
        let weights: Vec<f32> = (0..encoder.n_rows()).map(|row| (row as f32 * 0.7).sin()).collect();
        let carries = until_changed(&mut encoder, scattered(2_000, 1_000, 600));
        let [carry] = carries.as_slice() else { panic!("{bins} bins: {} changes", carries.len()) };
        let after = carried(carry, &weights);
        let bias: f32 = carry.bias.iter().map(|(row, factor)| factor * weights[*row as usize]).sum();
        let [low, high] = number(&encoder, 0).range();
        assert!(low <= 0.0 && high >= 1_599.0, "{bins} bins: {low} to {high}");
        // At the values that stand for the bins the function is unchanged within the old range.
        let tested: Vec<f32> = match number(&encoder, 0).n_bins() {
            0 => vec![0.0, 300.0, 700.0, 999.0],
            bins => (0..bins).map(|bin| number(&encoder, 0).value_of_bin(bin)).collect(),
        };
        for x in tested {
            let [old, new] = [effect(&before, 0, x, &weights), effect(&encoder, 0, x, &after) + bias];
            assert!((old - new).abs() < 1e-4, "{bins} bins: {old} at {x}, {new} after");
        }
        let missing = |encoder: &Encoder| number(encoder, 0).missing_row() as usize;
        assert!((weights[missing(&before)] - after[missing(&encoder)] - bias).abs() < 1e-4);
        let counted: f64 = encoder.mass().iter().sum::<f64>();
        assert!(counted.is_finite() && encoder.is_sound());
    }
}

/// Typical columns: spread evenly, with a long tail, mostly one value, or few values.
fn drawn(seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 24) as f32
    };
    let mut number = || match seed % 5 {
        0 => uniform() * 1e3 - 400.0,
        1 => (9.0 * uniform()).exp().round(),
        2 if uniform() < 0.9 => 0.0,
        2 => 1.0 + (uniform() * 5e4).round(),
        3 => (uniform() * (2 + seed % 40) as f32).floor(),
        _ => 1e6 + (uniform() + uniform() + uniform() - 1.5) * 1e4,
    };
    (0..480).map(|_| number()).collect()
}

/// If fewer than 64 bins are requested and the values outnumber the bins, two values in one bin
/// differ by the line and by nothing else. Otherwise they do not differ.
#[test]
fn values_that_share_a_wide_bin_differ_by_the_line_alone() {
    let mut sloped = 0;
    for seed in 0..40 {
        let values = drawn(seed);
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        for (bins, features) in [2, 3, 8, 10, 11, 16, 17, 24, 63, 64, 128]
            .into_iter()
            .flat_map(|bins| [(bins, ""), (bins, "[features]\nmonotone = { x = \"up\" }\n")])
        {
            let encoder = fitted_by(features, values.iter().map(f32::to_string), bins);
            let x = number(&encoder, 0);
            let [low, high] = x.range();
            let mut distinct: Vec<f32> = sorted.iter().map(|value| value.clamp(low, high)).collect();
            distinct.dedup();
            let what = format!("seed {seed}, {bins} bins {features}: {} of {}", x.n_bins(), distinct.len());
            let may_slope = bins < 64 && features.is_empty();
            assert_eq!(x.is_sloped(), may_slope && x.n_bins() > 0 && distinct.len() > x.n_bins(), "{what}");
            let few = if x.is_sloped() { 10 } else { 16 };
            assert_eq!(x.knots() > 0, features.is_empty() && x.n_bins() > few, "{what}");
            assert!(encoder.is_sound() && (features.is_empty() || x.n_bins() <= 16), "{what}");
            sloped += u32::from(x.is_sloped());
            let weights: Vec<f32> = (0..encoder.n_rows()).map(|row| (row as f32 * 0.7).sin()).collect();
            for pair in distinct.windows(2) {
                let [from, to] = [pair[0], pair[1]].map(|value| effect(&encoder, 0, value, &weights));
                assert_eq!(x.terms(pair[0]).count(), x.n_terms(), "{what}");
                if x.bin_of(pair[0]) == x.bin_of(pair[1]) && x.n_bins() > 0 {
                    let rise = weights[x.linear_row() as usize] * (pair[1] - pair[0]) / x.sd();
                    let expected = if x.is_sloped() { rise } else { 0.0 };
                    assert!((to - from - expected).abs() < 1e-4, "{what}: {from} to {to} at {pair:?}");
                }
            }
        }
    }
    assert!(sloped > 150, "{sloped}");
}

/// However far the values move, the line after a refit stays within its old range of values, and
/// does not swing between the values that the bins carry over.
#[test]
fn a_slope_is_carried_over_and_never_swings() {
    for (bins, add) in [(3, 600), (8, 600), (16, 600), (40, 600), (8, 1_000_000), (16, 1_000_000), (40, 1_000_000)] {
        let mut encoder = fitted(scattered(3_000, 1_000, 0), bins);
        let before = encoder.clone();
        let (line, missing) = (number(&before, 0).linear_row(), number(&before, 0).missing_row());
        let mut weights = vec![0.0; before.n_rows()];
        weights[line as usize] = 0.8;
        weights[missing as usize] = 0.3;
        let carries = until_changed(&mut encoder, scattered(2_000, 1_000, add));
        let after = carried(&carries[0], &weights);
        let new = number(&encoder, 0);
        let kept = after[new.linear_row() as usize];
        assert!(new.is_sloped() && kept > 0.0, "{bins} bins, {add}: {kept}");
        if add == 600 {
            assert!(kept > 0.4, "{bins} bins: {kept}");
        }
        let [old_low, old_high] = number(&before, 0).range().map(|x| effect(&before, 0, x, &weights));
        let spare = (old_high - old_low) / 2.0;
        for step in 0..=1_000 {
            let x = new.edges()[0] + (new.edges().last().unwrap() - new.edges()[0]) * step as f32 / 1_000.0;
            let found = effect(&encoder, 0, x, &after);
            assert!((old_low - spare..=old_high + spare).contains(&found), "{bins} bins, {add}: {found} at {x}");
        }
    }
}

#[test]
fn a_column_that_was_empty_becomes_what_its_values_are() {
    let empty = || (0..1_000).map(|_| String::new());
    let mut encoder = fitted(empty(), 64);
    let unseen = category(&encoder, 0).unseen_row();
    let carries = until_changed(&mut encoder, scattered(600, 1_000, 0));
    let weights: Vec<f32> = (0..encoder.n_rows()).map(|row| if row == unseen as usize { 0.5 } else { 0.0 }).collect();
    let after = carried(&carries[0], &weights);
    assert!(number(&encoder, 0).n_bins() > 16);
    assert!((effect(&encoder, 0, 400.0, &after) - 0.5).abs() < 1e-6, "what any value had said");
    assert!(matches!(encoder.changes()[0].kind, ChangeKind::Filled { is_number: true }));

    let mut encoder = fitted(empty(), 64);
    assert_eq!(until_changed(&mut encoder, (0..600).map(|row| format!("shop {}", row % 7))).len(), 1);
    assert_eq!(category(&encoder, 0).levels().len(), 7);
    assert!(encoder.is_sound());
}
