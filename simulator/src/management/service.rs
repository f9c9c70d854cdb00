//! Requests of the management API and their answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::route::{Action, Route};
use crate::agent::identity::IdentityProvider;
use crate::agent::methods::uploads::BundleRequest;
use crate::metrics::machine::{self, ProcessorTime};
use crate::provisioning::Provisioning;
use crate::requests::Requests;
use crate::runtime::log_time;
use crate::workload::exchange::{Problem, api_version, parameter, read_body};

/// Requests that are answered at once, as in the real daemon; more wait.
const MAX_REQUESTS: usize = 50;
/// How long an answer may take to end when the device stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What answers are made of.
pub struct Management {
    pub(super) requests: Arc<Requests>,
    pub(super) identities: Arc<dyn IdentityProvider>,
    pub(super) started_at: Timestamp,
    provisioning: Arc<Provisioning>,
    processors: Mutex<ProcessorTime>,
    permits: Semaphore,
}

impl Management {
    /// Manages a device.
    pub fn new(
        requests: Arc<Requests>,
        identities: Arc<dyn IdentityProvider>,
        provisioning: Arc<Provisioning>,
    ) -> Arc<Self> {
        Arc::new(Self {
            requests,
            identities,
            started_at: Timestamp::now(),
            provisioning,
            processors: Mutex::default(),
            permits: Semaphore::new(MAX_REQUESTS),
        })
    }

    /// Serves the API until shutdown.
    pub async fn serve(self: Arc<Self>, listener: UnixListener, shutdown: CancellationToken) {
        let service = Router::new().fallback(answer).with_state(self).into_make_service_with_connect_info::<Caller>();
        let server = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        tokio::select! {
            ended = server => if let Err(error) = ended { tracing::warn!(%error, "the management API ended") },
            () = late => {}
        }
    }

    async fn answer(&self, caller: Caller, request: Request) -> Result<Response, Problem> {
        let query = request.uri().query().map(str::to_owned);
        let version = api_version(query.as_deref())?;
        let route = Route::parse(request.uri().path()).filter(|route| route.since() <= version);
        let route = route.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not found"))?;
        let method = request.method().clone();
        self.authorise(caller, &method).await?;
        let query = query.as_deref();
        match (route, method) {
            (Route::Modules, Method::GET) => ok(self.modules().await?),
            (Route::Modules, Method::POST) => {
                let body = read_body(request).await?.unwrap_or_default();
                Ok((StatusCode::CREATED, Json(self.create(body, None, false).await?)).into_response())
            }
            (Route::Module(name), Method::GET) => ok(self.module(&name).await?),
            (Route::Module(name), Method::PUT) => {
                let body = read_body(request).await?.unwrap_or_default();
                let is_started = flag(query, "start")?;
                ok(self.create(body, Some(&name), is_started).await?)
            }
            (Route::Module(name), Method::DELETE) => done(self.remove(&name).await),
            (Route::Action { module, action: Action::PrepareUpdate }, Method::POST) => {
                let body = read_body(request).await?;
                done(self.act(&module, Action::PrepareUpdate, body).await)
            }
            (Route::Action { module, action }, Method::POST) => done(self.act(&module, action, None).await),
            (Route::Logs(name), Method::GET) => self.logs(&name, query).await,
            (Route::Identities, Method::GET) => ok(self.identities()),
            (Route::Identities, Method::POST) => {
                let body = required(read_body(request).await?)?;
                let id = text(&body, "moduleId")?.to_owned();
                ok(self.put_identity(&id, &body).await?)
            }
            (Route::Identity(id), Method::PUT) => {
                let body = required(read_body(request).await?)?;
                text(&body, "generationId")?;
                ok(self.put_identity(&id, &body).await?)
            }
            (Route::Identity(id), Method::DELETE) => done(self.remove_identity(&id).await),
            (Route::SystemInfo, Method::GET) => ok(Self::system_info()),
            (Route::Resources, Method::GET) => ok(self.resources()),
            (Route::SupportBundle, Method::GET) => self.bundle(query).await,
            (Route::Reprovision, Method::POST) => {
                self.provisioning.renew().await.map_err(|error| Problem::internal(&error))?;
                ok(Value::Object(serde_json::Map::new()))
            }
            _ => Err(Problem::new(StatusCode::BAD_REQUEST, "method not allowed")),
        }
    }

    /// The user's own processes may ask; the device's modules may not change it.
    async fn authorise(&self, caller: Caller, method: &Method) -> Result<(), Problem> {
        let is_allowed = match *method {
            Method::GET => caller.may_read(),
            _ => {
                let modules = self.requests.runtime.list().await.map_err(|error| Problem::internal(&error))?;
                caller.may_write(&modules)
            }
        };
        if is_allowed { Ok(()) } else { Err(Problem::new(StatusCode::FORBIDDEN, "forbidden")) }
    }

    async fn bundle(&self, query: Option<&str>) -> Result<Response, Problem> {
        let bad = |error: &dyn std::fmt::Display| Problem::new(StatusCode::BAD_REQUEST, error.to_string());
        let now = Timestamp::now();
        let time = |name| {
            let time = parameter(query, name).map(|text| log_time::parse(&text, now));
            time.transpose().map_err(|error| bad(&error))
        };
        let wanted = BundleRequest {
            since: time("since")?,
            until: time("until")?,
            is_runtime_only: flag(query, "edge_runtime_only")?,
        };
        let bytes = self.requests.support_bundle(wanted).await;
        let bytes = bytes.map_err(|message| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message))?;
        Ok(([(header::CONTENT_TYPE, "application/zip")], bytes).into_response())
    }

    /// How much of the processors' time was used since this was last asked, in percent.
    pub(super) fn processor_use(&self) -> Option<f64> {
        let now = machine::processor_time()?;
        let mut last = self.processors.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, now);
        let (busy, total) = (now.busy.saturating_sub(before.busy), now.total.saturating_sub(before.total));
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        (total > 0).then(|| busy as f64 / total as f64 * 100.0)
    }
}

async fn answer(
    State(management): State<Arc<Management>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
) -> Response {
    // The semaphore is never closed; without it the answer is the same.
    let _permit = management.permits.acquire().await;
    management.answer(caller, request).await.unwrap_or_else(Problem::into_response)
}

#[expect(clippy::unnecessary_wraps, reason = "an answer among others that may fail")]
fn ok(body: Value) -> Result<Response, Problem> {
    Ok(Json(body).into_response())
}

fn done(outcome: Result<(), Problem>) -> Result<Response, Problem> {
    outcome.map(|()| StatusCode::NO_CONTENT.into_response())
}

fn required(body: Option<Value>) -> Result<Value, Problem> {
    body.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "missing request body"))
}

fn text<'b>(body: &'b Value, member: &str) -> Result<&'b str, Problem> {
    let missing = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("missing field {member:?}"));
    body.get(member).and_then(Value::as_str).ok_or_else(missing)
}

fn flag(query: Option<&str>, name: &str) -> Result<bool, Problem> {
    match parameter(query, name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, format!("invalid value {other:?} of parameter {name}")))
        }
    }
}
