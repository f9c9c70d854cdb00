//! Desired properties of `$edgeAgent`, read into modules.
//!
//! Property names and enumerated values are taken in any case, and unknown properties are passed over.

use std::collections::BTreeMap;

use edgectl_schemas::manifest::{create_options, image_reference};
use serde_json::{Map, Value};

use crate::runtime::module_runtime::{ModuleStatus, RegistryCredential};

/// The agent's own name in a deployment.
pub const EDGE_AGENT: &str = "edgeAgent";
/// The hub's name in a deployment.
pub const EDGE_HUB: &str = "edgeHub";
/// The position of a module that names none: last.
pub const LAST: u32 = u32::MAX;

/// What a device is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The desired properties' `$version`; 0 where there is none.
    pub version: i64,
    /// The container engine's settings.
    pub runtime: RuntimeSettings,
    /// The agent itself.
    pub edge_agent: ModuleSpecification,
    /// The hub, if the deployment has one.
    pub edge_hub: Option<ModuleSpecification>,
    /// The user's modules by name.
    pub modules: BTreeMap<String, ModuleSpecification>,
}

/// The settings of the container engine; informational but for the credentials.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuntimeSettings {
    /// The oldest version of the engine that will do.
    pub min_docker_version: Option<String>,
    /// Logging options of the engine.
    pub logging_options: Option<String>,
    /// Who the device is at its registries, by a free name.
    pub registry_credentials: BTreeMap<String, RegistryCredential>,
}

impl RuntimeSettings {
    /// Who the device is at the registry of an image: the first credential for its address.
    pub fn credential(&self, image: &str) -> Option<&RegistryCredential> {
        let registry = image_reference::registry(image);
        self.registry_credentials.values().find(|credential| credential.address == registry)
    }
}

/// A module as the deployment wants it. Two are equal when the agent has nothing to change.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleSpecification {
    /// The module's name.
    pub name: String,
    /// Free text; empty where there is none.
    pub version: String,
    /// Running or stopped; the agent takes the other words too.
    pub status: ModuleStatus,
    /// When to start it again.
    pub restart_policy: RestartPolicy,
    /// When to pull its image.
    pub image_pull_policy: ImagePullPolicy,
    /// Its place among the groups, 0 first.
    pub startup_order: u32,
    /// Its environment as the deployment gives it.
    pub env: BTreeMap<String, String>,
    /// What to run.
    pub settings: DockerSettings,
}

/// What to run.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerSettings {
    /// The reference, with a tag.
    pub image: String,
    /// The digest that the image must have.
    pub digest: Option<String>,
    /// The body of the engine's create request.
    pub create_options: Map<String, Value>,
}

/// When the agent starts a module again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// Never.
    Never,
    /// When it failed.
    OnFailure,
    /// When it failed or is unhealthy.
    OnUnhealthy,
    /// Whenever it is not running.
    Always,
}

impl RestartPolicy {
    const WORDS: [(Self, &'static str); 4] = [
        (Self::Never, "never"),
        (Self::OnFailure, "on-failure"),
        (Self::OnUnhealthy, "on-unhealthy"),
        (Self::Always, "always"),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(policy, _)| *policy == self).map_or("always", |(_, word)| word)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, word)| word.eq_ignore_ascii_case(text)).map(|(policy, _)| *policy)
    }
}

/// When the agent pulls an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImagePullPolicy {
    /// Before the module is created or updated.
    OnCreate,
    /// Never: the image is there.
    Never,
}

impl ImagePullPolicy {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnCreate => "on-create",
            Self::Never => "never",
        }
    }
}

/// Why desired properties are no deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentError {
    /// There is nothing desired.
    #[error("Empty edge agent config")]
    Empty,
    /// The schema version is none that this agent knows.
    #[error("schema version {0:?} is not supported, 1.0 and 1.1 are")]
    SchemaVersion(String),
    /// A property is missing or has no meaning.
    #[error("{path}: {problem}")]
    Format {
        /// The property, its names joined with dots.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl DeploymentError {
    /// The `lastDesiredStatus.code` of the error.
    pub fn code(&self) -> u16 {
        match self {
            Self::Empty => 417,
            Self::SchemaVersion(_) => 412,
            Self::Format { .. } => 400,
        }
    }
}

