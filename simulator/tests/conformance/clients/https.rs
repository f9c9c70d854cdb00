//! A client of HTTPS: a connection for each request.

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::request::Builder;
use axum::http::{HeaderMap, Request};
use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_hub::message::{Message, system};
use serde_json::Value;

use super::client::{Client, Proof, Received, Refused};
use crate::door::ask;
use crate::site::{Listeners, Site};

const VERSION: &str = "api-version=2021-04-12";

/// Headers of system properties, as the Node SDK sends them.
const SYSTEM: [(&str, &str); 11] = [
    ("IoTHub-MessageId", system::MESSAGE_ID),
    ("IoTHub-CorrelationId", system::CORRELATION_ID),
    ("IoTHub-UserId", system::USER_ID),
    ("iothub-to", system::TO),
    ("IoTHub-Expiry", system::EXPIRY),
    ("IoTHub-Ack", system::ACK),
    ("iothub-contenttype", system::CONTENT_TYPE),
    ("iothub-contentencoding", system::CONTENT_ENCODING),
    ("iothub-interface-id", system::INTERFACE_ID),
    ("iothub-creationtimeutc", system::CREATION_TIME),
    ("dt-subject", system::SUBJECT),
];

/// What an identity asks with.
pub struct HttpsClient<'a> {
    site: &'a Site,
    at: Listeners,
    identity: String,
    proof: Proof,
}

impl<'a> HttpsClient<'a> {
    pub fn new(site: &'a Site, at: Listeners, identity: &str, proof: &Proof) -> Self {
        Self { site, at, identity: identity.to_owned(), proof: proof.clone() }
    }

    /// Asks with the client's proof.
    pub async fn ask(&self, mut request: Builder, body: impl Into<Body>) -> (u16, HeaderMap, Bytes) {
        if let Some(token) = &self.proof.token {
            request = request.header("Authorization", token);
        }
        let request = request.header("Host", "hub").body(body.into()).unwrap();
        ask(&self.site.authority, self.at, self.proof.handshake(), request).await
    }

    /// Calls a method, as the Node SDK does: without `api-version`.
    pub async fn call(&self, target: &str, body: &Value) -> (u16, Value) {
        let path = format!("/twins/{}/methods", target.replace('/', "/modules/"));
        let request = Request::post(path).header("x-ms-edge-moduleId", &self.identity);
        let request = request.header("Content-Type", "application/json");
        let (status, _, body) = self.ask(request, body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
    }

    fn path(&self, end: &str) -> String {
        format!("/devices/{}/messages/{end}?{VERSION}", self.identity.replace('/', "/modules/"))
    }
}

#[async_trait]
impl Client for HttpsClient<'_> {
    async fn send(&mut self, message: &Message) -> Result<(), Refused> {
        let mut request = Request::post(self.path("events"));
        for (header, name) in SYSTEM {
            if let Some(value) = message.system.get(name) {
                request = request.header(header, value);
            }
        }
        for (name, value) in message.properties.iter() {
            request = request.header(format!("iothub-app-{name}"), value.unwrap_or_default());
        }
        match self.ask(request, message.body.clone()).await {
            (204, ..) => Ok(()),
            (status, headers, _) => {
                assert!(headers.contains_key("iothub-errorcode"));
                Err(Refused::Status(status))
            }
        }
    }

    /// Requests are all it does.
    async fn listen(&mut self, feature: Feature) {
        assert_eq!(feature, Feature::CloudToDevice);
    }

    async fn receive(&mut self) -> Received {
        let (headers, body) = loop {
            // Nothing tells when there is a message.
            match self.ask(Request::get(self.path("devicebound")), Body::empty()).await {
                (200, headers, body) => break (headers, body),
                (status, ..) => assert_eq!(status, 204),
            }
        };
        let mut message = Message::new(body);
        let text = |value: &axum::http::HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
        for (header, name) in SYSTEM {
            if let Some(value) = headers.get(header) {
                message.system.set(name, text(value));
            }
        }
        for (name, value) in &headers {
            if let Some(name) = name.as_str().strip_prefix("iothub-app-") {
                message.properties.set(name, text(value));
            }
        }
        let redelivered = Some(headers["iothub-deliverycount"] != "1");
        let key = headers["etag"].to_str().unwrap().trim_matches('"').to_owned();
        Received { message, input: None, redelivered, key }
    }

    async fn settle(&mut self, received: &Received, settlement: Settlement) {
        let path = self.path(&format!("devicebound/{}", received.key));
        let request = match settlement {
            Settlement::Complete => Request::delete(path),
            Settlement::Reject => Request::delete(format!("{path}&reject")),
            Settlement::Abandon => Request::post(path.replace('?', "/abandon?")),
        };
        assert_eq!(self.ask(request.header("If-Match", &received.key), Body::empty()).await.0, 204);
    }
}
