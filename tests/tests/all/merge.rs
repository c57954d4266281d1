//! Promise: runs over parts of the data that share one encoding can be merged into one run. What
//! they learned is joined or averaged as documented, and their counts add up by group name. The
//! same shards in the same order give the same bytes. Shards that do not belong together are
//! refused.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use feamoe::encoder;
use feamoe::learner::{Cause, Event, EventKind, FairBy, Growth, How, LearnerOptions, Objective, ThresholdRule};
use feamoe::rows::{Input, Records, Source};
use feamoe::schema::Schema;
use feamoe::training::checkpoint::Checkpoint;
use feamoe::training::merge::{self, MergeError, Merging};
use feamoe::training::targets::{JudgedOn, judged_on, targets};
use feamoe::training::{Encoding, Options, Saving, Trainer, run_saving, unwatched};
use feamoe_engine::fairness::Measure;
use feamoe_tests::command::Folder;

const SCHEMA: &str = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n\
                      [[protected]]\ncolumn = \"s\"\nprivileged = [\"m\"]\nas_feature = true\n[features]\ncategorical = [\"c\"]\n";
const JOIN: Merging = Merging { how: How::Join, experts: None, is_polished: false };
const AVERAGE: Merging = Merging { how: How::Average, ..JOIN };

fn schema() -> Schema {
    Schema::from_toml("s.toml", SCHEMA).unwrap()
}

/// Random numbers below a bound (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 32) as u32 % n
    }
}

/// Draws rows of two numbers, a category and a group; `groups` lists the groups that occur.
fn text(seed: u64, rows: usize, groups: &[&str]) -> String {
    let mut draws = Draws(seed);
    let mut below = |n| draws.below(n);
    let mut text = String::from("a,b,c,s,y\n");
    for _ in 0..rows {
        let (a, b, c) = (below(1_000), below(50), ["p", "q", "r", "t"][below(4) as usize]);
        let group = groups[below(groups.len() as u32) as usize];
        let likely = 300 + a / 3 + 5 * b + if group == "m" { 150 } else { 0 } - if c == "q" { 200 } else { 0 };
        text.push_str(&format!("{a},{b},{c},{group},{}\n", u32::from(below(1_000) < likely.saturating_sub(200))));
    }
    text
}

fn source(text: &str) -> Records {
    Records::from_reader("rows", Cursor::new(text.as_bytes().to_vec()), &schema().table).unwrap()
}

fn options() -> Options {
    let learner = LearnerOptions::default().experts(3).growth(Growth { every: 400, ..Growth::NONE });
    let learner = learner.target(Measure::Spd, 0.05).check().unwrap();
    Options { encoder: encoder::Options { warmup: 500, bins: 20 }, window: 100, ..Options::new(learner) }
}

fn learned(options: &Options, text: &str) -> Trainer {
    let mut source = source(text);
    let mut trainer = Trainer::new(source.columns(), schema(), options).unwrap();
    trainer.learn_all(&mut source).unwrap();
    trainer
}

/// Options for runs that share one encoding.
fn shared() -> Options {
    let first = learned(&options(), &text(99, 600, &["m", "f"]));
    Options { encoding: Some(Arc::new(Encoding::of(&first.checkpoint()).unwrap())), ..options() }
}

/// Trains one shard for each length.
fn shards(options: &Options, lengths: &[usize]) -> Vec<Trainer> {
    let of = |(seed, rows): (u64, &usize)| learned(options, &text(seed, *rows, &["m", "f"]));
    (1..).zip(lengths).map(of).collect()
}

fn merged(shards: &[Trainer], merging: &Merging) -> Result<Trainer, MergeError> {
    Trainer::merge(&shards.iter().collect::<Vec<_>>(), merging)
}

fn refused(shards: &[Trainer], merging: &Merging) -> String {
    merged(shards, merging).err().expect("shards were merged that do not belong together").to_string()
}

fn bytes(trainer: &Trainer) -> Vec<u8> {
    trainer.checkpoint().to_bytes().unwrap()
}

/// Returns both scores of every record.
fn scores(trainer: &mut Trainer, text: &str) -> Vec<[f32; 2]> {
    let (mut source, mut scores) = (source(text), Vec::new());
    while source.advance().unwrap() {
        let said = trainer.score(&source.record()).unwrap();
        scores.push([said.probability, said.exported]);
    }
    scores
}

fn farthest(one: &[[f32; 2]], other: &[[f32; 2]]) -> f32 {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().flatten().zip(other.iter().flatten());
    pairs.fold(0.0, |farthest, (a, b)| farthest.max((a - b).abs()))
}

