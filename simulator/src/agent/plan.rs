//! What to do, and in which order, so that the desired modules run.
//!
//! Modules are handled in groups by their `startupOrder`, which orders commands and waits for nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::agent::deployment::{EDGE_AGENT, ImagePullPolicy, ModuleSpecification, RestartPolicy};
use crate::agent::diff::{Diff, diff};
use crate::agent::restart::RestartRules;
use crate::runtime::module_runtime::ModuleStatus;

/// A module that is there, as the agent knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrentModule {
    /// What was deployed. A module that the agent did not deploy counts as one of order 0.
    pub specification: ModuleSpecification,
    /// What it is doing, the restart policy applied.
    pub status: ModuleStatus,
    /// When it was last started.
    pub last_start: Option<Timestamp>,
    /// When it last ended.
    pub last_exit: Option<Timestamp>,
    /// How often the agent started it again.
    pub restart_count: u32,
}

/// One step of a plan; each names its module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// Pull the image.
    PrepareUpdate(String),
    /// Create the module as it is desired.
    Create(String),
    /// Replace the module by the desired one.
    Update(String),
    /// Replace the agent itself.
    UpdateEdgeAgent,
    /// Start the module.
    Start(String),
    /// Stop the module.
    Stop(String),
    /// Remove the module.
    Remove(String),
    /// Count a restart, now.
    RecordRestart(String),
    /// Forget how often the module was restarted.
    ForgetRestarts(String),
}

impl Command {
    /// The module it is about; none for the agent itself.
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::UpdateEdgeAgent => None,
            Self::PrepareUpdate(name)
            | Self::Create(name)
            | Self::Update(name)
            | Self::Start(name)
            | Self::Stop(name)
            | Self::Remove(name)
            | Self::RecordRestart(name)
            | Self::ForgetRestarts(name) => Some(name),
        }
    }
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpdateMode {
    /// Each right before its module is created or updated.
    #[default]
    NonBlocking,
    /// All before anything else; if one fails nothing else is done.
    WaitForAllPulls,
}

impl UpdateMode {
    /// The mode that the agent's `ModuleUpdateMode` asks for.
    pub fn of(edge_agent: &ModuleSpecification) -> Self {
        match edge_agent.env.get("ModuleUpdateMode") {
            Some(mode) if mode.eq_ignore_ascii_case("WaitForAllPulls") => Self::WaitForAllPulls,
            _ => Self::NonBlocking,
        }
    }
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The modules that are wanted.
    pub desired: &'a BTreeMap<String, ModuleSpecification>,
    /// The modules that are there.
    pub current: &'a BTreeMap<String, CurrentModule>,
    /// Modules that have no identity at the hub yet: they are neither created nor updated.
    pub without_identity: &'a BTreeSet<String>,
    /// The numbers of the restart policy.
    pub rules: &'a RestartRules,
    /// When images are pulled.
    pub mode: UpdateMode,
    /// The time.
    pub now: Timestamp,
}

/// Makes the plan.
pub fn plan(situation: &Situation<'_>) -> Vec<Command> {
    let orders: BTreeSet<u32> = situation
        .desired
        .values()
        .chain(situation.current.values().map(|current| &current.specification))
        .map(|module| module.startup_order)
        .collect();
    let mut plans = Vec::new();
    let mut handled = BTreeSet::new();
    for order in orders {
        let group = Group::of(situation, order, &handled);
        handled.extend(group.current.keys().cloned());
        plans.push(group.plan(situation));
    }
    let mut commands: Vec<Command> = plans.into_iter().flatten().collect();
    if situation.mode == UpdateMode::WaitForAllPulls {
        // The sort is stable: it moves the pulls to the front and changes nothing else.
        commands.sort_by_key(|command| !matches!(command, Command::PrepareUpdate(_)));
    }
    commands
}

/// The modules of one `startupOrder`.
struct Group<'a> {
    desired: BTreeMap<String, ModuleSpecification>,
    current: BTreeMap<String, &'a CurrentModule>,
    diff: Diff,
}

impl<'a> Group<'a> {
    /// What is desired at this order, its counterparts among what is there, and what was deployed at this order and
    /// is not handled yet. A module whose order was raised is thus removed here and updated in its new group.
    fn of(situation: &Situation<'a>, order: u32, handled: &BTreeSet<String>) -> Self {
        let of_order = |module: &ModuleSpecification| module.startup_order == order;
        let desired: BTreeMap<_, _> = situation
            .desired
            .iter()
            .filter(|(_, module)| of_order(module))
            .map(|(name, module)| (name.clone(), module.clone()))
            .collect();
        let current: BTreeMap<_, _> = situation
            .current
            .iter()
            .filter(|(name, module)| {
                desired.contains_key(*name) || of_order(&module.specification) && !handled.contains(*name)
            })
            .map(|(name, module)| (name.clone(), module))
            .collect();
        let diff = diff(&desired, current.iter().map(|(name, module)| (name.as_str(), &module.specification)));
        Self { desired, current, diff }
    }

