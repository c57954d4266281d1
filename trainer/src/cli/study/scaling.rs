//! The growth of time and memory of `feamoe train` with rows, features, levels, experts and groups.
//!
//! Each run starts the command itself with rows from a pipe, so that the measured peak of memory is
//! its own. If a run needs more rows than a block has, the block is repeated. For each axis the
//! exponent of the time per row is estimated (least squares of the logarithms) and shown beside the
//! expected one. The largest exponent between two neighbours is shown too: it would reveal a sudden
//! slow-down.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use feamoe::plot::{Curve, Entry, Panel, Panels, panels};

use super::generators::Random;
use super::paper::{Line, Section};

/// Rows of a run, unless rows are the axis.
const ROWS: usize = 100_000;
/// Number of generated rows. Longer runs repeat them.
const BLOCK: usize = 100_000;
/// Features of a run, unless features are the axis. Half of them are categories.
const FEATURES: usize = 20;
const LEVELS: usize = 10;
const EXPERTS: usize = 8;
const GROUPS: usize = 2;
const SEED: u64 = 1;
const SPEED: &str = "rows/s";
const MEMORY: &str = "MB";
const EXPONENT: &str = "exponent of the time a row";
const EXPECTED: &str = "expected";
const STEEPEST: &str = "steepest step";

/// A quantity that is varied.
struct Axis {
    name: &'static str,
    values: &'static [usize],
    /// Expected exponent of the time per row.
    expected: f64,
    set: fn(&mut Shape, usize),
}

const AXES: [Axis; 5] = [
    Axis {
        name: "rows",
        values: &[10_000, 100_000, 1_000_000, 10_000_000],
        expected: 0.0,
        set: |shape, n| shape.rows = n,
    },
    Axis { name: "features", values: &[10, 20, 50, 100, 200, 500], expected: 1.0, set: |shape, n| shape.features = n },
    Axis {
        name: "levels",
        values: &[10, 100, 1_000, 10_000, 100_000],
        expected: 0.0,
        set: |shape, n| shape.levels = n,
    },
    Axis { name: "experts", values: &[1, 2, 4, 8, 16, 32, 64], expected: 1.0, set: |shape, n| shape.experts = n },
    Axis { name: "groups", values: &[2, 10, 50, 100, 200], expected: 0.0, set: |shape, n| shape.groups = n },
];

/// The data and the options of a run.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    features: usize,
    levels: usize,
    experts: usize,
    groups: usize,
}

/// Runs every axis. With `runs` above 1 it reports the fastest of that many runs.
pub fn study(runs: Option<u64>) -> anyhow::Result<Vec<Section>> {
    let usual = Shape { rows: ROWS, features: FEATURES, levels: LEVELS, experts: EXPERTS, groups: GROUPS };
    let mut sections = Vec::new();
    for axis in AXES {
        let mut lines = Vec::new();
        let mut seconds = Vec::new();
        for value in axis.values {
            let mut shape = usual;
            (axis.set)(&mut shape, *value);
            let block = shape.block();
            let mut fastest = [0.0, 0.0];
            for _ in 0..runs.unwrap_or(1) {
                let found = shape.run(&block)?;
                if found[0] > fastest[0] {
                    fastest = found;
                }
            }
            let [speed, memory] = fastest;
            seconds.push((*value as f64, 1.0 / speed));
            let name = format!("{value} {}", axis.name);
            lines.push(Line::new(name, &[vec![(SPEED, speed), (MEMORY, memory / 1e6)]]));
        }
        let steps = seconds.windows(2).map(exponent).fold(f64::NEG_INFINITY, f64::max);
        let figures = vec![(EXPONENT, exponent(&seconds)), (EXPECTED, axis.expected), (STEEPEST, steps)];
        lines.push(Line::new(format!("with {}", axis.name), &[figures]));
        sections.push(Section {
            part: "scaling",
            title: format!("feamoe train, varying {}", axis.name),
            lines,
            reason: "Else 100,000 rows, 10 numbers, 10 categories of 10 levels, 8 experts, 2 groups, spd=0.05. A row is \
                     read once, and takes time for its features times its experts; levels and groups are looked up.",
        });
    }
    Ok(sections)
}

