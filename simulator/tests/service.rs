//! The service API of the cloud hub, asked as its clients ask: registry, twins, deployments, methods, and who may.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use edgectl_hub::clock::{Clock as _, SystemClock};
use edgectl_hub::cloud::hub::{CloudHub, CloudHubOptions};
use edgectl_hub::cloud::policies::OWNER as OWNER_POLICY;
use edgectl_hub::cloud::registry::new_key;
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::{SharedKey, encode, encoded_audience, make_token};
use edgectl_simulator::frontend::http::service::{Service, router};
use hyper::service::Service as _;
use hyper::{Method, Request, StatusCode};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tempfile::TempDir;

const HOST: &str = "hub.example";

struct Cloud {
    hub: Arc<CloudHub>,
    key: SharedKey,
    router: TowerToHyperService<axum::Router>,
    _directory: TempDir,
}

struct Answer {
    status: StatusCode,
    code: Option<String>,
    body: Value,
}

impl Cloud {
    fn open() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let key = SharedKey::from_base64(&new_key()).expect("a key");
        let (host, directory_of_hub) = (HOST.to_owned(), directory.path().to_owned());
        let options = CloudHubOptions { host, directory: directory_of_hub, owner_key: key.clone() };
        let hub = CloudHub::open(options, Arc::new(SystemClock)).expect("a hub");
        let router = TowerToHyperService::new(router(Service { hub: Arc::clone(&hub) }));
        Self { hub, key, router, _directory: directory }
    }

    fn owner(&self) -> String {
        make_token(&self.key, &encode(HOST), SystemClock.now_seconds() + 600, Some(OWNER_POLICY))
    }

    fn token_of(&self, identity: &str) -> String {
        let identity = Identity::parse(identity).expect("an identity");
        let key = self.hub.registry().require(&identity).expect("it is registered").record.keys().remove(0);
        make_token(&key, &encoded_audience(HOST, &identity), SystemClock.now_seconds() + 600, None)
    }

    async fn ask_as(&self, token: &str, method: &str, path: &str, etag: Option<&str>, body: Option<&Value>) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(format!("{path}{}api-version=2021-04-12", if path.contains('?') { '&' } else { '?' }))
            .header("Authorization", token);
        if let Some(etag) = etag {
            request = request.header("If-Match", etag);
        }
        let body = match body {
            Some(body) => {
                request = request.header("Content-Type", "application/json; charset=utf-8");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let response = self.router.call(request.body(body).expect("a request")).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 10_000_000).await.expect("a body");
        let code = parts.headers.get("iothub-errorcode").map(|code| code.to_str().expect("text").to_owned());
        Answer { status: parts.status, code, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    async fn ask(&self, method: &str, path: &str, etag: Option<&str>, body: Option<Value>) -> Answer {
        self.ask_as(&self.owner(), method, path, etag, body.as_ref()).await
    }

    async fn with_edge() -> Self {
        let cloud = Self::open();
        let body = json!({ "deviceId": "edge", "capabilities": { "iotEdge": true } });
        assert_eq!(cloud.ask("PUT", "/devices/edge", None, Some(body)).await.status, 200);
        cloud
    }

    async fn module_names(&self) -> Vec<String> {
        let modules = self.ask("GET", "/devices/edge/modules", None, None).await.body;
        let names = modules.as_array().expect("modules").iter().map(|module| module["moduleId"].as_str());
        names.map(|name| name.expect("a name").to_owned()).collect()
    }
}

/// Checks an error: status, code in the header, and the shape that clients take apart.
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code.as_deref()), (status, Some(code)), "{}", answer.body);
    let members: Vec<_> = answer.body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["Message", "ExceptionMessage"]);
    let message = answer.body["Message"].as_str().expect("text");
    assert!(message.starts_with(&format!("ErrorCode:{code};")), "{message}");
    assert!(answer.body["ExceptionMessage"].as_str().is_some_and(|text| text.starts_with("Tracking ID:")));
}

