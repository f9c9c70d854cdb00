//! What joins a device of a fleet to the hub above it.

use std::sync::Arc;

use edgectl_hub::edge::scope::ScopeSource;
use edgectl_hub::gateway::Gateway;
use edgectl_schemas::ids::DeviceId;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::identity::IdentityProvider;
use crate::agent_link::AgentConnection;
use crate::client::device_client::ClientEvent;

/// Modules of a fleet are no processes that could ask a workload API.
pub const NO_WORKLOAD_API: &str = "unix:///dev/null";

/// What joins one device to the hub above it: calls where the hub is in the same process, else connections.
pub struct Ties {
    /// The device.
    pub device: DeviceId,
    /// The cloud hub's name.
    pub hub_host: String,
    /// The edge hub's way up.
    pub upstream: Arc<dyn Gateway>,
    /// Who may connect to the edge hub.
    pub scope: Arc<dyn ScopeSource>,
    /// Who the modules are.
    pub identities: Arc<dyn IdentityProvider>,
    /// The agent's connection.
    pub agent: Arc<dyn AgentConnection>,
    /// What comes over it.
    pub events: mpsc::Receiver<ClientEvent>,
    /// What the hub above has of the agent's report.
    pub reported: Value,
    /// What works for the device.
    pub tasks: TaskTracker,
    /// Ends the ties with all else of the device but its agent, which ends before.
    pub shutdown: CancellationToken,
}
