//! Reading and encoding speed on Adult, its records repeated: `FEAMOE_DATA=FOLDER cargo bench -p
//! feamoe --bench encode`.
//!
//! Prints microseconds per row of splitting, of rows (label, groups), and of encoded examples, best
//! of five passes each.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use feamoe::encoder::{Example, Examples, Options};
use feamoe::rows::{Input, Records, Source, Stream, Use};
use feamoe::schema::Schema;

/// How often the file is repeated: long enough that opening and fitting do not matter.
const REPEATS: usize = 50;

const PASSES: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::var_os("FEAMOE_DATA") else {
        println!("skipped: FEAMOE_DATA not set");
        return Ok(());
    };
    let schema = Schema::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/adult.toml")))?;
    let text = fs::read(PathBuf::from(folder).join("adult.data"))?;
    let repeated = tempfile::NamedTempFile::new()?;
    fs::write(repeated.path(), text.repeat(REPEATS))?;
    let input = [Input::from(repeated.path())];

    report("split", || {
        let mut records = Records::open(&input, &schema.table)?;
        let mut rows = 0;
        while records.advance()? {
            rows += 1;
        }
        Ok(rows)
    })?;
    report("stream", || {
        let mut stream = Stream::open(&input, &schema, Use::Learn)?;
        while stream.next_row()?.is_some() {}
        Ok(stream.counts().read)
    })?;
    report("encode", || {
        let mut examples = Examples::new(Stream::open(&input, &schema, Use::Learn)?, &schema, &Options::default())?;
        let mut example = Example::default();
        while examples.next_example(&mut example)? {}
        Ok(examples.encoder().rows_seen())
    })
}

fn report(name: &str, pass: impl Fn() -> Result<u64, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        let rows = pass()?;
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / rows as f64);
    }
    println!("{name}/adult x{REPEATS}: {best:.3} us a row, {:.0} rows/s", 1e6 / best);
    Ok(())
}
