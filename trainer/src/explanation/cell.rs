//! The value of a player in a record, as a number and as text.

use feamoe_engine::Schema;
use feamoe_engine::schema::{Kind, Note};
use serde_json::{Value, json};

/// The value of a player in a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// The number, or the code of the level: -1 for an unseen level, null for a missing value and
    /// for a group.
    pub data: Value,
    /// The value in the file; null if it is missing.
    pub display: Value,
    /// How the value was encoded; for a group the most unusual note.
    pub note: Note,
}

impl Cell {
    /// Combines the cells of features that act together: `a = 1, b = x`.
    pub(super) fn group<'n>(cells: impl Iterator<Item = (&'n str, Self)>) -> Self {
        let (mut display, mut note) = (String::new(), Note::Usual);
        for (name, cell) in cells {
            let separator = if display.is_empty() { "" } else { ", " };
            display += &format!("{separator}{name} = {}", cell.shown());
            note = if cell.note as u8 > note as u8 { cell.note } else { note };
        }
        Self { data: Value::Null, display: Value::String(display), note }
    }

    /// Returns the displayed text; `missing` for a missing value.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.display)
    }
}

/// Returns a displayed value as text.
#[must_use]
pub fn shown(display: &Value) -> String {
    match display {
        Value::Null => "missing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the name of a note; empty for a usual value.
#[must_use]
pub const fn note_name(note: Note) -> &'static str {
    match note {
        Note::Usual => "",
        Note::Missing => "missing",
        Note::Clamped => "clamped",
        Note::Unseen => "unseen",
    }
}

/// Returns the cell of one feature.
pub(super) fn feature_cell(schema: Schema<'_>, index: usize, text: &str, note: Note) -> Cell {
    // An integer stays an integer: 39 is not shown as 39.0.
    let number = || {
        let whole = text.parse::<i64>().map(|x| json!(x));
        whole.or_else(|_| text.parse::<f64>().map(|x| json!(x))).unwrap_or(Value::Null)
    };
    let category = matches!(schema.features().get(index).map(|feature| feature.kind()), Some(Kind::Category { .. }));
    let (data, display) = match note {
        Note::Missing => (Value::Null, Value::Null),
        Note::Unseen => (json!(-1), json!(text)),
        _ if category => (json!(schema.level_names(index).position(|level| level == text)), json!(text)),
        _ => (number(), number()),
    };
    Cell { data, display, note }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shows_each_feature_and_the_most_unusual_note() {
        let cell = |display, note| Cell { data: Value::Null, display, note };
        let cells = [
            ("age", cell(json!(39), Note::Usual)),
            ("income", cell(Value::Null, Note::Missing)),
            ("job", cell(json!("robot"), Note::Unseen)),
        ];
        let group = Cell::group(cells.into_iter());
        assert_eq!(group.shown(), "age = 39, income = missing, job = robot");
        assert_eq!((group.data, group.note), (Value::Null, Note::Unseen));
    }
}
