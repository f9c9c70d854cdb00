//! Messages from the cloud to devices: taken, rejected, given back.

use edgectl_hub::cloud::cloud_to_device::MAX_DELIVERIES;
use edgectl_hub::cloud::feedback::Fate;
use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_hub::message::{Message, system};

use crate::clients::client::{Client, connect};
use crate::door::soon;
use crate::site::{Site, id};
use crate::table::Behaviour;
use crate::telemetry::{properties, rich};

/// Waits until so many messages wait for a device.
async fn waiting(site: &Site, leaf: &str, count: usize) {
    let device = id(leaf).device;
    let changes = site.cloud.messages().changes(&device);
    soon(async {
        loop {
            let changed = changes.notified();
            if site.cloud.messages().count(&device) == count {
                break;
            }
            changed.await;
        }
    })
    .await;
}

async fn gets(client: &mut dyn Client, text: &str, settlement: Settlement) {
    let received = client.receive().await;
    assert_eq!(received.message.body, text.as_bytes());
    client.settle(&received, settlement).await;
}

#[tokio::test]
async fn a_device_takes_its_messages_in_order() {
    let site = Site::start().await;
    for place in Behaviour::CloudToDevice.places() {
        let leaf = format!("leaf-{}-{}", place.0, place.1);
        site.add_leaf(&leaf, None);
        let mut sent = rich(place.1, "first");
        sent.system.set(system::ACK, "full".to_owned());
        site.cloud.send_to_device(&id(&leaf).device, sent.clone()).unwrap();
        let mut client = connect(&site, place, &leaf).await;
        client.listen(Feature::CloudToDevice).await;
        site.cloud.send_to_device(&id(&leaf).device, Message::new("second")).unwrap();

        let received = client.receive().await;
        assert_eq!((&received.input, &received.message.body), (&None, &sent.body), "{leaf}");
        assert_eq!(properties(&received.message), properties(&sent), "{leaf}");
        for name in [system::MESSAGE_ID, system::CORRELATION_ID, system::USER_ID, system::CONTENT_TYPE, system::ACK] {
            assert_eq!(received.message.system.get(name), sent.system.get(name), "{name} at {leaf}");
        }
        let to = format!("/devices/{leaf}/messages/deviceBound");
        assert_eq!(received.message.system.get(system::TO), Some(to.as_str()), "{leaf}");
        client.settle(&received, Settlement::Complete).await;
        gets(client.as_mut(), "second", Settlement::Complete).await;
        waiting(&site, &leaf, 0).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn a_device_rejects_or_gives_back() {
    let site = Site::start().await;
    for place in Behaviour::GivingBack.places() {
        let leaf = format!("leaf-{}-{}", place.0, place.1);
        site.add_leaf(&leaf, None);
        let mut client = connect(&site, place, &leaf).await;
        client.listen(Feature::CloudToDevice).await;
        site.cloud.send_to_device(&id(&leaf).device, Message::new("again")).unwrap();
        gets(client.as_mut(), "again", Settlement::Abandon).await;
        gets(client.as_mut(), "again", Settlement::Reject).await;
        waiting(&site, &leaf, 0).await;
        site.cloud.send_to_device(&id(&leaf).device, Message::new("next")).unwrap();
        gets(client.as_mut(), "next", Settlement::Complete).await;
        waiting(&site, &leaf, 0).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn who_sent_a_message_is_told_how_it_was_settled() {
    let site = Site::start().await;
    for place in Behaviour::GivingBack.places() {
        let leaf = format!("leaf-{}-{}", place.0, place.1);
        site.add_leaf(&leaf, None);
        let mut client = connect(&site, place, &leaf).await;
        client.listen(Feature::CloudToDevice).await;
        let told = [
            (Settlement::Complete, 1, Fate::Success),
            (Settlement::Reject, 1, Fate::Rejected),
            (Settlement::Abandon, MAX_DELIVERIES, Fate::DeliveryCountExceeded),
        ];
        for (settlement, deliveries, fate) in told {
            let mut sent = Message::new("x");
            sent.system.set(system::ACK, "full".to_owned());
            site.cloud.send_to_device(&id(&leaf).device, sent).unwrap();
            for number in 1..=deliveries {
                let received = client.receive().await;
                let count = received.message.system.get(system::DELIVERY_COUNT).map(str::to_owned);
                assert!(count.is_none_or(|count| count == number.to_string()), "delivery {number} at {leaf}");
                client.settle(&received, settlement).await;
            }
            waiting(&site, &leaf, 0).await;
            let batch = site.cloud.feedback().take().unwrap();
            let fates: Vec<Fate> = batch.records.iter().map(|record| record.status_code).collect();
            assert_eq!(fates, [fate], "{settlement:?} at {leaf}");
            site.cloud.feedback().settle(&batch, true).unwrap();
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn what_a_device_did_not_settle_comes_again() {
    let site = Site::start().await;
    for place in Behaviour::CloudToDevice.places() {
        // One that was fetched over HTTPS comes again when its lock is over, which takes a minute.
        if place.1 == crate::door::Door::Https {
            continue;
        }
        let leaf = format!("leaf-{}-{}", place.0, place.1);
        site.add_leaf(&leaf, None);
        for text in ["first", "second"] {
            site.cloud.send_to_device(&id(&leaf).device, Message::new(text)).unwrap();
        }
        for _ in 0..2 {
            let mut client = connect(&site, place, &leaf).await;
            client.listen(Feature::CloudToDevice).await;
            assert_eq!(client.receive().await.message.body, "first", "{leaf}");
        }
        let mut client = connect(&site, place, &leaf).await;
        client.listen(Feature::CloudToDevice).await;
        gets(client.as_mut(), "first", Settlement::Complete).await;
        gets(client.as_mut(), "second", Settlement::Complete).await;
        waiting(&site, &leaf, 0).await;
    }
    site.stop().await;
}
