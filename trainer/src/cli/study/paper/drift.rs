//! Models that learn from one stretch of data and are evaluated on the next: drift in accuracy and
//! in fairness (4.2, A.5, A.6, A.9).
//!
//! - *Fixed network*: learns from the first stretch and only scores the next.
//! - *Trainable network*: learns from the first stretch, then scores each row of the next and
//!   learns from it, with penalties.
//! - *FEAMOE* and ours: a mixture that does the same.

use feamoe::encoder;
use feamoe::learner::{Growth, LearnerOptions, Loss, Penalties};
use feamoe::rows::Attribute;
use feamoe::schema::Schema;
use feamoe::training::prequential::Tally;
use feamoe::training::{Options, Trainer};

use super::Context;
use super::case::{Learned, each};
use super::section::{ACCURACY, AOD, BURDEN, EXPERTS, Line, Measured, SPD, Section, measured};
use crate::cli::study::network::rows::{Inputs, Rows, Table};
use crate::cli::study::network::{Networks, Plan};
use crate::cli::study::plan::DataSet;
use crate::cli::study::regimes::with_targets;

/// Passes of a network over the first stretch.
const PASSES: usize = 20;
/// Default number of seeds.
const RUNS: u64 = 3;
/// Units of the hidden layers for mortgages, as in the paper.
const FIVE: [usize; 5] = [50; 5];
/// Units of the hidden layers for other data.
const TWO: [usize; 2] = [30; 2];

/// A first stretch of data, and the stretches after it.
pub struct Drift<'a> {
    /// The schema of all rows. A learner skips rows that its own schema filters out.
    pub schema: Schema,
    /// The first stretch, with the schema that selects its rows.
    pub before: (Schema, Table),
    /// The stretches after it, each with a name and a schema.
    pub after: Vec<(String, Schema, Table)>,
    pub hidden: &'a [usize],
    /// Rows between two new experts of FEAMOE.
    pub every: u64,
    /// The targets of our own setting.
    pub targets: &'a str,
}

impl Drift<'_> {
    /// Returns a line for each method and each stretch.
    pub fn lines(&self, prefix: &str, runs: Option<u64>) -> anyhow::Result<Vec<Line>> {
        let seeds = 1..1 + runs.unwrap_or(RUNS);
        let (schema, table) = &self.before;
        let mut inputs = Inputs::fit(table, schema)?;
        let before = inputs.encode(table, schema)?;
        let after = self.after.iter().map(|(_, schema, table)| inputs.encode(table, schema));
        let after: Vec<Rows> = after.collect::<Result<_, _>>()?;
        let mut lines = Vec::new();
        for (way, penalties) in [("fixed network", None), ("trainable network, all penalties", Some(Penalties::ALL))] {
            let increments = Some((before.len() as u64 / self.every) as usize);
            let run = |seed| {
                let plan = Plan {
                    hidden: self.hidden.into(),
                    loss: Loss::Nll,
                    penalties: penalties.unwrap_or(Penalties::NONE),
                    increments,
                    seed,
                };
                let mut network = Networks::new(plan, &before);
                network.learn((&before).into(), PASSES);
                let judge = |after: &Rows| {
                    let mut tally = Tally::default();
                    if penalties.is_some() {
                        network.learn_online(after, None, &mut tally);
                    } else {
                        tally = network.judge(after);
                    }
                    measured(&tally)
                };
                Ok(after.iter().map(judge).collect())
            };
            lines.extend(self.by_stretch(prefix, way, each(seeds.clone(), run)?));
        }
        let ours = LearnerOptions::default();
        for setting in [
            Learned::paper("FEAMOE, all penalties", Penalties::ALL, self.every),
            Learned::default("our default", ours.clone()),
            Learned::default(format!("our targets {}", self.targets), with_targets(ours, self.targets)?),
        ] {
            let runs = each(seeds.clone(), |seed| self.mixture(&setting, seed))?;
            lines.extend(self.by_stretch(prefix, &setting.name, runs));
        }
        Ok(lines)
    }

    fn by_stretch(&self, prefix: &str, way: &str, runs: Vec<Vec<Measured>>) -> impl Iterator<Item = Line> {
        let names: Vec<String> = self.after.iter().map(|(name, ..)| format!("{prefix}{way}{name}")).collect();
        names.into_iter().enumerate().map(move |(stretch, name)| {
            let runs: Vec<Measured> = runs.iter().filter_map(|run| run.get(stretch)).cloned().collect();
            Line::new(name, &runs)
        })
    }

    /// Learns from all rows in order, and evaluates those of each stretch before learning from
    /// them.
    fn mixture(&self, setting: &Learned, seed: u64) -> anyhow::Result<Vec<Measured>> {
        let learner = setting.learner.clone().seed(seed).check()?;
        let encoder = encoder::Options { bins: setting.bins, ..encoder::Options::default() };
        let options = Options { encoder, ..Options::new(learner) };
        let (schema, table) = &self.before;
        let columns = table.open(schema)?.columns().to_vec();
        let mut trainer = Trainer::new(&columns, self.schema.clone(), &options)?;
        table.each(schema, &[], &mut |row| trainer.learn(row).map(drop))?;
        let attributes: Vec<Attribute> = trainer.attributes().cloned().collect();
        let mut stretches = Vec::new();
        for (_, schema, table) in &self.after {
            let mut tally = Tally::default();
            table.each(schema, &attributes, &mut |row| {
                if let Some(said) = trainer.learn(row)? {
                    tally.observe(row.label.unwrap_or_default(), said.probability, said.threshold, row.groups);
                }
                Ok(())
            })?;
            stretches.push(measured(&tally));
        }
        Ok(stretches)
    }
}

