//! What methods started and answer for later: tasks in the background, each known by its correlation identifier.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edgectl_hub::clock::{Clock, within};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Tasks that run at once; another one is refused.
const MAX_RUNNING: usize = 16;
/// Tasks whose end is remembered; the oldest are forgotten first.
const MAX_REMEMBERED: usize = 256;
/// A task that is not done after this time has failed: as long as a request to the real agent may take.
const TIMEOUT: Duration = Duration::from_mins(10);

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Running,
    Completed,
    Failed(String),
}

#[derive(Debug)]
struct Task {
    correlation_id: String,
    operation: &'static str,
    progress: Progress,
}

/// The tasks of one agent. Clones share them.
#[derive(Clone)]
pub struct BackgroundTasks {
    known: Arc<Mutex<VecDeque<Task>>>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    clock: Arc<dyn Clock>,
}

/// Too many tasks run already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_RUNNING} tasks run already; wait until one is done")]
pub struct TooManyTasks;

impl BackgroundTasks {
    /// No tasks yet; those to come are joined by the tracker and end with the shutdown.
    pub fn new(tracker: TaskTracker, shutdown: CancellationToken, clock: Arc<dyn Clock>) -> Self {
        Self { known: Arc::default(), tracker, shutdown, clock }
    }

    /// The clock by which they take too long.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Starts a task. Returns what the caller is answered: `{status, message, correlationId}`.
    pub fn start(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Result<Value, TooManyTasks> {
        let correlation_id = Uuid::new_v4().to_string();
        let mut known = self.lock();
        if known.iter().filter(|task| task.progress == Progress::Running).count() >= MAX_RUNNING {
            return Err(TooManyTasks);
        }
        while known.len() >= MAX_REMEMBERED {
            let Some(oldest) = known.iter().position(|task| task.progress != Progress::Running) else { break };
            known.remove(oldest);
        }
        let task = Task { correlation_id: correlation_id.clone(), operation, progress: Progress::Running };
        let answer = task.answer();
        known.push_back(task);
        drop(known);
        let (tasks, shutdown) = (self.clone(), self.shutdown.clone());
        self.tracker.spawn(async move {
            let ended = tokio::select! {
                () = shutdown.cancelled() => Err("the device stops".to_owned()),
                done = within(tasks.clock(), TIMEOUT, work) => {
                    done.unwrap_or_else(|| Err(format!("it took longer than {} seconds", TIMEOUT.as_secs())))
                }
            };
            tasks.end(&correlation_id, ended);
        });
        Ok(answer)
    }

    /// How far a task is: `{status, message, correlationId}`. Of one that nobody started the status is `Unknown`.
    pub fn status(&self, correlation_id: &str) -> Value {
        let known = self.lock();
        let task = known.iter().find(|task| task.correlation_id == correlation_id);
        task.map_or_else(|| answer("Unknown", "", correlation_id), Task::answer)
    }

    fn end(&self, correlation_id: &str, ended: Result<(), String>) {
        let mut known = self.lock();
        let Some(task) = known.iter_mut().find(|task| task.correlation_id == correlation_id) else { return };
        task.progress = match ended {
            Ok(()) => Progress::Completed,
            Err(reason) => {
                tracing::warn!(task = task.operation, reason, "a task of the agent failed");
                Progress::Failed(reason)
            }
        };
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Task>> {
        // A task is never half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn answer(&self) -> Value {
        match &self.progress {
            Progress::Running => answer("Running", "", &self.correlation_id),
            Progress::Completed => answer("Completed", "", &self.correlation_id),
            Progress::Failed(reason) => {
                answer("Failed", &format!("{} failed: {reason}", self.operation), &self.correlation_id)
            }
        }
    }
}

fn answer(status: &str, message: &str, correlation_id: &str) -> Value {
    json!({ "status": status, "message": message, "correlationId": correlation_id })
}

#[cfg(test)]
mod tests {
    use edgectl_hub::hand_clock::HandClock;

    use super::*;

    fn tasks() -> BackgroundTasks {
        BackgroundTasks::new(TaskTracker::new(), CancellationToken::new(), HandClock::begin())
    }

    #[tokio::test]
    async fn a_task_that_takes_too_long_has_failed() {
        let (clock, tracker) = (HandClock::begin(), TaskTracker::new());
        let tasks = BackgroundTasks::new(tracker, CancellationToken::new(), Arc::clone(&clock) as _);
        let slow = tasks.start("upload logs", std::future::pending()).unwrap();
        // It has begun.
        tokio::task::yield_now().await;
        clock.advance(TIMEOUT);
        all_ended(&tasks).await;
        let status = tasks.status(slow["correlationId"].as_str().unwrap());
        assert_eq!(status["message"], "upload logs failed: it took longer than 600 seconds");
    }

    async fn all_ended(tasks: &BackgroundTasks) {
        tasks.tracker.close();
        tasks.tracker.wait().await;
    }

    #[tokio::test]
    async fn a_task_runs_and_then_is_completed_or_failed_or_nobody_knows_it() {
        let tasks = tasks();
        let good = tasks.start("upload logs", async { Ok(()) }).unwrap();
        let bad = tasks.start("upload logs", async { Err("no".to_owned()) }).unwrap();
        assert_eq!((&good["status"], &good["message"]), (&json!("Running"), &json!("")));
        all_ended(&tasks).await;
        let status = |task: &Value| tasks.status(task["correlationId"].as_str().unwrap());
        assert_eq!(status(&good)["status"], "Completed");
        assert_eq!(status(&bad)["status"], "Failed");
        assert_eq!(status(&bad)["message"], "upload logs failed: no");
        assert_eq!(tasks.status("x"), json!({ "status": "Unknown", "message": "", "correlationId": "x" }));
    }

    #[tokio::test]
    async fn tasks_are_limited_forgotten_in_their_order_and_ended_with_the_device() {
        let tasks = tasks();
        let first = tasks.start("t", async { Ok(()) }).unwrap();
        all_ended(&tasks).await;
        tasks.tracker.reopen();
        for _ in 0..MAX_RUNNING {
            tasks.start("t", std::future::pending()).unwrap();
        }
        assert_eq!(tasks.start("t", async { Ok(()) }), Err(TooManyTasks));
        tasks.shutdown.cancel();
        all_ended(&tasks).await;
        assert!(tasks.lock().iter().skip(1).all(|task| matches!(task.progress, Progress::Failed(_))));
        tasks.tracker.reopen();
        for _ in 0..MAX_REMEMBERED {
            tasks.start("t", async { Ok(()) }).unwrap();
            tasks.tracker.close();
            tasks.tracker.wait().await;
            tasks.tracker.reopen();
        }
        assert_eq!(tasks.lock().len(), MAX_REMEMBERED);
        assert_eq!(tasks.status(first["correlationId"].as_str().unwrap())["status"], "Unknown");
    }
}
