//! Twins: read, reported, and told of.

use edgectl_hub::gateway::Feature;
use serde_json::{Value, json};

use crate::clients::client::{Client, connect};
use crate::site::{Site, id};
use crate::table::{Behaviour, Hub};

async fn read(client: &mut dyn Client) -> Value {
    let answer = client.twin().await;
    assert_eq!((answer.status, answer.version), (200, None));
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_twin_is_read_and_changed_from_both_ends() {
    let site = Site::start().await;
    // The real hub tells of reported properties with a message, when the cloud has them.
    site.route_all_up().await;
    for (hub, door) in Behaviour::Twins.places() {
        let (module, leaf) = (format!("edge/{hub}-{door}"), format!("leaf-{hub}-{door}"));
        site.add_module(&module);
        site.add_leaf(&leaf, None);
        for identity in [module, leaf] {
            let mut client = connect(&site, (hub, door), &identity).await;
            assert_eq!(
                read(client.as_mut()).await,
                json!({ "desired": { "$version": 1 }, "reported": { "$version": 1 } }),
                "{identity}"
            );

            client.listen(Feature::DesiredProperties).await;
            site.desire(&identity, json!({ "color": "red", "deep": { "a": 1 } }));
            let told = client.desired().await;
            assert_eq!(told, json!({ "color": "red", "deep": { "a": 1 }, "$version": 2 }), "{identity}");
            site.desire(&identity, json!({ "color": null }));
            assert_eq!(client.desired().await, json!({ "color": null, "$version": 3 }), "{identity}");

            let answer = client.report(r#"{"seen": "red", "gone": null}"#).await;
            assert_eq!((answer.status, answer.body.len()), (204, 0), "{identity}");
            // The edge hub answers before the cloud hub, which counts.
            let version = if hub == Hub::Cloud { Some(2) } else { None };
            assert_eq!(answer.version, version, "{identity}");
            if hub == Hub::Edge {
                let notice = site.received(&identity, 1).await.remove(0);
                assert_eq!(notice["systemProperties"]["messageSchema"], "twinChangeNotification", "{notice}");
                assert_eq!(notice["body"], json!({ "seen": "red", "gone": null }), "{identity}");
            }
            // Until the cloud hub has it, the edge hub shows it with the version before.
            let mut twin = read(client.as_mut()).await;
            while twin["reported"]["$version"] == 1 {
                assert_eq!(twin["reported"]["seen"], "red", "{identity}");
                twin = read(client.as_mut()).await;
            }
            let at_cloud = site.cloud.twin_of(&id(&identity)).unwrap().for_device();
            assert_eq!(at_cloud["reported"], json!({ "seen": "red", "$version": 2 }), "{identity}");
            assert_eq!(twin, at_cloud, "{identity}");
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn patches_that_break_a_rule_change_nothing() {
    let deep = |depth| (0..depth).fold(json!(1), |inner, _| json!({ "a": inner })).to_string();
    let patches = [
        "no JSON".to_owned(),
        String::new(),
        "[]".to_owned(),
        "1".to_owned(),
        r#"{"a.b": 1}"#.to_owned(),
        r#"{"$a": 1}"#.to_owned(),
        r#"{"a b": 1}"#.to_owned(),
        r#"{"a": 4503599627370497}"#.to_owned(),
        r#"{"a": [null]}"#.to_owned(),
        deep(11),
        json!({ "a": "x".repeat(4097) }).to_string(),
        json!({ "x".repeat(1025): 1 }).to_string(),
        Value::Object((0..9).map(|n| (n.to_string(), json!("x".repeat(4000)))).collect()).to_string(),
    ];
    let site = Site::start().await;
    for (hub, door) in Behaviour::Twins.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let mut client = connect(&site, (hub, door), &module).await;
        for patch in &patches {
            let answer = client.report(patch).await;
            assert_eq!(answer.status, 400, "{patch:.80} at {hub} {door}");
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            // The Node SDK sees a failure by this alone.
            assert_eq!(body["errorCode"], 400, "{patch:.80} at {hub} {door}");
        }
        assert_eq!(client.report(&deep(10)).await.status, 204, "{hub} {door}");
        let twin = read(client.as_mut()).await;
        let reported = twin["reported"].as_object().unwrap();
        assert!(reported.contains_key("a") && reported.len() == 2, "{reported:?} at {hub} {door}");
    }
    site.stop().await;
}