#[test]
fn the_same_shards_in_the_same_order_give_the_same_bytes() {
    let shards = shards(&shared(), &[900, 500, 700]);
    let [a, b, c] = &shards[..] else { unreachable!("three") };
    let merge = |shards: &[&Trainer]| Trainer::merge(shards, &JOIN).unwrap();
    let one = merge(&[a, b, c]);
    let stored: Vec<Trainer> = shards.iter().map(|shard| Trainer::from_bytes(&bytes(shard)).unwrap()).collect();
    assert!(bytes(&one) == bytes(&merged(&stored, &JOIN).unwrap()));
    assert!(bytes(&one) != bytes(&merge(&[c, b, a])));
    // The result can be stored, resumed, exported and merged again, as any run.
    let mut again = Trainer::from_bytes(&bytes(&one)).unwrap();
    assert!(again.model().unwrap().bytes.as_slice() == one.model().unwrap().bytes.as_slice());
    again.learn_all(&mut source(&text(8, 600, &["m", "f"]))).unwrap();
    assert_eq!((again.rows(), again.counts().read), (2_700, 2_700));
    again.model().unwrap();
    assert_eq!(merge(&[&one, a]).rows(), 3_000);
}

#[test]
fn merging_alike_changes_no_score() {
    let (options, rows) = (shared(), text(7, 400, &["m", "f"]));
    for (seed, length) in [(1, 1_500), (2, 3_000), (3, 700)] {
        let mut shard = learned(&options, &text(seed, length, &["m", "f"]));
        let expected = scores(&mut shard, &rows);
        for (count, merging) in [(1, JOIN), (1, AVERAGE), (2, JOIN), (3, AVERAGE), (5, JOIN)] {
            let mut merged = Trainer::merge(&vec![&shard; count], &merging).unwrap();
            let farthest = farthest(&scores(&mut merged, &rows), &expected);
            assert!(farthest < 2e-6, "seed {seed}, {count} times, {merging:?}: {farthest}");
            let experts =
                if merging.how == How::Join { count * shard.learner().experts() } else { shard.learner().experts() };
            assert_eq!(merged.learner().experts(), experts);
        }
    }
}

/// The order changes only the sample of rows that determines the share of each part.
#[test]
fn the_order_of_shards_hardly_changes_a_score() {
    let (shards, rows) = (shards(&shared(), &[2_000, 700, 1_100]), text(7, 400, &["m", "f"]));
    let [a, b, c] = &shards[..] else { unreachable!("three") };
    let [one, other] = [[a, b, c], [c, a, b]].map(|shards| scores(&mut Trainer::merge(&shards, &JOIN).unwrap(), &rows));
    let farthest = farthest(&one, &other);
    assert!(farthest < 0.01, "{farthest}");
}

/// All records are the same here, so each is the mean record.
#[test]
fn at_the_mean_record_the_joined_score_is_the_mean_by_records() {
    let one_record = |seed: u64, rows: usize, likely: u32| {
        let mut draws = Draws(seed);
        let mut text = String::from("a,b,c,s,y\n");
        (0..rows).for_each(|_| text.push_str(&format!("5,7,p,m,{}\n", u32::from(draws.below(100) < likely))));
        text
    };
    let learner = LearnerOptions::default().experts(3).growth(Growth { every: 200, ..Growth::NONE }).check().unwrap();
    let options = Options { learner, ..shared() };
    for seed in 0..5 {
        let parts = [(400 + 300 * seed as usize, 20), (900, 70), (300, 90)];
        let mut shards: Vec<Trainer> =
            parts.iter().map(|(rows, likely)| learned(&options, &one_record(seed, *rows, *likely))).collect();
        let record = one_record(1, 1, 50);
        let mut expected = [0.0; 2];
        let all: usize = parts.iter().map(|(rows, _)| rows).sum();
        for (shard, (rows, _)) in shards.iter_mut().zip(&parts) {
            let said = scores(shard, &record)[0];
            expected.iter_mut().zip(said).for_each(|(sum, said)| *sum += said * *rows as f32 / all as f32);
        }
        let mut joined = merged(&shards, &JOIN).unwrap();
        let found = scores(&mut joined, &record);
        assert!(farthest(&found, &[expected]) < 1e-5, "{found:?}, expected {expected:?}");
    }
}

/// Rows whose outcome has this chance, whatever their features, with a column of sample weights.
fn by_chance(seed: u64, rows: usize, percent: u32, weight: u32) -> String {
    let mut draws = Draws(seed);
    let mut text = String::from("a,b,c,s,w,y\n");
    for _ in 0..rows {
        let [a, b, c, s] = [1_000, 50, 4, 2].map(|n| draws.below(n));
        let [c, s] = [["p", "q", "r", "t"][c as usize], ["m", "f"][s as usize]];
        text.push_str(&format!("{a},{b},{c},{s},{weight},{}\n", u32::from(draws.below(100) < percent)));
    }
    text
}

fn mean_score(trainer: &mut Trainer, text: &str) -> [f32; 2] {
    let scores = scores(trainer, text);
    [0, 1].map(|which: usize| scores.iter().map(|score| score[which]).sum::<f32>() / scores.len() as f32)
}

