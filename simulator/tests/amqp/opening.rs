//! How connections begin and end, and who is let in.

use std::time::Duration;

use edgectl_hub::gateway::{Credential, Refusal};
use edgectl_wire::amqp::attach::Role;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader};
use edgectl_wire::amqp::open::{Close, Open};
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::sasl::{SaslCode, SaslFrame};
use edgectl_wire::amqp::session::{End, Flow};
use edgectl_wire::amqp::value::Symbol;
use tokio::time::Instant;

use crate::memory_hub::MemoryHub;
use crate::raw_client::{EVENTS, RawClient, TOKEN, attach, begin, certificate, flow, open, put_token};

/// Begins with the security layer; how it ends.
async fn prove(client: &mut RawClient, mechanism: &'static str, response: &str) -> SaslCode {
    client.writer.put_header(ProtocolHeader::Sasl);
    client.writer.put(&Frame::Sasl(SaslFrame::Init {
        mechanism: Symbol::new(mechanism),
        initial_response: Some(response.to_owned().into()),
        hostname: None,
    }));
    client.writer.flush().await.unwrap();
    assert_eq!(client.reader.header().await.unwrap(), Some(ProtocolHeader::Sasl));
    let mechanisms = ["MSSBCBS", "ANONYMOUS", "EXTERNAL", "PLAIN"].map(Symbol::new).to_vec();
    assert_eq!(client.reader.next().await.unwrap(), Some(Frame::Sasl(SaslFrame::Mechanisms(mechanisms))));
    match client.reader.next().await.unwrap() {
        Some(Frame::Sasl(SaslFrame::Outcome(code))) => code,
        other => panic!("{other:?} is no outcome"),
    }
}

