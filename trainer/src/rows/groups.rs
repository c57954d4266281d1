//! Protected groups: which group of each attribute a row belongs to.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::alike::is_same_number;
use super::record::{Cell, Record};
use super::seen::Seen;
use crate::error::{Error, list};
use crate::schema::Protected;

/// Group of a row whose value is missing, not listed in the schema, or found after the maximum
/// number of groups was reached.
pub const NO_GROUP: u8 = u8::MAX;

/// One protected attribute and its groups.
///
/// Group 0 is the privileged one, however many values it has; every other group is one value.
/// Values are compared as text, and numbers as numbers: 1.0 is 1. If the schema lists no
/// unprivileged values, each new value becomes a group, in the order of appearance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    column: String,
    /// Values of the privileged group; empty for an intersection.
    privileged: Vec<String>,
    /// Name of each group, by id.
    groups: Vec<String>,
    /// Rows in each group.
    rows: Vec<u64>,
    /// Rows without a group, with their values.
    without: Seen,
    /// Whether new values become groups.
    open: bool,
    /// Whether the groups are derived from numbers or from several columns.
    made: bool,
}

impl Attribute {
    /// Starts with the groups that the schema names, and no rows.
    #[must_use]
    pub fn new(protected: &Protected) -> Self {
        let mut groups = vec![protected.privileged.join("|")];
        groups.extend(protected.unprivileged.iter().flatten().cloned());
        Self {
            column: protected.column.clone(),
            privileged: protected.privileged.clone(),
            rows: vec![0; groups.len()],
            groups,
            without: Seen::default(),
            open: protected.unprivileged.is_none(),
            made: !protected.is_plain(),
        }
    }

    /// Starts with only the privileged group; others are added as they occur.
    pub(super) fn open(column: String, privileged: String) -> Self {
        Self {
            column,
            privileged: Vec::new(),
            groups: vec![privileged],
            rows: vec![0],
            without: Seen::default(),
            open: true,
            made: false,
        }
    }

    /// Adds a group. Returns its id, or [`NO_GROUP`] if there are too many.
    pub(super) fn add(&mut self, name: String) -> u8 {
        let id = u8::try_from(self.groups.len()).unwrap_or(NO_GROUP);
        if id < NO_GROUP {
            self.groups.push(name);
            self.rows.push(0);
        }
        id
    }

    /// Counts a row of a group. A row without a group is counted by its value, or as missing.
    pub(super) fn count(&mut self, group: u8, value: Option<&[u8]>) {
        match (self.rows.get_mut(usize::from(group)), value) {
            (Some(rows), _) => *rows += 1,
            (None, Some(value)) => self.without.note(value),
            (None, None) => self.without.note_missing(),
        }
    }

    /// Adds the groups and rows of another attribute of the same schema. Returns, for each of its
    /// groups, the id in this attribute; `None` if there are too many groups.
    pub(super) fn unite(&mut self, other: &Self) -> Option<Vec<u8>> {
        let mut ids = Vec::with_capacity(other.groups.len());
        for (index, (name, rows)) in other.groups.iter().zip(&other.rows).enumerate() {
            // The privileged group is matched by its id: another value may happen to equal its
            // joined name.
            let mut others = (0..NO_GROUP).zip(&self.groups).skip(1);
            let known = others.find(|(_, known)| *known == name || is_same_number(known, name)).map(|(id, _)| id);
            let id = if index == 0 { 0 } else { known.unwrap_or_else(|| self.add(name.clone())) };
            let united = self.rows.get_mut(usize::from(id))?;
            *united = united.saturating_add(*rows);
            ids.push(id);
        }
        self.without.merge(&other.without);
        Some(ids)
    }

    /// Returns whether a stored attribute can have grown from this one, which has no rows.
    pub(super) fn can_become(&self, stored: &Self) -> bool {
        (&self.column, &self.privileged, self.open, self.made)
            == (&stored.column, &stored.privileged, stored.open, stored.made)
            && stored.groups.starts_with(&self.groups)
            && stored.groups.len() == stored.rows.len()
            && stored.groups.len() <= usize::from(NO_GROUP)
    }

    /// Returns the name of the protected column. An intersection joins its columns with ` & `.
    #[must_use]
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Returns the names of the groups known so far, by id. A privileged group of several values
    /// joins them with `|`.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Returns whether every value that the schema does not list is a group of its own.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Returns whether it is an intersection of other attributes.
    #[must_use]
    pub fn is_intersection(&self) -> bool {
        self.privileged.is_empty()
    }

