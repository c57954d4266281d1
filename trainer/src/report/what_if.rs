//! "What if": a form in the page that scores typed values with the model itself. The page contains
//! the model's file and the engine as WebAssembly, and loads nothing.
//!
//! The script is `engine/js/feamoe.mjs`, included through a link, followed by the code of the form.
//! `engine/js/build.sh --report` copies the module here, and `engine/js/test.sh` checks it.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use feamoe_engine::Value;
use feamoe_engine::recourse::Direction;
use maud::{Markup, PreEscaped, html};
use serde_json::{Value as Json, json};

use super::Subject;
use super::chosen::Kept;
use crate::judge::recourse::MARGIN;
use crate::model::HostRules;
use crate::rows::Digest;
use crate::text::DIRECTION;

/// The style of the form.
pub(super) const STYLE: &str = include_str!("what_if/what_if.css");
const SCRIPT: &str = concat!(include_str!("what_if/feamoe.mjs"), include_str!("what_if/what_if.js"));
const ENGINE: &[u8] = include_bytes!("what_if/feamoe.wasm");
/// Maximum length of a model file that a page contains, in bytes.
const MOST_BYTES: usize = 500_000;

/// The data of the form.
#[derive(Clone, Debug)]
pub(super) struct WhatIf {
    /// The model's file; `None` if it is too large.
    blob: Option<Vec<u8>>,
    /// Rules of recourse, by feature.
    rules: Vec<Json>,
    /// Records to start from.
    records: Vec<Json>,
}

impl WhatIf {
    /// Collects the data of the form.
    pub(super) fn new(subject: &Subject<'_>, rules: Option<&HostRules>, kept: &[(&'static str, Kept<'_>)]) -> Self {
        let bytes = subject.blob.as_slice();
        let features = subject.model.schema().features().len();
        let rule = |rule: &feamoe_engine::recourse::Rule| {
            let direction = match rule.direction {
                Direction::Any => "any",
                Direction::Increase => "increase",
                Direction::Decrease => "decrease",
                Direction::Fixed => "fixed",
            };
            // An infinite limit becomes null, because JSON has no infinity: there is no such limit.
            json!({
                "direction": direction, "low": number(rule.low), "high": number(rule.high),
                "step": number(rule.step), "cost": number(rule.cost),
            })
        };
        let rules = rules.map_or(&[][..], HostRules::as_slice).iter().take(features).map(rule).collect();
        let records = kept.iter().map(|(why, kept)| {
            let values: Vec<Json> = kept.values.iter().map(|value| cell(*value)).collect();
            json!({ "name": format!("Record {}, {why}", kept.row), "values": values })
        });
        let blob = (bytes.len() <= MOST_BYTES).then(|| bytes.to_vec());
        Self { blob, rules, records: records.collect() }
    }

    /// Returns the section.
    pub(super) fn section(&self) -> Markup {
        let Some(blob) = &self.blob else {
            return html! { p.note { "Left out: the model's file has more than " (MOST_BYTES / 1000) " kB, too many for a page." } };
        };
        let data = json!({
            "engine": STANDARD.encode(ENGINE), "model": STANDARD.encode(blob), "rules": self.rules, "records": self.records,
            "margin": number(MARGIN), "direction": direction(),
        });
        html! {
            p {
                "Change the values of a record and see what the model makes of it: the score, what each feature adds to it, what would change the decision. "
                "The model runs in this page; what is typed in stays in it."
            }
            noscript { p.note { "This part needs JavaScript, which is off in this browser. The rest of the report does without." } }
            div #what-if-form {}
            script #what-if-data type="application/json" { (PreEscaped(ascii(&data.to_string()))) }
        }
    }

    /// Returns the script of the section.
    pub(super) fn script(&self) -> Markup {
        html! { @if self.blob.is_some() { script type="module" { (PreEscaped(SCRIPT)) } } }
    }

    /// Returns the content policy for the form: it allows this script, by its hash, and
    /// WebAssembly.
    pub(super) fn policy(&self) -> String {
        if self.blob.is_none() {
            return String::new();
        }
        format!("script-src 'sha256-{}' 'wasm-unsafe-eval'; ", STANDARD.encode(Digest::of(SCRIPT.as_bytes())))
    }
}

/// Returns a number with as many digits as its `f32` needs; null if it is not finite.
fn number(x: f32) -> Json {
    x.to_string().parse::<f64>().map_or(Json::Null, |x| json!(x))
}

/// Returns a value of a record: a number, a level's code in a list, an empty list for an unseen
/// level, or null for a missing value.
fn cell(value: Value) -> Json {
    match value {
        Value::Number(x) => number(x),
        Value::Level(code) => json!([code]),
        Value::Unseen => json!([]),
        _ => Json::Null,
    }
}

/// Returns the characters that change the direction of text, as the content of a character class in
/// a regular expression.
fn direction() -> String {
    let range = |range: &RangeInclusive<char>| {
        format!("\\u{:04x}-\\u{:04x}", u32::from(*range.start()), u32::from(*range.end()))
    };
    DIRECTION.iter().map(range).collect()
}

/// Converts JSON to text that cannot end the script around it: ASCII only, without `<`.
fn ascii(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && !c.is_ascii_control() && c != '<' {
            safe.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe += &format!("\\u{unit:04x}");
            }
        }
    }
    safe
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn json_in_a_script_is_the_same_json_and_ends_nothing() {
        let text = json!(["</script><!--", "\u{202e}é\u{1f600}\u{2028}", "\"\\\n"]);
        let safe = ascii(&text.to_string());
        assert!(safe.is_ascii() && !safe.contains('<'), "{safe}");
        assert_eq!(serde_json::from_str::<Json>(&safe).unwrap(), text);
    }

    #[test]
    fn the_script_is_one_that_a_page_can_hold() {
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--"));
        assert!(SCRIPT.chars().all(|c| c.is_ascii() && (!c.is_ascii_control() || c == '\n')));
    }
}
