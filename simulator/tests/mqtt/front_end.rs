//! What the front end makes of what clients say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::gateway::{Credential, Delivery as HubDelivery, Destination, Feature, Refusal, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_hub::method::MethodRequest;
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode};
use edgectl_wire::mqtt::packet::{Packet, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::{SubAck, Subscribe};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::memory_hub::MemoryHub;
use crate::raw_client::{EVENTS, MODULE, RawClient, TOKEN, certificate, connect, id, publish, subscribe};

fn accepted(session_present: bool) -> Packet {
    Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Accepted })
}

fn refused(code: ConnectReturnCode) -> Packet {
    Packet::ConnAck(ConnAck { session_present: false, code })
}

#[tokio::test]
async fn clients_are_let_in_under_their_own_name_or_told_why_not() {
    let hub = MemoryHub::new();
    let other_name = Connect { client_id: "edge/other".to_owned(), ..connect(MODULE, TOKEN) };
    let no_version = Connect { username: Some("hub/edge/m/".to_owned()), ..connect(MODULE, TOKEN) };
    let no_username = Connect { username: None, password: None, ..connect(MODULE, TOKEN) };
    for (connect, answer) in [
        (connect(MODULE, TOKEN), accepted(false)),
        (connect("edge", TOKEN), accepted(false)),
        (connect(MODULE, "no token"), refused(ConnectReturnCode::NotAuthorized)),
        (other_name, refused(ConnectReturnCode::NotAuthorized)),
        (no_version, refused(ConnectReturnCode::NotAuthorized)),
        (no_username, refused(ConnectReturnCode::NotAuthorized)),
        (Connect { protocol_level: 5, ..connect(MODULE, TOKEN) }, refused(ConnectReturnCode::ProtocolVersion)),
    ] {
        let (mut client, answered) = RawClient::connect(&hub, connect.clone()).await;
        assert_eq!(answered, Some(answer.clone()), "{connect:?}");
        if answer != accepted(false) {
            assert_eq!(client.next().await, None, "{connect:?}");
        }
    }
    // Code 5 would end the tries of an SDK for good, so what passes has another one.
    hub.set(|state| state.refusal = Some(Refusal::Unavailable("starting".to_owned())));
    let (_, answered) = RawClient::connect(&hub, connect(MODULE, TOKEN)).await;
    assert_eq!(answered, Some(refused(ConnectReturnCode::ServerUnavailable)));
}

#[tokio::test]
async fn passwords_certificates_and_chains_are_the_proof() {
    let hub = MemoryHub::new();
    let username = format!("hub/{MODULE}/?api-version=1&auth-chain=edge%2Fm%3Bedge");
    RawClient::connect(&hub, connect(MODULE, TOKEN)).await;
    RawClient::connect(&hub, connect(MODULE, "")).await;
    RawClient::connect(&hub, Connect { username: Some(username), ..connect(MODULE, TOKEN) }).await;
    let chain = Credential::OnBehalfOf { token: TOKEN.to_owned(), chain: "edge/m;edge".to_owned() };
    let proofs = [Credential::Token(TOKEN.to_owned()), Credential::Certificate(certificate()), chain];
    assert_eq!(hub.read(|state| state.credentials.clone()), proofs);
}