/// Returns the schema of mortgages of all years.
fn of_all_years() -> Result<Schema, feamoe::error::Error> {
    Schema::from_toml(DataSet::Hmda.schema_name(), DataSet::Hmda.schema())
}

/// Returns the schema that keeps the mortgages of one year.
fn of_year(year: u32) -> Result<Schema, feamoe::error::Error> {
    let filter = format!("\n[[filter]]\ncolumn = \"as_of_year\"\nmin = {year}\nmax = {year}\n");
    Schema::from_toml(DataSet::Hmda.schema_name(), &format!("{}{filter}", DataSet::Hmda.schema()))
}

/// Mortgages: learns from one year and evaluates 2017 (4.2, A.6).
pub fn mortgages(context: &Context<'_>) -> anyhow::Result<Vec<Section>> {
    let Context { folder, runs, .. } = *context;
    let table = Table::file(folder.join(DataSet::Hmda.training_file()));
    let mut lines = Vec::new();
    for year in [2014, 2015, 2016] {
        let drift = Drift {
            schema: of_all_years()?,
            before: (of_year(year)?, table.clone()),
            after: vec![(String::new(), of_year(2017)?, table.clone())],
            hidden: &FIVE,
            every: 2_000,
            targets: "spd=0.02,aod=0.02",
        };
        lines.extend(drift.lines(&format!("{year}: "), runs)?);
    }
    Ok(vec![
        Section {
            part: "4.2, A.6",
            title: "Mortgages of 2017 after one earlier year".into(),
            lines,
            reason: "The paper learns from 100,000 rows of each year from 2007 on and shows a figure without numbers; here there \
                     are 20,000 rows of each year from 2014 on. Four of five applications are approved: under the penalties \
                     a trainable network comes near to approving all, which is parity without judgement, and FEAMOE leaves \
                     a larger gap than our default without any. Targets hold it at the accuracy of our default, nearly. \
                     Experts of several years that become one mixture stand in the part `years`.",
        },
        networks(&table, runs)?,
    ])
}

