//! What a running device answers on its control socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::edge::hub::{EdgeHub, EdgeHubStatus};
use edgectl_hub::message::{MAX_MESSAGE_BYTES, Message};
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::methods::uploads::BundleRequest;
use crate::agent::reconcile::Question;
use crate::agent_link::STOP_TIMEOUT;
use crate::client::device_client::DeviceClient;
use crate::cloud;
use crate::control::{self, Handler, Next, Request};
use crate::link::{Conditions, Link};
use crate::metrics::device_metrics::DeviceMetrics;
use crate::runtime::module_runtime::{LogLine, LogQuery, ModuleRuntime};
use crate::state::{Endpoints, StateDirectory};

/// Bytes of a support bundle that are sent at once.
const BUNDLE_PART_BYTES: usize = 256 * 1024;
/// For the hub above to answer what the agent reported.
const TWIN_TIMEOUT: Duration = Duration::from_secs(5);

fn log_item(module: &str, line: &LogLine) -> Value {
    json!({ "timestamp": line.at.to_string(), "module": module, "stream": line.stream.as_str(), "text": line.text })
}

async fn hand_on(module: String, mut lines: mpsc::Receiver<LogLine>, items: &mpsc::Sender<Value>) {
    while let Some(line) = lines.recv().await {
        if items.send(log_item(&module, &line)).await.is_err() {
            return;
        }
    }
}

/// Hands on lines of several modules, the oldest first.
async fn merge(sources: Vec<(String, mpsc::Receiver<LogLine>)>, items: &mpsc::Sender<Value>) {
    let mut heads = Vec::with_capacity(sources.len());
    for (module, mut lines) in sources {
        heads.extend(lines.recv().await.map(|line| (line, module, lines)));
    }
    while let Some(oldest) = (0..heads.len()).min_by_key(|index| heads[*index].0.at) {
        let (line, module, lines) = &mut heads[oldest];
        if items.send(log_item(module, line)).await.is_err() {
            return;
        }
        match lines.recv().await {
            Some(next) => *line = next,
            None => drop(heads.remove(oldest)),
        }
    }
}

/// What answers are made of.
pub struct Requests {
    /// The edge hub.
    pub edge: Arc<EdgeHub>,
    /// The cloud hub; none for a device below another one.
    pub cloud: Option<Arc<CloudHub>>,
    /// The control socket of the device above, which answers what only the cloud hub knows.
    pub parent: Option<PathBuf>,
    /// The agent's connection.
    pub agent: DeviceClient,
    /// What the agent would do is asked here.
    pub questions: mpsc::Sender<Question>,
    /// What was counted and measured.
    pub metrics: DeviceMetrics,
    /// The network to the hub above.
    pub link: Link,
    /// The modules.
    pub runtime: Arc<dyn ModuleRuntime>,
    /// The device.
    pub device: DeviceId,
    /// Where it is reached.
    pub endpoints: Endpoints,
    /// Where its state lies.
    pub state: StateDirectory,
    /// Ends the device.
    pub stop: CancellationToken,
}

/// A device at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Where it is reached.
    pub endpoints: Endpoints,
    /// Its modules, by name.
    pub modules: Vec<ModuleStatus>,
    /// What the agent reported of the deployment: `{code, description}`; null before the first one.
    pub deployment: Value,
    /// The version of the deployment that the agent last looked at.
    pub deployment_version: Option<u64>,
    /// The edge hub: counters, queues, routes, clients.
    pub hub: Value,
    /// Messages that the cloud hub received since it exists.
    pub received_by_cloud: u64,
    /// The network to the hub above.
    pub network: Conditions,
}

/// A module at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// Its name in the deployment.
    pub name: String,
    /// In the runtime's words: `running`, `stopped`, `failed`, `backoff`.
    pub status: String,
    /// The same for people, with why.
    pub description: String,
    /// Its image.
    pub image: String,
    /// What stands behind the image here.
    pub runs_as: Option<String>,
    /// How often the agent started it again.
    pub restarts: u64,
    /// Its process.
    pub process: Option<u32>,
    /// Whether it is connected to the edge hub.
    pub connected: bool,
}

