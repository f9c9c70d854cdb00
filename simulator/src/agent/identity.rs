//! Who modules are at the hub, as the agent asks for it.

use async_trait::async_trait;

/// Who modules are at the hub.
#[async_trait]
pub trait IdentityProvider: Send + Sync + 'static {
    /// Makes sure that a module has an identity and a workload API. The module is named by its identifier at the hub.
    async fn ensure(&self, module_id: &str) -> Result<ModuleIdentity, IdentityError>;

    /// Takes identity and workload API from a module that is no longer desired.
    async fn remove(&self, module_id: &str) -> Result<(), IdentityError>;
}

/// What a module must know of its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleIdentity {
    /// The generation of the identity.
    pub generation_id: String,
    /// Where its workload API is, as in `unix:///run/m.sock`.
    pub workload_uri: String,
}

/// Why a module has no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdentityError(pub String);
