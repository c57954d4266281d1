//! A seeded stream of loan applications: two groups, correlated features, numbers and categories,
//! missing values, biased labels and two drifts.
//!
//! | rows | what holds |
//! | --- | --- |
//! | from 0 | lenders look at credit score, income and the loan's share of it; women need [`EARLY_BIAS`] log-odds more for a yes |
//! | from [`ACCURACY_DRIFT_AT`] | *accuracy drift*: credit score counts a third, employment and income count double |
//! | from [`FAIRNESS_DRIFT_AT`] | *fairness drift*: the bias against women grows to [`LATE_BIAS`] log-odds, men are judged a little more kindly |
//!
//! Income, credit score and employment of an applicant all depend on a hidden standing. Women have
//! a lower mean income, so that removing the sex alone does not make decisions fair. Income is
//! missing for one applicant in twelve, and for one in four of the self-employed.

use std::io::{self, Write};

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};

/// Rows of the demo's training file.
pub const TRAINING_ROWS: u64 = 30_000;
/// First row (counted from 0) of the accuracy drift.
pub const ACCURACY_DRIFT_AT: u64 = 12_000;
/// First row (counted from 0) of the fairness drift.
pub const FAIRNESS_DRIFT_AT: u64 = 21_000;
/// Disadvantage of women in the labels before the fairness drift, in log-odds.
pub const EARLY_BIAS: f64 = 0.35;
/// Disadvantage of women in the labels after the fairness drift, in log-odds.
pub const LATE_BIAS: f64 = 1.1;

/// The schema of the stream's CSV file.
pub const SCHEMA: &str = include_str!("lending.toml");

const HEADER: &str =
    "application,sex,age,income,loan_amount,credit_score,years_employed,employment,purpose,region,dependants,approved";

/// One application.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Running number, from 1.
    pub number: u64,
    /// Whether the applicant belongs to the unprivileged group.
    pub female: bool,
    /// Age in years.
    pub age: u32,
    /// Yearly income in whole euros; `None` if unknown.
    pub income: Option<u32>,
    /// Amount in euros, a multiple of 100.
    pub loan_amount: u32,
    /// Points, from 300 to 850.
    pub credit_score: u32,
    /// Years in the present job; `None` if unknown.
    pub years_employed: Option<u32>,
    /// Kind of employment.
    pub employment: &'static str,
    /// Purpose of the loan.
    pub purpose: &'static str,
    /// Region.
    pub region: &'static str,
    /// Number of dependants.
    pub dependants: u32,
    /// The historical decision.
    pub approved: bool,
}

/// An endless, seeded stream of [`Application`]s. The same seed gives the same rows on every
/// machine.
#[derive(Clone, Debug)]
pub struct LendingStream {
    random: Pcg64Mcg,
    row: u64,
}

