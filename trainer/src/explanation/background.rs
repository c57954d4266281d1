//! Background records on the host: reading, selection, and saving as a file.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use feamoe_engine::Value;
use feamoe_engine::attribution::Background;
use feamoe_engine::mixture::Term;
use feamoe_engine::{BackgroundId, FeatureIndex, RecordError};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use crate::error::{Error, list};
use crate::judge::binding::Binding;
use crate::model::{HostBackground, HostModel};
use crate::random::below;
use crate::rows::{Input, Seen, Source, open, parse};
use crate::schema::Table;

/// Separates these draws from all others with the same seed.
const SEED: u64 = u64::from_be_bytes(*b"backgrou");
/// Maximum size of stored exponentials, in bytes. Beyond it they are computed anew for each record,
/// with the same bits.
const MOST_FACTOR_BYTES: usize = 256 << 20;
/// The saved text of a level that training had not seen and whose name is therefore unknown.
const UNSEEN: &str = "(unseen)";

/// Selects the records with a value in a column, such as `approved=yes`. Numbers are compared as
/// numbers. An empty value after `=` stands for a missing value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The column.
    pub column: String,
    /// The value that a cell must have.
    pub value: String,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((column, value)) if !column.is_empty() => {
                Ok(Self { column: column.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected COLUMN=VALUE, such as approved=yes".into()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.column, self.value)
    }
}

impl Condition {
    /// Returns whether a cell has the value; `None` stands for a missing cell.
    fn holds(&self, cell: Option<&[u8]>) -> bool {
        let value = self.value.as_bytes();
        match cell {
            None => value.is_empty(),
            Some(cell) => cell == value || parse(cell).is_some_and(|number| parse(value) == Some(number)),
        }
    }
}

/// The choice of background records.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Conditions that a record must meet. Of several conditions on the same column, one must hold.
    pub only: Vec<Condition>,
    /// Maximum number of records.
    pub most: usize,
    /// Seed of the draw if there are more records than `most`.
    pub seed: u64,
}

impl Choice {
    /// Returns whether a record meets the conditions. `cell` returns its cell in the column of a
    /// condition, by the condition's index.
    fn wants<'c>(&self, cell: impl Fn(usize) -> Option<&'c [u8]>) -> bool {
        self.only.iter().all(|condition| {
            let mut same = self.only.iter().enumerate().filter(|(_, other)| other.column == condition.column);
            same.any(|(index, other)| other.holds(cell(index)))
        })
    }

    /// Returns the error that no record meets the conditions.
    fn nothing(&self, from: &str, seen: &[Seen]) -> Error {
        let conditions = self.only.iter().map(Condition::to_string).collect::<Vec<_>>().join(" and ");
        let found =
            self.only.iter().zip(seen).map(|(condition, seen)| format!("{} is {}", condition.column, seen.list()));
        let found = found.collect::<Vec<_>>().join("; ");
        let message = match self.only.is_empty() {
            true => "there are no records".into(),
            false => format!("no record has {conditions}; {found}"),
        };
        Error::Background { from: from.to_owned(), message }
    }
}

/// Background records as raw values, one per feature.
#[derive(Clone, Debug, PartialEq)]
pub struct BackgroundRecords(Vec<Vec<Value>>);

/// The memory of the engine's background: 8 bytes per term, and 8 bytes per expert and feature
/// unless these exceed `MOST_FACTOR_BYTES`.
#[derive(Debug, Default)]
pub struct BackgroundMemory {
    terms: Vec<Term>,
    factors: Vec<f32>,
}

