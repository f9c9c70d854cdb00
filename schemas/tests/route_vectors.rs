//! Routes and conditions against tables: our own in `fixtures/routes`, and the behaviour vectors where they are.
#![expect(clippy::print_stdout, reason = "a table that is passed over is named")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::route::body::evaluation::Evaluation;
use edgectl_schemas::route::body::path::BodyPath;
use edgectl_schemas::route::body::paths::BodyPaths;
use edgectl_schemas::route::check::check;
use edgectl_schemas::route::condition::compile::Condition;
use edgectl_schemas::route::condition::value::Value as ConditionValue;
use edgectl_schemas::route::definition::{Priority, RouteDefinition};
use edgectl_schemas::route::error::{Position, RouteError};
use edgectl_schemas::route::message::{Lookup, MessageView};
use edgectl_schemas::route::parser::{Route, parse_condition};
use edgectl_schemas::route::sink::Endpoint;
use edgectl_schemas::route::source::{DEVICE_MESSAGES, MessageSource, SourcePattern, TWIN_CHANGES, module_messages};
use edgectl_schemas::route::table::RouteTable;
use proptest::prelude::*;
use serde_json::Value;

/// A message as the tables write it.
#[derive(Debug, Default)]
struct Message {
    source: String,
    properties: BTreeMap<String, Option<String>>,
    system_properties: BTreeMap<String, Option<String>>,
    body: Vec<u8>,
}

impl Message {
    fn read(value: &Value) -> Self {
        let bag = |names: [&str; 2]| {
            let bag = names.iter().find_map(|name| value[*name].as_object());
            bag.into_iter()
                .flatten()
                .map(|(name, value)| (name.to_lowercase(), value.as_str().map(str::to_owned)))
                .collect()
        };
        Self {
            source: value["source"].as_str().unwrap_or(DEVICE_MESSAGES).to_owned(),
            properties: bag(["appProperties", "properties"]),
            system_properties: bag(["systemProperties", "system"]),
            body: value["bodyUtf8"].as_str().unwrap_or_default().as_bytes().to_vec(),
        }
    }
}

fn lookup<'m>(bag: &'m BTreeMap<String, Option<String>>, name: &str) -> Lookup<'m> {
    match bag.get(&name.to_lowercase()) {
        None => Lookup::Absent,
        Some(None) => Lookup::Null,
        Some(Some(value)) => Lookup::Value(value),
    }
}

impl MessageView for Message {
    fn source(&self) -> &str {
        &self.source
    }
    fn property(&self, name: &str) -> Lookup<'_> {
        lookup(&self.properties, name)
    }
    fn system_property(&self, name: &str) -> Lookup<'_> {
        lookup(&self.system_properties, name)
    }
    fn body(&self) -> &[u8] {
        &self.body
    }
}

/// The tables of a name: our own, and the behaviour vectors if they are there.
fn tables(name: &str) -> Vec<(PathBuf, Value)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let candidates =
        [package.join("tests/fixtures/routes").join(name), package.join("../../shared/vectors").join(name)];
    let mut tables = Vec::new();
    for path in candidates {
        match fs::read_to_string(&path) {
            Ok(text) => tables.push((path, serde_json::from_str(&text).expect("a table is JSON"))),
            Err(_) => println!("passed over, not there: {}", path.display()),
        }
    }
    assert!(!tables.is_empty(), "no table {name}");
    tables
}

/// Calls the check for each vector of the tables, and fails with all that it says.
fn each_vector(names: &[&str], mut check: impl FnMut(&Value, &Value) -> Result<(), String>) {
    let mut failures = Vec::new();
    let mut passed = 0;
    for (path, table) in names.iter().flat_map(|name| tables(name)) {
        for vector in table["vectors"].as_array().expect("a table has vectors") {
            match check(&table, vector) {
                Ok(()) => passed += 1,
                Err(failure) => failures.push(format!("{}: {vector}\n    {failure}", path.display())),
            }
        }
    }
    println!("{names:?}: {passed} passed");
    assert!(failures.is_empty(), "{passed} passed, {} failed:\n{}", failures.len(), failures.join("\n"));
}

#[expect(clippy::needless_pass_by_value, reason = "mostly called with what was just made")]
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

fn compile(text: &str) -> Result<(Condition, BodyPaths), Vec<RouteError>> {
    let mut paths = BodyPaths::default();
    let expression = parse_condition(text).map_err(|error| vec![error])?;
    Ok((Condition::compile(text, expression.as_ref(), &mut paths)?, paths))
}

fn outcome(text: &str, message: &Message) -> &'static str {
    let Ok((condition, paths)) = compile(text) else { return "compile_error" };
    match condition.evaluate(&Evaluation::new(message, &paths)) {
        Some(true) => "true",
        Some(false) => "false",
        None => "undefined",
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {value}"))
}

