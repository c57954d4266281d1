//! Generated credit applications: numbers rounded as on forms, log-odds that are smooth in them,
//! and two columns of noise.

use super::generators::{Generated, Random};

/// The columns, the label last.
pub const COLUMNS: [&str; 13] = [
    "age",
    "income",
    "amount",
    "months",
    "debt_ratio",
    "savings",
    "inquiries",
    "noise_a",
    "noise_b",
    "purpose",
    "home",
    "sex",
    "paid",
];

/// The schema of the columns.
pub const SCHEMA: &str = r#"
[target]
column = "paid"
positive = ["1"]
negative = ["0"]

[[protected]]
column = "sex"
privileged = ["level 1"]
"#;

/// Durations of a credit in months; frequent ones are listed twice.
const MONTHS: [f64; 11] = [6.0, 9.0, 12.0, 12.0, 18.0, 24.0, 24.0, 36.0, 36.0, 48.0, 60.0];
/// Log-odds by purpose.
const PURPOSES: [f64; 6] = [0.2, -0.4, 0.0, 0.0, 0.0, 0.0];
/// Kinds of homes: rented, owned (twice as often) and belonging to the family.
const HOMES: [u64; 4] = [0, 1, 1, 2];

/// Writes the next application and returns whether it was paid back.
pub fn next(random: &mut Random, cells: &mut Vec<Generated>) -> bool {
    let age = (40.0 + 13.0 * random.normal()).floor().clamp(18.0, 80.0);
    let income = (libm::exp(7.6 + 0.5 * random.normal()) / 10.0).round() * 10.0;
    let amount = (libm::exp(8.5 + 0.8 * random.normal()) / 100.0).round().max(1.0) * 100.0;
    let months = MONTHS[random.below(MONTHS.len() as u64) as usize];
    let ratio = (amount / income / months * 10.0 * libm::exp(0.3 * random.normal())).min(3.0);
    let ratio = (ratio * 1_000.0).round() / 1_000.0;
    let savings = libm::exp(6.5 + 1.2 * random.normal()).round();
    let savings = if random.uniform() < 0.4 { 0.0 } else { savings };
    let inquiries = (random.exponential() / 0.7).floor().min(9.0);
    let (noise_a, noise_b) = ((random.uniform() * 1_000.0).round(), random.normal());
    let purpose = random.below(PURPOSES.len() as u64);
    let home = HOMES[random.below(HOMES.len() as u64) as usize];
    let sex = random.below(2);
    let log_odds = 1.2 + 0.9 * libm::tanh((age - 30.0) / 9.0) - 0.05 * (age - 62.0).max(0.0)
        + 0.7 * libm::log(income / 2_000.0)
        - 0.45 * libm::log(amount / 5_000.0)
        - if months > 36.0 { 0.5 } else { 0.0 }
        - 0.8 * (ratio - 0.8).max(0.0)
        + if savings > 0.0 { 0.35 } else { 0.0 }
        + 0.06 * libm::log1p(savings)
        - 0.3 * inquiries
        + PURPOSES[purpose as usize]
        + if home == 1 { 0.3 } else { 0.0 }
        + if sex == 1 { 0.15 } else { 0.0 };
    cells.clear();
    let numbers = [age, income, amount, months, ratio, savings, inquiries, noise_a, noise_b];
    cells.extend(numbers.map(Generated::Number));
    cells.extend([purpose, home, sex].map(Generated::Level));
    random.says(log_odds)
}
