//! Jobs: a change of twins or a call of a method for all devices that a condition is true of, at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use edgectl_schemas::ids::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::held::Held;
use super::hub::CloudHub;
use super::target::{TargetError, target};
use super::twins::Change;
use crate::clock::{text_of, within};
use crate::documents::{Documents, DocumentsError, Table};
use crate::method::MethodRequest;

const TABLE: Table = Table::new("jobs");
/// Jobs that are kept; the oldest that has ended makes room.
const MAX_JOBS: usize = 200;
/// Devices that a job is busy with at the same time, as the service allows.
const DEVICES_AT_ONCE: usize = 10;
/// Parts of a job that are written down together.
const PARTS_AT_ONCE: usize = 256;

/// How far a job or its part for a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Its time has not come, or its turn.
    Queued,
    /// Its time has not come; devices are known.
    Scheduled,
    /// It is under way.
    Running,
    /// It is done.
    Completed,
    /// It did not succeed.
    Failed,
    /// It was taken back.
    Cancelled,
}

/// What a job does with each device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Work {
    /// It changes the twin by this patch, in the service's shape.
    UpdateTwin(Value),
    /// It calls a method.
    Method(Call),
}

/// A call of a method, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The method.
    pub name: String,
    /// JSON text; empty for none.
    pub payload: String,
    /// Seconds that an answer may take.
    pub response_seconds: u64,
    /// Seconds that a device may take to connect.
    pub connect_seconds: u64,
}

impl Call {
    fn request(&self) -> MethodRequest {
        MethodRequest {
            name: self.name.clone(),
            payload: self.payload.clone().into(),
            response_timeout: Duration::from_secs(self.response_seconds),
            connect_timeout: Duration::from_secs(self.connect_seconds),
        }
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name.
    pub id: String,
    /// What it does.
    pub work: Work,
    /// For which devices.
    pub condition: String,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it begins.
    pub start_ms: u64,
    /// When it ended.
    pub end_ms: Option<u64>,
    /// How long it may take.
    pub max_seconds: u64,
    /// How far it is.
    pub status: Status,
    /// Why it failed.
    pub failure: Option<String>,
    /// Its devices, once they are known.
    pub devices: Vec<DeviceJob>,
}

/// A job's part for one device or module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceJob {
    /// Which.
    pub identity: Identity,
    /// How far it is.
    pub status: Status,
    /// What came of it: the answer of a method.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub outcome: Value,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was last heard of.
    pub updated_ms: u64,
}

/// A job is not made, found or taken back.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// There is no such one.
    #[error("there is no job {0}")]
    NotFound(String),
    /// There is one already.
    #[error("there is a job {0} already")]
    Exists(String),
    /// There are as many as there may be, and none has ended.
    #[error("there are {MAX_JOBS} jobs that have not ended, which is the most")]
    TooMany,
    /// It has ended.
    #[error("job {0} has ended")]
    Ended(String),
    /// Its condition cannot be read.
    #[error(transparent)]
    Condition(#[from] TargetError),
    /// It cannot be read or written.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
}

/// The jobs of one cloud hub.
pub struct Jobs {
    held: Held<Job>,
    changing: Mutex<()>,
}

impl Jobs {
    /// Loads what is kept in `documents`.
    pub fn open(documents: Arc<Documents>) -> Result<Self, DocumentsError> {
        Ok(Self { held: Held::open(documents, TABLE)?, changing: Mutex::default() })
    }

    /// All of them, the newest first.
    pub fn all(&self) -> Vec<Arc<Job>> {
        let mut all = self.held.all();
        all.sort_by_key(|job| std::cmp::Reverse(job.created_ms));
        all
    }

    /// One of them.
    pub fn require(&self, id: &str) -> Result<Arc<Job>, JobError> {
        self.held.get(id).ok_or_else(|| JobError::NotFound(id.to_owned()))
    }

