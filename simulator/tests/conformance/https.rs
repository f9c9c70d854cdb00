//! Messages over HTTPS.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_hub::message::{MAX_MESSAGE_BYTES, Message, system};
use serde_json::{Value, json};

use crate::door::{Handshake, ask};
use crate::site::{Site, id};

/// A message over HTTPS.
fn post(identity: &str, token: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let path = format!("/devices/{}/messages/events?api-version=2021-04-12", identity.replace('/', "/modules/"));
    let mut request = Request::post(path).header("Host", "hub");
    if let Some(token) = token {
        request = request.header("Authorization", token);
    }
    request.body(body.into()).unwrap()
}

const BATCH: &str = "application/vnd.microsoft.iothub.json; charset=utf-8";

fn with(mut request: Request<Body>, headers: &[(&'static str, &'static str)]) -> Request<Body> {
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn code(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    let text = body["Message"].as_str().unwrap();
    text.strip_prefix("ErrorCode:").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn headers_become_properties() {
    let site = Site::start().await;
    let token = site.token("edge/m1");
    for at in site.hubs() {
        let request = with(
            post("edge/m1", Some(&token), r#"{"t": 1}"#),
            &[
                ("iothub-messageid", "m-1"),
                ("iothub-correlationid", "c-1"),
                ("iothub-contenttype", "application/json"),
                ("iothub-contentencoding", "utf-8"),
                ("iothub-app-room", "kiln 3"),
                ("x-unrelated", "x"),
            ],
        );
        assert_eq!(ask(&site.authority, at, Handshake::default(), request).await.0, 204);
    }
    // The edge hub has no route, so it keeps nothing; it took the message all the same.
    assert_eq!(site.edge.status().counters.accepted["edge/m1"], 1);
    let events = site.events();
    assert_eq!(events.len(), 1);
    let event = serde_json::to_value(&events[0]).unwrap();
    assert_eq!((&event["deviceId"], &event["moduleId"]), (&json!("edge"), &json!("m1")));
    assert_eq!(event["properties"], json!({ "room": "kiln 3" }));
    assert_eq!(event["body"], json!({ "t": 1 }));
    for (name, value) in [("messageId", "m-1"), ("cid", "c-1"), ("contentType", "application/json")] {
        assert_eq!(event["systemProperties"][name], value, "{event}");
    }
    site.stop().await;
}

#[tokio::test]
async fn many_come_in_one_array() {
    let site = Site::start().await;
    site.add_leaf("leaf", None);
    let token = site.token("leaf");
    let batch = json!([
        { "body": BASE64.encode("one"), "properties": { "iothub-app-Room": "Kiln", "IoTHub-MessageId": "1" } },
        { "body": BASE64.encode("two") },
    ]);
    let request = with(post("leaf", Some(&token), batch.to_string()), &[("content-type", BATCH)]);
    assert_eq!(ask(&site.authority, site.cloud_at, Handshake::default(), request).await.0, 204);
    let events = site.events();
    let events: Vec<Value> = events.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    assert_eq!(events.iter().map(|event| &event["body"]).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(events[0]["properties"], json!({ "Room": "Kiln" }));
    assert_eq!(events[0]["systemProperties"]["messageId"], "1");
    for wrong in ["", "{}", r#"[{"body": 1}]"#, r#"[{"body": "*"}]"#] {
        let request = with(post("leaf", Some(&token), wrong), &[("content-type", BATCH)]);
        let (status, _, body) = ask(&site.authority, site.cloud_at, Handshake::default(), request).await;
        assert_eq!((status, code(&body).as_str()), (400, "ArgumentInvalid"), "{wrong}");
    }
    site.stop().await;
}

#[tokio::test]
async fn errors_have_the_services_shape() {
    let site = Site::start().await;
    site.add_leaf("leaf", None);
    let token = site.token("leaf");
    for at in site.hubs() {
        let large = post("leaf", Some(&token), vec![b'x'; MAX_MESSAGE_BYTES + 1]);
        let (status, headers, body) = ask(&site.authority, at, Handshake::default(), large).await;
        assert_eq!((status, code(&body).as_str()), (413, "MessageTooLarge"));
        assert_eq!(headers["iothub-errorcode"], "MessageTooLarge");
        let (status, _, body) = ask(&site.authority, at, Handshake::default(), post("leaf", None, "x")).await;
        assert_eq!((status, code(&body).as_str()), (401, "IotHubUnauthorizedAccess"));
        let exact = post("leaf", Some(&token), vec![b'x'; MAX_MESSAGE_BYTES]);
        assert_eq!(ask(&site.authority, at, Handshake::default(), exact).await.0, 204);
    }
    site.stop().await;
}

/// Asks for messages to the device `leaf`, or settles one.
async fn ask_for(site: &Site, method: &str, end: &str) -> (u16, HeaderMap, Bytes) {
    let token = site.token("leaf");
    let path = format!("/devices/leaf/messages/devicebound{end}");
    let request = Request::builder().method(method).uri(path).header("Host", "hub").header("Authorization", token);
    ask(&site.authority, site.cloud_at, Handshake::default(), request.body(Body::empty()).unwrap()).await
}

/// The lock that a message was fetched with, as one of the SDKs sends it back: without the quotes.
fn lock(headers: &HeaderMap) -> String {
    headers["etag"].to_str().unwrap().trim_matches('"').to_owned()
}

#[tokio::test]
async fn devices_fetch_and_settle_their_messages() {
    let site = Site::start().await;
    site.add_leaf("leaf", None);
    assert_eq!(ask_for(&site, "GET", "?api-version=2021-04-12").await.0, 204);
    for text in ["one", "two"] {
        let mut message = Message::new(text);
        message.system.set(system::MESSAGE_ID, text.to_owned());
        message.properties.set("room", "kiln".to_owned());
        site.cloud.send_to_device(&id("leaf").device, message).unwrap();
    }
    let (status, first, body) = ask_for(&site, "GET", "?api-version=2021-04-12").await;
    assert_eq!((status, &body[..]), (200, &b"one"[..]));
    assert_eq!(
        (&first["iothub-messageid"], &first["iothub-app-room"]),
        (&"one".parse().unwrap(), &"kiln".parse().unwrap())
    );
    assert_eq!(
        (&first["iothub-deliverycount"], &first["iothub-to"]),
        (&"1".parse().unwrap(), &"/devices/leaf/messages/deviceBound".parse().unwrap())
    );
    assert!(first.contains_key("iothub-sequencenumber") && first.contains_key("iothub-enqueuedtime"));

    // Given back, it comes again before the other.
    assert_eq!(ask_for(&site, "POST", &format!("/{}/abandon?api-version=1", lock(&first))).await.0, 204);
    let (_, again, body) = ask_for(&site, "GET", "").await;
    assert_eq!((&body[..], &again["iothub-deliverycount"]), (&b"one"[..], &"2".parse().unwrap()));
    let (status, _, body) = ask_for(&site, "DELETE", &format!("/{}", lock(&first))).await;
    assert_eq!((status, code(&body).as_str()), (412, "DeviceMessageLockLost"));
    assert_eq!(ask_for(&site, "DELETE", &format!("/{}?api-version=1", lock(&again))).await.0, 204);
    let (_, second, body) = ask_for(&site, "GET", "").await;
    assert_eq!(&body[..], b"two");
    assert_eq!(ask_for(&site, "DELETE", &format!("/{}?api-version=1&reject", lock(&second))).await.0, 204);
    assert_eq!(ask_for(&site, "GET", "").await.0, 204);

    let other = Request::get("/devices/leaf/messages/deviceBound").header("Authorization", site.token("edge"));
    let (status, _, _) =
        ask(&site.authority, site.cloud_at, Handshake::default(), other.body(Body::empty()).unwrap()).await;
    assert_eq!(status, 401);
    site.stop().await;
}
