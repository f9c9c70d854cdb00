//! The edge hub's two faces: to its clients a [`Gateway`], and to the cloud hub the one who answers for them.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_schemas::ids::{Identity, ModuleId};
use edgectl_schemas::route::source;
use serde_json::Value;

use super::delivery::REDELIVERY_DELAY;
use super::hub::EdgeHub;
use super::metrics::{EDGE_HUB, UPSTREAM};
use super::report::HubReport;
use super::twins::Twins;
use super::upstream::Downstream;
use crate::clock::within;
use crate::documents::DocumentsError;
use crate::event::Event;
use crate::gateway::{
    Attachment, Client, ClientLink, Credential, Delivery, Feature, Gateway, LinkClosed, Refusal, SessionKind,
    Settlement,
};
use crate::message::{MAX_MESSAGE_BYTES, Message, system};
use crate::method::{MAX_PAYLOAD_BYTES, MethodRequest, MethodResponse};

/// How long a message from the cloud is held for a client that just went away.
const RETURN_TIME: Duration = Duration::from_secs(30);
/// For the cloud hub to say what a twin is like, while a client waits. Some give up after ten seconds.
const LOOK_TIME: Duration = Duration::from_secs(5);

#[async_trait]
impl Gateway for EdgeHub {
    async fn authenticate(&self, identity: &Identity, credential: &Credential) -> Result<Client, Refusal> {
        let admitted = self.scope.authenticate(identity, credential, &self.hosts()).await;
        if let Err(refusal) = &admitted {
            let reason = if matches!(refusal, Refusal::Unauthorized(_) | Refusal::NotFound(_)) {
                "not_authenticated"
            } else {
                "other"
            };
            self.metrics.refused(identity, reason);
        }
        admitted
    }

    async fn attach(
        &self,
        client: &Client,
        session: SessionKind,
        link: Arc<dyn ClientLink>,
    ) -> Result<Attachment, Refusal> {
        let attachment = self.sessions.attach(client, session, link).map_err(unavailable)?;
        self.check_room(&attachment)?;
        if attachment.features.contains(&Feature::DesiredProperties) && !self.twins.knows(&client.identity) {
            // Changes that it was to be told of before this hub knew the twin are not to be found any more.
            self.twins.owe_all(&client.identity);
        }
        self.mirror.changed(&client.identity);
        self.metrics.connected(&client.identity);
        self.ledger.record(Event::ClientConnected { client: client.identity.clone() });
        self.report(&HubReport::client(&client.identity, true, &self.clock.now_text()));
        Ok(attachment)
    }

    async fn detach(&self, attachment: &Attachment) {
        if !self.sessions.detach(attachment) {
            return;
        }
        let identity = &attachment.client.identity;
        self.mirror.changed(identity);
        self.metrics.disconnected(identity);
        self.ledger.record(Event::ClientDisconnected { client: identity.clone() });
        self.report(&HubReport::client(identity, false, &self.clock.now_text()));
    }

    #[expect(clippy::cast_precision_loss, reason = "a size has its limit")]
    async fn send(&self, client: &Client, messages: Vec<Message>) -> Result<(), Refusal> {
        let time = self.clock.now_text();
        let mut stamped = Vec::with_capacity(messages.len());
        let mut source = Source::default();
        let (sender, now_ms) = (self.metrics.sender(&client.identity), self.clock.now_ms());
        for mut message in messages {
            let size = message.size();
            if size > MAX_MESSAGE_BYTES {
                return Err(Refusal::TooLarge { size, limit: MAX_MESSAGE_BYTES });
            }
            sender.size.observe(size as f64, now_ms);
            self.stamp(&mut message, &client.identity, &time);
            stamped.push((source.of(&client.identity, &message), message));
        }
        self.take(&client.identity, Some(&sender), stamped).await
    }