/// Compares networks as experts with logistic experts (A.9).
fn networks(table: &Table, runs: Option<u64>) -> anyhow::Result<Section> {
    let published = |name: &str, [accuracy, spd, aod, burden, experts]: [f64; 5]| {
        let figures = [(ACCURACY, accuracy), (SPD, spd), (AOD, aod), (BURDEN, burden), (EXPERTS, experts)];
        Line::published(name, &figures)
    };
    let schema = of_year(2017)?;
    let rows = Inputs::fit(table, &schema)?.encode(table, &schema)?;
    let mut lines = vec![
        published("networks as experts", [0.8421, 0.08, 0.078, 0.08, 8.0]),
        published("logistic experts", [0.8408, 0.07, 0.081, 0.08, 13.0]),
    ];
    let seeds = 1..1 + runs.unwrap_or(RUNS);
    for (name, hidden, experts) in
        [("networks as experts", &TWO[..], 8), ("logistic experts, the same code", &[][..], 13)]
    {
        let runs = each(seeds.clone(), |seed| {
            let plan = Plan {
                hidden: hidden.into(),
                loss: Loss::Competitive,
                penalties: Penalties::ALL,
                increments: None,
                seed,
            };
            let mut networks = Networks::new(plan, &rows);
            let mut tally = Tally::default();
            networks.learn_online(&rows, Some(rows.len() / experts + 1), &mut tally);
            let mut figures = measured(&tally);
            figures.push((EXPERTS, networks.experts() as f64));
            Ok(figures)
        })?;
        lines.push(Line::new(name, &runs));
    }
    let drift = |setting: Learned| {
        let drift = Drift {
            schema: of_all_years()?,
            before: (schema.clone(), Table { places: Some(0..0), ..table.clone() }),
            after: vec![(String::new(), schema.clone(), table.clone())],
            hidden: &[],
            every: 1,
            targets: "",
        };
        let runs = each(seeds.clone(), |seed| drift.mixture(&setting, seed))?;
        anyhow::Ok(drift.by_stretch("", &setting.name, runs).collect::<Vec<_>>())
    };
    lines.extend(drift(Learned::paper("FEAMOE, all penalties", Penalties::ALL, rows.len() as u64 / 13 + 1))?);
    lines.extend(drift(Learned::default("our default", LearnerOptions::default().growth(Growth::default())))?);
    Ok(Section {
        part: "A.9",
        title: "Experts on mortgages of 2017, each row judged before it is learned from".into(),
        lines,
        reason: "Rows, features and the way to judge are not in print. Under all penalties networks and logistic experts both \
                 come to approve nearly all applications here, as the share approved is their accuracy: they agree, and show \
                 no more than that.",
    })
}

/// Diabetes: learns from the first third of the stream and evaluates the rest.
pub fn diabetes(context: &Context<'_>) -> anyhow::Result<Vec<Section>> {
    let Context { folder, runs, .. } = *context;
    let schema = Schema::from_toml(DataSet::Diabetes.schema_name(), DataSet::Diabetes.schema())?;
    let table = Table::file(folder.join(DataSet::Diabetes.training_file()));
    let third = 34_000;
    let after = |name: &str, places| (name.to_owned(), schema.clone(), Table { places: Some(places), ..table.clone() });
    let drift = Drift {
        schema: schema.clone(),
        before: (schema.clone(), Table { places: Some(0..third), ..table.clone() }),
        after: vec![after(", second third", third..2 * third), after(", last third", 2 * third..usize::MAX)],
        hidden: &TWO,
        every: third as u64 / 10,
        targets: "spd=0.03",
    };
    Ok(vec![Section {
        part: "beyond the paper",
        title: "Diabetes-130 after the first third of the stream".into(),
        lines: drift.lines("", runs)?,
        reason: "Not in the paper: a second stream that drifts by itself. Its gap is small, and the paper's penalties, which know \
                 one direction, go far past parity: the network by 0.17, the mixture by 0.6 and more. Targets hold it, at \
                 the accuracy of our default.",
    }])
}
