//! Loads a model that was compiled in, scores a record, and says why and what would change the
//! decision.
//!
//! `cargo run -p feamoe-engine --example score`. Everything here runs on a device too: no
//! allocation, no files.

use feamoe_engine::recourse::Change;
use feamoe_engine::schema::Note;
use feamoe_engine::{Attribution, Model, Recourse, include_model};

static MODEL: &[u8] = include_model!("../golden/v1.feamoe");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // At most 16 features and 12 experts; the weights stay where they are.
    let model: Model<16, 12> = Model::load(MODEL)?;
    let schema = model.schema();

    // Values are missing until they are set. A note marks a value that training had not seen.
    let mut record = model.record();
    if record.set_number("age", 95.0)? == Note::Clamped {
        println!("age: clamped to the range of the training data");
    }
    // A level that the model does not know is an error here, a note in `set_category`.
    record.set_known_category("occupation", "Sales")?;

    let score = model.score(&record)?;
    let decision = if score.decision { "favourable" } else { "unfavourable" };
    println!("score {:.4}, {decision} (threshold {})", score.probability, model.threshold());

    // The sum of base value, values and residual is the score.
    let mut why = Attribution::new();
    model.path_into(&record, &mut why)?;
    println!("{:<16} {:+.4}", "base value", why.base_value);
    for (index, value) in why.values.iter().enumerate().take(schema.features().len()) {
        println!("{:<16} {value:+.4}", schema.feature_name(index).unwrap_or("?"));
    }

    let mut recourse = Recourse::new();
    model.recourse_into(&record, &mut recourse)?;
    match recourse.distance {
        Some(distance) => println!("{distance:.2} standard deviations from a favourable decision"),
        None => println!("no favourable record found"),
    }
    for (index, change) in recourse.changes.iter().enumerate() {
        let name = schema.feature_name(index).unwrap_or("?");
        match change {
            Some(Change::Number(number)) => println!("  change {name} to {number}"),
            Some(Change::Level(code)) => {
                let level = schema.level_names(index).nth(usize::from(*code));
                println!("  change {name} to {}", level.unwrap_or("?"));
            }
            None => {}
        }
    }
    Ok(())
}