#[test]
fn conditions() {
    each_vector(&["routing.json", "routing_derived.json"], |table, vector| {
        let condition = text(vector, "condition");
        let message = Message::read(&table["messages"][text(vector, "message")]);
        if vector["requiresTwinChangeRouteSource"] == true {
            // A hub compiles every route as one of any source, where this function is an error.
            return expect("outcome", outcome(condition, &message), "compile_error");
        }
        expect("outcome", outcome(condition, &message), text(vector, "expected"))?;
        match vector["firstErrorMessage"].as_str() {
            None => Ok(()),
            Some(expected) => {
                let first = compile(condition).err().and_then(|errors| errors.first().map(ToString::to_string));
                expect("first error", first.as_deref(), Some(expected))
            }
        }
    });
}

#[test]
fn conditions_in_other_encodings() {
    let condition = "$body.message.text = 'grün 😀' AND $body.message.list[1] > 1";
    let body = r#"{"message": {"text": "gr\u00fcn 😀", "list": [1, 2]}}"#;
    let utf16 = body.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let utf32 = body.chars().flat_map(|c| (c as u32).to_le_bytes()).collect::<Vec<u8>>();
    for (encoding, bytes, expected) in [
        ("UTF-8", body.as_bytes(), "true"),
        ("utf-16", &utf16, "true"),
        ("utf-32", &utf32, "true"),
        ("utf-16", body.as_bytes(), "undefined"),
        ("latin-1", body.as_bytes(), "undefined"),
    ] {
        let mut message = Message { body: bytes.to_vec(), ..Message::default() };
        message.system_properties.insert("contentencoding".into(), Some(encoding.into()));
        assert_eq!(outcome(condition, &message), "undefined", "no content type");
        message.system_properties.insert("contenttype".into(), Some("Application/JSON".into()));
        assert_eq!(outcome(condition, &message), expected, "{encoding}");
    }
}

#[test]
fn errors_of_conditions() {
    each_vector(&["routing_errors.json"], |_, vector| {
        let condition = text(vector, "condition");
        let errors = compile(condition).err().unwrap_or_default();
        expect("number of errors", Some(errors.len() as u64), vector["errorCount"].as_u64())?;
        let (Some(first), expected) = (errors.first(), &vector["firstError"]) else { return Ok(()) };
        let place = |name: &str| Position {
            line: expected[name][0].as_u64().and_then(|line| line.try_into().ok()).unwrap_or_default(),
            column: expected[name][1].as_u64().and_then(|column| column.try_into().ok()).unwrap_or_default(),
        };
        expect("message", first.to_string().as_str(), text(expected, "message"))?;
        expect("place", first.span.positions(condition), (place("start"), place("endExclusive")))
    });
}

#[test]
fn literals_and_arithmetic() {
    each_vector(&["routing_literals.json"], |_, vector| {
        let (condition, paths) = compile(text(vector, "expression")).map_err(|errors| format!("{errors:?}"))?;
        let message = Message::default();
        let evaluation = Evaluation::new(&message, &paths);
        let expected = match &vector["value"] {
            Value::Number(number) => ConditionValue::number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) if text == "Infinity" => ConditionValue::Number(f64::INFINITY),
            Value::String(text) if text == "-Infinity" => ConditionValue::Number(f64::NEG_INFINITY),
            Value::String(text) if text == "NaN" => ConditionValue::Undefined,
            Value::String(text) => ConditionValue::Text(text.into()),
            Value::Bool(truth) => ConditionValue::Bool(*truth),
            _ => ConditionValue::Null,
        };
        let found = condition.value(&evaluation);
        match (found.as_number(), expected.as_number()) {
            // The tables write some results rounded.
            (Some(found), Some(expected)) if (found - expected).abs() < 1e-9 => Ok(()),
            _ => expect("value", found, expected),
        }
    });
}

#[test]
fn body_paths() {
    each_vector(&["routing_jsonpath.json"], |_, vector| {
        let path = text(vector, "path");
        let is_path = BodyPath::parse(path).is_ok();
        match text(vector, "kind") {
            "body" => expect("valid", Some(is_path), vector["valid"].as_bool()),
            // Only a function that a hub never offers takes these; they are paths first of all.
            _ if vector["valid"] == true => expect("a path", is_path, true),
            _ => Ok(()),
        }
    });
}

#[test]
fn sources() {
    each_vector(&["route_sources.json"], |_, vector| {
        let pattern = SourcePattern::new(text(vector, "routeSource"));
        expect(
            "match",
            Some(pattern.matches(MessageSource::new(text(vector, "messageSource")))),
            vector["match"].as_bool(),
        )
    });
}

