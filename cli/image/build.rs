//! Building the modules of a solution, several at once.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::image::error::ImageError;
use crate::image::kind::ModuleKind;
use crate::image::plan::PlannedModule;
use crate::image::records::{self, ImageRecord};
use crate::image::{go, make, node, python, rust};
use crate::output::progress::{Line, Progress};
use crate::settings::Context;
use crate::solution::solution::Solution;

/// What came of building a module as a process of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The program, absolute, and its arguments.
    pub argv: Vec<String>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// Environment variables that it needs.
    pub env: BTreeMap<String, String>,
    /// A hash of what runs.
    pub digest: String,
    /// Whether nothing had to be done.
    pub cached: bool,
}

/// How the build of a module went.
#[derive(Debug)]
pub struct Outcome {
    /// The module.
    pub module: PlannedModule,
    /// What was built, or why nothing was.
    pub result: Result<Built, ImageError>,
    /// How long it took.
    pub duration: Duration,
}

/// Builds modules, as many at once as the machine has processors, and keeps a record of each that succeeds. The
/// outcomes are in the order of the modules.
pub fn build(context: &Context, solution: &Solution, modules: Vec<PlannedModule>) -> Vec<Outcome> {
    let names: Vec<&str> = modules.iter().map(PlannedModule::name).collect();
    let progress = Progress::new(&context.printer, &names);
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(modules.len());
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(modules.len()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(module) = modules.get(index) else { return };
                    let outcome = build_one(context, solution, module.clone(), &progress);
                    outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn build_one(context: &Context, solution: &Solution, module: PlannedModule, progress: &Progress) -> Outcome {
    let started = Instant::now();
    let line = progress.start(module.name(), "building");
    let result = build_and_record(context, solution, &module, &line);
    let duration = started.elapsed();
    let seconds = duration.as_secs_f64();
    line.finish(&match &result {
        Ok(built) if built.cached => "nothing to do".to_owned(),
        Ok(_) => format!("built in {seconds:.1} s"),
        Err(error) => format!("failed after {seconds:.1} s: {error}"),
    });
    Outcome { module, result, duration }
}

fn build_and_record(
    context: &Context,
    solution: &Solution,
    module: &PlannedModule,
    line: &Line<'_>,
) -> Result<Built, ImageError> {
    let kind = ModuleKind::detect(&module.directory)?;
    let state = solution.state();
    records::create_private(&state).map_err(ImageError::io(&state))?;
    let workspace = state.join("build").join(module.directory.file_name().unwrap_or_default());
    std::fs::create_dir_all(&workspace).map_err(ImageError::io(&workspace))?;
    let (directory, environment) = (&module.directory, &context.settings.environment);
    let root = if directory.starts_with(&solution.root) { &solution.root } else { directory };
    let built = match kind {
        ModuleKind::Rust => rust::build(directory, &workspace, environment, line)?,
        ModuleKind::Python => python::build(root, directory, &workspace, environment, line)?,
        ModuleKind::Node => node::build(root, directory, &workspace, environment, line)?,
        ModuleKind::Make => make::build(directory, &workspace, environment, line)?,
        ModuleKind::Go => go::build(directory, &workspace, environment, line)?,
    };
    let record = ImageRecord {
        image: module.image.clone(),
        module: module.name().to_owned(),
        platform: module.platform.clone(),
        argv: built.argv.clone(),
        cwd: built.cwd.clone(),
        env: built.env.clone(),
        digest: built.digest.clone(),
    };
    records::save(&state, &record)?;
    Ok(built)
}