/// A shard's share does not depend on its number of experts; it grows with the weight of its
/// records.
#[test]
fn each_shard_has_its_share_of_the_say() {
    let learner = LearnerOptions::default().experts(8).growth(Growth { every: 300, ..Growth::NONE }).check().unwrap();
    let options = Options { learner, weight: Some("w".into()), ..options() };
    let first = learned(&options, &by_chance(9, 900, 50, 1));
    let options = Options { encoding: Some(Arc::new(Encoding::of(&first.checkpoint()).unwrap())), ..options };
    let rows = by_chance(5, 2_000, 50, 1);
    for (lengths, experts, weights) in
        [([2_500, 290], [8, 1], [1, 8]), ([2_500, 290], [8, 1], [1, 1]), ([290, 280], [1, 1], [10, 1])]
    {
        let of = |part: usize| learned(&options, &by_chance(part as u64, lengths[part], [85, 15][part], weights[part]));
        let mut shards = [of(0), of(1)];
        assert_eq!([0, 1].map(|part: usize| shards[part].learner().experts()), experts);
        let mut joined = Trainer::merge(&[&shards[0], &shards[1]], &JOIN).unwrap();
        let [[one, other], found] =
            [shards.each_mut().map(|shard| mean_score(shard, &rows)), [mean_score(&mut joined, &rows); 2]];
        let [n, m] = [0, 1].map(|part: usize| (lengths[part] as u32 * weights[part]) as f32);
        for which in 0..2 {
            let expected = (n * one[which] + m * other[which]) / (n + m);
            let found = found[0][which];
            assert!((found - expected).abs() < 0.01, "{lengths:?} {weights:?}: {found}, expected {expected}");
        }
    }
}

/// Thresholds are chosen by the scores of the merged model, even if each shard has seen only one
/// end of a feature.
#[test]
fn thresholds_are_chosen_by_the_merged_scores() {
    let all = text(1, 6_000, &["m", "f"]);
    let half = |low: bool| {
        let is_its = |line: &&str| (line.split(',').next().unwrap().parse::<u32>().is_ok_and(|a| a < 400)) == low;
        let header = all.lines().next().unwrap();
        let lines: Vec<&str> = [header].into_iter().chain(all.lines().skip(1).filter(is_its)).collect();
        lines.join("\n") + "\n"
    };
    let rows = [half(true), half(false)];
    let judged = |learner: LearnerOptions| {
        let options = Options { learner: learner.check().unwrap(), ..options() };
        let first = learned(&options, &text(99, 600, &["m", "f"]));
        let options = Options { encoding: Some(Arc::new(Encoding::of(&first.checkpoint()).unwrap())), ..options };
        let mut merged = merged(&[learned(&options, &rows[0]), learned(&options, &rows[1])], &JOIN).unwrap();
        let (mut source, mut selected) = (source(&all), Vec::new());
        while source.advance().unwrap() {
            let said = merged.score(&source.record()).unwrap();
            selected.push(said.exported >= said.exported_threshold);
        }
        selected
    };
    for share in [0.2, 0.5, 0.7] {
        let rule = ThresholdRule::Auto(Objective::Select(share));
        let selected = judged(LearnerOptions::default().experts(1).threshold_rule(rule));
        let found = selected.iter().filter(|is| **is).count() as f32 / selected.len() as f32;
        assert!((found - share).abs() < 0.06, "{found} selected, asked for {share}");
    }
    let by_group = LearnerOptions::default().experts(1).fair_by(FairBy::Threshold).target(Measure::Spd, 0.05);
    let selected = judged(by_group);
    let groups: Vec<bool> = all.lines().skip(1).map(|line| line.split(',').nth(3) == Some("m")).collect();
    let rate = |men: bool| {
        let own = selected.iter().zip(&groups).filter(|(_, group)| **group == men);
        own.clone().filter(|(is, _)| **is).count() as f32 / own.count() as f32
    };
    assert!((rate(true) - rate(false)).abs() < 0.09, "{} {}", rate(true), rate(false));
    // Without the target the gap is wider.
    let free = judged(LearnerOptions::default().experts(1));
    let men = |men: bool| {
        let own = free.iter().zip(&groups).filter(|(_, group)| **group == men);
        own.clone().filter(|(is, _)| **is).count() as f32 / own.count() as f32
    };
    assert!((men(true) - men(false)).abs() > 0.12, "{} {}", men(true), men(false));
}

/// Decisions of the shards do not count as decisions of the merged model; its decisions on the rows
/// that polish it do.
#[test]
fn no_target_is_judged_by_the_decisions_of_the_shards() {
    let shards = shards(&shared(), &[3_000, 2_500]);
    assert!(shards.iter().flat_map(targets).all(|target| target.verdict.is_some()));
    let mut merged = merged(&shards, &JOIN).unwrap();
    assert_eq!((judged_on(&merged), judged_on(&shards[0])), (JudgedOn::Shards, JudgedOn::LastRows));
    let reports = targets(&merged);
    assert_eq!(reports.len(), 1);
    let expected = "the gap is that of the shards, each on its own rows; the merged model has made no decision yet";
    assert_eq!((reports[0].verdict, reports[0].reason.as_deref()), (None, Some(expected)));
    assert_eq!(judged_on(&Trainer::from_bytes(&bytes(&merged)).unwrap()), JudgedOn::Shards);
    merged.learn_all(&mut source(&text(5, 40, &["m", "f"]))).unwrap();
    let few = &targets(&merged)[0];
    assert_eq!(
        (judged_on(&merged), few.verdict, few.rows + few.reference_rows, few.from),
        (JudgedOn::LastRows, None, 40, Some(5_501))
    );
    merged.learn_all(&mut source(&text(6, 1_000, &["m", "f"]))).unwrap();
    let many = &targets(&merged)[0];
    assert!(many.verdict.is_some() && many.rows + many.reference_rows <= 1_040);
    assert!(many.from.is_some_and(|from| from > 5_500));
}

