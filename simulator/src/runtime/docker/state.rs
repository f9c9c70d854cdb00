//! What an engine says of a container, in the words of the runtime.

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, HealthStatusEnum};
use jiff::Timestamp;

use crate::runtime::docker::body::{IMAGE_LABEL, MODULE_LABEL};
use crate::runtime::module_runtime::{ModuleState, ModuleStatus};

/// A container as a module; none if it is not one of a device.
pub fn module_state(container: &ContainerInspectResponse) -> Option<ModuleState> {
    let config = container.config.as_ref()?;
    let labels = config.labels.as_ref()?;
    let state = container.state.as_ref()?;
    let status = status(state);
    Some(ModuleState {
        name: labels.get(MODULE_LABEL)?.clone(),
        image: labels.get(IMAGE_LABEL).or(config.image.as_ref()).cloned().unwrap_or_default(),
        image_description: container.name.as_ref().map(|name| format!("container {}", name.trim_start_matches('/'))),
        image_hash: container.image.clone(),
        status,
        description: description(state, status),
        exit_code: state
            .exit_code
            .filter(|_| time(state.finished_at.as_ref()).is_some())
            .and_then(|code| code.try_into().ok()),
        started_at: time(state.started_at.as_ref()),
        exited_at: time(state.finished_at.as_ref()),
        pid: state.pid.filter(|pid| *pid > 0).and_then(|pid| pid.try_into().ok()),
        limits: None,
        limits_unenforced: None,
    })
}

/// Created, paused and restarting containers count as stopped, those that ended as what their exit code says.
fn status(state: &ContainerState) -> ModuleStatus {
    match state.status {
        Some(ContainerStateStatusEnum::RUNNING) => {
            let health = state.health.as_ref().and_then(|health| health.status);
            if health == Some(HealthStatusEnum::UNHEALTHY) { ModuleStatus::Unhealthy } else { ModuleStatus::Running }
        }
        Some(
            ContainerStateStatusEnum::CREATED | ContainerStateStatusEnum::PAUSED | ContainerStateStatusEnum::RESTARTING,
        ) => ModuleStatus::Stopped,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::REMOVING) => {
            if state.exit_code.unwrap_or_default() == 0 { ModuleStatus::Stopped } else { ModuleStatus::Failed }
        }
        Some(ContainerStateStatusEnum::DEAD) => ModuleStatus::Dead,
        _ => ModuleStatus::Unknown,
    }
}

fn description(state: &ContainerState, status: ModuleStatus) -> String {
    if let Some(error) = state.error.as_ref().filter(|error| !error.is_empty()) {
        return error.clone();
    }
    match (status, state.exit_code) {
        (ModuleStatus::Unhealthy, _) => "running, and its health check fails".to_owned(),
        (ModuleStatus::Failed | ModuleStatus::Stopped, Some(code)) if time(state.finished_at.as_ref()).is_some() => {
            let memory = if state.oom_killed == Some(true) { ", out of memory" } else { "" };
            format!("ended with exit code {code}{memory}")
        }
        (ModuleStatus::Stopped, _) => "created".to_owned(),
        _ => status.to_string(),
    }
}

/// The engine writes the year 1 for what has not happened.
fn time(text: Option<&String>) -> Option<Timestamp> {
    text?.parse().ok().filter(|at: &Timestamp| at.as_second() > 0)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, Health};

    use super::*;

    fn inspected(state: ContainerState) -> ModuleState {
        let labels = [(MODULE_LABEL.to_owned(), "m".to_owned()), (IMAGE_LABEL.to_owned(), "i:1".to_owned())];
        let config = ContainerConfig { labels: Some(labels.into()), ..ContainerConfig::default() };
        let container = ContainerInspectResponse {
            config: Some(config),
            state: Some(state),
            ..ContainerInspectResponse::default()
        };
        module_state(&container).unwrap()
    }

    #[test]
    fn statuses_are_those_of_the_real_daemon() {
        use ContainerStateStatusEnum as Engine;
        let ended = |code| ContainerState {
            status: Some(Engine::EXITED),
            exit_code: Some(code),
            finished_at: Some("2026-01-01T00:00:00.5Z".into()),
            ..ContainerState::default()
        };
        let plain = |status| ContainerState {
            status: Some(status),
            exit_code: Some(0),
            finished_at: Some("0001-01-01T00:00:00Z".into()),
            ..ContainerState::default()
        };
        let health = Health { status: Some(HealthStatusEnum::UNHEALTHY), ..Health::default() };
        let ill = ContainerState { health: Some(health), ..plain(Engine::RUNNING) };
        let cases = [
            (plain(Engine::CREATED), ModuleStatus::Stopped, None),
            (plain(Engine::PAUSED), ModuleStatus::Stopped, None),
            (plain(Engine::RUNNING), ModuleStatus::Running, None),
            (ill, ModuleStatus::Unhealthy, None),
            (plain(Engine::DEAD), ModuleStatus::Dead, None),
            (ended(0), ModuleStatus::Stopped, Some(0)),
            (ended(137), ModuleStatus::Failed, Some(137)),
        ];
        for (state, status, exit_code) in cases {
            let module = inspected(state.clone());
            assert_eq!((module.status, module.exit_code), (status, exit_code), "{state:?}");
        }
    }
}