#[tokio::test]
async fn anything_before_connect_ends_the_connection() {
    let hub = MemoryHub::new();
    let mut client = RawClient::open(&hub);
    client.send([Packet::PingReq]).await;
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn publishes_are_acknowledged_in_order_when_the_hub_has_them_and_hold_up_nothing() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    hub.set(|state| state.holds_messages = true);
    let unknown = publish("devices/edge/messages/eve/", Some(3), "dropped");
    client.send([publish(EVENTS, Some(1), "a"), publish(EVENTS, None, "b"), publish(EVENTS, Some(2), "c")]).await;
    client.send([unknown, publish(EVENTS, Some(4), "d"), Packet::PingReq]).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    hub.set(|state| state.holds_messages = false);
    for number in 1..=4 {
        assert_eq!(client.next().await, Some(Packet::PubAck(id(number))));
    }
    assert_eq!(hub.bodies(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn publishes_that_wait_together_are_given_to_the_hub_together() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    client.send((1..=20).map(|number| publish(EVENTS, Some(number), "x"))).await;
    for number in 1..=20 {
        assert_eq!(client.next().await, Some(Packet::PubAck(id(number))));
    }
    assert_eq!(hub.read(|state| state.batches.clone()), [20]);
}

#[tokio::test]
async fn more_publishes_than_the_window_holds_all_arrive() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    client.send((1..=1000).map(|number| publish(EVENTS, Some(number), number.to_string()))).await;
    for number in 1..=1000 {
        assert_eq!(client.next().await, Some(Packet::PubAck(id(number))));
    }
    assert_eq!(hub.bodies(), (1..=1000).map(|number: u16| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_published_before_something_forbidden_is_kept() {
    let twice = Packet::Publish(Publish {
        topic: EVENTS.to_owned(),
        payload: Bytes::new(),
        delivery: Delivery::ExactlyOnce { id: id(9), duplicate: false },
        retain: false,
    });
    for forbidden in [
        twice,
        publish(EVENTS, Some(9), vec![b'x'; 262_145]),
        publish("devices/other/messages/events/", Some(9), "x"),
        publish("$iothub/twin/nonsense/?$rid=1", Some(9), "x"),
        publish("$iothub/twin/GET/", Some(9), " "),
        Packet::PingResp,
    ] {
        let hub = MemoryHub::new();
        let mut client = RawClient::module(&hub).await;
        let label = format!("{forbidden:?}").chars().take(90).collect::<String>();
        client.send([publish(EVENTS, Some(1), "a"), forbidden, publish(EVENTS, Some(2), "b")]).await;
        assert_eq!(client.next().await, Some(Packet::PubAck(id(1))), "{label}");
        assert_eq!(client.next().await, None, "{label}");
        assert_eq!(hub.bodies(), ["a"], "{label}");
    }
}

#[tokio::test]
async fn what_a_client_sends_just_before_it_leaves_arrives() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    hub.set(|state| state.holds_messages = true);
    let report = publish("$iothub/twin/PATCH/properties/reported/?$rid=1", None, r#"{"a":1}"#);
    client.send([publish(EVENTS, None, "last words"), report, Packet::Disconnect]).await;
    drop(client);
    hub.set(|state| state.holds_messages = false);
    hub.until(|state| state.detached == 1).await;
    assert_eq!(hub.bodies(), ["last words"]);
    assert_eq!(hub.read(|state| state.reported.clone()), [json!({ "a": 1 })]);
}

#[tokio::test]
async fn the_bag_becomes_properties() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    // As the Node SDK sends it: the output first, a slash at the end.
    let topic = format!("{EVENTS}%24.on=out2&%24.mid=m%201&%24.ct=application%2Fjson&k=c%3Dd%26e/");
    client.send([publish(&topic, Some(1), "{}")]).await;
    client.next().await;
    hub.read(|state| {
        let message = &state.messages[0];
        assert_eq!(message.system.get(system::OUTPUT_NAME), Some("out2"));
        assert_eq!(message.system.get(system::MESSAGE_ID), Some("m 1"));
        assert_eq!(message.system.get(system::CONTENT_TYPE), Some("application/json"));
        assert_eq!(message.properties.iter().collect::<Vec<_>>(), [("k", Some("c=d&e"))]);
    });
}

#[tokio::test]
async fn twins_are_answered_to_who_asked_subscribed_or_not() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    client.send([publish("$iothub/twin/GET/?$rid=7", None, " ")]).await;
    let answer = client.next_publish().await;
    assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=7");
    let twin: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(twin["desired"]["$version"], 2);

    let report = |body: &'static str| publish("$iothub/twin/PATCH/properties/reported/?$rid=8", None, body);
    client.send([report(r#"{"a":1}"#)]).await;
    let answer = client.next_publish().await;
    assert_eq!((answer.topic.as_str(), answer.payload.len()), ("$iothub/twin/res/204/?$rid=8", 0));
    // The cloud hub tells the version.
    hub.set(|state| state.version = Some(5));
    client.send([report(r#"{"a":2}"#)]).await;
    assert_eq!(client.next_publish().await.topic, "$iothub/twin/res/204/?$rid=8&$version=5");

    for wrong in ["[1]", "{"] {
        client.send([report(wrong)]).await;
        let answer = client.next_publish().await;
        assert_eq!(answer.topic, "$iothub/twin/res/400/?$rid=8", "{wrong}");
        let body: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(body["errorCode"], 400, "{wrong}");
    }

    // Without a number there is no answer, but it counts.
    let silent = publish("$iothub/twin/PATCH/properties/reported/", Some(3), r#"{"b":1}"#);
    client.send([silent, Packet::PingReq]).await;
    let answers = [client.next().await, client.next().await];
    assert!(answers.contains(&Some(Packet::PubAck(id(3)))) && answers.contains(&Some(Packet::PingResp)));
    hub.until(|state| state.reported.contains(&json!({ "b": 1 }))).await;
}

#[tokio::test]
async fn a_slow_twin_holds_up_nothing_else() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    hub.set(|state| state.holds_twins = true);
    client.send([publish("$iothub/twin/GET/?$rid=7", None, " "), Packet::PingReq]).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    client.send([publish(EVENTS, Some(1), "a")]).await;
    assert_eq!(client.next().await, Some(Packet::PubAck(id(1))));
    client.send([subscribe(2, "$iothub/methods/POST/#")]).await;
    assert!(matches!(client.next().await, Some(Packet::SubAck(_))));
    hub.set(|state| state.holds_twins = false);
    assert_eq!(client.next_publish().await.topic, "$iothub/twin/res/200/?$rid=7");
}

#[tokio::test]
async fn every_filter_is_granted_and_some_mean_something() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let filters = [
        "devices/edge/modules/m/inputs/#",
        "$iothub/methods/POST/#",
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
        "anything/+/else",
    ];
    let filters = filters.map(|filter| (filter.to_owned(), QualityOfService::ExactlyOnce)).to_vec();
    client.send([Packet::Subscribe(Subscribe { id: id(1), filters })]).await;
    let granted = vec![Some(QualityOfService::AtLeastOnce); 5];
    assert_eq!(client.next().await, Some(Packet::SubAck(SubAck { id: id(1), granted })));
    let features = hub.read(|state| state.features.values().next().cloned().unwrap_or_default());
    assert_eq!(
        features.into_iter().collect::<Vec<_>>(),
        [Feature::Inputs, Feature::Methods, Feature::DesiredProperties]
    );
}

#[tokio::test]
async fn deliveries_are_settled_by_the_acknowledgement_that_names_them() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    client.send([subscribe(1, "devices/edge/modules/m/inputs/#")]).await;
    client.next().await;
    let link = hub.link(MODULE, Feature::Inputs).await;
    let deliver = |body: &'static str, redelivered| {
        let (link, mut message) = (link.clone(), Message::new(body));
        message.properties.set("k", "a b".to_owned());
        message.system.set(system::CONNECTION_DEVICE_ID, "edge".to_owned());
        message.system.set(system::OUTPUT_NAME, "out".to_owned());
        let delivery =
            HubDelivery { destination: Destination::Input("in1".into()), message: Arc::new(message), redelivered };
        tokio::spawn(async move { link.deliver_one(delivery).await })
    };
    let first = deliver("first", false);
    let publish = client.next_publish().await;
    assert_eq!(publish.topic, "devices/edge/modules/m/inputs/in1/k=a%20b&%24.cdid=edge");
    let Delivery::AtLeastOnce { id: first_id, duplicate: false } = publish.delivery else { panic!("{publish:?}") };
    let second = deliver("second", true);
    let publish = client.next_publish().await;
    let Delivery::AtLeastOnce { id: second_id, duplicate: true } = publish.delivery else { panic!("{publish:?}") };
    client.send([Packet::PubAck(second_id)]).await;
    assert_eq!(second.await.unwrap(), Ok(Settlement::Complete));
    assert!(!first.is_finished());
    client.send([Packet::PubAck(first_id)]).await;
    assert_eq!(first.await.unwrap(), Ok(Settlement::Complete));
    let third = deliver("third", false);
    client.next_publish().await;
    drop(client);
    third.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn methods_are_answered_by_the_number_that_names_them() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    client.send([subscribe(1, "$iothub/methods/POST/#")]).await;
    client.next().await;
    let link = hub.link(MODULE, Feature::Methods).await;
    for (status, answered) in [("200", 200), ("-1", -1), ("well", 400_000)] {
        let request = MethodRequest {
            name: "reset now".to_owned(),
            payload: Bytes::from_static(b"{}"),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::ZERO,
        };
        let link = link.clone();
        let call = tokio::spawn(async move { link.invoke(request).await });
        let asked = client.next_publish().await;
        let number = asked.topic.strip_prefix("$iothub/methods/POST/reset now/?$rid=").unwrap().to_owned();
        // Answers to what nobody asked are nobody's.
        client.send([publish("$iothub/methods/res/500/?$rid=other", None, "null")]).await;
        client.send([publish(&format!("$iothub/methods/res/{status}/?$rid={number}"), None, "[1]")]).await;
        let response = call.await.unwrap().unwrap();
        assert_eq!((response.status, &response.payload[..]), (answered, &b"[1]"[..]));
    }
}

#[tokio::test]
async fn changed_desired_properties_are_told_with_their_version() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    client.send([subscribe(1, "$iothub/twin/PATCH/properties/desired/#")]).await;
    client.next().await;
    let link = hub.link(MODULE, Feature::DesiredProperties).await;
    link.desired_changed(json!({ "a": 2, "$version": 3 })).await.unwrap();
    let publish = client.next_publish().await;
    assert_eq!(publish.topic, "$iothub/twin/PATCH/properties/desired/?$version=3");
    assert_eq!(&publish.payload[..], br#"{"a":2,"$version":3}"#);
}

#[tokio::test]
async fn a_second_connection_ends_the_first_and_finds_its_session() {
    let hub = MemoryHub::new();
    let mut first = RawClient::module(&hub).await;
    first.send([subscribe(1, "$iothub/methods/POST/#")]).await;
    first.next().await;
    let (_second, answer) = RawClient::connect(&hub, connect(MODULE, TOKEN)).await;
    assert_eq!(answer, Some(accepted(true)));
    assert_eq!(first.next().await, None);
    let clean = Connect { clean_session: true, ..connect(MODULE, TOKEN) };
    let (_third, answer) = RawClient::connect(&hub, clean).await;
    assert_eq!(answer, Some(accepted(false)));
}

#[tokio::test(start_paused = true)]
async fn silent_clients_are_closed_after_half_as_long_again_as_they_promised() {
    let hub = MemoryHub::new();
    let mut client = RawClient::open(&hub);
    let start = Instant::now();
    assert_eq!(client.next().await, None);
    assert_eq!(start.elapsed().as_secs(), 60, "without CONNECT");

    let mut client = RawClient::module(&hub).await;
    tokio::time::advance(Duration::from_secs(14)).await;
    client.send([Packet::PingReq]).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    let start = Instant::now();
    assert_eq!(client.next().await, None);
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_token_whatever_the_token_says() {
    let hub = MemoryHub::new();
    let silent = |token: &str| Connect { keep_alive: 0, ..connect(MODULE, token) };
    // Long over: not even the grace is left.
    let (mut client, _) = RawClient::connect(&hub, silent("SharedAccessSignature sr=r&sig=c2ln&se=1000")).await;
    assert_eq!(client.next().await, None);
    // So far away that it cannot be counted.
    let token = format!("SharedAccessSignature sr=r&sig=c2ln&se={}", u64::MAX);
    let (mut client, answer) = RawClient::connect(&hub, silent(&token)).await;
    assert!(answer.is_some());
    client.send([Packet::PingReq]).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_closed_before_much_is_kept_for_it() {
    let hub = MemoryHub::new();
    let (mut client, _) = RawClient::connect(&hub, Connect { keep_alive: 0, ..connect(MODULE, TOKEN) }).await;
    client.send([subscribe(1, "$iothub/twin/PATCH/properties/desired/#")]).await;
    let link = hub.link(MODULE, Feature::DesiredProperties).await;
    let patch = json!({ "a": "x".repeat(30_000), "$version": 3 });
    let mut told = 0;
    while link.desired_changed(patch.clone()).await.is_ok() {
        told += 1;
    }
    assert!(told < 250, "{told}");
    hub.until(|state| state.detached == 1).await;
}