/// The merged background is as large as the smallest of the shards, and absent if a shard has none.
#[test]
fn the_smallest_background_is_that_of_all() {
    let shared = shared();
    for (backgrounds, rows) in [([0, 1_000], 0), ([1_000, 0], 0), ([100, 3_000], 100), ([2_500, 1_500], 1_500)] {
        let of = |(seed, background): (u64, u16)| {
            learned(&Options { background, ..shared.clone() }, &text(seed, 4_000, &["m", "f"]))
        };
        let merged = merged(&(1..).zip(backgrounds).map(of).collect::<Vec<_>>(), &JOIN).unwrap();
        assert_eq!(merged.reservoir().background().count(), rows, "{backgrounds:?}");
        assert_eq!(merged.reservoir().rows().count(), rows.max(1_000));
        assert!(Checkpoint::from_bytes(&bytes(&merged)).is_ok());
    }
}

/// A value may have the same name as the joined values of the privileged group.
#[test]
fn the_privileged_group_is_known_by_its_place() {
    let schema = || Schema::from_toml("s.toml", &SCHEMA.replace("[\"m\"]", "[\"m\", \"n\"]")).unwrap();
    let learned = |options: &Options, text: &str| {
        let mut source = source(text);
        let mut trainer = Trainer::new(source.columns(), schema(), options).unwrap();
        trainer.learn_all(&mut source).unwrap();
        trainer
    };
    let learner = LearnerOptions::default().experts(1).check().unwrap();
    let options = Options { learner, ..options() };
    let groups = ["m", "n", "m|n", "f"];
    let first = learned(&options, &text(9, 900, &groups));
    let options = Options { encoding: Some(Arc::new(Encoding::of(&first.checkpoint()).unwrap())), ..options };
    let shards = [learned(&options, &text(1, 800, &groups)), learned(&options, &text(2, 900, &groups))];
    let rows = |trainer: &Trainer| {
        let attribute = trainer.attributes().next().unwrap();
        let names = attribute.groups().iter().cloned().enumerate().map(|(index, name)| (index == 0, name));
        names.zip(attribute.rows().to_vec()).collect::<BTreeMap<_, _>>()
    };
    let mut expected = rows(&shards[0]);
    rows(&shards[1]).into_iter().for_each(|(group, rows)| *expected.entry(group).or_default() += rows);
    assert_eq!(expected.len(), 3);
    assert_eq!(rows(&merged(&shards, &JOIN).unwrap()), expected);
}

/// Shards that may have learned from the same rows are named, and the rows to polish with must
/// contain the groups that a shard lacks.
#[test]
fn rows_that_count_twice_are_named_and_rows_that_polish_are_checked() {
    let folder = Folder::new();
    let write = |name: &str, text: String| {
        std::fs::write(folder.path(name), text).unwrap();
        Input::from(folder.path(name).as_path())
    };
    let shared = shared();
    let shard = |name: &str, text: String| {
        let (mut save, never) = (|_: &Trainer| Ok(()), AtomicBool::new(false));
        let saving = Saving { every: Saving::EVERY, save: &mut save, stop: &never };
        let run = run_saving(&[write(name, text)], &schema(), &shared, Some(saving), &mut unwatched).unwrap();
        run.checkpoint().to_bytes().unwrap()
    };
    let men = shard("men.csv", text(1, 900, &["m"]));
    let women = shard("women.csv", text(2, 900, &["f"]) + "1,1,p,m,1\n");
    let merge = |shards: &[&[u8]], polish: &[Input]| {
        let shards: Vec<Checkpoint<'_>> = shards.iter().map(|bytes| Checkpoint::from_bytes(bytes).unwrap()).collect();
        merge::run(&shards, &JOIN, polish, None, &mut unwatched)
    };
    let says = |result: Result<feamoe::training::Run, MergeError>| result.err().unwrap().to_string();
    // A group with a single row counts as missing.
    assert!(says(merge(&[&women, &men], &[])).starts_with("shard 1 has 1 rows of group \"m\""));
    assert_eq!(
        says(merge(&[&men, &women], &[write("p.csv", text(3, 300, &["m"]))])),
        "the rows to polish with have 0 rows of group \"f\" of \"s\", which has a target and is missing in shard 1; expected at least 30"
    );
    let both = write("both.csv", text(4, 300, &["m", "f"]));
    assert_eq!(merge(&[&men, &women], std::slice::from_ref(&both)).unwrap().notes, Vec::<String>::new());
    let one = shard("one.csv", text(5, 900, &["m", "f"]));
    let notes = merge(&[&one, &men, &one], std::slice::from_ref(&both)).unwrap().notes;
    assert_eq!(notes, ["shards 1 and 3 have learned from data that begin with the same rows, which may count twice"]);
    let never = AtomicBool::new(false);
    let shards = [Checkpoint::from_bytes(&one).unwrap()];
    let saving = Saving { every: Saving::EVERY, save: &mut |_| Ok(()), stop: &never };
    let rows = [Input::from(folder.path("one.csv").as_path())];
    let again = merge::run(&shards, &JOIN, &rows, Some(saving), &mut unwatched).unwrap().notes;
    assert_eq!(
        again,
        ["the rows to polish with start like rows that a shard has learned from, so their measures are too favourable"]
    );
    // A group with a single row in all shards cannot be judged, so no rows to polish with are
    // needed.
    let other = shard("other.csv", text(6, 900, &["m", "f"]) + "1,1,p,x,1\n");
    merge(&[&one, &other], &[]).unwrap();
}