    /// The parts of all jobs, in the service's shape.
    pub fn device_jobs(&self) -> Vec<Value> {
        self.all().iter().flat_map(|job| job.devices.iter().map(|device| device.shown(job))).collect()
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Job)) -> Result<(), JobError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut job = Job::clone(&*self.require(id)?);
        if !job.has_ended() {
            change(&mut job);
            self.held.put(id, job)?;
        }
        Ok(())
    }

    fn add(&self, job: Job) -> Result<(), JobError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.held.get(&job.id).is_some() {
            return Err(JobError::Exists(job.id));
        }
        let mut changes = Vec::new();
        if self.held.count() >= MAX_JOBS {
            let all = self.all();
            let oldest = all.iter().rev().find(|job| job.has_ended()).ok_or(JobError::TooMany)?;
            changes.push((oldest.id.clone(), None));
        }
        changes.push((job.id.clone(), Some(job)));
        Ok(self.held.write(changes)?)
    }
}

impl Job {
    /// Whether nothing more comes of it.
    pub fn has_ended(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Failed | Status::Cancelled)
    }

    /// The service's word for what it does.
    pub fn kind(&self) -> &'static str {
        match self.work {
            Work::UpdateTwin(_) => "scheduleUpdateTwin",
            Work::Method(_) => "scheduleDeviceMethod",
        }
    }

    /// How many of its devices are so far.
    pub fn count(&self, status: Status) -> usize {
        self.devices.iter().filter(|device| device.status == status).count()
    }
}

impl DeviceJob {
    fn shown(&self, job: &Job) -> Value {
        let mut shown = json!({
            "jobId": job.id,
            "jobType": job.kind(),
            "deviceId": self.identity.device,
            "status": self.status,
            "startTimeUtc": text_of(job.start_ms),
            "createdDateTimeUtc": text_of(job.created_ms),
            "lastUpdatedDateTimeUtc": text_of(self.updated_ms),
        });
        if let Some(module) = &self.identity.module {
            shown["moduleId"] = json!(module);
        }
        if !self.outcome.is_null() {
            shown["outcome"] = json!({ "deviceMethodResponse": self.outcome });
        }
        if let Some(error) = &self.error {
            shown["error"] = json!({ "code": "JobRunFailed", "description": error });
        }
        shown
    }
}

impl CloudHub {
    /// Takes a job, which begins when its time comes. When this returns it is on disk.
    pub fn submit_job(self: &Arc<Self>, job: Job) -> Result<(), JobError> {
        target(&job.condition)?;
        let id = job.id.clone();
        self.jobs().add(job)?;
        self.begin(id);
        Ok(())
    }

    /// Goes on with the jobs that had not ended when the hub did.
    pub fn resume_jobs(self: &Arc<Self>) {
        for job in self.jobs().all().iter().filter(|job| !job.has_ended()) {
            self.begin(job.id.clone());
        }
    }

    /// Takes a job back. What it has begun with a device it ends.
    pub fn cancel_job(&self, id: &str) -> Result<Arc<Job>, JobError> {
        if self.jobs().require(id)?.has_ended() {
            return Err(JobError::Ended(id.to_owned()));
        }
        let now = self.clock().now_ms();
        self.jobs().change(id, |job| end(job, Status::Cancelled, now))?;
        self.jobs().require(id)
    }

    fn begin(self: &Arc<Self>, id: String) {
        let hub = Arc::clone(self);
        self.tasks().spawn(async move {
            let stop = hub.stopping().clone();
            tokio::select! {
                () = stop.cancelled() => {}
                outcome = hub.run_job(&id) => if let Err(error) = outcome {
                    tracing::error!(%error, job = id, "a job cannot go on");
                },
            }
        });
    }

    async fn run_job(self: &Arc<Self>, id: &str) -> Result<(), JobError> {
        let job = self.jobs().require(id)?;
        let wait = job.start_ms.saturating_sub(self.clock().now_ms());
        if wait > 0 {
            self.jobs().change(id, |job| job.status = Status::Scheduled)?;
            self.clock().sleep(Duration::from_millis(wait)).await;
        }
        if job.devices.is_empty() {
            // Without a condition a job is for all.
            let target = target(&job.condition)?;
            let rows = self.rows(target.of, target.condition.as_ref());
            let now = self.clock().now_ms();
            let part = |identity: &Identity| DeviceJob {
                identity: identity.clone(),
                status: Status::Queued,
                outcome: Value::Null,
                error: None,
                updated_ms: now,
            };
            let devices: Vec<_> = rows.iter().map(|row| part(&row.registration.record.identity)).collect();
            self.jobs().change(id, |job| (job.devices, job.status) = (devices, Status::Running))?;
        }
        let limit = Duration::from_secs(job.max_seconds);
        let in_time = within(self.clock(), limit, self.run_parts(id)).await.is_some();
        let now = self.clock().now_ms();
        self.jobs().change(id, |job| {
            let status = if in_time { Status::Completed } else { Status::Failed };
            if !in_time {
                job.failure = Some("the job took longer than it may".to_owned());
            }
            end(job, status, now);
        })
    }

