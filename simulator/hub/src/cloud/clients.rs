//! What the cloud hub offers to devices: the same port as an edge hub.

use std::sync::Arc;

use async_trait::async_trait;
use edgectl_schemas::ids::Identity;
use serde_json::Value;

use super::events::Arrival;
use super::hub::{CloudHub, refusal};
use crate::auth::{AuthError, IdentityRecord, Right, TokenCheck};
use crate::gateway::{Attachment, Client, ClientLink, Credential, Feature, Gateway, Refusal, SessionKind};
use crate::message::{MAX_MESSAGE_BYTES, Message};
use crate::method::{MethodRequest, MethodResponse};
use crate::provisioning::Provisioning;

#[async_trait]
impl Gateway for CloudHub {
    async fn authenticate(&self, identity: &Identity, credential: &Credential) -> Result<Client, Refusal> {
        let expires_at = match credential {
            Credential::Token(token) => self.check_token(identity, token)?,
            Credential::OnBehalfOf { token, chain } => self.check_on_behalf(identity, token, chain)?,
            Credential::Certificate(certificate) => self
                .check_proof(identity, |record, device| certificate.check(record, device, self.clock.now_seconds()))?,
        };
        Ok(Client { identity: identity.clone(), expires_at: Some(expires_at) })
    }

    async fn attach(
        &self,
        client: &Client,
        session: SessionKind,
        link: Arc<dyn ClientLink>,
    ) -> Result<Attachment, Refusal> {
        let attachment = self.sessions.attach(client, session, Arc::clone(&link)).map_err(unavailable)?;
        self.activities.connection_changed(&client.identity, self.clock.now_ms());
        self.notice_connection(&client.identity, true);
        self.outboxes.open(&attachment, link);
        if attachment.features.contains(&Feature::CloudToDevice) {
            self.outboxes.deliver(&attachment, true);
        }
        Ok(attachment)
    }

    async fn detach(&self, attachment: &Attachment) {
        self.outboxes.close(attachment);
        // Whoever was pushed out by a newer connection is not gone.
        if self.sessions.detach(attachment) {
            self.activities.connection_changed(&attachment.client.identity, self.clock.now_ms());
            self.notice_connection(&attachment.client.identity, false);
        }
    }

    async fn send(&self, client: &Client, messages: Vec<Message>) -> Result<(), Refusal> {
        if let Some(size) = messages.iter().map(Message::size).find(|size| *size > MAX_MESSAGE_BYTES) {
            return Err(Refusal::TooLarge { size, limit: MAX_MESSAGE_BYTES });
        }
        self.activities.happened(&client.identity, self.clock.now_ms());
        let arrival = |message| Arrival { source: None, from: &client.identity, message };
        let arrivals: Vec<Arrival> = messages.into_iter().map(arrival).collect();
        self.events.append(&arrivals, &self.clock.now_text()).map_err(unavailable)
    }

    async fn twin(&self, client: &Client) -> Result<Value, Refusal> {
        self.activities.happened(&client.identity, self.clock.now_ms());
        self.twin_of(&client.identity).map(|twin| twin.for_device()).map_err(refusal)
    }

    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        self.activities.happened(&client.identity, self.clock.now_ms());
        self.merge_reported(&client.identity, &patch).map(Some)
    }

    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        if !self.sessions.subscribe(attachment, feature).map_err(unavailable)? {
            return Err(Refusal::Detached);
        }
        if feature == Feature::CloudToDevice {
            self.outboxes.deliver(attachment, true);
        }
        Ok(())
    }

    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        if !self.sessions.unsubscribe(attachment, feature).map_err(unavailable)? {
            return Err(Refusal::Detached);
        }
        if feature == Feature::CloudToDevice {
            self.outboxes.deliver(attachment, false);
        }
        Ok(())
    }

    /// Services call methods, with a policy's key; an edge hub carries calls between the modules of its device.
    async fn invoke(
        &self,
        _caller: &Client,
        _target: &Identity,
        _request: MethodRequest,
    ) -> Result<MethodResponse, Refusal> {
        Err(Refusal::Unauthorized("a device may not call methods through the cloud".to_owned()))
    }

    fn provisioning(&self) -> Option<&dyn Provisioning> {
        Some(self)
    }
}

impl CloudHub {
    fn check_token(&self, identity: &Identity, token: &str) -> Result<u64, Refusal> {
        if let Ok(expires_at) = self.authorize(token, Right::DeviceConnect) {
            // A policy's token is as good as the device's own, if there is such a device and it may connect.
            let allowed = |record: &IdentityRecord, device: Option<&IdentityRecord>| {
                if record.enabled && device.is_none_or(|device| device.enabled) {
                    Ok(expires_at)
                } else {
                    Err(AuthError::Disabled(record.identity.clone()))
                }
            };
            return self.check_proof(identity, allowed);
        }
        let check = TokenCheck { hosts: &[&self.host], now: self.clock.now_seconds() };
        self.check_proof(identity, |record, device| check.check(token, record, device))
    }

    /// Checks a proof against the identity's record and, for a module, its device's.
    fn check_proof(
        &self,
        identity: &Identity,
        check: impl FnOnce(&IdentityRecord, Option<&IdentityRecord>) -> Result<u64, AuthError>,
    ) -> Result<u64, Refusal> {
        let unauthorized = |error: AuthError| Refusal::Unauthorized(error.to_string());
        let registration =
            self.registry().get(identity).ok_or_else(|| unauthorized(AuthError::Unknown(identity.clone())))?;
        let device = match identity.module {
            Some(_) => self.registry().get(&Identity::device(identity.device.clone())),
            None => None,
        };
        check(&registration.record, device.as_ref().map(|device| &device.record)).map_err(unauthorized)
    }

    /// An edge hub acts for a client: the token is its own, and the client is below it.
    fn check_on_behalf(&self, identity: &Identity, token: &str, chain: &str) -> Result<u64, Refusal> {
        let actor = self.registry().actor(chain, identity).map_err(refusal)?;
        self.check_token(&actor, token)
    }
}

fn unavailable(error: impl std::error::Error) -> Refusal {
    Refusal::Unavailable(error.to_string())
}