/// Rows by group name: those of the attribute and those of the prequential measures.
fn by_name(trainer: &Trainer) -> BTreeMap<String, [u64; 2]> {
    let total = trainer.prequential().total();
    let attribute = trainer.attributes().next().unwrap();
    let counted = total.groups()[0].iter().map(|group| group.counts.rows());
    let rows = attribute.rows().iter().zip(counted).map(|(rows, counted)| [*rows, counted]);
    attribute.groups().iter().cloned().zip(rows).collect()
}

#[test]
fn groups_are_united_by_name_whatever_their_order() {
    let options = shared();
    // New groups are numbered in the order in which they occur: f, x, z; then z, f; then x alone
    // beside m.
    let first = |name: &str, rest: String| rest.replacen('\n', &format!("\n1,1,p,{name},0\n"), 1);
    let shards = [
        learned(&options, &first("f", text(1, 900, &["m", "f", "x", "z"]))),
        learned(&options, &first("z", text(2, 850, &["f", "m", "z", "x"]))),
        learned(&options, &first("x", text(3, 900, &["m", "x", "f", "z"]))),
    ];
    let orders: Vec<&[String]> = shards.iter().map(|shard| shard.attributes().next().unwrap().groups()).collect();
    assert!(orders[0] != orders[1] && orders[1] != orders[2]);
    for merging in [JOIN, Merging { experts: Some(2), ..JOIN }, AVERAGE] {
        let mut merged = merged(&shards, &merging).unwrap();
        let mut expected: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        for (name, rows) in shards.iter().flat_map(by_name) {
            let sum = expected.entry(name).or_default();
            sum.iter_mut().zip(rows).for_each(|(sum, rows)| *sum += rows);
        }
        assert_eq!(by_name(&merged), expected);
        let attribute = merged.attributes().next().unwrap().clone();
        let column = merged.columns().iter().position(|column| column == "s").unwrap();
        let mut checked = 0;
        for row in merged.reservoir().rows() {
            let name = &attribute.groups()[usize::from(row.groups[0])];
            assert_eq!(row.cell(column).text().as_deref(), Some(name.as_bytes()));
            checked += 1;
        }
        assert_eq!(checked, 1_000);
        // The merged model knows its groups and continues to learn.
        merged.model().unwrap();
        merged.learn_all(&mut source(&text(5, 300, &["z", "m", "w"]))).unwrap();
        assert_eq!(
            by_name(&merged)["w"][0] + by_name(&merged)["z"][0],
            by_name(&merged)["w"][1] + by_name(&merged)["z"][1]
        );
    }
}

#[test]
fn what_was_counted_adds_up_and_the_sample_is_of_all() {
    let lengths = [3_600, 400];
    let shards = shards(&shared(), &lengths);
    let merged = merged(&shards, &JOIN).unwrap();
    let sum = |of: &dyn Fn(&Trainer) -> u64| shards.iter().map(of).sum::<u64>();
    assert_eq!(merged.rows(), 4_000);
    assert_eq!(merged.counts().positive, sum(&|shard| shard.counts().positive));
    assert_eq!(merged.learner().rows_seen(), 4_000);
    let total = merged.prequential().total();
    assert_eq!(total.all().rows(), sum(&|shard| shard.prequential().total().all().rows()));
    let loss: f64 = shards.iter().map(|shard| shard.prequential().total().mean_log_loss() * shard.rows() as f64).sum();
    assert!((total.mean_log_loss() - loss / 4_000.0).abs() < 1e-9);
    let events = |trainer: &Trainer| trainer.learner().events().newest().to_vec();
    let [all, one, other] = [events(&merged), events(&shards[0]), events(&shards[1])];
    assert!(!one.is_empty() && all.starts_with(&one) && all.len() == one.len() + other.len() + 1);
    assert_eq!(
        all.last(),
        Some(&Event { record: 4_000, cause: Cause::Merge, kind: EventKind::ShardsMerged { shards: 2 } })
    );
    let encoder = merged.encoder().unwrap();
    assert_eq!(encoder.rows_seen(), 4_000);
    for (row, mass) in encoder.mass().iter().enumerate() {
        let sum: f64 = shards.iter().map(|shard| shard.encoder().unwrap().mass()[row]).sum();
        assert!((mass - sum).abs() < 1e-9);
    }
    // The second shard has 400 of the 4,000 rows: of 1,000 drawn, 100 are expected from it, with a
    // standard deviation of 8.
    let texts = [text(1, 3_600, &["m", "f"]), text(2, 400, &["m", "f"])];
    let lines: Vec<std::collections::HashSet<&str>> = texts.iter().map(|text| text.lines().skip(1).collect()).collect();
    let line = |row: &feamoe::rows::Row<'_>| {
        let cells = (0..4).map(|column| String::from_utf8(row.cell(column).text().unwrap().to_vec()).unwrap());
        let mut cells: Vec<String> = cells.collect();
        cells.push(u32::from(row.label.unwrap()).to_string());
        cells.join(",")
    };
    let drawn: Vec<String> = merged.reservoir().rows().map(|row| line(&row)).collect();
    let of_second = drawn.iter().filter(|line| lines[1].contains(line.as_str()) && !lines[0].contains(line.as_str()));
    let of_second = of_second.count();
    assert!(drawn.iter().all(|line| lines.iter().any(|lines| lines.contains(line.as_str()))));
    assert!((60..=140).contains(&of_second), "{of_second}");
}

