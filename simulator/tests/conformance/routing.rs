//! Messages go from output to input, whatever sender and receiver speak.

use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_hub::message::system;

use crate::clients::client::connect;
use crate::site::Site;
use crate::table::{Behaviour, Hub};
use crate::telemetry::{properties, rich};

/// What a receiver is told of a message, beside who sent it.
const TOLD: [&str; 6] = [
    system::MESSAGE_ID,
    system::CORRELATION_ID,
    system::USER_ID,
    system::CONTENT_TYPE,
    system::CONTENT_ENCODING,
    system::EXPIRY,
];

#[tokio::test]
async fn every_protocol_reaches_every_other() {
    let site = Site::start().await;
    let (senders, receivers) = (Behaviour::Telemetry.doors(Hub::Edge), Behaviour::Inputs.doors(Hub::Edge));
    for sender in &senders {
        site.add_module(&format!("edge/from-{sender}"));
    }
    let routes = receivers.iter().map(|to| {
        site.add_module(&format!("edge/to-{to}"));
        let condition = "WHERE room = 'kiln 3' AND $body.t = 21";
        (
            to.to_string(),
            format!("FROM /messages/* {condition} INTO BrokeredEndpoint(\"/modules/to-{to}/inputs/in-{to}\")"),
        )
    });
    site.route(routes.collect::<Vec<_>>()).await;

    let mut listening = Vec::new();
    for to in &receivers {
        let mut client = connect(&site, (Hub::Edge, *to), &format!("edge/to-{to}")).await;
        client.listen(Feature::Inputs).await;
        listening.push((to, client));
    }
    for from in &senders {
        let (module, message) = (format!("edge/from-{from}"), rich(*from, r#"{"t":21}"#));
        connect(&site, (Hub::Edge, *from), &module).await.send(&message).await.unwrap();
        for (to, client) in &mut listening {
            let received = client.receive().await;
            let way = format!("from {from} to {to}");
            assert_eq!(received.input, Some(format!("in-{to}")), "{way}");
            assert_eq!(received.message.body, message.body, "{way}");
            assert_eq!(properties(&received.message), properties(&message), "{way}");
            for name in TOLD {
                assert_eq!(received.message.system.get(name), message.system.get(name), "{name} {way}");
            }
            let sender = [system::CONNECTION_DEVICE_ID, system::CONNECTION_MODULE_ID]
                .map(|name| received.message.system.get(name));
            assert_eq!(sender, [Some("edge"), Some(format!("from-{from}").as_str())], "{way}");
            client.settle(&received, Settlement::Complete).await;
        }
    }
    site.stop().await;
}
