//! A simulated device as a whole: every part is made and joined here, and every task is started and ended here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use edgectl_hub::clock::{Clock, SystemClock};
use edgectl_hub::cloud::hub::{CloudHub, CloudHubError};
use edgectl_hub::cloud::registry::{RegistryError, Wanted};
use edgectl_hub::edge::hub::{EdgeHub, EdgeHubError, EdgeHubOptions};
use edgectl_hub::edge::store::durability::Durability;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas::SharedKey;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::above::{Above, Parent, endpoints};
use crate::address::DeviceAddress;
use crate::agent::environment::DeviceEnvironment;
use crate::agent::methods::method::{AgentIdentity, Methods};
use crate::agent::methods::tasks::BackgroundTasks;
use crate::agent::methods::uploads::{BundleMaker, Uploads};
use crate::agent::metrics::AgentMetrics;
use crate::agent::reconcile::{Agent, AgentOptions, Question};
use crate::agent::report::AgentFacts;
use crate::agent::restart::RestartRules;
use crate::agent_link::{self, AgentLink, STOP_TIMEOUT, reported};
use crate::authority::{Authority, AuthorityError};
use crate::client::cloud_gateway::{CloudGateway, CloudGatewayOptions};
use crate::client::device_client::DeviceClient;
use crate::client::registry::{self, RegistryClient};
use crate::client::token::KeyTokens;
use crate::cloud;
use crate::containers::{ContainerOptions, Containers};
use crate::control;
use crate::custom_endpoints::delivery::CustomEndpoints;
use crate::doors::Doors;
use crate::frontend::amqp::connection::Hub;
use crate::frontend::http;
use crate::frontend::http::family::Family;
use crate::link::Link;
use crate::management::service::Management;
use crate::metrics::device_metrics::DeviceMetrics;
use crate::metrics::endpoint;
use crate::metrics::resources::Resources;
use crate::modules::Modules;
use crate::ports::{self, HubListeners, PortsError};
use crate::profile::profile::Profile;
use crate::provisioning::{OwnTokens, Provisioning};
use crate::requests::Requests;
use crate::runtime::choice::{ChosenRuntime, OpenContainers, RuntimeChoice};
use crate::runtime::docker::body::GATEWAY_NAME;
use crate::runtime::docker::engine::EngineError;
use crate::runtime::group_record::sweep_leftovers;
use crate::runtime::module_runtime::ModuleRuntime;
use crate::runtime::process::{ImageLookup, ProcessRuntime, ProcessRuntimeOptions};
use crate::state::{Endpoints, StateDirectory, StateError, read_json, write_json};
use crate::tls::{self, ServerTls, TlsError};
use crate::workload::keys::KeyRing;
use crate::workload::socket::WorkloadFacts;

/// The version of the workload API that modules are told.
const WORKLOAD_API_VERSION: &str = "2022-08-03";
/// Bytes of a module's log before it is put aside.
const MAX_LOG_BYTES: u64 = 8 * 1024 * 1024;
/// The agent looks at its modules this often.
const AGENT_PERIOD: Duration = Duration::from_secs(5);
/// How often it is checked that the state directory is still there.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);
/// Reports of the agent that wait for its connection.
pub(crate) const REPORT_QUEUE: usize = 16;

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
    /// Whether modules are processes, containers, or both.
    pub runtime: RuntimeChoice,
    /// Where containers run, if any do.
    pub containers: ContainerOptions,
    /// The device above this one; a device without one has a cloud hub of its own.
    pub parent: Option<Parent>,
    /// How safely its hub keeps messages.
    pub durability: Durability,
    /// The machine that it is like; none for one that takes all that this machine does.
    pub profile: Option<Profile>,
    /// Where the cloud hub brings what it receives, beside its built-in endpoint.
    pub custom_endpoints: CustomEndpoints,
    /// The port at the edge hub's address where metrics are served over HTTP, 0 for any; none where they are not.
    pub metrics_port: Option<u16>,
}

