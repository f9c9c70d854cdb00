//! One client, two connections: the later one stays.

use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_hub::message::Message;

use crate::clients::client::{Refused, connect};
use crate::door::Door;
use crate::site::{Site, id};
use crate::table::{Behaviour, Hub};

/// How the first one is told.
fn told(door: Door) -> Refused {
    match door {
        Door::Mqtt | Door::MqttSocket => Refused::Closed,
        Door::Amqp | Door::AmqpSocket => Refused::condition("amqp:link:stolen"),
        Door::Https => panic!("requests are no connections"),
    }
}

/// The doors of the first and of the second connection.
fn pairs(hub: Hub) -> Vec<(Door, Door)> {
    let doors = || Behaviour::TakeOver.doors(hub);
    doors().into_iter().flat_map(|first| doors().into_iter().map(move |second| (first, second))).collect()
}

#[tokio::test]
async fn a_second_connection_ends_the_first_whatever_both_speak() {
    let site = Site::start().await;
    site.route_all_up().await;
    for hub in [Hub::Edge, Hub::Cloud] {
        for (first, second) in pairs(hub) {
            let module = format!("edge/{hub}-{first}-{second}");
            site.add_module(&module);
            let mut old = connect(&site, (hub, first), &module).await;
            old.listen(Feature::Methods).await;
            let mut new = connect(&site, (hub, second), &module).await;
            assert_eq!(old.ended().await, told(first), "{module}");
            assert_eq!(new.send(&Message::new("still here")).await, Ok(()), "{module}");
            site.received(&module, 1).await;
        }
    }
    site.stop().await;
}

/// A message reaches a client over one protocol, which then connects over another.
async fn moves(site: &Site, hub: Hub, identity: &str, feature: Feature, [first, second]: [Door; 2]) {
    let mut old = connect(site, (hub, first), identity).await;
    old.listen(feature).await;
    assert_eq!(old.receive().await.message.body, "one", "{identity}");
    let mut new = connect(site, (hub, second), identity).await;
    new.listen(feature).await;
    let received = new.receive().await;
    assert_eq!(received.message.body, "one", "{identity}");
    new.settle(&received, Settlement::Complete).await;
}

#[tokio::test]
async fn messages_under_way_to_the_first_go_to_the_second() {
    let site = Site::start().await;
    for hub in [Hub::Edge, Hub::Cloud] {
        for (first, second) in pairs(hub) {
            let (module, leaf) = (format!("edge/{hub}-{first}-{second}"), format!("{hub}-{first}-{second}"));
            site.add_leaf(&leaf, None);
            site.cloud.send_to_device(&id(&leaf).device, Message::new("one")).unwrap();
            moves(&site, hub, &leaf, Feature::CloudToDevice, [first, second]).await;
            if hub == Hub::Edge {
                site.add_module(&module);
                let name = id(&module).module.unwrap();
                site.edge.put_into_input(&name, "in", Message::new("one")).await.unwrap();
                moves(&site, hub, &module, Feature::Inputs, [first, second]).await;
            }
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn requests_end_no_connection() {
    let site = Site::start().await;
    site.route_all_up().await;
    for hub in [Hub::Edge, Hub::Cloud] {
        for door in Behaviour::TakeOver.doors(hub) {
            let module = format!("edge/{hub}-{door}");
            site.add_module(&module);
            let mut there = connect(&site, (hub, door), &module).await;
            for other in Behaviour::TakeOver.lacking(hub) {
                assert_eq!(connect(&site, (hub, other), &module).await.send(&Message::new("x")).await, Ok(()));
            }
            assert_eq!(there.send(&Message::new("y")).await, Ok(()), "{module}");
            site.received(&module, 2).await;
        }
    }
    site.stop().await;
}
