//! `feamoe explain`: what each raw feature added to a record's score.

use std::fmt::Write as _;

use anyhow::bail;
use clap::{Args, ValueEnum};
use feamoe::blob_file::{HostAttribution, HostModel};
use feamoe::scoring::Binding;
use feamoe::stream::{Record, Records};
use feamoe_engine::Method;
use feamoe_engine::schema::{Kind, Note};
use serde::Serialize;
use serde_json::{Value, json};

use super::print::{self, TextTable, share, signed};
use super::{Format, FormatOption, Outcome, Source, TableOption, load_model, read_blob, whole};

/// Above this share of the attribution through the gate, the frozen game misleads.
const GATE_SHARE_WARNING: f32 = 0.1;

/// The options of `feamoe explain`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Explain one record, counted from 1; without it, all of them
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    row: Option<u64>,
    /// How the score is taken apart
    #[arg(long, value_enum, default_value_t = MethodName::Path)]
    method: MethodName,
    #[command(flatten)]
    table: TableOption,
    #[command(flatten)]
    format: FormatOption,
}

/// The methods on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MethodName {
    /// The gate held at the record: FEAMOE's Theorem 1, log-odds; not the Shapley value of the score
    Frozen,
    /// From the mean record to this one, gate included, probability
    Path,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Frozen => Self::Frozen,
            MethodName::Path => Self::Path,
        }
    }
}

/// The JSON document: columnar, the keyword arguments of `shap.Explanation` first.
#[derive(Debug, Default, Serialize)]
struct Explanation {
    values: Vec<Vec<f32>>,
    base_values: Vec<f32>,
    data: Vec<Vec<Value>>,
    display_data: Vec<Vec<Value>>,
    feature_names: Vec<String>,
    output_names: String,
    method: &'static str,
    space: &'static str,
    row: Vec<u64>,
    output: Vec<f32>,
    residual: Vec<f32>,
    gate_share: Vec<f32>,
    gate: Vec<Vec<f32>>,
    gate_values: Vec<Vec<f32>>,
    probability: Vec<f32>,
    decision: Vec<bool>,
    notes: Vec<Vec<&'static str>>,
    model: String,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let table = options.table.table()?;
    let blob = read_blob(&options.source.model)?;
    let model = load_model(&options.source.model, &blob)?;
    let mut records = Records::open(&options.source.data, &table)?;
    let explanation = explain(&model, &mut records, options.row, options.method.into())?;
    if explanation.row.is_empty() {
        let files = records.files();
        match (options.row, records_read(&mut records)) {
            (Some(row), count @ 1..) => bail!("{files}: no record {row}, expected --row 1 to {count}"),
            _ => bail!("{files}: there are no records, only a header"),
        }
    }
    match options.format.format {
        Format::Json => print::json(&explanation)?,
        Format::Text => print::text(&render(&explanation))?,
    }
    Ok(Outcome::Done)
}

/// Explains the records, or the one numbered `row`.
fn explain(
    model: &HostModel<'_>,
    records: &mut Records,
    row: Option<u64>,
    method: Method,
) -> anyhow::Result<Explanation> {
    let schema = model.schema();
    let binding = Binding::new(model, |name| records.column(name, "the model"))?;
    let features = schema.features().len();
    let mut explanation = Explanation {
        feature_names: (0..features).filter_map(|index| schema.feature_name(index)).map(str::to_owned).collect(),
        output_names: schema.positive_name().unwrap_or_default().to_owned(),
        method: method.name(),
        model: format!("{:08x}", model.crc32()),
        ..Explanation::default()
    };
    let mut record = model.record();
    let (mut attribution, mut by_path) = (HostAttribution::new(), HostAttribution::new());
    while records.advance()? {
        let found = records.record();
        if row.is_some_and(|wanted| wanted != found.position.number) {
            continue;
        }
        binding.fill(&found, &mut record)?;
        match method {
            Method::Frozen => model.frozen_into(&record, &mut attribution)?,
            _ => model.path_into(&record, &mut attribution)?,
        }
        // The frozen game cannot see the gate's share; the path can.
        let gate_share = match attribution.gate_share {
            Some(share) => share,
            None => {
                model.path_into(&record, &mut by_path)?;
                by_path.gate_share.unwrap_or(0.0)
            }
        };
        let (data, display) = cells(model, &binding, &found, record.notes());
        let first = |values: &[f32], count: usize| values.iter().copied().take(count).collect::<Vec<_>>();
        explanation.space = attribution.space.name();
        explanation.values.push(first(&attribution.values, features));
        explanation.gate_values.push(first(&attribution.gate_values, features));
        explanation.base_values.push(attribution.base_value);
        explanation.data.push(data);
        explanation.display_data.push(display);
        explanation.row.push(found.position.number);
        explanation.output.push(attribution.output);
        explanation.residual.push(attribution.residual);
        explanation.gate_share.push(gate_share);
        explanation.gate.push(first(&attribution.score.gate, model.experts()));
        explanation.probability.push(attribution.score.probability);
        explanation.decision.push(attribution.score.decision);
        explanation.notes.push(record.notes().iter().map(|note| note_name(*note)).collect());
        if row.is_some() {
            break;
        }
    }
    Ok(explanation)
}

