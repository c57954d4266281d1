//! The plan of the study: data sets, settings and seeds.

use std::ops::Range;

/// A data set of the study. Its schema states where to get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataSet {
    /// UCI Adult: income, by sex.
    Adult,
    /// ProPublica's COMPAS study rows: no new offence, by race.
    Compas,
    /// Diabetes in 130 US hospitals, in time order: readmission, by race.
    Diabetes,
    /// Mortgage applications 2014-2017, in time order: approval, by sex.
    Hmda,
}

impl DataSet {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adult => "adult",
            Self::Compas => "compas",
            Self::Diabetes => "diabetes",
            Self::Hmda => "hmda",
        }
    }

    /// The file to learn from.
    #[must_use]
    pub const fn training_file(self) -> &'static str {
        match self {
            Self::Adult => "adult.data",
            Self::Compas => "compas-scores-two-years.csv",
            Self::Diabetes => "diabetes_1999_2008.csv.gz",
            Self::Hmda => "hmda_2014_2017.csv.gz",
        }
    }

    pub(super) const fn schema(self) -> &'static str {
        match self {
            Self::Adult => include_str!("../../../schemas/adult.toml"),
            Self::Compas => include_str!("../../../schemas/compas.toml"),
            Self::Diabetes => include_str!("../../../schemas/diabetes-130.toml"),
            Self::Hmda => include_str!("../../../schemas/hmda.toml"),
        }
    }

    pub(super) const fn schema_name(self) -> &'static str {
        match self {
            Self::Adult => "schemas/adult.toml",
            Self::Compas => "schemas/compas.toml",
            Self::Diabetes => "schemas/diabetes-130.toml",
            Self::Hmda => "schemas/hmda.toml",
        }
    }
}

/// The evaluation of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Evaluates the rows of this file, scored by the engine with the exported model.
    TestFile(&'static str),
    /// Does the same for 30 % of the training file, drawn by the seed. The learner never sees them.
    Split,
    /// Evaluates every row of the stream, scored before learning from it. Gaps are means over ten
    /// stretches.
    Prequentially,
}

/// One line of the study.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The data set.
    pub data: DataSet,
    /// The setting in words.
    pub name: &'static str,
    /// Targets in the format of `--fair`; empty for none.
    pub fair: &'static str,
    /// Penalties of the paper in the format of `--penalties`, instead of targets. They come with
    /// the paper's loss and a new expert every 4,000 rows.
    pub penalties: Option<&'static str>,
    /// Number of passes.
    pub epochs: u32,
    /// Number of times the training file is read in one pass, for measurements of speed.
    pub repeated: usize,
    /// Whether the seed draws the order of the rows.
    pub shuffled: bool,
    /// Whether the protected column is a feature.
    pub as_feature: bool,
    /// Maximum number of experts; `None` for the default.
    pub experts: Option<usize>,
    /// Bins of a numeric feature; `None` for the default.
    pub bins: Option<usize>,
    /// The evaluation.
    pub judged: Judged,
    /// The first seed, and the last seed plus one.
    pub seeds: (u64, u64),
}

impl Setting {
    pub(super) fn seeds(&self) -> Range<u64> {
        self.seeds.0..self.seeds.1
    }
}

/// Number of passes over static files.
const SEVERAL: u32 = 5;
/// Seeds 1 to 5. They draw the order of the rows; if that is fixed, they draw the perturbations of
/// new experts.
const ORDERS: (u64, u64) = (1, 6);
/// Seeds 0 to 9, which draw splits.
const SPLITS: (u64, u64) = (0, 10);
/// The first five split seeds.
const ADULT_SPLITS: (u64, u64) = (0, 5);
/// Number of repetitions that makes a file long enough to measure speed.
const REPEATED: usize = 50;

