//! Values that a person would read as equal: they differ only in case, blanks or Unicode form, or
//! are two ways to write one number.

use unicode_normalization::UnicodeNormalization;

/// Returns the text as a person reads it: compatibility forms composed, lower case, trimmed.
fn read(value: &str) -> String {
    value.trim().nfkc().flat_map(char::to_lowercase).collect()
}

/// Returns the listed value that `value` was probably meant to be, if any.
pub(crate) fn resembling<'l>(value: &str, mut listed: impl Iterator<Item = &'l str>) -> Option<&'l str> {
    let wanted = read(value);
    listed.find(|listed| read(listed) == wanted || is_same_number(value, listed))
}

/// Returns whether both are ways to write the same finite number, such as 1, 1.0 and +1.
pub(crate) fn is_same_number(a: &str, b: &str) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number(a).is_some_and(|a| number(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_found() {
        let listed = ["Male", "caf\u{e9}", "1", "10"];
        for (value, expected) in [
            ("male", Some("Male")),
            (" MALE ", Some("Male")),
            ("cafe\u{301}", Some("caf\u{e9}")),
            ("\u{ff2d}ale", Some("Male")),
            ("1.0", Some("1")),
            ("1e1", Some("10")),
            ("m", None),
            ("nan", None),
            ("", None),
        ] {
            assert_eq!(resembling(value, listed.into_iter()), expected, "{value:?}");
        }
        assert!(!is_same_number("inf", "inf") && !is_same_number("a", "a"));
    }
}
