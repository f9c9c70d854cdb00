//! `edgectl validate`: what a device would refuse or misread, and where.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::binary::edgectl;

/// A manifest without findings, written as people write it.
const MANIFEST: &str = r#"{
  "modulesContent": {
    "$edgeAgent": {
      "properties.desired": {
        "schemaVersion": "1.1",
        "runtime": { "type": "docker", "settings": {} },
        "systemModules": {
          "edgeAgent": { "type": "docker", "settings": { "image": "mcr.microsoft.com/azureiotedge-agent:1.6" } },
          "edgeHub": {
            "type": "docker", "status": "running", "restartPolicy": "always",
            "settings": { "image": "mcr.microsoft.com/azureiotedge-hub:1.6" }
          }
        },
        "modules": {
          "filter": {
            "type": "docker", "status": "running", "restartPolicy": "always",
            "settings": { "image": "registry.example.com/filter:1", "createOptions": "{\"HostConfig\":{}}" }
          }
        }
      }
    },
    "$edgeHub": {
      "properties.desired": {
        "schemaVersion": "1.2",
        "routes": { "up": "FROM /messages/modules/filter/outputs/* INTO $upstream" },
        "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 }
      }
    }
  }
}
"#;

struct Checked {
    status: Option<i32>,
    report: Value,
}

impl Checked {
    fn codes(&self) -> Vec<&str> {
        self.report["diagnostics"].as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap()).collect()
    }
}

fn validate(text: &str) -> Checked {
    let output = edgectl(tempfile::tempdir().unwrap().path())
        .args(["validate", "--json", "-"])
        .write_stdin(text)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    Checked { status: output.status.code(), report }
}

/// The manifest with one piece replaced, and what is found first: code, line, column, and the text at the place.
fn found_after(from: &str, to: &str) -> (String, u64, String) {
    assert!(MANIFEST.contains(from), "{from}");
    let text = MANIFEST.replacen(from, to, 1);
    let checked = validate(&text);
    let found = &checked.report["diagnostics"][0];
    let (line, column) = (found["line"].as_u64().unwrap(), found["column"].as_u64().unwrap());
    let written = text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
    let start = usize::try_from(column).unwrap() - 1;
    let same_line = found["endLine"] == found["line"];
    let end = if same_line { usize::try_from(found["endColumn"].as_u64().unwrap()).unwrap() - 1 } else { usize::MAX };
    let place = written.chars().skip(start).take(end.saturating_sub(start)).collect();
    (found["code"].as_str().unwrap().to_owned(), line, place)
}

#[test]
fn a_good_manifest_has_no_findings_in_any_form_of_document() {
    let checked = validate(MANIFEST);
    assert_eq!((checked.status, checked.codes()), (Some(0), vec![]), "{}", checked.report);
    let yaml = serde_yaml::to_string(&serde_json::from_str::<Value>(MANIFEST).unwrap()).unwrap();
    let checked = validate(&yaml);
    assert_eq!((checked.status, checked.codes()), (Some(0), vec![]), "{}", checked.report);
    let commented = validate(&MANIFEST.replacen('{', "{ // a comment", 1));
    assert_eq!((commented.status, commented.codes()), (Some(0), vec!["EDGE0002"]));
}

