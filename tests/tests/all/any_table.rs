//! A model trained on columns with any content can be exported, scored, evaluated and explained.
//!
//! The export scores rows of the data with the learner and with the written model, and fails if
//! they differ. So each success checks the encoder, learner, layout and engine against each other,
//! on tables that nobody chose.

use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;

/// Number of tables; each table and its options are drawn with its number as the seed.
const TABLES: u64 = 60;

/// Returns the cells of a column of this kind. Many occur in real files: codes, ids, times in
/// seconds, money, levels with quotes and commas.
fn cells(kind: &str, rows: usize, draw: &mut Draw) -> Vec<String> {
    let small = |draw: &mut Draw, n: usize| draw.below(n) as i64;
    (0..rows)
        .map(|row| match kind {
            "whole" => (small(draw, 101) - 50).to_string(),
            "real" => format!("{:?}", draw.between(-3.0, 3.0)),
            "heavy" => (1_u64 << draw.below(40)).to_string(),
            "tiny" => format!("{:e}", draw.between(0.0, 1.0) * 1e-20),
            "huge" => format!("{:e}", draw.between(-3e38, 3e38)),
            "seconds" => (1_700_000_000 + 1_000 * small(draw, 1_000)).to_string(),
            "endless" => draw.one_of(&["inf", "-inf", "1e300", "0", "1"]).to_owned(),
            "constant" => "7".to_owned(),
            "code" => draw.one_of(&["1", "2", "9"]).to_owned(),
            "few" => draw.one_of(&["a", "\"b \"\"x\"\"\"", "\"c,d\"", "é"]).to_owned(),
            "many" => format!("level {}", draw.below(500)),
            "number" => row.to_string(),
            _ => {
                if row * 5 < rows * 4 {
                    row.to_string()
                } else {
                    String::new()
                }
            }
        })
        .collect()
}

const KINDS: [&str; 13] = [
    "whole",
    "real",
    "heavy",
    "tiny",
    "huge",
    "seconds",
    "endless",
    "constant",
    "code",
    "few",
    "many",
    "number",
    "ends early",
];

/// Writes a table and its schema. Returns the kinds of its columns.
fn write_table(folder: &Folder, draw: &mut Draw) -> Vec<&'static str> {
    let rows = draw.one_of(&[2, 5, 20, 200, 700, 5_200]);
    let kinds: Vec<&str> = (0..1 + draw.below(6)).map(|_| draw.one_of(&KINDS)).collect();
    let mut columns: Vec<Vec<String>> = kinds.iter().map(|kind| cells(kind, rows, draw)).collect();
    for column in &mut columns {
        let missing = draw.one_of(&[0, 0, 10, 60, 100]);
        column.iter_mut().filter(|_| draw.below(100) < missing).for_each(|cell| *cell = "NA".to_owned());
    }
    // Both outcomes and both groups must occur.
    let sex: Vec<&str> = (0..rows)
        .map(|row| {
            if row == 0 {
                "m"
            } else if row == 1 {
                "f"
            } else {
                draw.one_of(&["m", "f"])
            }
        })
        .collect();
    let y: Vec<&str> = (0..rows)
        .map(|row| {
            if row == 0 {
                "yes"
            } else if row == 1 {
                "no"
            } else {
                draw.one_of(&["yes", "no"])
            }
        })
        .collect();
    let header: String = (0..kinds.len()).map(|index| format!("c{index},")).collect();
    let mut text = format!("{header}sex,y\n");
    for row in 0..rows {
        let cells: String = columns.iter().map(|column| format!("{},", column[row])).collect();
        text += &format!("{cells}{},{}\n", sex[row], y[row]);
    }
    folder.write("data.csv", text);
    let listed = |kind: &str| {
        let has_value = |index: usize| columns[index].iter().any(|cell| cell != "NA");
        let of_kind = (0..kinds.len()).filter(|index| kinds[*index] == kind && has_value(*index));
        of_kind.map(|index| format!("\"c{index}\"")).collect::<Vec<_>>().join(", ")
    };
    let schema = format!(
        "[target]\ncolumn = \"y\"\npositive = [\"yes\"]\n[[protected]]\ncolumn = \"sex\"\nprivileged = [\"m\"]\nas_feature = {}\n\
         [features]\nlog1p = [{}]\ncategorical = [{}]\nmax_levels = {}\n",
        draw.one_of(&[true, false]),
        listed("heavy"),
        listed("code"),
        draw.one_of(&[1, 3, 64]),
    );
    folder.write("schema.toml", schema);
    kinds
}

