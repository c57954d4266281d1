//! The regimes of the FEAMOE paper (its table 1) on UCI Adult: each penalty narrows the gap it is
//! named after, and all together narrow every gap, at an accuracy close to the paper's. The
//! settings are the paper's: linear experts, one every 4,000 rows, competitive loss, increment
//! 0.02.

use feamoe_tests::command::Folder;
use feamoe_tests::{data_file, repository_file};

/// Accuracy of FEAMOE in the paper (its table 4).
const PAPER_ACCURACY: f64 = 0.832;
/// The paper's burden gap (its table 4). Its SPD and AOD, 0.06 and 0.07, are means over five runs:
/// the order of the rows changes either by about 0.02.
const PAPER_BURDEN: f64 = 0.03;
/// The least amount by which a penalty must narrow its own gap. The order of the rows changes a gap
/// by less.
const LESS: f64 = 0.02;
/// The same for the burden gap, which is half as large and varies less.
const LESS_BURDEN: f64 = 0.01;

#[test]
fn every_penalty_narrows_its_gap_on_adult() {
    let (Some(data), Some(test)) = (data_file("adult.data"), data_file("adult.test")) else { return };
    let schema = repository_file("trainer/schemas/adult.toml");
    let [data, test, schema] = [&data, &test, &schema].map(|path| path.to_str().unwrap());
    let folder = Folder::new();
    let regime = |penalties: &str| {
        let train =
            ["train", data, "--schema", schema, "-o", "m.feamoe", "--shuffle", "--bins", "0", "--loss", "competitive"];
        let paper = ["--grow", "every=4000", "--fairness", "paper", "--penalties", penalties, "--format", "json"];
        let report = folder.run(&[&train[..], &paper].concat()).json();
        assert_eq!(report["experts"].as_u64(), Some(9)); // the first, and one after every 4,000 of 32,561 rows
        let report = folder.run(&["evaluate", "m.feamoe", test, "--schema", schema, "--format", "json"]).json();
        let gap = |name: &str| report["fairness"][0][name].as_f64().unwrap().abs();
        let figures = [report["accuracy"].as_f64().unwrap(), gap("spd"), gap("aod"), gap("burden")];
        println!("{penalties}: accuracy, SPD, AOD, burden {figures:.4?}");
        figures
    };
    let [moe_accuracy, moe_spd, moe_aod, moe_burden] = regime("none");
    let [_, spd, _, _] = regime("spd");
    let [_, _, aod, _] = regime("aod");
    let [_, _, _, burden] = regime("burden");
    assert!(spd < moe_spd - LESS, "FEAMOE1: SPD {spd}, MOE {moe_spd}");
    assert!(aod < moe_aod - LESS, "FEAMOE2: AOD {aod}, MOE {moe_aod}");
    assert!(burden < moe_burden - LESS_BURDEN, "FEAMOE3: burden {burden}, MOE {moe_burden}");
    let [accuracy, all_spd, _, all_burden] = regime("spd,aod,burden");
    assert!(accuracy > PAPER_ACCURACY && accuracy < moe_accuracy, "FEAMOE: accuracy {accuracy}, MOE {moe_accuracy}");
    assert!(all_spd < spd - LESS && all_spd < 0.5 * moe_spd, "FEAMOE: SPD {all_spd}, FEAMOE1 {spd}, MOE {moe_spd}");
    assert!(all_burden < PAPER_BURDEN, "FEAMOE: burden {all_burden}");
}
