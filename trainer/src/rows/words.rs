//! Words that people write for a missing value.

/// In lower case.
const WORDS: &str = "na|n.a.|n.a|n/a|n\\a|n-a|#n/a|#na|<na>|<n/a>|(na)|(n/a)|na.|nan|-nan|+nan|nat|null|(null)\
    |<null>|nil|none|<none>|(none)|\\n|-|--|---|\u{2013}|\u{2014}|.|..|...|?|??|*|**|_|#|missing\
    |(missing)|<missing>|blank|(blank)|<blank>|empty|(empty)|unknown|(unknown)|unk|undefined\
    |unspecified|not available|not applicable|not known|not reported|not provided|not specified\
    |no data|n.d.|n/d|n.k.|k.a.|tbd|1.#qnan|-1.#ind";

/// Returns whether a text usually means a missing value, in any case: such as `n.a.`, `--` or
/// `#DIV/0!`. In a column of text it may be a value nevertheless.
pub(crate) fn means_missing(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    // The errors of spreadsheets.
    let is_error = text.strip_prefix('#').is_some_and(|rest| rest.ends_with(['!', '?']));
    is_error || WORDS.split('|').any(|word| word == text)
}

/// Returns whether a text looks like a code, one to three letters before digits: V57, E850.3.
pub(crate) fn is_code(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let letters = text.len() - digits.len();
    (1..=3).contains(&letters)
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Minimum share of numbers among the cells of a column of numbers.
pub(crate) const MOSTLY: f64 = 0.95;

/// Minimum share of codes with letters in a column of codes that mostly consists of digits.
const SOME: f64 = 0.002;

/// Returns whether a column holds numbers. Nearly all cells must be numbers, apart from words for
/// *no value*, and the others must not be several codes that make up a real share of the column. A
/// few cells that only look like codes, such as `x7`, are mistakes in a column of numbers.
pub(crate) fn is_number_column<'w>(numbers: u64, others: impl Iterator<Item = (&'w str, u64)> + Clone) -> bool {
    if numbers == 0 {
        return false;
    }
    let others = others.filter(|(text, _)| !means_missing(text));
    let odd: u64 = others.clone().map(|(_, count)| count).sum();
    let all = (numbers + odd) as f64;
    let first = others.clone().next();
    let are_codes = others.clone().all(|(text, _)| is_code(text))
        && others.clone().any(|(text, _)| first.is_some_and(|(first, _)| text != first));
    !(are_codes && odd as f64 >= SOME * all) && numbers as f64 >= MOSTLY * all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes() {
        for word in ["NA", "n.a.", "N/A", "Null", "--", ".", "#DIV/0!", "(Blank)", "\\N", "NaT", " UNKNOWN ", "<NA>"] {
            assert!(means_missing(word), "{word}");
        }
        for word in ["no", "0", "north", "#5", "other", ""] {
            assert!(!means_missing(word), "{word}");
        }
        assert!(is_code("V57") && is_code("E850.3") && !is_code("57") && !is_code("n.a.") && !is_code("approx5x"));
    }

    #[test]
    fn nearly_all_cells_of_a_number_column_are_numbers() {
        let is = |numbers, others: &[(&'static str, u64)]| is_number_column(numbers, others.iter().copied());
        assert!(is(1, &[]) && is(95, &[("abc", 5)]) && is(10, &[("n.a.", 90)]));
        assert!(!is(0, &[]) && !is(94, &[("abc", 6)]) && !is(990, &[("V57", 5), ("E85", 5)]));
        assert!(is(990, &[("V57", 5), ("oops", 1)]));
        assert!(is(7999, &[("x7", 1)]) && is(7998, &[("O5", 1), ("l2", 1)]) && is(99, &[("x7", 1)]), "typing mistakes");
    }
}