/// One pass over Adult in an order drawn by the seed.
const fn adult(name: &'static str, fair: &'static str) -> Setting {
    Setting {
        data: DataSet::Adult,
        name,
        fair,
        penalties: None,
        epochs: 1,
        repeated: 1,
        shuffled: true,
        as_feature: true,
        experts: None,
        bins: None,
        judged: Judged::TestFile("adult.test"),
        seeds: ORDERS,
    }
}

const fn adult_several(fair: &'static str) -> Setting {
    Setting { epochs: SEVERAL, ..adult("five passes", fair) }
}

/// Training on a long file of repeated Adult rows, in file order.
const fn speed(name: &'static str, experts: usize) -> Setting {
    Setting {
        repeated: REPEATED,
        shuffled: false,
        experts: Some(experts),
        judged: Judged::Prequentially,
        seeds: (1, 2),
        ..adult(name, JOINT)
    }
}

/// The regimes of the paper on Adult (its table 1); its experts have no bins.
const fn paper(name: &'static str, penalties: &'static str) -> Setting {
    Setting { penalties: Some(penalties), bins: Some(0), ..adult(name, "") }
}

const fn compas(name: &'static str, fair: &'static str, epochs: u32) -> Setting {
    Setting {
        data: DataSet::Compas,
        epochs,
        shuffled: epochs > 1,
        judged: Judged::Split,
        seeds: SPLITS,
        ..adult(name, fair)
    }
}

const fn stream(data: DataSet, name: &'static str, fair: &'static str, experts: Option<usize>) -> Setting {
    Setting { data, shuffled: false, experts, judged: Judged::Prequentially, ..adult(name, fair) }
}

const JOINT: &str = "spd=0.05,aod=0.05,burden=0.03";

/// Returns every setting of the study.
#[must_use]
pub fn settings() -> Vec<Setting> {
    const COMPAS_JOINT: &str = "spd=0.05,aod=0.05,burden=0.02";
    const BLIND: &str = "protected column not a feature";
    let one_pass = "one pass";
    let single = "a single expert";
    let mixture = "mixture";
    vec![
        Setting { shuffled: false, seeds: (1, 2), ..adult("one pass in file order", "") },
        adult(one_pass, ""),
        adult(one_pass, "spd=0.05"),
        adult(one_pass, "eodds=0.03"),
        adult(one_pass, JOINT),
        adult_several(""),
        adult_several("spd=0.05"),
        adult_several("eodds=0.03"),
        adult_several(JOINT),
        Setting { as_feature: false, ..adult(BLIND, "") },
        Setting { as_feature: false, ..adult(BLIND, "spd=0.05") },
        Setting { judged: Judged::Split, seeds: ADULT_SPLITS, ..adult("one pass, splits of adult.data", "") },
        speed("50 times, 1 expert", 1),
        speed("50 times, 11 experts", 11),
        paper("the paper's MOE", "none"),
        paper("the paper's FEAMOE1", "spd"),
        paper("the paper's FEAMOE2", "aod"),
        paper("the paper's FEAMOE3", "burden"),
        paper("the paper's FEAMOE", "spd,aod,burden"),
        compas("one pass", "", 1),
        compas("one pass", COMPAS_JOINT, 1),
        compas("three passes", "", 3),
        compas("three passes", "spd=0.05", 3),
        compas("three passes", COMPAS_JOINT, 3),
        Setting { as_feature: false, ..compas("three passes, protected column not a feature", "", 3) },
        Setting { as_feature: false, ..compas("three passes, protected column not a feature", "spd=0.05", 3) },
        stream(DataSet::Diabetes, single, "", Some(1)),
        stream(DataSet::Diabetes, mixture, "", None),
        stream(DataSet::Diabetes, single, "spd=0.03", Some(1)),
        stream(DataSet::Diabetes, mixture, "spd=0.03", None),
        stream(DataSet::Hmda, single, "", Some(1)),
        stream(DataSet::Hmda, mixture, "", None),
        stream(DataSet::Hmda, single, "spd=0.02,aod=0.02", Some(1)),
        stream(DataSet::Hmda, mixture, "spd=0.02,aod=0.02", None),
    ]
}