impl LendingStream {
    /// Creates the stream of a seed at row 0.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::starting_at(seed, 0)
    }

    /// Creates a stream of a seed that follows the rules in force at `row`.
    #[must_use]
    pub fn starting_at(seed: u64, row: u64) -> Self {
        Self { random: Pcg64Mcg::seed_from_u64(seed), row }
    }

    /// Returns a uniform number in [0, 1) with 53 bits.
    fn uniform(&mut self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // 53 bits are exact in f64
        let numerator = (self.random.next_u64() >> 11) as f64;
        numerator / 9_007_199_254_740_992.0
    }

    /// Returns a standard normal number (Box and Muller). Uses `libm` for the same bits on every
    /// machine.
    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(core::f64::consts::TAU * v)
    }

    fn one_of(&mut self, choices: &[(&'static str, f64)]) -> &'static str {
        let mut left = self.uniform();
        let last = choices.last().map_or("", |choice| choice.0);
        choices
            .iter()
            .find(|(_, share)| {
                left -= share;
                left < 0.0
            })
            .map_or(last, |choice| choice.0)
    }
}

impl Iterator for LendingStream {
    type Item = Application;

    fn next(&mut self) -> Option<Application> {
        let row = self.row;
        self.row += 1;
        let female = self.uniform() < 0.42;
        let standing = self.normal();
        let age = whole((20.0 + 45.0 * self.uniform() + 4.0 * standing).clamp(18.0, 75.0));
        let employment = if age > 64 {
            "retired"
        } else {
            self.one_of(&[("salaried", 0.68), ("self-employed", 0.17), ("public", 0.09), ("unemployed", 0.06)])
        };
        let working = !matches!(employment, "retired" | "unemployed");
        let gap = if female { -0.18 } else { 0.0 };
        let level = if working { 10.4 } else { 9.6 };
        let income = libm::exp(level + gap + 0.42 * standing + 0.22 * self.normal());
        let longest = f64::from(age.saturating_sub(17));
        let years_employed =
            if working { (6.0 + 3.0 * standing + 5.0 * self.normal()).clamp(0.0, longest) } else { 0.0 };
        let credit_score = (655.0 + 48.0 * standing + 45.0 * self.normal()).clamp(300.0, 850.0);
        let purpose =
            self.one_of(&[("car", 0.34), ("home", 0.27), ("education", 0.13), ("business", 0.11), ("other", 0.15)]);
        let size = match purpose {
            "home" => 1.5,
            "business" => 0.9,
            _ => 0.0,
        };
        let loan_amount = libm::exp(9.1 + size + 0.3 * standing + 0.5 * self.normal()).clamp(500.0, 900_000.0);
        let region = self.one_of(&[("north", 0.3), ("south", 0.25), ("east", 0.2), ("west", 0.25)]);
        let dependants = whole(3.0 * self.uniform() * self.uniform() + 1.2 * self.uniform());

        let share = (loan_amount / income).min(12.0);
        let drifted = row >= ACCURACY_DRIFT_AT;
        let (by_credit, by_income, by_work) = if drifted { (0.45, 1.9, 1.6) } else { (1.35, 0.9, 0.7) };
        let job = match employment {
            "public" => 0.6,
            "salaried" => 0.3,
            "self-employed" if drifted => -0.9,
            "unemployed" => -1.6,
            _ => -0.2,
        };
        let bias = match (female, row >= FAIRNESS_DRIFT_AT) {
            (true, false) => -EARLY_BIAS,
            (true, true) => -LATE_BIAS,
            (false, true) => 0.15,
            (false, false) => 0.0,
        };
        let log_odds = 0.45
            + by_credit * (credit_score - 655.0) / 66.0
            + by_income * (libm::log(income) - 10.3) / 0.5
            + by_work * job
            - 0.35 * (share - 1.0)
            + 0.25 * (years_employed.min(15.0) - 6.0) / 6.0
            + if purpose == "home" { 0.5 } else { 0.0 }
            + bias;
        let approved = self.uniform() < 1.0 / (1.0 + libm::exp(-1.4 * log_odds));

        let hidden_income = self.uniform() < if employment == "self-employed" { 0.25 } else { 0.06 };
        let hidden_years = self.uniform() < 0.04;
        Some(Application {
            number: row + 1,
            female,
            age,
            income: (!hidden_income).then_some(whole(income / 10.0) * 10),
            loan_amount: whole(loan_amount / 100.0) * 100,
            credit_score: whole(credit_score),
            years_employed: (!hidden_years).then_some(whole(years_employed)),
            employment,
            purpose,
            region,
            dependants,
            approved,
        })
    }
}

/// Rounds a number from 0 to a million.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(x: f64) -> u32 {
    libm::round(x) as u32
}

/// Writes applications as CSV with a header; a missing value is an empty field.
///
/// # Errors
/// Those of the writer.
pub fn write_csv(writer: &mut dyn Write, applications: impl Iterator<Item = Application>) -> io::Result<()> {
    writeln!(writer, "{HEADER}")?;
    for a in applications {
        let sex = if a.female { "Female" } else { "Male" };
        let approved = if a.approved { "yes" } else { "no" };
        let optional = |value: Option<u32>| value.map_or(String::new(), |value| value.to_string());
        writeln!(
            writer,
            "{},{sex},{},{},{},{},{},{},{},{},{},{approved}",
            a.number,
            a.age,
            optional(a.income),
            a.loan_amount,
            a.credit_score,
            optional(a.years_employed),
            a.employment,
            a.purpose,
            a.region,
            a.dependants,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(applications: &[Application], female: bool) -> f64 {
        let group: Vec<_> = applications.iter().filter(|a| a.female == female).collect();
        group.iter().filter(|a| a.approved).count() as f64 / group.len() as f64
    }

    #[test]
    fn the_same_seed_gives_the_same_rows() {
        let rows = |seed| LendingStream::new(seed).take(50).collect::<Vec<_>>();
        assert_eq!(rows(7), rows(7));
        assert_ne!(rows(7), rows(8));
    }

    #[test]
    fn the_gap_grows_where_the_fairness_drift_is() {
        let gap = |from: u64| {
            let rows: Vec<_> = LendingStream::starting_at(1, from).take(9_000).collect();
            approval(&rows, false) - approval(&rows, true)
        };
        let (before, after) = (gap(ACCURACY_DRIFT_AT), gap(FAIRNESS_DRIFT_AT));
        assert!(before > 0.05 && after > before + 0.08, "{before} {after}");
    }

    #[test]
    fn both_outcomes_and_missing_values_occur_throughout() {
        for from in [0, ACCURACY_DRIFT_AT, FAIRNESS_DRIFT_AT] {
            let rows: Vec<_> = LendingStream::starting_at(3, from).take(3_000).collect();
            for female in [false, true] {
                assert!((0.2..0.9).contains(&approval(&rows, female)), "{from} {female}");
            }
            assert!(rows.iter().any(|a| a.income.is_none()) && rows.iter().any(|a| a.years_employed.is_none()));
        }
    }
}
