//! The parts of `feamoe study` that need no data.

use feamoe_tests::command::Folder;

/// Of two halves of 12,000 rows that a data set has, both say much the same of a column.
#[test]
fn two_halves_teach_the_same_shapes() {
    let report = Folder::new().run(&["study", "--data", ".", "--only", "shapes", "--runs", "1", "--format", "json"]);
    let report = report.json();
    assert_eq!((report["rows"].as_array().unwrap().len(), report["streams"].as_array().unwrap().len()), (0, 0));
    let shapes = &report["shapes"];
    let columns = shapes["columns"].as_array().unwrap();
    assert_eq!(columns.len(), 4);
    for column in columns {
        let (correlation, variation) = (column["correlation"].as_f64().unwrap(), column["variation"].as_f64().unwrap());
        assert!(correlation > 0.0 && correlation <= 1.0, "{column}");
        // At least the way from the lowest effect to the highest.
        assert!((1.0 - 1e-9..5.0).contains(&variation), "{column}");
    }
    let noise = shapes["noise"].as_f64().unwrap();
    assert!(noise > 0.0 && noise < 0.2, "{noise}");
    let distances = shapes["distances"].as_array().unwrap();
    assert_eq!(distances.iter().map(|distance| distance["bins"].as_u64().unwrap()).collect::<Vec<_>>(), [16, 64, 128]);
    for distance in distances {
        let median = distance["median"].as_f64().unwrap();
        assert!(median > 0.0 && median < 2.0, "{distance}");
    }
}