#[test]
fn places_are_exact_inside_nested_text_too() {
    let cases = [
        ("\"1.1\"", "\"2.0\"", ("EDGE0208", 5, "\"2.0\"")),
        ("\"filter\": {", "\"filter\": { \"restartPolcy\": 1,", ("EDGE0203", 15, "\"restartPolcy\"")),
        ("filter:1", "filter:1:2", ("EDGE0301", 17, "\"registry.example.com/filter:1:2\"")),
        (r#"{\"HostConfig\":{}}"#, r#"{\"HostConfig\":{\"Binds\":[1]}}"#, ("EDGE0411", 17, "1")),
        (r#"{\"HostConfig\":{}}"#, r#"{\"HostConfig\":}"#, ("EDGE0406", 17, "}")),
        (
            r#""{\"HostConfig\":{}}""#,
            r#""{\"HostConfig\":{\"Pri", "createOptions01": "vilege\":true}}""#,
            ("EDGE0408", 17, r#"\"Pri"#),
        ),
        ("outputs/* INTO", "outputs/* WHERE temp > 3 INTO", ("EDGE0602", 25, ">")),
        ("modules/filter/outputs/*", "modules/filtre/outputs/*", ("EDGE0613", 25, "filtre")),
        ("INTO $upstream", "INTO $upstream WHERE x", ("EDGE0608", 25, "WHERE x")),
        ("modules/filter/outputs/*", "modules/*/outputs/o", ("EDGE0605", 25, "/messages/modules/*/outputs/o")),
        ("\"timeToLiveSecs\": 7200", "\"timeToLiveSecs\": \"soon\"", ("EDGE0202", 26, "\"soon\"")),
    ];
    for (from, to, expected) in cases {
        let (code, line, place) = found_after(from, to);
        assert_eq!((code.as_str(), line, place.as_str()), expected, "{from} -> {to}");
    }
}

#[test]
fn related_places_and_suggestions_are_given() {
    let text = MANIFEST.replace("modules/filter/outputs", "modules/filtr/outputs");
    let found = &validate(&text).report["diagnostics"][0];
    assert_eq!(found["related"][0]["line"], 15);
    assert_eq!(found["help"], "Did you mean `filter`?");
    assert_eq!(found["path"], "modulesContent.$edgeHub.\"properties.desired\".routes.up");
}

#[test]
fn two_modules_cannot_have_one_port_of_the_host() {
    let options = r#"{\"HostConfig\":{\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"8883\"}]}}}"#;
    let text = MANIFEST
        .replace(r#"{\"HostConfig\":{}}"#, options)
        .replace("azureiotedge-hub:1.6\" }", &format!("azureiotedge-hub:1.6\", \"createOptions\": \"{options}\" }}"));
    let checked = validate(&text);
    assert_eq!((checked.status, checked.codes()), (Some(3), vec!["EDGE0414"]), "{}", checked.report);
}

#[test]
fn warnings_pass_unless_denied_and_rules_can_be_accepted() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("deployment.json"), MANIFEST.replace("filter:1", "filter")).unwrap();
    let status =
        |arguments: &[&str]| edgectl(directory.path()).arg("validate").args(arguments).output().unwrap().status.code();
    assert_eq!(status(&[]), Some(0));
    assert_eq!(status(&["--deny-warnings"]), Some(3));
    assert_eq!(status(&["--deny-warnings", "--allow", "edge0303"]), Some(0));
    assert_eq!(status(&["--allow", "EDGE9999"]), Some(2));
    fs::write(directory.path().join("edgectl.yaml"), "allow: [EDGE0303]\n").unwrap();
    assert_eq!(status(&["--deny-warnings"]), Some(0));
    fs::write(directory.path().join("edgectl.yaml"), "alow: [EDGE0303]\n").unwrap();
    assert_ne!(status(&[]), Some(0));
    assert_eq!(status(&["nowhere.json"]), Some(2));
}

#[test]
fn what_can_be_mended_in_one_way_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deployment.json");
    fs::write(&path, MANIFEST.replace("\"restartPolicy\": \"always\"", "\"restartPolicy\": \"allways\"")).unwrap();
    let output = edgectl(directory.path()).args(["validate", "--fix", "deployment.json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_to_string(path).unwrap(), MANIFEST);
}

#[test]
fn every_form_names_the_file_the_place_and_the_rule() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("deployment.json"), MANIFEST.replace("\"1.1\"", "\"2.0\"")).unwrap();
    let output = |form: &str| {
        let output = edgectl(directory.path()).args(["validate", "--format", form, "."]).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = output("text");
    assert!(text.contains("deployment.json:5:26") && text.contains("^^^^^"), "{text}");
    assert!(text.contains("1 error, 0 warnings in 1 file"), "{text}");
    assert!(output("github").starts_with("::error file=deployment.json,line=5,col=26,"), "{}", output("github"));
    assert!(output("junit").contains("failures=\"1\""));
    let sarif: Value = serde_json::from_str(&output("sarif")).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "EDGE0208");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 5);
}

