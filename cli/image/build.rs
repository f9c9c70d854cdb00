//! Building the modules of a solution, several at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::image::at_once::at_once;
use crate::image::content::content::Job;
use crate::image::content::{c, go, node};
use crate::image::error::ImageError;
use crate::image::kind::ModuleKind;
use crate::image::oci::digest::Digest;
use crate::image::plan::PlannedModule;
use crate::image::platform::Platform;
use crate::image::records::{self, ImageRecord};
use crate::image::{python, rust, workspace};
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
    at_once(&modules, |module| build_one(context, solution, module.clone(), &progress))
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
    let (state, workspace) = (solution.state(), workspace::make(solution, &module.directory)?);
    let (directory, environment) = (&module.directory, &context.settings.environment);
    let job = Job {
        module,
        root: &solution.root,
        workspace: &workspace,
        platform: &Platform::of_machine(),
        base: None,
        whole: false,
        environment,
        line,
    };
    let built = match kind {
        ModuleKind::Rust => rust::build(directory, &workspace, environment, line)?,
        ModuleKind::Python => {
            let root = if directory.starts_with(&solution.root) { &solution.root } else { directory };
            python::build(root, directory, &workspace, environment, line)?
        }
        ModuleKind::C => of_program(&state, module, &c::compile(job)?.0)?,
        ModuleKind::Go => of_program(&state, module, &go::compile(job)?.0)?,
        ModuleKind::Node => of_node(&state, job)?,
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

/// A program that was compiled. It has nothing new to do if the build before made the same.
fn of_program(state: &Path, module: &PlannedModule, program: &Path) -> Result<Built, ImageError> {
    let file = std::fs::File::open(program).map_err(ImageError::io(program))?;
    let (digest, _) = Digest::of_reader(file).map_err(ImageError::io(program))?;
    Ok(Built {
        argv: vec![program.to_string_lossy().into_owned()],
        cwd: module.directory.clone(),
        env: BTreeMap::new(),
        cached: is_known(state, module, &digest),
        digest: digest.to_string(),
    })
}

fn of_node(state: &Path, job: Job<'_>) -> Result<Built, ImageError> {
    let (place, entry) = node::prepare(job)?;
    let program = node::find(job, "node")?;
    let mut hash = Sha256::new();
    for path in node::made(&place)? {
        let bytes = std::fs::read(&path).map_err(ImageError::io(&path))?;
        hash.update(path.strip_prefix(&place).unwrap_or(&path).as_os_str().as_encoded_bytes());
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    let digest = Digest::of_hash(hash);
    Ok(Built {
        argv: vec![program.to_string_lossy().into_owned(), entry],
        cached: is_known(state, job.module, &digest),
        cwd: place,
        env: BTreeMap::new(),
        digest: digest.to_string(),
    })
}

fn is_known(state: &Path, module: &PlannedModule, digest: &Digest) -> bool {
    records::lookup(state, &module.image).is_some_and(|record| record.digest == digest.as_str())
}