#[tokio::test]
async fn devices_are_made_changed_and_removed() {
    let cloud = Cloud::open();
    let made = cloud.ask("PUT", "/devices/d1", None, Some(json!({ "deviceId": "d1" }))).await;
    assert_eq!(made.status, 200);
    let etag = made.body["etag"].as_str().unwrap().to_owned();
    let key = made.body["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
    assert_eq!(key.len(), 44);
    refused(
        &cloud.ask("PUT", "/devices/d1", None, Some(json!({ "deviceId": "d1" }))).await,
        409,
        "DeviceAlreadyExists",
    );

    let disabled = json!({ "deviceId": "d1", "status": "disabled", "statusReason": "old" });
    let changed = cloud.ask("PUT", "/devices/d1", Some(&format!("\"{etag}\"")), Some(disabled.clone())).await;
    assert_eq!((changed.status.as_u16(), &changed.body["status"]), (200, &json!("disabled")));
    let stale = cloud.ask("PUT", "/devices/d1", Some(&etag), Some(disabled.clone())).await;
    refused(&stale, 412, "PreconditionFailed");
    let unquoted = changed.body["etag"].as_str().unwrap();
    assert_eq!(cloud.ask("PUT", "/devices/d1", Some(unquoted), Some(disabled)).await.status, 200);

    let found = cloud.ask("GET", "/devices/d1", None, None).await.body;
    assert_eq!((&found["statusReason"], &found["connectionState"]), (&json!("old"), &json!("Disconnected")));
    assert_eq!(cloud.ask("GET", "/devices", None, None).await.body.as_array().unwrap().len(), 1);
    refused(&cloud.ask("DELETE", "/devices/d1", Some(&etag), None).await, 412, "PreconditionFailed");
    assert_eq!(cloud.ask("DELETE", "/devices/d1", Some("*"), None).await.status, 204);
    refused(&cloud.ask("GET", "/devices/d1", None, None).await, 404, "DeviceNotFound");
    refused(&cloud.ask("DELETE", "/devices/d1", None, None).await, 404, "DeviceNotFound");
    let bad = cloud.ask("PUT", "/devices/d2", None, Some(json!({ "status": "tired" }))).await;
    refused(&bad, 400, "ArgumentInvalid");
}

#[tokio::test]
async fn modules_are_made_listed_and_removed_with_their_device() {
    let cloud = Cloud::with_edge().await;
    assert_eq!(cloud.module_names().await, ["$edgeAgent", "$edgeHub"]);
    let body = json!({ "deviceId": "edge", "moduleId": "m", "managedBy": "IotEdge" });
    let made = cloud.ask("PUT", "/devices/edge/modules/m", None, Some(body.clone())).await;
    assert_eq!((made.status.as_u16(), &made.body["managedBy"]), (200, &json!("IotEdge")));
    let again = cloud.ask("PUT", "/devices/edge/modules/m", None, Some(body.clone())).await;
    refused(&again, 409, "ModuleAlreadyExistsOnDevice");
    refused(&cloud.ask("PUT", "/devices/nobody/modules/m", None, Some(body)).await, 404, "DeviceNotFound");
    refused(&cloud.ask("GET", "/devices/edge/modules/none", None, None).await, 404, "ModuleNotFound");
    assert_eq!(cloud.ask("DELETE", "/devices/edge/modules/m", Some("*"), None).await.status, 204);
    assert_eq!(cloud.module_names().await, ["$edgeAgent", "$edgeHub"]);
    cloud.ask("DELETE", "/devices/edge", None, None).await;
    refused(&cloud.ask("GET", "/devices/edge/modules/$edgeHub", None, None).await, 404, "ModuleNotFound");
}

#[tokio::test]
async fn twins_are_patched_and_replaced_under_their_etags() {
    let cloud = Cloud::with_edge().await;
    let path = "/twins/edge/modules/$edgeHub";
    let first = cloud.ask("GET", path, None, None).await.body;
    assert_eq!(first["properties"]["desired"]["$version"], 1);
    let etag = first["etag"].as_str().unwrap().to_owned();
    let change = json!({ "properties": { "desired": { "a": { "b": 1 }, "c": 2 } } });
    let patched = cloud.ask("PATCH", path, Some(&format!("\"{etag}\"")), Some(change.clone())).await;
    let desired = &patched.body["properties"]["desired"];
    assert_eq!((patched.status.as_u16(), &desired["a"]["b"], &desired["$version"]), (200, &json!(1), &json!(2)));
    for stale in [etag.clone(), format!("\"{etag}\"")] {
        refused(&cloud.ask("PATCH", path, Some(&stale), Some(change.clone())).await, 412, "PreconditionFailed");
    }
    let etag = patched.body["etag"].as_str().unwrap().to_owned();
    let replacement = json!({ "properties": { "desired": { "a": null, "d": 3 } } });
    let replaced = cloud.ask("PUT", path, Some(&etag), Some(replacement)).await;
    let desired = replaced.body["properties"]["desired"].as_object().unwrap();
    let names: Vec<_> = desired.keys().filter(|name| !name.starts_with('$')).collect();
    assert_eq!(names, ["d"]);
    let any = cloud.ask("PATCH", path, Some("*"), Some(json!({ "properties": { "desired": { "d": null } } }))).await;
    assert_eq!(any.body["properties"]["desired"]["$version"], 4);
    let tagged = cloud.ask("PATCH", "/twins/edge", None, Some(json!({ "tags": { "site": "north" } }))).await;
    assert_eq!(tagged.body["tags"], json!({ "site": "north" }));
    let large = json!({ "properties": { "desired": { "a": "x".repeat(40_000) } } });
    refused(&cloud.ask("PATCH", path, None, Some(large)).await, 400, "ArgumentInvalid");
    refused(&cloud.ask("PATCH", path, Some("nonsense"), Some(json!({}))).await, 412, "PreconditionFailed");
    refused(&cloud.ask("GET", "/twins/nobody", None, None).await, 404, "DeviceNotFound");
}

fn content(modules: &Value) -> Value {
    let mut sections = json!({
        "$edgeAgent": { "properties.desired": { "schemaVersion": "1.1", "modules": modules } },
        "$edgeHub": { "properties.desired": { "schemaVersion": "1.1", "routes": {} } },
    });
    for name in modules.as_object().expect("modules").keys() {
        sections[name] = json!({ "properties.desired": { "name": name } });
    }
    json!({ "modulesContent": sections })
}

#[tokio::test]
async fn a_deployment_makes_and_removes_modules() {
    let cloud = Cloud::with_edge().await;
    let path = "/devices/edge/applyConfigurationContent";
    cloud.ask("PUT", "/devices/edge/modules/own", None, Some(json!({ "moduleId": "own" }))).await;
    let applied = cloud.ask("POST", path, None, Some(content(&json!({ "a": {}, "b": {} })))).await;
    assert_eq!(applied.status, 204);
    assert_eq!(cloud.module_names().await, ["$edgeAgent", "$edgeHub", "a", "b", "own"]);
    let twin = cloud.ask("GET", "/twins/edge/modules/a", None, None).await.body;
    assert_eq!(twin["properties"]["desired"]["name"], "a");
    assert_eq!(cloud.ask("POST", path, None, Some(content(&json!({ "b": {}, "c": {} })))).await.status, 204);
    assert_eq!(cloud.module_names().await, ["$edgeAgent", "$edgeHub", "b", "c", "own"]);
    refused(
        &cloud.ask("POST", "/devices/none/applyConfigurationContent", None, Some(content(&json!({})))).await,
        404,
        "DeviceNotFound",
    );
}

#[tokio::test]
async fn wrong_content_changes_nothing() {
    let cloud = Cloud::with_edge().await;
    let path = "/devices/edge/applyConfigurationContent";
    cloud.ask("POST", path, None, Some(content(&json!({ "a": {} })))).await;
    let twin = async |module: &str| cloud.ask("GET", &format!("/twins/edge/modules/{module}"), None, None).await.body;
    let before = (cloud.module_names().await, twin("a").await, twin("$edgeHub").await);
    let mut not_an_object = content(&json!({ "b": {} }));
    not_an_object["modulesContent"]["b"] = json!({ "properties.desired": 7 });
    let mut bad_name = content(&json!({ "b": {} }));
    bad_name["modulesContent"]["b/c"] = json!({ "properties.desired": {} });
    let mut layered = content(&json!({ "b": {} }));
    layered["modulesContent"]["b"] = json!({ "properties.desired.x": {} });
    let mut too_large = content(&json!({ "b": {} }));
    too_large["modulesContent"]["b"] = json!({ "properties.desired": { "x": "y".repeat(40_000) } });
    let no_agent = json!({ "modulesContent": { "$edgeHub": { "properties.desired": {} } } });
    for wrong in [json!({}), not_an_object, bad_name, layered, too_large, no_agent] {
        refused(&cloud.ask("POST", path, None, Some(wrong)).await, 400, "ArgumentInvalid");
        assert_eq!((cloud.module_names().await, twin("a").await, twin("$edgeHub").await), before);
    }
}

#[tokio::test(start_paused = true)]
async fn methods_that_cannot_be_called_are_told_in_the_services_words() {
    let cloud = Cloud::with_edge().await;
    let path = "/twins/edge/modules/$edgeHub/methods";
    let call =
        json!({ "methodName": "ping", "payload": null, "connectTimeoutInSeconds": 1, "responseTimeoutInSeconds": 5 });
    let absent = cloud.ask("POST", path, None, Some(call.clone())).await;
    refused(&absent, 404, "DeviceNotFound");
    assert!(absent.body["Message"].as_str().unwrap().contains("404103"), "{}", absent.body);
    refused(&cloud.ask("POST", "/twins/nobody/methods", None, Some(call.clone())).await, 404, "DeviceNotFound");
    silent::attach(&cloud.hub, "edge/$edgeHub").await;
    let silent = cloud.ask("POST", path, None, Some(call)).await;
    refused(&silent, 504, "GatewayTimeout");
    assert!(silent.body["Message"].as_str().unwrap().contains("504101"), "{}", silent.body);
    for wrong in [json!({}), json!({ "methodName": "x", "responseTimeoutInSeconds": 301 })] {
        refused(&cloud.ask("POST", path, None, Some(wrong)).await, 400, "ArgumentInvalid");
    }
}

#[tokio::test]
async fn only_the_policys_holder_may_ask_the_service() {
    let cloud = Cloud::with_edge().await;
    let soon = SystemClock.now_seconds() + 600;
    let other = SharedKey::from_base64(&new_key()).unwrap();
    let wrong = [
        String::new(),
        "nonsense".to_owned(),
        make_token(&other, &encode(HOST), soon, Some(OWNER_POLICY)),
        make_token(&cloud.key, &encode(HOST), soon, Some("device")),
        make_token(&cloud.key, &encode("other.example"), soon, Some(OWNER_POLICY)),
        make_token(&cloud.key, &encode(HOST), 1_600_000_000, Some(OWNER_POLICY)),
        cloud.token_of("edge"),
    ];
    for token in &wrong {
        for (method, path) in [("GET", "/devices"), ("GET", "/twins/edge"), ("DELETE", "/devices/edge")] {
            refused(&cloud.ask_as(token, method, path, None, None).await, 401, "IotHubUnauthorizedAccess");
        }
    }
    // Who may not ask is not told what else is wrong with the request.
    for path in ["/devices?top=some", "/twins/edge%ff", "/devices/edge/modules/%20"] {
        refused(&cloud.ask_as("", "GET", path, None, None).await, 401, "IotHubUnauthorizedAccess");
    }
    let about = "/devices/edge/modules/$edgeHub/devicesAndModulesInTargetDeviceScope";
    for (method, path) in [
        ("PUT", "/devices/edge"),
        ("PUT", "/devices/edge/modules/m"),
        ("POST", "/devices/edge/applyConfigurationContent"),
        ("POST", "/devices/edge/messages/devicebound"),
        ("PATCH", "/twins/edge"),
        ("PUT", "/twins/edge/modules/m"),
        ("POST", "/twins/edge/methods"),
        ("POST", about),
    ] {
        refused(&cloud.ask_as("", method, path, None, None).await, 401, "IotHubUnauthorizedAccess");
        // Without a body.
        refused(&cloud.ask(method, path, None, None).await, 400, "ArgumentInvalid");
    }
    refused(&cloud.ask("GET", "/no/such/path", None, None).await, 404, "NotFound");
}

#[tokio::test]
async fn a_device_manages_its_own_modules_and_no_others() {
    let cloud = Cloud::with_edge().await;
    cloud.ask("PUT", "/devices/other", None, Some(json!({ "deviceId": "other" }))).await;
    let body = json!({ "moduleId": "m", "managedBy": "IotEdge" });
    for token in [cloud.token_of("edge"), cloud.token_of("edge/$edgeHub")] {
        let ask =
            async |method, path| cloud.ask_as(&token, method, path, None, (method == "PUT").then_some(&body)).await;
        assert_eq!(ask("PUT", "/devices/edge/modules/m").await.status, 200);
        assert_eq!(ask("GET", "/devices/edge/modules").await.body.as_array().unwrap().len(), 3);
        assert_eq!(ask("DELETE", "/devices/edge/modules/m").await.status, 204);
        for (method, path) in
            [("PUT", "/devices/other/modules/m"), ("GET", "/devices/other/modules"), ("GET", "/devices/other")]
        {
            refused(&ask(method, path).await, 401, "IotHubUnauthorizedAccess");
        }
    }
    let module = cloud.token_of("edge/$edgeAgent");
    let made = cloud.ask_as(&module, "PUT", "/devices/edge/modules/x", None, Some(&body)).await;
    refused(&made, 401, "IotHubUnauthorizedAccess");
}

/// A client that listens and never answers.
mod silent {
    use std::sync::Arc;

    use async_trait::async_trait;
    use edgectl_hub::cloud::hub::CloudHub;
    use edgectl_hub::gateway::{
        Client, ClientLink, CloseReason, Delivery, Feature, Gateway as _, LinkClosed, SessionKind,
    };
    use edgectl_hub::method::{MethodRequest, MethodResponse};
    use edgectl_schemas::ids::Identity;
    use serde_json::Value;

    struct Silent;

    #[async_trait]
    impl ClientLink for Silent {
        fn deliver(&self, _: Vec<(Delivery, edgectl_hub::receipt::Receipt)>) {}
        async fn desired_changed(&self, _: Value) -> Result<(), LinkClosed> {
            Ok(())
        }
        async fn invoke(&self, _: MethodRequest) -> Result<MethodResponse, LinkClosed> {
            std::future::pending().await
        }
        fn close(&self, _: CloseReason) {}
    }

    pub async fn attach(hub: &CloudHub, identity: &str) {
        let client = Client { identity: Identity::parse(identity).expect("an identity"), expires_at: None };
        let attachment = hub.attach(&client, SessionKind::Clean, Arc::new(Silent)).await.expect("it is attached");
        hub.subscribe(&attachment, Feature::Methods).await.expect("a feature");
    }
}

#[tokio::test]
async fn messages_are_sent_to_devices_counted_and_removed() {
    let cloud = Cloud::open();
    let device = json!({ "deviceId": "d1" });
    cloud.ask("PUT", "/devices/d1", None, Some(device)).await;
    let message = |body: &str| json!({ "body": body, "properties": { "iothub-app-k": "v", "iothub-messageid": "m1" } });
    let send =
        async |messages: Value| cloud.ask("POST", "/devices/d1/messages/devicebound", None, Some(messages)).await;
    assert_eq!(send(json!([message("aGk="), message("aGk=")])).await.status, StatusCode::NO_CONTENT);
    let waiting = async || cloud.ask("GET", "/devices/d1", None, None).await.body["cloudToDeviceMessageCount"].clone();
    assert_eq!(waiting().await, 2);
    let received = cloud.hub.messages().receive(&Identity::parse("d1").unwrap().device).unwrap().unwrap();
    assert_eq!((&received.message.body[..], received.message.properties.get("k")), (&b"hi"[..], Some("v")));
    assert_eq!(received.message.system.get("messageId"), Some("m1"));

    assert_eq!(send(json!([message("*")])).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(send(json!([{ "body": "", "properties": { "x": "y" } }])).await.status, StatusCode::BAD_REQUEST);
    let large = message(&"AAAA".repeat(22_000));
    assert_eq!(send(json!([large])).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    for _ in 0..48 {
        assert_eq!(send(json!([message("aGk=")])).await.status, StatusCode::NO_CONTENT);
    }
    let full = send(json!([message("aGk=")])).await;
    assert_eq!((full.status, full.code.as_deref()), (StatusCode::FORBIDDEN, Some("DeviceMaximumQueueDepthExceeded")));
    let purged = cloud.ask("DELETE", "/devices/d1/commands", None, None).await;
    assert_eq!(purged.body, json!({ "totalMessagesPurged": 50, "deviceId": "d1", "moduleId": null }));
    assert_eq!(waiting().await, 0);
    let unknown = cloud.ask("POST", "/devices/nobody/messages/devicebound", None, Some(json!([message("")]))).await;
    assert_eq!((unknown.status, unknown.code.as_deref()), (StatusCode::NOT_FOUND, Some("DeviceNotFound")));
}

#[tokio::test]
async fn edge_hubs_ask_about_those_below_them_and_about_no_others() {
    let cloud = Cloud::open();
    let edge = |name: &str, parents: Value| json!({ "deviceId": name, "capabilities": { "iotEdge": true }, "parentScopes": parents });
    let put = async |body: Value| {
        let path = format!("/devices/{}", body["deviceId"].as_str().unwrap());
        cloud.ask("PUT", &path, None, Some(body)).await
    };
    let root = put(edge("root", json!([]))).await.body["deviceScope"].clone();
    let child = put(edge("child", json!([root]))).await.body["deviceScope"].clone();
    put(edge("sister", json!([root]))).await;
    let leaf = put(json!({ "deviceId": "leaf", "deviceScope": child })).await;
    assert_eq!((leaf.status, &leaf.body["parentScopes"]), (StatusCode::OK, &json!([child])));
    assert_eq!(put(json!({ "deviceId": "lost", "deviceScope": "nowhere" })).await.status, StatusCode::BAD_REQUEST);

    let ask = async |actor: &str, operation: &str, body: Value| {
        let token = cloud.token_of(&format!("{actor}/$edgeHub"));
        let path = format!("/devices/{actor}/modules/$edgeHub/{operation}");
        cloud.ask_as(&token, "POST", &path, None, Some(&body)).await
    };
    let scope = async |actor: &str, chain: &str| {
        ask(actor, "devicesAndModulesInTargetDeviceScope", json!({ "authChain": chain })).await
    };
    let names = |answer: &Answer| {
        let devices = answer.body["devices"].as_array().cloned().unwrap_or_default();
        devices.iter().map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&scope("root", "root").await), ["child", "root", "sister"]);
    assert_eq!(names(&scope("root", "child;root").await), ["child", "leaf"]);
    for (actor, chain) in
        [("child", "sister;child"), ("sister", "child;sister"), ("child", "root"), ("root", "leaf;root")]
    {
        assert_eq!(scope(actor, chain).await.status, StatusCode::UNAUTHORIZED, "{chain}");
    }
    let chain = json!({ "authChain": "child;root", "targetDeviceId": "child", "targetModuleId": "$edgeHub" });
    let one = ask("root", "getDeviceAndModuleOnBehalfOf", chain).await;
    assert_eq!((names(&one), &one.body["modules"][0]["moduleId"]), (vec!["child".to_owned()], &json!("$edgeHub")));

    let module = json!({ "authChain": "child;root", "module": { "moduleId": "m", "managedBy": "IotEdge" } });
    assert_eq!(ask("root", "putModuleOnBehalfOf", module.clone()).await.body["managedBy"], "IotEdge");
    assert_eq!(ask("root", "putModuleOnBehalfOf", module).await.status, StatusCode::OK, "again");
    let named = json!({ "authChain": "child;root", "moduleId": "m" });
    assert_eq!(ask("root", "getModuleOnBehalfOf", named.clone()).await.body["deviceId"], "child");
    let listed = ask("root", "getModulesOnTargetDevice", json!({ "authChain": "child;root" })).await;
    assert_eq!(listed.body.as_array().unwrap().len(), 3);
    assert_eq!(ask("root", "deleteModuleOnBehalfOf", named.clone()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask("root", "getModuleOnBehalfOf", named).await.status, StatusCode::NOT_FOUND);
}