#[tokio::test]
async fn the_security_layer_may_be_used_or_left_out() {
    let hub = MemoryHub::new();
    for mechanism in ["MSSBCBS", "ANONYMOUS", "EXTERNAL"] {
        let mut client = RawClient::silent(&hub, None);
        assert_eq!(prove(&mut client, mechanism, "").await, SaslCode::Ok, "{mechanism}");
        let own = client.open(open()).await;
        assert_eq!((own.max_frame_size, own.channel_max), (Some(65_536), Some(1023)));
    }
    let mut client = RawClient::silent(&hub, None);
    assert_eq!(prove(&mut client, "SCRAM", "").await, SaslCode::Authentication);
    assert!(client.reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_password_is_a_token_for_the_links_of_its_client() {
    let hub = MemoryHub::new();
    let mut client = RawClient::silent(&hub, None);
    let response = format!("\0edge/modules/m@sas.hub\0{TOKEN}");
    assert_eq!(prove(&mut client, "PLAIN", &response).await, SaslCode::Ok);
    client.open(open()).await;
    client.say(Performative::Begin(Box::new(begin()))).await;
    client.hear().await;
    client.attach(Role::Sender, EVENTS).await;
    assert_eq!(client.refused(Role::Sender, "/devices/edge/messages/events").await, "amqp:unauthorized-access");

    for (response, refusal, code) in [
        ("\0edge/m@sas.hub\0no token".to_owned(), None, SaslCode::Authentication),
        ("\0policy@sas.root.hub\0key".to_owned(), None, SaslCode::Authentication),
        (response, Some(Refusal::Unavailable("starting".to_owned())), SaslCode::SystemTemporary),
    ] {
        hub.set(|state| state.refusal = refusal);
        let mut client = RawClient::silent(&hub, None);
        assert_eq!(prove(&mut client, "PLAIN", &response).await, code);
        assert!(client.reader.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn who_speaks_something_else_is_told_what_is_spoken() {
    let hub = MemoryHub::new();
    let mut client = RawClient::silent(&hub, None);
    client.writer.put_header(ProtocolHeader::Amqp);
    // A frame where the rest of a header should be, and a frame that has no place.
    client.writer.put(&Frame::Empty);
    client.writer.put(&Frame::of(0, Performative::End(End::default())));
    client.writer.flush().await.unwrap();
    assert_eq!(client.reader.header().await.unwrap(), Some(ProtocolHeader::Amqp));
    assert!(client.reader.next().await.unwrap().is_none());

    let mut client = RawClient::silent(&hub, None);
    client.writer.put(&Frame::Empty);
    client.writer.flush().await.unwrap();
    assert_eq!(client.reader.header().await.unwrap(), Some(ProtocolHeader::Sasl));
    assert!(client.reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn links_need_a_proof() {
    let hub = MemoryHub::new();
    let mut client = RawClient::connect(&hub).await;
    assert_eq!(client.refused(Role::Sender, EVENTS).await, "amqp:unauthorized-access");
    assert_eq!(client.put_token("hub/devices/edge/modules/m", TOKEN).await, 200);
    let handle = client.attach(Role::Sender, EVENTS).await;
    hub.until(|state| state.attached == 1).await;
    client.detach(handle).await;
    hub.until(|state| state.detached == 1).await;
    // The proof outlives the link.
    client.attach(Role::Sender, EVENTS).await;
    hub.until(|state| state.attached == 2).await;
}

#[tokio::test]
async fn a_certificate_is_a_proof_for_whom_the_links_name() {
    let hub = MemoryHub::new();
    let mut client = RawClient::connect_with(&hub, Some(certificate()), open()).await;
    client.attach(Role::Sender, "/devices/leaf/messages/events").await;
    assert_eq!(hub.read(|state| state.credentials.clone()), [Credential::Certificate(certificate())]);
}

#[tokio::test]
async fn tokens_are_answered_in_the_clients_own_words() {
    let hub = MemoryHub::new();
    let mut client = RawClient::connect(&hub).await;
    let sender = client.attach(Role::Sender, "$cbs").await;
    let receiver = client.attach(Role::Receiver, "$cbs").await;
    client.credit(receiver, 0, 100).await;
    let audience = "hub%2Fdevices%2Fedge";
    for (audience, token, status) in
        [(audience, TOKEN, 200), (audience, "SharedAccessSignature sr=a", 400), ("hub", TOKEN, 401), ("", TOKEN, 400)]
    {
        for id in [MessageId::Ulong(1), MessageId::Uuid([2; 16]), MessageId::String("3".to_owned())] {
            client.send(sender, &put_token(audience, token, id.clone())).await;
            let Performative::Disposition(_) = client.hear_event().await else { panic!("the request is accepted") };
            let (_, answer) = client.hear_message().await;
            assert_eq!(answer.properties.correlation_id, Some(id));
            assert_eq!(
                answer.application_properties.get("status-code"),
                Some(&edgectl_wire::amqp::value::Value::Int(status))
            );
        }
    }
    // Any status would end an SDK's tries for good, so what passes has none.
    hub.set(|state| state.refusal = Some(Refusal::Unavailable("starting".to_owned())));
    client.send(sender, &put_token(audience, TOKEN, MessageId::Ulong(1))).await;
    let Performative::Disposition(_) = client.hear_event().await else { panic!("the request is accepted") };
    assert_eq!(client.hear_detach(sender).await, "amqp:link:detach-forced");
}

#[tokio::test]
async fn addresses_that_mean_nothing_are_refused() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    for (role, address) in [
        (Role::Sender, "cbs"),
        (Role::Receiver, ""),
        (Role::Receiver, "/devices/edge/messages/events"),
        (Role::Sender, "/devices/edge/messages/devicebound"),
    ] {
        assert_eq!(client.refused(role, address).await, "amqp:not-found", "{address}");
    }
}

#[tokio::test]
async fn what_breaks_the_rules_closes_the_connection_and_says_why() {
    let transfer = || Performative::Transfer(edgectl_wire::amqp::transfer::Transfer::default());
    let again = Performative::Attach(Box::new(attach(0, Role::Sender, "$cbs")));
    let unattached = Performative::Flow(Flow { handle: Some(9), ..flow() });
    for (wrong, condition) in [
        (Performative::Open(Box::new(open())), "amqp:not-allowed"),
        (Performative::Begin(Box::new(begin())), "amqp:not-allowed"),
        (again, "amqp:session:handle-in-use"),
        (unattached, "amqp:session:unattached-handle"),
    ] {
        let hub = MemoryHub::new();
        let mut client = RawClient::connect(&hub).await;
        client.attach(Role::Sender, "$cbs").await;
        client.say(wrong).await;
        let Performative::Close(close) = client.hear_event().await else { panic!("{condition}: CLOSE") };
        assert_eq!(close.error.unwrap().condition.as_str(), condition);
        assert_eq!(client.next().await, None);
    }
    // A transfer without its number ends the link alone.
    let hub = MemoryHub::new();
    let mut client = RawClient::connect(&hub).await;
    client.attach(Role::Sender, "$cbs").await;
    client.say(transfer()).await;
    assert_eq!(client.hear_detach(0).await, "amqp:invalid-field");
    // What was on its way meanwhile is nothing.
    client.say(transfer()).await;
    client.say(Performative::Close(Close::default())).await;
    assert_eq!(client.hear_event().await, Performative::Close(Close::default()));
}

#[tokio::test]
async fn sessions_and_connections_end_in_order() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    client.attach(Role::Sender, EVENTS).await;
    client.say(Performative::End(End::default())).await;
    assert_eq!(client.hear_event().await, Performative::End(End::default()));
    hub.until(|state| state.detached == 1).await;
    client.say(Performative::Begin(Box::new(begin()))).await;
    let Performative::Begin(_) = client.hear().await else { panic!("the channel is free again") };
    client.say(Performative::Close(Close::default())).await;
    assert_eq!(client.hear().await, Performative::Close(Close::default()));
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn a_hub_that_shuts_down_says_so() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    client.attach(Role::Sender, EVENTS).await;
    client.shutdown.cancel();
    let Performative::Close(close) = client.hear_event().await else { panic!("CLOSE") };
    assert_eq!(close.error.unwrap().condition.as_str(), "amqp:connection:forced");
    hub.until(|state| state.detached == 1).await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_the_hub_and_punished_in_a_client() {
    let hub = MemoryHub::new();
    let wanted = Open { idle_time_out: Some(60_000), ..open() };
    let mut client = RawClient::connect_with(&hub, None, wanted).await;
    let begun = Instant::now();
    assert_eq!(client.reader.next().await.unwrap(), Some(Frame::Empty));
    assert_eq!(begun.elapsed().as_secs(), 30);
    client.keep_alive().await;
    let Performative::Close(close) = client.hear().await else { panic!("CLOSE") };
    assert_eq!(close.error.unwrap().condition.as_str(), "amqp:resource-limit-exceeded");
    assert!(begun.elapsed() >= Duration::from_secs(30 + 240));
}
