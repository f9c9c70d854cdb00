//! Modules, as the management API shows and changes them.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::logs::{LogsQuery, frame};
use super::route::Action;
use super::service::Management;
use super::specification::Specification;
use crate::agent::deployment::{EDGE_AGENT, EDGE_HUB};
use crate::agent_link::STOP_TIMEOUT;
use crate::runtime::module_runtime::{ModuleState, ModuleStatus, RuntimeError};
use crate::workload::exchange::{Problem, details};

impl Management {
    /// The user's modules, and the runtime's, which are parts of the simulated device.
    pub(super) async fn states(&self) -> Result<Vec<ModuleState>, Problem> {
        let mut states = self.requests.runtime.list().await.map_err(problem)?;
        states.extend([EDGE_AGENT, EDGE_HUB].map(|name| self.part(name)));
        states.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(states)
    }

    fn part(&self, name: &str) -> ModuleState {
        ModuleState {
            name: name.to_owned(),
            image: format!("edgectl:{}", env!("CARGO_PKG_VERSION")),
            image_description: None,
            image_hash: None,
            status: ModuleStatus::Running,
            description: "part of the simulated device".to_owned(),
            exit_code: None,
            started_at: Some(self.started_at),
            exited_at: None,
            pid: Some(std::process::id()),
            limits: None,
            limits_unenforced: None,
        }
    }

    pub(super) async fn modules(&self) -> Result<Value, Problem> {
        let states = self.states().await?;
        Ok(json!({ "modules": states.iter().map(details).collect::<Vec<_>>() }))
    }

    pub(super) async fn module(&self, name: &str) -> Result<Value, Problem> {
        let states = self.states().await?;
        let state = states.iter().find(|state| state.name == name);
        state.map(details).ok_or_else(|| problem(RuntimeError::NotFound(name.to_owned())))
    }

    /// Creates a module; one of that name is replaced.
    pub(super) async fn create(&self, body: Value, name: Option<&str>, is_started: bool) -> Result<Value, Problem> {
        let specification = specification(body)?;
        let own = specification.module.name.clone();
        if name.is_some_and(|name| name != own) {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "the path and the body name different modules"));
        }
        changeable(&own)?;
        let runtime = &self.requests.runtime;
        if specification.is_pulled {
            prepare(self, &specification).await?;
        }
        runtime.create(specification.module).await.map_err(problem)?;
        if is_started {
            runtime.start(&own).await.map_err(problem)?;
        }
        self.module(&own).await
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), Problem> {
        changeable(name)?;
        self.requests.runtime.remove(name).await.map_err(problem)
    }

    pub(super) async fn act(&self, name: &str, action: Action, body: Option<Value>) -> Result<(), Problem> {
        let runtime = &self.requests.runtime;
        if action != Action::PrepareUpdate {
            changeable(name)?;
        }
        match action {
            Action::Start => runtime.start(name).await.map_err(problem),
            Action::Stop => runtime.stop(name, STOP_TIMEOUT).await.map_err(problem),
            Action::Restart => runtime.restart(name, STOP_TIMEOUT).await.map_err(problem),
            Action::PrepareUpdate => prepare(self, &specification(body.unwrap_or_default())?).await,
        }
    }

    /// A stream of frames, without end for a log that is followed.
    pub(super) async fn logs(&self, name: &str, query: Option<&str>) -> Result<Response, Problem> {
        let query = LogsQuery::read(query, Timestamp::now())
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let lines = self.requests.runtime.logs(name, query.for_runtime()).await.map_err(problem)?;
        let frames = stream::unfold(lines, move |mut lines| async move {
            let line = lines.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(frame(&line, query.timestamps)), lines))
        });
        Ok(([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(frames)).into_response())
    }
}

async fn prepare(management: &Management, specification: &Specification) -> Result<(), Problem> {
    let image = &specification.module.image;
    management.requests.runtime.prepare(image, specification.credential.as_ref()).await.map_err(problem)
}

fn specification(body: Value) -> Result<Specification, Problem> {
    if body.is_null() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "missing request body"));
    }
    Specification::read(body).map_err(|error| match error {
        super::specification::InvalidSpecification::Form(_) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        super::specification::InvalidSpecification::Member(_) => {
            Problem::new(StatusCode::BAD_REQUEST, error.to_string())
        }
    })
}

/// The runtime's own modules are what they are while the device runs.
fn changeable(name: &str) -> Result<(), Problem> {
    if matches!(name, EDGE_AGENT | EDGE_HUB) {
        let message = format!("{name} is a part of the simulated device and runs while it does");
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message));
    }
    Ok(())
}

fn problem(error: RuntimeError) -> Problem {
    let status = match &error {
        RuntimeError::NotFound(_) => StatusCode::NOT_FOUND,
        RuntimeError::Invalid { .. } => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.to_string())
}