#[test]
fn sinks() {
    each_vector(&["route_sinks.json"], |_, vector| {
        let device = DeviceId::new(text(vector, "edgeDeviceId")).map_err(|error| error.to_string())?;
        let endpoint = match text(vector, "kind") {
            "system" => Endpoint::system(text(vector, "input")),
            _ => Endpoint::function(
                vector["input"][0].as_str().unwrap_or_default(),
                vector["input"][1].as_str().unwrap_or_default(),
            ),
        };
        let expected = &vector["expected"];
        expect("valid", Some(endpoint.is_ok()), expected["ok"].as_bool())?;
        let Ok(endpoint) = endpoint else { return Ok(()) };
        if let Some(id) = expected["id"].as_str() {
            expect("id", endpoint.id(&device).as_str(), id)?;
        }
        match (&endpoint, expected["input"].as_str()) {
            (Endpoint::Module { input, .. }, Some(expected)) => expect("input", &**input, expected),
            _ => Ok(()),
        }
    });
}

#[test]
fn whole_routes() {
    each_vector(&["route_strings.json", "route_strings_derived.json"], |_, vector| {
        let text_of_route = text(vector, "route");
        let route = Route::parse(text_of_route);
        // The tables of parsing alone do not compile the condition; the derived ones do.
        let compiles = vector["derived"] != true
            || route
                .as_ref()
                .is_ok_and(|route| route.compile_condition(text_of_route, &mut BodyPaths::default()).is_ok());
        expect("valid", Some(route.is_ok() && compiles), vector["valid"].as_bool())?;
        let Ok(route) = route.as_ref().map_err(|_| ()) else { return Ok(()) };
        if vector["valid"] != true {
            return Ok(());
        }
        expect("condition", route.condition_text(text_of_route), text(vector, "condition"))?;
        if let Some(path) = vector["sourcePath"].as_str() {
            expect("source", &route.source.pattern, &SourcePattern::new(path))?;
        }
        if let Some(is_ignored) = vector["ignoredTail"].as_bool() {
            expect("ignored tail", route.tail.is_some(), is_ignored)?;
        }
        let sink = &vector["sink"];
        match sink["address"].as_str() {
            None => expect("upstream", &route.sink.endpoint, &Endpoint::Upstream),
            Some(address) => {
                expect("endpoint", Ok(&route.sink.endpoint), Endpoint::function(text(sink, "name"), address).as_ref())
            }
        }
    });
}

#[test]
fn priorities() {
    each_vector(&["routing_priority.json"], |_, vector| {
        let source = |name: &str| format!("/messages/modules/{name}/");
        let number = |value: &Value, name: &str| value[name].as_u64().and_then(|number| u32::try_from(number).ok());
        let definitions: Vec<RouteDefinition> = vector["routes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|route| {
                let written = format!(
                    "FROM {} WHERE {} INTO BrokeredEndpoint('/modules/{}/inputs/i')",
                    source(text(route, "source")).trim_end_matches('/'),
                    text(route, "condition"),
                    text(route, "endpoint")
                );
                let mut definition = RouteDefinition::new(text(route, "id"), &written);
                definition.priority = number(route, "priority").and_then(Priority::new).unwrap_or_default();
                definition.time_to_live_secs = number(route, "ttl").unwrap_or_default();
                definition
            })
            .collect();
        let table = RouteTable::new(&definitions).map_err(|errors| format!("{errors:?}"))?;
        let mut message = Message::read(&vector["message"]);
        message.source = source(text(&vector["message"], "source"));
        let device = DeviceId::new("edge").map_err(|error| error.to_string())?;
        let mut found: Vec<(String, u32, u32)> = table
            .evaluate(&message)
            .iter()
            .map(|route| {
                let id = route.endpoint.id(&device);
                let name = id.split('/').nth(1).unwrap_or_default().to_owned();
                (name, route.priority.number(), route.time_to_live_secs)
            })
            .collect();
        let result = |result: &Value| {
            let number = |at: usize| result[at].as_u64().and_then(|number| u32::try_from(number).ok());
            Some((result[0].as_str()?.to_owned(), number(1)?, number(2)?))
        };
        let mut expected: Vec<_> = vector["expected"].as_array().into_iter().flatten().filter_map(result).collect();
        found.sort();
        expected.sort();
        expect("results", found, expected)
    });
}