#[test]
fn hostile_documents_are_refused_politely() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["[".repeat(10_000), "{\"modulesContent\":".repeat(10_000), String::new(), "\u{feff}".to_owned()] {
        let checked = validate(&text);
        assert_eq!((checked.status, checked.codes()), (Some(3), vec!["EDGE0001"]));
    }
    let large = fs::File::create(directory.path().join("large.json")).unwrap();
    large.set_len(100 * 1024 * 1024).unwrap();
    let output = edgectl(directory.path()).args(["validate", "large.json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stdout).unwrap().contains("EDGE0001"));
}

#[test]
fn routes_that_name_no_output_or_input_of_a_module_are_found() {
    let place = tempfile::tempdir().unwrap();
    for language in ["rust", "python"] {
        edgectl(place.path()).args(["new", language, "--lang", language]).assert().success();
        let root = place.path().join(language);
        let template = root.join("deployment.template.json");
        let written = fs::read_to_string(&template).unwrap();
        let validate = || {
            let output = edgectl(&root).args(["validate", "--json"]).output().unwrap();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            let found = report["diagnostics"].as_array().unwrap().iter().map(|found| {
                (found["code"].as_str().unwrap().to_owned(), found["help"].as_str().unwrap_or_default().to_owned())
            });
            found.filter(|(code, _)| code.starts_with("EDGE06")).collect::<Vec<_>>()
        };
        assert_eq!(validate(), [], "{language}: what `new` writes fits together");

        let found = |code: &str, meant: &str| vec![(code.to_owned(), format!("Did you mean `{meant}`?"))];
        let change = |from: &str, to: &str| {
            assert!(written.contains(from), "{written}");
            fs::write(&template, written.replace(from, to)).unwrap();
        };
        change("outputs/temperatureOutput", "outputs/temperatureOutptu");
        assert_eq!(validate(), found("EDGE0617", "temperatureOutput"));
        change("inputs/input1", "inputs/inptu1");
        assert_eq!(validate(), found("EDGE0618", "input1"));
        change("filter/outputs/*", "filter/outputs/ouptut1");
        assert_eq!(validate(), found("EDGE0617", "output1"));
        // Names that only the manifest knows may be handed to the module.
        let named = written.replace("filter/outputs/*", "filter/outputs/special");
        fs::write(
            &template,
            named.replace("\"TemperatureThreshold\"", "\"out\": \"special\", \"TemperatureThreshold\""),
        )
        .unwrap();
        assert_eq!(validate(), []);
    }
}

#[test]
fn every_rule_is_explained() {
    let output = edgectl(Path::new(".")).args(["explain", "--json"]).output().unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rules = list["rules"].as_array().unwrap();
    let mut codes: Vec<&str> = rules.iter().map(|rule| rule["code"].as_str().unwrap()).collect();
    assert!(codes.is_sorted());
    codes.dedup();
    assert_eq!(codes.len(), rules.len(), "a code stands for one rule");
    edgectl(Path::new(".")).args(["explain", "edge0605"]).assert().success();
    edgectl(Path::new(".")).args(["explain", "EDGE9999"]).assert().code(2);
}

/// The errors in public documents, each with the reason why it is none of ours. A new one is looked at by a person.
#[test]
fn errors_in_public_documents_are_those_that_were_looked_at() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = root.join("../shared/corpus/files");
    if !corpus.exists() {
        println!("passed over: {} is not there", corpus.display());
        return;
    }
    let output = edgectl(&corpus).env_clear().args(["validate", "--json", "."]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
    for error in report["diagnostics"].as_array().unwrap().iter().filter(|found| found["severity"] == json!("error")) {
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        *found.entry((text("file"), text("code"))).or_default() += 1;
    }
    let list = fs::read_to_string(root.join("tests/fixtures/corpus/errors.tsv")).unwrap();
    let known = list.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let known: BTreeMap<(String, String), usize> =
        known.map(|row| ((row[0].to_owned(), row[1].to_owned()), row[2].parse().unwrap())).collect();
    assert_eq!(found, known);
}
