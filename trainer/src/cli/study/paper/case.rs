//! Data sets, divided into rows for training and rows for evaluation.

use std::ops::Range;
use std::path::Path;

use feamoe::encoder;
use feamoe::error::Error;
use feamoe::learner::{Growth, LearnerOptions, Loss, Penalties};
use feamoe::rows::{Attribute, Input, Part, Split};
use feamoe::schema::Schema;
use feamoe::training::prequential::Tally;
use feamoe::training::{self, Options, Trainer};
use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};

use super::section::{EXPERTS, Line, Measured, measured};
use crate::cli::study::network::rows::{Inputs, Rows, Table};
use crate::cli::study::network::{Networks, Plan};
use crate::cli::study::plan::DataSet;

/// Share of the rows for training if there is no separate test file.
const TRAINING_SHARE: f64 = 0.7;

/// A data set of the fairness study.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub folder: &'a Path,
    pub data: DataSet,
}

impl Case<'_> {
    /// Returns `runs` seeds, or the default number of them. For Adult, which has a test file, they
    /// draw orders; for the other data sets they draw splits.
    pub fn seeds(&self, runs: Option<u64>) -> Range<u64> {
        1..1 + runs.unwrap_or(if self.data == DataSet::Adult { 5 } else { 10 })
    }

    pub fn schema(&self) -> Result<Schema, Error> {
        Schema::from_toml(self.data.schema_name(), self.data.schema())
    }

    /// Returns the rows of a part.
    pub fn table(&self, seed: u64, part: Part) -> Table {
        let split = Split { seed, training_share: TRAINING_SHARE, part };
        let (file, split) = match (self.data, part) {
            (DataSet::Adult, Part::HeldOut) => ("adult.test", None),
            (DataSet::Adult, Part::Training) => (self.data.training_file(), None),
            _ => (self.data.training_file(), Some(split)),
        };
        Table { split, ..Table::file(self.folder.join(file)) }
    }

    /// Learns in one order, evaluates the held-out rows, and also returns the learner.
    pub fn learned(&self, seed: u64, setting: &Learned) -> anyhow::Result<(Tally, Trainer)> {
        let (schema, table) = (self.schema()?, self.table(seed, Part::Training));
        let learner = setting.learner.clone().seed(seed).check()?;
        let options = Options {
            epochs: setting.epochs,
            shuffle: true,
            encoder: encoder::Options { bins: setting.bins, ..encoder::Options::default() },
            split: table.split,
            ..Options::new(learner)
        };
        let mut trainer =
            training::run(&[self.training_input()], &schema, &options, &mut training::unwatched)?.into_trainer();
        let mut tally = Tally::default();
        let attributes: Vec<Attribute> = trainer.attributes().cloned().collect();
        self.table(seed, Part::HeldOut).each(&schema, &attributes, &mut |row| {
            let said = trainer.score(row)?;
            tally.observe(row.label.unwrap_or_default(), said.exported, said.exported_threshold, row.groups);
            if trainer.learner().options().wants_flips() {
                tally.observe_individual(said.unfair, row.groups);
            }
            Ok(())
        })?;
        Ok((tally, trainer))
    }

    fn training_input(&self) -> Input {
        Input::from(self.folder.join(self.data.training_file()).as_path())
    }

    /// Encodes both parts for a network.
    pub fn rows(&self, seed: u64) -> anyhow::Result<[Rows; 2]> {
        let (training, held_out) = (self.table(seed, Part::Training), self.table(seed, Part::HeldOut));
        let schema = self.schema()?;
        let mut inputs = Inputs::fit(&training, &schema)?;
        Ok([inputs.encode(&training, &schema)?, inputs.encode(&held_out, &schema)?])
    }

    /// Returns the line of a learner.
    pub fn line(&self, setting: &Learned, runs: Option<u64>, more: More<'_>) -> anyhow::Result<Line> {
        let runs = each(self.seeds(runs), |seed| {
            let (tally, trainer) = self.learned(seed, setting)?;
            let mut figures = measured(&tally);
            more(&tally, &mut figures);
            figures.push((EXPERTS, trainer.learner().experts() as f64));
            Ok(figures)
        })?;
        Ok(Line::new(setting.name.clone(), &runs))
    }

    /// Returns the line of a network.
    pub fn network(
        &self,
        name: &str,
        plan: &Plan,
        passes: usize,
        runs: Option<u64>,
        more: More<'_>,
    ) -> anyhow::Result<Line> {
        let runs = each(self.seeds(runs), |seed| {
            let [training, held_out] = self.rows(seed)?;
            let mut network = Networks::new(Plan { seed, ..plan.clone() }, &training);
            network.learn((&training).into(), passes);
            let tally = network.judge(&held_out);
            let mut figures = measured(&tally);
            more(&tally, &mut figures);
            Ok(figures)
        })?;
        Ok(Line::new(name, &runs))
    }
}

/// Adds further figures to those of a run.
pub type More<'a> = &'a (dyn Fn(&Tally, &mut Measured) + Sync);

/// Adds no figures.
pub fn no_more(_: &Tally, _: &mut Measured) {}

/// The settings of a learner.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The setting in words.
    pub name: String,
    pub learner: LearnerOptions,
    pub bins: usize,
    pub epochs: u32,
}

impl Learned {
    /// Returns a setting like the product's default, with one pass.
    pub fn default(name: impl Into<String>, learner: LearnerOptions) -> Self {
        Self { name: name.into(), learner, bins: encoder::Options::default().bins, epochs: 1 }
    }

    /// Returns a setting like the paper's: no bins, and a new expert after every `every` rows.
    pub fn paper(name: impl Into<String>, penalties: Penalties, every: u64) -> Self {
        let learner = LearnerOptions::default()
            .experts(LearnerOptions::MOST_EXPERTS)
            .penalties(penalties)
            .loss(Loss::Competitive)
            .growth(Growth { every, ..Growth::NONE });
        Self { name: name.into(), learner, bins: 0, epochs: 1 }
    }
}

/// Runs a function for every seed on all cores. The results are in the order of the seeds.
pub fn each<T: Send>(
    seeds: Range<u64>,
    run: impl Fn(u64) -> anyhow::Result<T> + Sync + Send,
) -> anyhow::Result<Vec<T>> {
    seeds.into_par_iter().map(run).collect()
}
