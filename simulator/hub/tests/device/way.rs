//! The edge hub's way to the cloud hub, with a switch. Like the real one it remembers what was asked for while it was
//! interrupted, and tells its links when it is back.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::auth::IdentityRecord;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::edge::scope::ScopeSource;
use edgectl_hub::gateway::{
    Attachment, Client, ClientLink, CloseReason, Credential, Delivery, Feature, Gateway, LinkClosed, Refusal,
    SessionKind,
};
use edgectl_hub::message::Message;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_hub::receipt::Receipt;
use edgectl_schemas::ids::{DeviceId, Identity};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than anything takes; on a clock that stands still this costs nothing.
const FOREVER: Duration = Duration::from_mins(5);

/// The way to a cloud hub.
pub struct Way {
    cloud: Arc<CloudHub>,
    device: DeviceId,
    /// The edge hub's own token.
    token: String,
    open: AtomicBool,
    /// Notices of changed desired properties get lost.
    losing: Arc<AtomicBool>,
    number: AtomicU64,
    ends: Mutex<HashMap<Identity, End>>,
    /// Counts what came through.
    passed: watch::Sender<u64>,
}

struct End {
    number: u64,
    link: Arc<Relay>,
    features: BTreeSet<Feature>,
    attachment: Option<Attachment>,
}

impl Way {
    /// A way that the edge hub of a device uses with its own token.
    pub fn new(cloud: Arc<CloudHub>, device: DeviceId, token: String, open: bool) -> Arc<Self> {
        Arc::new(Self {
            cloud,
            device,
            token,
            open: AtomicBool::new(open),
            losing: Arc::default(),
            number: AtomicU64::new(1),
            ends: Mutex::default(),
            passed: watch::Sender::new(0),
        })
    }

    /// Interrupts the way.
    pub async fn interrupt(&self) {
        self.open.store(false, Ordering::SeqCst);
        let attachments: Vec<_> = self.lock().values_mut().filter_map(|end| end.attachment.take()).collect();
        for attachment in attachments {
            self.cloud.detach(&attachment).await;
        }
    }

