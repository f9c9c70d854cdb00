//! What is examined: the machine, and the solution if there is one. What several checks look at is looked at once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use edgectl_schemas::diagnostic::{Diagnostic, Findings, Rule};
use edgectl_schemas::document::node::Node;
use edgectl_schemas::manifest::content::{Section, modules};
use edgectl_simulator::address::DeviceAddress;
use edgectl_simulator::builtin::catalog::Builtin;
use edgectl_simulator::runtime::choice::RuntimeChoice;
use edgectl_simulator::runtime::docker::engine::{Engine, EngineError, EngineHost};
use edgectl_simulator::state::{Endpoints, StateDirectory, read_json};
use jiff::Timestamp;

use crate::commands::device::block_on;
use crate::image::kind::ModuleKind;
use crate::image::{records, tool};
use crate::service::access;
use crate::settings::Settings;
use crate::solution::files;
use crate::solution::render::{RenderError, RenderOptions, Template};
use crate::solution::solution::Solution;

/// An engine that does not say its version in this time will not serve containers either.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is examined.
pub struct Patient<'a> {
    /// Flags and environment.
    pub settings: &'a Settings,
    /// The root of the solution that the command works in.
    pub root: Option<PathBuf>,
    /// The solution, if its file can be read.
    pub solution: Option<Solution>,
    /// Why it cannot be read.
    pub solution_error: Option<String>,
    /// The time of the examination.
    pub now: Timestamp,
    engine: OnceLock<Result<Engine, EngineError>>,
    template: OnceLock<Option<Result<Template, RenderError>>>,
    findings: OnceLock<Vec<Findings>>,
    life: OnceLock<Life>,
}

/// Whether the solution's device runs. Looked at once: who looks holds its lock for a moment, and signs there.
#[derive(Debug, Clone, Copy)]
struct Life {
    is_running: bool,
    process: Option<u32>,
}

/// A module that the solution builds.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name of its directory.
    pub name: String,
    /// Where it is.
    pub directory: PathBuf,
    /// The image it is built into.
    pub image: String,
    /// `python`, `rust`, `node`, or what `module.json` says.
    pub language: String,
}

impl<'a> Patient<'a> {
    /// The machine, and the solution that a directory lies in.
    pub fn new(settings: &'a Settings, root: Option<PathBuf>, solution: Option<Result<Solution, String>>) -> Self {
        let (solution, solution_error) = match solution {
            None => (None, None),
            Some(Ok(solution)) => (Some(solution), None),
            Some(Err(error)) => (None, Some(error)),
        };
        Self {
            settings,
            root,
            solution,
            solution_error,
            now: Timestamp::now(),
            engine: OnceLock::new(),
            template: OnceLock::new(),
            findings: OnceLock::new(),
            life: OnceLock::new(),
        }
    }

