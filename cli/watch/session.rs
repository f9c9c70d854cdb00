//! What is done about changes: build the modules they are in, deploy when the manifest came out otherwise, restart the
//! modules that were built and run an older build. What fails changes nothing on the device.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use edgectl_simulator::control::Request;
use edgectl_simulator::inspect::Inspection;
use edgectl_simulator::requests::ModuleStatus;
use serde_json::Value;

use super::changes::Changes;
use super::outputs::Outputs;
use crate::commands::deploy::apply;
use crate::commands::device::{ask, control_error};
use crate::commands::status;
use crate::error::{CommandError, ErrorKind};
use crate::image::build::{self, Built, Outcome};
use crate::image::kind;
use crate::image::plan::{self, PlannedModule};
use crate::image::records;
use crate::output::table::listed;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::dotenv;
use crate::solution::manifest::{self, Manifest};
use crate::solution::module_json;
use crate::solution::solution::{SOLUTION_FILE, Solution};

/// How long to wait until modules run that were deployed.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often modules are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What changes so soon after a build may be written by what was built.
const OUTPUT_DELAY: Duration = Duration::from_secs(5);
/// Most changed files that are named.
const NAMED_FILES: usize = 3;

/// Builds and deploys the solution, and then follows its files. Ends only when they cannot be followed.
pub async fn run(context: &Context, solution: &Solution, platform: &str) -> Result<Infallible, CommandError> {
    let mut session = Session {
        context: context.clone(),
        solution: solution.clone(),
        platform: platform.to_owned(),
        modules: Vec::new(),
        manifest: None,
        deployed: None,
        failing: BTreeSet::new(),
        outputs: Outputs::default(),
        built_at: None,
    };
    let mut changes = Changes::follow(session.roots(), session.documents())?;
    session.begin().await;
    session.note(&format!("following {}; what changes is built, deployed or restarted", solution.root.display()));
    loop {
        changes.refocus(session.roots(), session.documents())?;
        let changed = tokio::select! {
            changed = changes.next() => changed?,
            never = session.stand_by() => match never {},
        };
        session.react(changed).await;
    }
}

struct Session {
    context: Context,
    solution: Solution,
    platform: String,
    /// The modules that the last good template builds.
    modules: Vec<PlannedModule>,
    /// The manifest that it stands for.
    manifest: Option<Manifest>,
    /// What was applied last.
    deployed: Option<Value>,
    /// The modules that do not stay up, as was told.
    failing: BTreeSet<String>,
    /// What modules write themselves.
    outputs: Outputs,
    /// When the last builds ended, and what followed from them was done.
    built_at: Option<Instant>,
}

impl Session {
    fn note(&self, text: &str) {
        let printer = &self.context.printer;
        printer.note(&format!("{} {text}", printer.err.dim("watch |")));
    }

    /// Says what went wrong; whoever follows files goes on.
    fn tell(&self, what: &str, error: &CommandError) {
        let printer = &self.context.printer;
        let hints = error.hints().iter().map(|hint| format!("\n  {} {hint}", printer.err.cyan("hint:")));
        let text = format!("{} {} {what}: {error}", printer.err.dim("watch |"), printer.err.red("error:"));
        printer.failure(&(text + &hints.collect::<String>()));
    }

    /// What the manifest is made from, beside the modules' own files.
    fn documents(&self) -> Vec<PathBuf> {
        let root = &self.solution.root;
        let environment = &self.context.settings.environment;
        let variables = dotenv::variables(root, environment).unwrap_or_default();
        vec![self.solution.template_with(&variables), dotenv::path(root, environment), root.join(SOLUTION_FILE)]
    }

    /// The solution, and what of it lies elsewhere.
    fn roots(&self) -> Vec<PathBuf> {
        let root = &self.solution.root;
        let elsewhere = self.modules.iter().map(|module| &module.directory).filter(|path| !path.starts_with(root));
        std::iter::once(root).chain(elsewhere).cloned().collect()
    }

