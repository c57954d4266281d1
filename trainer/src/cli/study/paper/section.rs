//! A table of the study: our figures beside the published ones.

use feamoe::plot::{Difference, Intervals, intervals};
use feamoe::training::prequential::Tally;
use feamoe_engine::fairness::Measure;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::print::TextTable;

/// Lines that are compared with each other.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Section {
    /// The sections, tables and figures of the paper, such as `4.2, A.6`; or `beyond the paper`.
    pub part: &'static str,
    /// What is compared, and on which data.
    pub title: String,
    /// The lines to compare.
    pub lines: Vec<Line>,
    /// Why our figures differ from the published ones.
    pub reason: &'static str,
}

/// A line of a section.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Line {
    /// The setting, in words.
    pub setting: String,
    /// Whether the figures are the paper's own.
    pub is_published: bool,
    /// Number of runs that the figures are means of; 0 for published figures.
    pub runs: usize,
    /// The figures. Gaps are magnitudes.
    pub figures: Vec<Figure>,
}

/// A mean over the runs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Figure {
    /// Name of the measure.
    pub name: &'static str,
    /// Mean over the runs.
    pub mean: f64,
    /// Standard deviation over the runs; null for one run, and for published figures.
    pub deviation: Option<f64>,
}

/// The figures of one run, by name.
pub type Measured = Vec<(&'static str, f64)>;

/// Names of figures.
pub const ACCURACY: &str = "accuracy";
pub const SPD: &str = "SPD";
pub const AOD: &str = "AOD";
pub const BURDEN: &str = "burden";
pub const INDIVIDUAL: &str = "individually unfair";
pub const EXPERTS: &str = "experts";
pub const SECONDS: &str = "seconds";

/// Returns accuracy and gaps.
pub fn measured(tally: &Tally) -> Measured {
    let gap = |measure| tally.worst(measure).map_or(f64::NAN, |gap| f64::from(gap.abs()));
    vec![
        (ACCURACY, tally.all().accuracy().into()),
        (SPD, gap(Measure::Spd)),
        (AOD, gap(Measure::Aod)),
        (BURDEN, gap(Measure::Burden)),
    ]
}

impl Line {
    /// Returns the means over runs. All runs have the same figures.
    pub fn new(setting: impl Into<String>, runs: &[Measured]) -> Self {
        let count = runs.len() as f64;
        let figure = |(index, (name, _)): (usize, &(&'static str, f64))| {
            let values = || runs.iter().filter_map(|run| run.get(index)).map(|(_, value)| *value);
            let mean = values().sum::<f64>() / count;
            let squares: f64 = values().map(|value| (value - mean) * (value - mean)).sum();
            let deviation = (runs.len() > 1).then(|| libm::sqrt(squares / (count - 1.0)));
            Figure { name, mean, deviation }
        };
        let figures = runs.first().into_iter().flatten().enumerate().map(figure).collect();
        Self { setting: setting.into(), is_published: false, runs: runs.len(), figures }
    }

    /// Returns a line with the paper's figures.
    pub fn published(setting: impl Into<String>, figures: &[(&'static str, f64)]) -> Self {
        let figure = |(name, mean): &(&'static str, f64)| Figure { name, mean: *mean, deviation: None };
        Self { setting: setting.into(), is_published: true, runs: 0, figures: figures.iter().map(figure).collect() }
    }
}

/// Returns a section as text.
pub fn render(section: &Section) -> String {
    let mut names: Vec<&str> = Vec::new();
    for figure in section.lines.iter().flat_map(|line| &line.figures) {
        if !names.contains(&figure.name) {
            names.push(figure.name);
        }
    }
    let title = format!("{} ({})", section.title, section.part);
    let columns: Vec<&str> = [title.as_str(), "runs"].into_iter().chain(names.iter().copied()).collect();
    let mut table = TextTable::new(&columns);
    for line in &section.lines {
        let runs = if line.is_published { "published".to_owned() } else { line.runs.to_string() };
        let figures = names.iter().map(|name| {
            let figure = line.figures.iter().find(|figure| figure.name == *name);
            figure.map_or_else(|| "-".to_owned(), Figure::text)
        });
        table.row([line.setting.clone(), runs].into_iter().chain(figures));
    }
    format!("{}{}\n", table.render(), section.reason)
}

/// Draws the unfairness of a section's lines; `None` if they have no such figure.
pub fn draw(section: &Section) -> Option<String> {
    let find = |line: &Line, name: &str| line.figures.iter().find(|figure| figure.name == name).map(|f| f.mean);
    let drawn =
        [INDIVIDUAL, SPD].into_iter().find(|name| section.lines.iter().any(|line| find(line, name).is_some()))?;
    let row = |line: &Line| {
        let published = if line.is_published { " (published)" } else { "" };
        Some(Difference { name: format!("{}{published}", line.setting), value: find(line, drawn)?, interval: None })
    };
    let line = format!("{drawn}: {}mean over the runs", if drawn == SPD { "magnitude, " } else { "share, " });
    let rows = section.lines.iter().filter_map(row).collect();
    Some(intervals(&Intervals { title: section.title.clone(), line, rows }))
}

impl Figure {
    /// Formats the figure: without decimals for a number of experts and for large numbers, with
    /// four decimals for seconds, and with three otherwise.
    fn text(&self) -> String {
        if self.mean.is_nan() {
            return "-".into();
        }
        let digits = match self.name {
            EXPERTS => 0,
            _ if self.mean.abs() >= 100.0 => 0,
            SECONDS => 4,
            _ => 3,
        };
        let deviation = self.deviation.filter(|_| digits > 0);
        let deviation = deviation.map_or_else(String::new, |deviation| format!(" ±{deviation:.digits$}"));
        format!("{:.digits$}{deviation}", self.mean)
    }
}