    fn plan(&self, situation: &Situation<'_>) -> Vec<Command> {
        let mut commands = self.update_agent();
        commands.extend(self.remove());
        commands.extend(self.forget_changed());
        commands.extend(self.deploy(situation, &self.diff.added, Command::Create));
        commands.extend(self.deploy(situation, &self.diff.updated, Command::Update));
        commands.extend(self.follow_state(situation));
        commands.extend(self.follow_desired_status());
        commands.extend(self.forget_healthy(situation));
        commands
    }

    fn update_agent(&self) -> Vec<Command> {
        if !self.diff.updated.contains(EDGE_AGENT) {
            return Vec::new();
        }
        vec![Command::PrepareUpdate(EDGE_AGENT.to_owned()), Command::UpdateEdgeAgent]
    }

    fn remove(&self) -> Vec<Command> {
        let removed = || self.diff.removed.iter().cloned();
        removed()
            .map(Command::Stop)
            .chain(removed().map(Command::Remove))
            .chain(self.dead().map(Command::Remove))
            .collect()
    }

    fn dead(&self) -> impl Iterator<Item = String> {
        let dead = self.current.iter().filter(|(_, module)| module.status == ModuleStatus::Dead);
        dead.map(|(name, _)| name).filter(|name| !self.diff.removed.contains(*name)).cloned()
    }

    fn forget_changed(&self) -> Vec<Command> {
        let diff = &self.diff;
        let changed = diff.removed.iter().chain(&diff.updated).chain(&diff.desired_status_updated).cloned();
        changed.chain(self.dead()).collect::<BTreeSet<_>>().into_iter().map(Command::ForgetRestarts).collect()
    }

    fn deploy(
        &self,
        situation: &Situation<'_>,
        names: &BTreeSet<String>,
        place: fn(String) -> Command,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        for name in names {
            let Some(module) = self.desired.get(name) else { continue };
            let is_agent_update = name == EDGE_AGENT && self.diff.updated.contains(name);
            if is_agent_update || situation.without_identity.contains(name) {
                continue;
            }
            if module.image_pull_policy == ImagePullPolicy::OnCreate {
                commands.push(Command::PrepareUpdate(name.clone()));
            }
            commands.push(place(name.clone()));
            if module.status == ModuleStatus::Running {
                commands.push(Command::Start(name.clone()));
            }
        }
        commands
    }

    /// Modules that are as they were deployed; the agent looks after itself.
    fn unchanged(&self) -> impl Iterator<Item = (&String, &CurrentModule)> {
        let diff = &self.diff;
        let changed = [&diff.removed, &diff.updated, &diff.desired_status_updated];
        self.current
            .iter()
            .map(|(name, module)| (name, *module))
            .filter(move |(name, _)| *name != EDGE_AGENT && !changed.iter().any(|names| names.contains(*name)))
    }

    /// Brings modules back to their desired status: all stops, all starts, then the restarts whose wait is over.
    fn follow_state(&self, situation: &Situation<'_>) -> Vec<Command> {
        let (mut stops, mut starts, mut restarts) = (Vec::new(), Vec::new(), Vec::new());
        for (name, module) in self.unchanged() {
            let specification = &module.specification;
            match (specification.status, module.status) {
                (ModuleStatus::Stopped, ModuleStatus::Running) => stops.push(Command::Stop(name.clone())),
                (ModuleStatus::Running, ModuleStatus::Stopped)
                    if specification.restart_policy != RestartPolicy::Never || module.last_start.is_none() =>
                {
                    starts.push(Command::Start(name.clone()));
                }
                (ModuleStatus::Running, status)
                    if situation.rules.should_restart(
                        status,
                        specification.restart_policy,
                        module.last_exit,
                        module.restart_count,
                        situation.now,
                    ) =>
                {
                    restarts
                        .extend([Command::Stop, Command::Start, Command::RecordRestart].map(|step| step(name.clone())));
                }
                _ => {}
            }
        }
        stops.into_iter().chain(starts).chain(restarts).collect()
    }

    fn follow_desired_status(&self) -> Vec<Command> {
        let changed = self.diff.desired_status_updated.iter();
        changed
            .filter_map(|name| {
                let (desired, current) = (self.desired.get(name)?.status, self.current.get(name)?.status);
                match desired {
                    ModuleStatus::Running if current != desired => Some(Command::Start(name.clone())),
                    ModuleStatus::Stopped if current != desired => Some(Command::Stop(name.clone())),
                    _ => None,
                }
            })
            .collect()
    }

    /// Forgets the restarts of modules that have run long enough.
    fn forget_healthy(&self, situation: &Situation<'_>) -> Vec<Command> {
        let healthy = |module: &CurrentModule| {
            module.status == ModuleStatus::Running
                && module.restart_count > 0
                && module.last_start.is_some_and(|start| {
                    let ran = situation.now.duration_since(start);
                    !ran.is_negative() && ran.unsigned_abs() > situation.rules.intensive_care
                })
        };
        self.unchanged()
            .filter(|(_, module)| healthy(module))
            .map(|(name, _)| Command::ForgetRestarts(name.clone()))
            .collect()
    }
}