impl Requests {
    pub(crate) async fn status(&self) -> Result<DeviceStatus, String> {
        let reported = self.reported().await?;
        let hub = self.edge.status();
        let states = self.runtime.list().await.map_err(|error| error.to_string())?;
        let modules = match reported.get("modules") {
            Some(Value::Object(modules)) => modules
                .iter()
                .map(|(name, report)| {
                    let state = states.iter().find(|state| state.name == *name);
                    module_status(name, report, state, &self.device, &hub)
                })
                .collect(),
            _ => Vec::new(),
        };
        Ok(DeviceStatus {
            endpoints: self.endpoints.clone(),
            modules,
            deployment: reported.get("lastDesiredStatus").cloned().unwrap_or_default(),
            deployment_version: reported.get("lastDesiredVersion").and_then(Value::as_u64),
            hub: serde_json::to_value(&hub).map_err(|error| error.to_string())?,
            received_by_cloud: self.received_by_cloud().await,
            network: self.link.conditions(),
        })
    }

    /// What the agent is told, as the cloud hub has it.
    pub(crate) async fn desired(&self) -> Result<Value, String> {
        let Some(cloud) = &self.cloud else {
            return Ok(self.agent_twin().await.get("desired").cloned().unwrap_or_default());
        };
        let agent = Identity::module(self.device.clone(), ModuleId::edge_agent());
        let twin = cloud.twin_of(&agent).map_err(|error| error.to_string())?;
        Ok(Value::Object(twin.desired.properties.clone()))
    }

