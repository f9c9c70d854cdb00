//! The agent's loop: look at what is desired and what is there, plan, carry out, report.
//!
//! The agent knows no hub. Desired properties come in on one channel and patches of reported properties go out on
//! another; who holds the connection to the hub joins them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::{Clock, within};
use edgectl_schemas::manifest::image_reference;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::agent::deployment::{self, Deployment, ModuleSpecification};
use crate::agent::environment::{DeviceEnvironment, ModuleEnvironment, module_environment, module_id};
use crate::agent::forecast::{Forecast, forecast};
use crate::agent::identity::{IdentityProvider, ModuleIdentity};
use crate::agent::ledger::Ledger;
use crate::agent::metrics::AgentMetrics;
use crate::agent::plan::{Command, CurrentModule, Situation, UpdateMode, plan};
use crate::agent::report::{AgentFacts, DeploymentStatus, ModuleReport, Report, difference, reported};
use crate::agent::restart::RestartRules;
use crate::agent::runner::RunHistory;
use crate::profile::budget;
use crate::profile::profile::Profile;
use crate::runtime::module_runtime::{ModuleRuntime, ModuleSpec, ModuleState, ModuleStatus, RuntimeError};

/// After the end of a module was looked at, others wait so long for it.
const EXIT_PAUSE: Duration = Duration::from_millis(250);
/// How long the last report may wait for room in its channel.
const LAST_REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Told the environment of a module.
pub type EnvironmentListener = Box<dyn Fn(&BTreeMap<String, String>) + Send + Sync>;

/// How an agent is set up.
pub struct AgentOptions {
    /// Runs the modules.
    pub runtime: Arc<dyn ModuleRuntime>,
    /// Knows who they are.
    pub identities: Arc<dyn IdentityProvider>,
    /// What they are told of the device.
    pub environment: DeviceEnvironment,
    /// What the hub is told of the agent.
    pub facts: AgentFacts,
    /// The machine that it would run on; none for one without limits.
    pub profile: Option<Profile>,
    /// The numbers of the restart policy.
    pub rules: RestartRules,
    /// How long to wait between two looks.
    pub period: Duration,
    /// How long a module may take to end.
    pub stop_timeout: Duration,
    /// Told the environment of the edge hub's module when it is deployed.
    pub edge_hub: EnvironmentListener,
    /// Where is counted and measured what the agent does.
    pub metrics: Arc<AgentMetrics>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for AgentOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentOptions").field("environment", &self.environment).finish_non_exhaustive()
    }
}

/// What the agent would do if this were desired. Asked of the agent, since it alone knows what it deployed.
#[derive(Debug)]
pub struct Question {
    /// Desired properties of `$edgeAgent`, whole.
    pub desired: Value,
    /// Where the answer goes; an error where the properties are no deployment or the runtime fails.
    pub answer: oneshot::Sender<Result<Forecast, String>>,
}

/// The edge agent of a device.
#[derive(Debug)]
pub struct Agent {
    options: AgentOptions,
    started_at: Timestamp,
    desired_version: i64,
    /// The last deployment that could be read.
    deployment: Option<Deployment>,
    /// Whether it is the one that is desired; otherwise nothing is changed.
    in_force: bool,
    /// When it was changed, in milliseconds since the Unix epoch, as long as not all of it is done.
    changed_ms: Option<u64>,
    status: DeploymentStatus,
    identities: BTreeMap<String, ModuleIdentity>,
    ledger: Ledger,
    history: RunHistory,
    reported: Value,
    questions: mpsc::Receiver<Question>,
}

impl Agent {
    /// An agent that starts with the reported properties that the hub has.
    pub fn new(options: AgentOptions, reported: Value) -> Self {
        let reported = match reported {
            // `$version` and the like are the hub's.
            Value::Object(sections) => sections.into_iter().filter(|(name, _)| !name.starts_with('$')).collect(),
            _ => Value::Object(serde_json::Map::new()),
        };
        Self {
            started_at: options.clock.timestamp(),
            options,
            desired_version: 0,
            deployment: None,
            in_force: false,
            changed_ms: None,
            status: DeploymentStatus::successful(),
            identities: BTreeMap::new(),
            ledger: Ledger::default(),
            history: RunHistory::default(),
            reported,
            // Nobody asks.
            questions: mpsc::channel(1).1,
        }
    }

    /// Answers questions between two looks.
    #[must_use]
    pub fn answering(self, questions: mpsc::Receiver<Question>) -> Self {
        Self { questions, ..self }
    }

