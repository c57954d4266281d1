//! The ready-made schemas read the real files: every row is counted, and labels, groups and missing
//! cells are as published.

use std::fs::File;
use std::io::{Read, Write};

use feamoe::encoder::{Encoder, Example, Examples, Kind, Options};
use feamoe::rows::{Counts, Input, Stream, Use};
use feamoe::schema::Schema;
use feamoe_tests::{data_file, repository_file};

fn schema(name: &str) -> Schema {
    Schema::open(&repository_file("trainer/schemas").join(name)).unwrap()
}

/// The totals of a whole stream.
struct Summary {
    counts: Counts,
    /// Rows with a missing cell.
    incomplete: u64,
    /// For each group of the first attribute: rows, and rows with the favourable outcome.
    groups: Vec<(u64, u64)>,
    unknown: u64,
}

fn summary(files: &[&str], schema: &Schema) -> Option<Summary> {
    let inputs: Vec<Input> = files.iter().map(|file| Some(Input::File(data_file(file)?))).collect::<Option<_>>()?;
    let mut stream = Stream::open(&inputs, schema, Use::Learn).unwrap();
    let columns = stream.columns().len();
    let (mut incomplete, mut positive) = (0, [0; 256]);
    while let Some(row) = stream.next_row().unwrap() {
        incomplete += u64::from((0..columns).any(|column| row.cell(column).is_missing()));
        positive[usize::from(row.groups[0])] += u64::from(row.label.unwrap());
    }
    stream.check().unwrap();
    let attribute = stream.attributes().next().unwrap();
    let groups = attribute.rows().iter().copied().zip(positive).collect();
    Some(Summary { counts: stream.counts(), incomplete, groups, unknown: attribute.without_group().rows() })
}

#[test]
fn adult() {
    let schema = schema("adult.toml");
    let Some(train) = summary(&["adult.data"], &schema) else { return };
    assert_eq!(train.counts, Counts { read: 32_561, positive: 7_841, negative: 24_720, ..Counts::default() });
    assert_eq!((train.incomplete, train.unknown), (2_399, 0));
    let test = summary(&["adult.test"], &schema).unwrap();
    assert_eq!(test.counts, Counts { read: 16_281, positive: 3_846, negative: 12_435, ..Counts::default() });
    assert_eq!(test.incomplete, 1_221);
    let both = summary(&["adult.data", "adult.test"], &schema).unwrap();
    assert_eq!(both.counts.read, 48_842);
    assert_eq!(both.groups.iter().map(|group| group.0).sum::<u64>(), 48_842);
}

#[test]
fn compas() {
    let Some(all) = summary(&["compas-scores-two-years.csv"], &schema("compas.toml")) else { return };
    let Counts { read, filtered, unlabelled, positive, negative, .. } = all.counts;
    assert_eq!((read, filtered, unlabelled, positive + negative), (7_214, 7_214 - 5_278, 0, 5_278));
}

#[test]
fn diabetes() {
    let Some(all) = summary(&["diabetes_1999_2008.csv.gz"], &schema("diabetes-130.toml")) else { return };
    assert_eq!(all.counts, Counts { read: 101_766, positive: 46_902, negative: 54_864, ..Counts::default() });
    assert_eq!(all.groups.iter().map(|group| group.0).collect::<Vec<_>>(), [76_099, 19_210]);
    assert_eq!(all.unknown, 2_037 + 1_506 + 641 + 2_273);
    let rate = |(rows, positive): (u64, u64)| positive as f64 / rows as f64;
    assert!((rate(all.groups[0]) - 0.469).abs() < 0.0005 && (rate(all.groups[1]) - 0.458).abs() < 0.0005);
}

#[test]
fn hmda() {
    let schema = schema("hmda.toml");
    let Some(sex) = summary(&["hmda_2014_2017.csv.gz"], &schema) else { return };
    assert_eq!((sex.counts.read, sex.counts.unlabelled), (80_000, 80_000 - 56_014));
    assert_eq!(sex.groups.iter().map(|group| group.0).collect::<Vec<_>>(), [35_598, 15_734]);
    assert_eq!(sex.unknown, 56_014 - 35_598 - 15_734);
    let rate = |(rows, positive): (u64, u64)| positive as f64 / rows as f64;
    assert!((rate(sex.groups[0]) - 0.7879).abs() < 5e-5 && (rate(sex.groups[1]) - 0.7503).abs() < 5e-5);

    let mut by_race = schema;
    by_race.protected[0].column = "applicant_race_1".into();
    by_race.protected[0].privileged = vec!["White".into()];
    by_race.protected[0].unprivileged = Some(vec!["Black or African American".into()]);
    let race = summary(&["hmda_2014_2017.csv.gz"], &by_race).unwrap();
    assert_eq!(race.groups.iter().map(|group| group.0).collect::<Vec<_>>(), [41_118, 4_011]);
}

