//! The options of a run as a document, which a user writes in Python or in a configuration file.
//!
//! Keys are the flags of `feamoe train` with `_` instead of `-`, with the same defaults.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use feamoe_engine::fairness::Measure;
use feamoe_engine::limits::{MAX_BACKGROUND_ROWS, MAX_BINS, MAX_EXPERTS};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::Options;
use super::delay::MOST_DELAY;
use crate::encoder;
use crate::error::Error;
use crate::learner::{ClassWeight, FairBy, Growth, Increment, LearnerOptions, Loss, Penalties, ThresholdRule};
use crate::schema::{not_toml, read_toml};

/// The options of a run.
///
/// ```
/// use feamoe::training::config::Config;
///
/// let config = Config::from_json(r#"{"fair": {"spd": 0.05}, "epochs": "auto", "bins": 32}"#)?;
/// assert_eq!(config.options()?.encoder.bins, 32);
/// let error = Config::from_json(r#"{"epoch": 2}"#).err().map(|error| error.to_string());
/// assert!(error.is_some_and(|error| error.starts_with("options: unknown field `epoch`, expected one of `fair`")));
/// # Ok::<(), feamoe::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Targets: limits by measure.
    #[serde(deserialize_with = "targets")]
    pub fair: Vec<(Measure, f32)>,
    /// How targets are held: `score` or `threshold`.
    #[serde(with = "FairByName")]
    pub fair_by: FairBy,
    /// The paper's penalties, any of `spd,aod,burden`, instead of targets.
    #[serde(deserialize_with = "penalties")]
    pub penalties: Option<Penalties>,
    /// Increment of the penalties' weight for each expert added: a number, or one per penalty
    /// (`spd=0.02,aod=0.01`), which then need not be listed under `penalties`.
    #[serde(deserialize_with = "increment")]
    pub increment: Option<Increment>,
    /// Penalty on decisions that change when only a protected column is changed.
    pub individual: Option<f32>,
    /// Largest number of experts; `auto`: as many as pay off.
    #[serde(deserialize_with = "or_auto")]
    pub experts: Option<usize>,
    /// When experts are added.
    #[serde(deserialize_with = "by_text")]
    pub grow: Growth,
    /// Whether only the gate and the newest expert learn.
    pub freeze: bool,
    /// The loss: `nll` or `competitive`.
    #[serde(with = "LossName")]
    pub loss: Loss,
    /// Bins per number.
    pub bins: usize,
    /// Number of rows that the encoding is first fitted on.
    pub warmup: usize,
    /// Learning rate.
    pub lr: f32,
    /// Lowest score with a favourable decision, or the rule to choose it.
    #[serde(deserialize_with = "threshold")]
    pub threshold: ThresholdRule,
    /// Column of sample weights.
    pub weight: Option<String>,
    /// Weight of the two outcomes: `equal` or `balanced`.
    #[serde(with = "ClassWeightName")]
    pub class_weight: ClassWeight,
    /// Label delay in rows.
    pub label_delay: u32,
    /// Passes over the data; `auto`: until the log-loss no longer falls.
    #[serde(deserialize_with = "or_auto")]
    pub epochs: Option<u32>,
    /// Whether to learn in random order, drawn by the seed.
    pub shuffle: bool,
    /// Number of background records in the model.
    pub background: u16,
    /// Seed of all random choices.
    pub seed: u64,
    /// Rows per prequential window.
    pub window: u64,
}

impl Default for Config {
    fn default() -> Self {
        let encoder::Options { bins, warmup } = encoder::Options::default();
        Self {
            fair: Vec::new(),
            fair_by: FairBy::Score,
            penalties: None,
            increment: None,
            individual: None,
            experts: None,
            grow: Growth::default(),
            freeze: false,
            loss: Loss::Nll,
            bins,
            warmup,
            lr: LearnerOptions::LEARNING_RATE,
            threshold: ThresholdRule::default(),
            weight: None,
            class_weight: ClassWeight::Equal,
            label_delay: 0,
            epochs: Some(1),
            shuffle: false,
            background: Options::BACKGROUND,
            seed: 1,
            window: 1000,
        }
    }
}

