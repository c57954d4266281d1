//! `feamoe explain --shapes`: how each feature affects scores along its values.

use std::io::Write;

use anyhow::{bail, ensure};
use feamoe::error::Error;
use feamoe::explanation::{Explainer, LeftOut, Point, Procedure, RowsFrom, Shape, Shaper, Shapes, quantity};
use feamoe::judge::binding::Binding;
use feamoe::judge::inputs::Inputs;
use feamoe::model::card::Card;
use feamoe::model::{AnyModel, HostModel};
use feamoe::plot;
use feamoe::rows::Source as _;
use feamoe::schema::Table;
use feamoe_engine::{FeatureIndex, Space};

use super::super::print::{self, TextTable, csv_field, share, signed};
use super::super::{load_any, read_blob, read_card_beside};
use super::render::{against, with_bars, write_json};
use super::{Format, Options, floats_blob};
use crate::cli::progress::RowsProgress;

/// Writes the shapes, and returns the plot.
pub fn explain(options: &Options, out: &mut dyn Write) -> anyhow::Result<Option<String>> {
    let blob = read_blob(&options.model)?;
    let loaded = load_any(&options.model, &blob)?;
    let card = read_card_beside(options.table.schema.as_deref(), &options.model, &blob)?;
    let table = options.table.table(card.as_ref())?;
    let floats_blob = floats_blob(&loaded, &blob)?;
    let floats = floats_blob.as_ref().map(|blob| HostModel::load(blob.as_slice()).map(Box::new)).transpose()?;
    let model = loaded.any_with(floats.as_deref());
    let background = match model.floats().filter(|model| options.shapley.has_background(model)) {
        Some(model) => options.shapley.background(model, &table)?,
        None => {
            bail!("shapes need background records, and the model holds none; name a file of records with --background")
        }
    };
    let shaper = Shaper::new(model, &background, &options.features)?;
    let density = match options.data.as_slice() {
        [] => shaper.background_density(),
        _ => {
            let mut density = shaper.data_density();
            read(options, model, &table, card.as_ref(), |values| shaper.count(values, &mut density))?;
            density
        }
    };
    let schemas = options.table.schemas(card)?;
    let explainer = schemas.iter().fold(Explainer::new(model, Procedure::Frozen, &[])?, Explainer::informed_by);
    let shapes = shaper.shapes(&density, explainer.outcome())?;
    for Shape { feature, left_out: LeftOut { points, share }, points: given, is_number, .. } in &shapes.shapes {
        if *points > 0 {
            let (what, which) =
                if *is_number { ("bins", "evenly spaced") } else { ("levels", "the most frequent ones") };
            let given = given.iter().filter(|point| point.share.is_some()).count();
            print::note(&format!(
                "note: {feature}: {points} {what} with {:.1} % of the rows are left out; {given} points are shown, {which}",
                100.0 * share
            ));
        }
    }
    match options.format {
        Format::Text => out.write_all(print::fitted(&render(&shapes)).as_bytes())?,
        Format::Json => write_json(&shapes, out)?,
        Format::Csv => write_csv(&shapes, out)?,
    }
    Ok(options.plot.is_some().then(|| plot::shapes(&shapes, options.most_rows())))
}

/// Passes on the values of every row of the data.
fn read(
    options: &Options,
    model: AnyModel<'_>,
    table: &Table,
    card: Option<&Card>,
    mut count: impl FnMut(&[feamoe_engine::Value]),
) -> anyhow::Result<()> {
    let mut records = options.table.open(&options.data, table)?;
    let binding = Binding::of(model.schema(), |name| records.column(name, "the model"))?;
    let binding = binding.with_bad_cells(table.bad_cells);
    records.want(&binding.columns());
    let mut inputs = Inputs::new(model.schema(), card);
    let mut record = model.record();
    let progress = RowsProgress::new();
    while records.advance()? {
        let values = binding.values(&records.record())?;
        for (index, value) in values.iter().enumerate() {
            let fault = |error| Error::Record { feature: index.to_string(), error };
            _ = record.set_value(FeatureIndex(index), *value).map_err(fault)?;
        }
        inputs.observe(record.notes());
        count(&values);
        progress.advance();
    }
    progress.finish();
    ensure!(records.record().position.number > 0, "{}: there are no records, only a header", records.files());
    print::warnings(&records.notes(), &inputs.warnings(binding.bad_cells()));
    Ok(())
}

/// Writes a line for each point of the mixture and of each expert.
fn write_csv(shapes: &Shapes, out: &mut dyn Write) -> anyhow::Result<()> {
    let or_empty = |number: Option<f32>| number.map_or_else(String::new, |number| number.to_string());
    writeln!(out, "feature,point,value,from,to,share,curve,space,effect,lower,upper")?;
    for shape in &shapes.shapes {
        for point in &shape.points {
            let start = format!(
                "{},{},{},{},{},{}",
                csv_field(&shape.feature),
                point.kind.name(),
                csv_field(&value(point)),
                or_empty(point.from),
                or_empty(point.to),
                or_empty(point.share)
            );
            writeln!(out, "{start},mixture,{},{},{},{}", shapes.space, point.effect, point.lower, point.upper)?;
            for (expert, effect) in (1..).zip(&point.expert_effects) {
                writeln!(out, "{start},expert {expert},{},{effect},,", shapes.expert_space)?;
            }
        }
    }
    Ok(())
}

/// Returns the value of a point as text; empty if it has none.
fn value(point: &Point) -> String {
    use feamoe::explanation::PointValue as V;
    if point.value == V::None { String::new() } else { point.shown() }
}

/// Returns a line for each feature, in descending order of mean magnitude.
fn render(shapes: &Shapes) -> String {
    let rows = match shapes.rows.from {
        RowsFrom::Background => String::new(),
        RowsFrom::Data => format!("; rows: {} of data", shapes.rows.count),
    };
    let mut text = format!(
        "effects on the {}, {}, mean score {}{rows}\n",
        quantity(Space::Probability, &shapes.output_names),
        against(&shapes.background),
        share(shapes.base_value)
    );
    let mut order: Vec<&Shape> = shapes.shapes.iter().collect();
    order.sort_by(|a, b| b.mean_absolute_effect.total_cmp(&a.mean_absolute_effect));
    let mut table = TextTable::new(&["feature", "mean |effect|", "lowest", "at", "highest", "at"]);
    for shape in &order {
        // Effects of values that no row has are left out, since they affect nobody.
        let met = || shape.points.iter().filter(|point| point.share.is_some_and(|share| share > 0.0));
        let by_effect = |a: &&Point, b: &&Point| a.effect.total_cmp(&b.effect);
        let ends = [met().min_by(by_effect), met().max_by(by_effect)];
        let ends = ends.into_iter().flat_map(|end| match end {
            Some(point) => [signed(point.effect), point.shown()],
            None => ["-".to_owned(), "-".to_owned()],
        });
        let start = [shape.feature.clone(), share(shape.mean_absolute_effect)];
        table.row(start.into_iter().chain(ends));
    }
    text += &with_bars(&table, order.iter().map(|shape| shape.mean_absolute_effect));
    text + "every point, by expert too: --format csv or json, or --plot FILE\n"
}
