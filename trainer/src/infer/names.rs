//! The meaning of column names and values. Lists of words are separated by `|`.

/// A protected characteristic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Sex,
    Race,
    Religion,
    Nationality,
    Disability,
    Pregnancy,
    Orientation,
    Age,
    Marital,
    Veteran,
}

impl Family {
    /// Returns its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sex => "sex",
            Self::Race => "race",
            Self::Religion => "religion",
            Self::Nationality => "nationality",
            Self::Disability => "disability",
            Self::Pregnancy => "pregnancy",
            Self::Orientation => "orientation",
            Self::Age => "age",
            Self::Marital => "marital status",
            Self::Veteran => "veteran status",
        }
    }

    /// Returns whether it is protected nearly everywhere. The others are only proposed.
    pub(super) const fn is_strict(self) -> bool {
        !matches!(self, Self::Age | Self::Marital | Self::Veteran)
    }

    const ALL: [(Self, &'static str); 10] = [
        (
            Self::Sex,
            "sex|gender|male|female|woman|women|fem|geschlecht|weiblich|maennlich|männlich\
                |sexe|sexo|genre|genero|género|mujer|hombre|femme|homme|sesso|kön|kjønn|geslacht",
        ),
        (
            Self::Race,
            "race|ethnicity|ethnic|ethnie|ethnisch|etnia|raza|rasse|black|white|nonwhite\
                |hispan|hisp|ethn|hispanic|latino|latina|latinx|asian|caucasian|african|afam\
                |minority|minrty|racial|negro|indigenous|aboriginal|coloured",
        ),
        (
            Self::Religion,
            "religion|religious|religiös|konfession|faith|catholic|protestant|muslim|jewish\
                |christian|hindu|buddhist|religión|relig|islam",
        ),
        // Listed before nationality because of "senior citizen".
        (Self::Age, "age|ages|agegroup|alter|edad|âge|birthdate|dob|birthyear|yob|senior|elderly"),
        (
            Self::Nationality,
            "nationality|citizenship|citizen|noncitizen|foreign|foreigner|immigrant|migrant\
                |immigration|nationalité|nationalitaet|nationalität|nacionalidad\
                |staatsangehörigkeit|staatsangehoerigkeit|ausländer|foreignborn",
        ),
        (Self::Disability, "disability|disabled|handicap|handicapped|behinderung|discapacidad|impairment"),
        (Self::Pregnancy, "pregnant|pregnancy|schwanger|schwangerschaft|enceinte|embarazo|maternity"),
        (Self::Orientation, "orientation|sexuality|lgbt|lgbtq|gay|lesbian|homosexual"),
        (
            Self::Marital,
            "marital|maritl|marr|married|marriage|divorced|widowed|widow|unmarried\
                |familienstand|verheiratet|civilstatus|matrimonial|casado|marié",
        ),
        (Self::Veteran, "veteran|vet|military"),
    ];

    /// Returns the characteristic that a column name stands for, if any.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let parts = parts(name);
        // A long word also matches as a prefix: hispanics, africanamerican.
        let is =
            |part: &str, word: &str| part == word || ((word.len() >= 7 || word == "hispan") && part.starts_with(word));
        let has = |words: &str| parts.iter().any(|part| words.split('|').any(|word| is(part, word)));
        Self::ALL.into_iter().find(|(_, words)| has(words)).map(|(family, _)| family)
    }
}

/// Parts of a name that refer to another person than the one decided on.
pub(super) const OTHER_PERSON: &str = "co|coapplicant|spouse|parent|husband|wife|partner";

/// Parts of a name that make a column a likely target.
pub(super) const TARGET_WORDS: &str = "target|label|class|outcome|approved|approve|approval|decision|default|defaulted|readmitted\
    |readmission|recid|recidivism|recidivated|churn|churned|income|hired|hire|accepted|accept\
    |granted|grant|survived|survival|survive|fraud|risk|y|admitted|admit|admission|action\
    |diagnosis|result|success|pass|passed|died|dead|death|deny|denied|rejected|arrest|arrested\
    |rearrest|convicted|stroke|disease|attrition|quit|exited|turnover|promoted|purchased\
    |purchase|bought|subscribed|response|responded|employed|lfp|inlf|participation|dropout\
    |graduated|repaid|paid|delinquent|delinquency|spam|click|clicked|converted|conversion|call\
    |callback|called|affair|cancelled|canceled|complaint|vote|voted|worked|status|event\
    |bewilligt|genehmigt|zugesagt|aprobado|aprovado|approuvé|accordé|accepté";

