//! A hub in memory that takes what it is given and can be told to be slow.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use edgectl_hub::gateway::{
    Attachment, Client, ClientLink, CloseReason, Credential, Feature, Gateway, Refusal, SessionKind,
};
use edgectl_hub::message::Message;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::SasToken;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What the hub has seen, and how it behaves.
#[derive(Default)]
pub struct State {
    /// Taken, in order.
    pub messages: Vec<Message>,
    /// Messages that came together.
    pub batches: Vec<usize>,
    /// How clients proved who they are.
    pub credentials: Vec<Credential>,
    /// Who is connected.
    pub links: HashMap<Identity, (u64, Arc<dyn ClientLink>)>,
    /// What clients have subscribed to.
    pub features: HashMap<Identity, BTreeSet<Feature>>,
    /// Connections so far, and those that ended.
    pub attached: u64,
    pub detached: u64,
    /// Reported properties.
    pub reported: Vec<Value>,
    /// The version of reported properties, where the hub tells it.
    pub version: Option<u64>,
    /// No message is taken while this is set.
    pub holds_messages: bool,
    /// No twin is read while this is set.
    pub holds_twins: bool,
    /// What authentication answers.
    pub refusal: Option<Refusal>,
}

/// The hub.
pub struct MemoryHub(watch::Sender<State>);

impl MemoryHub {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(State::default())))
    }

    /// Changes how it behaves.
    pub fn set(&self, change: impl FnOnce(&mut State)) {
        self.0.send_modify(change);
    }

    /// Waits until it has seen something, and reads it.
    pub async fn until(&self, seen: impl FnMut(&State) -> bool) {
        self.0.subscribe().wait_for(seen).await.expect("the hub lives");
    }

    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.borrow())
    }

    /// Waits for a client that has subscribed to a feature.
    pub async fn link(&self, identity: &str, feature: Feature) -> Arc<dyn ClientLink> {
        let identity = Identity::parse(identity).expect("an identity");
        let subscribed = |state: &State| {
            state.links.contains_key(&identity) && state.features.get(&identity).is_some_and(|f| f.contains(&feature))
        };
        self.until(subscribed).await;
        self.read(|state| Arc::clone(&state.links[&identity].1))
    }

    pub fn bodies(&self) -> Vec<String> {
        self.read(|state| state.messages.iter().map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect())
    }
}

#[async_trait]
impl Gateway for MemoryHub {
    async fn authenticate(&self, identity: &Identity, credential: &Credential) -> Result<Client, Refusal> {
        self.set(|state| state.credentials.push(credential.clone()));
        if let Some(refusal) = self.read(|state| state.refusal.clone()) {
            return Err(refusal);
        }
        let expires_at = match credential {
            Credential::Token(token) | Credential::OnBehalfOf { token, .. } => {
                let token = SasToken::parse(token).map_err(|error| Refusal::Unauthorized(error.to_string()))?;
                Some(token.expires_at)
            }
            Credential::Certificate(_) => None,
        };
        Ok(Client { identity: identity.clone(), expires_at })
    }

    async fn attach(
        &self,
        client: &Client,
        session: SessionKind,
        link: Arc<dyn ClientLink>,
    ) -> Result<Attachment, Refusal> {
        let mut attachment =
            Attachment { client: client.clone(), number: 0, session_present: false, features: Vec::new() };
        self.set(|state| {
            state.attached += 1;
            attachment.number = state.attached;
            if let Some((_, old)) = state.links.insert(client.identity.clone(), (state.attached, link)) {
                old.close(CloseReason::TakenOver);
            }
            if session == SessionKind::Clean {
                state.features.remove(&client.identity);
            }
            attachment.session_present = state.features.contains_key(&client.identity);
        });
        Ok(attachment)
    }

    async fn detach(&self, attachment: &Attachment) {
        self.set(|state| {
            state.detached += 1;
            let identity = &attachment.client.identity;
            if state.links.get(identity).is_some_and(|(number, _)| *number == attachment.number) {
                state.links.remove(identity);
            }
        });
    }

    async fn send(&self, _client: &Client, messages: Vec<Message>) -> Result<(), Refusal> {
        self.until(|state| !state.holds_messages).await;
        self.set(|state| {
            state.batches.push(messages.len());
            state.messages.extend(messages);
        });
        Ok(())
    }

    async fn twin(&self, _client: &Client) -> Result<Value, Refusal> {
        self.until(|state| !state.holds_twins).await;
        Ok(json!({ "desired": { "a": 1, "$version": 2 }, "reported": { "$version": 1 } }))
    }

    async fn report(&self, _client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        if !patch.is_object() {
            return Err(Refusal::Invalid("reported properties are an object".to_owned()));
        }
        self.set(|state| state.reported.push(patch));
        Ok(self.read(|state| state.version))
    }

    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        self.set(|state| {
            state.features.entry(attachment.client.identity.clone()).or_default().insert(feature);
        });
        Ok(())
    }

    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        self.set(|state| {
            state.features.entry(attachment.client.identity.clone()).or_default().remove(&feature);
        });
        Ok(())
    }

    async fn invoke(&self, _: &Client, target: &Identity, _: MethodRequest) -> Result<MethodResponse, Refusal> {
        Err(Refusal::NotConnected(target.clone()))
    }
}