    /// Runs until the shutdown, then stops every module and reports that.
    ///
    /// Desired properties are whole, with `$version`, and none until they are known. When the reports' channel is full
    /// a report is left out, and the next one holds its changes too.
    pub async fn run(
        mut self,
        mut desired: watch::Receiver<Option<Value>>,
        reports: mpsc::Sender<Value>,
        shutdown: CancellationToken,
    ) {
        let mut exits = self.options.runtime.exits();
        let pause = EXIT_PAUSE.min(self.options.period);
        // Modules that end again and again are looked at again and again, but not all the time.
        let mut heed_exits = true;
        let mut is_news = true;
        loop {
            if is_news {
                let document = desired.borrow_and_update().clone();
                self.accept(document.as_ref());
            }
            if desired.borrow().is_some() {
                self.reconcile().await;
                self.report(&reports).await;
            }
            is_news = false;
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = desired.changed() => match changed {
                    Ok(()) => is_news = true,
                    // Nobody can want anything any more.
                    Err(_) => break,
                },
                Ok(()) = exits.changed(), if heed_exits => {
                    heed_exits = false;
                    continue;
                }
                Some(question) = self.questions.recv() => {
                    let answer = self.forecast(&question.desired).await;
                    // Who asked may have gone.
                    let _ = question.answer.send(answer);
                    continue;
                }
                () = self.options.clock.sleep(if heed_exits { self.options.period } else { pause }) => {}
            }
            heed_exits = true;
        }
        self.shut_down(&reports).await;
    }

    /// Takes desired properties in.
    fn accept(&mut self, desired: Option<&Value>) {
        let Some(desired) = desired else { return };
        self.desired_version = desired.get("$version").and_then(Value::as_i64).unwrap_or(0);
        match deployment::parse(desired) {
            Ok(deployment) => {
                let excess = self.options.profile.as_ref().map(|profile| budget::check(profile, &deployment));
                let refused = excess.map(|excess| excess.refused).unwrap_or_default();
                self.in_force = refused.is_empty();
                if self.in_force {
                    self.history.begin(deployment.version);
                    self.deployment = Some(deployment);
                } else {
                    self.status = DeploymentStatus { code: 500, description: refused.join("; ") };
                }
            }
            Err(error) => {
                self.in_force = false;
                self.changed_ms = None;
                let description = format!("Error while parsing desired properties - {error}");
                self.status = DeploymentStatus { code: error.code(), description };
            }
        }
    }

    /// Makes what is there what is desired.
    async fn reconcile(&mut self) {
        let Some(deployment) = self.deployment.clone().filter(|_| self.in_force) else { return };
        let states = match self.options.runtime.list().await {
            Ok(states) => states,
            Err(error) => return self.conclude(&[error.to_string()]),
        };
        self.options.metrics.looked_at(&deployment, &states);
        let (without_identity, mut errors) = self.ensure_identities(&deployment).await;
        let rules = self.options.rules;
        let mode = UpdateMode::of(&deployment.edge_agent);
        let commands = plan(&Situation {
            desired: &deployment.modules,
            current: &self.current(&states),
            without_identity: &without_identity,
            rules: &rules,
            mode,
            now: self.options.clock.timestamp(),
        });
        let mut failed = BTreeSet::new();
        for command in &commands {
            // What could not be created or stopped cannot be started either, and the reason is known.
            if matches!(command, Command::Start(name) if failed.contains(name.as_str())) {
                continue;
            }
            let Err(error) = self.attempt(&deployment, command).await else { continue };
            errors.push(error);
            failed.extend(command.module());
            if mode == UpdateMode::WaitForAllPulls && matches!(command, Command::PrepareUpdate(_)) {
                break;
            }
        }
        for (name, module) in &deployment.modules {
            if !failed.contains(name.as_str()) {
                self.ledger.desired_status(name, module.status);
            }
        }
        errors.extend(self.drop_identities(&deployment).await);
        self.conclude(&errors);
    }

    /// The modules that are there, as the plan sees them.
    fn current(&self, states: &[ModuleState]) -> BTreeMap<String, CurrentModule> {
        let rules = &self.options.rules;
        states.iter().map(|state| (state.name.clone(), self.ledger.current(state, rules))).collect()
    }

    /// What would be done if this were desired. Every module is taken to get an identity, and nothing is changed.
    async fn forecast(&self, desired: &Value) -> Result<Forecast, String> {
        let deployment = deployment::parse(desired).map_err(|error| error.to_string())?;
        let states = self.options.runtime.list().await.map_err(|error| explain(&error))?;
        Ok(forecast(&Situation {
            desired: &deployment.modules,
            current: &self.current(&states),
            without_identity: &BTreeSet::new(),
            rules: &self.options.rules,
            mode: UpdateMode::of(&deployment.edge_agent),
            now: self.options.clock.timestamp(),
        }))
    }

    fn conclude(&mut self, errors: &[String]) {
        // What keeps an image from being prepared keeps its module from being created, in the same words.
        let mut told = BTreeSet::new();
        let errors: Vec<&str> = errors.iter().map(String::as_str).filter(|error| told.insert(*error)).collect();
        self.status = match errors[..] {
            [] => {
                if let Some(changed_ms) = self.changed_ms.take() {
                    self.options.metrics.deployed(changed_ms);
                }
                DeploymentStatus::successful()
            }
            _ => DeploymentStatus { code: 500, description: errors.join("; ") },
        };
    }

    /// Gives an identity to each desired module that has none. Returns those that still have none, and why.
    async fn ensure_identities(&mut self, deployment: &Deployment) -> (BTreeSet<String>, Vec<String>) {
        let (mut without, mut errors) = (BTreeSet::new(), Vec::new());
        for name in deployment.modules.keys() {
            if self.identities.contains_key(name) {
                continue;
            }
            match self.options.identities.ensure(&module_id(name)).await {
                Ok(identity) => drop(self.identities.insert(name.clone(), identity)),
                Err(error) => {
                    errors.push(format!("module {name:?} has no identity: {error}"));
                    without.insert(name.clone());
                }
            }
        }
        (without, errors)
    }

    /// Takes the identity from each module that is not desired any more.
    async fn drop_identities(&mut self, deployment: &Deployment) -> Vec<String> {
        let left: Vec<String> =
            self.identities.keys().filter(|name| !deployment.modules.contains_key(*name)).cloned().collect();
        let mut errors = Vec::new();
        for name in left {
            match self.options.identities.remove(&module_id(&name)).await {
                Ok(()) => drop(self.identities.remove(&name)),
                Err(error) => errors.push(format!("the identity of module {name:?} cannot be removed: {error}")),
            }
        }
        errors
    }

    /// Carries a command out, unless it failed too recently.
    async fn attempt(&mut self, deployment: &Deployment, command: &Command) -> Result<(), String> {
        let clock = Arc::clone(&self.options.clock);
        if !self.history.may_run(command, clock.timestamp()) {
            return Err(self.history.failure(command).unwrap_or_default().to_owned());
        }
        let metrics = Arc::clone(&self.options.metrics);
        let version = self.version(deployment, command);
        let start_ms = metrics.registry.now_ms();
        let failed = self.carry_out(deployment, command).await.err().map(|error| explain(&error));
        metrics.carried_out(command, &version, start_ms);
        self.history.record(command, failed.clone(), clock.timestamp());
        failed.map_or(Ok(()), Err)
    }

    /// The version of the module that a command is for: of the one that is there, where it is to go.
    fn version(&self, deployment: &Deployment, command: &Command) -> String {
        let name = command.module().unwrap_or_default();
        let desired = deployment.modules.get(name).filter(|_| !matches!(command, Command::Stop(_)));
        desired.or_else(|| self.ledger.specification(name)).map(|module| module.version.clone()).unwrap_or_default()
    }

    async fn carry_out(&mut self, deployment: &Deployment, command: &Command) -> Result<(), RuntimeError> {
        tracing::debug!(?command, "the agent carries out");
        let runtime = Arc::clone(&self.options.runtime);
        match command {
            Command::PrepareUpdate(name) => match deployment.modules.get(name) {
                Some(module) => {
                    let image = self.image(module)?;
                    runtime.prepare(&image, deployment.runtime.credential(&image)).await
                }
                None => Ok(()),
            },
            Command::Create(name) | Command::Update(name) => match deployment.modules.get(name) {
                Some(module) => {
                    runtime.create(self.specify(module)?).await?;
                    self.ledger.deployed(module.clone());
                    Ok(())
                }
                None => Ok(()),
            },
            // The agent is part of the simulator and is what it is.
            Command::UpdateEdgeAgent => Ok(()),
            Command::Start(name) => runtime.start(name).await,
            Command::Stop(name) => runtime.stop(name, self.options.stop_timeout).await,
            Command::Remove(name) => {
                runtime.remove(name).await?;
                self.ledger.removed(name);
                Ok(())
            }
            Command::RecordRestart(name) => {
                self.ledger.restarted(name, self.options.clock.timestamp());
                Ok(())
            }
            Command::ForgetRestarts(name) => {
                self.ledger.forget_restarts(name);
                Ok(())
            }
        }
    }

    /// The image of a module, the parent's registry put in.
    fn image(&self, module: &ModuleSpecification) -> Result<String, RuntimeError> {
        let image = &module.settings.image;
        let parent = self.options.environment.parent_host.as_deref();
        let expanded = image_reference::expand_upstream(image, parent)
            .map_err(|error| RuntimeError::Invalid { name: module.name.clone(), reason: error.to_string() })?;
        Ok(expanded.unwrap_or_else(|| image.clone()))
    }

    /// What the runtime is to run for a module.
    fn specify(&self, module: &ModuleSpecification) -> Result<ModuleSpec, RuntimeError> {
        let identity = self.identities.get(&module.name).ok_or_else(|| RuntimeError::Invalid {
            name: module.name.clone(),
            reason: "it has no identity yet".to_owned(),
        })?;
        let create_options = &module.settings.create_options;
        let environment = ModuleEnvironment {
            name: &module.name,
            generation_id: &identity.generation_id,
            workload_uri: &identity.workload_uri,
            env: &module.env,
            create_options,
        };
        Ok(ModuleSpec {
            name: module.name.clone(),
            kind: "docker".to_owned(),
            image: self.image(module)?,
            create_options: create_options.clone(),
            env: module_environment(&self.options.environment, &environment),
        })
    }

    /// Sends what changed since the last report.
    async fn report(&mut self, reports: &mpsc::Sender<Value>) {
        let Ok(room) = reports.try_reserve() else { return };
        match self.options.runtime.list().await {
            Ok(states) => {
                let report = self.whole_report(&states, None);
                if let Some(patch) = difference(&self.reported, &report) {
                    room.send(patch);
                    self.reported = report;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot report the modules"),
        }
    }

    /// Everything the hub is told; with a status it is that of every module.
    fn whole_report(&self, states: &[ModuleState], override_status: Option<ModuleStatus>) -> Value {
        let rules = &self.options.rules;
        let mut modules: BTreeMap<_, _> =
            states.iter().map(|state| (state.name.clone(), self.ledger.report(state, rules))).collect();
        let system =
            self.deployment.iter().flat_map(|deployment| [Some(&deployment.edge_agent), deployment.edge_hub.as_ref()]);
        modules.extend(system.flatten().map(|module| (module.name.clone(), self.system_report(module))));
        if let Some(status) = override_status {
            for module in modules.values_mut() {
                module.status = status;
            }
        }
        reported(&Report {
            facts: &self.options.facts,
            desired_version: self.desired_version,
            status: &self.status,
            runtime: self.deployment.as_ref().map(|deployment| &deployment.runtime),
            modules: &modules,
        })
    }

    /// Agent and hub are parts of the simulator and run while it does.
    fn system_report(&self, module: &ModuleSpecification) -> ModuleReport {
        ModuleReport {
            specification: module.clone(),
            status: ModuleStatus::Running,
            description: "part of the simulated device".to_owned(),
            exit_code: 0,
            last_start: Some(self.started_at),
            last_exit: None,
            restart_count: 0,
            last_restart: None,
            image_hash: None,
        }
    }

    /// Stops all modules at once and reports that nobody looks after them any more.
    async fn shut_down(&mut self, reports: &mpsc::Sender<Value>) {
        let runtime = &self.options.runtime;
        let states = runtime.list().await.unwrap_or_default();
        let mut stops = tokio::task::JoinSet::new();
        for state in states.iter().filter(|state| state.status == ModuleStatus::Running) {
            let (runtime, name, timeout) = (Arc::clone(runtime), state.name.clone(), self.options.stop_timeout);
            stops.spawn(async move { runtime.stop(&name, timeout).await });
        }
        for error in stops.join_all().await.into_iter().filter_map(Result::err) {
            tracing::warn!(error = explain(&error), "a module does not stop");
        }
        self.status = DeploymentStatus::not_running();
        let states = runtime.list().await.unwrap_or(states);
        let report = self.whole_report(&states, Some(ModuleStatus::Unknown));
        if let Some(patch) = difference(&self.reported, &report)
            && within(self.options.clock.as_ref(), LAST_REPORT_TIMEOUT, reports.send(patch)).await.is_none()
        {
            tracing::debug!("the last report found no room");
        }
    }
}

/// An error with its causes.
fn explain(error: &RuntimeError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
