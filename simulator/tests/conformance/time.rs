//! What comes of time: silence, tokens and messages that end. Hours pass in a moment, on the clock that both hubs were
//! handed.

use std::time::Duration;

use edgectl_hub::clock::{Clock as _, text_of};
use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_wire::amqp::condition::{RESOURCE_LIMIT, UNAUTHORIZED};

use crate::clients::amqp::{AmqpClient, put_token};
use crate::clients::client::{Client, Proof, Refused, connect, connect_with};
use crate::door::Door;
use crate::site::{Site, id};
use crate::table::{Behaviour, Hub};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// For how long a client may be silent: half as long again as the clients here promise over MQTT, and what the hub tells
/// over AMQP.
fn patience(door: Door) -> Duration {
    match door {
        Door::Amqp | Door::AmqpSocket => 4 * MINUTE,
        _ => MINUTE + MINUTE / 2,
    }
}

/// How a connection ends for a reason; MQTT has no words for it.
fn end(door: Door, condition: &str) -> Refused {
    match door {
        Door::Amqp | Door::AmqpSocket => Refused::condition(condition),
        _ => Refused::Closed,
    }
}

#[tokio::test]
async fn a_client_that_goes_silent_is_cut_off_whatever_the_calendar_says() {
    let site = Site::start().await;
    for (hub, door) in Behaviour::TakeOver.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let mut client = connect(&site, (hub, door), &module).await;
        for _ in 0..2 {
            site.clock.advance(patience(door).saturating_sub(SECOND));
            client.send(&Message::new("here")).await.unwrap();
        }
        site.clock.set_back(Duration::from_hours(1));
        site.clock.advance(patience(door));
        assert_eq!(client.ended().await, end(door, RESOURCE_LIMIT.as_str()), "{module}");
    }
    site.stop().await;
}

/// Lets minutes pass in which nobody is silent.
async fn pass(site: &Site, minutes: u32, clients: &mut [(Door, Box<dyn Client + '_>)]) {
    for _ in 0..minutes {
        site.clock.advance(MINUTE);
        for (door, client) in clients.iter_mut() {
            assert_eq!(client.send(&Message::new("here")).await, Ok(()), "{door}");
        }
    }
}

/// Everybody connects with a token for an hour, and is cut off when it is over and the five minutes that clocks may differ
/// by. Who puts another token in time stays, which AMQP alone has.
async fn tokens_end(hubs: &[Hub], set_back: Duration) {
    let site = Site::start().await;
    let (mut clients, mut renewing) = (Vec::new(), Vec::new());
    for (hub, door) in Behaviour::TakeOver.places().into_iter().filter(|(hub, _)| hubs.contains(hub)) {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let proof = Proof::token(site.token_for(&module, 3600));
        clients.push((door, connect_with(&site, (hub, door), &module, &proof).await.ok().unwrap()));
        if matches!(door, Door::Amqp | Door::AmqpSocket) {
            let module = format!("edge/{hub}-{door}-renewing");
            site.add_module(&module);
            let proof = Proof::token(site.token_for(&module, 3600));
            let client = AmqpClient::connect(&site, site.at(hub), door, &module, &proof).await.ok().unwrap();
            renewing.push((module, client));
        }
    }
    for _ in 0..16 {
        pass(&site, 2, &mut clients).await;
        for (_, client) in &mut renewing {
            assert_eq!(client.send(&Message::new("here")).await, Ok(()));
        }
    }
    site.clock.set_back(set_back);
    for (module, client) in &mut renewing {
        put_token(&mut client.connection, module, &site.token_for(module, 3600)).await.unwrap();
    }
    for _ in 0..16 {
        pass(&site, 2, &mut clients).await;
        for (_, client) in &mut renewing {
            assert_eq!(client.send(&Message::new("here")).await, Ok(()));
        }
    }
    site.clock.advance(MINUTE);
    for (door, client) in &mut clients {
        assert_eq!(client.ended().await, end(*door, UNAUTHORIZED.as_str()), "{door}");
    }
    for (module, client) in &mut renewing {
        assert_eq!(client.send(&Message::new("here")).await, Ok(()), "{module}");
    }
    drop(clients);
    drop(renewing);
    site.stop().await;
}

#[tokio::test]
async fn a_connection_ends_with_its_token_unless_another_one_is_put() {
    tokens_end(&[Hub::Edge, Hub::Cloud], Duration::ZERO).await;
}

#[tokio::test]
async fn a_token_holds_no_longer_when_the_calendar_is_set_back() {
    tokens_end(&[Hub::Edge], Duration::from_hours(2)).await;
}

#[tokio::test]
async fn messages_to_a_device_that_is_away_end_with_their_time() {
    let site = Site::start().await;
    let places = Behaviour::CloudToDevice.places();
    let leaf = |(hub, door): &(Hub, Door)| format!("leaf-{hub}-{door}");
    for place in &places {
        site.add_leaf(&leaf(place), None);
        for (text, hours) in [("short", 1), ("long", 2)] {
            let mut message = Message::new(text);
            message.system.set(system::EXPIRY, text_of(site.clock.now_ms() + hours * 3_600_000));
            site.cloud.send_to_device(&id(&leaf(place)).device, message).unwrap();
        }
    }
    site.clock.advance(Duration::from_hours(1));
    for place in places {
        let mut client = connect(&site, place, &leaf(&place)).await;
        client.listen(Feature::CloudToDevice).await;
        let received = client.receive().await;
        assert_eq!(received.message.body, "long", "{place:?}");
        client.settle(&received, Settlement::Complete).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn messages_to_a_module_that_is_away_end_with_their_time() {
    let site = Site::start().await;
    let modules = Behaviour::Inputs.doors(Hub::Edge).into_iter().map(|door| (door, format!("edge/{door}")));
    let modules: Vec<(Door, String)> = modules.collect();
    let put = async |text: &str| {
        for (_, module) in &modules {
            let module = id(module).module.unwrap();
            site.edge.put_into_input(&module, "in", Message::new(text.to_owned())).await.unwrap();
        }
    };
    for (_, module) in &modules {
        site.add_module(module);
    }
    // Messages are kept for two hours.
    site.route_all_up().await;
    put("early").await;
    site.clock.advance(Duration::from_hours(1));
    put("late").await;
    site.clock.advance(Duration::from_hours(1));
    for (door, module) in &modules {
        let mut client = connect(&site, (Hub::Edge, *door), module).await;
        client.listen(Feature::Inputs).await;
        let received = client.receive().await;
        assert_eq!(received.message.body, "late", "{module}");
        client.settle(&received, Settlement::Complete).await;
    }
    site.stop().await;
}
