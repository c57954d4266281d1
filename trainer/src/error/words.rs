//! Text shared by messages: lists of names, advice on columns.

/// Maximum number of names that a message lists.
const MOST_LISTED: usize = 60;

/// Formats names as `"a", "b", "c"`.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let mut text =
        names.iter().take(MOST_LISTED).map(|name| format!("{:?}", name.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > MOST_LISTED {
        text.push_str(&format!(" and {} more", names.len() - MOST_LISTED));
    }
    text
}

pub(super) fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Returns advice on a missing column: its spelling, a file without a header, another delimiter.
pub(super) fn advice_on_columns(wanted: &str, columns: &[String]) -> String {
    let fold = |name: &str| name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let folded = fold(wanted);
    if let Some(name) = columns.iter().find(|name| fold(name) == folded) {
        format!("; did you mean {name:?}?")
    } else if (1..).zip(columns).any(|(number, name)| *name == format!("column.{number}")) {
        "; if the file has no header, name its columns in the [table] of a schema".into()
    } else if columns.iter().any(|name| name.parse::<f64>().is_ok()) {
        "; if that is a record, the file has no header: name its columns in the [table] of a schema (header = false, columns = [...])"
            .into()
    } else if columns.len() == 1 {
        "; if that is more than one, set table.delimiter or table.comment in a schema".into()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Error;
    use super::*;

    #[test]
    fn a_missing_column_lists_the_columns_and_the_near_miss() {
        let error = Error::MissingColumn {
            file: "a.csv".into(),
            column: "Capital Gain".into(),
            wanted_by: "features.log1p".into(),
            columns: vec!["age".into(), "capital-gain".into()],
        };
        assert_eq!(
            error.to_string(),
            "a.csv: no column \"Capital Gain\", which features.log1p needs; the columns are \"age\", \"capital-gain\"; \
             did you mean \"capital-gain\"?"
        );
    }

    #[test]
    fn a_misread_header_is_pointed_out() {
        let hint =
            |columns: &[&str]| advice_on_columns("income", &columns.iter().map(|c| c.to_string()).collect::<Vec<_>>());
        assert!(hint(&["age;income"]).contains("table.delimiter"));
        assert!(hint(&["39", "State-gov"]).contains("the file has no header"));
        assert_eq!(hint(&["age", "sex"]), "");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..70).map(|i| i.to_string()).collect();
        assert!(list(&names).ends_with("\"59\" and 10 more"));
    }
}