#[test]
fn a_shard_without_a_group_of_a_target_is_refused_unless_it_is_polished() {
    let options = shared();
    let shards = [learned(&options, &text(1, 900, &["m"])), learned(&options, &text(2, 900, &["f"]))];
    assert_eq!(
        refused(&shards, &JOIN),
        "shard 1 has 0 rows of group \"f\" of \"s\", which has a target; too few to hold the target within the shard"
    );
    let mut polished = merged(&shards, &Merging { is_polished: true, ..JOIN }).unwrap();
    let before = polished.learner().experts();
    polished.learn_all(&mut source(&text(3, 3_000, &["m", "f"]))).unwrap();
    assert_eq!(polished.learner().experts(), before);
    let gap = polished
        .prequential()
        .windows()
        .iter()
        .rev()
        .take(10)
        .fold(0.0, |sum, window| sum + window.worst(Measure::Spd).unwrap_or(0.0) / 10.0);
    assert!(gap.abs() < 0.15, "{gap}");
    // Without a target no shard is refused.
    let free = LearnerOptions::default().experts(3).check().unwrap();
    let options = Options { learner: free, ..options };
    let shards = [learned(&options, &text(1, 900, &["m"])), learned(&options, &text(2, 900, &["f"]))];
    merged(&shards, &JOIN).unwrap();
}

#[test]
fn shards_that_do_not_belong_together_are_refused() {
    let shared = shared();
    let rows = |seed| text(seed, 800, &["m", "f"]);
    let shard = learned(&shared, &rows(1));
    let with = |options: &Options| [shard.clone(), learned(options, &rows(2))];
    let learner = |options: LearnerOptions| Options { learner: options.check().unwrap(), ..shared.clone() };
    let target = LearnerOptions::default().growth(Growth { every: 400, ..Growth::NONE }).target(Measure::Spd, 0.1);
    assert_eq!(
        refused(&with(&learner(target)), &JOIN),
        "shard 2 and the first differ in their options: targets: [[\"Spd\",0.1]] and [[\"Spd\",0.05]]"
    );
    let of_its_own = "shard 2 has its own encoding, but all shards must share the encoding of one earlier run";
    assert_eq!(refused(&with(&Options { encoding: None, ..shared.clone() }), &JOIN), of_its_own);
    let bins = Options { encoder: encoder::Options { bins: 10, ..options().encoder }, ..options() };
    assert_eq!(refused(&with(&bins), &JOIN), "shard 2 and the first differ in their options of the encoding");
    let late = Options { label_delay: 5, ..shared.clone() };
    assert_eq!(refused(&with(&late), &JOIN), "shard 2 and the first differ in their delays of the labels");
    assert_eq!(refused(&[], &JOIN), "found no shard, expected at least one");
    let empty = Trainer::new(&["a", "b", "c", "s", "y"], schema(), &shared).unwrap();
    let none = "shard 2 has learned from no rows, or from fewer than its encoding needs";
    assert_eq!(refused(&[shard.clone(), empty], &JOIN), none);
    assert_eq!(refused(&[shard.clone(), learned(&options(), &text(1, 300, &["m", "f"]))], &JOIN), none);
    let few = learned(&shared, &text(2, 300, &["m", "f"]));
    assert_ne!(few.learner().experts(), shard.learner().experts());
    let found = few.learner().experts();
    let expected = shard.learner().experts();
    assert_eq!(
        refused(&[shard.clone(), few], &AVERAGE),
        format!(
            "shard 2 has {found} experts and the first has {expected}, but averaging needs equal numbers; join them instead"
        )
    );
    // An encoding that is not held would change.
    let free = learned(&options(), &rows(1));
    let own = "shard 1 has its own encoding, but all shards must share the encoding of one earlier run";
    assert_eq!(refused(&[free.clone(), free.clone()], &JOIN), own);
    merged(&[free], &JOIN).unwrap();
    let waiting = Options { label_delay: 60_000, ..shared.clone() };
    let waiting = [learned(&waiting, &text(1, 60_600, &["m", "f"])), learned(&waiting, &text(2, 60_600, &["m", "f"]))];
    assert_eq!(
        refused(&waiting, &JOIN),
        "120000 rows of the shards wait for their labels, but a run keeps at most 100000"
    );
    let many = vec![shard.clone(); 65];
    let too_many =
        "found 65 shards, but a mixture holds at most 64 experts; merge some of the shards first, and then the results";
    assert_eq!(refused(&many, &Merging { experts: Some(5), ..JOIN }), too_many);
    let many = vec![shard; 40];
    let all = 40 * expected;
    assert_eq!(
        refused(&many, &JOIN),
        format!("the shards have {all} experts together, but a mixture holds at most 64")
    );
    let merged = merged(&many, &Merging { experts: Some(5), ..JOIN }).unwrap();
    assert_eq!(merged.learner().experts(), 5);
}