fn options(draw: &mut Draw) -> Vec<&'static str> {
    [
        draw.one_of(&[
            &[][..],
            &["--fair", "spd=0.01"],
            &["--fair", "spd=0.05,aod=0.05,eodds=0.1,eopp=0.1,burden=0.001"],
        ]),
        draw.one_of(&[&[][..], &["--lr", "1"], &["--lr", "0.001"]]),
        draw.one_of(&[&[][..], &["--loss", "competitive"]]),
        draw.one_of(&[&[][..], &["--grow", "every=1", "--experts", "64"], &["--grow", "every=0"], &["--experts", "3"]]),
        draw.one_of(&[&[][..], &["--bins", "0"], &["--bins", "7"], &["--bins", "40"], &["--bins", "4096"]]),
        draw.one_of(&[&[][..], &["--shuffle", "--epochs", "3"]]),
    ]
    .concat()
}

#[test]
fn what_was_trained_can_be_used() {
    for seed in 0..TABLES {
        let (folder, mut draw) = (Folder::new(), Draw::new(seed));
        let kinds = write_table(&folder, &mut draw);
        let options = options(&mut draw);
        let train = ["train", "data.csv", "--schema", "schema.toml", "-o", "m.feamoe", "--format", "json"];
        let ran = folder.run(&[&train, &options[..]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "table {seed}: {kinds:?} {options:?}");
        let _ = folder.run(&["evaluate", "m.feamoe", "data.csv", "--schema", "schema.toml"]).well();
        let _ = folder.run(&["explain", "m.feamoe", "data.csv", "--row", "1", "--method", "frozen"]).done();
        let scores = folder.run(&["score", "m.feamoe", "data.csv", "--gate"]).well();
        for line in scores.lines().skip(1) {
            let p: f32 = line.split(',').nth(1).unwrap().parse().unwrap();
            assert!((0.0..=1.0).contains(&p), "table {seed}: {line}");
        }
        let explained = folder.run(&["explain", "m.feamoe", "data.csv", "--row", "2", "--format", "json"]).json();
        let residual = explained["residual"][0].as_f64();
        assert!(residual.is_some_and(|residual| residual.abs() < 0.01), "table {seed}: residual {residual:?}");
    }
}

/// Levels that first occur after the encoder was fitted, in one row each. That row picked the
/// unseen weight row, so their own weight rows were never learned.
#[test]
fn a_level_that_occurred_once_scores_as_an_unseen_one() {
    let (fitted_on, alone) = (5_000, 50);
    let folder = Folder::new();
    let mut table = String::from("kind,other,y\n");
    for row in 0..6_000 {
        let single = (fitted_on..fitted_on + alone).contains(&row);
        let kind = if single { format!("alone {row}") } else { ["a", "b"][row % 2].into() };
        table += &format!("{kind},{},{}\n", row % 7, u8::from(row % 7 > 2 || single));
    }
    folder.write("data.csv", &table);
    folder.write("schema.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n");
    let _ = folder.run(&["train", "data.csv", "--schema", "schema.toml", "-o", "m.feamoe"]).done();
    folder.write("new.csv", "kind,other\nalone 5001,4\nnever,4\na,4\n");
    let scores = folder.run(&["score", "m.feamoe", "new.csv"]).well();
    let probability = |line: usize| scores.lines().nth(line).unwrap().split(',').nth(1).unwrap().to_owned();
    assert_eq!(probability(1), probability(2));
    assert_ne!(probability(1), probability(3));
}
