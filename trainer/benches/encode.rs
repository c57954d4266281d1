//! Reading and encoding speed on Adult, its records repeated: `FEAMOE_DATA=FOLDER cargo bench -p
//! feamoe --bench encode`.
//!
//! Prints microseconds per row of records, of rows (label, groups), and of encoded examples, best
//! of five passes each, of the same table as CSV and as Parquet.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use feamoe::encoder::{Example, Examples, Options};
use feamoe::rows::{Input, Source, Stream, Use, open};
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

    let mut formats = vec![("csv", input)];
    #[cfg(feature = "parquet")]
    let parquet = tempfile::NamedTempFile::new()?;
    #[cfg(feature = "parquet")]
    {
        write_parquet(&formats[0].1, &schema, parquet.path())?;
        formats.push(("parquet", [Input::from(parquet.path())]));
    }
    for (format, input) in &formats {
        report(&format!("records/{format}"), || {
            let mut source = open(input, &schema.table)?;
            let mut rows = 0;
            while source.advance()? {
                rows += 1;
            }
            Ok(rows)
        })?;
        report(&format!("stream/{format}"), || {
            let mut stream = Stream::open(input, &schema, Use::Learn)?;
            while stream.next_row()?.is_some() {}
            Ok(stream.counts().read)
        })?;
        report(&format!("encode/{format}"), || {
            let mut examples = Examples::new(Stream::open(input, &schema, Use::Learn)?, &schema, &Options::default())?;
            let mut example = Example::default();
            while examples.next_example(&mut example)? {}
            Ok(examples.encoder().rows_seen())
        })?;
    }
    Ok(())
}

/// Writes the same table, numbers as such.
#[cfg(feature = "parquet")]
fn write_parquet(csv: &[Input], schema: &Schema, path: &Path) -> Result<(), Box<dyn Error>> {
    use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use feamoe::rows::Cell;
    use std::sync::Arc;

    let mut source = open(csv, &schema.table)?;
    let names = Arc::clone(source.columns());
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); names.len()];
    let mut are_numbers = vec![true; names.len()];
    while source.advance()? {
        for (index, column) in columns.iter_mut().enumerate() {
            let cell = source.record().cell(index);
            are_numbers[index] &= matches!(cell, Cell::Missing) || cell.number().is_some();
            column.push(cell.text().map(|text| String::from_utf8_lossy(&text).into_owned()));
        }
    }
    let arrays = columns.iter().zip(&are_numbers).map(|(column, are_numbers)| -> ArrayRef {
        if *are_numbers {
            Arc::new(column.iter().map(|cell| cell.as_ref()?.parse().ok()).collect::<Float64Array>())
        } else {
            Arc::new(column.iter().map(Option::as_deref).collect::<StringArray>())
        }
    });
    let batch =
        RecordBatch::try_from_iter_with_nullable(names.iter().zip(arrays).map(|(name, array)| (name, array, true)))?;
    let mut writer = parquet::arrow::ArrowWriter::try_new(fs::File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
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
