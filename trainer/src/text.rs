//! Characters of names and cells that must not reach a page, a plot or a terminal as they are.

use std::ops::RangeInclusive;

/// Those that change the direction of the text beside them.
pub const DIRECTION: [RangeInclusive<char>; 4] =
    ['\u{61c}'..='\u{61c}', '\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];

/// Returns whether a character changes the direction of the text beside it.
#[must_use]
pub fn changes_direction(c: char) -> bool {
    DIRECTION.iter().any(|range| range.contains(&c))
}

/// Returns whether a character could move a terminal's cursor, change what it shows or turn text
/// about; ends of lines and tabs do not.
#[must_use]
pub fn controls_terminal(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || changes_direction(c)
}

/// Replaces what neither HTML nor XML allows as a character, and what changes the direction of
/// text; line ends stay.
pub(crate) fn printable(text: &str) -> String {
    let is_unfit =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}') || changes_direction(c);
    text.chars().map(|c| if is_unfit(c) { '\u{fffd}' } else { c }).collect()
}