#[test]
fn experts_are_merged_down_to_the_number_asked_for() {
    let (shards, rows) = (shards(&shared(), &[2_000, 1_500, 1_800]), text(7, 500, &["m", "f"]));
    let whole = scores(&mut merged(&shards, &JOIN).unwrap(), &rows);
    let mut last = 0.0;
    for experts in [6, 3, 1] {
        let mut fewer = merged(&shards, &Merging { experts: Some(experts), ..JOIN }).unwrap();
        assert_eq!(fewer.learner().experts(), experts);
        let moved: f32 = scores(&mut fewer, &rows).iter().zip(&whole).map(|(a, b)| (a[1] - b[1]).abs() / 500.0).sum();
        assert!(moved >= 0.2 * last && moved < 0.05, "{experts} experts: {moved}");
        last = moved;
        let newest: Vec<EventKind> = fewer.learner().events().newest().iter().rev().map(|event| event.kind).collect();
        let merged = newest.iter().take_while(|kind| matches!(kind, EventKind::ExpertsMerged { .. })).count();
        assert!(merged + experts == 9 && matches!(newest[merged], EventKind::ShardsMerged { shards: 3 }));
        fewer.learn_all(&mut source(&text(9, 900, &["m", "f"]))).unwrap();
        assert_eq!(fewer.learner().experts(), experts, "the number is the limit from then on");
        assert!(Checkpoint::from_bytes(&bytes(&fewer)).is_ok());
    }
}

/// A held encoding stays the same when a level is new and when values shift.
#[test]
fn a_held_encoding_stays_as_it_is() {
    let options = shared();
    let mut other = text(4, 6_000, &["m", "f"]).replace(",t,", ",new,");
    let lines: Vec<String> = other
        .lines()
        .map(|line| match line.split_once(',') {
            Some((a, rest)) if a != "a" => format!("{},{rest}", 5_000 + a.parse::<i32>().unwrap()),
            _ => line.to_owned(),
        })
        .collect();
    other = lines.join("\n");
    let shifted = learned(&options, &other);
    let plain = learned(&options, &text(1, 900, &["m", "f"]));
    let [one, of_plain] = [&shifted, &plain].map(|trainer| trainer.encoder().unwrap());
    assert_eq!((one.n_rows(), one.n_changes()), (of_plain.n_rows(), 0));
    assert!(one.is_held() && one.quality().iter().any(|quality| quality.unseen > 1_000));
    merged(&[plain, shifted], &JOIN).unwrap();
    let refused = |options: &Options, columns: &[&str], schema: Schema| {
        Trainer::new(columns, schema, options).err().unwrap().to_string()
    };
    let columns = ["a", "b", "c", "s", "y"];
    let bins = Options { encoder: encoder::Options { warmup: 500, bins: 4 }, ..options.clone() };
    assert!(
        refused(&bins, &columns, schema())
            .starts_with("the encoding: found 4 bins fitted on 500 rows, expected 20 bins")
    );
    let more = ["a", "b", "c", "d", "s", "y"];
    let message = refused(&options, &more, schema());
    assert!(message.starts_with("the features: found \"a\", \"b\", \"c\", \"d\""), "{message}");
    let other = Schema::from_toml("s.toml", &SCHEMA.replace("\"m\"", "\"f\"")).unwrap();
    assert!(
        refused(&options, &columns, other)
            .starts_with("the schema differs from that of the run whose encoding is shared")
    );
    let few = learned(&self::options(), &text(1, 100, &["m", "f"]));
    let error = Encoding::of(&few.checkpoint()).err().unwrap().to_string();
    assert!(error.starts_with("the run has no encoding yet"), "{error}");
}