/// Reads desired properties.
pub fn parse(desired: &Value) -> Result<Deployment, DeploymentError> {
    let Value::Object(object) = desired else {
        return match desired {
            Value::Null => Err(DeploymentError::Empty),
            _ => Err(format_error("properties.desired", "is not an object")),
        };
    };
    if object.keys().all(|key| key.starts_with('$')) {
        return Err(DeploymentError::Empty);
    }
    let root = Section { object, path: String::new() };
    check_schema_version(&root)?;
    let system = root.section("systemModules")?;
    let mut edge_agent = parse_module(EDGE_AGENT, &system.section(EDGE_AGENT)?, Role::Agent)?;
    // The agent keeps itself running whatever the deployment says.
    edge_agent.startup_order = 0;
    let edge_hub = match system.get(EDGE_HUB) {
        None => None,
        Some(_) => Some(parse_module(EDGE_HUB, &system.section(EDGE_HUB)?, Role::Hub)?),
    };
    Ok(Deployment {
        version: object.get("$version").and_then(Value::as_i64).unwrap_or(0),
        runtime: parse_runtime(&root.section("runtime")?)?,
        edge_agent,
        edge_hub,
        modules: parse_modules(&root.section("modules")?)?,
    })
}

/// Reads the `modules` section.
fn parse_modules(section: &Section<'_>) -> Result<BTreeMap<String, ModuleSpecification>, DeploymentError> {
    let mut modules = BTreeMap::new();
    for name in section.object.keys() {
        if [EDGE_AGENT, EDGE_HUB].iter().any(|system| system.eq_ignore_ascii_case(name)) {
            return Err(section.error(name, "is a system module, which belongs into systemModules"));
        }
        modules.insert(name.clone(), parse_module(name, &section.section(name)?, Role::User)?);
    }
    Ok(modules)
}

/// Whose section it is, which decides the defaults.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Agent,
    Hub,
    User,
}

fn parse_module(name: &str, section: &Section<'_>, role: Role) -> Result<ModuleSpecification, DeploymentError> {
    if !section.required_text("type")?.eq_ignore_ascii_case("docker") {
        return Err(section.error("type", "is not \"docker\""));
    }
    let (status, restart_policy) = match role {
        Role::Agent => (ModuleStatus::Running, RestartPolicy::Always),
        Role::Hub => (parse_status(section)?, parse_restart_policy(section, RestartPolicy::Always)?),
        Role::User => (parse_status(section)?, parse_restart_policy(section, RestartPolicy::OnUnhealthy)?),
    };
    Ok(ModuleSpecification {
        name: name.to_owned(),
        version: section.text("version")?.unwrap_or_default(),
        status,
        restart_policy,
        image_pull_policy: parse_pull_policy(section)?,
        startup_order: parse_startup_order(section)?,
        env: parse_env(section)?,
        settings: parse_settings(&section.section("settings")?)?,
    })
}

fn parse_status(section: &Section<'_>) -> Result<ModuleStatus, DeploymentError> {
    let text = section.required_text("status")?;
    text.parse().map_err(|_| section.error("status", "is not \"running\" or \"stopped\""))
}

fn parse_restart_policy(section: &Section<'_>, default: RestartPolicy) -> Result<RestartPolicy, DeploymentError> {
    let Some(text) = section.text("restartPolicy")? else { return Ok(default) };
    RestartPolicy::parse(&text).ok_or_else(|| {
        section.error("restartPolicy", "is none of \"never\", \"on-failure\", \"on-unhealthy\", \"always\"")
    })
}

fn parse_pull_policy(section: &Section<'_>) -> Result<ImagePullPolicy, DeploymentError> {
    match section.text("imagePullPolicy")?.map(|text| text.to_ascii_lowercase()).as_deref() {
        None | Some("on-create") => Ok(ImagePullPolicy::OnCreate),
        Some("never") => Ok(ImagePullPolicy::Never),
        Some(_) => Err(section.error("imagePullPolicy", "is not \"on-create\" or \"never\"")),
    }
}