impl BackgroundRecords {
    /// Returns the first of the model's own background records that meet the conditions. Their
    /// order was drawn in training.
    ///
    /// # Errors
    /// [`Error::Background`] if a condition names a column that is not a feature, or if no record
    /// meets the conditions; [`Error::NamesStripped`].
    pub fn of_model(model: &HostModel<'_>, choice: &Choice) -> Result<Self, Error> {
        const FROM: &str = "the model's background";
        let names = Names::new(model)?;
        let columns = choice.only.iter().map(|condition| {
            names.features.iter().position(|name| *name == condition.column).ok_or_else(|| {
                let message = format!(
                    "no feature {:?}; the features are {}; to choose by another column, draw from a file that has it",
                    condition.column,
                    list(&names.features)
                );
                Error::Background { from: FROM.into(), message }
            })
        });
        let columns: Vec<usize> = columns.collect::<Result<_, _>>()?;
        let mut seen = vec![Seen::default(); columns.len()];
        let mut kept = Vec::new();
        for values in (0..).map_while(|row| model.background_values(row)) {
            let values: Vec<Value> = values.collect();
            let cells: Vec<Option<String>> =
                columns.iter().map(|feature| names.text(*feature, *values.get(*feature)?)).collect();
            seen.iter_mut().zip(&cells).for_each(|(seen, cell)| seen.note(cell.as_deref().unwrap_or("").as_bytes()));
            if choice.wants(|condition| cells.get(condition)?.as_deref().map(str::as_bytes)) {
                kept.push(values);
                if kept.len() == choice.most {
                    break;
                }
            }
        }
        if kept.is_empty() { Err(choice.nothing(FROM, &seen)) } else { Ok(Self(kept)) }
    }

    /// Draws records that meet the conditions from files, without replacement: Vitter (1985),
    /// algorithm R. If there are at most `choice.most`, returns all of them in order.
    ///
    /// # Errors
    /// Those of the files, of [`Binding`] and of a condition's column; [`Error::Background`] if no
    /// record meets the conditions.
    pub fn read(model: &HostModel<'_>, inputs: &[Input], table: &Table, choice: &Choice) -> Result<Self, Error> {
        let mut records = open(inputs, table)?;
        let binding = Binding::new(model, |name| records.column(name, "the model"))?;
        let binding = binding.with_bad_cells(table.bad_cells);
        let columns =
            choice.only.iter().map(|condition| records.column(&condition.column, "the choice of background records"));
        let columns: Vec<usize> = columns.collect::<Result<_, _>>()?;
        records.want(&[binding.columns(), columns.clone()].concat());
        let mut seen = vec![Seen::default(); columns.len()];
        let mut random = Pcg64Mcg::seed_from_u64(choice.seed ^ SEED);
        let (mut kept, mut wanted) = (Vec::new(), 0_u64);
        while records.advance()? {
            let row = records.record();
            seen.iter_mut().zip(&columns).for_each(|(seen, column)| seen.note(&row.text(*column)));
            let cells: Vec<Option<Cow<'_, [u8]>>> = columns.iter().map(|column| row.cell(*column).text()).collect();
            if !choice.wants(|condition| cells.get(condition)?.as_deref()) {
                continue;
            }
            wanted += 1;
            if kept.len() < choice.most {
                kept.push(binding.values(&row)?);
                continue;
            }
            let place = below(wanted, &mut random);
            if let Some(place) = usize::try_from(place).ok().and_then(|place| kept.get_mut(place)) {
                *place = binding.values(&row)?;
            }
        }
        if kept.is_empty() { Err(choice.nothing(&records.files(), &seen)) } else { Ok(Self(kept)) }
    }