    /// A variable of the environment that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.settings.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A program on the search path.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        tool::find(&self.settings.environment, name)
    }

    /// Where the container engine is looked for.
    pub fn engine_host(&self) -> Result<EngineHost, EngineError> {
        self.settings.engine_host.as_deref().map_or_else(|| Ok(EngineHost::default()), str::parse)
    }

    /// The container engine.
    pub fn engine(&self) -> Result<&Engine, &EngineError> {
        let connect = || {
            let host = self.engine_host()?;
            let late = |_| EngineError::Lost { host: host.clone(), reason: "it took too long".to_owned() };
            let connected =
                block_on(async { tokio::time::timeout(ENGINE_TIMEOUT, Engine::connect(&host)).await.map_err(late)? });
            connected.unwrap_or_else(|error| Err(EngineError::Lost { host: host.clone(), reason: error.to_string() }))
        };
        self.engine.get_or_init(connect).as_ref()
    }

    /// Why the solution cannot do without a container engine; none if it can.
    pub fn needs_engine(&self) -> Option<String> {
        match self.solution.as_ref()?.runtime {
            RuntimeChoice::Process => None,
            RuntimeChoice::Docker => Some("`runtime` of edgectl.yaml is docker".to_owned()),
            RuntimeChoice::Auto => {
                let images = self.images_for_engine();
                (!images.is_empty()).then(|| format!("{} runs as a container alone", super::check::listed(&images)))
            }
        }
    }

    /// The images that are neither built in nor built here.
    pub fn images_for_engine(&self) -> Vec<String> {
        let sources = self.sources();
        let buildable = |image: &String| {
            sources.iter().any(|source| source.image == *image && ModuleKind::detect(&source.directory).is_ok())
        };
        let built = |image: &String| {
            self.solution.as_ref().is_some_and(|solution| records::lookup(&solution.state(), image).is_some())
        };
        let mut images = self.images();
        images.retain(|image| Builtin::for_image(image).is_none() && !buildable(image) && !built(image));
        images
    }

    /// The template with variables and images replaced; none outside a solution.
    pub fn template(&self) -> Option<Result<&Template, &RenderError>> {
        let load = || self.solution.as_ref().map(|solution| Template::load(solution, self.render_options()));
        self.template.get_or_init(load).as_ref().map(Result::as_ref)
    }

    fn render_options(&self) -> RenderOptions<'_> {
        RenderOptions { platform: None, compat: false, environment: &self.settings.environment }
    }

    /// The images of the user's modules.
    pub fn images(&self) -> Vec<String> {
        let Some(Ok(template)) = self.template() else { return Vec::new() };
        let user = modules(&template.document.root).into_iter().filter(|entry| entry.section == Section::User);
        let image = |node: &Node| Some(node.get("settings")?.get("image")?.text()?.to_owned());
        user.filter_map(|entry| image(&entry.member.value)).collect()
    }

    /// The modules that the solution builds.
    pub fn sources(&self) -> Vec<Source> {
        let Some(Ok(template)) = self.template() else { return Vec::new() };
        let source = |image: &crate::solution::placeholder::ModuleImage| Source {
            name: image.directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            directory: image.directory.clone(),
            image: image.image.clone(),
            language: language(&image.directory, image.language.as_deref()),
        };
        template.images.iter().filter(|image| !image.bypassed).map(source).collect()
    }

    /// The modules that the solution builds from a language.
    pub fn sources_in(&self, language: &str) -> Vec<Source> {
        self.sources().into_iter().filter(|source| source.language == language).collect()
    }

    /// What `edgectl validate` finds in the solution, but what the solution accepts.
    pub fn findings(&self) -> &[Findings] {
        self.findings.get_or_init(|| {
            let Some(solution) = &self.solution else { return Vec::new() };
            let mut found = files::check_all(&files::find(&solution.root, Path::new("")), self.render_options());
            for file in &mut found {
                file.diagnostics.retain(|found| !solution.allow.iter().any(|code| code == found.rule.code));
            }
            found
        })
    }

    /// The findings of some rules.
    pub fn findings_of(&self, rules: &[&Rule]) -> Vec<&Diagnostic> {
        let all = self.findings().iter().flat_map(|file| &file.diagnostics);
        all.filter(|found| rules.iter().any(|rule| rule.code == found.rule.code)).collect()
    }

    /// The state of the solution's device, if there is any.
    pub fn state(&self) -> Option<StateDirectory> {
        let state = self.solution.as_ref()?.device_state();
        state.root().is_dir().then_some(state)
    }

    /// Whether the solution's device runs.
    pub fn is_running(&self) -> bool {
        self.life().is_running
    }

    /// The process of the solution's device, or of the one that ran last.
    pub fn process(&self) -> Option<u32> {
        self.life().process
    }

    fn life(&self) -> Life {
        *self.life.get_or_init(|| {
            let Some(state) = self.state().filter(StateDirectory::is_present) else {
                return Life { is_running: false, process: None };
            };
            let process = state.holder();
            Life { is_running: access::is_running(&state), process }
        })
    }

    /// The addresses that the device has, or tries first.
    pub fn address(&self) -> DeviceAddress {
        let last = self.state().and_then(|state| read_json::<Endpoints>(&state.endpoints()).ok().flatten());
        let last = last.and_then(|endpoints| DeviceAddress::from_gateway(&endpoints.gateway_host_name));
        last.unwrap_or_else(|| match &self.solution {
            Some(solution) => DeviceAddress::preferred(&solution.address_key()),
            None => DeviceAddress::preferred(&self.settings.directory),
        })
    }

    /// The directory that state is, or would be, written to: the nearest that exists.
    pub fn state_place(&self) -> PathBuf {
        let wanted = self.solution.as_ref().map_or_else(|| self.settings.directory.clone(), Solution::state);
        wanted.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
    }
}

/// What a module is written in: as `module.json` says, or as its files show.
fn language(directory: &Path, declared: Option<&str>) -> String {
    match (ModuleKind::detect(directory), declared.map(str::to_lowercase)) {
        (Ok(ModuleKind::C), _) => "c".to_owned(),
        (Ok(ModuleKind::Go), _) => "go".to_owned(),
        (Ok(ModuleKind::Node), _) => "node".to_owned(),
        (Ok(ModuleKind::Python), _) => "python".to_owned(),
        (Ok(ModuleKind::Rust), _) => "rust".to_owned(),
        (Err(_), word) => word.unwrap_or_default(),
    }
}