impl Config {
    /// Reads a JSON document.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown key, or a value of another kind.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        // Parses through a value: a position in text that no user wrote would only confuse.
        let read = serde_json::from_str::<serde_json::Value>(text).and_then(serde_json::from_value);
        read.map_err(|error| Error::Input(format!("options: {error}")))
    }

    /// Reads a configuration file, like [`Config::from_toml`].
    ///
    /// # Errors
    /// [`Error::Read`], and the errors of [`Config::from_toml`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::from_toml(&path.display().to_string(), &read_toml(path, "options")?)
    }

    /// Parses a configuration in TOML; `file` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Schema`], with line and column, for text that is not TOML, an unknown key, or a
    /// value of another kind.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| not_toml(file, text, &error))
    }

    /// Returns the options that differ from the default, in the form that [`Config::from_toml`]
    /// reads.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let default = Self::default();
        let mut table = toml::Table::new();
        let mut put = |key: &str, differs: bool, value: toml::Value| {
            if differs {
                table.insert(key.into(), value);
            }
        };
        let or_auto = |number: Option<i64>| number.map_or_else(|| "auto".into(), toml::Value::from);
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let fair = self.fair.iter().map(|(measure, limit)| (measure.name().to_owned(), decimals(*limit)));
        put("fair", self.fair != default.fair, toml::Value::Table(fair.collect()));
        put("fair_by", self.fair_by != default.fair_by, "threshold".into());
        put("penalties", self.penalties.is_some(), self.penalties.unwrap_or(Penalties::NONE).to_string().into());
        let increment = self.increment.map(|increment| match increment {
            Increment::Same(same) => decimals(same),
            Increment::Each(_) => increment.to_string().into(),
        });
        put("increment", increment.is_some(), increment.unwrap_or_else(|| 0.into()));
        put("individual", self.individual.is_some(), decimals(self.individual.unwrap_or_default()));
        let experts = self.experts.map(|experts| whole(experts as u64));
        put("experts", self.experts != default.experts, or_auto(experts));
        put("grow", self.grow != default.grow, self.grow.to_string().into());
        put("freeze", self.freeze, self.freeze.into());
        put("loss", self.loss != default.loss, "competitive".into());
        put("bins", self.bins != default.bins, whole(self.bins as u64).into());
        put("warmup", self.warmup != default.warmup, whole(self.warmup as u64).into());
        put("lr", self.lr != default.lr, decimals(self.lr));
        let threshold = match self.threshold {
            ThresholdRule::Fixed(threshold) => decimals(threshold),
            rule => rule.to_string().into(),
        };
        put("threshold", self.threshold != default.threshold, threshold);
        put("weight", self.weight.is_some(), self.weight.clone().unwrap_or_default().into());
        put("class_weight", self.class_weight != default.class_weight, "balanced".into());
        put("label_delay", self.label_delay != default.label_delay, self.label_delay.into());
        put("epochs", self.epochs != default.epochs, or_auto(self.epochs.map(i64::from)));
        put("shuffle", self.shuffle, self.shuffle.into());
        put("background", self.background != default.background, i64::from(self.background).into());
        put("seed", self.seed != default.seed, whole(self.seed).into());
        put("window", self.window != default.window, whole(self.window).into());
        table.to_string()
    }

    /// Returns the penalties with their increments; `None` if there are none.
    ///
    /// # Errors
    /// [`Error::Input`] if increments and penalties have different names.
    pub fn penalties(&self) -> Result<Option<Penalties>, Error> {
        let penalties = match (self.penalties, self.increment) {
            (penalties, None) => return Ok(penalties),
            (Some(penalties), Some(increment)) => penalties.with(increment),
            (None, Some(Increment::Each(each))) => Ok(each),
            (None, Some(Increment::Same(_))) => {
                return Err(Error::Input("increment: found one without penalties, which it applies to".into()));
            }
        };
        penalties.map(Some).map_err(|error| Error::Input(error.to_string()))
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::Input`] for the first option outside its range, with the found and the allowed
    /// value.
    pub fn options(&self) -> Result<Options, Error> {
        let refuse = |message: String| Err(Error::Input(message));
        let penalties = self.penalties()?;
        if penalties.is_some() && !self.fair.is_empty() {
            return refuse("found targets and penalties, which cannot be combined; leave out one of them".into());
        }
        let mut learner = LearnerOptions::default()
            .penalties(penalties.unwrap_or(Penalties::NONE))
            .experts(self.experts)
            .growth(self.grow)
            .loss(self.loss)
            .learning_rate(self.lr)
            .seed(self.seed)
            .freeze(self.freeze)
            .class_weight(self.class_weight)
            .threshold_rule(self.threshold)
            .fair_by(self.fair_by);
        if let Some(weight) = self.individual {
            learner = learner.individual(weight);
        }
        for (measure, limit) in &self.fair {
            learner = learner.target(*measure, *limit);
        }
        // A learner can hold more experts than a model file.
        within("experts", self.experts.unwrap_or(1), 1..=MAX_EXPERTS)?;
        within("bins", self.bins, 0..=MAX_BINS)?;
        within("warmup", self.warmup, 1..=MOST_WARMUP)?;
        within("background", usize::from(self.background), 0..=MAX_BACKGROUND_ROWS)?;
        within("label_delay", self.label_delay, 0..=MOST_DELAY)?;
        within("epochs", self.epochs.unwrap_or(1), 1..=u32::MAX)?;
        within("window", self.window, 1..=u64::MAX)?;
        let learner = learner.check().map_err(|error| Error::Input(error.to_string()))?;
        Ok(Options {
            encoder: encoder::Options { bins: self.bins, warmup: self.warmup },
            encoding: None,
            epochs: self.epochs.unwrap_or(Options::MOST_EPOCHS),
            stops_early: self.epochs.is_none(),
            shuffle: self.shuffle,
            window: self.window,
            background: self.background,
            weight: self.weight.clone(),
            label_delay: self.label_delay,
            ..Options::new(learner)
        })
    }
}

/// Returns a number in TOML with the shortest decimals of an f32.
fn decimals(x: f32) -> toml::Value {
    toml::Value::Float(x.to_string().parse().unwrap_or(f64::NAN))
}

/// Largest number of rows that the encoding is first fitted on: they are kept in memory.
const MOST_WARMUP: usize = 1 << 24;

fn within<T: PartialOrd + Display>(option: &str, found: T, range: RangeInclusive<T>) -> Result<(), Error> {
    match range.contains(&found) {
        true => Ok(()),
        false => {
            let (low, high) = range.into_inner();
            Err(Error::Input(format!("{option}: found {found}, allowed {low} to {high}")))
        }
    }
}

#[derive(Deserialize)]
#[serde(remote = "FairBy", rename_all = "lowercase")]
enum FairByName {
    Score,
    Threshold,
}

#[derive(Deserialize)]
#[serde(remote = "Loss", rename_all = "lowercase")]
enum LossName {
    Nll,
    Competitive,
}

#[derive(Deserialize)]
#[serde(remote = "ClassWeight", rename_all = "lowercase")]
enum ClassWeightName {
    Equal,
    Balanced,
}

/// A number, or a word.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText<T> {
    Number(T),
    Text(String),
}

fn or_auto<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    match NumberOrText::deserialize(deserializer) {
        Ok(NumberOrText::Number(number)) => Ok(Some(number)),
        Ok(NumberOrText::Text(text)) if text == "auto" => Ok(None),
        Ok(NumberOrText::Text(text)) => {
            Err(D::Error::custom(format!("found `{text}`, expected a whole number above 0, or auto")))
        }
        Err(_) => Err(D::Error::custom("expected a whole number above 0, or auto")),
    }
}

fn threshold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ThresholdRule, D::Error> {
    match NumberOrText::<f32>::deserialize(deserializer)? {
        NumberOrText::Number(threshold) => Ok(ThresholdRule::Fixed(threshold)),
        NumberOrText::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

fn by_text<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn penalties<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Penalties>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse()).transpose().map_err(D::Error::custom)
}

fn increment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Increment>, D::Error> {
    Option::<NumberOrText<f32>>::deserialize(deserializer)?
        .map(|read| match read {
            NumberOrText::Number(same) => Ok(Increment::Same(same)),
            NumberOrText::Text(text) => text.parse(),
        })
        .transpose()
        .map_err(D::Error::custom)
}

/// Reads targets, in the order of the document.
fn targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Measure, f32)>, D::Error> {
    struct Targets;

    impl<'de> Visitor<'de> for Targets {
        type Value = Vec<(Measure, f32)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("limits by the names of measures, such as {\"spd\": 0.05}")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut targets = Vec::new();
            while let Some((name, limit)) = map.next_entry::<String, f32>()? {
                let Some(measure) = Measure::ALL.into_iter().find(|measure| measure.name() == name) else {
                    let names = Measure::ALL.map(Measure::name).join(", ");
                    return Err(A::Error::custom(format!("found measure `{name}`, expected one of {names}")));
                };
                targets.push((measure, limit));
            }
            Ok(targets)
        }
    }

    deserializer.deserialize_map(Targets)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_what_is_allowed() {
        for (text, message) in [
            (r#"{"fair": {"parity": 0.1}}"#, "found measure `parity`, expected one of spd, aod"),
            (r#"{"fair": {"spd": 0}}"#, "spd: found 0, allowed a gap above 0, at most 1"),
            (r#"{"fair": [0.1]}"#, "expected limits by the names of measures"),
            (r#"{"fair_by": "scores"}"#, "unknown variant `scores`, expected `score` or `threshold`"),
            (r#"{"fair": {"spd": 0.1}, "penalties": "spd"}"#, "which cannot be combined"),
            (r#"{"penalties": "parity"}"#, "found penalty `parity`"),
            (r#"{"increment": 0.02}"#, "increment: found one without penalties"),
            (r#"{"increment": "spd=0.02,aod=0.5"}"#, "increment: found 0.5, allowed above 0, at most 0.1"),
            (r#"{"increment": "spd=0.02", "penalties": "aod"}"#, "found one for spd, expected one for each of the"),
            (r#"{"increment": "spd=0.02", "fair": {"spd": 0.1}}"#, "which cannot be combined"),
            (r#"{"increment": "small"}"#, "found `small`, expected a number such as 0.02"),
            (r#"{"experts": "all"}"#, "found `all`, expected a whole number above 0, or auto"),
            (r#"{"experts": 1.5}"#, "expected a whole number above 0, or auto"),
            (r#"{"experts": 65}"#, "experts: found 65, allowed 1 to 64"),
            (r#"{"epochs": 0}"#, "epochs: found 0, allowed 1 to"),
            (r#"{"bins": 99999}"#, "bins: found 99999, allowed 0 to"),
            (r#"{"warmup": 0}"#, "warmup: found 0, allowed 1 to"),
            (r#"{"window": 0}"#, "window: found 0, allowed 1 to"),
            (r#"{"label_delay": 100001}"#, "label_delay: found 100001, allowed 0 to 100000"),
            (r#"{"threshold": 1.5}"#, "threshold: found 1.5, allowed above 0, below 1"),
            (r#"{"threshold": "auto:best"}"#, "found `auto:best`, expected a number above 0 and below 1"),
            (r#"{"grow": "often"}"#, "found `often`, expected every=N"),
            (r#"{"lr": "fast"}"#, "expected f32"),
        ] {
            let refused = Config::from_json(text).and_then(|config| config.options()).unwrap_err().to_string();
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }

    #[test]
    fn a_file_of_options_is_read_back_as_it_was() {
        assert_eq!(Config::default().to_toml(), "");
        for text in [
            "",
            "bins = 32\nlr = 0.07\nexperts = 3\nfreeze = true\nseed = 7\n",
            "epochs = \"auto\"\nshuffle = true\nloss = \"competitive\"\ngrow = \"every=250,unfair=3\"\n",
            "fair_by = \"threshold\"\nthreshold = 0.3\nweight = \"w\"\nclass_weight = \"balanced\"\n[fair]\nspd = 0.05\naod = 0.1\n",
            "penalties = \"spd,burden\"\nincrement = 0.01\nindividual = 0.4\nthreshold = \"auto:cost=5\"\n",
            "warmup = 9\nlabel_delay = 4\nbackground = 0\nwindow = 10\nexperts = 64\nepochs = 20\n",
        ] {
            let config = Config::from_toml("o.toml", text).unwrap();
            assert_eq!(Config::from_toml("o.toml", &config.to_toml()).unwrap(), config, "{text}");
            assert_eq!(config == Config::default(), text.is_empty());
        }
        let error = Config::from_toml("o.toml", "bins = 32\nepoch = 2\n").unwrap_err().to_string();
        assert!(error.starts_with("o.toml:2:1: unknown field `epoch`, expected one of `fair`"), "{error}");
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let default = Config::from_json("{}").unwrap().options().unwrap();
        let plain = Options::new(LearnerOptions::default().check().unwrap());
        assert_eq!(format!("{default:?}"), format!("{plain:?}"));
    }
}