    /// Returns the column's values known so far, each with its group: those of the privileged
    /// group, then one for every other group. Empty for an intersection and for groups derived from
    /// numbers or from several columns, because their names are not values of a column.
    pub fn values(&self) -> impl Iterator<Item = (u8, &str)> {
        self.names().filter(|_| !self.made)
    }

    /// Returns the names by which groups are looked up.
    fn names(&self) -> impl Iterator<Item = (u8, &str)> {
        let others = (0..NO_GROUP).zip(&self.groups).skip(1).filter(|_| !self.is_intersection());
        self.privileged.iter().map(|value| (0, value)).chain(others).map(|(group, value)| (group, value.as_str()))
    }

    /// Returns the number of rows of each group.
    #[must_use]
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// Returns the rows that belong to no group, with their values: missing or not listed. An
    /// intersection counts all of them as missing.
    #[must_use]
    pub fn without_group(&self) -> &Seen {
        &self.without
    }
}

/// Returns whether a cell means that its column applies: 1, true or yes.
fn is_one(cell: Cell<'_>) -> bool {
    cell.number() == Some(1.0)
        || matches!(cell, Cell::Text(text) if ["true", "yes"].iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes())))
}

/// Finds the group of a row.
#[derive(Clone)]
pub(super) struct Grouping {
    pub(super) attribute: Attribute,
    protected: Protected,
    source: GroupSource,
    ids: FxHashMap<Box<[u8]>, u8>,
}

/// What determines the group of a record.
#[derive(Clone)]
enum GroupSource {
    /// Scoring data without the column.
    Absent,
    /// The value of a column.
    Value(usize),
    /// The interval that a number lies in, with the names of the groups.
    Cuts(usize, Vec<String>),
    /// Columns of 0 and 1, of which normally one is 1.
    Dummies(Vec<usize>),
}

impl Grouping {
    /// `columns` holds the indices of [`Protected::columns`], if they exist.
    pub(super) fn new(protected: &Protected, columns: &[usize]) -> Self {
        let source = match (columns, protected.cuts.is_empty()) {
            ([], _) => GroupSource::Absent,
            _ if !protected.dummies.is_empty() => GroupSource::Dummies(columns.to_vec()),
            ([column, ..], true) => GroupSource::Value(*column),
            ([column, ..], false) => GroupSource::Cuts(*column, protected.cut_names()),
        };
        let mut ids = FxHashMap::default();
        for value in &protected.privileged {
            ids.insert(value.as_bytes().into(), 0);
        }
        for (value, id) in protected.unprivileged.iter().flatten().zip(1..NO_GROUP) {
            ids.insert(value.as_bytes().into(), id);
        }
        Self { attribute: Attribute::new(protected), protected: protected.clone(), source, ids }
    }

    /// Takes over the groups (not the counts) of an earlier stream, so that open groups keep their
    /// ids.
    pub(super) fn resume_groups(&mut self, earlier: &Attribute) {
        for (name, id) in earlier.groups.iter().zip(0..NO_GROUP).skip(self.attribute.groups.len()) {
            self.ids.insert(name.as_bytes().into(), id);
            self.attribute.add(name.clone());
        }
    }

    /// Takes over the state of an earlier stream: groups, counts, and the values without a group.
    pub(super) fn resume(&mut self, earlier: &Attribute) {
        self.resume_groups(earlier);
        self.attribute = earlier.clone();
    }

    /// Returns the columns that it reads.
    pub(super) fn columns(&self) -> &[usize] {
        match &self.source {
            GroupSource::Absent => &[],
            GroupSource::Value(column) | GroupSource::Cuts(column, _) => std::slice::from_ref(column),
            GroupSource::Dummies(columns) => columns,
        }
    }

    /// Returns the group of a record and counts it.
    #[inline]
    pub(super) fn group(&mut self, record: &Record<'_>) -> u8 {
        let index = match &self.source {
            GroupSource::Value(index) => *index,
            GroupSource::Absent => return NO_GROUP,
            GroupSource::Cuts(..) | GroupSource::Dummies(_) => return self.made_group(record),
        };
        // A listed value counts even if it also stands for a missing value.
        if let Some(&id) = self.ids.get(&*record.text(index)) {
            self.attribute.rows[usize::from(id)] += 1;
            return id;
        }
        self.new_value(record.cell(index))
    }