    /// A path as people know it.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.solution.root).unwrap_or(path).display().to_string()
    }

    async fn begin(&mut self) {
        if let Err(error) = self.plan() {
            return self.tell("nothing is deployed", &error);
        }
        let modules = self.modules.clone();
        self.carry_out(modules).await;
    }

    async fn react(&mut self, changed: BTreeSet<PathBuf>) {
        let changed = self.without_outputs(changed);
        let known = self.modules.clone();
        let is_about_deployment = self.is_about_deployment(&changed);
        if !is_about_deployment && affected(&known, &known, &changed, &self.documents()).is_empty() {
            return;
        }
        let names: Vec<String> = changed.iter().map(|path| self.shown(path)).collect();
        self.note(&format!("changed: {}", listed(&names, NAMED_FILES)));
        if is_about_deployment && let Err(error) = self.plan() {
            self.tell("the deployment stays as it is", &error);
        }
        let affected = affected(&self.modules, &known, &changed, &self.documents());
        self.carry_out(affected).await;
    }

    /// Passes over what the modules write themselves, and says so once.
    fn without_outputs(&mut self, changed: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let documents = self.documents();
        let is_source = |path: &Path| {
            documents.iter().any(|document| document == path)
                || path.ends_with(module_json::FILE)
                || kind::is_source(path)
        };
        let right_after_build = self.built_at.is_some_and(|at| at.elapsed() < OUTPUT_DELAY);
        let (rest, outputs) = self.outputs.sift(changed, right_after_build, is_source);
        for path in outputs {
            let path = self.shown(&path);
            self.note(&format!("{path} changes after every build and is passed over; name it in .gitignore"));
        }
        rest
    }

    fn is_about_deployment(&self, changed: &BTreeSet<PathBuf>) -> bool {
        let documents = self.documents();
        changed.iter().any(|path| documents.contains(path) || path.ends_with(module_json::FILE))
    }

    /// Reads solution file and template. What is wrong with them is shown, and what was known stays.
    fn plan(&mut self) -> Result<(), CommandError> {
        let device = self.solution.device.as_str();
        let solution = Solution::load(&self.solution.root)?.with_device(device)?;
        let before = &self.solution;
        if (solution.device_is_own, solution.runtime, solution.durability)
            != (before.device_is_own, before.runtime, before.durability)
        {
            self.note(&format!("{SOLUTION_FILE}: the device is what it was until it is started again"));
        }
        // A device that is running goes on with the state that it has.
        let solution = Solution { device_is_own: before.device_is_own, ..solution };
        let template = manifest::checked_template(&solution, &self.platform, &self.context)?;
        let modules = plan::of_images(template.images.clone());
        self.manifest = Some(manifest::of_template(&solution, template)?);
        (self.modules, self.solution) = (modules, solution);
        Ok(())
    }

    async fn carry_out(&mut self, modules: Vec<PlannedModule>) {
        let built = if modules.is_empty() { Vec::new() } else { self.build(modules).await };
        if let Err(error) = self.deploy().await {
            self.tell("the deployment", &error);
        }
        for (module, built) in &built {
            for name in &module.names {
                if let Err(error) = self.restart(name, built).await {
                    self.tell(&format!("module {name} was not restarted"), &error);
                }
            }
        }
        self.built_at = Some(Instant::now());
    }

    /// Builds modules, and tells which were not. Returns those that were.
    async fn build(&self, modules: Vec<PlannedModule>) -> Vec<(PlannedModule, Built)> {
        let (context, solution) = (self.context.clone(), self.solution.clone());
        let outcomes = tokio::task::spawn_blocking(move || build::build(&context, &solution, modules)).await;
        // An error is a panic, which has told of itself.
        let mut built = Vec::new();
        for Outcome { module, result, .. } in outcomes.unwrap_or_default() {
            match result {
                Ok(result) => built.push((module, result)),
                Err(error) => {
                    let error = CommandError::from(error);
                    let stays = if self.is_built(&module) { "; the build before it stays" } else { "" };
                    self.tell(&format!("module {} was not built{stays}", module.name()), &error);
                }
            }
        }
        built
    }

    fn is_built(&self, module: &PlannedModule) -> bool {
        records::lookup(&self.solution.state(), &module.image).is_some()
    }

    /// Applies the manifest if it is another one than before, and every module of it was built.
    async fn deploy(&mut self) -> Result<(), CommandError> {
        let Some(manifest) = self.manifest.clone() else { return Ok(()) };
        if self.deployed.as_ref() == Some(&manifest.modules_content) {
            return Ok(());
        }
        let missing: Vec<&str> =
            self.modules.iter().filter(|module| !self.is_built(module)).map(PlannedModule::name).collect();
        if !missing.is_empty() {
            self.note(&format!("{} is deployed when {} is built", manifest.name, missing.join(", ")));
            return Ok(());
        }
        let (solution, state) = (&self.solution, self.solution.device_state());
        let service = ServiceClient::new(access::simulated(solution)?)?;
        apply::apply(&service, &state, solution, &manifest, None).await?;
        self.deployed = Some(manifest.modules_content.clone());
        let settled = apply::settle(&service, &state, solution, &manifest, SETTLE_TIMEOUT).await;
        if let Err(error) = settled {
            // It names a module that does not stay up, if there is one.
            self.failing = self.broken().await.into_iter().map(|module| module.name).collect();
            return Err(error);
        }
        self.note(&format!("deployed {}", manifest.name));
        Ok(())
    }

    /// Tells when a module does not stay up, until it is dropped.
    async fn stand_by(&mut self) -> Infallible {
        loop {
            let broken = self.broken().await;
            for module in broken.iter().filter(|module| !self.failing.contains(&module.name)) {
                let error = CommandError::failed(&module.description)
                    .hint(format!("Run `edgectl logs {}` to see what it printed.", module.name));
                self.tell(&format!("module {} does not stay up", module.name), &error);
            }
            self.failing = broken.into_iter().map(|module| module.name).collect();
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The modules that do not stay up; none if the device does not answer.
    async fn broken(&self) -> Vec<ModuleStatus> {
        let status = status::fetch(&self.solution.device_state()).await;
        let modules = status.map(|status| status.modules).unwrap_or_default();
        modules.into_iter().filter(|module| matches!(module.status.as_str(), "backoff" | "failed")).collect()
    }

    /// Restarts a module that should run and runs an older build.
    async fn restart(&self, name: &str, built: &Built) -> Result<(), CommandError> {
        let state = self.solution.device_state();
        let request = Request::Inspect { module: name.to_owned() };
        // The device has no such module, or not yet: it starts with the build there is.
        let Ok(inspection) = ask(&state, &request).await else { return Ok(()) };
        let running: Inspection = serde_json::from_value(inspection)
            .map_err(|error| CommandError::new(ErrorKind::Bug, format!("an inspection that is none: {error}")))?;
        let is_wanted = running.deployment.get("status").and_then(Value::as_str) != Some("stopped");
        if !is_wanted || running.image_hash.as_deref() == Some(built.digest.as_str()) {
            return Ok(());
        }
        ask(&state, &Request::Restart { module: name.to_owned() }).await.map_err(control_error)?;
        self.note(&format!("restarted {name}"));
        Ok(())
    }
}

/// The modules to build: those with changed files, and those that were not known before. A source that belongs to no
/// module may belong to all of them, as that of a library; whether it does, their tools know.
fn affected(
    modules: &[PlannedModule],
    known: &[PlannedModule],
    changed: &BTreeSet<PathBuf>,
    documents: &[PathBuf],
) -> Vec<PlannedModule> {
    let has = |module: &PlannedModule, path: &PathBuf| path.starts_with(&module.directory);
    let is_shared = changed.iter().any(|path| {
        kind::is_source(path) && !documents.contains(path) && !modules.iter().any(|module| has(module, path))
    });
    let is_affected = |module: &PlannedModule| {
        let is_new = !known.iter().any(|known| known.image == module.image && known.directory == module.directory);
        is_new || is_shared || changed.iter().any(|path| has(module, path))
    };
    modules.iter().filter(|module| is_affected(module)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solution::module_json::BuildSettings;

    fn module(name: &str) -> PlannedModule {
        PlannedModule {
            names: vec![name.to_owned()],
            directory: PathBuf::from("/s/modules").join(name),
            image: format!("{name}:1"),
            platform: "amd64".to_owned(),
            dockerfile: PathBuf::new(),
            context: PathBuf::new(),
            options: Vec::new(),
            build: BuildSettings::default(),
        }
    }

    #[test]
    fn a_module_is_built_for_its_own_files_and_for_sources_of_nobody() {
        let modules = [module("a"), module("b")];
        let documents = [PathBuf::from("/s/deployment.template.json")];
        let built = |known: &[PlannedModule], changed: &[&str]| -> Vec<String> {
            let changed = changed.iter().map(PathBuf::from).collect();
            affected(&modules, known, &changed, &documents).iter().map(|module| module.name().to_owned()).collect()
        };
        assert_eq!(built(&modules, &["/s/modules/a/main.py"]), ["a"]);
        assert_eq!(built(&modules, &["/s/modules/ab/main.py"]), ["a", "b"]);
        assert_eq!(built(&modules, &["/s/watch.log", "/s/README.md"]), Vec::<String>::new());
        assert_eq!(built(&modules, &["/s/shared/lib.rs"]), ["a", "b"]);
        assert_eq!(built(&modules, &["/s/deployment.template.json"]), Vec::<String>::new());
        assert_eq!(built(&modules[..1], &["/s/deployment.template.json"]), ["b"]);
    }
}