    async fn twin(&self, client: &Client) -> Result<Value, Refusal> {
        self.twins.get(&client.identity).await
    }

    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        Twins::check(&patch)?;
        let started_ms = self.clock.now_ms();
        let mut message = Message::new(patch.to_string());
        message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
        message.system.set(system::CONTENT_ENCODING, "utf-8".to_owned());
        message.system.set(system::MESSAGE_SCHEMA, "twinChangeNotification".to_owned());
        self.stamp(&mut message, &client.identity, &self.clock.now_text());
        // The notice first: a report that is refused because nothing more can be kept must not be in force.
        self.take(&client.identity, None, vec![(source::TWIN_CHANGES.into(), message)]).await?;
        self.twins.report(&client.identity, &patch)?;
        self.reported.notify_one();
        self.metrics.reported(EDGE_HUB, &client.identity, started_ms);
        // The edge hub does not know which version the cloud will give it.
        Ok(None)
    }

    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        if feature == Feature::DesiredProperties {
            self.look_at_twin(&attachment.client.identity).await;
        }
        if !self.sessions.subscribe(attachment, feature).map_err(unavailable)? {
            return Err(Refusal::Detached);
        }
        self.mirror.changed(&attachment.client.identity);
        Ok(())
    }

    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        if !self.sessions.unsubscribe(attachment, feature).map_err(unavailable)? {
            return Err(Refusal::Detached);
        }
        self.mirror.changed(&attachment.client.identity);
        Ok(())
    }

    async fn invoke(
        &self,
        caller: &Client,
        target: &Identity,
        request: MethodRequest,
    ) -> Result<MethodResponse, Refusal> {
        if request.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Refusal::TooLarge { size: request.payload.len(), limit: MAX_PAYLOAD_BYTES });
        }
        self.called(&caller.identity.to_string(), target, request).await
    }
}

impl EdgeHub {
    /// Looks at a twin of which nothing is known before its client is told that it will hear of changes: the cloud hub learns
    /// of that later, and then it takes a comparison to see what has changed meanwhile. The real hub loses such changes.
    async fn look_at_twin(&self, identity: &Identity) {
        if !self.twins.knows(identity)
            && within(self.clock.as_ref(), LOOK_TIME, self.twins.get(identity)).await.is_none()
        {
            self.twins.owe_all(identity);
        }
    }

    /// Refuses a client that is one too many; a connection that took another one over is none.
    fn check_room(&self, attachment: &Attachment) -> Result<(), Refusal> {
        let Some(limit) = self.settings.borrow().max_connected_clients else { return Ok(()) };
        let is_of_runtime = |identity: &Identity| {
            let own_module = |module: &ModuleId| *module == ModuleId::edge_agent() || *module == ModuleId::edge_hub();
            identity.device == self.own.device && identity.module.as_ref().is_some_and(own_module)
        };
        let clients = self.sessions.connected().iter().filter(|identity| !is_of_runtime(identity)).count();
        if clients <= limit || is_of_runtime(&attachment.client.identity) {
            return Ok(());
        }
        self.sessions.detach(attachment);
        Err(Refusal::Unavailable(format!("as many clients are connected as may be, which is {limit}")))
    }
}

#[async_trait]
impl Downstream for EdgeHub {
    async fn desired_changed(&self, identity: &Identity, patch: Value) {
        match self.twins.desired_changed(identity, patch).await {
            Ok(Some(patch)) if *identity != self.own => self.tell_desired(identity, patch).await,
            Ok(Some(_)) => self.reconfigure(),
            Ok(None) => {}
            Err(refusal) => tracing::warn!(%identity, %refusal, "changed desired properties are not understood"),
        }
    }

    fn interrupted(&self, identity: &Identity) {
        let mut offline_since = self.offline_since.lock().unwrap_or_else(PoisonError::into_inner);
        if *identity == self.own && offline_since.is_none() {
            *offline_since = Some(self.clock.now_ms());
            self.metrics.went_offline(&self.own);
        }
    }

