//! Tables, and figures: a plot with a table of its numbers.

use maud::{Markup, html};

use super::drawing::inline;

/// The content of a cell of a table.
pub(super) enum Field {
    /// Words.
    Words(String),
    /// A number, in the displayed form and with all its digits.
    Number(String, String),
    /// Arbitrary markup.
    Markup(Markup),
}

impl From<&str> for Field {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

impl From<String> for Field {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<Markup> for Field {
    fn from(markup: Markup) -> Self {
        Self::Markup(markup)
    }
}

impl From<u64> for Field {
    fn from(count: u64) -> Self {
        Self::Number(crate::plot::grouped(count), count.to_string())
    }
}

impl From<f32> for Field {
    fn from(x: f32) -> Self {
        Self::Number(shown(x.into(), 4), x.to_string())
    }
}

impl From<f64> for Field {
    fn from(x: f64) -> Self {
        Self::Number(shown(x, 4), x.to_string())
    }
}

impl From<Option<[f32; 2]>> for Field {
    fn from(ends: Option<[f32; 2]>) -> Self {
        match ends {
            // The digits of the `f32`, not those of its conversion to `f64`.
            Some([low, high]) => Self::Number(range([low, high].map(f64::from)), format!("{low} {high}")),
            None => Self::Words("–".to_owned()),
        }
    }
}

impl From<Option<[f64; 2]>> for Field {
    fn from(ends: Option<[f64; 2]>) -> Self {
        match ends {
            Some([low, high]) => Self::Number(range([low, high]), format!("{low} {high}")),
            None => Self::Words("–".to_owned()),
        }
    }
}

/// Returns a number with a typographic minus; a dash if there is none.
pub(super) fn shown(x: f64, decimals: usize) -> String {
    if x.is_nan() {
        return "–".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "∞".to_owned() } else { "−∞".to_owned() };
    }
    let text = format!("{x:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| matches!(c, '0' | '.')) => digits.to_owned(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// Returns an interval in words.
pub(super) fn range([low, high]: [f64; 2]) -> String {
    format!("{} to {}", shown(low, 3), shown(high, 3))
}

/// A table under construction. The first cell of each row names the subject of the row.
pub(super) struct Table {
    id: String,
    caption: String,
    headings: Vec<String>,
    rows: Vec<Vec<Field>>,
}

impl Table {
    /// Creates a table without rows.
    pub(super) fn new<S: Into<String>>(
        id: impl Into<String>,
        caption: impl Into<String>,
        headings: impl IntoIterator<Item = S>,
    ) -> Self {
        let headings = headings.into_iter().map(Into::into).collect();
        Self { id: id.into(), caption: caption.into(), headings, rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, fields: impl IntoIterator<Item = Field>) {
        self.rows.push(fields.into_iter().collect());
    }

    /// Returns whether the table has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the table in a container that can be scrolled by keyboard.
    pub(super) fn markup(&self) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-label=(self.caption) {
                table id=(self.id) {
                    caption { span { (self.caption) } }
                    thead {
                        tr {
                            @for (index, heading) in self.headings.iter().enumerate() {
                                @if self.is_of_numbers(index) { th.number scope="col" { (heading) } }
                                @else { th scope="col" { (heading) } }
                            }
                        }
                    }
                    tbody {
                        @for row in &self.rows {
                            tr {
                                @for (index, field) in row.iter().enumerate() {
                                    @if index == 0 {
                                        th scope="row" { (field.markup()) }
                                    } @else if matches!(field, Field::Number(..)) {
                                        td.number { (field.markup()) }
                                    } @else {
                                        td { (field.markup()) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Returns whether a column contains numbers. The first column never counts as one.
    fn is_of_numbers(&self, column: usize) -> bool {
        let number = |row: &Vec<Field>| matches!(row.get(column), Some(Field::Number(..)));
        column > 0 && self.rows.iter().any(number)
    }

    /// Returns the table, collapsed below a plot.
    pub(super) fn behind(&self) -> Markup {
        html! {
            details {
                summary { "Table: " (self.caption) }
                (self.markup())
            }
        }
    }
}

impl Field {
    fn markup(&self) -> Markup {
        match self {
            Self::Words(words) => html! { (words) },
            Self::Number(shown, value) => html! { data value=(value) { (shown) } },
            Self::Markup(markup) => markup.clone(),
        }
    }
}

/// Returns a plot with its caption and the table below it. On a narrow screen the plot scrolls
/// instead of shrinking, so that its text stays readable.
pub(super) fn figure(id: &str, name: &str, svg: &str, words: &str, behind: &Markup) -> Markup {
    html! {
        figure {
            div.scroll.plot tabindex="0" role="region" aria-label={ "Plot: " (name) } {
                (maud::PreEscaped(inline(svg, id)))
            }
            figcaption { (words) }
            (behind)
        }
    }
}