/// Parts of a name that mean something unwanted, so that the other value is the favourable one.
pub(super) const UNWANTED: &str = "recid|recidivism|recidivated|default|defaulted|fraud|churn|churned|risk|readmitted\
    |readmission|died|dead|death|denied|deny|rejected|delinquent|delinquency|arrest|arrested\
    |rearrest|convicted|stroke|disease|attrition|quit|exited|turnover|dropout|spam|bad|cancelled\
    |canceled|complaint|affair|chd|diabetes|cancer|unemployed|loss|failure|failed|relapse\
    |mortality|event|unem";

/// Values that are usually the favourable one of two.
const FAVOURABLE: &str = "yes|y|true|t|1|good|approved|approve|accepted|accept|granted|positive|pass|passed|paid\
    |fully paid|repaid|hired|admitted|high|>50k|>50k.|survived|1.0|success|benign|healthy|ja|oui\
    |si|sí|retained|existing customer|originated|loan originated|alive|graduate";

/// Values that are usually the other one.
const UNFAVOURABLE: &str = "no|n|false|f|0|bad|denied|deny|rejected|reject|refused|declined|fail|failed|default\
    |charged off|low|<=50k|<=50k.|died|dead|0.0|-1|failure|malignant|sick|nein|non|nicht|churned\
    |attrited customer|dropout|negative";

/// Returns the favourable one of two values and the reason, by their wording; `None` if it does not
/// show. If the column's name means something unwanted, yes and no are swapped.
pub(super) fn favourable<'v>(name: &str, values: &[&'v str]) -> Option<(&'v str, &'static str)> {
    // Removes the number of a list item, as in `1. Yes`.
    let lower = |value: &str| {
        let value = value.trim().to_lowercase();
        let word = value.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(['.', ')']).map(str::trim_start);
        word.filter(|word| word.starts_with(char::is_alphabetic)).map_or_else(|| value.clone(), str::to_owned)
    };
    let says = |value: &str, words: &str| words.split('|').any(|word| word == lower(value));
    let [first, second] = values else { return None };
    // Words that answer the name, like yes and no. Other words have their own meaning.
    let answers = "yes|y|true|t|1|1.0|no|n|false|f|0|0.0|-1|ja|oui|si|sí|nein|non";
    let of_two = |is: &dyn Fn(&str) -> bool| match (is(first), is(second)) {
        (true, false) => Some((*first, *second)),
        (false, true) => Some((*second, *first)),
        _ => None,
    };
    let good = of_two(&|value| says(value, FAVOURABLE));
    let bad = of_two(&|value| says(value, UNFAVOURABLE)).map(|(bad, good)| (good, bad));
    let (good, other) = good.or(bad)?;
    // 1 and 2 may stand for yes and no, or for good and bad.
    let number = |value: &str| value.trim().parse::<f64>().ok();
    if number(good).is_some() && number(other).is_some_and(|x| x != 0.0 && x.abs() != 1.0) {
        return None;
    }
    let are_answers = says(good, answers) && says(other, answers);
    if are_answers && has_word(name, UNWANTED) {
        return Some((other, "the column's name speaks of something unwanted"));
    }
    // Yes answers the question that the name asks. If the name is not known, no answer is known to
    // be good. For a status or an event, a number does not show which it is.
    if are_answers && (!has_word(name, TARGET_WORDS) || has_word(name, "status|event")) {
        return None;
    }
    Some((good, "by its wording"))
}

/// Parts of a name that make a column an identifier.
pub(super) const ID_WORDS: &str =
    "id|ids|nbr|uuid|guid|index|key|rownames|name|unnamed|rownum|ssn|phone|reference|serial|email";

/// Parts of a name that mean that whole numbers are codes.
pub(super) const CODE_WORDS: &str = "code|codes|id|zip|zipcode|postcode|plz|fips|type|category|kind|purpose|occupation|region\
    |state|county|tract|industry|branch";

/// Words that mean that a value of a protected column is unknown.
const UNKNOWN_WORDS: &str = "unknown|applicable|provided|unspecified|undisclosed|invalid|missing|disclosed";

/// Returns whether a value means *unknown*. "no" and "none" are values, for example for a person
/// without a disability.
pub(super) fn is_unknown(value: &str) -> bool {
    let lower = value.to_lowercase();
    has_word(value, UNKNOWN_WORDS)
        || (crate::rows::means_missing(value) && lower != "none")
        || lower.contains("prefer not")
        || lower.contains("declined to")
}

