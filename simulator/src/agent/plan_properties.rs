//! What holds for every plan.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Map;

use crate::agent::deployment::{DockerSettings, ImagePullPolicy, LAST, ModuleSpecification, RestartPolicy};
use crate::agent::plan::{Command, CurrentModule, Situation, UpdateMode, plan};
use crate::agent::restart::RestartRules;
use crate::runtime::module_runtime::ModuleStatus;

type Modules<T> = BTreeMap<String, T>;

fn specification() -> impl Strategy<Value = ModuleSpecification> {
    let policies = [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::OnUnhealthy, RestartPolicy::Always];
    let orders = prop::sample::select(vec![0, 1, 2, LAST]);
    (any::<bool>(), prop::sample::select(policies.to_vec()), orders, "[ab]").prop_map(
        |(runs, restart_policy, startup_order, image)| ModuleSpecification {
            name: String::new(),
            version: String::new(),
            status: if runs { ModuleStatus::Running } else { ModuleStatus::Stopped },
            restart_policy,
            image_pull_policy: ImagePullPolicy::OnCreate,
            startup_order,
            env: BTreeMap::new(),
            settings: DockerSettings { image, digest: None, create_options: Map::new() },
        },
    )
}

fn named<T>(modules: Modules<T>, name: impl Fn(&mut T, &str)) -> Modules<T> {
    modules.into_iter().map(|(key, mut module)| (key.clone(), (name(&mut module, &key), module).1)).collect()
}

fn desired() -> impl Strategy<Value = Modules<ModuleSpecification>> {
    prop::collection::btree_map("[abcd]", specification(), 0..5)
        .prop_map(|modules| named(modules, |module, name| name.clone_into(&mut module.name)))
}

fn current() -> impl Strategy<Value = Modules<CurrentModule>> {
    let statuses = vec![ModuleStatus::Running, ModuleStatus::Stopped, ModuleStatus::Failed, ModuleStatus::Backoff];
    let module = (specification(), prop::sample::select(statuses)).prop_map(|(specification, status)| CurrentModule {
        specification,
        status,
        last_start: None,
        last_exit: None,
        restart_count: 0,
    });
    prop::collection::btree_map("[abcd]", module, 0..5)
        .prop_map(|modules| named(modules, |module, name| name.clone_into(&mut module.specification.name)))
}

fn plan_of(
    desired: &Modules<ModuleSpecification>,
    current: &Modules<CurrentModule>,
    without_identity: &BTreeSet<String>,
    mode: UpdateMode,
) -> Vec<Command> {
    let rules = RestartRules::default();
    plan(&Situation { desired, current, without_identity, rules: &rules, mode, now: Timestamp::UNIX_EPOCH })
}

/// Carries a plan out on a model. A command that has nothing to act on is an error.
fn apply(
    desired: &Modules<ModuleSpecification>,
    current: &mut Modules<CurrentModule>,
    commands: &[Command],
) -> Result<(), TestCaseError> {
    for command in commands {
        let module = command.module().map(str::to_owned).unwrap_or_default();
        match command {
            Command::Create(_) | Command::Update(_) => {
                let specification = desired[&module].clone();
                let status = ModuleStatus::Stopped;
                let placed =
                    CurrentModule { specification, status, last_start: None, last_exit: None, restart_count: 0 };
                current.insert(module, placed);
            }
            Command::Remove(_) => prop_assert!(current.remove(&module).is_some(), "{commands:?}"),
            Command::Start(_) | Command::Stop(_) => {
                let module = current.get_mut(&module);
                prop_assert!(module.is_some(), "{commands:?}");
                let is_start = matches!(command, Command::Start(_));
                let status = if is_start { ModuleStatus::Running } else { ModuleStatus::Stopped };
                module.unwrap().status = status;
            }
            _ => {}
        }
    }
    for (name, module) in current {
        if let Some(desired) = desired.get(name) {
            module.specification.status = desired.status;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_plan_leads_to_what_is_desired_and_then_rests(desired in desired(), mut current in current()) {
        let nobody = BTreeSet::new();
        let commands = plan_of(&desired, &current, &nobody, UpdateMode::NonBlocking);
        apply(&desired, &mut current, &commands)?;
        prop_assert!(current.values().map(|module| &module.specification).eq(desired.values()));
        for module in current.values() {
            // A module that failed for good stays as it is, and so does one that is to stop and does not run.
            let wanted = module.specification.status;
            let rests = module.status == wanted || module.status != ModuleStatus::Running;
            prop_assert!(rests, "{commands:?}");
        }
        let again = plan_of(&desired, &current, &nobody, UpdateMode::NonBlocking);
        prop_assert_eq!(again, vec![]);
    }

    #[test]
    fn pulls_that_are_waited_for_come_first_and_change_nothing_else(desired in desired(), current in current()) {
        let nobody = BTreeSet::new();
        let is_pull = |command: &Command| matches!(command, Command::PrepareUpdate(_));
        let waiting = plan_of(&desired, &current, &nobody, UpdateMode::WaitForAllPulls);
        let plain = plan_of(&desired, &current, &nobody, UpdateMode::NonBlocking);
        let pulls = waiting.iter().take_while(|command| is_pull(command)).count();
        prop_assert_eq!(pulls, plain.iter().filter(|command| is_pull(command)).count());
        prop_assert!(waiting[pulls..].iter().eq(plain.iter().filter(|command| !is_pull(command))));
    }

    #[test]
    fn modules_without_an_identity_are_not_deployed(desired in desired(), current in current()) {
        let everybody = desired.keys().cloned().collect();
        let commands = plan_of(&desired, &current, &everybody, UpdateMode::NonBlocking);
        let deploys = |command: &Command| matches!(command, Command::Create(_) | Command::Update(_));
        prop_assert!(!commands.iter().any(deploys));
    }
}
