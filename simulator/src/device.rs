//! A simulated device as a whole: every part is made and joined here, and every task is started and ended here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::{Clock, SystemClock};
use edgectl_hub::cloud::hub::{CloudHub, CloudHubError, CloudHubOptions};
use edgectl_hub::cloud::registry::{RegistryError, Wanted, new_key};
use edgectl_hub::edge::hub::{EdgeHub, EdgeHubError, EdgeHubOptions};
use edgectl_hub::gateway::Gateway;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas::SharedKey;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::DeviceAddress;
use crate::agent::environment::DeviceEnvironment;
use crate::agent::reconcile::{Agent, AgentOptions};
use crate::agent::report::AgentFacts;
use crate::agent::restart::RestartRules;
use crate::agent_link::{AgentLink, STOP_TIMEOUT, reported};
use crate::authority::{Authority, AuthorityError};
use crate::client::cloud_gateway::{CloudGateway, CloudGatewayOptions};
use crate::client::device_client::{ClientOptions, DeviceClient};
use crate::client::registry::RegistryClient;
use crate::client::token::KeyTokens;
use crate::control;
use crate::frontend::http::access::OWNER_POLICY;
use crate::frontend::http::service::{self, Service};
use crate::frontend::{http, mqtt};
use crate::listen::{self, BindError};
use crate::modules::Modules;
use crate::requests::Requests;
use crate::runtime::group_record::sweep_leftovers;
use crate::runtime::module_runtime::ModuleRuntime;
use crate::runtime::process::{ImageLookup, ProcessRuntime, ProcessRuntimeOptions};
use crate::state::{Endpoints, ServiceAccess, StateDirectory, StateError, read_json, write_json};
use crate::tls::{self, TlsError};
use crate::workload::keys::KeyRing;
use crate::workload::socket::WorkloadFacts;

const MQTT_PORT: u16 = 8883;
const HTTPS_PORT: u16 = 443;
/// The version of the workload API that modules are told.
const WORKLOAD_API_VERSION: &str = "2022-08-03";
/// Bytes of a module's log before it is put aside.
const MAX_LOG_BYTES: u64 = 8 * 1024 * 1024;
/// The agent looks at its modules this often.
const AGENT_PERIOD: Duration = Duration::from_secs(5);
/// How often it is checked that the state directory is still there.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);
/// Reports of the agent that wait for its connection.
const REPORT_QUEUE: usize = 16;

/// What a device needs to know.
pub struct DeviceOptions {
    /// Its identifier.
    pub device: DeviceId,
    /// Where its state lies.
    pub state: StateDirectory,
    /// The addresses it tries first when it has none yet.
    pub preferred: DeviceAddress,
    /// The addresses that it must have.
    pub address: Option<DeviceAddress>,
    /// The command that starts a module so that it ends with the simulator.
    pub launcher: Vec<OsString>,
    /// What modules inherit of the user's environment.
    pub base_environment: BTreeMap<OsString, OsString>,
    /// How images become processes.
    pub images: ImageLookup,
}

