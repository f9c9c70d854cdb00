//! Modules as processes of the host: no container engine is needed, and a start takes milliseconds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::profile::architecture::Architecture;
use crate::runtime::cgroup;
use crate::runtime::group_record::GroupRecord;
use crate::runtime::launcher::Launcher;
use crate::runtime::limits::Limits;
use crate::runtime::log_file::LogFile;
use crate::runtime::module_runtime::{
    LogLine, LogQuery, ModulePlace, ModuleRuntime, ModuleSpec, ModuleState, ModuleStatus, RegistryCredential,
    RuntimeError,
};
use crate::runtime::process_module::{ProcessModule, Program, Request, Surroundings};

/// What modules get of the user's environment; the rest is not their business.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];
/// Requests that wait for a module's task; more wait at the sender.
const QUEUE: usize = 8;
/// How long a module that is replaced or removed may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest name that is still a file's name with its ending.
const MAX_NAME_BYTES: usize = 200;

/// How an image is run on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessImage {
    /// The program and its arguments. `Entrypoint` of the create options replaces them, `Cmd` comes after them.
    pub argv: Vec<OsString>,
    /// The folder it runs in.
    pub folder: PathBuf,
    /// Its own environment, over which goes that of the deployment.
    pub env: BTreeMap<String, String>,
    /// What it is, for people.
    pub description: String,
    /// A digest of what is run, if there is one.
    pub hash: Option<String>,
    /// What it was built for; none for what runs everywhere, and where only the tag may say so.
    pub architecture: Option<Architecture>,
}

/// Finds how an image is run: images that are built in, and those that the solution built.
pub type ImageLookup = Arc<dyn Fn(&str) -> Option<ProcessImage> + Send + Sync>;

/// How modules are run on this host.
pub struct ProcessRuntimeOptions {
    /// Finds images.
    pub images: ImageLookup,
    /// The command line of [`exec_module`](crate::runtime::launcher::exec_module), through which modules are started
    /// so that they die with the simulator; its program is a whole path. Empty to start them as they are.
    pub launcher: Vec<OsString>,
    /// The user's environment, of which modules get `PATH`, `HOME`, `LANG` and `TMPDIR`.
    pub base_environment: BTreeMap<OsString, OsString>,
    /// The folder for the modules' logs.
    pub log_folder: PathBuf,
    /// Most bytes of a log file; there are two for each module.
    pub max_log_bytes: u64,
    /// The file for [`sweep_leftovers`](crate::runtime::group_record::sweep_leftovers).
    pub group_record: PathBuf,
}

/// Runs modules as processes of the host.
pub struct ProcessRuntime {
    images: ImageLookup,
    base_environment: BTreeMap<OsString, OsString>,
    log_folder: PathBuf,
    max_log_bytes: u64,
    surroundings: Surroundings,
    modules: Mutex<BTreeMap<String, Module>>,
    tasks: TaskTracker,
}

/// What is left of a module outside its task.
#[derive(Clone)]
struct Module {
    specification: Arc<ModuleSpec>,
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<ModuleState>,
    log: Arc<LogFile>,
}

impl fmt::Debug for ProcessRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessRuntime").field("log_folder", &self.log_folder).finish_non_exhaustive()
    }
}

