//! A table of numbers in memory: the rows of an `ndarray` view.

use std::sync::Arc;

use ndarray::ArrayView2;

use super::{Cells, Digest, Record, Source};
use crate::error::Error;
use crate::rows::Cell;

/// The rows of a view, one record each; NaN is a missing value.
///
/// ```
/// use feamoe::rows::{ArrayRows, Source};
///
/// let table = ndarray::array![[39.0, 1.0], [f64::NAN, 0.0]];
/// let mut rows = ArrayRows::new(table.view(), &["age", "paid"])?;
/// while rows.advance()? {
///     println!("record {}: age {:?}", rows.record().position.number, rows.record().cell(0));
/// }
/// # Ok::<(), feamoe::error::Error>(())
/// ```
#[derive(Debug)]
pub struct ArrayRows<'a, T> {
    view: ArrayView2<'a, T>,
    columns: Arc<[String]>,
    names: [String; 1],
    /// Number of rows returned so far.
    lent: usize,
    cells: Cells,
    digest: Digest,
}

impl<'a, T: Copy + Into<f64>> ArrayRows<'a, T> {
    /// Takes a view of shape (rows, columns) and the names of its columns.
    ///
    /// # Errors
    /// [`Error::Input`] if the number of names differs from the number of columns, or if a name
    /// occurs twice.
    pub fn new<S: AsRef<str>>(view: ArrayView2<'a, T>, columns: &[S]) -> Result<Self, Error> {
        let columns: Arc<[String]> = columns.iter().map(|name| name.as_ref().to_owned()).collect();
        if columns.len() != view.ncols() {
            let (found, expected) = (columns.len(), view.ncols());
            return Err(Error::Input(format!("found {found} names, expected one for each of the {expected} columns")));
        }
        if let Some(name) =
            (1..).zip(columns.iter()).find_map(|(next, name)| columns.get(next..)?.contains(name).then_some(name))
        {
            return Err(Error::Input(format!("found two columns named {name:?}, expected each name once")));
        }
        let cells = Cells::new(columns.len());
        Ok(Self { view, columns, names: ["the array".into()], lent: 0, cells, digest: Digest::default() })
    }
}

impl<T: Copy + Into<f64> + Send + Sync> Source for ArrayRows<'_, T> {
    fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    fn advance(&mut self) -> Result<bool, Error> {
        if self.lent >= self.view.nrows() {
            return Ok(false);
        }
        self.cells.clear();
        for (column, value) in self.view.row(self.lent).iter().enumerate() {
            let value: f64 = (*value).into();
            self.cells.put(column, if value.is_nan() { Cell::Missing } else { Cell::Number(value) });
        }
        self.lent += 1;
        let record = self.cells.record("", 0);
        record.hash_into(&mut self.digest, self.columns.len());
        Ok(true)
    }

    fn record(&self) -> Record<'_> {
        let [name] = &self.names;
        self.cells.record(name, self.lent as u64)
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn digest(&self) -> Digest {
        self.digest.clone()
    }
}
