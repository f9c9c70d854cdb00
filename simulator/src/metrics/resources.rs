//! What the machine and the modules use, looked at now and then as the real agent does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edgectl_hub::clock::Clock;
use edgectl_hub::metrics::family::Family;
use edgectl_hub::metrics::registry::{Gauge, seconds_between};

use super::machine::{self, ProcessorTime};
use super::processes::{Processes, Usage};
use crate::agent::metrics::{self, AgentMetrics};
use crate::runtime::module_runtime::ModuleRuntime;

/// How often it is looked at what is used, as by the real agent.
const PERIOD: Duration = Duration::from_secs(30);
/// Who asks gets what is at most this old.
const FRESH: Duration = Duration::from_secs(1);
/// What stands in labels for the machine as a whole.
const HOST: &str = "host";

/// Looks at what is used.
pub struct Resources {
    /// What the agent counts.
    pub agent: Arc<AgentMetrics>,
    runtime: Arc<dyn ModuleRuntime>,
    clock: Arc<dyn Clock>,
    /// Where the device keeps its state, on the disk that is looked at.
    folder: PathBuf,
    started_ms: u64,
    last: Mutex<Look>,
}

/// What was seen last.
#[derive(Default)]
struct Look {
    /// When, milliseconds since the Unix epoch; 0 for never.
    at_ms: u64,
    processors: ProcessorTime,
    modules: BTreeMap<String, Usage>,
    gauges: Vec<Gauge>,
}

impl Resources {
    /// Nothing seen yet of a runtime's modules. Time counts from now.
    pub fn new(
        agent: Arc<AgentMetrics>,
        runtime: Arc<dyn ModuleRuntime>,
        folder: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let started_ms = clock.now_ms();
        Arc::new(Self { agent, runtime, clock, folder, started_ms, last: Mutex::default() })
    }

    /// Looks now and then, until it is dropped.
    pub async fn watch(&self) {
        loop {
            self.look(Duration::ZERO).await;
            self.clock.sleep(PERIOD).await;
        }
    }

    /// All that the agent tells, with what is used now.
    pub async fn families(&self) -> Vec<Family> {
        self.look(FRESH).await;
        let gauges = self.lock().gauges.clone();
        self.agent.families(gauges)
    }

    /// Looks, unless that was done within such a time.
    async fn look(&self, unless_within: Duration) {
        let now_ms = self.clock.now_ms();
        let age = Duration::from_millis(now_ms.saturating_sub(self.lock().at_ms));
        if age < unless_within {
            return;
        }
        let modules = self.runtime.list().await.unwrap_or_default();
        let modules = modules.into_iter().filter_map(|module| Some((module.name, module.pid?))).collect();
        let folder = self.folder.clone();
        let seen = tokio::task::spawn_blocking(move || Seen::now(folder.as_path(), modules)).await;
        // Looking does not panic; and where it did, nothing was seen.
        if let Ok(seen) = seen {
            self.note(seen, now_ms);
        }
    }

    fn note(&self, seen: Seen, now_ms: u64) {
        let mut last = self.lock();
        self.observe(&seen, &last, now_ms);
        let mut gauges = vec![(&metrics::DAEMON_UPTIME, Vec::new(), seconds_between(self.started_ms, now_ms))];
        gauges.extend(seen.uptime.map(|seconds| (&metrics::HOST_UPTIME, Vec::new(), seconds)));
        let host = || vec![HOST.to_owned()];
        gauges.extend(seen.memory.map(|memory| (&metrics::TOTAL_MEMORY, host(), number(memory.total))));
        gauges.extend(seen.disk.as_ref().map(|disk| (&metrics::TOTAL_DISK_SPACE, labels_of(disk), number(disk.total))));
        for (name, usage) in &seen.modules {
            let label = || vec![name.clone()];
            gauges.push((&metrics::CREATED_PIDS, label(), number(usage.threads)));
            gauges.extend(usage.read.map(|bytes| (&metrics::TOTAL_DISK_READ, label(), number(bytes))));
            gauges.extend(usage.written.map(|bytes| (&metrics::TOTAL_DISK_WRITE, label(), number(bytes))));
        }
        *last = Look { at_ms: now_ms, processors: seen.processors, modules: seen.modules, gauges };
    }

    /// Observes what goes up and down; use of processors is that since the last look.
    fn observe(&self, seen: &Seen, last: &Look, now_ms: u64) {
        let observe = |metric, labels: &[&str], value| {
            self.agent.registry.summary(metric, labels).observe(value, now_ms);
        };
        let total = number(seen.processors.total.saturating_sub(last.processors.total));
        let percent = |now: u64, before: u64| number(now.saturating_sub(before)) / total * 100.0;
        let is_first = last.at_ms == 0 || total <= 0.0;
        if !is_first {
            observe(&metrics::USED_CPU, &[HOST], percent(seen.processors.busy, last.processors.busy));
        }
        if let Some(memory) = seen.memory {
            observe(&metrics::USED_MEMORY, &[HOST], number(memory.used));
        }
        if let Some(disk) = &seen.disk {
            let labels = labels_of(disk);
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            observe(&metrics::AVAILABLE_DISK_SPACE, &labels, number(disk.available));
        }
        for (name, usage) in &seen.modules {
            observe(&metrics::USED_MEMORY, &[name], number(usage.memory));
            let before = last.modules.get(name).map_or(0, |before| before.ticks);
            // Less than before is what another process has used, which took its place.
            let before = if before > usage.ticks { 0 } else { before };
            if !is_first {
                observe(&metrics::USED_CPU, &[name], percent(usage.ticks, before));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Look> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is seen at one moment.
struct Seen {
    uptime: Option<f64>,
    memory: Option<machine::Memory>,
    disk: Option<machine::Disk>,
    processors: ProcessorTime,
    modules: BTreeMap<String, Usage>,
}

impl Seen {
    /// Looks at the machine, the disk of a folder, and modules with the numbers of their first processes.
    fn now(folder: &std::path::Path, modules: Vec<(String, u32)>) -> Self {
        let processes = Processes::now();
        let modules = modules.into_iter().filter_map(|(name, first)| Some((name, processes.usage(first)?)));
        Self {
            uptime: machine::uptime_seconds(),
            memory: machine::memory(),
            disk: machine::disk(folder),
            processors: machine::processor_time().unwrap_or_default(),
            modules: modules.collect(),
        }
    }
}

/// The labels of a disk; whether it turns is not known.
fn labels_of(disk: &machine::Disk) -> Vec<String> {
    vec![disk.name.clone(), disk.filesystem.clone(), "Unknown".to_owned()]
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn number(value: u64) -> f64 {
    value as f64
}