    /// Converts the records to the engine's background for explanations of `model`.
    ///
    /// # Errors
    /// [`Error::Record`] or [`Error::Explain`] if the records do not belong to this model.
    pub fn against<'m>(
        &self,
        model: &'m HostModel<'m>,
        memory: &'m mut BackgroundMemory,
    ) -> Result<HostBackground<'m>, Error> {
        memory.terms = vec![Term::default(); Background::terms_needed(model).saturating_mul(self.0.len())];
        let factors = Background::factors_needed(model).saturating_mul(self.0.len());
        memory.factors = vec![0.0; if factors <= MOST_FACTOR_BYTES / size_of::<f32>() { factors } else { 0 }];
        let mut background = Background::new(model, &mut memory.terms, &mut memory.factors);
        self.push_all(model, &mut background)?;
        Ok(background)
    }

    /// Returns the values of each record, by feature.
    #[must_use]
    pub fn values(&self) -> &[Vec<Value>] {
        &self.0
    }

    /// Returns the identity of the records: their number and hash. Temporarily takes 8 bytes per
    /// term and record.
    ///
    /// # Errors
    /// The same as [`BackgroundRecords::against`].
    pub fn id(&self, model: &HostModel<'_>) -> Result<BackgroundId, Error> {
        let mut terms = vec![Term::default(); Background::terms_needed(model).saturating_mul(self.0.len())];
        let mut background = Background::new(model, &mut terms, &mut []);
        self.push_all(model, &mut background)?;
        Ok(background.id())
    }

    fn push_all(&self, model: &HostModel<'_>, background: &mut HostBackground<'_>) -> Result<(), Error> {
        let mut record = model.record();
        for values in &self.0 {
            for (index, value) in values.iter().enumerate() {
                let fault = |error: RecordError| Error::Record { feature: index.to_string(), error };
                _ = record.set_value(FeatureIndex(index), *value).map_err(fault)?;
            }
            background.push(model, &record)?;
        }
        Ok(())
    }

    /// Writes the records as CSV in the format of `table`. [`BackgroundRecords::read`] reads the
    /// same records back. If `table` has no header, its columns that are not features are left
    /// missing.
    ///
    /// # Errors
    /// Those of writing, and an error if the model has no names.
    pub fn write_csv(&self, model: &HostModel<'_>, table: &Table, out: &mut dyn Write) -> io::Result<()> {
        let names = Names::new(model).map_err(io::Error::other)?;
        let columns: Vec<&str> = match table.header {
            true => names.features.clone(),
            false => table.columns.iter().map(String::as_str).collect(),
        };
        let missing = table.missing.first().map_or("", String::as_str);
        let ascii = |character: char| u8::try_from(character).ok();
        let delimiter = ascii(table.delimiter).unwrap_or(b',');
        let comment = table.comment.and_then(ascii);
        let mut file = csv::WriterBuilder::new().delimiter(delimiter).comment(comment).from_writer(out);
        if table.header {
            file.write_record(&columns)?;
        }
        let features: Vec<Option<usize>> =
            columns.iter().map(|column| names.features.iter().position(|name| name == column)).collect();
        for values in &self.0 {
            let cell = |feature: &Option<usize>| {
                let text = feature.and_then(|feature| names.text(feature, *values.get(feature)?));
                text.unwrap_or_else(|| missing.to_owned())
            };
            file.write_record(features.iter().map(cell))?;
        }
        file.flush()
    }
}

/// Names of features and levels.
struct Names<'m> {
    features: Vec<&'m str>,
    levels: Vec<Vec<&'m str>>,
}

impl<'m> Names<'m> {
    fn new(model: &'m HostModel<'_>) -> Result<Self, Error> {
        let schema = model.schema();
        let count = schema.features().len();
        let features = (0..count).map(|index| schema.feature_name(index).ok_or(Error::NamesStripped));
        let levels = (0..count).map(|index| schema.level_names(index).collect()).collect();
        Ok(Self { features: features.collect::<Result<_, _>>()?, levels })
    }

    /// Returns the text of a value in a file; `None` if it is missing.
    fn text(&self, feature: usize, value: Value) -> Option<String> {
        match value {
            Value::Number(number) => (!number.is_nan()).then(|| number.to_string()),
            Value::Level(code) => self.levels.get(feature)?.get(usize::from(code)).map(|name| (*name).to_owned()),
            Value::Unseen => Some(UNSEEN.to_owned()),
            Value::Missing => None,
        }
    }
}
