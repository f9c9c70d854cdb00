//! Topics and user names against the public vectors. Passed over are those of the real hub's template engine
//! (`build_topic`, `parse_topic`): topics here are read and written by functions of their own, and `outbound_message`,
//! whose one case has a twin's reporter hidden behind the hub, where ours is never hidden.

use std::path::Path;

use edgectl_hub::gateway::{Feature, Refusal};
use edgectl_hub::message::{Message, Properties};
use edgectl_simulator::mqtt::property_bag;
use edgectl_simulator::mqtt::topic::{self, Published};
use edgectl_simulator::mqtt::username::Username;
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode};
use edgectl_wire::mqtt::packet::Packet;
use serde_json::{Map, Value};

use crate::memory_hub::MemoryHub;
use crate::raw_client::{RawClient, TOKEN, connect};

/// The cases of some operations; none where the vectors are not there.
fn cases(operations: &[&str]) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/topics.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("passed over: {} is not there", path.display());
        return Vec::new();
    };
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(vectors) = file["vectors"].take() else { panic!("no vectors") };
    let cases = vectors.into_iter().filter(|case| operations.iter().any(|operation| case["op"] == *operation));
    cases.collect()
}

#[test]
fn publishes_mean_what_they_should() {
    for case in cases(&["publish_dispatch"]) {
        let (topic, expected) = (case["input"].as_str().unwrap(), &case["expected"]);
        // An empty topic does not get as far: it is no packet.
        let found = if topic.is_empty() { Published::Forbidden } else { Published::parse(topic) };
        match expected["action"].as_str().unwrap() {
            "telemetry" => {
                let Published::Message { from, .. } = found else { panic!("{case}: {found:?}") };
                assert_eq!(from.device.as_str(), expected["device"], "{case}");
            }
            "patch_reported" => {
                let Published::Report { request_id } = found else { panic!("{case}: {found:?}") };
                assert_eq!(request_id.is_none(), expected["response_topic"].is_null(), "{case}");
            }
            "get_twin" => assert!(matches!(found, Published::GetTwin { .. }), "{case}: {found:?}"),
            "method_response" => assert!(matches!(found, Published::MethodResponse { .. }), "{case}: {found:?}"),
            "error" => assert_eq!(found, Published::Forbidden, "{case}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn topics_of_the_hub_itself_are_taken_apart() {
    for case in cases(&["parse_iothub_topic"]) {
        let expected = &case["expected"];
        let request = expected["properties"]["$rid"].as_str().map(str::to_owned);
        let found = Published::parse(case["input"].as_str().unwrap());
        if expected["ok"] != true {
            assert_eq!(found, Published::Forbidden, "{case}");
            continue;
        }
        let meant = match expected["operation"].as_str().unwrap() {
            "TwinPatchReportedState" => Published::Report { request_id: request },
            "TwinGetState" => Published::GetTwin { request_id: request.unwrap() },
            "DirectMethodResponse" => Published::MethodResponse {
                status: expected["subresource"].as_str().unwrap().parse().unwrap(),
                request_id: request.unwrap(),
            },
            other => panic!("{other}"),
        };
        assert_eq!(found, meant, "{case}");
    }
}

#[test]
fn method_calls_have_their_topic() {
    for case in cases(&["format_method_request_topic"]) {
        let input = &case["input"];
        let topic = topic::method(input["methodName"].as_str().unwrap(), input["correlationId"].as_str().unwrap());
        assert_eq!(topic, case["expected"], "{case}");
    }
}

#[test]
fn subscriptions_are_of_their_kind() {
    for case in cases(&["subscription_kind"]) {
        let filter = case["input"].as_str().unwrap();
        let kind = match topic::feature_of(filter) {
            Some(Feature::Inputs) => "ModuleMessages",
            Some(Feature::CloudToDevice) => "C2D",
            Some(Feature::Methods) => "Methods",
            Some(Feature::DesiredProperties) => "DesiredPropertyUpdates",
            None if filter == topic::TWIN_ANSWERS => "TwinResponse",
            None => "Unknown",
        };
        assert_eq!(kind, case["expected"], "{case}");
    }
}

fn object(properties: &Properties) -> Map<String, Value> {
    properties.iter().map(|(name, value)| (name.to_owned(), value.map_or(Value::Null, Value::from))).collect()
}

#[test]
fn messages_have_the_properties_of_their_topic() {
    for case in cases(&["inbound_message"]) {
        let expected = &case["expected"];
        match Published::parse(case["input"]["topic"].as_str().unwrap()) {
            Published::Message { from, bag } => {
                let mut message = Message::default();
                property_bag::read(&bag, &mut message);
                let mut system = object(&message.system);
                system.insert("connectionDeviceId".to_owned(), from.device.to_string().into());
                system.extend(from.module.map(|module| ("connectionModuleId".to_owned(), module.to_string().into())));
                assert_eq!(Value::from(object(&message.properties)), expected["properties"], "{case}");
                assert_eq!(Value::from(system), expected["systemProperties"], "{case}");
            }
            other => assert!(expected["ok"] == false && other == Published::Unknown, "{case}: {other:?}"),
        }
    }
}

#[test]
fn clients_say_what_they_are() {
    for case in cases(&["product_info"]).iter().filter(|case| case["input"]["callerProductInfo"] == "") {
        let username = Username::parse(case["input"]["username"].as_str().unwrap()).unwrap();
        assert_eq!(username.client_type.unwrap_or_default(), case["expected"], "{case}");
    }
}

#[tokio::test]
async fn clients_are_who_their_user_name_says() {
    for case in cases(&["connect_identity"]) {
        let (input, hub) = (&case["input"], MemoryHub::new());
        if input["authenticator_accepts"] == false {
            hub.set(|state| state.refusal = Some(Refusal::Unauthorized("no".to_owned())));
        }
        let token = if input["credential"] == "client_cert" { "" } else { TOKEN };
        let username = input["username"].as_str().map(str::to_owned);
        let connect = Connect { username, ..connect(input["clientId"].as_str().unwrap(), token) };
        let (_client, answer) = RawClient::connect(&hub, connect).await;
        let Some(Packet::ConnAck(ConnAck { code, .. })) = answer else { panic!("{case}: {answer:?}") };
        let accepted = case["expected"]["authenticated"] == true;
        let meant = if accepted { ConnectReturnCode::Accepted } else { ConnectReturnCode::NotAuthorized };
        assert_eq!(code, meant, "{case}");
    }
}
