//! Modules whose image is for another machine than the device's profile: they are created, and end as soon as they are
//! started, as on that machine.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::profile::architecture::Architecture;
use crate::profile::profile::Profile;
use crate::runtime::module_runtime::{
    LogLine, LogQuery, LogStream, ModuleRuntime, ModuleSpec, ModuleState, ModuleStatus, RegistryCredential,
    RuntimeError,
};

/// With which a container ends whose program the kernel cannot execute.
const EXIT_CODE: i32 = 255;
/// The kernel's words.
const EXEC_FORMAT_ERROR: &str = "exec format error";

/// The modules that the machine cannot execute.
#[derive(Debug)]
pub(super) struct Misfits {
    profile: Option<Profile>,
    modules: Mutex<BTreeMap<String, ModuleState>>,
    exits: watch::Sender<u64>,
}

impl Misfits {
    /// None yet. Without a profile there will be none.
    pub(super) fn new(profile: Option<Profile>) -> Self {
        Self { profile, modules: Mutex::default(), exits: watch::Sender::new(0) }
    }

    /// Whether the machine cannot execute programs of an architecture.
    pub(super) fn refuses(&self, architecture: Option<Architecture>) -> bool {
        self.reason(architecture).is_some()
    }

    /// Whether there is a profile at all.
    pub(super) fn is_particular(&self) -> bool {
        self.profile.is_some()
    }

    fn reason(&self, architecture: Option<Architecture>) -> Option<String> {
        let (profile, of_image) = (self.profile.as_ref()?, architecture?);
        let (name, own) = (&profile.name, profile.machine.architecture);
        let advice = format!("build and deploy it with `--platform {}`", own.platform());
        let reason = format!("{EXEC_FORMAT_ERROR}: the image is for {of_image}, and {name} is {own}; {advice}");
        (!profile.machine.runs(of_image)).then_some(reason)
    }

    /// Adds a module.
    pub(super) fn add(&self, module: &ModuleSpec, architecture: Option<Architecture>) {
        let state = ModuleState {
            name: module.name.clone(),
            image: module.image.clone(),
            image_description: None,
            image_hash: None,
            status: ModuleStatus::Stopped,
            description: self.reason(architecture).unwrap_or_default(),
            exit_code: None,
            started_at: None,
            exited_at: None,
            pid: None,
            limits: None,
            limits_unenforced: None,
        };
        self.lock().insert(module.name.clone(), state);
    }

    /// Whether a module is one of these.
    pub(super) fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// All of them.
    pub(super) fn states(&self) -> Vec<ModuleState> {
        self.lock().values().cloned().collect()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut ModuleState)) -> Result<(), RuntimeError> {
        let mut modules = self.lock();
        change(modules.get_mut(name).ok_or_else(|| RuntimeError::NotFound(name.to_owned()))?);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ModuleState>> {
        // A map is never half changed.
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ModuleRuntime for Misfits {
    async fn list(&self) -> Result<Vec<ModuleState>, RuntimeError> {
        Ok(self.states())
    }

    async fn prepare(&self, _: &str, _: Option<&RegistryCredential>) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn create(&self, specification: ModuleSpec) -> Result<(), RuntimeError> {
        self.add(&specification, Architecture::of_image(&specification.image));
        Ok(())
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        let now = Timestamp::now();
        self.change(name, |state| {
            state.status = ModuleStatus::Failed;
            state.exit_code = Some(EXIT_CODE);
            (state.started_at, state.exited_at) = (Some(now), Some(now));
        })?;
        self.exits.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn stop(&self, name: &str, _: Duration) -> Result<(), RuntimeError> {
        self.change(name, |_| ())
    }

    async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        self.lock().remove(name).map(drop).ok_or_else(|| RuntimeError::NotFound(name.to_owned()))
    }

    async fn logs(&self, name: &str, query: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError> {
        let state = self.lock().get(name).cloned().ok_or_else(|| RuntimeError::NotFound(name.to_owned()))?;
        let (lines, receiver) = mpsc::channel(1);
        let is_wanted = |at: &Timestamp| {
            query.tail != Some(0)
                && query.since.is_none_or(|since| *at >= since)
                && query.until.is_none_or(|until| *at <= until)
        };
        if let Some(at) = state.exited_at.filter(is_wanted) {
            // There is room for the one line.
            let _ = lines.try_send(LogLine { at, stream: LogStream::Stderr, text: state.description });
        }
        Ok(receiver)
    }

    fn exits(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }
}
