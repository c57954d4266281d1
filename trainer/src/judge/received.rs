//! Statuses of devices read from files, and the names of their groups and features.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use feamoe_engine::fairness::WideCounts;
use feamoe_engine::monitor::{DeviceId, Event, InputCounts, MAX_STATUS_BYTES, Sender, Status, Tally};

use super::fleet::Why;
use super::gaps::GroupGaps;
use super::tally::Side;
use crate::error::{Error, list};
use crate::model::AnyModel;
use crate::rows::Attribute;
use crate::schema::Schema;

/// One status, as read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub(super) file: PathBuf,
    pub(super) sender: Option<Sender>,
    pub(super) model: u32,
    pub(super) threshold: f32,
    pub(super) since: u64,
    pub(super) observed: u64,
    pub(super) inputs: InputCounts,
    pub(super) ungrouped: Tally,
    pub(super) groups: Vec<Tally>,
    pub(super) features: Vec<InputCounts>,
    pub(super) events: Vec<Event>,
    pub(super) events_dropped: u32,
    bytes: Vec<u8>,
}

impl Received {
    /// Reads a file and checks all of it. If the file is too long for a status, reads only enough
    /// of it to show that. Also returns the result of `look`, which gets the status and the device
    /// that it names.
    pub(super) fn read_by<T>(
        path: &Path,
        look: impl FnOnce(&Status<'_>, Option<DeviceId>) -> T,
    ) -> Result<(Self, T), Error> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_STATUS_BYTES as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|source| Error::Read { file: path.display().to_string(), source })?;
        let status = Status::read(&bytes).map_err(|error| refused(path, error.to_string()))?;
        let said = look(&status, status.sender().map(|sender| sender.device));
        let received = Self {
            file: path.to_owned(),
            sender: status.sender(),
            model: status.model_crc32(),
            threshold: status.threshold(),
            since: status.since(),
            observed: status.observed(),
            inputs: *status.inputs(),
            ungrouped: *status.ungrouped(),
            groups: status.groups().collect(),
            features: status.features().collect(),
            events: status.events().collect(),
            events_dropped: status.events_dropped(),
            bytes,
        };
        Ok((received, said))
    }

    /// Returns the name of the device.
    pub(super) fn device(&self) -> Option<String> {
        self.sender.map(|sender| sender.device.to_string())
    }

    /// Returns whether both statuses have the same content.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

pub(super) fn refused(file: &Path, message: String) -> Error {
    Error::Status { file: file.display().to_string(), message }
}

/// The names of the groups and features of a status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    pub(super) attribute: String,
    groups: Vec<String>,
    /// Whether there may be more groups than names.
    is_open: bool,
    model: Option<u32>,
    features: Vec<String>,
}

impl Names {
    /// Takes the names of the groups from a protected column of a schema: the column with this
    /// name, or the only one if no name is given.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such column, or if several are possible.
    pub fn name_groups(&mut self, schema: &Schema, attribute: Option<&str>) -> Result<(), Error> {
        let columns: Vec<&str> = schema.protected.iter().map(|protected| protected.column.as_str()).collect();
        let found = match (attribute, schema.protected.as_slice()) {
            (Some(name), all) => all.iter().find(|protected| protected.column == name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let Some(found) = found else {
            let wanted = attribute.map_or("none named".into(), |name| format!("{name:?}"));
            return Err(Error::Input(format!(
                "found {wanted}, expected the protected column of the monitor; the schema has [{}]",
                list(&columns)
            )));
        };
        let named = Attribute::new(found);
        self.attribute = named.column().to_owned();
        self.groups = named.groups().to_vec();
        self.is_open = found.unprivileged.is_none();
        Ok(())
    }

    /// Takes the names of the features from the model, and requires statuses of this model.
    pub fn name_features(&mut self, model: AnyModel<'_>) {
        let schema = model.schema();
        self.model = Some(model.crc32());
        self.features =
            (0..schema.features().len()).map_while(|index| schema.feature_name(index)).map(str::to_owned).collect();
    }

    pub(super) fn group(&self, index: usize) -> String {
        self.groups.get(index).cloned().unwrap_or_else(|| format!("group {index}"))
    }

    /// Compares each group with the reference, which is first.
    pub(super) fn gaps(&self, sides: &[Side]) -> Vec<GroupGaps> {
        let [reference, others @ ..] = sides else { return Vec::new() };
        let pair = |(index, side): (usize, &Side)| {
            GroupGaps::new(&self.attribute, [&self.group(index + 1), &self.group(0)], [side, reference])
        };
        others.iter().enumerate().map(pair).collect()
    }

    pub(super) fn feature(&self, index: usize) -> String {
        self.features.get(index).cloned().unwrap_or_else(|| format!("feature {index}"))
    }

    /// Returns why a status does not fit the given model and groups, with a message of what was
    /// found and expected; `None` if it fits.
    pub(super) fn misfit(&self, received: &Received) -> Option<(Why, String)> {
        let (found, expected) = (received.groups.len(), self.groups.len());
        if let Some(model) = self.model.filter(|model| *model != received.model) {
            let found = received.model;
            let text = format!(
                "found the status of model {found:08x}, expected that of the given model, {model:08x}; name the model that the device runs"
            );
            return Some((Why::OtherModel, text));
        }
        if found < expected || (found > expected && expected > 0 && !self.is_open) {
            let text = format!(
                "found {found} groups, expected the {expected} that the schema lists for column {:?}; choose another attribute",
                self.attribute
            );
            return Some((Why::OtherGroups, text));
        }
        None
    }
}

/// Returns the side of a tally. A device sums burdens and distances, but not their squares, so
/// these gaps have no interval.
pub(super) fn side(tally: &Tally) -> Side {
    Side {
        decisions: WideCounts::from(*tally.decisions()),
        labelled: WideCounts::from(*tally.labelled()),
        burden: None,
        distances: *tally.distances(),
        spread: None,
    }
}
