//! The edge hub's way to the cloud hub, with a switch. Like the real one it remembers what was asked for while it was
//! interrupted, and tells its links when it is back.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::edge::hub::EdgeHub;
use edgectl_hub::edge::scope::ScopeSource;
use edgectl_hub::family::Member;
use edgectl_hub::gateway::{
    Attachment, Client, ClientLink, CloseReason, Credential, Delivery, Feature, Gateway, LinkClosed, Refusal,
    SessionKind, Settlement,
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
    cloud: Arc<dyn Gateway>,
    scope: Arc<dyn ScopeSource>,
    /// The edge hub's own token.
    token: String,
    /// With what chains it acts for its clients.
    chains: Mutex<HashMap<Identity, String>>,
    open: AtomicBool,
    /// Notices of changed desired properties get lost.
    losing: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
    /// Whether answers about twins are kept on the way, and how many were.
    holding: watch::Sender<(bool, u64)>,
    /// Whose messages cannot be taken for now.
    refused_sender: Mutex<Option<Identity>>,
    /// What messages are answered with, instead of being taken, and how many were.
    refusing: Mutex<(Option<Refusal>, u64)>,
    number: AtomicU64,
    ends: Mutex<HashMap<Identity, End>>,
    /// Counts what came through.
    passed: Arc<watch::Sender<u64>>,
}

struct End {
    number: u64,
    link: Arc<Relay>,
    features: BTreeSet<Feature>,
    attachment: Option<Attachment>,
}

impl Way {
    /// A way that the edge hub of a device uses with its own token.
    pub fn new(cloud: Arc<dyn Gateway>, scope: Arc<dyn ScopeSource>, token: String, open: bool) -> Arc<Self> {
        Arc::new(Self {
            cloud,
            scope,
            token,
            chains: Mutex::default(),
            open: AtomicBool::new(open),
            losing: Arc::default(),
            lost: Arc::default(),
            told: Arc::default(),
            holding: watch::Sender::new((false, 0)),
            refused_sender: Mutex::default(),
            refusing: Mutex::default(),
            number: AtomicU64::new(1),
            ends: Mutex::default(),
            passed: Arc::new(watch::Sender::new(0)),
        })
    }

    /// Interrupts the way.
    pub async fn interrupt(&self) {
        self.open.store(false, Ordering::SeqCst);
        let ends: Vec<_> = {
            let mut ends = self.lock();
            ends.values_mut().filter_map(|end| Some((end.attachment.take()?, Arc::clone(&end.link)))).collect()
        };
        for (attachment, link) in ends {
            self.cloud.detach(&attachment).await;
            link.inner.interrupted();
        }
    }