#[test]
fn scenarios() {
    each_vector(&["routing_e2e.json"], |table, vector| {
        let device = text(vector, "edgeDeviceId");
        let routes = vector["routes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let definitions: Vec<RouteDefinition> = routes.map(|route| RouteDefinition::new("r", route)).collect();
        let compiled = RouteTable::new(&definitions).map_err(|errors| format!("{errors:?}"))?;
        for step in vector["steps"].as_array().into_iter().flatten() {
            let mut message = Message::read(&table["message_defaults"]);
            let module = step["module"].as_str();
            message.source = match (text(step, "kind"), module) {
                ("reported_update", _) => TWIN_CHANGES.to_owned(),
                (_, Some(module)) => module_messages(module, step["output"].as_str()),
                (_, None) => DEVICE_MESSAGES.to_owned(),
            };
            let sender = step["device"].as_str().unwrap_or(device);
            message.system_properties.insert("connectiondeviceid".into(), Some(sender.to_owned()));
            if let Some(module) = module {
                message.system_properties.insert("connectionmoduleid".into(), Some(module.to_owned()));
            }
            for (name, value) in step["properties"].as_object().into_iter().flatten() {
                message.properties.insert(name.to_lowercase(), value.as_str().map(str::to_owned));
            }
            let mut found: Vec<String> = compiled
                .evaluate(&message)
                .iter()
                .map(|route| match &route.endpoint {
                    Endpoint::Upstream => "$upstream".to_owned(),
                    Endpoint::Module { module, input } => format!("{module}/{input}"),
                })
                .collect();
            let mut expected: Vec<String> =
                step["to"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            found.sort();
            expected.sort();
            expect("sinks", found, expected).map_err(|failure| format!("{step}: {failure}"))?;
        }
        Ok(())
    });
}

#[test]
fn findings() {
    each_vector(&["findings.json"], |_, vector| {
        let route = text(vector, "route");
        let found: Vec<Value> = check(route)
            .findings
            .iter()
            .map(|finding| serde_json::json!([finding.severity.to_string(), finding.code, finding.span.of(route)]))
            .collect();
        expect("findings", &Value::Array(found), &vector["findings"])
    });
}

proptest! {
    #[test]
    fn any_text_is_checked(text in ROUTE_LIKE) {
        let checked = check(&text);
        for finding in checked.findings {
            prop_assert!(text.get(finding.span.start..finding.span.end).is_some());
            let (start, end) = finding.span.positions(&text);
            prop_assert!(start < end);
        }
    }

    #[test]
    fn a_route_is_its_parts(text in ROUTE_LIKE) {
        let Ok(route) = Route::parse(&text) else { return Ok(()) };
        let again = format!(
            "FROM {} WHERE {} INTO {}",
            route.source.span.of(&text),
            route.condition_text(&text),
            route.sink.span.of(&text),
        );
        let Ok(reparsed) = Route::parse(&again) else { return Err(TestCaseError::fail(again)) };
        prop_assert_eq!(&reparsed.source.pattern, &route.source.pattern);
        prop_assert_eq!(&reparsed.sink.endpoint, &route.sink.endpoint);
        prop_assert_eq!(reparsed.condition_text(&again), route.condition_text(&text));
        prop_assert_eq!(reparsed.tail, None);
    }

    #[test]
    fn a_route_means_what_its_condition_means(text in CONDITION_LIKE) {
        let message = Message { source: DEVICE_MESSAGES.to_owned(), ..Message::default() };
        let definition = RouteDefinition::new("r", &format!("FROM /messages WHERE {text} INTO $upstream"));
        if let Ok(table) = RouteTable::new([&definition]) {
            let parsed = Route::parse(&definition.text).expect("it was compiled");
            let outcome = outcome(parsed.condition_text(&definition.text), &message);
            prop_assert_eq!(table.evaluate(&message).is_empty(), outcome != "true");
        }
    }
}

/// Words of the language in any order, mostly with a route around them.
const ROUTE_LIKE: &str = "(FROM /messages(/\\*|/modules/[a-z]{1,3}| ?/ ?\\*)?( WHERE ([a-z]{1,2}|'x'|[0-9]|=|<|AND|not|\\(|\\)|\\$body\\.[a-z]|\\|\\||-|;|/\\* \\*/| ){0,9})? INTO (\\$upstream|BrokeredEndpoint\\('/modules/m/inputs/i'\\)) ?[a-z;]{0,3})|\\PC{0,40}";

const CONDITION_LIKE: &str = "([ab]|'a'|true|null|undefined|[0-9]| = | < | and | or | \\?\\? |not |\\(|\\)|is_defined\\(|as_number\\(| - | \\|\\| |\\$body\\.a){1,12}";

#[test]
fn a_deep_condition_is_refused_and_a_long_one_is_not() {
    let deep = format!("FROM /messages WHERE {}a{} INTO $upstream", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(check(&deep).findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["route-depth"]);
    let long = format!("FROM /messages WHERE a = 'b'{} INTO $upstream", " OR a = 'b'".repeat(500));
    assert!(check(&long).findings.is_empty());
    let table = RouteTable::new([&RouteDefinition::new("r", &long)]).expect("a good route");
    assert!(table.evaluate(&Message { source: DEVICE_MESSAGES.to_owned(), ..Message::default() }).is_empty());
}
