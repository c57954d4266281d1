//! Mortgages by year: one or more experts for each of three years, merged, followed by one pass
//! over the fourth (FEAMOE, section 4.2). Compared with one run over all years.

use std::path::Path;
use std::sync::Arc;

use feamoe::error::Error;
use feamoe::learner::{How, LearnerOptions};
use feamoe::rows::{Input, Row, Stream, Use};
use feamoe::schema::Schema;
use feamoe::training::merge::Merging;
use feamoe::training::prequential::Tally;
use feamoe::training::{Encoding, Options, Trainer};
use feamoe_engine::fairness::Measure;
use schemars::JsonSchema;
use serde::Serialize;

use super::plan::DataSet;
use super::regimes::with_targets;

/// The years of the data. The last one is evaluated.
const YEARS: [u32; 4] = [2014, 2015, 2016, 2017];
const YEAR: &str = "as_of_year";
/// Targets in the format of `--fair`.
pub const TARGETS: [&str; 2] = ["", "spd=0.02,aod=0.02"];

/// The results of one method of learning from the years, on the last year.
#[derive(Debug, Serialize, JsonSchema)]
pub struct YearRow {
    /// The method, in words.
    pub way: &'static str,
    /// The targets, in the format of `--fair`; empty for none.
    pub fair: &'static str,
    /// Number of experts before the last year.
    pub experts: usize,
    /// The figures of the model that has not learned from the last year.
    pub before: YearFigures,
    /// The figures of one pass over the last year, where each row is scored before it is learned
    /// from.
    pub passing: YearFigures,
}

/// Figures of the last year.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct YearFigures {
    /// Share of correct decisions.
    pub accuracy: f32,
    /// Mean negative log-likelihood, in natural logarithms.
    pub log_loss: f64,
    /// Statistical parity difference; null if no group has enough records.
    pub spd: Option<f32>,
    /// Average odds difference; null if no group has enough records.
    pub aod: Option<f32>,
}

impl YearFigures {
    fn new(tally: &Tally) -> Self {
        Self {
            accuracy: tally.all().accuracy(),
            log_loss: tally.mean_log_loss(),
            spd: tally.worst(Measure::Spd),
            aod: tally.worst(Measure::Aod),
        }
    }
}

/// The data, read once for each use.
struct Years<'a> {
    folder: &'a Path,
    schema: Schema,
}

impl Years<'_> {
    /// Calls `take` for the rows of a year in order.
    fn each(&self, year: u32, take: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let file = Input::from(self.folder.join(DataSet::Hmda.training_file()).as_path());
        let mut stream = Stream::open(&[file], &self.schema, Use::Learn)?;
        let column = stream.columns().iter().position(|column| column == YEAR);
        while let Some(row) = stream.next_row()? {
            if column.and_then(|column| row.cell(column).number()) == Some(f64::from(year)) {
                take(&row)?;
            }
        }
        Ok(())
    }

    fn learn(&self, trainer: &mut Trainer, year: u32) -> Result<(), Error> {
        self.each(year, &mut |row| trainer.learn(row).map(drop))
    }

    fn learned(&self, options: &Options, years: &[u32]) -> Result<Trainer, Error> {
        let file = Input::from(self.folder.join(DataSet::Hmda.training_file()).as_path());
        let columns = Stream::open(&[file], &self.schema, Use::Learn)?.columns().to_vec();
        let mut trainer = Trainer::new(&columns, self.schema.clone(), options)?;
        years.iter().try_for_each(|year| self.learn(&mut trainer, *year))?;
        Ok(trainer)
    }

    /// Evaluates a run on the last year.
    fn judge(&self, way: &'static str, fair: &'static str, mut trainer: Trainer) -> Result<YearRow, Error> {
        let (experts, last) = (trainer.learner().experts(), YEARS[YEARS.len() - 1]);
        let [mut before, mut passing] = [Tally::default(), Tally::default()];
        let label = |row: &Row<'_>| row.label.unwrap_or_default();
        self.each(last, &mut |row| {
            let said = trainer.score(row)?;
            before.observe(label(row), said.exported, said.exported_threshold, row.groups);
            Ok(())
        })?;
        self.each(last, &mut |row| {
            if let Some(said) = trainer.learn(row)? {
                passing.observe(label(row), said.probability, said.threshold, row.groups);
            }
            Ok(())
        })?;
        Ok(YearRow { way, fair, experts, before: YearFigures::new(&before), passing: YearFigures::new(&passing) })
    }
}

/// Learns from the years by every method, with the same options.
pub fn study(folder: &Path, fair: &'static str) -> anyhow::Result<Vec<YearRow>> {
    let years = Years { folder, schema: Schema::from_toml(DataSet::Hmda.schema_name(), DataSet::Hmda.schema())? };
    let learner = with_targets(LearnerOptions::default(), fair)?.check()?;
    let options = Options::new(learner);
    let earlier = &YEARS[..YEARS.len() - 1];
    let one = years.learned(&options, earlier)?;
    // All years use the encoding of the first.
    let first = years.learned(&options, &earlier[..1])?;
    let encoding = Some(Arc::new(Encoding::of(&first.checkpoint())?));
    let of_year = |year: &u32| years.learned(&Options { encoding: encoding.clone(), ..options.clone() }, &[*year]);
    let shards: Vec<Trainer> = earlier.iter().map(of_year).collect::<Result<_, _>>()?;
    let shards: Vec<&Trainer> = shards.iter().collect();
    let mut rows = vec![years.judge("one run over all years", fair, one)?];
    let joined = Merging { how: How::Join, ..Merging::default() };
    rows.push(years.judge("joined", fair, Trainer::merge(&shards, &joined)?)?);
    for (way, experts) in [("joined, merged down to 12 experts", 12), ("joined, merged down to 4 experts", 4)] {
        rows.push(years.judge(way, fair, Trainer::merge(&shards, &Merging { experts: Some(experts), ..joined })?)?);
    }
    if let Some(newest) = shards.last() {
        rows.push(years.judge("2016 alone", fair, Trainer::merge(&[*newest], &joined)?)?);
    }
    Ok(rows)
}
