//! `feamoe json-schema`: JSON Schemas of the documents that commands print.

use clap::{Args, ValueEnum};
use feamoe::explanation::{Explanation, Shapes, Summary};
use feamoe::judge::comparison::Comparison;
use feamoe::judge::evaluation::Evaluation;
use feamoe::judge::monitor::Report as Devices;
use feamoe::judge::recourse::RecourseReport;
use feamoe::judge::watch::report::Alarm;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::run::Report as Run;
use super::{Outcome, delta, dry_run, export, inspect, monitor, print, score, sign, study, tune};

/// The options of `feamoe json-schema`.
#[derive(Args, Debug)]
pub struct Options {
    /// The command whose output with --format json is described
    #[arg(value_enum, value_name = "COMMAND")]
    command: Printed,
}

/// The documents that are printed as JSON.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Printed {
    /// A run, or the findings of --dry-run
    Train,
    Tune,
    /// The same as of train
    Update,
    /// The same as of train
    Merge,
    Evaluate,
    Compare,
    Score,
    /// The records; with --global their means, with --shapes the shapes of features
    Explain,
    Recourse,
    Inspect,
    /// A copy, or with --delta a delta
    Export,
    /// A signed model, or with --new-key a key
    Sign,
    /// One line for rows; the document for --status
    Monitor,
    /// The alarm that a command of monitor --on-event gets on its standard input
    OnEvent,
    Study,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    print::json(&schema(options.command))?;
    Ok(Outcome::Done)
}

/// Returns the schema of a document.
fn schema(printed: Printed) -> Value {
    // Subschemas are inlined: a shared definition could not be closed if another object flattens
    // its keys.
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    let generator = &mut settings.into_generator();
    let mut documents = match printed {
        Printed::Train | Printed::Update => vec![of::<Run>(generator), of::<dry_run::Report>(generator)],
        Printed::Merge => vec![of::<Run>(generator)],
        Printed::Tune => vec![of::<tune::Report<'_>>(generator)],
        Printed::Evaluate => vec![of::<Evaluation>(generator)],
        Printed::Compare => vec![of::<Comparison>(generator)],
        Printed::Score => vec![of::<score::Scores<'_>>(generator)],
        Printed::Explain => vec![of::<Explanation>(generator), of::<Summary>(generator), of::<Shapes>(generator)],
        Printed::Recourse => vec![of::<RecourseReport>(generator)],
        Printed::Inspect => vec![of::<inspect::Inspection>(generator)],
        Printed::Export => vec![of::<export::Report>(generator), of::<delta::Report>(generator)],
        Printed::Sign => {
            vec![of::<sign::Report>(generator), of::<sign::NewKey>(generator), of::<sign::DeviceKey>(generator)]
        }
        Printed::Monitor => vec![of::<monitor::Line<'_>>(generator), of::<Devices>(generator)],
        Printed::OnEvent => vec![of::<Alarm>(generator)],
        Printed::Study => vec![of::<study::Report>(generator)],
    };
    documents.iter_mut().for_each(close);
    let mut schema = match documents.as_mut_slice() {
        [document] => document.take(),
        _ => json!({ "anyOf": documents }),
    };
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema
}

/// Returns the schema of a type.
fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// Refuses keys that are not described, and allows null for numbers that cannot be computed, as
/// `serde_json` writes them.
fn close(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    if object.get("type") == Some(&"number".into()) {
        object.insert("type".to_owned(), json!(["number", "null"]));
    }
    let is_object = object.contains_key("properties");
    let mut is_flattened = false;
    for (keyword, inner) in object.iter_mut() {
        match keyword.as_str() {
            "properties" => inner.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(close),
            "items" | "additionalProperties" => close(inner),
            "prefixItems" => inner.as_array_mut().into_iter().flatten().for_each(close),
            // The keys of one object: the parts stay open, and the whole is closed.
            "oneOf" | "anyOf" | "allOf" if is_object => is_flattened = true,
            "oneOf" | "anyOf" | "allOf" => inner.as_array_mut().into_iter().flatten().for_each(close),
            _ => {}
        }
    }
    if is_object {
        let keyword = if is_flattened { "unevaluatedProperties" } else { "additionalProperties" };
        object.entry(keyword).or_insert(false.into());
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::ValueEnum as _;

    use super::Printed;
    use crate::cli::Cli;

    #[test]
    fn every_command_that_prints_json_is_described() {
        let command = Cli::command();
        let prints_json = |command: &&clap::Command| {
            command.get_arguments().any(|option| {
                option.get_id() == "format"
                    && option.get_possible_values().iter().any(|value| value.get_name() == "json")
            })
        };
        let mut printing: Vec<&str> =
            command.get_subcommands().filter(prints_json).map(clap::Command::get_name).chain(["on-event"]).collect();
        printing.sort_unstable();
        let described = Printed::value_variants().iter().filter_map(|printed| printed.to_possible_value());
        let mut described: Vec<String> = described.map(|value| value.get_name().to_owned()).collect();
        described.sort_unstable();
        assert_eq!(printing, described);
    }
}
