//! One encoding for several runs: the encoding of an earlier run, held fixed.

use crate::encoder::{self, Encoder};
use crate::error::{Error, list};
use crate::schema::Schema;
use crate::training::checkpoint::{Checkpoint, Stage};

/// The encoding of an earlier run, for runs whose states are to be merged later: with it, every run
/// has the same weight rows. A run holds it fixed: numbers are not fitted again if their values
/// move, and levels that did not occur in the earlier run count as unseen.
#[derive(Clone, Debug)]
pub struct Encoding {
    schema: Schema,
    options: encoder::Options,
    encoder: Encoder,
}

impl Encoding {
    /// Takes the encoding of a run.
    ///
    /// # Errors
    /// [`Error::Input`] if the run had too few rows to fit one.
    pub fn of(checkpoint: &Checkpoint<'_>) -> Result<Self, Error> {
        let Stage::Learning(encoder) = &checkpoint.stage else {
            return Err(Error::Input(format!(
                "the run has no encoding yet: found fewer rows than the {} that it is fitted on",
                checkpoint.encoding.warmup
            )));
        };
        Ok(Self {
            schema: checkpoint.schema.clone().into_owned(),
            options: checkpoint.encoding.clone(),
            encoder: encoder.held(),
        })
    }

    /// Returns the options that the encoding was fitted with.
    #[must_use]
    pub fn options(&self) -> &encoder::Options {
        &self.options
    }

    /// Returns an encoder for a run over these columns; `features` are the columns of its features,
    /// and `file` names the source in messages.
    pub(super) fn encoder(
        &self,
        schema: &Schema,
        options: &encoder::Options,
        columns: &[String],
        features: &[usize],
        file: &str,
    ) -> Result<Encoder, Error> {
        let refuse = |what: &str, found: String, expected: String| {
            Err(Error::Input(format!(
                "{what}: found {found}, expected {expected}, as in the run whose encoding is shared"
            )))
        };
        if *schema != self.schema {
            return Err(Error::Input(
                "the schema differs from that of the run whose encoding is shared; use the same schema and the same column of sample weights, if any".into(),
            ));
        }
        if *options != self.options {
            let say = |options: &encoder::Options| format!("{} bins fitted on {} rows", options.bins, options.warmup);
            return refuse("the encoding", say(options), say(&self.options));
        }
        let names: Vec<&str> = features.iter().filter_map(|feature| Some(columns.get(*feature)?.as_str())).collect();
        let known: Vec<&str> = self.encoder.features().iter().map(encoder::Feature::name).collect();
        if names != known {
            return refuse("the features", list(&names), list(&known));
        }
        let mut encoder = self.encoder.clone();
        encoder.bind(columns, file)?;
        encoder.set_schema(schema);
        Ok(encoder)
    }
}