    /// Mends the way.
    pub async fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
        let identities: Vec<_> = self.lock().keys().cloned().collect();
        for identity in identities {
            self.connect(&identity).await.expect("the cloud hub lets the edge hub's clients in");
        }
    }

    /// Loses notices of changed desired properties from now on, or no more.
    pub fn lose_notices(&self, losing: bool) {
        self.losing.store(losing, Ordering::SeqCst);
    }

    /// Waits until something holds of what came through.
    pub async fn until(&self, holds: impl Fn() -> bool) {
        let mut passed = self.passed.subscribe();
        let waiting = async {
            while !holds() {
                passed.changed().await.expect("the way is there");
            }
        };
        timeout(FOREVER, waiting).await.expect("it happens");
    }

    /// Waits until the cloud hub knows that a client wants a feature.
    pub async fn until_subscribed(&self, identity: &Identity, feature: Feature) {
        self.until(|| self.lock().get(identity).is_some_and(|end| end.features.contains(&feature))).await;
    }

    async fn connect(&self, identity: &Identity) -> Result<(), Refusal> {
        let Some((number, link, features)) =
            self.lock().get(identity).map(|end| (end.number, Arc::clone(&end.link), end.features.clone()))
        else {
            return Err(Refusal::Detached);
        };
        let credential =
            Credential::OnBehalfOf { token: self.token.clone(), chain: format!("{identity};{}", self.device) };
        let client = self.cloud.authenticate(identity, &credential).await?;
        let attachment = self.cloud.attach(&client, SessionKind::Persistent, Arc::clone(&link) as _).await?;
        for feature in features {
            self.cloud.subscribe(&attachment, feature).await?;
        }
        if let Some(end) = self.lock().get_mut(identity).filter(|end| end.number == number) {
            end.attachment = Some(attachment);
        }
        tokio::spawn(async move { link.inner.reconnected().await });
        Ok(())
    }

    /// The cloud hub, for as long as the way is open.
    fn cloud(&self) -> Result<&CloudHub, Refusal> {
        if self.open.load(Ordering::SeqCst) {
            Ok(&self.cloud)
        } else {
            Err(Refusal::Unavailable("the way is interrupted".to_owned()))
        }
    }

    fn passed(&self) {
        self.passed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Gateway for Way {
    async fn authenticate(&self, identity: &Identity, _: &Credential) -> Result<Client, Refusal> {
        Ok(Client { identity: identity.clone(), expires_at: None })
    }

    async fn attach(&self, client: &Client, _: SessionKind, link: Arc<dyn ClientLink>) -> Result<Attachment, Refusal> {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let link = Arc::new(Relay { inner: link, losing: Arc::clone(&self.losing) });
        let end = End { number, link, features: BTreeSet::new(), attachment: None };
        self.lock().insert(client.identity.clone(), end);
        if self.cloud().is_ok() {
            self.connect(&client.identity).await?;
        }
        Ok(Attachment { client: client.clone(), number, session_present: false, features: Vec::new() })
    }

    async fn detach(&self, attachment: &Attachment) {
        let identity = &attachment.client.identity;
        let end = {
            let mut ends = self.lock();
            if ends.get(identity).is_none_or(|end| end.number != attachment.number) {
                return;
            }
            ends.remove(identity)
        };
        if let Some(attachment) = end.and_then(|end| end.attachment) {
            self.cloud.detach(&attachment).await;
        }
        self.passed();
    }

    async fn send(&self, client: &Client, messages: Vec<Message>) -> Result<(), Refusal> {
        self.cloud()?.send(client, messages).await?;
        self.passed();
        Ok(())
    }

    async fn twin(&self, client: &Client) -> Result<Value, Refusal> {
        self.cloud()?.twin(client).await
    }

    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        let version = Gateway::report(self.cloud()?, client, patch).await?;
        self.passed();
        Ok(version)
    }

    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        let identity = &attachment.client.identity;
        let there = self.lock().get(identity).and_then(|end| end.attachment.clone());
        if let Some(attachment) = there {
            self.cloud.subscribe(&attachment, feature).await?;
        }
        if let Some(end) = self.lock().get_mut(identity) {
            end.features.insert(feature);
        }
        self.passed();
        Ok(())
    }

    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        let identity = &attachment.client.identity;
        let there = self.lock().get(identity).and_then(|end| end.attachment.clone());
        if let Some(attachment) = there {
            self.cloud.unsubscribe(&attachment, feature).await?;
        }
        if let Some(end) = self.lock().get_mut(identity) {
            end.features.remove(&feature);
        }
        self.passed();
        Ok(())
    }

    async fn invoke(&self, _: &Client, target: &Identity, _: MethodRequest) -> Result<MethodResponse, Refusal> {
        Err(Refusal::NotConnected(target.clone()))
    }
}

#[async_trait]
impl ScopeSource for Way {
    async fn identities(&self) -> Result<Vec<IdentityRecord>, Refusal> {
        let members = self.cloud()?.registry().in_scope_of(&self.device);
        let members = members.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        Ok(members.into_iter().map(|member| member.record).collect())
    }
}

/// A link on which notices can get lost.
struct Relay {
    inner: Arc<dyn ClientLink>,
    losing: Arc<AtomicBool>,
}

#[async_trait]
impl ClientLink for Relay {
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>) {
        self.inner.deliver(deliveries);
    }

    async fn desired_changed(&self, patch: Value) -> Result<(), LinkClosed> {
        if self.losing.load(Ordering::SeqCst) { Err(LinkClosed) } else { self.inner.desired_changed(patch).await }
    }

    async fn invoke(&self, request: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        self.inner.invoke(request).await
    }

    fn close(&self, reason: CloseReason) {
        self.inner.close(reason);
    }
}
