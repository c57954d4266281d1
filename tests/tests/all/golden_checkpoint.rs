//! Promise: a checkpoint of a version that this build reads can be resumed forever. The golden file
//! gives the same model as when it was written, and continues to learn. It is never written again;
//! a new version gets a new file.

use feamoe::demo::{LendingStream, SCHEMA, write_csv};
use feamoe::rows::{Records, Source};
use feamoe::schema::Schema;
use feamoe::training::Trainer;
use feamoe_tests::{repository_file, without_card};

/// The rows of the demo's stream that the run has learned from. The encoder was fitted on a part of
/// them.
const ROWS: usize = 400;

fn rows(from: usize, count: usize) -> Records {
    let mut text = Vec::new();
    write_csv(&mut text, LendingStream::new(5).skip(from).take(count)).unwrap();
    let schema = Schema::from_toml("lending.toml", SCHEMA).unwrap();
    Records::from_reader("lending", std::io::Cursor::new(text), &schema.table).unwrap()
}

#[test]
fn the_golden_checkpoint_gives_its_model_and_learns_on() {
    let read = |name: &str| std::fs::read(repository_file(&format!("tests/golden/{name}"))).unwrap();
    let mut trainer = Trainer::from_bytes(&read("run-v12.ckpt")).unwrap();
    assert_eq!((trainer.rows(), trainer.counts().read), (ROWS as u64, ROWS as u64));
    // The card states what this version measures, so it is not compared.
    assert!(without_card(trainer.model().unwrap().bytes.as_slice()) == without_card(&read("run-v12.feamoe")));

    trainer.learn_all(&mut rows(ROWS, 300)).unwrap();
    assert_eq!(trainer.rows(), ROWS as u64 + 300);
    assert!(trainer.prequential().summary().total.accuracy > 0.7);
    trainer.model().unwrap();
}

/// A checkpoint of an earlier version describes a state that this version does not have.
#[test]
fn a_checkpoint_of_an_earlier_version_is_refused_by_its_number() {
    for version in 4..12 {
        let bytes = std::fs::read(repository_file(&format!("tests/golden/run-v{version}.ckpt"))).unwrap();
        let error = Trainer::from_bytes(&bytes).err().unwrap().to_string();
        assert_eq!(
            error,
            format!(
                "the checkpoint: found checkpoint version {version}, expected 12; resume with the feamoe that wrote it, or train again"
            )
        );
    }
}

/// Writes the golden files of a new version, and refuses to replace any: `cargo test -p
/// feamoe-tests golden_checkpoint:: -- --ignored`.
#[test]
#[ignore = "writes the golden files of a new version"]
fn write_the_files_of_a_new_version() {
    use feamoe::learner::LearnerOptions;
    use feamoe::training::{Options, checkpoint};
    let name = |ending: &str| repository_file(&format!("tests/golden/run-v{}.{ending}", checkpoint::VERSION));
    assert!(!name("ckpt").exists(), "golden files are never written again");
    let mut options = Options::new(LearnerOptions::default().check().unwrap());
    (options.encoder.warmup, options.encoder.bins, options.background) = (200, 8, 20);
    let mut source = rows(0, ROWS);
    let schema = Schema::from_toml("lending.toml", SCHEMA).unwrap();
    let mut trainer = Trainer::new(source.columns(), schema, &options).unwrap();
    trainer.learn_all(&mut source).unwrap();
    std::fs::write(name("ckpt"), trainer.checkpoint().to_bytes().unwrap()).unwrap();
    std::fs::write(name("feamoe"), trainer.model().unwrap().bytes.as_slice()).unwrap();
}
