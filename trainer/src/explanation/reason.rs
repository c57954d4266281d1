//! Reason codes: why a record was declined, in words.

use feamoe_engine::schema::Note as N;
use feamoe_engine::schema::{Kind, Transform};
use serde::Serialize;
use serde_json::Value;

use super::{Cell, Explainer, quantity};
use crate::model::HostAttribution;

/// Default number of reasons of a decision: as many as creditors usually state.
pub const REASONS: usize = 4;
/// Maximum number of reasons of a decision.
pub const MAX_REASONS: usize = 10;
/// A feature is not a reason if its share of the total negative contribution is smaller.
const MATERIAL: f32 = 0.05;

/// A feature that lowered a score.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Reason {
    /// The feature, or the group of features.
    pub feature: String,
    /// The value of the record; null if it is missing.
    pub value: Value,
    /// The value of the feature in the explanation, which is negative.
    pub attribution: f32,
    /// Whether the feature is a protected column, or the group contains one. This is known only
    /// with a schema.
    pub protected: bool,
    /// The reason in words.
    pub text: String,
}

/// Returns the `most` players with the most negative values, in words; none if the decision is
/// favourable. Players that contribute less than a twentieth of the total negative contribution are
/// left out, except for the strongest.
///
/// The text compares a value with one that occurs in the model's background: the median number or
/// the most frequent level. Without a background it compares a number with the mean of the training
/// rows, transformed back if the model takes its logarithm.
#[must_use]
pub fn reasons(explainer: &Explainer<'_>, cells: &[Cell], attribution: &HostAttribution, most: usize) -> Vec<Reason> {
    if attribution.score.decision {
        return Vec::new();
    }
    let players = explainer.players().iter().zip(cells).zip(&attribution.values).enumerate();
    let mut down: Vec<_> = players.filter(|(_, (_, value))| **value < 0.0).collect();
    down.sort_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
    let all: f32 = down.iter().map(|(_, (_, value))| **value).sum();
    let mut is_strongest = true;
    down.retain(|(_, (_, value))| std::mem::take(&mut is_strongest) || **value <= MATERIAL * all);
    let quantity = quantity(attribution.space, explainer.outcome());
    let reason = |(index, ((player, cell), value)): (usize, ((&super::Player, &Cell), &f32))| {
        let (held, usual) = held(&player.name, cell, explainer.kind(index), explainer.typical(index));
        let protected = explainer.is_protected(index);
        let ground = if protected { "; a protected ground" } else { "" };
        let usual = usual.map_or(String::new(), |usual| format!(" ({usual})"));
        let text = format!("{held} lowered the {quantity} by {}{usual}{ground}", significant(-value, 2));
        Reason { feature: player.name.clone(), value: cell.display.clone(), attribution: *value, protected, text }
    };
    down.into_iter().take(most).map(reason).collect()
}

/// Returns the record's value in words, and the value that it is compared with.
fn held(name: &str, cell: &Cell, kind: Option<Kind>, typical: Option<&str>) -> (String, Option<String>) {
    let shown = cell.shown();
    let usual = match (kind, typical) {
        (_, Some(typical)) => (shown != typical).then(|| format!("a typical value is {typical}")),
        (Some(Kind::Number { transform, centre, .. }), None) => {
            let mean = match transform {
                Transform::Identity => centre,
                Transform::Log1p => libm::expm1f(centre),
            };
            Some(format!("the mean is {}", significant(mean, 3)))
        }
        _ => None,
    };
    let held = match (cell.note, kind) {
        (_, None) => format!("{name} ({shown})"),
        (N::Missing, _) => format!("{name} is missing, which"),
        (N::Unseen, _) => format!("{name} of {shown}, which training had not seen,"),
        (N::Clamped, Some(Kind::Number { low, high, .. })) => {
            format!("{name} of {shown}, outside of the training range of {low} to {high},")
        }
        _ => format!("{name} of {shown}"),
    };
    (held, usual)
}

/// Returns a number rounded to `digits` significant digits, without an exponent.
fn significant(x: f32, digits: usize) -> String {
    let rounded = format!("{:.*e}", digits.saturating_sub(1), x);
    rounded.parse::<f64>().map_or(rounded, |x| x.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_rounded_to_its_first_digits() {
        for (x, digits, expected) in [
            (0.1234, 2, "0.12"),
            (0.000_099_9, 2, "0.0001"),
            (146.7, 3, "147"),
            (34_567.0, 3, "34600"),
            (0.0, 2, "0"),
            (-2.5, 3, "-2.5"),
        ] {
            assert_eq!(significant(x, digits), expected);
        }
    }

    #[test]
    fn what_is_held_is_said_with_what_is_unusual_about_it() {
        let number = |transform| Some(Kind::Number { transform, low: 17.0, high: 90.0, centre: 4.997_212_4, bins: 0 });
        let category = Some(Kind::Category { levels: 3 });
        let cell = |display: Value, note| Cell { data: Value::Null, display, note };
        for (cell, kind, expected, usual) in [
            (cell(json!(30), N::Usual), number(Transform::Identity), "x of 30", Some("the mean is 5")),
            (cell(json!(0), N::Usual), number(Transform::Log1p), "x of 0", Some("the mean is 147")),
            (
                cell(json!(95.5), N::Clamped),
                number(Transform::Identity),
                "x of 95.5, outside of the training range of 17 to 90,",
                Some("the mean is 5"),
            ),
            (cell(Value::Null, N::Missing), number(Transform::Identity), "x is missing, which", Some("the mean is 5")),
            (cell(Value::Null, N::Missing), category, "x is missing, which", None),
            (cell(json!("Sales"), N::Usual), category, "x of Sales", None),
            (cell(json!("robot"), N::Unseen), category, "x of robot, which training had not seen,", None),
            (cell(json!("a = 1, b = missing"), N::Missing), None, "x (a = 1, b = missing)", None),
        ] {
            assert_eq!(held("x", &cell, kind, None), (expected.to_owned(), usual.map(str::to_owned)));
        }
        let sales = cell(json!("Sales"), N::Usual);
        let typical = |typical| held("x", &sales, category, Some(typical)).1;
        assert_eq!(typical("Clerk").as_deref(), Some("a typical value is Clerk"));
        assert_eq!(typical("Sales"), None, "it is the typical one");
    }
}