/// A device could not start.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Its state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// An address cannot be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No pair of addresses is free.
    #[error("no loopback address has a free port 8883{}", by.as_ref().map_or_else(String::new, |by| format!(": {by} listens there")))]
    NoAddress {
        /// Who listens at all of them, as far as it can be found out.
        by: Option<String>,
    },
    /// The certificate authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The cloud hub cannot start.
    #[error("the cloud hub: {0}")]
    Cloud(#[from] CloudHubError),
    /// The edge hub cannot start.
    #[error("the edge hub: {0}")]
    Edge(#[from] EdgeHubError),
    /// The device cannot be registered.
    #[error("the registry: {0}")]
    Registry(#[from] RegistryError),
    /// Something else that is needed cannot be had.
    #[error("{what}: {reason}")]
    Other {
        /// What.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

fn other(what: &'static str) -> impl FnOnce(&dyn std::fmt::Display) -> DeviceError {
    move |error| DeviceError::Other { what, reason: error.to_string() }
}

/// Why a device ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It was asked to through its control socket.
    Asked,
    /// Its state directory was removed.
    StateRemoved,
}

/// A running device.
pub struct Device {
    endpoints: Endpoints,
    state: StateDirectory,
    edge: Arc<EdgeHub>,
    cloud: Arc<CloudHub>,
    runtime: Arc<ProcessRuntime>,
    modules: Arc<Modules>,
    agent_client: DeviceClient,
    /// Ends the agent, which stops its modules.
    agent_shutdown: CancellationToken,
    agent_tasks: TaskTracker,
    /// Ends what the agent and its modules need.
    shutdown: CancellationToken,
    tasks: TaskTracker,
    stop_asked: CancellationToken,
    _lock: std::fs::File,
}

/// The listeners of a device, bound before anything else is done.
struct Listeners {
    address: DeviceAddress,
    gateway_mqtt: TcpListener,
    gateway_https: Option<TcpListener>,
    hub_mqtt: TcpListener,
    hub_https: TcpListener,
}

impl Device {
    /// Starts a device. Returns when its hubs listen and its agent runs.
    pub async fn start(options: DeviceOptions) -> Result<Self, DeviceError> {
        let state = options.state.clone();
        state.create()?;
        let lock = state.lock()?;
        sweep_leftovers(&group_record(&state)).map_err(|error| other("modules of an earlier run")(&error))?;
        let listeners = listen_at(&options, &state).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = Timestamp::now();
        let authority = Arc::new(Authority::open(&state.authority(), &options.device, now)?);
        let endpoints = endpoints(&options.device, &listeners, &authority)?;
        let host = endpoints.hub_host_name.clone();
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());

        let cloud =
            CloudHub::open(CloudHubOptions { host: host.clone(), directory: state.cloud() }, Arc::clone(&clock))?;
        let device_key = provision(&cloud, &options.device)?;
        let service_key = service_key(&state)?;
        let client_tls = tls::client_config(authority.trust_bundle())?;
        let hub_mqtt_address = listeners.hub_mqtt.local_addr().map_err(|error| other("the cloud hub")(&error))?;
        let hub_https_address = listeners.hub_https.local_addr().map_err(|error| other("the cloud hub")(&error))?;
        let server_name = ServerName::IpAddress(listeners.address.hub().into());

        // The cloud hub listens first: everything on the device connects to it.
        let hub_tls = tls::server_config(&authority.issue_server(&[&host], now)?)?;
        let cloud_gateway: Arc<dyn Gateway> = Arc::<CloudHub>::clone(&cloud);
        serve_mqtt(&tasks, listeners.hub_mqtt, Arc::clone(&hub_tls), cloud_gateway, &clock, &shutdown);
        let service = service::router(Service { hub: Arc::clone(&cloud), key: service_key });
        serve_https(&tasks, listeners.hub_https, hub_tls, service, &shutdown);

        let device_identity = Identity::device(options.device.clone());
        let tokens = Arc::new(KeyTokens::new(&host, &device_identity, device_key));
        let registry = RegistryClient::new(hub_https_address, &client_tls, options.device.clone(), tokens)
            .map_err(|error| other("the client of the registry")(&error))?;
        let registry = Arc::new(registry);

        // The runtime's own modules have keys of their own, which the device asks for like those of the others.
        let edge_hub = Identity::module(options.device.clone(), ModuleId::edge_hub());
        let edge_hub_tokens = Arc::new(KeyTokens::new(&host, &edge_hub, own_key(&registry, "$edgeHub").await?));
        let edge_agent = Identity::module(options.device.clone(), ModuleId::edge_agent());
        let edge_agent_tokens = Arc::new(KeyTokens::new(&host, &edge_agent, own_key(&registry, "$edgeAgent").await?));

        let upstream = CloudGateway::new(CloudGatewayOptions {
            hub_host: host.clone(),
            address: hub_mqtt_address,
            server_name: server_name.clone(),
            tls: Arc::clone(&client_tls),
            actor: edge_hub,
            tokens: edge_hub_tokens,
        });
        let edge_options = EdgeHubOptions {
            device: options.device.clone(),
            hub_host: host.clone(),
            gateway_host: endpoints.gateway_host_name.clone(),
            directory: state.edge(),
        };
        let edge = EdgeHub::start(edge_options, upstream, Arc::clone(&registry) as _, Arc::clone(&clock)).await?;
        let gateway_tls = tls::server_config(&authority.issue_server(&[&endpoints.gateway_host_name], now)?)?;
        let edge_gateway: Arc<dyn Gateway> = Arc::<EdgeHub>::clone(&edge);
        serve_mqtt(
            &tasks,
            listeners.gateway_mqtt,
            Arc::clone(&gateway_tls),
            Arc::clone(&edge_gateway),
            &clock,
            &shutdown,
        );
        if let Some(listener) = listeners.gateway_https {
            let calls = http::gateway::router(edge_gateway, options.device.clone());
            serve_https(&tasks, listener, gateway_tls, calls, &shutdown);
        }

        let runtime = Arc::new(
            ProcessRuntime::open(ProcessRuntimeOptions {
                images: options.images,
                launcher: options.launcher,
                base_environment: options.base_environment,
                log_folder: state.modules(),
                max_log_bytes: MAX_LOG_BYTES,
                group_record: group_record(&state),
            })
            .map_err(|error| other("the module runtime")(&error))?,
        );
        let module_runtime: Arc<dyn ModuleRuntime> = Arc::<ProcessRuntime>::clone(&runtime);
        let facts = Arc::new(WorkloadFacts {
            authority: Arc::clone(&authority),
            keys: KeyRing::default(),
            runtime: Arc::clone(&module_runtime),
            hub_host: host.clone(),
            device: options.device.clone(),
        });
        let modules = Arc::new(Modules::new(registry, facts, state.sockets(), shutdown.clone()));
        let (agent_client, agent_events) = DeviceClient::start(ClientOptions {
            hub_host: host.clone(),
            address: hub_mqtt_address,
            server_name,
            identity: edge_agent,
            tls: client_tls,
            tokens: edge_agent_tokens,
            product: concat!("edgectl/", env!("CARGO_PKG_VERSION")).to_owned(),
            auth_chain: None,
            keep_alive: Duration::from_secs(60),
        });
        agent_client.wait_connected().await.map_err(|error| other("the agent's connection")(&error))?;
        let (agent_tasks, agent_shutdown) = (TaskTracker::new(), CancellationToken::new());
        let (desired, desired_seen) = watch::channel::<Option<Value>>(None);
        let (reports, reports_to_send) = mpsc::channel(REPORT_QUEUE);
        let agent = Agent::new(
            AgentOptions {
                runtime: Arc::clone(&module_runtime),
                identities: Arc::<Modules>::clone(&modules),
                environment: environment(&endpoints),
                facts: facts_of_agent(),
                rules: RestartRules::default(),
                period: AGENT_PERIOD,
                stop_timeout: STOP_TIMEOUT,
                clock: Arc::new(Timestamp::now),
            },
            reported(&agent_client).await,
        );
        agent_tasks.spawn(agent.run(desired_seen, reports, agent_shutdown.clone()));
        let link = AgentLink { client: agent_client.clone(), desired, runtime: Arc::clone(&module_runtime) };
        tasks.spawn(link.run(agent_events, reports_to_send, shutdown.clone()));

        let stop_asked = CancellationToken::new();
        let requests = Requests {
            edge: Arc::clone(&edge),
            cloud: Arc::clone(&cloud),
            runtime: module_runtime,
            device: options.device,
            endpoints: endpoints.clone(),
            stop: stop_asked.clone(),
        };
        let control = control::bind(&state.control_socket()).map_err(|error| other("the control socket")(&error))?;
        tasks.spawn(control::serve(control, Arc::new(requests), shutdown.clone()));
        write_json(&state.endpoints(), &endpoints)?;
        Ok(Self {
            endpoints,
            state,
            edge,
            cloud,
            runtime,
            modules,
            agent_client,
            agent_shutdown,
            agent_tasks,
            shutdown,
            tasks,
            stop_asked,
            _lock: lock,
        })
    }

    /// Where the device is reached.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Waits until the device is asked to stop, or can no longer go on.
    pub async fn stopped(&self) -> Stopped {
        let removed = async {
            while self.state.is_present() {
                tokio::time::sleep(PRESENCE_INTERVAL).await;
            }
        };
        tokio::select! {
            () = self.stop_asked.cancelled() => Stopped::Asked,
            () = removed => Stopped::StateRemoved,
        }
    }

    /// Stops modules, then hubs, then listeners. Nothing that was acknowledged is lost, and no process is left.
    pub async fn stop(self) {
        self.agent_shutdown.cancel();
        self.agent_tasks.close();
        self.agent_tasks.wait().await;
        self.runtime.close().await;
        self.agent_client.close().await;
        self.edge.stop().await;
        self.cloud.stop();
        self.shutdown.cancel();
        self.modules.close().await;
        self.tasks.close();
        self.tasks.wait().await;
        self.state.remove_sockets();
    }
}

fn group_record(state: &StateDirectory) -> std::path::PathBuf {
    state.modules().join("processes.json")
}

/// Finds the device's addresses and listens at all of them: those asked for, else those of the last run if they are
/// free, else the first free ones.
async fn listen_at(options: &DeviceOptions, state: &StateDirectory) -> Result<Listeners, DeviceError> {
    if let Some(address) = options.address {
        return listen_at_pair(address).await;
    }
    let last: Option<Endpoints> = read_json(&state.endpoints())?;
    let last = last.and_then(|endpoints| DeviceAddress::from_gateway(&endpoints.gateway_host_name));
    let first = last.unwrap_or(options.preferred);
    for address in first.and_following() {
        match listen_at_pair(address).await {
            Ok(listeners) => {
                if let Some(last) = last.filter(|last| *last != address) {
                    tracing::warn!("{} is in use, {} is taken instead", last.gateway(), address.gateway());
                }
                return Ok(listeners);
            }
            Err(DeviceError::Bind(BindError::InUse { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    let by = crate::address::listener_at(SocketAddr::new(first.gateway(), MQTT_PORT));
    Err(DeviceError::NoAddress { by })
}

async fn listen_at_pair(address: DeviceAddress) -> Result<Listeners, DeviceError> {
    let (gateway, hub) = (address.gateway(), address.hub());
    let gateway_mqtt = listen::bind(SocketAddr::new(gateway, MQTT_PORT)).await?;
    let hub_mqtt = listen::bind(SocketAddr::new(hub, MQTT_PORT)).await?;
    let gateway_https = match listen::bind(SocketAddr::new(gateway, HTTPS_PORT)).await {
        Ok(listener) => Some(listener),
        Err(BindError::Denied(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let hub_https = match listen::bind(SocketAddr::new(hub, HTTPS_PORT)).await {
        Ok(listener) => listener,
        // Our own tools ask which port it is.
        Err(BindError::Denied(_)) => listen::bind(SocketAddr::new(hub, 0)).await?,
        Err(error) => return Err(error.into()),
    };
    Ok(Listeners { address, gateway_mqtt, gateway_https, hub_mqtt, hub_https })
}

fn endpoints(device: &DeviceId, listeners: &Listeners, authority: &Authority) -> Result<Endpoints, DeviceError> {
    let https = listeners.hub_https.local_addr().map_err(|error| other("the cloud hub")(&error))?;
    Ok(Endpoints {
        device_id: device.to_string(),
        gateway_host_name: listeners.address.gateway().to_string(),
        hub_host_name: listeners.address.hub().to_string(),
        hub_https_port: https.port(),
        gateway_has_https: listeners.gateway_https.is_some(),
        trust_bundle: authority.trust_bundle_path().to_owned(),
    })
}

/// Registers the device as an edge device, if it is not, and returns its key: what an operator does for a real one.
fn provision(cloud: &CloudHub, device: &DeviceId) -> Result<SharedKey, DeviceError> {
    let identity = Identity::device(device.clone());
    let found = cloud.registry().get(&identity).map_err(RegistryError::from)?;
    let registration = match found {
        Some(registration) => registration,
        None => cloud.put_identity(&identity, Wanted { edge: Some(true), ..Wanted::default() }, None)?,
    };
    let key = registration.record.keys().into_iter().next();
    key.ok_or_else(|| other("the device's registration")(&"it has no key"))
}

/// The key of the policy that may use the service; made once.
fn service_key(state: &StateDirectory) -> Result<SharedKey, DeviceError> {
    let access = match read_json::<ServiceAccess>(&state.service())? {
        Some(access) => access,
        None => {
            let access =
                ServiceAccess { shared_access_key_name: OWNER_POLICY.to_owned(), shared_access_key: new_key() };
            write_json(&state.service(), &access)?;
            access
        }
    };
    SharedKey::from_base64(&access.shared_access_key)
        .map_err(|error| StateError::Damaged { path: state.service(), reason: error.to_string() }.into())
}

async fn own_key(registry: &RegistryClient, module: &str) -> Result<SharedKey, DeviceError> {
    let record =
        registry.ensure_module(module).await.map_err(|refusal| other("the identity of the runtime")(&refusal))?;
    record.keys().into_iter().next().ok_or_else(|| other("the identity of the runtime")(&"it has no key"))
}

fn serve_mqtt(
    tasks: &TaskTracker,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    gateway: Arc<dyn Gateway>,
    clock: &Arc<dyn Clock>,
    shutdown: &CancellationToken,
) {
    let clock = Arc::clone(clock);
    tasks.spawn(listen::accept(listener, tls, shutdown.clone(), move |stream, certificates, shutdown| {
        mqtt::connection::serve(stream, certificates, Arc::clone(&gateway), Arc::clone(&clock), shutdown)
    }));
}

fn serve_https(
    tasks: &TaskTracker,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: axum::Router,
    shutdown: &CancellationToken,
) {
    tasks.spawn(listen::accept(listener, tls, shutdown.clone(), move |stream, _, shutdown| {
        http::serve::serve(stream, router.clone(), shutdown)
    }));
}

fn environment(endpoints: &Endpoints) -> DeviceEnvironment {
    DeviceEnvironment {
        hub_host: endpoints.hub_host_name.clone(),
        device_id: endpoints.device_id.clone(),
        device_host: endpoints.gateway_host_name.clone(),
        parent_host: None,
        api_version: WORKLOAD_API_VERSION.to_owned(),
        auth_scheme: "sasToken".to_owned(),
        log_level: "info".to_owned(),
        upstream_protocol: None,
        management_uri: String::new(),
        network_id: "azure-iot-edge".to_owned(),
    }
}

fn facts_of_agent() -> AgentFacts {
    AgentFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: "edgectl".to_owned(),
        commit: String::new(),
        operating_system: std::env::consts::OS.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