fn parse_startup_order(section: &Section<'_>) -> Result<u32, DeploymentError> {
    match section.text("startupOrder")? {
        None => Ok(LAST),
        Some(text) => text.parse().map_err(|_| section.error("startupOrder", "is not a number from 0 to 4294967295")),
    }
}

fn parse_env(section: &Section<'_>) -> Result<BTreeMap<String, String>, DeploymentError> {
    let mut env = BTreeMap::new();
    if section.get("env").is_none() {
        return Ok(env);
    }
    let entries = section.section("env")?;
    for name in entries.object.keys() {
        let value = entries.section(name)?.text("value")?.unwrap_or_default();
        env.insert(name.clone(), value);
    }
    Ok(env)
}

fn parse_settings(section: &Section<'_>) -> Result<DockerSettings, DeploymentError> {
    let image = image_reference::normalize(&section.required_text("image")?)
        .map_err(|error| section.error("image", &error.to_string()))?;
    let create_options = create_options::join(section.object)
        .and_then(|text| create_options::parse(&text))
        .map_err(|error| section.error("createOptions", &error.to_string()))?;
    Ok(DockerSettings { image, digest: section.text("digest")?, create_options })
}

fn parse_runtime(section: &Section<'_>) -> Result<RuntimeSettings, DeploymentError> {
    if !section.required_text("type")?.eq_ignore_ascii_case("docker") {
        return Err(section.error("type", "is not \"docker\""));
    }
    let mut runtime = RuntimeSettings::default();
    if section.get("settings").is_none() {
        return Ok(runtime);
    }
    let settings = section.section("settings")?;
    runtime.min_docker_version = settings.text("minDockerVersion")?;
    runtime.logging_options = settings.text("loggingOptions")?;
    if settings.get("registryCredentials").is_some() {
        let credentials = settings.section("registryCredentials")?;
        for name in credentials.object.keys() {
            let credential = credentials.section(name)?;
            let credential = RegistryCredential {
                address: credential.required_text("address")?,
                username: credential.required_text("username")?,
                password: credential.required_text("password")?,
            };
            runtime.registry_credentials.insert(name.clone(), credential);
        }
    }
    Ok(runtime)
}

/// Major version 1, minor version 0 or 1; at least these two.
fn check_schema_version(root: &Section<'_>) -> Result<(), DeploymentError> {
    let text = match root.get("schemaVersion") {
        Some(Value::String(text)) => text.as_str(),
        _ => "",
    };
    let numbers: Option<Vec<u32>> = text.split('.').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([1, 0 | 1, rest @ ..]) if rest.len() <= 2 => Ok(()),
        _ => Err(DeploymentError::SchemaVersion(text.to_owned())),
    }
}

fn format_error(path: &str, problem: &str) -> DeploymentError {
    DeploymentError::Format { path: path.to_owned(), problem: problem.to_owned() }
}

/// An object of the document and where it stands in it.
struct Section<'a> {
    object: &'a Map<String, Value>,
    path: String,
}

impl<'a> Section<'a> {
    /// The value of a property, named in any case; none for `null`.
    fn get(&self, name: &str) -> Option<&'a Value> {
        let exact = self.object.get(name);
        let found = exact
            .or_else(|| self.object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
        found.filter(|value| !value.is_null())
    }

    fn section(&self, name: &str) -> Result<Self, DeploymentError> {
        match self.get(name) {
            Some(Value::Object(object)) => Ok(Self { object, path: self.path_of(name) }),
            Some(_) => Err(self.error(name, "is not an object")),
            None => Err(self.error(name, "is missing")),
        }
    }

    /// A text, or the text of a number or truth value.
    fn text(&self, name: &str) -> Result<Option<String>, DeploymentError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(self.error(name, "is not a text")),
        }
    }

    fn required_text(&self, name: &str) -> Result<String, DeploymentError> {
        match self.text(name)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            Some(_) => Err(self.error(name, "is empty")),
            None => Err(self.error(name, "is missing")),
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn error(&self, name: &str, problem: &str) -> DeploymentError {
        format_error(&self.path_of(name), problem)
    }
}