    /// Mends the way.
    pub async fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
        let identities: Vec<_> = self.lock().keys().cloned().collect();
        for identity in identities {
            // One that was removed meanwhile stays away.
            let _ = self.connect(&identity).await;
        }
    }

    /// Loses notices of changed desired properties from now on, or no more.
    pub fn lose_notices(&self, losing: bool) {
        self.losing.store(losing, Ordering::SeqCst);
    }

    /// Keeps answers about twins on the way from now on, or lets them through.
    pub fn hold_twins(&self, holding: bool) {
        self.holding.send_modify(|held| held.0 = holding);
    }

    /// Waits until so many answers about twins are on the way.
    pub async fn until_held(&self, count: u64) {
        timeout(FOREVER, self.holding.subscribe().wait_for(|held| held.1 >= count))
            .await
            .expect("soon")
            .expect("the way");
    }

    /// Waits until so many notices of changed desired properties were handed on.
    pub async fn until_told(&self, count: u64) {
        self.until(|| self.told.load(Ordering::SeqCst) >= count).await;
    }

    /// Refuses messages from now on, or no more.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.refusing.lock().unwrap_or_else(PoisonError::into_inner).0 = refusal;
    }

    /// Takes no messages of one sender from now on, or of all.
    pub fn refuse_from(&self, sender: Option<Identity>) {
        *self.refused_sender.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Waits until so many messages were refused.
    pub async fn until_refused(&self, count: u64) {
        self.until(|| self.refusing.lock().unwrap_or_else(PoisonError::into_inner).1 >= count).await;
    }

    /// Waits until so many notices got lost.
    pub async fn until_lost(&self, count: u64) {
        self.until(|| self.lost.load(Ordering::SeqCst) >= count).await;
    }

    /// Waits until the edge hub does not act for a client any more.
    pub async fn until_left(&self, identity: &Identity) {
        self.until(|| !self.lock().contains_key(identity)).await;
    }

    /// What the edge hub has switched on for a client.
    pub fn features(&self, identity: &Identity) -> Vec<Feature> {
        self.lock().get(identity).map(|end| end.features.iter().copied().collect()).unwrap_or_default()
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
        let chain = self.chains.lock().unwrap_or_else(PoisonError::into_inner).get(identity).cloned();
        let credential = Credential::OnBehalfOf { token: self.token.clone(), chain: chain.unwrap_or_default() };
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
    fn cloud(&self) -> Result<&dyn Gateway, Refusal> {
        if self.open.load(Ordering::SeqCst) {
            Ok(self.cloud.as_ref())
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
    async fn authenticate(&self, identity: &Identity, credential: &Credential) -> Result<Client, Refusal> {
        if let Credential::OnBehalfOf { chain, .. } = credential {
            let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
            chains.insert(identity.clone(), chain.clone());
        }
        Ok(Client { identity: identity.clone(), expires_at: None })
    }

    async fn attach(&self, client: &Client, _: SessionKind, link: Arc<dyn ClientLink>) -> Result<Attachment, Refusal> {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let link = Arc::new(Relay {
            inner: link,
            losing: Arc::clone(&self.losing),
            lost: Arc::clone(&self.lost),
            told: Arc::clone(&self.told),
            passed: Arc::clone(&self.passed),
        });
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
        let cloud = self.cloud()?;
        if *self.refused_sender.lock().unwrap_or_else(PoisonError::into_inner) == Some(client.identity.clone()) {
            return Err(Refusal::Unavailable("not from this sender".to_owned()));
        }
        let refused = {
            let mut refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
            refusing.1 += u64::from(refusing.0.is_some());
            refusing.0.clone()
        };
        if let Some(refusal) = refused {
            self.passed();
            return Err(refusal);
        }
        cloud.send(client, messages).await?;
        self.passed();
        Ok(())
    }

    async fn twin(&self, client: &Client) -> Result<Value, Refusal> {
        let twin = self.cloud()?.twin(client).await;
        self.holding.send_modify(|held| held.1 += u64::from(held.0));
        // The sender lives as long as `self`.
        let _ = self.holding.subscribe().wait_for(|held| !held.0).await;
        twin
    }

    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        let version = self.cloud()?.report(client, patch).await?;
        self.passed();
        Ok(version)
    }

    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        let identity = &attachment.client.identity;
        let there = self.lock().get(identity).and_then(|end| end.attachment.clone());
        if let Some(attachment) = there {
            self.cloud.subscribe(&attachment, feature).await?;
            // What changed before was not told.
            let link = self.lock().get(identity).map(|end| Arc::clone(&end.link));
            if let (Feature::DesiredProperties, Some(link)) = (feature, link) {
                tokio::spawn(async move { link.inner.reconnected().await });
            }
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
    async fn identities(&self) -> Result<Vec<Member>, Refusal> {
        self.cloud()?;
        self.scope.identities().await
    }
}

/// What the cloud hub says of a device's scope, and of those below it.
pub struct CloudScope {
    /// The cloud hub.
    pub cloud: Arc<CloudHub>,
    /// The device.
    pub device: DeviceId,
}

#[async_trait]
impl ScopeSource for CloudScope {
    async fn identities(&self) -> Result<Vec<Member>, Refusal> {
        let mut all: Vec<Member> = Vec::new();
        let mut devices = vec![self.device.clone()];
        while let Some(device) = devices.pop() {
            let members = self.cloud.registry().in_scope_of(&device);
            let members = members.map_err(|error| Refusal::Unavailable(error.to_string()))?;
            let members: Vec<Member> = members.iter().map(|member| member.member()).collect();
            let below = members.iter().filter(|member| member.edge && member.record.identity.device != device);
            devices.extend(below.map(|member| member.record.identity.device.clone()));
            all.extend(members);
        }
        Ok(all)
    }
}

/// What the edge hub above says of a device's scope.
pub struct ParentScope {
    /// The edge hub.
    pub hub: Arc<EdgeHub>,
    /// The device.
    pub device: DeviceId,
}

#[async_trait]
impl ScopeSource for ParentScope {
    async fn identities(&self) -> Result<Vec<Member>, Refusal> {
        self.hub.scope().refresh().await?;
        let mut all: Vec<Member> = Vec::new();
        let mut devices = vec![self.device.clone()];
        while let Some(device) = devices.pop() {
            let members = self.hub.scope().members_of(&device);
            let below = members.iter().filter(|member| member.edge && member.record.identity.device != device);
            devices.extend(below.map(|member| member.record.identity.device.clone()));
            all.extend(members);
        }
        Ok(all)
    }
}

/// A link on which notices can get lost.
struct Relay {
    inner: Arc<dyn ClientLink>,
    losing: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
    passed: Arc<watch::Sender<u64>>,
}

#[async_trait]
impl ClientLink for Relay {
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>) {
        self.inner.deliver(deliveries);
    }

    async fn deliver_one(&self, delivery: Delivery) -> Result<Settlement, LinkClosed> {
        self.inner.deliver_one(delivery).await
    }

    async fn desired_changed(&self, patch: Value) -> Result<(), LinkClosed> {
        if !self.losing.load(Ordering::SeqCst) {
            let result = self.inner.desired_changed(patch).await;
            self.told.fetch_add(1, Ordering::SeqCst);
            self.passed.send_modify(|count| *count += 1);
            return result;
        }
        self.lost.fetch_add(1, Ordering::SeqCst);
        self.passed.send_modify(|count| *count += 1);
        Err(LinkClosed)
    }

    async fn invoke(&self, request: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        self.inner.invoke(request).await
    }

    fn close(&self, reason: CloseReason) {
        self.inner.close(reason);
    }
}
