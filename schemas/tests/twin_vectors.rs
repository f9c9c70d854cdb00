//! The public behaviour vectors that speak of twins as documents.

use std::path::Path;

use edgectl_schemas::twin;
use serde_json::Value;

#[test]
fn twins_merge_differ_and_are_limited_as_the_vectors_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/twins.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("passed over: {} is not there", path.display());
        return;
    };
    let file: Value = serde_json::from_str(&text).expect("vectors are JSON");
    let mut count = 0;
    for vector in file["vectors"].as_array().expect("vectors") {
        let (id, input, expected) = (&vector["id"], &vector["input"], &vector["expected"]);
        let got = match vector["op"].as_str().expect("op") {
            "merge" => twin::merge(&input["base"], &input["patch"], input["nullDeletes"] == true),
            "diff" => twin::diff(&input["from"], &input["to"]),
            "strip_metadata" => twin::strip_metadata(input),
            "validate_reported" => match twin::validate_section(input) {
                Ok(()) => serde_json::json!({ "ok": true }),
                Err(error) => serde_json::json!({ "ok": false, "message": error.to_string() }),
            },
            _ => continue,
        };
        assert_eq!(&got, expected, "{id}");
        count += 1;
    }
    assert!(count > 0, "no vector was tried");
}
