//! What became of messages to devices, handed out to whoever receives it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::gateway::Settlement;
use edgectl_hub::receipt::Receipts;
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::value::Symbol;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::frontend::amqp::link::Outbound;

/// How often it is looked whether the time of a message is over.
const SWEEP: Duration = Duration::from_secs(1);
const CONTENT_TYPE: Symbol = Symbol::new("application/vnd.microsoft.iothub.feedback.json");

/// Sends records until nobody takes them any more. Those that are not accepted come again.
pub(super) async fn hand_out(hub: Arc<CloudHub>, line: mpsc::Sender<Outbound>) {
    loop {
        if let Err(error) = hub.messages().sweep() {
            tracing::error!(%error, "messages to devices cannot be looked through");
        }
        let Some(batch) = hub.feedback().take() else {
            tokio::select! {
                () = line.closed() => return,
                () = hub.feedback().changed() => {}
                () = hub.clock().sleep(SWEEP) => {}
            }
            continue;
        };
        let body = serde_json::to_vec(&batch.records).unwrap_or_default();
        let mut message = AnnotatedMessage::of_data(body);
        message.properties.content_type = Some(CONTENT_TYPE);
        let receipts: Arc<Receipts> = Arc::default();
        let tag: Bytes = Uuid::new_v4().into_bytes().to_vec().into();
        let outbound = Outbound { bytes: message.to_bytes(), tag, receipt: Some(receipts.issue()) };
        let sent = line.send(outbound).await.is_ok();
        let received = sent && {
            receipts.settled().await;
            receipts.collect().contains(&Ok(Settlement::Complete))
        };
        if let Err(error) = hub.feedback().settle(&batch, received) {
            tracing::error!(%error, "feedback cannot be taken from the queue");
        }
        if !sent {
            return;
        }
    }
}