    async fn run_parts(self: &Arc<Self>, id: &str) {
        let Ok(job) = self.jobs().require(id) else { return };
        let parts = job.devices.iter().enumerate();
        let waiting = parts.filter(|(_, part)| matches!(part.status, Status::Queued | Status::Running));
        let waiting: Vec<(usize, Identity)> = waiting.map(|(index, part)| (index, part.identity.clone())).collect();
        match &job.work {
            Work::UpdateTwin(patch) => self.update_twins(id, patch, &waiting).await,
            Work::Method(call) => self.call_methods(id, call, &waiting).await,
        }
    }

    /// What is quickly done is written down for many at once, since each time the whole job is.
    async fn update_twins(&self, id: &str, patch: &Value, waiting: &[(usize, Identity)]) {
        let desired = patch.pointer("/properties/desired").cloned();
        let change = Change { tags: patch.get("tags").cloned(), desired, replace: false };
        for parts in waiting.chunks(PARTS_AT_ONCE) {
            if self.is_over(id) {
                return;
            }
            let update = |(index, identity): &(usize, Identity)| {
                let outcome = self.change_twin(identity, &change, None);
                (*index, outcome.map(|_| Value::Null).map_err(|error| error.to_string()))
            };
            self.record(id, parts.iter().map(update).collect());
            tokio::task::yield_now().await;
        }
    }

    async fn call_methods(self: &Arc<Self>, id: &str, call: &Call, waiting: &[(usize, Identity)]) {
        let mut under_way = JoinSet::new();
        for (index, identity) in waiting {
            if under_way.len() >= DEVICES_AT_ONCE {
                self.record(id, under_way.join_next().await.into_iter().flatten().collect());
            }
            if self.is_over(id) {
                break;
            }
            let (hub, call, identity, index) = (Arc::clone(self), call.clone(), identity.clone(), *index);
            under_way.spawn(async move { (index, hub.call_in_job(&identity, &call).await) });
        }
        while let Some(done) = under_way.join_next().await {
            self.record(id, done.into_iter().collect());
        }
    }

    fn is_over(&self, id: &str) -> bool {
        self.jobs().require(id).is_ok_and(|job| job.has_ended())
    }

    /// Writes down what came of parts of a job.
    fn record(&self, id: &str, outcomes: Vec<(usize, Result<Value, String>)>) {
        let now = self.clock().now_ms();
        let written = self.jobs().change(id, |job| {
            for (index, outcome) in outcomes {
                let Some(part) = job.devices.get_mut(index) else { continue };
                part.updated_ms = now;
                match outcome {
                    Ok(outcome) => (part.status, part.outcome) = (Status::Completed, outcome),
                    Err(error) => (part.status, part.error) = (Status::Failed, Some(error)),
                }
            }
        });
        if let Err(error) = written {
            tracing::error!(%error, job = id, "what came of a job is not written down");
        }
    }

    async fn call_in_job(&self, identity: &Identity, call: &Call) -> Result<Value, String> {
        let response = self.call(identity, call.request()).await.map_err(|refusal| refusal.to_string())?;
        let payload: Value = serde_json::from_slice(&response.payload).unwrap_or(Value::Null);
        Ok(json!({ "status": response.status, "payload": payload }))
    }
}

/// What has not ended ends as the job does.
fn end(job: &mut Job, status: Status, now: u64) {
    (job.status, job.end_ms) = (status, Some(now));
    for device in job.devices.iter_mut().filter(|device| matches!(device.status, Status::Queued | Status::Running)) {
        (device.status, device.updated_ms) = (status, now);
    }
}