/// Draws speed and memory along each axis on logarithmic scales, beside the expected speed.
pub fn draw(sections: &[Section]) -> String {
    let panels_of = sections.iter().zip(&AXES).flat_map(|(section, axis)| {
        let points = |name: &str| -> Vec<[f64; 2]> {
            let lines = axis.values.iter().zip(&section.lines);
            let figure = |line: &Line| line.figures.iter().find(|figure| figure.name == name).map(|figure| figure.mean);
            lines.filter_map(|(value, line)| Some([libm::log10(*value as f64), libm::log10(figure(line)?)])).collect()
        };
        let (speed, memory) = (points(SPEED), points(MEMORY));
        let expected = speed.first().zip(speed.last()).map(|(first, last)| {
            let fall = axis.expected * (last[0] - first[0]);
            [*first, [last[0], first[1] - fall]]
        });
        let panel = |name: &str, points: Vec<[f64; 2]>, straight: Option<[[f64; 2]; 2]>| Panel {
            name: format!("log10 of {name}"),
            axis: format!("log10 of {}", axis.name),
            across: [points.first().map_or(0.0, |point| point[0]), points.last().map_or(1.0, |point| point[0])],
            // Every scale spans at least a factor of 10, so that a constant line looks constant.
            seen: [f64::min, f64::max]
                .map(|end| points.iter().chain(straight.iter().flatten()).map(|point| point[1]).reduce(end))
                .into_iter()
                .flatten()
                .zip([-0.5, 0.5])
                .map(|(end, room)| end + room)
                .collect(),
            straight,
            lines: vec![Curve { name: name.to_owned(), points, ..Curve::default() }],
            ..Panel::default()
        };
        [panel(SPEED, speed, expected), panel(MEMORY, memory, None)]
    });
    panels(&Panels {
        title: "Scaling of feamoe train".into(),
        line: "fastest of the runs; else 100,000 rows, 20 features, 10 levels, 8 experts, 2 groups, spd=0.05".into(),
        columns: 2,
        height: 130.0,
        panels: panels_of.collect(),
        legend: vec![Entry::Line(0, "measured".into()), Entry::Words("dashed: expected from the first".into())],
    })
}

/// Estimates the exponent of a power law by least squares of the logarithms.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (libm::log(*x), libm::log(*y))).collect();
    let count = logs.len() as f64;
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / count, logs.iter().map(|p| p.1).sum::<f64>() / count);
    let above: f64 = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    above / logs.iter().map(|(x, _)| (x - mx) * (x - mx)).sum::<f64>()
}

impl Shape {
    /// Writes the rows of a block as CSV, without the header.
    fn block(&self) -> String {
        let random = &mut Random::new(SEED);
        let mut text = String::new();
        for _ in 0..self.rows.min(BLOCK) {
            let mut log_odds = 0.0;
            for feature in 0..self.features {
                if feature.is_multiple_of(2) {
                    let x = random.normal();
                    log_odds += 0.5 * x;
                    let _ = write!(text, "{x:.3},");
                } else {
                    let level = random.below(self.levels as u64);
                    log_odds += if level.is_multiple_of(3) { 0.3 } else { -0.1 };
                    let _ = write!(text, "v{level},");
                }
            }
            let group = random.below(self.groups as u64);
            let label = if random.says(log_odds / (self.features as f64 / 10.0)) { "yes" } else { "no" };
            let _ = writeln!(text, "g{group},{label}");
        }
        text
    }

    fn schema(&self) -> String {
        format!(
            r#"[target]
column = "y"
positive = ["yes"]
negative = ["no"]
[[protected]]
column = "group"
privileged = ["g0"]
[features]
max_levels = {}
"#,
            self.levels.clamp(64, 65_533)
        )
    }

    /// Trains on the rows of a block, repeated as needed. Returns rows per second and peak memory
    /// in bytes.
    fn run(&self, block: &str) -> anyhow::Result<[f64; 2]> {
        let folder = tempfile::tempdir()?;
        let schema = folder.path().join("schema.toml");
        std::fs::write(&schema, self.schema())?;
        let experts = self.experts.to_string();
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "train",
                "-",
                "--fair",
                "spd=0.05",
                "--format",
                "json",
                "--quiet",
                "--experts",
                &experts,
                "--schema",
            ])
            .arg(&schema)
            .arg("-o")
            .arg(folder.path().join("m.feamoe"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut pipe = child.stdin.take().context("a child without standard input")?;
        let header = (0..self.features).fold(String::new(), |mut header, feature| {
            let _ = write!(header, "x{feature},");
            header
        });
        let (rows, block_rows) = (self.rows, self.rows.min(BLOCK));
        let written = std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                pipe.write_all(format!("{header}group,y\n").as_bytes())?;
                (0..rows.div_ceil(block_rows)).try_for_each(|_| pipe.write_all(block.as_bytes()))
            });
            let output = child.wait_with_output();
            (writer.join(), output)
        });
        let output = written.1?;
        ensure!(output.status.success(), "feamoe train ended with {} on {self:?}", output.status);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let number = |key: &str| report[key].as_f64().with_context(|| format!("feamoe train states no {key}"));
        Ok([number("rows_per_second")?, number("peak_memory_bytes")?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_of_power_laws_are_found() {
        for expected in [0.0, 0.5, 1.0, 2.0] {
            let points: Vec<(f64, f64)> = [1.0, 3.0, 10.0, 50.0].map(|x| (x, 7.0 * libm::pow(x, expected))).into();
            assert!((exponent(&points) - expected).abs() < 1e-12, "{expected}: {}", exponent(&points));
        }
    }
}