/// Returns whether one of the words, which are separated by `|`, is a part of the name.
pub(super) fn has_word(name: &str, words: &str) -> bool {
    parts(name).iter().any(|part| words.split('|').any(|word| word == part))
}

/// Returns the parts of a name in lower case. Names are split at punctuation, digits and changes of
/// case.
pub(super) fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && lower_before) {
            parts.push(String::new());
        }
        if let (true, Some(part)) = (c.is_alphabetic(), parts.last_mut()) {
            part.extend(c.to_lowercase());
        }
        lower_before = c.is_lowercase();
    }
    parts
}

/// Returns the protected characteristic that the values of a column belong to, whatever its name.
/// The letters M and F alone may be grades of a charge, so they count only with `letters`.
pub(super) fn family_of_values<'v>(values: impl Iterator<Item = &'v str>, letters: bool) -> Option<Family> {
    let values: Vec<String> =
        values.map(|value| value.trim().to_lowercase()).filter(|value| !is_unknown(value)).collect();
    let is_sex = |value: &String| matches!(value.as_str(), "male" | "female" | "man" | "woman" | "men" | "women");
    let is_letter = |value: &String| matches!(value.as_str(), "m" | "f");
    if values.len() >= 2
        && (values.iter().all(is_sex) || (letters && values.len() == 2 && values.iter().all(is_letter)))
    {
        return Some(Family::Sex);
    }
    let any = |words: [&str; 3]| values.iter().any(|value| words.iter().any(|word| value.starts_with(word)));
    let is_race = any(["white", "caucasian", "cauc"]) && any(["black", "african", "afam"]);
    (values.len() <= 100 && is_race).then_some(Family::Race)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parts_of_names() {
        for name in ["sex", "applicant_sex", "Sex", "applicantSex", "SEX", "sex.2", "derived-sex", "sex1"] {
            assert!(has_word(name, "sex"), "{name}");
        }
        for name in ["essex", "sexual", "package", ""] {
            assert!(!has_word(name, "sex|age"), "{name}");
        }
    }

    #[test]
    fn protected_characteristics_by_name_and_values() {
        for (name, family) in [
            ("applicant_race_1", Some(Family::Race)),
            ("hispan", Some(Family::Race)),
            ("Geschlecht", Some(Family::Sex)),
            ("foreign_worker", Some(Family::Nationality)),
            ("pregnant", Some(Family::Pregnancy)),
            ("married", Some(Family::Marital)),
            ("SeniorCitizen", Some(Family::Age)),
            ("age_cat", Some(Family::Age)),
            ("amount", None),
            ("language", None),
        ] {
            assert_eq!(Family::of_name(name), family, "{name}");
        }
        assert_eq!(family_of_values(["Male", "Female", "Unknown"].into_iter(), false), Some(Family::Sex));
        assert_eq!(family_of_values(["White", "Black", "x"].into_iter(), false), Some(Family::Race));
        assert_eq!(family_of_values(["m", "f"].into_iter(), true), Some(Family::Sex));
        assert_eq!(family_of_values(["m", "f"].into_iter(), false), None);
        assert_eq!(family_of_values(["red", "white"].into_iter(), true), None);
        assert!(is_unknown("Unknown") && is_unknown("n/a") && is_unknown("Information not provided"));
        assert!(!is_unknown("none") && !is_unknown("no") && !is_unknown("Other"));
    }

    #[test]
    fn favourable_outcomes() {
        for (name, values, expected) in [
            ("approved", ["yes", "no"], Some("yes")),
            ("loan_default", ["0", "1"], Some("0")),
            ("loan_status", ["Charged Off", "Fully Paid"], Some("Fully Paid")),
            ("risk", ["good", "bad"], Some("good")),
            ("income", ["<=50K", ">50K"], Some(">50K")),
            ("outcome", ["denied", "other"], Some("other")),
            ("y", ["a", "b"], None),
            ("class", ["1", "2"], None),
            ("status", ["0", "1"], None),
            ("smokes", ["no", "yes"], None),
            ("health_approved", ["1. Yes", "2. No"], Some("1. Yes")),
            ("class", ["-1", "1"], Some("1")),
        ] {
            assert_eq!(favourable(name, &values).map(|(value, _)| value), expected, "{name}");
        }
    }
}