/// A shuffled run keeps its rows in memory and holds the encoding too.
#[test]
fn a_shuffled_run_holds_the_encoding_too() {
    let folder = Folder::new();
    folder.write("s.toml", SCHEMA);
    folder.write("first.csv", text(99, 5_200, &["m", "f"]));
    folder.write("a.csv", text(1, 900, &["m", "f"]));
    folder.write("b.csv", text(2, 900, &["f"]));
    folder.write("c.csv", text(3, 1_200, &["m", "f"]));
    let train = |data: &str, name: &str, more: &[&str]| {
        let (model, stored) = (format!("{name}.feamoe"), format!("{name}.ckpt"));
        let base = ["train", data, "--schema", "s.toml", "-o", &model, "--checkpoint", &stored];
        folder.run(&[&base[..], more].concat())
    };
    let _ = train("first.csv", "first", &[]).done();
    let shard = ["--encoding", "first.ckpt", "--fair", "spd=0.05"];
    let _ = train("a.csv", "a", &[&shard[..], &["--shuffle"]].concat()).well();
    let _ = train("b.csv", "b", &shard).well();
    let _ = train("c.csv", "c", &shard).well();
    let json = folder
        .run(&["merge", "a.ckpt", "c.ckpt", "-o", "m.feamoe", "--checkpoint", "m.ckpt", "--format", "json"])
        .json();
    assert_eq!(json["rows"], 900 + 1_200);
    let _ = folder.run(&["score", "m.feamoe", "c.csv"]).done();
    let refusal = folder.refusal(&["merge", "a.ckpt", "b.ckpt", "-o", "x.feamoe"]);
    assert!(refusal.contains("shard 2 has 0 rows of group \"m\"") && refusal.contains("--polish DATA"), "{refusal}");
    let polished =
        ["merge", "a.ckpt", "b.ckpt", "-o", "p.feamoe", "--polish", "c.csv", "--experts", "2", "--format", "json"];
    let json = folder.run(&polished).json();
    assert_eq!((&json["experts"], &json["rows"]), (&2.into(), &(900 + 900 + 1_200).into()));
    // An error in the rows to polish with names their file, and no flag that `merge` does not have.
    folder.write("bad.csv", text(4, 600, &["m", "f"]).replacen("\n", "\nold,1,p,m,1\n", 1));
    let refusal = folder.refusal(&["merge", "a.ckpt", "c.ckpt", "-o", "x.feamoe", "--polish", "bad.csv"]);
    assert!(refusal.starts_with("bad.csv:2: column \"a\"") && !refusal.contains("--bad-cells"), "{refusal}");
    folder.write("women.csv", text(5, 600, &["f"]));
    let refusal = folder.refusal(&["merge", "a.ckpt", "b.ckpt", "-o", "x.feamoe", "--polish", "women.csv"]);
    assert!(refusal.starts_with("the rows to polish with have 0 rows of group \"m\""), "{refusal}");
    let refusal = folder.refusal(&["merge", "a.ckpt", "first.ckpt", "-o", "x.feamoe"]);
    assert!(refusal.contains("first.ckpt: shard 2 and the first differ in their options: targets"), "{refusal}");
    let refusal = folder.refusal(&["merge", "a.ckpt", "a.feamoe", "-o", "x.feamoe"]);
    assert!(refusal.contains("a.feamoe"), "{refusal}");
}

/// A merged run that is stopped while it is polished stores itself. Resuming gives the same bytes
/// as never stopping.
#[cfg(unix)]
#[test]
fn a_signal_stores_the_run_that_is_polished() {
    let folder = Folder::new();
    folder.write("s.toml", SCHEMA);
    folder.write("first.csv", text(99, 5_200, &["m", "f"]));
    folder.write("a.csv", text(1, 900, &["m", "f"]));
    let rows = text(2, 4_000, &["m", "f"]);
    folder.write("rows.csv", &rows);
    let train = ["--schema", "s.toml", "--fair", "spd=0.05", "--checkpoint"];
    let _ = folder.run(&[&["train", "first.csv", "-o", "f.feamoe"], &train[..], &["f.ckpt"]].concat()).well();
    let shard = ["a.ckpt", "--encoding", "f.ckpt", "-o", "a.feamoe"];
    let _ = folder.run(&[&["train", "a.csv"], &train[..], &shard].concat()).well();
    let merge = |name: &str| {
        [
            "merge".into(),
            "a.ckpt".into(),
            "--checkpoint".into(),
            format!("{name}.ckpt"),
            "-o".into(),
            format!("{name}.feamoe"),
            "--polish".into(),
        ]
    };
    let run = |name: &str, data: &str| {
        let arguments = [&merge(name)[..], &[data.to_owned()]].concat();
        folder.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(run("whole", "rows.csv").output().unwrap().status.success());
    let piped = std::process::Stdio::piped;
    let mut child = run("s", "-").stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&rows.as_bytes()[..rows.len() / 2]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    // The run ends before the next row, so the pipe may be closed by now.
    let _ = pipe.write_all(&rows.as_bytes()[rows.len() / 2..]);
    drop(pipe);
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("rows, which are in the checkpoint") && said.contains("feamoe update"), "{said}");
    assert!(!folder.path("s.feamoe").exists());
    let _ = folder.run(&["update", "s.ckpt", "rows.csv", "-o", "s.feamoe"]).done();
    assert!(
        folder.read("s.feamoe") == folder.read("whole.feamoe") && folder.read("s.ckpt") == folder.read("whole.ckpt")
    );
}