#[test]
fn hmda_as_the_cfpb_publishes_it() {
    // Without the file only the header can be checked: it contains all columns of the schema.
    let header = "as_of_year,respondent_id,agency_name,agency_abbr,agency_code,loan_type_name,loan_type,property_type_name,\
        property_type,loan_purpose_name,loan_purpose,owner_occupancy_name,owner_occupancy,loan_amount_000s,preapproval_name,\
        preapproval,action_taken_name,action_taken,msamd_name,msamd,state_name,state_abbr,state_code,county_name,county_code,\
        census_tract_number,applicant_ethnicity_name,applicant_ethnicity,co_applicant_ethnicity_name,co_applicant_ethnicity,\
        applicant_race_name_1,applicant_race_1,co_applicant_race_name_1,co_applicant_race_1,applicant_sex_name,applicant_sex,\
        co_applicant_sex_name,co_applicant_sex,applicant_income_000s,purchaser_type_name,purchaser_type,rate_spread,\
        lien_status_name,lien_status,population,minority_population,hud_median_family_income,tract_to_msamd_income,\
        number_of_owner_occupied_units,number_of_1_to_4_family_units";
    let decided = ["Loan originated", "Application denied by financial institution"].map(|action| {
        let cell = |column: &str| match column {
            "action_taken_name" => action.to_string(),
            name if name.ends_with("_000s") || name.contains("population") || name.contains("_income") => "1".into(),
            name if name.starts_with("number_of") => "1".into(),
            _ => "x".into(),
        };
        header.split(',').map(cell).collect::<Vec<_>>().join(",")
    });
    let text = format!("{header}\n{}\n{}\n", decided[0], decided[1]);
    let schema = schema("hmda-cfpb.toml");
    let stream = Stream::from_reader("hmda.csv", std::io::Cursor::new(text), &schema, Use::Learn).unwrap();
    let examples = Examples::new(stream, &schema, &Options::default()).unwrap();
    let features: Vec<&str> = examples.encoder().features().iter().map(|feature| feature.name()).collect();
    assert_eq!(features.len(), 22);
    assert!(features.contains(&"applicant_sex_name"));
    assert_eq!(examples.stream().counts().positive, 1);
}

fn encode(file: &str, schema: &Schema) -> Option<(u64, Encoder)> {
    let stream = Stream::open(&[Input::File(data_file(file)?)], schema, Use::Learn).unwrap();
    let mut examples = Examples::new(stream, schema, &Options::default()).unwrap();
    let mut example = Example::default();
    let mut rows = 0;
    while examples.next_example(&mut example).unwrap() {
        rows += 1;
        assert!(example.terms.iter().all(|term| term.scale.is_finite() && term.scale.abs() < 5.001));
    }
    Some((rows, examples.encoder().clone()))
}

#[test]
fn every_real_file_is_encoded_to_the_end() {
    for (file, name, rows, numbers, categories) in [
        ("adult.data", "adult.toml", 32_561, 5, 8),
        ("compas-scores-two-years.csv", "compas.toml", 5_278, 5, 3),
        ("diabetes_1999_2008.csv.gz", "diabetes-130.toml", 101_766, 8, 22),
        ("hmda_2014_2017.csv.gz", "hmda.toml", 56_014, 8, 14),
    ] {
        let Some((encoded, encoder)) = encode(file, &schema(name)) else { return };
        let count =
            |number| encoder.features().iter().filter(|f| matches!(f.kind(), Kind::Number(_)) == number).count();
        assert_eq!((encoded, count(true), count(false)), (rows, numbers, categories), "{file}");
        // Each row of data picks exactly one weight row of each feature, not counting linear weight
        // rows.
        let mass = encoder.mass();
        for feature in encoder.features() {
            let picked: f64 = match feature.kind() {
                Kind::Number(number) if number.edges().is_empty() => continue,
                Kind::Number(number) => {
                    number.bin_rows().chain([number.missing_row()]).map(|row| mass[row as usize]).sum()
                }
                Kind::Category(category) => {
                    let levels = category.levels().map(|(_, row)| row);
                    levels.chain([category.unseen_row(), category.missing_row()]).map(|row| mass[row as usize]).sum()
                }
            };
            assert_eq!(picked, rows as f64, "{file}: {}", feature.name());
        }
    }
}

#[test]
fn a_real_gzip_file_cut_short_is_an_error_that_says_so() {
    let Some(path) = data_file("diabetes_1999_2008.csv.gz") else { return };
    let mut bytes = Vec::new();
    File::open(path).unwrap().take(200_000).read_to_end(&mut bytes).unwrap();
    let mut cut = tempfile::NamedTempFile::new().unwrap();
    cut.write_all(&bytes).unwrap();
    let mut stream = Stream::open(&[Input::from(cut.path())], &schema("diabetes-130.toml"), Use::Learn).unwrap();
    let error = loop {
        match stream.next_row() {
            Ok(row) => assert!(row.is_some(), "the end came without an error"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("the gzip stream ends too early"), "{error}");
}

#[test]
fn an_inferred_schema_reads_the_file_it_was_inferred_from() {
    for (file, rows) in [("adult.test", 16_281), ("compas-scores-two-years.csv", 7_214)] {
        let Some(path) = data_file(file) else { return };
        let text = feamoe::infer::infer(&Input::File(path), &feamoe::infer::Options::default()).unwrap().text;
        let schema = Schema::from_toml("inferred.toml", &text).unwrap();
        assert_eq!(encode(file, &schema).unwrap().0, rows, "{file}");
    }
}
