//! `feamoe completions` and `feamoe man`: shell completions and manual pages, generated from the
//! options.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use feamoe::output::write_file;

use super::{Cli, Outcome, print};

/// The options of `feamoe completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// The options of `feamoe man`.
#[derive(Args, Debug)]
pub struct Man {
    /// Folder for `feamoe.1` and a page for every command, such as `feamoe-train.1` [default: print
    /// feamoe.1]
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Prints the completions that a shell sources: `source <(feamoe completions bash)`.
pub fn completions(options: &Completions) -> anyhow::Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "feamoe", &mut text);
    print::verbatim(&String::from_utf8(text)?)?;
    Ok(Outcome::Done)
}

/// Prints or writes manual pages: `feamoe man | man -l -`.
pub fn man(options: &Man) -> anyhow::Result<Outcome> {
    let mut whole = Cli::command();
    whole.build();
    match &options.output {
        None => print::verbatim(&page(whole)?)?,
        Some(folder) => {
            for command in whole.get_subcommands().cloned().collect::<Vec<_>>() {
                let path = folder.join(format!("feamoe-{}.1", command.get_name()));
                write_file(&path, page(command)?.as_bytes())?;
            }
            write_file(&folder.join("feamoe.1"), page(whole)?.as_bytes())?;
        }
    }
    Ok(Outcome::Done)
}

fn page(command: Command) -> anyhow::Result<String> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(String::from_utf8(text)?)
}
