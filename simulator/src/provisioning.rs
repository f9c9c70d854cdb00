//! Who the device's own modules are: asked once at the start, and anew when the hub above no longer believes them.

use std::sync::Arc;

use edgectl_hub::edge::hub::EdgeHub;
use edgectl_hub::gateway::Refusal;

use crate::client::registry::RegistryClient;
use crate::client::token::KeyTokens;

/// What signs for the device's own modules, by their identifiers.
pub type OwnTokens = Vec<(String, Arc<KeyTokens>)>;

/// How a client speaks to its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP, with or without a `WebSocket`.
    Amqp,
    /// MQTT, with or without a `WebSocket`.
    Mqtt,
}

/// Why a client is not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The hub says that the device is disabled.
    DeviceDisabled,
    /// The hub does not believe the client's proof.
    BadCredential,
    /// The network failed.
    CommunicationError,
}

/// Whether to ask anew who the device is. Only with AMQP does a hub say of itself that a device is disabled.
pub fn is_asked_anew(protocol: Protocol, loss: Loss) -> bool {
    match loss {
        Loss::DeviceDisabled => protocol == Protocol::Amqp,
        Loss::BadCredential => true,
        Loss::CommunicationError => false,
    }
}

/// The keys of the device's own modules, which can be asked for anew.
pub struct Provisioning {
    /// The registry.
    pub registry: Arc<RegistryClient>,
    /// The modules by their identifiers at the hub, with what signs for them.
    pub own: OwnTokens,
    /// Whose clients are asked for anew as well.
    pub edge: Arc<EdgeHub>,
}

impl Provisioning {
    /// Asks for the identities of the device's own modules, and for those of its clients.
    pub async fn renew(&self) -> Result<(), Refusal> {
        for (module, tokens) in &self.own {
            let record = self.registry.ensure_module(module).await?;
            if let Some(key) = record.keys().into_iter().next() {
                tokens.replace(key);
            }
        }
        self.edge.scope().refresh().await
    }
}