    /// Returns the group of a record, derived from a number or from several columns, and counts it.
    fn made_group(&mut self, record: &Record<'_>) -> u8 {
        let name = match self.made_name(record) {
            Ok(name) => name,
            // Counted under its value, without a group.
            Err(cell) => {
                self.attribute.count(NO_GROUP, cell.text().as_deref());
                return NO_GROUP;
            }
        };
        let known = name.as_ref().and_then(|name| self.ids.get(name.as_bytes()).copied());
        match (known, &name) {
            (Some(id), _) => {
                self.attribute.rows[usize::from(id)] += 1;
                id
            }
            (None, Some(name)) => self.new_value(Cell::Text(name.as_bytes())),
            (None, None) => self.new_value(Cell::Missing),
        }
    }

    /// Returns the name of a group derived from a number or from several columns; `None` if they
    /// are missing. The error is a cell that has no number.
    fn made_name<'r>(&self, record: &Record<'r>) -> Result<Option<String>, Cell<'r>> {
        Ok(match &self.source {
            GroupSource::Cuts(column, names) => {
                let cell = record.cell(*column);
                match cell.number() {
                    Some(x) if x.is_nan() => None,
                    Some(x) => names.get(self.protected.cuts.partition_point(|cut| *cut <= x)).cloned(),
                    None => return Err(cell),
                }
            }
            GroupSource::Dummies(columns) => {
                let mut ones =
                    columns.iter().zip(&self.protected.dummies).filter(|(column, _)| is_one(record.cell(**column)));
                match (ones.next(), ones.next()) {
                    (Some(_), Some(_)) => Some(Protected::SEVERAL.to_owned()),
                    (Some((_, name)), None) => Some(name.clone()),
                    (None, _) if columns.iter().any(|column| record.cell(*column).is_missing()) => None,
                    (None, _) => Some(Protected::NONE.to_owned()),
                }
            }
            GroupSource::Absent | GroupSource::Value(_) => None,
        })
    }

    /// Returns the group of a record if it is known, else [`NO_GROUP`]. Counts nothing.
    pub(super) fn find(&self, record: &Record<'_>) -> u8 {
        let GroupSource::Value(index) = &self.source else {
            let name = self.made_name(record).ok().flatten();
            return name.and_then(|name| self.ids.get(name.as_bytes()).copied()).unwrap_or(NO_GROUP);
        };
        if let Some(&id) = self.ids.get(&*record.text(*index)) {
            return id;
        }
        let text = record.cell(*index).text();
        text.and_then(|text| self.same_number(&String::from_utf8_lossy(&text))).unwrap_or(NO_GROUP)
    }

    /// Returns the group whose name is the same number: 1.0 is 1.
    fn same_number(&self, name: &str) -> Option<u8> {
        self.attribute.names().find(|(_, known)| is_same_number(known, name)).map(|(group, _)| group)
    }

    #[cold]
    fn new_value(&mut self, cell: Cell<'_>) -> u8 {
        let mut id = NO_GROUP;
        let value = cell.text();
        if let Some(value) = value.as_deref() {
            let name = String::from_utf8_lossy(value);
            id = match self.same_number(&name) {
                Some(group) => group,
                None if self.attribute.open => self.attribute.add(name.into_owned()),
                None => NO_GROUP,
            };
            if id != NO_GROUP {
                self.ids.insert(value.into(), id);
            }
        }
        self.attribute.count(id, value.as_deref());
        id
    }

    /// Fails if no row has a group.
    pub(super) fn check_any(&self, files: &str) -> Result<(), Error> {
        if self.attribute.rows.iter().all(|rows| *rows == 0) { self.check(files) } else { Ok(()) }
    }

    /// Fails if a group of the schema had no row, or if no unprivileged group had one.
    pub(super) fn check(&self, files: &str) -> Result<(), Error> {
        let Attribute { column, groups, rows, .. } = &self.attribute;
        let absent = |role, group| {
            let mut seen: Vec<String> =
                groups.iter().zip(rows).filter(|(_, rows)| **rows > 0).map(|(name, _)| name.clone()).collect();
            seen.extend(self.attribute.without.values().map(|(value, _)| value));
            let seen = match seen.is_empty() {
                true => "every value is missing".to_string(),
                false => format!("the values are {}; correct the {role} list", list(&seen)),
            };
            Err(Error::AbsentGroup { files: files.into(), column: column.clone(), role, group, seen })
        };
        if rows[0] == 0 {
            return absent("privileged", list(&self.protected.privileged));
        }
        match groups.iter().zip(rows).skip(1).find(|(_, rows)| **rows == 0) {
            Some((name, _)) => absent("unprivileged", list(&[name])),
            None if groups.len() == 1 => absent("unprivileged", "(any other value)".into()),
            None => Ok(()),
        }
    }
}