    async fn reconnected(&self, identity: &Identity) {
        if *identity == self.own
            && let Some(since_ms) = self.offline_since.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            self.metrics.came_back(&self.own, since_ms);
        }
        match self.twins.resynchronise(identity).await {
            Ok(_) if *identity == self.own => {
                self.reconfigure();
                self.reported.notify_one();
                // Clients must be let in also if the cloud hub cannot be asked when they come.
                if let Err(refusal) = self.scope.refresh().await {
                    tracing::debug!(%refusal, "the identities cannot be refreshed");
                }
            }
            Ok(Some(patch)) => self.tell_desired(identity, patch).await,
            Ok(None) => {}
            Err(refusal) => tracing::debug!(%identity, %refusal, "the twin cannot be read"),
        }
    }

    async fn invoke(&self, identity: &Identity, request: MethodRequest) -> Result<MethodResponse, Refusal> {
        if *identity == self.own {
            Ok(self.own_method(&request).await)
        } else {
            self.called(UPSTREAM, identity, request).await
        }
    }

    async fn cloud_to_device(&self, identity: &Identity, delivery: Delivery) -> Result<Settlement, LinkClosed> {
        // The cloud sends while the client is here; one that just left may be back in a moment.
        let link = self.sessions.wait_for(identity, Feature::CloudToDevice);
        let link = within(self.clock.as_ref(), RETURN_TIME, link).await.ok_or(LinkClosed)?;
        let settlement = link.deliver_one(delivery).await.unwrap_or(Settlement::Abandon);
        if settlement == Settlement::Abandon {
            // The cloud sends it again at once.
            self.clock.sleep(REDELIVERY_DELAY).await;
        }
        Ok(settlement)
    }

    async fn is_gone(&self, identity: &Identity) -> bool {
        self.is_removed(identity).await
    }

    fn chain(&self, identity: &Identity) -> String {
        self.scope.chain(identity)
    }
}

impl EdgeHub {
    /// Calls a method, and counts it.
    async fn called(&self, from: &str, to: &Identity, request: MethodRequest) -> Result<MethodResponse, Refusal> {
        let started_ms = self.clock.now_ms();
        let answer = self.call(to, request).await;
        self.metrics.called(from, to, started_ms);
        answer
    }

    /// The one method that the edge hub itself has: `RefreshDeviceScopeIdentityCache {"deviceIds": […]}`.
    async fn own_method(&self, request: &MethodRequest) -> MethodResponse {
        let answer = |status, payload: &'static str| MethodResponse { status, payload: payload.into() };
        if !request.name.eq_ignore_ascii_case("RefreshDeviceScopeIdentityCache") {
            return answer(404, "");
        }
        let payload: Value = serde_json::from_slice(&request.payload).unwrap_or_default();
        let ids = payload.get("deviceIds").and_then(Value::as_array);
        if !ids.is_some_and(|ids| ids.iter().all(Value::is_string)) {
            return answer(400, "");
        }
        match self.scope.refresh().await {
            Ok(()) => answer(200, ""),
            Err(_) => answer(500, ""),
        }
    }

    fn reconfigure(&self) {
        if let Err(error) = self.configure() {
            tracing::error!(%error, "the configuration cannot be read");
        }
    }
}

/// The source that routes see: devices and modules differ, also those of other devices, and a module's output is part of
/// it. Of messages that came together nearly all have the same, so that it is put together once for all of them.
#[derive(Default)]
struct Source {
    last: Option<(Option<String>, Arc<str>)>,
}

impl Source {
    fn of(&mut self, identity: &Identity, message: &Message) -> Arc<str> {
        let output = message.system.get(system::OUTPUT_NAME);
        if let Some((known, source)) = &self.last
            && known.as_deref() == output
        {
            return Arc::clone(source);
        }
        let source: Arc<str> = match &identity.module {
            Some(module) => source::module_messages(module.as_str(), output).into(),
            None => source::DEVICE_MESSAGES.into(),
        };
        self.last = Some((output.map(str::to_owned), Arc::clone(&source)));
        source
    }
}

fn unavailable(error: DocumentsError) -> Refusal {
    Refusal::Unavailable(error.to_string())
}