impl ProcessRuntime {
    /// Opens a runtime without modules. Needs a runtime of tokio.
    pub fn open(options: ProcessRuntimeOptions) -> io::Result<Self> {
        fs::create_dir_all(&options.log_folder)?;
        cgroup::sweep();
        let mut base_environment = options.base_environment;
        base_environment.retain(|name, _| INHERITED.iter().any(|inherited| name == inherited));
        Ok(Self {
            images: options.images,
            base_environment,
            log_folder: options.log_folder,
            max_log_bytes: options.max_log_bytes,
            surroundings: Surroundings {
                launcher: Launcher::new(options.launcher)?,
                groups: Arc::new(GroupRecord::new(options.group_record)),
                exits: watch::Sender::new(0),
            },
            modules: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Kills what is still running and waits until it is gone. Afterwards there are no modules.
    pub async fn close(&self) {
        self.lock().clear();
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Whether it knows how to run an image.
    pub fn has_image(&self, image: &str) -> bool {
        (self.images)(image).is_some()
    }

    /// What an image was built for, if that was noted.
    pub fn architecture(&self, image: &str) -> Option<Architecture> {
        (self.images)(image)?.architecture
    }

    /// Whether a module of that name is one of its own.
    pub fn has_module(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    fn find_image(&self, image: &str) -> Result<ProcessImage, RuntimeError> {
        (self.images)(image).ok_or_else(|| RuntimeError::ImageNotAvailable {
            image: image.to_owned(),
            advice: "it is neither built in nor built here; run `edgectl build`".to_owned(),
        })
    }

    fn find(&self, name: &str) -> Result<Module, RuntimeError> {
        self.lock().get(name).cloned().ok_or_else(|| RuntimeError::NotFound(name.to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Module>> {
        // A map is never half changed.
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is run for a module. It is looked up at each start, so that a restart runs what was built last.
    fn program(&self, specification: &ModuleSpec) -> Result<Program, RuntimeError> {
        let image = self.find_image(&specification.image)?;
        let invalid = |reason: String| RuntimeError::Invalid { name: specification.name.clone(), reason };
        let mut argv = match words(&specification.create_options, "Entrypoint").map_err(invalid)? {
            Some(entrypoint) if !entrypoint.is_empty() => entrypoint,
            _ => image.argv,
        };
        argv.extend(words(&specification.create_options, "Cmd").map_err(invalid)?.into_iter().flatten());
        let mut env = self.base_environment.clone();
        for (name, value) in image.env.iter().chain(&specification.env) {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(invalid(format!("the variable {name:?} cannot stand in an environment")));
            }
            env.insert(name.into(), value.into());
        }
        let limits = Limits::read(&specification.create_options);
        Ok(Program { argv, folder: image.folder, env, limits, description: image.description, hash: image.hash })
    }

    fn add(&self, specification: ModuleSpec, program: Program) -> Result<(), RuntimeError> {
        let name = specification.name.clone();
        let log = LogFile::open(&self.log_folder.join(format!("{name}.log")), self.max_log_bytes)
            .map_err(|source| RuntimeError::Io { name: name.clone(), doing: "cannot open its log", source })?;
        let log = Arc::new(log);
        let (requests, queue) = mpsc::channel(QUEUE);
        let (state, watched) = watch::channel(ModuleState {
            name: name.clone(),
            image: specification.image.clone(),
            image_description: Some(program.description),
            image_hash: program.hash,
            status: ModuleStatus::Stopped,
            description: "created".to_owned(),
            exit_code: None,
            started_at: None,
            exited_at: None,
            pid: None,
            limits: None,
            limits_unenforced: None,
        });
        let surroundings = self.surroundings.clone();
        let task = ProcessModule { name: name.clone(), surroundings, log: Arc::clone(&log), state };
        self.tasks.spawn(task.run(queue));
        let specification = Arc::new(specification);
        self.lock().insert(name, Module { specification, requests, state: watched, log });
        Ok(())
    }

    async fn ask(
        &self,
        name: &str,
        doing: &'static str,
        request: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Request + Send,
    ) -> Result<(), RuntimeError> {
        let module = self.find(name)?;
        let (reply, answer) = oneshot::channel();
        module.requests.send(request(reply)).await.map_err(|_| RuntimeError::Closed)?;
        let answer = answer.await.map_err(|_| RuntimeError::Closed)?;
        answer.map_err(|source| RuntimeError::Io { name: name.to_owned(), doing, source })
    }
}

#[async_trait]
impl ModuleRuntime for ProcessRuntime {
    async fn list(&self) -> Result<Vec<ModuleState>, RuntimeError> {
        Ok(self.lock().values().map(|module| module.state.borrow().clone()).collect())
    }

    async fn prepare(&self, image: &str, _: Option<&RegistryCredential>) -> Result<(), RuntimeError> {
        self.find_image(image).map(|_| ())
    }

    async fn create(&self, specification: ModuleSpec) -> Result<(), RuntimeError> {
        check_name(&specification.name)?;
        let program = self.program(&specification)?;
        match self.stop(&specification.name, STOP_TIMEOUT).await {
            Ok(()) | Err(RuntimeError::NotFound(_)) => self.add(specification, program),
            Err(error) => Err(error),
        }
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        let program = self.program(&self.find(name)?.specification)?;
        self.ask(name, "cannot start", |reply| Request::Start(program, reply)).await
    }

    async fn stop(&self, name: &str, timeout: Duration) -> Result<(), RuntimeError> {
        self.ask(name, "cannot stop", |reply| Request::Stop(timeout, reply)).await
    }

    async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        self.stop(name, STOP_TIMEOUT).await?;
        let removed = self.lock().remove(name).ok_or_else(|| RuntimeError::NotFound(name.to_owned()))?;
        removed.log.delete().map_err(|source| RuntimeError::Io {
            name: name.to_owned(),
            doing: "cannot delete its log",
            source,
        })
    }

    async fn logs(&self, name: &str, query: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError> {
        Ok(self.find(name)?.log.read(query))
    }

    async fn place(&self, name: &str) -> Result<ModulePlace, RuntimeError> {
        let Program { folder, env, .. } = self.program(&self.find(name)?.specification)?;
        // What is not UTF-8 is the user's own, which the device passes on to modules alone.
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Ok(ModulePlace::Process { folder, env: env.into_iter().filter_map(text).collect() })
    }

    fn exits(&self) -> watch::Receiver<u64> {
        self.surroundings.exits.subscribe()
    }
}

/// Names become file names.
fn check_name(name: &str) -> Result<(), RuntimeError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(['/', '\0']) {
        let reason = "the name is empty, too long, or has a '/'".to_owned();
        return Err(RuntimeError::Invalid { name: name.to_owned(), reason });
    }
    Ok(())
}

/// A field of the create options that is a text or a list of texts.
fn words(create_options: &Map<String, Value>, field: &str) -> Result<Option<Vec<OsString>>, String> {
    let word = |value: &Value| value.as_str().filter(|text| !text.contains('\0')).map(OsString::from);
    match create_options.get(field) {
        None | Some(Value::Null) => Some(None),
        Some(Value::Array(values)) => values.iter().map(word).collect::<Option<_>>().map(Some),
        Some(value) => word(value).map(|word| Some(vec![word])),
    }
    .ok_or_else(|| format!("createOptions.{field} is not a list of texts"))
}