/// A device could not start.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Its state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its ports cannot be had.
    #[error(transparent)]
    Ports(#[from] PortsError),
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
    /// The container engine that modules are to run with cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A part of a fleet in a process of its own cannot run.
    #[error("the shards: {0}")]
    Shards(String),
    /// Something else that is needed cannot be had.
    #[error("{what}: {reason}")]
    Other {
        /// What.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

pub(crate) fn other(what: &'static str) -> impl FnOnce(&dyn std::fmt::Display) -> DeviceError {
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
    cloud: Option<Arc<CloudHub>>,
    agent: RunningAgent,
    /// Ends what the agent and its modules need.
    shutdown: CancellationToken,
    tasks: TaskTracker,
    stop_asked: CancellationToken,
    _lock: std::fs::File,
}

impl Device {
    /// Starts a device. Returns when its hubs listen and its agent runs.
    pub async fn start(options: DeviceOptions) -> Result<Self, DeviceError> {
        let state = options.state.clone();
        state.create()?;
        let lock = state.lock()?;
        sweep_leftovers(&group_record(&state)).map_err(|error| other("modules of an earlier run")(&error))?;
        let last: Option<Endpoints> = read_json(&state.endpoints())?;
        let last = last.and_then(|endpoints| DeviceAddress::from_gateway(&endpoints.gateway_host_name));
        let listeners = ports::listen(options.parent.is_none(), options.address, last, options.preferred).await?;
        let metrics_listener = match options.metrics_port {
            Some(port) => Some(ports::listen_for_metrics(&listeners.address, port).await?),
            None => None,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let parent = options.parent.as_ref();
        let folder = parent.map_or_else(|| state.authority(), |parent| parent.endpoints.authority().to_owned());
        let authority = Arc::new(Authority::open(&folder, &options.device, clock.timestamp())?);
        let above = Above::new(&listeners, parent)?;
        let ground = Ground {
            link: Link::new(fastrand::u64(..), Arc::clone(&clock)),
            endpoints: Endpoints {
                profile: options.profile.clone(),
                management_uri: format!("unix://{}", state.management_socket().display()),
                ..endpoints(&options.device, &listeners, &above, parent, &authority, metrics_listener.as_ref())?
            },
            client_tls: tls::client_config(authority.trust_bundle())?,
            above,
            device: options.device.clone(),
            clock,
            authority,
            state,
            own: Arc::default(),
            durability: options.durability,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        // The cloud hub listens first: everything on the device connects to it.
        let (cloud, device_key) = match (listeners.hub, &options.parent) {
            (Some(hub), _) => {
                ground.start_cloud(hub, &options.custom_endpoints).map(|(cloud, key)| (Some(cloud), key))?
            }
            (None, Some(parent)) => {
                write_json(&ground.state.service(), &parent.service)?;
                (None, parent.device_key.clone())
            }
            (None, None) => return Err(other("the cloud hub")(&"a device at the top has one")),
        };
        let registry = ground.registry(device_key)?;
        let parent_socket = options.parent.as_ref().map(|parent| parent.control_socket.clone());
        let edge = ground.start_edge(&registry, listeners.gateway).await?;
        let runtime = ground.module_runtime(&options, &edge, &registry).await?;
        let agent = ground.start_agent(registry, runtime, &edge, &options).await?;

        let metrics = ground.start_metrics(&edge, &agent, metrics_listener);
        let stop_asked = CancellationToken::new();
        let requests = Requests {
            metrics,
            link: ground.link.clone(),
            edge: Arc::clone(&edge),
            cloud: cloud.clone(),
            parent: parent_socket,
            agent: agent.client.clone(),
            questions: agent.questions.clone(),
            runtime: Arc::<ChosenRuntime>::clone(&agent.runtime),
            device: ground.device,
            endpoints: ground.endpoints.clone(),
            state: ground.state.clone(),
            stop: stop_asked.clone(),
        };
        let requests = Arc::new(requests);
        // It is set once, here.
        let _ = agent.answering.set(Arc::downgrade(&requests));
        let control =
            control::bind(&ground.state.control_socket()).map_err(|error| other("the control socket")(&error))?;
        ground.tasks.spawn(control::serve(control, Arc::<Requests>::clone(&requests), ground.shutdown.clone()));
        let identities: Arc<Modules> = Arc::clone(&agent.modules);
        let management = Management::new(requests, identities, Arc::clone(&agent.provisioning));
        let socket = control::bind(&ground.state.management_socket());
        let socket = socket.map_err(|error| other("the management API")(&error))?;
        ground.tasks.spawn(management.serve(socket, ground.shutdown.clone()));
        write_json(&ground.state.endpoints(), &ground.endpoints)?;
        Ok(Self {
            endpoints: ground.endpoints,
            state: ground.state,
            edge,
            cloud,
            agent,
            shutdown: ground.shutdown,
            tasks: ground.tasks,
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
        tokio::select! {
            () = self.stop_asked.cancelled() => Stopped::Asked,
            () = present(&self.state) => Stopped::StateRemoved,
        }
    }

    /// Stops modules, then hubs, then listeners. Nothing that was acknowledged is lost, and no process is left.
    pub async fn stop(self) {
        self.agent.shutdown.cancel();
        self.agent.tasks.close();
        self.agent.tasks.wait().await;
        if self.agent.runtime.close().await {
            Containers::forget(&self.state);
        }
        self.agent.client.close().await;
        self.edge.stop().await;
        if let Some(cloud) = &self.cloud {
            cloud.stop().await;
        }
        self.shutdown.cancel();
        self.agent.modules.close().await;
        self.tasks.close();
        self.tasks.wait().await;
        self.state.remove_sockets();
    }
}

/// What all parts of a device stand on.
#[derive(Clone)]
struct Ground {
    link: Link,
    device: DeviceId,
    state: StateDirectory,
    /// What signs for the device's own modules, by their identifiers.
    own: Arc<Mutex<OwnTokens>>,
    durability: Durability,
    endpoints: Endpoints,
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
    client_tls: Arc<rustls::ClientConfig>,
    above: Above,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// The agent with what it runs.
struct RunningAgent {
    runtime: Arc<ChosenRuntime>,
    modules: Arc<Modules>,
    client: DeviceClient,
    metrics: Arc<AgentMetrics>,
    questions: mpsc::Sender<Question>,
    /// What knows the whole device, once it is there.
    answering: Arc<OnceLock<Weak<Requests>>>,
    provisioning: Arc<Provisioning>,
    /// Ends the agent, which stops its modules.
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Ground {
    /// The cloud hub with its front ends, and the device's own key.
    fn start_cloud(
        &self,
        listeners: HubListeners,
        endpoints: &CustomEndpoints,
    ) -> Result<(Arc<CloudHub>, SharedKey), DeviceError> {
        let (cloud, files) = cloud::open(&self.state, &self.endpoints.hub_host_name, &self.clock)?;
        endpoints.clone().follow(&cloud, &self.state.cloud(), &self.tasks, &self.shutdown);
        let device_key = provision(&cloud, &self.device)?;
        let listeners = vec![(cloud.host().to_owned(), listeners)];
        self.doors().serve_cloud(&cloud, listeners, &self.authority, files, endpoints.settings.built_in())?;
        Ok((cloud, device_key))
    }

    /// What serves hubs.
    fn doors(&self) -> Doors {
        Doors { clock: Arc::clone(&self.clock), tasks: self.tasks.clone(), shutdown: self.shutdown.clone() }
    }

    /// The device's own access to the registry.
    fn registry(&self, device_key: SharedKey) -> Result<Arc<RegistryClient>, DeviceError> {
        let identity = Identity::device(self.device.clone());
        let tokens = Arc::new(KeyTokens::new(&self.above.hub_host, &identity, device_key));
        let http = registry::http(&self.client_tls).map_err(|error| other("the client of the registry")(&error))?;
        let (https, link) = (self.above.https, self.link.clone());
        Ok(Arc::new(RegistryClient::new(https, link, http, self.device.clone(), tokens)))
    }

    /// The edge hub with its front ends.
    async fn start_edge(
        &self,
        registry: &Arc<RegistryClient>,
        listeners: HubListeners,
    ) -> Result<Arc<EdgeHub>, DeviceError> {
        let (actor, tokens) = self.own_identity(registry, ModuleId::edge_hub()).await?;
        let upstream = CloudGateway::new(CloudGatewayOptions {
            hub_host: self.endpoints.hub_host_name.clone(),
            address: self.above.mqtt,
            link: self.link.clone(),
            server_name: self.above.name.clone(),
            tls: Arc::clone(&self.client_tls),
            actor,
            tokens,
        });
        let gateway_host = self.endpoints.gateway_host_name.clone();
        let options = EdgeHubOptions {
            device: self.device.clone(),
            hub_host: self.endpoints.hub_host_name.clone(),
            gateway_host: gateway_host.clone(),
            directory: Some(self.state.edge()),
            durability: self.durability,
        };
        let scope = Arc::<RegistryClient>::clone(registry);
        let edge = EdgeHub::start(options, upstream, scope, Arc::clone(&self.clock)).await?;
        self.serve_edge(&edge, registry, &gateway_host, listeners)?;
        Ok(edge)
    }

    /// Serves the edge hub under a host name.
    fn serve_edge(
        &self,
        edge: &Arc<EdgeHub>,
        registry: &Arc<RegistryClient>,
        host: &str,
        listeners: HubListeners,
    ) -> Result<(), DeviceError> {
        let tls = ServerTls::new(&self.authority, &[host], &self.clock)?;
        let calls = http::gateway::router(Arc::<EdgeHub>::clone(edge), self.device.clone());
        let family = Family { hub: Arc::clone(edge), registry: Arc::clone(registry) };
        let paths = calls.merge(http::family::router(family));
        self.doors().serve(Hub::of_clients(Arc::<EdgeHub>::clone(edge)), listeners, &tls, paths);
        Ok(())
    }

    /// What runs modules: processes, and containers as soon as one is wanted, or when an earlier run left some.
    async fn module_runtime(
        &self,
        options: &DeviceOptions,
        edge: &Arc<EdgeHub>,
        registry: &Arc<RegistryClient>,
    ) -> Result<Arc<ChosenRuntime>, DeviceError> {
        let processes = ProcessRuntime::open(ProcessRuntimeOptions {
            images: Arc::clone(&options.images),
            launcher: options.launcher.clone(),
            base_environment: options.base_environment.clone(),
            log_folder: self.state.modules(),
            max_log_bytes: MAX_LOG_BYTES,
            group_record: group_record(&self.state),
        })
        .map_err(|error| other("the module runtime")(&error))?;
        let containers = Containers::new(options.containers.clone(), &self.device, &self.state);
        let are_left = containers.sweep(options.runtime != RuntimeChoice::Process).await;
        let open = self.open_containers(containers, Arc::clone(edge), Arc::clone(registry));
        let runtime = ChosenRuntime::new(options.runtime, processes, open, options.profile.clone());
        if are_left || options.runtime == RuntimeChoice::Docker {
            match runtime.containers().await {
                Err(error) if options.runtime == RuntimeChoice::Docker => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "containers of an earlier run cannot be looked after"),
                Ok(_) => {}
            }
        }
        Ok(Arc::new(runtime))
    }

    /// Opens the containers' runtime, and the edge hub's doors to their network.
    fn open_containers(
        &self,
        containers: Containers,
        edge: Arc<EdgeHub>,
        registry: Arc<RegistryClient>,
    ) -> OpenContainers {
        let ground = self.clone();
        Arc::new(move || {
            let (ground, containers) = (ground.clone(), containers.clone());
            let (edge, registry) = (Arc::clone(&edge), Arc::clone(&registry));
            Box::pin(async move {
                containers.open(|listeners| ground.serve_edge(&edge, &registry, GATEWAY_NAME, listeners)).await
            })
        })
    }

    /// The agent, what it runs modules with, and its connection to the cloud hub.
    async fn start_agent(
        &self,
        registry: Arc<RegistryClient>,
        runtime: Arc<ChosenRuntime>,
        edge: &Arc<EdgeHub>,
        options: &DeviceOptions,
    ) -> Result<RunningAgent, DeviceError> {
        let (identity, tokens) = self.own_identity(&registry, ModuleId::edge_agent()).await?;
        let module_runtime: Arc<dyn ModuleRuntime> = Arc::<ChosenRuntime>::clone(&runtime);
        let facts = Arc::new(WorkloadFacts {
            authority: Arc::clone(&self.authority),
            keys: KeyRing::default(),
            runtime: Arc::clone(&module_runtime),
            hub_host: self.endpoints.hub_host_name.clone(),
            device: self.device.clone(),
            clock: Arc::clone(&self.clock),
        });
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let provisioning = Arc::new(Provisioning { registry: Arc::clone(&registry), own, edge: Arc::clone(edge) });
        let modules = Arc::new(Modules::new(registry, facts, self.state.sockets(), self.shutdown.clone()));
        let (link, tls) = (self.link.clone(), Arc::clone(&self.client_tls));
        let (client, events) = agent_link::connect(&self.above, link, tls, identity, tokens);
        client.wait_connected().await.map_err(|error| other("the agent's connection")(&error))?;
        let parent_host = options.parent.as_ref().map(|parent| parent.endpoints.gateway_host_name.clone());
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let (desired, desired_seen) = watch::channel::<Option<Value>>(None);
        let (reports, reports_to_send) = mpsc::channel(REPORT_QUEUE);
        let facts = facts_of_agent(options.profile.as_ref());
        let hub_host = &self.endpoints.hub_host_name;
        let metrics = AgentMetrics::new(hub_host, self.device.as_str(), &facts, Arc::clone(&self.clock));
        let metrics = Arc::new(metrics);
        let edge = Arc::clone(edge);
        let agent = Agent::new(
            AgentOptions {
                edge_hub: Box::new(move |environment| edge.set_environment(environment)),
                runtime: Arc::clone(&module_runtime),
                identities: Arc::<Modules>::clone(&modules),
                environment: environment(
                    hub_host,
                    &self.device,
                    &self.endpoints.gateway_host_name,
                    &self.endpoints.management_uri,
                    parent_host,
                ),
                facts,
                profile: options.profile.clone(),
                rules: RestartRules::default(),
                period: AGENT_PERIOD,
                stop_timeout: STOP_TIMEOUT,
                metrics: Arc::clone(&metrics),
                clock: Arc::clone(&self.clock),
            },
            reported(&client).await,
        );
        let (questions, asked) = mpsc::channel(1);
        tasks.spawn(agent.answering(asked).run(desired_seen, reports, shutdown.clone()));
        let identity = AgentIdentity { hub: self.endpoints.hub_host_name.clone(), device: self.device.to_string() };
        let answering = Arc::<OnceLock<Weak<Requests>>>::default();
        let background = BackgroundTasks::new(self.tasks.clone(), self.shutdown.clone(), Arc::clone(&self.clock));
        let uploads = Uploads::new(identity, module_runtime, background, bundle_maker(Arc::clone(&answering)));
        let methods = Arc::new(Methods { uploads, stop_timeout: STOP_TIMEOUT });
        let (known, renewal) = (Arc::clone(&metrics), Arc::clone(&provisioning));
        let (client_too, clock) = (client.clone(), Arc::clone(&self.clock));
        let provisioning_too = Some(renewal);
        let client_too = Arc::new(client_too);
        let link =
            AgentLink { client: client_too, desired, methods, metrics: known, provisioning: provisioning_too, clock };
        self.tasks.spawn(link.run(events, reports_to_send, self.shutdown.clone()));
        Ok(RunningAgent { runtime, modules, client, metrics, questions, answering, provisioning, shutdown, tasks })
    }

    /// What was counted and measured, with what looks at the machine now and then, and what serves it over HTTP.
    fn start_metrics(&self, edge: &Arc<EdgeHub>, agent: &RunningAgent, listener: Option<TcpListener>) -> DeviceMetrics {
        let (folder, clock) = (self.state.modules(), Arc::clone(&self.clock));
        let runtime = Arc::<ChosenRuntime>::clone(&agent.runtime);
        let resources = Resources::new(Arc::clone(&agent.metrics), runtime, folder, clock);
        let (watched, shutdown) = (Arc::clone(&resources), self.shutdown.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = watched.watch() => {}
            }
        });
        let metrics = DeviceMetrics { edge: Arc::clone(edge), resources };
        if let Some(listener) = listener {
            self.tasks.spawn(endpoint::serve(listener, metrics.clone(), self.shutdown.clone()));
        }
        metrics
    }

    /// One of the runtime's own modules.
    async fn own_identity(
        &self,
        registry: &RegistryClient,
        module: ModuleId,
    ) -> Result<(Identity, Arc<KeyTokens>), DeviceError> {
        let found = registry.runtime_module(&self.endpoints.hub_host_name, module.clone()).await;
        let (identity, tokens) = found.map_err(|refusal| other("the identity of the runtime")(&refusal))?;
        self.own.lock().unwrap_or_else(PoisonError::into_inner).push((module.to_string(), Arc::clone(&tokens)));
        Ok((identity, tokens))
    }
}

/// Waits until a state directory is gone.
pub(crate) async fn present(state: &StateDirectory) {
    while state.is_present() {
        tokio::time::sleep(PRESENCE_INTERVAL).await;
    }
}

/// Makes support bundles of the device, which knows more than its agent.
fn bundle_maker(answering: Arc<OnceLock<Weak<Requests>>>) -> BundleMaker {
    Arc::new(move |wanted| {
        let requests = answering.get().and_then(Weak::upgrade);
        Box::pin(async move { requests.ok_or("the device is not ready")?.support_bundle(wanted).await })
    })
}

fn group_record(state: &StateDirectory) -> std::path::PathBuf {
    state.modules().join("processes.json")
}

/// Registers the device as an edge device, if it is not, and returns its key: what an operator does for a real one.
fn provision(cloud: &CloudHub, device: &DeviceId) -> Result<SharedKey, DeviceError> {
    let identity = Identity::device(device.clone());
    let registration = match cloud.registry().get(&identity) {
        Some(registration) => registration,
        None => cloud.put_identity(&identity, Wanted { edge: Some(true), ..Wanted::default() }, None)?,
    };
    let key = registration.record.keys().into_iter().next();
    key.ok_or_else(|| other("the device's registration")(&"it has no key"))
}

/// What the agent and its modules are told of the device.
pub(crate) fn environment(
    hub_host: &str,
    device: &DeviceId,
    gateway_host: &str,
    management_uri: &str,
    parent_host: Option<String>,
) -> DeviceEnvironment {
    DeviceEnvironment {
        hub_host: hub_host.to_owned(),
        device_id: device.to_string(),
        device_host: gateway_host.to_owned(),
        parent_host,
        api_version: WORKLOAD_API_VERSION.to_owned(),
        auth_scheme: "sasToken".to_owned(),
        log_level: "info".to_owned(),
        upstream_protocol: None,
        management_uri: management_uri.to_owned(),
        network_id: "azure-iot-edge".to_owned(),
    }
}

/// What the agent says of itself.
pub(crate) fn facts_of_agent(profile: Option<&Profile>) -> AgentFacts {
    let architecture = profile.map_or(std::env::consts::ARCH, |profile| profile.machine.architecture.machine());
    AgentFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: "edgectl".to_owned(),
        commit: String::new(),
        operating_system: std::env::consts::OS.to_owned(),
        architecture: architecture.to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
