//! What services are told when they receive it: what became of messages to devices, and which files came.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::cloud::records::{Batch, Records};
use edgectl_hub::gateway::Settlement;
use edgectl_hub::receipt::Receipts;
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::value::Symbol;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::frontend::amqp::link::Outbound;

/// How often it is looked whether the time of a message is over.
const SWEEP: Duration = Duration::from_secs(1);
const FEEDBACK: Symbol = Symbol::new("application/vnd.microsoft.iothub.feedback.json");

/// Sends what became of messages until nobody takes it any more.
pub(super) async fn feedback(hub: Arc<CloudHub>, line: mpsc::Sender<Outbound>) {
    let write = |batch: &Batch<_>| {
        let mut message = AnnotatedMessage::of_data(serde_json::to_vec(&batch.records).unwrap_or_default());
        message.properties.content_type = Some(FEEDBACK);
        message
    };
    let sweep = |hub: &CloudHub| {
        if let Err(error) = hub.messages().sweep() {
            tracing::error!(%error, "messages to devices cannot be looked through");
        }
    };
    hand_out(&hub, CloudHub::feedback, sweep, write, line).await;
}

/// Sends which files came until nobody takes it any more.
pub(super) async fn files(hub: Arc<CloudHub>, line: mpsc::Sender<Outbound>) {
    let write = |batch: &Batch<_>| AnnotatedMessage::of_data(serde_json::to_vec(&batch.records[0]).unwrap_or_default());
    hand_out(&hub, |hub| hub.uploads().notifications(), |_| {}, write, line).await;
}

/// Sends records. Those that are not accepted come again.
async fn hand_out<R: Clone + Serialize + DeserializeOwned>(
    hub: &CloudHub,
    records: impl Fn(&CloudHub) -> &Records<R>,
    sweep: impl Fn(&CloudHub),
    write: impl Fn(&Batch<R>) -> AnnotatedMessage,
    line: mpsc::Sender<Outbound>,
) {
    let records = records(hub);
    loop {
        sweep(hub);
        let Some(batch) = records.take() else {
            tokio::select! {
                () = line.closed() => return,
                () = records.changed() => {}
                () = hub.clock().sleep(SWEEP) => {}
            }
            continue;
        };
        let receipts: Arc<Receipts> = Arc::default();
        let tag: Bytes = Uuid::new_v4().into_bytes().to_vec().into();
        let outbound = Outbound { bytes: write(&batch).to_bytes(), tag, receipt: Some(receipts.issue()) };
        let sent = line.send(outbound).await.is_ok();
        let received = sent && {
            receipts.settled().await;
            receipts.collect().contains(&Ok(Settlement::Complete))
        };
        if let Err(error) = records.settle(&batch, received) {
            tracing::error!(%error, "what a service was told cannot be taken from the queue");
        }
        if !sent {
            return;
        }
    }
}