    /// The agent's twin, as the hub above says; null if it does not answer.
    pub(crate) async fn agent_twin(&self) -> Value {
        let twin = tokio::time::timeout(TWIN_TIMEOUT, self.agent.twin()).await;
        twin.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// What the agent reported, as the cloud hub has it.
    async fn reported(&self) -> Result<Value, String> {
        let Some(cloud) = &self.cloud else {
            return Ok(self.agent_twin().await.get("reported").cloned().unwrap_or_default());
        };
        let agent = Identity::module(self.device.clone(), ModuleId::edge_agent());
        let twin = cloud.twin_of(&agent).map_err(|error| error.to_string())?;
        Ok(Value::Object(twin.reported.properties.clone()))
    }

    /// Messages that the cloud hub received; none where the device above, which knows, does not run.
    async fn received_by_cloud(&self) -> u64 {
        if let Some(cloud) = &self.cloud {
            return cloud.events().telemetry();
        }
        let status = async { control::ask(self.parent.as_ref()?, &Request::Status).await.ok()?.result().await.ok() };
        status.await.and_then(|status| status.get("receivedByCloud")?.as_u64()).unwrap_or_default()
    }

    /// Lines of modules: those there are in the order of their times, those to come as they come.
    async fn logs(&self, modules: Vec<String>, query: LogQuery, items: mpsc::Sender<Value>) -> Result<Value, String> {
        let modules = if modules.is_empty() {
            let states = self.runtime.list().await.map_err(|error| error.to_string())?;
            states.into_iter().map(|state| state.name).collect()
        } else {
            modules
        };
        let mut sources = Vec::with_capacity(modules.len());
        for module in modules {
            let lines = self.runtime.logs(&module, query.clone()).await.map_err(|error| error.to_string())?;
            sources.push((module, lines));
        }
        if query.follow {
            let followed = sources.into_iter().map(|(module, lines)| hand_on(module, lines, &items));
            futures_util::future::join_all(followed).await;
        } else {
            merge(sources, &items).await;
        }
        Ok(Value::Null)
    }

    /// Hands a request up to the device above, and its answers down.
    async fn ask_parent(&self, request: &Request, items: mpsc::Sender<Value>) -> Result<Value, String> {
        let parent = self.parent.as_ref().ok_or("there is no device above")?;
        let failed = |error: control::ControlError| format!("the device above: {error}");
        let mut conversation = control::ask(parent, request).await.map_err(failed)?;
        loop {
            match conversation.next().await.map_err(failed)? {
                Next::Done(value) => return Ok(value),
                Next::Item(item) => {
                    if items.send(item).await.is_err() {
                        return Ok(Value::Null);
                    }
                }
            }
        }
    }

    async fn events(&self, from: u64, follow: bool, items: mpsc::Sender<Value>) -> Result<Value, String> {
        match &self.cloud {
            Some(cloud) => cloud::events(cloud, from, follow, items).await,
            None => self.ask_parent(&Request::Events { follow, from }, items).await,
        }
    }

    async fn send(&self, request: SendRequest) -> Result<Value, String> {
        let module = ModuleId::new(&request.module).map_err(|error| format!("module {:?}: {error}", request.module))?;
        let identity = Identity::module(self.device.clone(), module.clone());
        if !self.is_registered(&identity) {
            return Err(format!("there is no module {module} on this device"));
        }
        let body = BASE64.decode(&request.body).map_err(|error| format!("the body: {error}"))?;
        let mut message = Message::new(body);
        for (name, value) in request.properties {
            message.properties.set(name, value);
        }
        for (name, value) in request.system {
            message.system.set(name, value);
        }
        if message.size() > MAX_MESSAGE_BYTES {
            return Err(format!("the message has {} bytes, the most is {MAX_MESSAGE_BYTES}", message.size()));
        }
        let number = self.edge.put_into_input(&module, &request.input, message).await;
        number.map(Value::from).map_err(|refusal| refusal.to_string())
    }

    fn is_registered(&self, identity: &Identity) -> bool {
        match &self.cloud {
            Some(cloud) => cloud.registry().get(identity).is_some(),
            None => self.edge.scope().find(identity).is_some(),
        }
    }

    async fn restart(&self, module: &str) -> Result<Value, String> {
        let agent = &self.metrics.resources.agent;
        let start_ms = agent.registry.now_ms();
        self.runtime.restart(module, STOP_TIMEOUT).await.map_err(|error| error.to_string())?;
        agent.restarted(start_ms);
        Ok(Value::Null)
    }
}

struct SendRequest {
    module: String,
    input: String,
    body: String,
    properties: Vec<(String, String)>,
    system: Vec<(String, String)>,
}

#[async_trait]
impl Handler for Requests {
    async fn handle(&self, request: Request, items: mpsc::Sender<Value>) -> Result<Value, String> {
        match request {
            Request::Status => {
                let status = self.status().await?;
                serde_json::to_value(status).map_err(|error| error.to_string())
            }
            Request::Fleet | Request::FleetReport => Err(format!("{} is one device and no fleet", self.device)),
            Request::Logs { modules, follow, tail, since, until } => {
                self.logs(modules, LogQuery { tail, since, until, follow }, items).await
            }
            Request::Events { follow, from } => self.events(from, follow, items).await,
            Request::Send { module, input, body, properties, system } => {
                self.send(SendRequest { module, input, body, properties, system }).await
            }
            Request::Place { module } => {
                let place = self.runtime.place(&module).await.map_err(|error| error.to_string())?;
                serde_json::to_value(place).map_err(|error| error.to_string())
            }
            Request::Restart { module } => self.restart(&module).await,
            Request::Network { conditions } => {
                if let Some(conditions) = conditions {
                    self.link.set(conditions);
                }
                serde_json::to_value(self.link.conditions()).map_err(|error| error.to_string())
            }
            Request::Trace { wanted } => {
                serde_json::to_value(self.edge.traces(&wanted)).map_err(|error| error.to_string())
            }
            Request::Inspect { module } => {
                serde_json::to_value(self.inspect(&module).await?).map_err(|error| error.to_string())
            }
            Request::Metrics => serde_json::to_value(self.metrics.families().await).map_err(|error| error.to_string()),
            Request::Plan { modules_content } => {
                let forecast = self.plan(&modules_content).await?;
                serde_json::to_value(forecast).map_err(|error| error.to_string())
            }
            Request::SupportBundle { since, until, is_runtime_only } => {
                let bytes = self.support_bundle(BundleRequest { since, until, is_runtime_only }).await?;
                for part in bytes.chunks(BUNDLE_PART_BYTES) {
                    if items.send(BASE64.encode(part).into()).await.is_err() {
                        break;
                    }
                }
                Ok(Value::Null)
            }
            Request::Stop => {
                self.stop.cancel();
                Ok(Value::Null)
            }
        }
    }
}

/// What the agent reports of a module, with what only the runtime and the hub know.
fn module_status(
    name: &str,
    report: &Value,
    state: Option<&crate::runtime::module_runtime::ModuleState>,
    device: &DeviceId,
    hub: &EdgeHubStatus,
) -> ModuleStatus {
    let text = |pointer: &str| report.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = format!("{device}/{name}");
    ModuleStatus {
        name: name.to_owned(),
        status: text("/runtimeStatus"),
        description: text("/statusDescription"),
        image: text("/settings/image"),
        runs_as: state.and_then(|state| state.image_description.clone()),
        restarts: report.get("restartCount").and_then(Value::as_u64).unwrap_or_default(),
        process: state.and_then(|state| state.pid),
        connected: hub.clients.iter().any(|client| client.to_string() == own),
    }
}
