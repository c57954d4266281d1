//! The getters of a trainer: its progress, measures, counts and remarks.

use std::sync::Arc;

use super::super::delay::Delay;
use super::super::prequential::{Prequential, Tally};
use super::super::remarks::{Remark, remarks};
use super::super::state::State;
use super::super::{Passes, Progress};
use super::Trainer;
use crate::encoder::{Encoder, Feature, Kind, Quality};
use crate::judge::proxies::{Proxy, proxies};
use crate::learner::Learner;
use crate::model::card::FeatureCells;
use crate::rows::{Attribute, Counts, Reservoir, Row, Seen, column, is_code, parse};
use crate::schema::Schema;

impl Trainer {
    /// Returns the progress of the run.
    pub(in super::super) fn progress(&self) -> Progress<'_> {
        let State { rows, epoch, learner, measured, .. } = &self.state;
        Progress { rows: *rows, epoch: *epoch, learner, prequential: &measured.prequential }
    }

    /// Returns the columns of the trainer's records.
    #[must_use]
    pub fn columns(&self) -> &Arc<[String]> {
        self.admission.columns()
    }

    /// Returns the columns of features.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.features.iter().filter_map(|feature| self.columns().get(*feature)).map(String::as_str)
    }

    /// Returns the schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the learner.
    #[must_use]
    pub fn learner(&self) -> &Learner {
        &self.state.learner
    }

    /// Returns the encoder, once it is fitted.
    #[must_use]
    pub fn encoder(&self) -> Option<&Encoder> {
        self.start.is_none().then_some(&self.encoder)
    }

    /// Returns the measures of the rows seen for the first time.
    #[must_use]
    pub fn prequential(&self) -> &Prequential {
        &self.state.measured.prequential
    }

    /// Returns the measures of the exported weights on the rows seen for the first time, before
    /// they were learned from.
    pub(in super::super) fn exported(&self) -> &Prequential {
        &self.state.measured.exported
    }

    /// Returns the decisions of the finished model on rows that no later pass learned from; `None`
    /// after a single pass.
    pub(in super::super) fn reserved(&self) -> Option<&Tally> {
        self.state.measured.reserved.as_ref()
    }

    /// Returns the passes over the data.
    #[must_use]
    pub fn passes(&self) -> Passes {
        self.passes
    }

    /// Returns the features that predict the outcome, or a group, almost alone, by the sample of
    /// the rows.
    #[must_use]
    pub fn proxies(&self) -> Vec<Proxy> {
        let rows: Vec<Row<'_>> = self.reservoir.rows().collect();
        let feature = |name: &str| Some((name.to_owned(), column(self.admission.columns(), "", name, "").ok()?));
        let features: Vec<(String, usize)> =
            self.encoder.features().iter().filter_map(|known| feature(known.name())).collect();
        proxies(&rows, &features, &self.attributes().collect::<Vec<_>>())
    }

    /// Returns the counts of the cells of every feature, over the rows learned from.
    #[must_use]
    pub fn feature_cells(&self) -> Vec<FeatureCells> {
        let rows = self.encoder.rows_seen();
        let features = self.encoder.features().iter().zip(self.encoder.quality());
        let cells = features.map(|(feature, Quality { missing, bad, clamped, unseen, refits })| FeatureCells {
            feature: feature.name().to_owned(),
            kind: match feature.kind() {
                Kind::Number(_) => "number",
                Kind::Category(_) => "category",
            }
            .into(),
            rows,
            missing: *missing,
            bad: bad.rows(),
            bad_values: bad.values().map(|(value, _)| value).collect(),
            clamped: *clamped,
            unseen: *unseen,
            refits: *refits,
        });
        cells.collect()
    }

    /// Returns the number of changes of the encoding that are no longer kept.
    #[must_use]
    pub fn changes_dropped(&self) -> u64 {
        self.encoder.n_changes() - self.encoder.changes().len() as u64
    }

    /// Returns remarks on categories, not listed as such in the schema, most of whose levels are
    /// numbers.
    pub(in super::super) fn columns_of_levels_that_are_numbers(&self) -> impl Iterator<Item = Remark> {
        let unlisted = |feature: &&Feature| !self.schema.features.categorical.iter().any(|name| name == feature.name());
        self.encoder.features().iter().filter(unlisted).filter_map(|feature| {
            let Kind::Category(category) = feature.kind() else { return None };
            let is_number = |name: &str| parse(name.as_bytes()).is_some();
            let numbers = category.levels().filter(|(name, _)| is_number(name)).count();
            let other = category.levels().find(|(name, _)| !is_number(name) && !is_code(name));
            let (text, _) = other.filter(|_| numbers * 2 > category.levels().len())?;
            Some(Remark::NumbersAsLevels { column: feature.name().to_owned(), text: text.to_owned() })
        })
    }

    /// Returns whether the rows are sorted, so that no target can be judged.
    pub(in super::super) fn is_sorted(&self) -> bool {
        let is_order = |remark: &Remark| matches!(remark, Remark::Sorted { .. } | Remark::SortedByFeature { .. });
        self.remarks().iter().any(is_order)
    }

    /// Returns the columns of the features that the rows are sorted by.
    pub(in super::super) fn columns_sorted_by(&self) -> impl Iterator<Item = &str> {
        let features = self.state.measured.order.sorted_by_features();
        let column = |feature: usize| Some(self.admission.columns().get(*self.features.get(feature)?)?.as_str());
        features.filter_map(column)
    }

    /// Returns the decisions that the model is judged by: on reserved rows, or over the last part
    /// of the stream.
    pub(in super::super) fn last_decisions(&self) -> Tally {
        self.state.measured.last_decisions()
    }

    /// Returns the number of rows that the encoder is fitted on.
    pub(in super::super) fn wanted_rows(&self) -> usize {
        self.encoding.warmup
    }

    /// Returns remarks about the rows and the decisions on them.
    #[must_use]
    pub fn remarks(&self) -> Vec<Remark> {
        remarks(self, &self.state.measured.order)
    }

    /// Returns the protected attributes in the order of the schema, then the intersections, with
    /// the groups and counts so far.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> + Clone {
        self.admission.attributes()
    }

    /// Returns the labels of rows that were left out because they have neither outcome.
    #[must_use]
    pub fn other_labels(&self) -> &Seen {
        self.admission.other_labels()
    }

    /// Returns the labels of rows with the other outcome, if the schema lists none.
    #[must_use]
    pub fn implied_negatives(&self) -> &Seen {
        self.admission.implied_negatives()
    }

    /// Returns how many of the records so far were used or left out, and why.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.admission.counts()
    }

    /// Returns the rows that wait for their labels: scored, and not learned from yet.
    #[must_use]
    pub fn delay(&self) -> &Delay {
        &self.delay
    }

    /// Returns the sample of the rows learned from.
    #[must_use]
    pub fn reservoir(&self) -> &Reservoir {
        &self.reservoir
    }

    /// Returns the number of rows that the model has learned from, counting every pass; 0 until its
    /// encoder is fitted.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.state.rows
    }

    /// Returns the number of rows among them that earlier runs learned from.
    #[must_use]
    pub fn earlier_rows(&self) -> u64 {
        self.earlier_rows
    }
}
