//! `feamoe demo`: end to end on the built-in stream, through the same code as the other
//! commands.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::{Args, Parser as _};
use feamoe::demo::{ACCURACY_DRIFT_AT, FAIRNESS_DRIFT_AT, LendingStream, SCHEMA, TRAINING_ROWS, write_csv};
use feamoe::output::{OutputFile, WriteError, write_file};

use super::{Cli, Outcome, print, run};

/// The number of rows in the test file. They follow the rules that hold at the end of the training
/// file.
const TEST_ROWS: usize = 8_000;
/// The number of applications that are scored.
const NEW_ROWS: usize = 500;
/// The seeds of the three files, which are independent draws of the same stream.
const SEEDS: [u64; 3] = [1, 2, 3];
/// The record that is explained. It is declined, so that it has reasons and a recourse.
const EXPLAINED_ROW: u64 = 2;
/// The target of the demo. The labels are biased: equal error rates against them would repeat the
/// bias, equal approval rates do not.
const TARGETS: &str = "spd=0.05";

/// The command that opens a file with its default program.
const OPENER: &str = if cfg!(windows) {
    "start"
} else if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// The options of `feamoe demo`.
#[derive(Args, Debug)]
pub struct Options {
    /// Folder for the demo's files; created if it does not exist
    #[arg(short, long, alias = "out", value_name = "FOLDER", default_value = "feamoe-demo")]
    output: PathBuf,
}

/// Runs the command.
pub fn demo(options: &Options) -> anyhow::Result<Outcome> {
    let folder = &options.output;
    fs::create_dir_all(folder).map_err(|cause| WriteError::new(folder, cause))?;
    let path = |name: &str| folder.join(name);
    let shown = |name: &str| path(name).display().to_string();
    let end = TRAINING_ROWS;
    let [training, test, new] = SEEDS;
    write_applications(path("lending.csv"), LendingStream::new(training).take(TRAINING_ROWS as usize))?;
    write_applications(path("lending-test.csv"), LendingStream::starting_at(test, end).take(TEST_ROWS))?;
    write_applications(path("lending-new.csv"), LendingStream::starting_at(new, end).take(NEW_ROWS))?;
    write_file(&path("lending.toml"), SCHEMA.as_bytes())?;

    let mut text = String::new();
    let _ = writeln!(
        text,
        "A stream of {TRAINING_ROWS} loan applications with biased decisions. From row {ACCURACY_DRIFT_AT} on lenders look at other things \
         (accuracy drift),\nfrom row {FAIRNESS_DRIFT_AT} on they are harder on women (fairness drift). Files in {}.\n",
        folder.display()
    );
    print::text(&text)?;

    let model = shown("lending.feamoe");
    let (csv, schema, run) = (shown("lending.csv"), shown("lending.toml"), shown("lending.ckpt"));
    step(&["train", &csv, "--schema", &schema, "--fair", TARGETS, "-o", &model, "--checkpoint", &run])?;
    step(&["evaluate", &model, &shown("lending-test.csv"), "--schema", &shown("lending.toml")])?;
    step(&["score", &model, &shown("lending-new.csv"), "--gate", "-o", &shown("scores.csv")])?;
    let plot = shown("explanation.svg");
    let (new, row) = (shown("lending-new.csv"), EXPLAINED_ROW.to_string());
    step(&["explain", &model, &new, "--row", &row, "--plot", &plot])?;
    step(&["recourse", &model, &new, "--schema", &schema, "--row", &row])?;
    step(&["inspect", &model])?;
    step(&["export", &model, "-o", &shown("lending-device.feamoe")])?;

    let (page, card, test) = (shown("report.html"), shown("model-card.md"), shown("lending-test.csv"));
    step(&["report", &run, "--data", &test, "--schema", &schema, "-o", &page, "--card", &card])?;
    let unfair = shown("unfair.feamoe");
    print::text(&format!(
        "Everything is on one page: open {page} in a browser ({OPENER} {page}).\n\n\
         Try next:\n  feamoe train {csv} --schema {schema} -o {unfair}      # without targets: compare the gaps\n  \
         feamoe report {unfair} --data {test} -o {}\n  feamoe explain {model} {new} --row 1 --method frozen --format json\n",
        shown("unfair.html")
    ))?;
    Ok(Outcome::Done)
}

/// Prints a command and runs it as if it had been typed.
fn step(arguments: &[&str]) -> anyhow::Result<()> {
    let command = Cli::try_parse_from(std::iter::once("feamoe").chain(arguments.iter().copied()))?.command;
    print::text(&format!("$ feamoe {}\n", arguments.join(" ")))?;
    run(command)?;
    print::text("\n")
}

fn write_applications(
    path: PathBuf,
    applications: impl Iterator<Item = feamoe::demo::Application>,
) -> anyhow::Result<()> {
    let mut file = OutputFile::create(&path)?;
    write_csv(&mut file, applications).map_err(|cause| WriteError::new(&path, cause))?;
    file.commit()?;
    Ok(())
}
