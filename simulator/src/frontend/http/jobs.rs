//! Jobs over many devices.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use edgectl_hub::clock::text_of;
use edgectl_hub::cloud::jobs::{Call, Job, JobError, Status, Work};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Holder, RegistryRead, ServiceConnect};
use super::answer::ServiceError;
use super::method::read_request;
use super::page::Page;
use super::service::Service;

type Answer = Result<Response, ServiceError>;

/// What a job may take where nobody says so.
const DEFAULT_SECONDS: u64 = 3600;

/// The paths.
pub fn routes() -> Router<Service> {
    Router::new()
        .route("/jobs", get(transfers))
        .route("/jobs/v2/query", get(list))
        .route("/jobs/v2/{id}", get(show).put(put))
        .route("/jobs/v2/{id}/cancel", post(cancel))
}

/// Which jobs are wanted.
#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(rename = "jobType")]
    kind: Option<String>,
    #[serde(rename = "jobStatus")]
    status: Option<String>,
}

/// `GET /jobs/v2/query?jobType=&jobStatus=`.
async fn list(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Answer {
    let page = Page::read(&headers)?;
    let is = |wanted: &Option<String>, value: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted.eq_ignore_ascii_case(value))
    };
    let mut all = service.hub.jobs().all();
    all.retain(|job| is(&wanted.kind, job.kind()) && is(&wanted.status, &status(job.status)));
    Ok(page.of(&all, "jobResponse", |job| shown(job)))
}

/// `GET /jobs`: those that import or export devices, of which there are none here.
async fn transfers(_: Holder<RegistryRead>) -> Answer {
    Ok(Json(Vec::<Value>::new()).into_response())
}

/// `GET /jobs/v2/{id}`.
async fn show(_: Holder<ServiceConnect>, State(service): State<Service>, Path(id): Path<String>) -> Answer {
    Ok(Json(shown(&*service.hub.jobs().require(&id)?)).into_response())
}

/// `PUT /jobs/v2/{id}`.
async fn put(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Answer {
    let job = read(id, &body, service.hub.clock().now_ms())?;
    let shown = shown(&job);
    service.hub.submit_job(job)?;
    Ok(Json(shown).into_response())
}

/// `POST /jobs/v2/{id}/cancel`.
async fn cancel(_: Holder<ServiceConnect>, State(service): State<Service>, Path(id): Path<String>) -> Answer {
    Ok(Json(shown(&*service.hub.cancel_job(&id)?)).into_response())
}

fn read(id: String, body: &Value, now_ms: u64) -> Result<Job, ServiceError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let work = match text("type").unwrap_or_default() {
        "scheduleUpdateTwin" => match body.get("updateTwin") {
            Some(patch @ Value::Object(_)) => Work::UpdateTwin(patch.clone()),
            _ => return Err(ServiceError::invalid("updateTwin is missing")),
        },
        "scheduleDeviceMethod" => {
            let call = body.get("cloudToDeviceMethod").unwrap_or(&Value::Null);
            let request = read_request(call).map_err(ServiceError::invalid)?;
            Work::Method(Call {
                name: request.name,
                payload: String::from_utf8_lossy(&request.payload).into_owned(),
                response_seconds: request.response_timeout.as_secs(),
                connect_seconds: request.connect_timeout.as_secs(),
            })
        }
        other => {
            let text = format!("type {other:?} is neither scheduleUpdateTwin nor scheduleDeviceMethod");
            return Err(ServiceError::invalid(text));
        }
    };
    let start_ms = match text("startTime") {
        None => now_ms,
        Some(time) => {
            // Some tools leave the zone out, and mean UTC.
            let read = time.parse::<Timestamp>().or_else(|_| format!("{time}Z").parse());
            let time = read.map_err(|_| ServiceError::invalid(format!("startTime {time:?} is not a time")))?;
            u64::try_from(time.as_millisecond()).unwrap_or_default()
        }
    };
    Ok(Job {
        id,
        work,
        condition: text("queryCondition").unwrap_or_default().to_owned(),
        created_ms: now_ms,
        start_ms,
        end_ms: None,
        max_seconds: body.get("maxExecutionTimeInSeconds").and_then(Value::as_u64).unwrap_or(DEFAULT_SECONDS),
        status: Status::Queued,
        failure: None,
        devices: Vec::new(),
    })
}

fn shown(job: &Job) -> Value {
    let mut shown = json!({
        "jobId": job.id,
        "type": job.kind(),
        "queryCondition": job.condition,
        "createdTime": text_of(job.created_ms),
        "startTime": text_of(job.start_ms),
        "maxExecutionTimeInSeconds": job.max_seconds,
        "status": job.status,
        "deviceJobStatistics": {
            "deviceCount": job.devices.len(),
            "failedCount": job.count(Status::Failed),
            "succeededCount": job.count(Status::Completed),
            "runningCount": job.count(Status::Running),
            "pendingCount": job.count(Status::Queued),
        },
    });
    match &job.work {
        Work::UpdateTwin(patch) => shown["updateTwin"] = patch.clone(),
        Work::Method(call) => {
            let payload: Value = serde_json::from_str(&call.payload).unwrap_or(Value::Null);
            shown["cloudToDeviceMethod"] = json!({
                "methodName": call.name,
                "payload": payload,
                "responseTimeoutInSeconds": call.response_seconds,
                "connectTimeoutInSeconds": call.connect_seconds,
            });
        }
    }
    if let Some(end_ms) = job.end_ms {
        shown["endTime"] = json!(text_of(end_ms));
    }
    if let Some(failure) = &job.failure {
        shown["failureReason"] = json!(failure);
        shown["statusMessage"] = json!(failure);
    }
    shown
}

/// The service's word for how far a job is.
fn status(status: Status) -> String {
    json!(status).as_str().unwrap_or_default().to_owned()
}

impl From<JobError> for ServiceError {
    fn from(error: JobError) -> Self {
        let text = error.to_string();
        match error {
            JobError::NotFound(_) => Self::of(StatusCode::NOT_FOUND, "JobNotFound", text),
            JobError::Exists(_) => Self::of(StatusCode::CONFLICT, "JobAlreadyExists", text),
            JobError::TooMany => Self::of(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", text),
            JobError::Ended(_) => Self::of(StatusCode::BAD_REQUEST, "JobAlreadyFinished", text),
            JobError::Condition(_) => Self::invalid(text),
            JobError::Documents(_) => Self::failed(text),
        }
    }
}