/// Reads to the end for the number of records.
fn records_read(records: &mut Records) -> u64 {
    while let Ok(true) = records.advance() {}
    records.record().position.number
}

fn note_name(note: Note) -> &'static str {
    match note {
        Note::Usual => "",
        Note::Missing => "missing",
        Note::Clamped => "clamped",
        Note::Unseen => "unseen",
    }
}

/// Returns a record's cells as numbers or level codes (-1 for an unseen level, null where missing), and as they are shown.
fn cells(model: &HostModel<'_>, binding: &Binding, row: &Record<'_>, notes: &[Note]) -> (Vec<Value>, Vec<Value>) {
    let schema = model.schema();
    let (mut data, mut display) = (Vec::new(), Vec::new());
    for (index, (feature, note)) in schema.features().iter().zip(notes).enumerate() {
        let text = binding.column(index).map_or("", |column| std::str::from_utf8(row.text(column)).unwrap_or(""));
        // A whole number stays one: 39 is not shown as 39.0.
        let number = || {
            let whole = text.parse::<i64>().map(|x| json!(x));
            whole.or_else(|_| text.parse::<f64>().map(|x| json!(x))).unwrap_or(Value::Null)
        };
        let (value, shown) = match (feature.kind(), note) {
            (_, Note::Missing) => (Value::Null, Value::Null),
            (Kind::Number { .. }, _) => (number(), number()),
            (Kind::Category { .. }, Note::Unseen) => (json!(-1), json!(text)),
            (Kind::Category { .. }, _) => {
                (json!(schema.level_names(index).position(|level| level == text)), json!(text))
            }
        };
        data.push(value);
        display.push(shown);
    }
    (data, display)
}

fn render(e: &Explanation) -> String {
    let mut text = String::new();
    for record in 0..e.row.len() {
        let at = |values: &[f32]| values.get(record).copied().unwrap_or(f32::NAN);
        let (values, gate_values) = (&e.values[record], &e.gate_values[record]);
        let frozen = e.method == Method::Frozen.name();
        let share_of_gate = 100.0 * at(&e.gate_share);
        let _ = writeln!(
            text,
            "record {}: probability of {} {}, decision {}\n{} in {}: base {} + values = {} (residual {:+.1e}), {}",
            e.row[record],
            e.output_names,
            share(at(&e.probability)),
            if e.decision[record] { "favourable" } else { "unfavourable" },
            e.method,
            e.space,
            signed(at(&e.base_values)),
            signed(at(&e.output)),
            at(&e.residual),
            if frozen {
                format!("the gate held still (by path, {share_of_gate:.0} % runs through it)")
            } else {
                format!("{share_of_gate:.0} % through the gate")
            },
        );
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
        let mut headings = vec!["feature", "cell", "value", "through the gate", "note"];
        if frozen {
            headings.remove(3);
        }
        let mut table = TextTable::new(&headings);
        for feature in order {
            let shown = match &e.display_data[record][feature] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let mut cells =
                vec![e.feature_names.get(feature).cloned().unwrap_or_default(), shown, signed(values[feature])];
            if !frozen {
                cells.push(signed(gate_values[feature]));
            }
            cells.push(e.notes[record][feature].to_owned());
            table.row(cells);
        }
        text.push_str(&table.render());
        if frozen && at(&e.gate_share) > GATE_SHARE_WARNING {
            text.push_str("warning: the gate moves this score; the frozen game holds it still and may mislead: use --method path\n");
        }
        text.push('\n');
    }
    text
}
