//! Promise: `feamoe export --onnx` writes a model for ONNX runtimes, the same bytes for the same
//! model, and refuses models that cannot be converted. `trainer/python/tests/test_onnx.py` tests
//! its outputs with onnxruntime.

use feamoe_tests::command::Folder;

const ONNX: [&str; 4] = ["export", "lending.feamoe", "--onnx", "m.onnx"];

#[test]
fn the_same_model_gives_the_same_bytes_whatever_else_is_asked_of_it() {
    let folder = Folder::with_model();
    let report = folder.run(&[&ONNX[..], &["--format", "json"]].concat()).json();
    let bytes = folder.read("m.onnx");
    assert_eq!(report["onnx_bytes"], bytes.len());
    let _ = folder.run(&ONNX).well();
    assert_eq!(folder.read("m.onnx"), bytes);
    let _ = folder.run(&[&ONNX[..], &["--threshold", "0.7"]].concat()).well();
    assert_ne!(folder.read("m.onnx"), bytes);
    let of =
        |more: &[&str]| folder.run(&[&ONNX[..], &["--format", "json"], more].concat()).json()["onnx_bytes"].clone();
    assert!(of(&["--experts", "1"]).as_u64() < Some(bytes.len() as u64), "fewer experts, fewer weights");
    // The file has the names of features and levels, and those of its outputs.
    for name in ["employment", "self-employed", "attributions"] {
        assert!(bytes.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
    }
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_lost() {
    let folder = Folder::with_model();
    let _ = folder.run(&["export", "lending.feamoe", "--strip-names", "-o", "nameless.feamoe"]).well();
    let _ = folder.run(&["export", "lending.feamoe", "--quantize", "i16", "-o", "integer.feamoe"]).well();
    for (arguments, sentence) in [
        (&["export", "nameless.feamoe", "--onnx", "m.onnx"][..], "the model has no names"),
        (&["export", "integer.feamoe", "--onnx", "m.onnx"], "the model has integer weights"),
        (&["export", "lending.feamoe", "--onnx", "lending.feamoe"], "--onnx"),
        (&["export", "lending.feamoe", "--onnx", "m.onnx", "-o", "m.feamoe"], "cannot be used with"),
        (&["export", "lending.feamoe", "--onnx", "m.onnx", "--quantize", "i16"], "cannot be used with"),
        (&["export", "lending.feamoe"], "--output"),
    ] {
        let refused = folder.run(arguments);
        assert_eq!(refused.code, Some(2), "{arguments:?}");
        assert!(refused.stderr.contains(sentence), "{arguments:?}: {}", refused.stderr);
        assert!(!folder.path("m.onnx").exists());
    }
    assert!(folder.read("lending.feamoe").starts_with(b"FEAM"));
}
