//! Text for a terminal, whatever names and cells hold.

use std::io::{self, Write};

use crate::text::controls_terminal;

/// Writes control characters, and those that change the direction of text, as `\\u001b`: four hex
/// digits, which JSON reads back as the character. Ends of lines and tabs stay; bytes that are no
/// text become the replacement character.
#[derive(Debug)]
pub struct Escaped<W> {
    out: W,
    /// The first bytes of a character whose others are still to come.
    begun: Vec<u8>,
}

impl<W: Write> Escaped<W> {
    /// Takes where the text goes.
    pub fn new(out: W) -> Self {
        Self { out, begun: Vec::new() }
    }

    fn escape(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| controls_terminal(*c)) {
            let (plain, from) = rest.split_at(at);
            write!(self.out, "{plain}\\u{:04x}", u32::from(c))?;
            rest = from.get(c.len_utf8()..).unwrap_or_default();
        }
        self.out.write_all(rest.as_bytes())
    }
}

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let all = [&std::mem::take(&mut self.begun)[..], bytes].concat();
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.escape(chunk.valid())?;
            match std::str::from_utf8(chunk.invalid()) {
                Ok(_) => {}
                // Only the last ones can be a beginning.
                Err(error) if error.error_len().is_none() && chunks.peek().is_none() => {
                    self.begun = chunk.invalid().to_vec();
                }
                Err(_) => self.out.write_all("\u{fffd}".as_bytes())?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// However the text is cut.
    #[test]
    fn what_controls_a_terminal_is_escaped_and_nothing_else() {
        let text = "é\t\u{1b}[31m\n\u{9b}😀\u{202e}\u{61c}\u{7f}ü".as_bytes();
        let all = [text, &[0xff, 0xc3], b"x"].concat();
        for first in 0..all.len() {
            for second in first..all.len() {
                let mut escaped = Escaped::new(Vec::new());
                for part in [&all[..first], &all[first..second], &all[second..]] {
                    escaped.write_all(part).unwrap();
                }
                let found = String::from_utf8(escaped.out).unwrap();
                assert_eq!(found, "é\t\\u001b[31m\n\\u009b😀\\u202e\\u061c\\u007fü\u{fffd}\u{fffd}x");
            }
        }
    }
}
