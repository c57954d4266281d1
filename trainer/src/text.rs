//! Characters of names and cells that must not reach a page, a plot or a terminal unescaped.

use std::ops::RangeInclusive;

/// Characters that change the direction of the text beside them.
pub const DIRECTION: [RangeInclusive<char>; 4] =
    ['\u{61c}'..='\u{61c}', '\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];

/// Returns whether a character changes the direction of the text beside it.
#[must_use]
pub fn changes_direction(c: char) -> bool {
    DIRECTION.iter().any(|range| range.contains(&c))
}

/// Returns whether a character can control a terminal or change the direction of text. Line ends
/// and tabs do not count.
#[must_use]
pub fn controls_terminal(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || changes_direction(c)
}

/// Replaces characters that HTML or XML forbids and those that change the direction of text. Line
/// ends are kept.
pub(crate) fn printable(text: &str) -> String {
    let is_unfit =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}') || changes_direction(c);
    text.chars().map(|c| if is_unfit(c) { '\u{fffd}' } else { c }).collect()
}
